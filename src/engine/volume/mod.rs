//! One attached volume: requests of the front end become calls on the leaves of its tree, and what
//! its mirrors need for that: marks, records, resync and rebuild.
//!
//! Not here: where a leaf's blocks lie (`store`), which disks there are (`node`).
//!
//! A request is cut into pieces; a piece of a plain leaf is one call, a piece of a mirror is a
//! read of one leg (`read`) or a change of all (`change`). Every call has an entry in `calls` until
//! its [`Done`]; nothing waits for anything else, so a volume without calls is at rest.
//!
//! Invariants:
//! - A change is acknowledged only when every leg that lacks it is durably recorded as stale.
//! - A region is durably marked on every leg that a change in it goes to before the change starts.
//! - Changes of the same blocks of a mirror run one after the other.
//! - Once a plain leaf or the last live leg failed, no flush succeeds until the volume is attached
//!   anew: what was acknowledged may be lost.

mod attach;
mod change;
mod copy;
mod flush;
mod job;
mod leg;
mod lock;
mod mirror;
mod read;
mod record;
mod regions;
mod relayout;
mod request;
mod slab;
mod status;
#[cfg(test)]
mod tests;

pub use attach::Lookup;
pub use leg::{Counts, Lacks, Leg, Lost, TRANSITIONS};
pub use status::{LegStatus, MirrorStatus, RebuildStatus, VolumeStatus};

use crate::io::{Buf, CommandId, DiskIndex, Effect, Effects, IoError, Now, Op, ReqId};
use crate::leaf::{Done, LeafError, LeafId, Leaves, Outcome, Token};
use crate::planted::Planted;
use crate::tree::Tree;
use layout::{Epoch, VolumeUid};
use mirror::Mirror;
use slab::{Key, Slab};
use std::collections::VecDeque;

/// What a volume works with while it handles one event.
pub struct Ctx<'a, L: Leaves> {
    /// The time.
    pub now: Now,
    /// The leaves of all disks.
    pub leaves: &'a mut L,
    /// Where effects go.
    pub out: &'a mut Effects,
    /// The scratch buffers that are free.
    pub scratch: &'a mut Scratch,
    /// A mistake to make, for the simulator.
    pub planted: Planted,
}

/// Scratch buffers, shared by all volumes of a node: each is free or used by one copy.
#[derive(Debug)]
pub struct Scratch {
    free: Vec<u16>,
    /// Volumes that wait for one, by the base of their tokens, in order of arrival.
    waiting: VecDeque<Token>,
}

impl Scratch {
    /// So many buffers, all free.
    pub fn new(slots: u16) -> Self {
        Scratch {
            free: (0..slots).rev().collect(),
            waiting: VecDeque::new(),
        }
    }
    /// The volume to call [`Volume::resume`] on, by the base of its tokens: a buffer is free, and
    /// it has waited longest for one.
    pub fn turn(&mut self) -> Option<Token> {
        if self.free.is_empty() {
            return None;
        }
        self.waiting.pop_front()
    }
}

/// What a call is for.
#[derive(Clone, Copy, Debug)]
enum Call {
    /// A piece of a request on a leaf that no mirror is above.
    Plain { request: Key, disk: DiskIndex },
    /// A piece of a request, read from one leg.
    Read(read::LegRead),
    /// A leg's part of a change.
    Change { change: Key, leg: LegRef },
    /// A mark for a region.
    Mark { region: u32, leg: LegRef },
    /// The record about a mirror's legs.
    Record { leg: LegRef },
    /// A disk's part of a flush.
    Flush { flush: Key, disk: DiskIndex },
    /// A leg's part of a copy.
    Copy { copy: Key, leg: LegRef },
}

/// A leg at the time of a call. `era` counts how often the leg was dropped, so that a late failure
/// of what the leg was does not hit what it has become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LegRef {
    mirror: u16,
    leg: u8,
    era: u32,
}

