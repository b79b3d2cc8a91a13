//! Blocks of a device or file, read and written past the page cache, one at a time.

use anyhow::{Context, Result};
use layout::BLOCK;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// Bytes in a block, for buffers.
pub const LEN: usize = BLOCK as usize;

/// An open device or file.
#[derive(Debug)]
pub struct Direct(File);

/// A block in memory, where direct I/O wants it.
#[derive(Clone, Debug)]
pub struct Block {
    bytes: Vec<u8>,
    start: usize,
}

impl Block {
    /// Zeros.
    pub fn zeroed() -> Self {
        let bytes = vec![0; 2 * LEN];
        let start = bytes.as_ptr().align_offset(LEN);
        Block { bytes, start }
    }

    /// The content.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..self.start + LEN]
    }

    /// The content, to be changed.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.start + LEN]
    }
}

impl Direct {
    /// Opens for reading and writing.
    ///
    /// # Errors
    /// Where there is none, or it knows no direct I/O.
    pub fn open(path: &Path) -> Result<Self> {
        let mut options = File::options();
        options.read(true).write(true).custom_flags(libc::O_DIRECT);
        let file = options
            .open(path)
            .with_context(|| path.display().to_string())?;
        Ok(Direct(file))
    }

    /// The file.
    pub fn file(&self) -> &File {
        &self.0
    }

    /// Reads a block.
    ///
    /// # Errors
    /// What the device says.
    pub fn read(&self, block: u64, into: &mut Block) -> io::Result<()> {
        self.0.read_exact_at(into.bytes_mut(), block * BLOCK)
    }

    /// Writes a block; it is not flushed.
    ///
    /// # Errors
    /// What the device says.
    pub fn write(&self, block: u64, from: &Block) -> io::Result<()> {
        self.0.write_all_at(from.bytes(), block * BLOCK)
    }

    /// Makes everything that was written durable.
    ///
    /// # Errors
    /// What the device says.
    pub fn flush(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}
