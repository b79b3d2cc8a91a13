//! Making records durable: the commit, which answers flushes, and the checkpoint behind it, which
//! moves the journal's start.
//!
//! ```text
//!  commit      Idle ──▶ Flushing ──▶ Writing ──▶ Idle          (no records: Flushing ──▶ Idle)
//!                          │ disk's flush │ group, durable
//!  checkpoint  Idle ──▶ Waiting ──▶ InPlace ──▶ Flushing ──▶ Super(0) ──▶ Super(1) ──▶ Idle
//!                     (for its group) │ blocks     │ disk's flush  │ superblocks, durable
//! ```
//! A commit takes the records there are when it starts: every write that they speak of has been
//! completed, so the flush makes its data durable before the group makes the records so. A commit
//! that begins a checkpoint also takes an image of every block that differs from its place; once
//! the group is durable the images may go to their places, torn or not. When both superblocks say
//! where the next group starts, the ring before it is free.

use super::log::Log;
use super::{Io, Sink, Store};
use crate::format::journal::{self, Frame, FrameKind};
use crate::format::object::ObjectRecord;
use crate::format::record::Record;
use crate::format::superblock::PLACES;
use crate::format::{BLOCK, MetaAddr};
use crate::io::{Effect, IoKind};
use crate::leaf::{Outcome, Token};
use crate::planted::Bug;
use std::collections::BTreeSet;

/// The commit that is under way.
pub enum Commit {
    /// None.
    Idle,
    /// The disk's flush runs.
    Flushing(Group),
    /// The group's parts are being written.
    Writing {
        /// The group.
        group: Group,
        /// How many parts.
        left: u32,
    },
}

/// What a commit makes durable, and whom it answers.
pub struct Group {
    log: Log,
    waiters: Vec<Token>,
}

/// The checkpoint that is under way.
pub enum Checkpoint {
    /// None.
    Idle,
    /// For its group to be durable.
    Waiting(Images),
    /// Its blocks are being written.
    InPlace {
        /// How many are left.
        left: usize,
        /// Where the ring may start afterwards.
        tail: Tail,
    },
    /// The flush after them.
    Flushing(Tail),
    /// The superblock in this place.
    Super(usize, Tail),
}

/// Blocks with their content.
pub type Images = Vec<(MetaAddr, Vec<u8>)>;

/// Where replay starts.
#[derive(Clone, Copy)]
pub struct Tail {
    counter: u64,
    first_record: u64,
}

impl Commit {
    /// Bytes that its records take in the volatile log.
    pub fn volatile(&self) -> u64 {
        match self {
            Commit::Idle => 0,
            Commit::Flushing(group) | Commit::Writing { group, .. } => group.log.volatile,
        }
    }
    /// Gives up; who waited for it.
    pub fn abandon(&mut self) -> Vec<Token> {
        match std::mem::replace(self, Commit::Idle) {
            Commit::Idle => Vec::new(),
            Commit::Flushing(group) | Commit::Writing { group, .. } => group.waiters,
        }
    }
}

/// How much may wait for a commit or a checkpoint: a sixteenth of the ring each. Half of the ring
/// is for groups, the other half for a checkpoint's images, and for what opening the disk after a
/// crash adds: two logs (one was being committed) and the images of two checkpoints (one was under
/// way).
pub(super) struct Limits {
    /// Bytes of records that wait for a commit.
    pub payload: usize,
    /// Blocks that differ from their place.
    pub dirty: usize,
}

impl Store {
    pub(super) fn limits(&self) -> Limits {
        let part = self.geometry().journal_blocks as usize / 16;
        Limits {
            payload: part * BLOCK,
            dirty: part.min(512),
        }
    }

    fn ring_used(&self) -> u64 {
        self.head - self.superblock.tail
    }

