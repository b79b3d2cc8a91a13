//! A disk of this node: opened past the page cache, and claimed so that no two processes ever write
//! to it.
//!
//! Invariant: the claim is a lock on the very open file description through which all I/O goes. I/O
//! that a dead process left in the kernel holds that description, so a successor gets the lock
//! exactly when the last of it has ended; waiting for the process to be gone is not enough. The
//! descriptor is close-on-exec and never handed to anybody.

mod cache;
mod claim;
#[cfg(test)]
mod tests;

pub use cache::PowerCut;
pub use claim::{ClaimError, Claimed, Patience, TAKEOVER_LIMIT};

use crate::sys::{errno, memory::AlignedBuf};
use cache::WriteCache;
use engine::disk::Disk;
use engine::io::IoFault;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Metadata is read and written in pieces of at most this many bytes.
const PIECE: usize = 1 << 20;

/// A claimed disk, ready for I/O.
#[derive(Debug)]
pub struct DiskFile {
    claimed: Claimed,
    cache: Option<WriteCache>,
}

impl DiskFile {
    /// Opens and claims the disk at `path`: a block device or a regular file.
    ///
    /// # Errors
    /// Where it cannot be opened for direct I/O, or is in use.
    pub fn open(path: &Path, patience: Patience) -> Result<Self, ClaimError> {
        Ok(DiskFile {
            claimed: Claimed::open(path, patience)?,
            cache: None,
        })
    }

    /// Puts a write-back cache in this process's memory before the disk: with the process dies
    /// whatever was not flushed, as in a power cut. For tests.
    #[must_use]
    pub fn with_power_cut(mut self, how: PowerCut) -> Self {
        self.cache = Some(WriteCache::new(how));
        self
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.claimed.path()
    }

    /// The descriptor for asynchronous I/O; `None` where every I/O has to go through the cache of a
    /// power-cut test.
    pub(crate) fn ring_fd(&self) -> Option<RawFd> {
        self.cache
            .is_none()
            .then(|| self.claimed.file().as_raw_fd())
    }

    /// Fills an aligned buffer.
    pub(crate) fn read_aligned(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.claimed.file().read_exact_at(buf, offset)?;
        if let Some(cache) = &self.cache {
            cache.overlay(offset, buf);
        }
        Ok(())
    }

    /// Writes an aligned buffer; `durable`: not only to the cache.
    pub(crate) fn write_aligned(
        &mut self,
        offset: u64,
        data: &[u8],
        durable: bool,
    ) -> io::Result<()> {
        let file = self.claimed.file();
        match &mut self.cache {
            None => file.write_all_at(data, offset)?,
            Some(cache) => cache.write(file, offset, data, durable)?,
        }
        if durable { file.sync_data() } else { Ok(()) }
    }

    /// Makes everything written durable.
    pub(crate) fn flush_all(&mut self) -> io::Result<()> {
        let file = self.claimed.file();
        if let Some(cache) = &mut self.cache {
            cache.flush(file)?;
        }
        file.sync_data()
    }
}

fn fault(error: &io::Error) -> IoFault {
    IoFault {
        errno: errno(error),
    }
}

impl Disk for DiskFile {
    fn size(&self) -> u64 {
        self.claimed.size()
    }

    fn read(&mut self, offset: u64, buf: &mut [u8]) -> Result<(), IoFault> {
        for (chunk, at) in buf.chunks_mut(PIECE).zip((offset..).step_by(PIECE)) {
            let mut aligned = AlignedBuf::zeroed(chunk.len());
            self.read_aligned(at, aligned.bytes_mut())
                .map_err(|e| fault(&e))?;
            chunk.copy_from_slice(aligned.bytes());
        }
        Ok(())
    }

    fn write(&mut self, offset: u64, data: &[u8]) -> Result<(), IoFault> {
        for (chunk, at) in data.chunks(PIECE).zip((offset..).step_by(PIECE)) {
            let aligned = AlignedBuf::from_bytes(chunk);
            self.write_aligned(at, aligned.bytes(), false)
                .map_err(|e| fault(&e))?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), IoFault> {
        self.flush_all().map_err(|e| fault(&e))
    }
}
