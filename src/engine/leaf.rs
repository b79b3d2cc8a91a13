//! What a tree asks of the objects at its leaves, wherever they are.
//!
//! A leaf is an object on one disk. Here every leaf is local (`store`); a leaf on another node will
//! answer the same calls. Every call ends in exactly one [`Done`] with its token, never before the
//! call returns.

use crate::io::{Buf, DiskIndex, IoError};
use layout::Epoch;

/// A leaf of an attached volume: the slot of its object on a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeafId {
    /// The disk.
    pub disk: DiskIndex,
    /// The object's slot on it.
    pub slot: u16,
}

/// Names a call until its [`Done`]; chosen by the caller.
pub type Token = u64;

/// The end of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// The call.
    pub token: Token,
    /// How it ended.
    pub result: Result<Outcome, LeafError>,
}

/// What a call that succeeded brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is done.
    Ok,
    /// What [`Leaves::scan`] found.
    Scan(SegmentScan),
}

/// Why a call on a leaf failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeafError {
    /// No unit with room, and no grant came. Nothing was written.
    #[error("no space left in what was granted to the leaf")]
    NoSpace,
    /// The disk failed, now or before; it takes nothing until it is reopened.
    #[error("the disk of the leaf failed")]
    DiskFailed,
    /// The map entry is in the error state, or its page on disk is damaged.
    #[error("the segment is in error")]
    Segment,
}

impl From<LeafError> for IoError {
    fn from(e: LeafError) -> Self {
        match e {
            LeafError::NoSpace => IoError::NoSpace,
            LeafError::DiskFailed | LeafError::Segment => IoError::Io,
        }
    }
}

/// One bit per block of a segment, block 0 in the lowest bit of word 0.
pub type BlockBits = [u64; 4];

/// What a segment holds and what changed in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SegmentScan {
    /// Blocks that hold data.
    pub valid: BlockBits,
    /// Blocks changed (written or discarded) after the epoch that was asked for.
    pub changed: BlockBits,
}

/// What a leaf knows, durably, of the mirror above it. Equal on every live leg; where legs differ
/// the higher `generation` is right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LegsRecord {
    /// Counts changes of this record.
    pub generation: u64,
    /// One bit per leg that missed a write and may not be read.
    pub stale: u16,
    /// For each leg that is stale: it holds everything up to and including this epoch, the blocks
    /// of regions to resync aside. With [`LegsRecord::blank`] set it holds nothing but what a
    /// rebuild begun after this epoch brought. `Epoch(0)`: unknown, any block may differ. For a leg
    /// that is not stale: the epoch that was held for its last rebuild.
    pub since: [Epoch; LegsRecord::LEGS],
    /// One bit per stale leg that holds nothing yet (a new disk).
    pub blank: u16,
}

impl LegsRecord {
    /// The most legs a mirror may have.
    pub const LEGS: usize = 8;
}

/// Where an object's blocks lie; blocks count from the object's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first block.
    pub start: u64,
    /// How many.
    pub count: u32,
}

/// The leaves of all volumes of a node.
pub trait Leaves {
    /// Reads blocks into `buf`; blocks that hold no data become zeros.
    fn read(&mut self, leaf: LeafId, span: Span, buf: Buf, token: Token);
    /// Writes blocks from `buf`. Where space is missing the call waits for a grant or a refusal.
    fn write(&mut self, leaf: LeafId, span: Span, buf: Buf, token: Token);
    /// Makes sure that a later write of these blocks cannot fail for lack of space (spec A10): on a
    /// mirror every leg reserves before any writes. Ends with [`LeafError::NoSpace`] otherwise.
    fn reserve(&mut self, leaf: LeafId, span: Span, token: Token);
    /// The blocks hold no data any more.
    fn discard(&mut self, leaf: LeafId, start: u64, count: u64, token: Token);
    /// Everything done before this on the disk becomes durable.
    fn flush(&mut self, disk: DiskIndex, token: Token);
    /// Marks regions as being written (`dirty`), durable when done.
    fn mark_dirty(&mut self, leaf: LeafId, region: u32, token: Token);
    /// Forgets the mark of a region: all legs hold the same there, durably. Lazy: durable some
    /// time.
    fn clear_dirty(&mut self, leaf: LeafId, region: u32);
    /// Replaces the record about the mirror above, and the set of regions whose legs may differ,
    /// durable when done.
    fn set_legs(&mut self, leaf: LeafId, legs: LegsRecord, token: Token);
    /// Marks every dirty region as one to resync (the legs may differ there), or one as equal
    /// again. Durable with the next flush.
    fn resync_dirty(&mut self, leaf: LeafId);
    /// The legs are equal again in this region. Durable with the next flush.
    fn clear_resync(&mut self, leaf: LeafId, region: u32);
    /// Ends the current epoch `e`, holds it (changes after it are told apart from now on) and
    /// returns it. Durable with the next flush or `set_legs`.
    fn cut_epoch(&mut self, leaf: LeafId) -> Epoch;
    /// The running epoch becomes `epoch`, if that is later: a leg that was away is in step again.
    /// Nothing is held by it. Durable with the next flush or `set_legs`.
    fn join_epoch(&mut self, leaf: LeafId, epoch: Epoch);
    /// Nobody needs to know any more what changed after `epoch`; nothing happens where nobody does.
    fn release_epoch(&mut self, leaf: LeafId, epoch: Epoch);
    /// What the segment holds, and which blocks changed after `since`.
    fn scan(&mut self, leaf: LeafId, segment: u32, since: Epoch, token: Token);
    /// What is recorded of the leaf, as it stands.
    fn state(&self, leaf: LeafId) -> LeafState;
    /// Whether the region is marked as being written.
    fn is_dirty(&self, leaf: LeafId, region: u32) -> bool;
    /// Whether the legs may differ in the region.
    fn is_resync(&self, leaf: LeafId, region: u32) -> bool;
    /// Whether the disk takes I/O.
    fn is_usable(&self, disk: DiskIndex) -> bool;
}

/// What is recorded of a leaf.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeafState {
    /// Segments that the object shows.
    pub segments: u32,
    /// Blocks in a segment, a power of two, at most 256.
    pub segment_blocks: u32,
    /// Segments in a region of the dirty marks, a power of two.
    pub region_segments: u32,
    /// The mirror above.
    pub legs: LegsRecord,
    /// The epoch that is running.
    pub epoch: Epoch,
    /// The oldest epoch after which changes are told apart, if any is held.
    pub held: Option<Epoch>,
}