    /// Whether a record may be written now; otherwise a commit or a checkpoint is on its way.
    pub(super) fn may_record(&mut self) -> bool {
        let limits = self.limits();
        let may = self.log.payload.len() < limits.payload && self.dirty.len() < limits.dirty;
        self.commit_wanted |= !may;
        may
    }

    /// The number of the first record that is not durable.
    pub(super) fn durable(&self) -> u64 {
        match &self.commit {
            Commit::Idle => self.log.first,
            Commit::Flushing(group) | Commit::Writing { group, .. } => group.log.first,
        }
    }

    /// Adds a record, whose change has been made in memory.
    pub(super) fn record(&mut self, record: Record) {
        self.dirty.extend(self.dirtied_by(&record));
        self.log.push(&record);
    }

    /// The block that differs from its place once the record is made; none for a superblock, which
    /// every checkpoint writes.
    pub(super) fn dirtied_by(&self, record: &Record) -> Option<MetaAddr> {
        match record {
            Record::Image { addr, .. } => Some(*addr),
            Record::Mark { slot, .. } => Some(MetaAddr::Object(*slot)),
            Record::Segment { segment, .. } => {
                Some(MetaAddr::Header(self.geometry().unit_of(*segment)))
            }
            Record::Page { segment, .. } | Record::Blocks { segment, .. } => {
                Some(MetaAddr::Page(*segment))
            }
            Record::Legs { slot, .. } | Record::Epochs { slot, .. } | Record::Unequal { slot } => {
                Some(MetaAddr::Object(*slot))
            }
            Record::Term(_) => None,
        }
    }

    /// Hands records that are new to the volatile log.
    pub(super) fn append_records(&mut self, sink: &mut Sink<'_>) {
        let (disk, incarnation) = (self.disk(), self.superblock.incarnation);
        if let Some(bytes) = self.log.unsent(disk, incarnation) {
            if !self.config.planted.has(Bug::VolatileLogSkipped) {
                sink.out.push(Effect::Append {
                    disk: self.index,
                    bytes,
                });
            } else {
                self.log.volatile -= bytes.len() as u64;
            }
        }
    }

    /// The next commit answers this call.
    pub(super) fn wait_for_commit(&mut self, token: Token) {
        self.waiters.push(token);
    }

    fn checkpoint_due(&self) -> bool {
        let limits = self.limits();
        self.dirty.len() * 4 >= limits.dirty * 3
            || self.ring_used() * 4 >= u64::from(self.geometry().journal_blocks)
            || self.closing.is_some()
    }

    /// Starts a commit if one is wanted and none runs.
    pub(super) fn begin_commit(&mut self, sink: &mut Sink<'_>) {
        let idle = matches!(self.commit, Commit::Idle);
        let wanted = self.commit_wanted || !self.waiters.is_empty();
        if !idle || !wanted || self.failed.is_some() {
            return;
        }
        let images = match self.checkpoint {
            Checkpoint::Idle if self.checkpoint_due() => Some(self.images()),
            _ => None,
        };
        if images.is_none() && self.log.records == 0 && self.waiters.is_empty() {
            // Whoever wants it waits for the checkpoint that runs, which wakes him when it ends.
            self.commit_wanted = false;
            return;
        }
        let blocks = (self.log.payload.len() / BLOCK + 2) as u64;
        let half = u64::from(self.geometry().journal_blocks) / 2;
        if images.is_none() && !self.log.payload.is_empty() && self.ring_used() + blocks > half {
            // The checkpoint that runs makes room; it ends in a call of this.
            let running = !matches!(self.checkpoint, Checkpoint::Idle);
            assert!(running, "a full ring is being emptied");
            return;
        }
        self.append_records(sink);
        self.commit_wanted = false;
        let group = Group {
            log: self.log.take(),
            waiters: std::mem::take(&mut self.waiters),
        };
        self.commit = Commit::Flushing(group);
        if let Some(images) = images {
            self.checkpoint = Checkpoint::Waiting(images);
        }
        self.ready.extend(self.stalled.drain(..));
        if self.config.planted.has(Bug::FlushSkipsData) {
            self.commit_flushed(sink);
        } else {
            self.start(Io::CommitFlush, 0, IoKind::Flush, sink);
        }
    }

