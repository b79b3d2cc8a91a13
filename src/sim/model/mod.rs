//! The reference model: for each block of each volume, the values that it may hold.
//!
//! A block has *candidates*: values that were issued, each with the moments (on the model's own
//! clock) at which it was issued, at which it settled (was answered), and at which it died (was
//! surely replaced, as reads see it). From these follow:
//! - a read may return what was alive at any moment since the read was issued;
//! - a process crash changes nothing: what was answered must be there, what was not may be;
//! - a power cut brings back what died after the last answered flush was issued, and nothing older.
//!
//! What a read returned of settled values is the truth from then on: the others die, so that a block
//! cannot flicker between the outcomes that a crash left open. A discard is a write of zeros.

mod block;
#[cfg(test)]
mod tests;

use crate::content::{Content, SECTORS, Stamp};
pub use block::Moment;
use block::{Block, Candidate, FOR_EVER};
use std::collections::BTreeMap;
use std::ops::Range;

/// What is wrong with a block that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// Which block of the volume.
    pub block: u64,
    /// What kind of wrong.
    pub kind: WrongKind,
    /// What was read.
    pub read: String,
    /// What would have been right.
    pub legal: String,
}

/// The kinds of wrong content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WrongKind {
    /// The bytes of another volume, another block, or of metadata.
    Foreign,
    /// A value of this block that may not be there.
    Stale,
    /// Zeros where there was data.
    Lost,
}

/// One volume.
#[derive(Clone, Debug)]
pub struct Volume {
    id: u16,
    blocks: Vec<Block>,
    next_version: u32,
    /// The moment of issue of the newest flush that was answered.
    flushed: Moment,
    /// Reads in flight, by moment of issue.
    reads: BTreeMap<Moment, Range<u64>>,
    clock: Moment,
}

impl Volume {
    /// A new volume, all zeros. `id` counts from 1 and is never used twice.
    pub fn new(id: u16, blocks: u64) -> Self {
        Volume {
            id,
            blocks: vec![Block::default(); blocks as usize],
            next_version: 1,
            flushed: 0,
            reads: BTreeMap::new(),
            clock: 1,
        }
    }

    /// Blocks in the volume.
    pub fn len(&self) -> u64 {
        self.blocks.len() as u64
    }

    /// Whether it has no blocks.
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// More blocks, zeros.
    pub fn grow(&mut self, blocks: u64) {
        let len = self.blocks.len().max(blocks as usize);
        self.blocks.resize(len, Block::default());
    }

    fn tick(&mut self) -> Moment {
        self.clock += 1;
        self.clock
    }

    /// A version for the blocks of a new write.
    pub fn version(&mut self) -> u32 {
        self.next_version += 1;
        self.next_version - 1
    }

    /// What the write of this version puts into a block.
    pub fn stamp(&self, block: u64, version: u32) -> Stamp {
        Stamp::new(self.id, block, version)
    }

    /// A write of this version is issued; version 0 is a discard or a write of zeros.
    pub fn start_write(&mut self, range: Range<u64>, version: u32) -> Moment {
        let now = self.tick();
        let keep = self.keep_since(now);
        let id = self.id;
        for (block, n) in self.range(&range).iter_mut().zip(range.start..) {
            let stamp = match version {
                0 => Stamp::ZERO,
                v => Stamp::new(id, n, v),
            };
            block.prune(keep);
            block.candidates.push(Candidate::new(stamp, now));
        }
        now
    }

    /// The write issued at `issued` was answered with success; with `fua`, it is durable.
    pub fn end_write(&mut self, range: Range<u64>, issued: Moment, fua: bool) {
        let now = self.tick();
        for block in self.range(&range) {
            block.acknowledge(issued, now, fua);
        }
    }

    /// The write was answered with an error: `nothing` if the answer says that nothing was written,
    /// else each block was or was not.
    pub fn fail_write(&mut self, range: Range<u64>, issued: Moment, nothing: bool) {
        let now = self.tick();
        for block in self.range(&range) {
            if nothing {
                block.candidates.retain(|c| c.issued != issued);
            } else {
                block.settle(issued, now);
            }
        }
    }