/// Whether requests are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// They are.
    Attached,
    /// No more: waiting for those under way.
    Draining(CommandId),
    /// Making all durable.
    Flushing(CommandId),
    /// Making the forgotten marks durable.
    Cleaning(CommandId),
    /// At rest for good.
    Detached,
}

/// An attached volume.
#[derive(Debug)]
pub struct Volume {
    uid: VolumeUid,
    tree: Tree,
    segment_blocks: u64,
    /// Upper bits of all tokens of this volume.
    base: Token,
    /// By the tree's index of leaves; `None`: failed, or on a disk that is not there.
    leaves: Vec<Option<LeafId>>,
    /// By the same index: blocks in a region of the leaf.
    leaf_region_blocks: Vec<u64>,
    mirrors: Vec<Mirror>,
    /// A leaf that no mirror is above failed.
    lost: bool,
    stage: Stage,
    calls: Slab<Call>,
    requests: Slab<request::Request>,
    changes: Slab<change::Change>,
    copies: Slab<copy::Copy>,
    flushes: Slab<flush::Flush>,
    /// Requests that are flushed and wait for a record.
    parked: Vec<Key>,
    /// A flush for marks to forget is under way.
    tidying: bool,
    /// A copy waits for a scratch buffer, and the volume in [`Scratch`]'s queue.
    starved: bool,
}

/// Bits of a token that a volume uses; those above tell volumes apart.
pub const TOKEN_BITS: u32 = 48;

impl Volume {
    /// Which volume it is.
    pub fn uid(&self) -> VolumeUid {
        self.uid
    }
    /// The tree that is evaluated.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }
    /// Whether it is at rest for good after [`Volume::detach`].
    pub fn is_detached(&self) -> bool {
        self.stage == Stage::Detached
    }
    /// Calls that have not ended.
    pub fn calls(&self) -> usize {
        self.calls.len()
    }

    /// Starts a request; it ends in exactly one [`Effect::Reply`], at once where it is refused.
    pub fn submit<L: Leaves>(&mut self, req: ReqId, op: Op, cx: &mut Ctx<'_, L>) {
        if self.stage != Stage::Attached {
            reply(req, Err(IoError::Detached), cx);
            return;
        }
        match request::blocks(op, self.tree.blocks()) {
            Err(e) => reply(req, Err(e), cx),
            Ok(range) => self.start_request(req, op, range, cx),
        }
    }

    /// A call ended.
    pub fn done<L: Leaves>(&mut self, done: Done, cx: &mut Ctx<'_, L>) {
        let key = done.token & ((1 << TOKEN_BITS) - 1);
        let Some(call) = self.calls.remove(key) else {
            unreachable!("the end of a call that was not made")
        };
        let result = done.result;
        let end = result.as_ref().map(|_| ()).map_err(|e| *e);
        match call {
            Call::Plain { request, disk } => {
                if end == Err(LeafError::DiskFailed) {
                    self.disk_failed(disk, cx);
                }
                self.part_done(request, end.map_err(IoError::from), cx);
            }
            Call::Read(read) => self.read_done(read, end, cx),
            Call::Change { change, leg } => self.change_done(change, leg, end, cx),
            Call::Mark { region, leg } => self.mark_done(region, leg, end, cx),
            Call::Record { leg } => self.record_leg_done(leg, end, cx),
            Call::Flush { flush, disk } => self.flush_disk_done(flush, disk, end, cx),
            Call::Copy { copy, leg } => {
                let scan = match result {
                    Ok(Outcome::Scan(scan)) => Some(scan),
                    _ => None,
                };
                self.copy_call_done(copy, leg, end, scan, cx);
            }
        }
        self.drain(cx);
    }

    /// Time has passed: forgets marks of idle regions.
    pub fn tick<L: Leaves>(&mut self, cx: &mut Ctx<'_, L>) {
        if self.stage == Stage::Attached {
            self.tidy(cx);
        }
    }

