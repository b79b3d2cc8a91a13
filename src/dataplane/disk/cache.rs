//! A write-back cache in this process's memory, so that killing the process is a power cut. For
//! tests of the real processes; the simulator has a crueller disk.

use layout::BLOCK;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::sys::memory::AlignedBuf;

/// How the cache behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PowerCut {
    /// Decides which writes reach the disk before a flush, as a real cache evicts in any order: one
    /// of four.
    pub seed: u64,
}

/// What was written and not flushed, by block.
#[derive(Debug)]
pub(super) struct WriteCache {
    blocks: BTreeMap<u64, AlignedBuf>,
    random: u64,
}

impl WriteCache {
    pub(super) fn new(how: PowerCut) -> Self {
        WriteCache {
            blocks: BTreeMap::new(),
            random: how.seed | 1,
        }
    }

    /// Puts what was not flushed over what was read from the disk.
    pub(super) fn overlay(&self, offset: u64, buf: &mut [u8]) {
        let first = offset / BLOCK;
        let end = first + buf.len() as u64 / BLOCK;
        for (block, content) in self.blocks.range(first..end) {
            let at = ((block - first) * BLOCK) as usize;
            buf[at..at + BLOCK as usize].copy_from_slice(content.bytes());
        }
    }

    /// Keeps a write, or lets it through where it must be durable or is evicted at once.
    pub(super) fn write(
        &mut self,
        file: &File,
        offset: u64,
        data: &[u8],
        durable: bool,
    ) -> io::Result<()> {
        if durable || self.evicts() {
            self.forget(offset, data.len() as u64);
            return file.write_all_at(data, offset);
        }
        for (chunk, block) in data.chunks(BLOCK as usize).zip(offset / BLOCK..) {
            self.blocks.insert(block, AlignedBuf::from_bytes(chunk));
        }
        Ok(())
    }

    /// Writes everything to the disk.
    pub(super) fn flush(&mut self, file: &File) -> io::Result<()> {
        for (block, content) in &self.blocks {
            file.write_all_at(content.bytes(), block * BLOCK)?;
        }
        self.blocks.clear();
        Ok(())
    }

    /// Drops what was written to a range.
    fn forget(&mut self, offset: u64, len: u64) {
        let (first, end) = (offset / BLOCK, (offset + len) / BLOCK);
        let gone: Vec<u64> = self.blocks.range(first..end).map(|(b, _)| *b).collect();
        for block in gone {
            self.blocks.remove(&block);
        }
    }

    /// xorshift64*: the same decisions for the same seed.
    fn evicts(&mut self) -> bool {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 62 == 0
    }
}
