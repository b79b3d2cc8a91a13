//! The store of one disk: which block of which object lies where, since when, and how that becomes
//! durable.
//!
//! It plays the controller of the objects' mapping tables (spec M) inside the units that were
//! granted to them: a write that faults on a zero entry gets a segment, one that must be tracked
//! block by block gets a page.
//!
//! # What makes an answer safe
//! - A write is answered when its data is on the disk and the change of metadata that it made, if
//!   any, is in the volatile log: a crash of this process loses nothing that was answered.
//! - A flush is answered when the disk was flushed and then the records of everything answered
//!   before are in the journal, durably: a mapping is never durable before its data.
//! - A segment that was given up is used again only when no older I/O runs on it and the record
//!   that gave it up is durable.
//! - After an I/O error the store refuses everything until the disk is opened anew.

mod alloc;
mod chunk;
mod commit;
mod create;
pub(crate) mod find;
mod grant;
mod leaves;
mod log;
mod object;
mod open;
mod pages;
mod read;
pub(crate) mod replay;
mod write;

pub use create::{Format, FormatError, format};
pub use grant::Grant;
pub use open::{OpenError, owner_text, read_superblock};

use crate::format::superblock::Superblock;
use crate::format::{Geometry, MetaAddr};
use crate::io::{DiskIndex, Effect, Effects, IoFault, IoId, IoKind, Notice, Now};
use crate::leaf::{Done, LeafError, Outcome, Token};
use crate::planted::Planted;
use alloc::{Freed, Unit};
use chunk::{Chunk, ChunkId, Piece};
use commit::{Checkpoint, Commit};
use layout::DiskUid;
use log::Log;
use object::Object;
use pages::Pages;
use slab::Slab;
use std::collections::{BTreeSet, VecDeque};

/// Where a call's consequences go.
pub struct Sink<'a> {
    /// The time of the call.
    pub now: Now,
    /// What the shell has to do.
    pub out: &'a mut Effects,
    /// Calls that ended.
    pub done: &'a mut VecDeque<Done>,
}

impl Sink<'_> {
    fn end(&mut self, token: Token, result: Result<Outcome, LeafError>) {
        self.done.push_back(Done { token, result });
    }
}

/// What can be chosen when a store is opened.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Pages kept in memory at most, those aside that hold changes not yet written in place.
    pub pages: usize,
    /// A mistake to make, for the simulator.
    pub planted: Planted,
}

impl Default for Config {
    /// 32,768 pages: some 40 MB.
    fn default() -> Self {
        Config {
            pages: 1 << 15,
            planted: Planted::default(),
        }
    }
}

/// Bytes that a store holds in memory for what is on its disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// The mapping tables of all objects.
    pub tables: usize,
    /// For each segment of the disk whose it is.
    pub reverse: usize,
    /// The pages kept; the nodes of the tree that holds them aside.
    pub pages: usize,
}

/// An I/O that runs.
enum Io {
    /// Data of a chunk.
    Data(ChunkId),
    /// A page is being read.
    Page(u32),
    /// The flush before a group.
    CommitFlush,
    /// A part of a group.
    CommitWrite,
    /// A block in place.
    InPlace,
    /// The flush after the blocks in place.
    CheckpointFlush,
    /// A superblock.
    Superblock,
    /// A part of the owner's text of the object in this slot.
    Owner(u16),
}

/// One disk, open for writing.
pub struct Store {
    index: DiskIndex,
    config: Config,
    superblock: Superblock,
    objects: Vec<Option<Object>>,
    units: Vec<Unit>,
    pages: Pages,
    dirty: BTreeSet<MetaAddr>,
    log: Log,
    commit: Commit,
    checkpoint: Checkpoint,
    /// Calls that the next commit ends.
    waiters: Vec<Token>,
    /// The next commit is wanted even if nobody waits for it.
    commit_wanted: bool,
    /// Running number of the ring block that the next group starts at.
    head: u64,
    ios: Slab<Io>,
    chunks: Slab<Chunk>,
    pieces: Slab<Piece>,
    /// Chunks to look at (again).
    ready: VecDeque<ChunkId>,
    /// Chunks that wait until records may be written again.
    stalled: VecDeque<ChunkId>,
    freed: Vec<Freed>,
    /// One of them can be used again.
    freed_now: bool,
    grants: VecDeque<grant::Granting>,
    /// The call that waits for the store to be closed.
    closing: Option<Token>,
    failed: Option<IoFault>,
}

