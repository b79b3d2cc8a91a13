//! Flushes: of requests, and of what the volume itself needs durable; and forgetting marks.

use super::mirror::Gate;
use super::regions::{BUDGET, Idle};
use super::slab::Key;
use super::{Call, Ctx, Stage, Volume};
use crate::io::{CommandId, DiskIndex, Effect, IoError};
use crate::leaf::{LeafError, Leaves};
use smallvec::SmallVec;

/// Who waits for a flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum For {
    /// A request.
    Request(Key),
    /// Marks of idle regions.
    Tidy,
    /// A mirror's resync or rebuild.
    Job(u16),
    /// The end of the volume.
    Detach,
}

/// A flush of all disks that changes go to.
#[derive(Debug)]
pub(super) struct Flush {
    by: For,
    /// Disks that have not answered.
    left: u32,
    /// The mirrors all of whose legs it makes durable, and up to which end of a change.
    covers: SmallVec<[(u16, u64); 2]>,
}

impl Volume {
    pub(super) fn start_flush<L: Leaves>(&mut self, by: For, cx: &mut Ctx<'_, L>) {
        let mut disks: SmallVec<[DiskIndex; 8]> = SmallVec::new();
        for leaf in self.leaves_in_step() {
            if !disks.contains(&leaf.disk) {
                disks.push(leaf.disk);
            }
        }
        let mirrors = (0u16..).zip(&self.mirrors);
        let whole = mirrors.filter(|(_, m)| m.live() == m.which(|_| true));
        let covers = whole.map(|(i, m)| (i, m.regions.seq())).collect();
        let left = disks.len() as u32;
        let flush = self.flushes.insert(Flush { by, left, covers });
        for disk in disks {
            let token = self.call(Call::Flush { flush, disk });
            cx.leaves.flush(disk, token);
        }
        if left == 0 {
            self.flush_done(flush, cx);
        }
    }

    pub(super) fn flush_disk_done<L: Leaves>(
        &mut self,
        flush: Key,
        disk: DiskIndex,
        end: Result<(), LeafError>,
        cx: &mut Ctx<'_, L>,
    ) {
        if end.is_err() {
            self.disk_failed(disk, cx);
        }
        let f = &mut self.flushes[flush];
        f.left -= 1;
        if f.left == 0 {
            self.flush_done(flush, cx);
        }
    }

    fn flush_done<L: Leaves>(&mut self, flush: Key, cx: &mut Ctx<'_, L>) {
        let Some(f) = self.flushes.remove(flush) else {
            unreachable!("a flush ends twice")
        };
        for (m, seq) in f.covers {
            let m = &mut self.mirrors[m as usize];
            if m.live() == m.which(|_| true) && !m.lost {
                m.regions.flushed(seq);
            }
        }
        match f.by {
            For::Request(key) => self.flushed_request(key, cx),
            For::Tidy => {
                self.tidying = false;
                self.tidy(cx);
            }
            For::Job(m) => self.job_flushed(m, cx),
            For::Detach => self.detach_flushed(cx),
        }
    }

    /// A request's flush is done on every leg that counts: it is answered once those that do not
    /// are on record.
    pub(super) fn flushed_request<L: Leaves>(&mut self, key: Key, cx: &mut Ctx<'_, L>) {
        let planted = cx.planted;
        let gate = |g| self.mirrors.iter().any(|m| m.gate(planted) == g);
        if self.lost || gate(Gate::Lost) {
            self.part_done(key, Err(IoError::Io), cx);
        } else if gate(Gate::Closed) {
            self.parked.push(key);
        } else {
            self.part_done(key, Ok(()), cx);
        }
    }

    /// Forgets marks of regions that have been idle, after a flush where that is missing.
    pub(super) fn tidy<L: Leaves>(&mut self, cx: &mut Ctx<'_, L>) {
        if self.tidying || self.stage != Stage::Attached {
            return;
        }
        let mut flush = false;
        for m in 0..self.mirrors.len() as u16 {
            if !self.mirrors[m as usize].may_forget() {
                continue;
            }
            for _ in 0..BUDGET {
                match self.mirrors[m as usize].regions.idle(cx.now) {
                    Idle::Clear(region) => self.forget_dirty(m, region, cx),
                    Idle::Flush => {
                        flush = true;
                        break;
                    }
                    Idle::Nothing => break,
                }
            }
        }
        if flush {
            self.tidying = true;
            self.start_flush(For::Tidy, cx);
        }
    }