    /// When [`Volume::tick`] has something to do; `None`: not before another event.
    pub fn next_wake(&self) -> Option<Now> {
        if self.tidying || self.stage != Stage::Attached {
            return None;
        }
        let idle = self.mirrors.iter().filter(|m| m.may_forget());
        idle.filter_map(|m| m.regions.next_wake()).min()
    }

    /// A scratch buffer is free, and it is this volume's turn: copies go on.
    pub fn resume<L: Leaves>(&mut self, cx: &mut Ctx<'_, L>) {
        self.starved = false;
        for m in 0..self.mirrors.len() as u16 {
            self.pump(m, cx);
        }
    }

    /// Ends the running epoch on all leaves and holds it; changes after it are told apart. What is
    /// under way belongs to either side.
    pub fn cut_epoch<L: Leaves>(&mut self, cx: &mut Ctx<'_, L>) -> Epoch {
        let leaves = self.leaves_in_step();
        let running = leaves.iter().map(|l| cx.leaves.state(*l).epoch).max();
        let running = running.unwrap_or_default();
        for leaf in leaves {
            cx.leaves.join_epoch(leaf, running);
            let cut = cx.leaves.cut_epoch(leaf);
            assert!(
                cut == running,
                "a leaf cut epoch {cut}, the others {running}"
            );
        }
        running
    }

    /// Nobody needs to know any more what changed after an epoch that [`Volume::cut_epoch`] gave.
    pub fn release_epoch<L: Leaves>(&mut self, epoch: Epoch, cx: &mut Ctx<'_, L>) {
        for leaf in self.leaves_in_step() {
            cx.leaves.release_epoch(leaf, epoch);
        }
    }

    /// The leaves that changes go to.
    fn leaves_in_step(&self) -> Vec<LeafId> {
        let in_step = |i: &usize| match self.tree.leaves()[*i].mirror {
            None => true,
            Some((m, leg)) => self.mirrors[m as usize].legs[leg as usize]
                .state
                .is_target(),
        };
        (0..self.leaves.len())
            .filter(in_step)
            .filter_map(|i| self.leaves[i])
            .collect()
    }

    fn call(&mut self, call: Call) -> Token {
        self.base | self.calls.insert(call)
    }

    /// The leaf of a leg, which is there while anything is sent to the leg.
    fn leaf(&self, index: u32) -> LeafId {
        match self.leaves[index as usize] {
            Some(leaf) => leaf,
            None => unreachable!("a leaf is used that is not there"),
        }
    }

    /// A disk was taken away or is about to be opened anew: whoever used it and did not see it fail
    /// counts it as failed, for what it did not flush may be lost.
    pub fn disk_gone<L: Leaves>(&mut self, disk: DiskIndex, cx: &mut Ctx<'_, L>) {
        self.disk_failed(disk, cx);
        for leaf in &mut self.leaves {
            *leaf = leaf.filter(|l| l.disk != disk);
        }
        self.drain(cx);
    }

    /// Everything that lies on a disk which failed.
    fn disk_failed<L: Leaves>(&mut self, disk: DiskIndex, cx: &mut Ctx<'_, L>) {
        for i in 0..self.leaves.len() {
            if self.leaves[i].is_none_or(|l| l.disk != disk) {
                continue;
            }
            match self.tree.leaves()[i].mirror {
                None => {
                    self.leaves[i] = None;
                    self.lost = true;
                }
                Some((m, leg)) => self.leg_failed(m, leg, cx),
            }
        }
    }
}

fn reply<L: Leaves>(req: ReqId, result: Result<(), IoError>, cx: &mut Ctx<'_, L>) {
    cx.out.push(Effect::Reply { req, result });
}

/// The buffer of a request.
fn request_buf(req: ReqId) -> Buf {
    Buf::Request { req, at: 0 }
}