impl Store {
    /// The name under which effects call this disk; set once, before any call.
    pub fn attach(&mut self, index: DiskIndex) {
        self.index = index;
    }
    /// The disk's identity.
    pub fn disk(&self) -> DiskUid {
        self.superblock.disk
    }
    /// Where everything is.
    pub fn geometry(&self) -> &Geometry {
        &self.superblock.geometry
    }
    /// The error after which the store refuses everything, if there was one.
    pub fn failed(&self) -> Option<IoFault> {
        self.failed
    }
    /// The highest leader's term that the disk has seen.
    pub fn term(&self) -> u64 {
        self.superblock.term
    }
    /// What it holds in memory.
    pub fn memory(&self) -> Memory {
        let tables = self.objects.iter().flatten().map(|o| o.table.memory());
        let unit = |u: &Unit| size_of::<Unit>() + size_of_val(&u.logical[..]);
        Memory {
            tables: tables.sum(),
            reverse: self.units.iter().map(unit).sum(),
            pages: self.pages.memory(),
        }
    }
    /// Whether nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.ios.is_empty() && self.pieces.is_empty() && self.grants.is_empty()
    }

    fn start(&mut self, io: Io, offset: u64, kind: IoKind, sink: &mut Sink<'_>) {
        let id = IoId::new(self.index, self.ios.insert(io));
        sink.out.push(Effect::Io {
            id,
            disk: self.index,
            offset,
            kind,
        });
    }

    /// An I/O ended.
    ///
    /// # Panics
    /// Where it was not this store's.
    pub fn complete(&mut self, io: IoId, end: crate::io::Completion<'_>, sink: &mut Sink<'_>) {
        use crate::io::Completion::{Bytes, Done, Failed};
        let io = self.ios.remove(io.number());
        if let Failed(fault) = end {
            self.fail(fault, sink);
            if matches!(io, Io::CommitFlush | Io::CheckpointFlush) {
                self.forget_volatile(sink);
            }
        }
        let ok = self.failed.is_none();
        match (io, end) {
            (Io::Data(chunk), end) => self.data_done(chunk, matches!(end, Done), sink),
            (Io::Page(segment), Bytes(block)) => self.page_read(segment, block, sink),
            (Io::CommitFlush, Done) if ok => self.commit_flushed(sink),
            (Io::CommitWrite, Done) if ok => self.commit_written(sink),
            (Io::InPlace, Done) if ok => self.in_place_written(sink),
            (Io::CheckpointFlush, Done) if ok => self.checkpoint_flushed(sink),
            (Io::Superblock, Done) if ok => self.superblock_written(sink),
            (Io::Owner(slot), Done) if ok => self.owner_written(slot, sink),
            _ => assert!(!ok, "a completion of another kind than its I/O"),
        }
        self.pump(sink);
    }

    /// Runs whatever can run, until nothing changes; then hands new records to the volatile log.
    fn pump(&mut self, sink: &mut Sink<'_>) {
        loop {
            while let Some(chunk) = self.ready.pop_front() {
                self.run(chunk, sink);
            }
            if self.freed_now {
                self.release_freed(self.durable(), sink);
            }
            self.begin_commit(sink);
            if self.ready.is_empty() {
                break;
            }
        }
        // A log that was emptied because a flush failed must not begin in the middle.
        if self.failed.is_none() {
            self.append_records(sink);
        }
    }

    /// A flush failed: the device may have dropped what was written since the last one. The
    /// volatile log speaks of blocks that were written then; a successor that believed it would
    /// show what their previous owner left.
    fn forget_volatile(&mut self, sink: &mut Sink<'_>) {
        let bytes = std::mem::take(&mut self.log.volatile);
        sink.out.push(Effect::Trim {
            disk: self.index,
            bytes,
        });
    }

    /// After the first I/O error nothing is tried any more; who waits is told.
    fn fail(&mut self, fault: IoFault, sink: &mut Sink<'_>) {
        if self.failed.is_some() {
            return;
        }
        self.failed = Some(fault);
        sink.out.push(Effect::Notice(Notice::DiskFailed {
            disk: self.disk(),
            fault,
        }));
        let waiting = std::mem::take(&mut self.waiters);
        self.log.volatile += self.commit.volatile();
        let committing = self.commit.abandon();
        let granting = self.grants.drain(..).map(|g| g.token).collect::<Vec<_>>();
        let closing = self.closing.take();
        for token in waiting
            .into_iter()
            .chain(committing)
            .chain(granting)
            .chain(closing)
        {
            sink.end(token, Err(LeafError::DiskFailed));
        }
        // What runs comes back by itself; what waits is woken, and finds the store failed.
        let waiting = self
            .chunks
            .iter()
            .filter(|(_, c)| c.ios == 0)
            .map(|(id, _)| id);
        self.ready = waiting.collect();
        self.stalled.clear();
        self.pages.forget_waiters();
    }
}

#[cfg(test)]
pub(crate) mod tests;