    /// Forgets that a region is marked, and that legs might differ there.
    fn forget_dirty<L: Leaves>(&mut self, mirror: u16, region: u32, cx: &mut Ctx<'_, L>) {
        self.forget_resync(mirror, region, cx);
        self.mirrors[mirror as usize].regions.remove(region);
        for (leaf, r) in self.legs_regions(mirror, self.all_legs(mirror), region) {
            let marks = &mut self.mirrors[mirror as usize].regions.dirty_marks;
            if let (true, Some(leaf)) = (marks.remove((leaf, r)), self.leaves[leaf as usize]) {
                cx.leaves.clear_dirty(leaf, r);
            }
        }
    }

    /// All legs are equal in a region.
    pub(super) fn forget_resync<L: Leaves>(
        &mut self,
        mirror: u16,
        region: u32,
        cx: &mut Ctx<'_, L>,
    ) {
        let regions = &mut self.mirrors[mirror as usize].regions;
        if !regions.resync.remove(&region) {
            return;
        }
        regions.differ.remove(&region);
        for (leaf, r) in self.legs_regions(mirror, self.all_legs(mirror), region) {
            let marks = &mut self.mirrors[mirror as usize].regions.resync_marks;
            if let (true, Some(leaf)) = (marks.remove((leaf, r)), self.leaves[leaf as usize]) {
                cx.leaves.clear_resync(leaf, r);
            }
        }
    }

    /// Takes no more requests, finishes those under way, makes everything durable and forgets the
    /// marks; then answers the command. A disk that fails meanwhile does not hold it up.
    pub fn detach<L: Leaves>(&mut self, command: CommandId, cx: &mut Ctx<'_, L>) {
        if self.stage != Stage::Attached {
            let why = "the volume is being detached".to_owned();
            let result = Err(crate::io::CommandError::Refused(why));
            cx.out.push(Effect::Answer { command, result });
            return;
        }
        self.stage = Stage::Draining(command);
        self.mirrors
            .iter_mut()
            .for_each(super::mirror::Mirror::abort_job);
        for m in 0..self.mirrors.len() as u16 {
            self.pump(m, cx);
        }
        self.drain(cx);
    }

    /// Goes on with a detach once nothing is under way.
    pub(super) fn drain<L: Leaves>(&mut self, cx: &mut Ctx<'_, L>) {
        let Stage::Draining(command) = self.stage else {
            return;
        };
        if self.calls.len() == 0 {
            assert!(self.requests.len() == 0, "a request waits for nothing");
            self.stage = Stage::Flushing(command);
            self.start_flush(For::Detach, cx);
        }
    }

    fn detach_flushed<L: Leaves>(&mut self, cx: &mut Ctx<'_, L>) {
        match self.stage {
            Stage::Flushing(command) => {
                for m in 0..self.mirrors.len() as u16 {
                    if self.mirrors[m as usize].may_forget() {
                        let quiet = self.mirrors[m as usize].regions.quiet();
                        quiet.into_iter().for_each(|r| self.forget_dirty(m, r, cx));
                    }
                }
                self.stage = Stage::Cleaning(command);
                self.start_flush(For::Detach, cx);
            }
            Stage::Cleaning(command) => {
                // A leg that failed meanwhile is dropped first.
                if self.mirrors.iter().any(|m| m.recording.is_some()) {
                    self.stage = Stage::Draining(command);
                    return;
                }
                self.stage = Stage::Detached;
                cx.out.push(Effect::Answer {
                    command,
                    result: Ok(()),
                });
            }
            Stage::Attached | Stage::Draining(_) | Stage::Detached => {
                unreachable!("only a detach flushes for a detach")
            }
        }
    }
}