    /// The content of every block that differs from its place. They count as clean from now on:
    /// what changes later is for the next checkpoint.
    fn images(&mut self) -> Images {
        let dirty = std::mem::take(&mut self.dirty);
        let pages = dirty.iter().filter_map(|a| match a {
            MetaAddr::Page(segment) => Some(*segment),
            _ => None,
        });
        self.pages.set_in_flight(pages.collect::<BTreeSet<_>>());
        dirty
            .into_iter()
            .filter_map(|addr| Some((addr, self.encode(addr)?)))
            .collect()
    }

    /// A block as the records so far make it; `None` for a page that is no more.
    pub(super) fn encode(&self, addr: MetaAddr) -> Option<Vec<u8>> {
        let disk = self.disk();
        Some(match addr {
            MetaAddr::Object(slot) => match &self.objects[usize::from(slot)] {
                Some(object) => object.record.encode(disk, slot),
                None => ObjectRecord::encode_free(disk, slot),
            },
            MetaAddr::Header(unit) => self.header(unit).encode(disk, unit),
            MetaAddr::Page(segment) => {
                let (slot, _) = self.logical(segment)?;
                self.pages
                    .peek(segment)?
                    .page
                    .encode(&self.page_home(slot, segment))
            }
            MetaAddr::Owner(..) => return None,
        })
    }

    /// The data is durable; now the records.
    pub(super) fn commit_flushed(&mut self, sink: &mut Sink<'_>) {
        let Commit::Flushing(mut group) = std::mem::replace(&mut self.commit, Commit::Idle) else {
            return;
        };
        if self.config.planted.has(Bug::AckBeforeDurable) {
            group
                .waiters
                .drain(..)
                .for_each(|token| sink.end(token, Ok(Outcome::Ok)));
        }
        let payload = self.payload(&group);
        if payload.is_empty() {
            self.end_commit(group, sink);
            return;
        }
        let frame = Frame {
            kind: FrameKind::Group,
            disk: self.disk(),
            incarnation: self.superblock.incarnation,
            counter: self.head,
            first_record: group.log.first,
            records: group.log.records,
            bytes: 0,
            crc: 0,
        };
        let bytes = journal::encode(frame, &payload);
        let ring = u64::from(self.geometry().journal_blocks);
        let blocks = (bytes.len() / BLOCK) as u64;
        assert!(self.ring_used() + blocks <= ring, "a group fits the ring");
        let before_end = (ring - self.head % ring).min(blocks);
        let (first, rest) = bytes.split_at(before_end as usize * BLOCK);
        let left = 1 + u32::from(!rest.is_empty());
        for (counter, part) in [(self.head, first), (self.head + before_end, rest)] {
            if !part.is_empty() {
                let offset = self.geometry().journal_offset(counter);
                let kind = IoKind::WriteMeta {
                    bytes: part.to_vec(),
                    fua: true,
                };
                self.start(Io::CommitWrite, offset, kind, sink);
            }
        }
        self.head += blocks;
        self.commit = Commit::Writing { group, left };
    }

    /// The records of a group, and behind them the images of the checkpoint that waits for it.
    fn payload(&self, group: &Group) -> Vec<u8> {
        let mut payload = group.log.payload.clone();
        if let Checkpoint::Waiting(images) = &self.checkpoint
            && !self.config.planted.has(Bug::NoImages)
        {
            for (addr, block) in images {
                Record::Image {
                    addr: *addr,
                    block: block.clone(),
                }
                .encode(&mut payload);
            }
        }
        payload
    }

    /// A part of the group is durable.
    pub(super) fn commit_written(&mut self, sink: &mut Sink<'_>) {
        if let Commit::Writing { left, .. } = &mut self.commit
            && *left > 1
        {
            *left -= 1;
            return;
        }
        if let Commit::Writing { group, .. } = std::mem::replace(&mut self.commit, Commit::Idle) {
            self.end_commit(group, sink);
        }
    }

