//! A disk as the engine's own tools see it: for formatting, opening, checking; not for serving I/O.

use crate::io::IoFault;
use std::collections::BTreeMap;

/// The few things that opening, checking and formatting ask of a disk. Offsets and lengths are
/// multiples of a block.
///
/// # Assumptions about the medium
/// - A sector of 512 bytes is written whole or not at all.
/// - What a completed flush covers survives a power cut; nothing else is sure to.
/// - Nothing outside a written range changes.
pub trait Disk {
    /// Bytes on the disk.
    fn size(&self) -> u64;
    /// Fills `buf` from `offset`.
    ///
    /// # Errors
    /// Whatever the device answers; the content of `buf` is then undefined.
    fn read(&mut self, offset: u64, buf: &mut [u8]) -> Result<(), IoFault>;
    /// Writes `data` at `offset`; durable only after [`Disk::flush`].
    ///
    /// # Errors
    /// Whatever the device answers; any part may have been written.
    fn write(&mut self, offset: u64, data: &[u8]) -> Result<(), IoFault>;
    /// Makes every completed write durable.
    ///
    /// # Errors
    /// Whatever the device answers; the disk must then be reopened.
    fn flush(&mut self) -> Result<(), IoFault>;
}

/// Reads blocks in ascending order with few calls: each brings what follows, too.
pub(crate) struct Ahead<'a> {
    disk: &'a mut dyn Disk,
    end: u64,
    at: u64,
    bytes: Vec<u8>,
}

impl<'a> Ahead<'a> {
    const BYTES: u64 = 1 << 20;

    /// Reads nothing from `end` on.
    pub fn new(disk: &'a mut dyn Disk, end: u64) -> Self {
        Ahead {
            disk,
            end,
            at: 0,
            bytes: Vec::new(),
        }
    }

    /// The block at this offset. Where what follows it cannot be read, it alone is.
    pub fn block(&mut self, offset: u64) -> Result<&[u8], IoFault> {
        let held = self.at..self.at + self.bytes.len() as u64;
        if !held.contains(&offset) {
            let most = Self::BYTES
                .min(self.end.saturating_sub(offset))
                .max(layout::BLOCK);
            self.at = offset;
            self.bytes.resize(most as usize, 0);
            if self.disk.read(offset, &mut self.bytes).is_err() {
                self.bytes.truncate(layout::BLOCK as usize);
                let alone = self.disk.read(offset, &mut self.bytes);
                if let Err(fault) = alone {
                    self.bytes.clear();
                    return Err(fault);
                }
            }
        }
        let start = (offset - self.at) as usize;
        Ok(&self.bytes[start..start + layout::BLOCK as usize])
    }
}

/// A sparse disk in memory: what was never written reads as zeros.
#[derive(Clone, Debug, Default)]
pub struct MemDisk {
    size: u64,
    blocks: BTreeMap<u64, Box<[u8]>>,
}

impl MemDisk {
    const BLOCK: usize = layout::BLOCK as usize;

    /// An empty disk of so many bytes, a multiple of a block.
    pub fn new(size: u64) -> Self {
        MemDisk {
            size,
            blocks: BTreeMap::new(),
        }
    }

    /// The numbers of the blocks that were ever written.
    pub fn written(&self) -> impl Iterator<Item = u64> {
        self.blocks.keys().copied()
    }

    fn check(&self, offset: u64, len: usize) -> Result<(), IoFault> {
        const EINVAL: i32 = 22;
        let aligned = offset.is_multiple_of(layout::BLOCK) && len.is_multiple_of(Self::BLOCK);
        let inside = offset
            .checked_add(len as u64)
            .is_some_and(|end| end <= self.size);
        if aligned && inside {
            Ok(())
        } else {
            Err(IoFault { errno: EINVAL })
        }
    }
}

impl Disk for MemDisk {
    fn size(&self) -> u64 {
        self.size
    }
    fn read(&mut self, offset: u64, buf: &mut [u8]) -> Result<(), IoFault> {
        self.check(offset, buf.len())?;
        let first = offset / layout::BLOCK;
        for (chunk, block) in buf.chunks_mut(Self::BLOCK).zip(first..) {
            match self.blocks.get(&block) {
                Some(b) => chunk.copy_from_slice(b),
                None => chunk.fill(0),
            }
        }
        Ok(())
    }
    fn write(&mut self, offset: u64, data: &[u8]) -> Result<(), IoFault> {
        self.check(offset, data.len())?;
        let first = offset / layout::BLOCK;
        for (chunk, block) in data.chunks(Self::BLOCK).zip(first..) {
            self.blocks.insert(block, chunk.into());
        }
        Ok(())
    }
    fn flush(&mut self) -> Result<(), IoFault> {
        Ok(())
    }
}