    /// A flush is issued.
    pub fn start_flush(&mut self) -> Moment {
        self.tick()
    }

    /// The flush issued at `issued` was answered with success.
    pub fn end_flush(&mut self, issued: Moment) {
        self.flushed = self.flushed.max(issued);
    }

    /// A read is issued; end it with [`Volume::check_read`] or [`Volume::drop_read`].
    pub fn start_read(&mut self, range: Range<u64>) -> Moment {
        let now = self.tick();
        self.reads.insert(now, range);
        now
    }

    /// The read issued at `issued` ended without content.
    pub fn drop_read(&mut self, issued: Moment) {
        self.reads.remove(&issued);
    }

    /// The read issued at `issued` was answered with this content.
    ///
    /// # Errors
    /// The first block that may not hold what was read.
    ///
    /// # Panics
    /// Where no such read is in flight.
    pub fn check_read(&mut self, issued: Moment, content: &[Content]) -> Result<(), Wrong> {
        let Some(range) = self.reads.remove(&issued) else {
            unreachable!("a read that was not issued is not answered");
        };
        let now = self.tick();
        let id = self.id;
        for ((block, read), n) in self
            .range(&range)
            .iter_mut()
            .zip(content)
            .zip(range.start..)
        {
            let stamps = read.stamps();
            if !stamps.is_some_and(|s| block.observe(s, issued, now)) {
                return Err(wrong(id, n, stamps, &block.legal(issued)));
            }
        }
        Ok(())
    }

    /// The process died: nobody will answer what is in flight. What `resent` says is issued again
    /// stays in flight; the rest was done or not, for ever.
    pub fn process_crash(&mut self, resent: impl Fn(Moment) -> bool) {
        let now = self.tick();
        self.reads.retain(|issued, _| resent(*issued));
        for block in &mut self.blocks {
            for c in &mut block.candidates {
                if c.settled == FOR_EVER && !resent(c.issued) {
                    c.settled = now;
                }
            }
        }
    }

    /// The power failed: nobody will answer what is in flight, and see [`Volume::lose_unflushed`].
    pub fn power_cut(&mut self, garbage: bool) {
        self.process_crash(|_| false);
        self.lose_unflushed(garbage);
    }

    /// What was not made durable may be gone: everything that was alive at or after the last answered
    /// flush may be there again; with `garbage`, random bytes too where a write was not flushed.
    pub fn lose_unflushed(&mut self, garbage: bool) {
        let now = self.tick();
        let flushed = self.flushed;
        for block in &mut self.blocks {
            block.lose_unflushed(flushed, now, garbage);
        }
    }

    /// The only value that the block can hold, where there is only one and nothing is in flight.
    pub fn settled_value(&self, block: u64) -> Option<Stamp> {
        self.blocks[block as usize].settled_value()
    }

    fn range(&mut self, range: &Range<u64>) -> &mut [Block] {
        &mut self.blocks[range.start as usize..range.end as usize]
    }

    /// Candidates that died up to this moment are of no more interest.
    fn keep_since(&self, now: Moment) -> Moment {
        let read = self.reads.first_key_value().map_or(now, |(m, _)| *m);
        read.min(self.flushed)
    }
}

fn wrong(id: u16, block: u64, read: Option<[Stamp; SECTORS]>, legal: &[Stamp]) -> Wrong {
    let foreign = |s: &Stamp| *s != Stamp::ZERO && (s.volume() != id || s.block() != block);
    let kind = match &read {
        None => WrongKind::Foreign,
        Some(s) if s.iter().any(foreign) => WrongKind::Foreign,
        Some(s) if s.contains(&Stamp::ZERO) => WrongKind::Lost,
        Some(_) => WrongKind::Stale,
    };
    let list = |stamps: &[Stamp]| {
        let mut names: Vec<_> = stamps.iter().map(Stamp::to_string).collect();
        names.dedup();
        names.join(" or ")
    };
    Wrong {
        block,
        kind,
        read: read.map_or("metadata".to_owned(), |s| list(&s).replace(" or ", " + ")),
        legal: list(legal),
    }
}