    fn end_commit(&mut self, group: Group, sink: &mut Sink<'_>) {
        let tail = Tail {
            counter: self.head,
            first_record: self.log.first,
        };
        self.write_in_place(tail, sink);
        if group.log.volatile > 0 {
            sink.out.push(Effect::Trim {
                disk: self.index,
                bytes: group.log.volatile,
            });
        }
        for token in group.waiters {
            sink.end(token, Ok(Outcome::Ok));
        }
        self.release_freed(self.durable(), sink);
        self.advance_grants(sink);
        self.ready.extend(self.stalled.drain(..));
    }

    fn write_in_place(&mut self, tail: Tail, sink: &mut Sink<'_>) {
        let Checkpoint::Waiting(images) = &mut self.checkpoint else {
            return;
        };
        let images = std::mem::take(images);
        self.checkpoint = Checkpoint::InPlace {
            left: images.len(),
            tail,
        };
        for (addr, bytes) in images {
            let offset = self.geometry().meta_offset(addr);
            self.start(
                Io::InPlace,
                offset,
                IoKind::WriteMeta { bytes, fua: false },
                sink,
            );
        }
        self.end_in_place(sink);
    }

    pub(super) fn in_place_written(&mut self, sink: &mut Sink<'_>) {
        if let Checkpoint::InPlace { left, .. } = &mut self.checkpoint {
            *left -= 1;
        }
        self.end_in_place(sink);
    }

    fn end_in_place(&mut self, sink: &mut Sink<'_>) {
        let Checkpoint::InPlace { left: 0, tail } = self.checkpoint else {
            return;
        };
        self.checkpoint = Checkpoint::Flushing(tail);
        if self.config.planted.has(Bug::TailMovedEarly) {
            self.checkpoint_flushed(sink);
        } else {
            self.start(Io::CheckpointFlush, 0, IoKind::Flush, sink);
        }
    }

    pub(super) fn checkpoint_flushed(&mut self, sink: &mut Sink<'_>) {
        if let Checkpoint::Flushing(tail) = self.checkpoint {
            self.write_superblock(0, tail, sink);
        }
    }

    fn write_superblock(&mut self, place: usize, tail: Tail, sink: &mut Sink<'_>) {
        let mut superblock = self.superblock.clone();
        superblock.sequence += 1;
        superblock.tail = tail.counter;
        superblock.first_record = tail.first_record;
        superblock.clean = self.closing.is_some() && self.closed_at(tail);
        let kind = IoKind::WriteMeta {
            bytes: superblock.encode(),
            fua: true,
        };
        self.checkpoint = Checkpoint::Super(place, tail);
        self.start(Io::Superblock, PLACES[place], kind, sink);
    }

    fn closed_at(&self, tail: Tail) -> bool {
        tail.counter == self.head && self.log.records == 0 && self.dirty.is_empty()
    }

    pub(super) fn superblock_written(&mut self, sink: &mut Sink<'_>) {
        match self.checkpoint {
            Checkpoint::Super(place, tail) if place + 1 < PLACES.len() => {
                self.write_superblock(place + 1, tail, sink);
            }
            Checkpoint::Super(_, tail) => {
                self.superblock.sequence += 1;
                self.superblock.tail = tail.counter;
                self.superblock.first_record = tail.first_record;
                self.checkpoint = Checkpoint::Idle;
                self.pages.set_in_flight(BTreeSet::new());
                self.shrink_pages();
                self.ready.extend(self.stalled.drain(..));
                if self.closed_at(tail)
                    && let Some(token) = self.closing.take()
                {
                    sink.end(token, Ok(Outcome::Ok));
                }
                self.commit_wanted |= self.closing.is_some();
            }
            _ => {}
        }
    }
}
