//! Writes and discards of a mirror: to all legs, or to none.
//!
//! ```text
//!   lock -> reserve on every leg (writes) -> mark the regions -> run on every leg -> acknowledge
//! ```
//! No space on any leg ends it before anything was written. A leg that fails is dropped and the
//! change goes on without it; it is acknowledged when that is on record. A segment in error counts
//! only once it is clear that another leg took the change: then the leg that did not is dropped,
//! for else the legs would differ; where no leg took it, all are kept and the request fails.

use super::leg::{Event, Leg};
use super::lock::Holder;
use super::mirror::{Gate, each};
use super::regions::LegSet;
use super::request::{Pieces, Range, span};
use super::slab::Key;
use super::{Call, Ctx, LegRef, Volume};
use crate::io::{Buf, IoError};
use crate::leaf::{LeafError, Leaves};
use crate::planted::Bug;
use layout::BLOCK;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Locking,
    Reserving,
    Marking,
    Running,
}

/// A write or a discard of a range of a mirror.
#[derive(Debug)]
pub(super) struct Change {
    request: Key,
    mirror: u16,
    start: u64,
    count: u64,
    /// What to write; `None`: discard.
    buf: Option<Buf>,
    phase: Phase,
    /// The legs it goes to.
    targets: LegSet,
    /// Those of them that did not take it.
    bad: LegSet,
    /// Some leg has no space.
    no_space: bool,
    /// It counts in its regions.
    entered: bool,
    /// Calls, or marks, until the phase is over.
    left: u32,
}

impl Volume {
    pub(super) fn start_change<L: Leaves>(
        &mut self,
        request: Key,
        mirror: u16,
        (start, count): Range,
        buf: Option<Buf>,
        cx: &mut Ctx<'_, L>,
    ) {
        let key = self.changes.insert(Change {
            request,
            mirror,
            start,
            count,
            buf,
            phase: Phase::Locking,
            targets: 0,
            bad: 0,
            no_space: false,
            entered: false,
            left: 0,
        });
        let locks = &mut self.mirrors[mirror as usize].locks;
        if locks.acquire(Holder::Change(key), start, count) {
            self.change_locked(key, cx);
        }
    }

    /// The blocks are its own: makes sure of the space.
    pub(super) fn change_locked<L: Leaves>(&mut self, key: Key, cx: &mut Ctx<'_, L>) {
        let c = &mut self.changes[key];
        let m = &self.mirrors[c.mirror as usize];
        if m.lost {
            self.finish_change(key, Err(IoError::Io), cx);
            return;
        }
        c.targets = m.targets();
        c.phase = Phase::Reserving;
        if c.buf.is_none() {
            self.mark_change(key, cx);
            return;
        }
        let (mirror, start, count, targets) = (c.mirror, c.start, c.count, c.targets);
        for leg in each(targets) {
            let mut pieces = Pieces::new();
            let f = &mut |leaf, p| pieces.push((leaf, p));
            self.tree.leg_merged(mirror, leg, start, count, f);
            for (leaf, p) in pieces {
                let (leaf, token) = self.change_call(key, leg, leaf);
                cx.leaves.reserve(leaf, span(p.start, p.count), token);
            }
        }
    }

    /// One more call of a change.
    fn change_call(&mut self, key: Key, leg: u8, leaf: u32) -> (crate::leaf::LeafId, u64) {
        let c = &mut self.changes[key];
        c.left += 1;
        let leg = self.leg_ref(self.changes[key].mirror, leg);
        let token = self.call(Call::Change { change: key, leg });
        (self.leaf(leaf), token)
    }

    pub(super) fn change_done<L: Leaves>(
        &mut self,
        key: Key,
        leg: LegRef,
        end: Result<(), LeafError>,
        cx: &mut Ctx<'_, L>,
    ) {
        let c = &mut self.changes[key];
        let state = self.mirrors[c.mirror as usize].legs[leg.leg as usize].state;
        let counts = matches!(state, Leg::Live | Leg::Joining);
        match end {
            Ok(()) => {}
            Err(LeafError::NoSpace) if c.phase == Phase::Reserving && counts => c.no_space = true,
            Err(e) => {
                c.bad |= 1 << leg.leg;
                // A leg that does not count yet is let go at any failure.
                if e == LeafError::DiskFailed || !counts {
                    self.call_failed(leg, cx);
                }
            }
        }
        let c = &mut self.changes[key];
        c.left -= 1;
        if c.left > 0 {
            return;
        }
        match c.phase {
            Phase::Reserving if c.no_space => self.finish_change(key, Err(IoError::NoSpace), cx),
            Phase::Reserving => self.mark_change(key, cx),
            Phase::Running => self.ran(key, cx),
            Phase::Locking | Phase::Marking => unreachable!("these phases make no calls"),
        }
    }

    /// Forgets targets that were dropped; whether a live one is left.
    fn still_targets(&mut self, key: Key) -> bool {
        let c = &mut self.changes[key];
        let m = &self.mirrors[c.mirror as usize];
        c.targets &= m.targets();
        !m.lost && c.targets & !c.bad & m.live() != 0
    }

    /// There is space: makes sure of the marks, then runs. Called again when a mark was made.
    pub(super) fn mark_change<L: Leaves>(&mut self, key: Key, cx: &mut Ctx<'_, L>) {
        if !self.still_targets(key) {
            self.finish_change(key, Err(IoError::Io), cx);
            return;
        }
        let c = &mut self.changes[key];
        c.phase = Phase::Marking;
        let (mirror, targets) = (c.mirror, c.targets & !c.bad);
        let m = &self.mirrors[mirror as usize];
        let regions = m.regions_of(c.start, c.count);
        if m.legs.len() == 1 || cx.planted.has(Bug::DirtyMarkSkipped) {
            self.run_change(key, cx);
            return;
        }
        let enter = !std::mem::replace(&mut c.entered, true);
        for region in regions {
            if enter {
                self.insert_dirty(mirror, region, cx.now);
                self.mirrors[mirror as usize].regions.enter(region);
            }
            let r = self.mirrors[mirror as usize].regions.get(region);
            let need = targets & !r.marked;
            if need == 0 {
                continue;
            }
            r.waiters.push(key);
            self.changes[key].left += 1;
            if r.left == 0 {
                self.mark_region(mirror, region, need, cx);
            }
        }
        if self.changes[key].left == 0 {
            self.run_change(key, cx);
        }
    }

    /// The region belongs to the marked ones.
    pub(super) fn insert_dirty(&mut self, mirror: u16, region: u32, now: u64) {
        if self.mirrors[mirror as usize].regions.insert(region, now) {
            let all = self.legs_regions(mirror, self.all_legs(mirror), region);
            let marks = &mut self.mirrors[mirror as usize].regions.dirty_marks;
            all.into_iter().for_each(|at| marks.add(at));
        }
    }

    /// Marks a region on some legs.
    pub(super) fn mark_region<L: Leaves>(
        &mut self,
        mirror: u16,
        region: u32,
        legs: LegSet,
        cx: &mut Ctx<'_, L>,
    ) {
        self.mirrors[mirror as usize].regions.get(region).marking = legs;
        for leg in each(legs) {
            let leg_ref = self.leg_ref(mirror, leg);
            for (leaf, r) in self.legs_regions(mirror, 1 << leg, region) {
                self.mirrors[mirror as usize].regions.get(region).left += 1;
                let leg = leg_ref;
                let token = self.call(Call::Mark { region, leg });
                let leaf = self.leaf(leaf);
                cx.leaves.mark_dirty(leaf, r, token);
            }
        }
    }

    pub(super) fn mark_done<L: Leaves>(
        &mut self,
        region: u32,
        leg: LegRef,
        end: Result<(), LeafError>,
        cx: &mut Ctx<'_, L>,
    ) {
        if end.is_err() {
            self.call_failed(leg, cx);
        }
        let m = &mut self.mirrors[leg.mirror as usize];
        let lost = m.lost;
        let r = m.regions.get(region);
        r.left -= 1;
        if r.left > 0 {
            return;
        }
        if !lost {
            r.marked |= std::mem::take(&mut r.marking);
        }
        for key in std::mem::take(&mut r.waiters) {
            let c = &mut self.changes[key];
            c.left -= 1;
            if c.left == 0 {
                self.mark_change(key, cx);
            }
        }
    }

    fn run_change<L: Leaves>(&mut self, key: Key, cx: &mut Ctx<'_, L>) {
        let c = &mut self.changes[key];
        c.phase = Phase::Running;
        let (mirror, start, count, buf) = (c.mirror, c.start, c.count, c.buf);
        for leg in each(c.targets & !c.bad) {
            let mut pieces = Pieces::new();
            let f = &mut |leaf, p| pieces.push((leaf, p));
            match buf {
                Some(_) => self.tree.leg(mirror, leg, start, count, f),
                None => self.tree.leg_merged(mirror, leg, start, count, f),
            }
            for (leaf, p) in pieces {
                let (leaf, token) = self.change_call(key, leg, leaf);
                match buf {
                    Some(buf) => {
                        let buf = buf.skip((p.at * BLOCK) as u32);
                        cx.leaves.write(leaf, span(p.start, p.count), buf, token);
                    }
                    None => cx.leaves.discard(leaf, p.start, p.count, token),
                }
            }
        }
    }

    /// Every leg answered.
    fn ran<L: Leaves>(&mut self, key: Key, cx: &mut Ctx<'_, L>) {
        let c = &self.changes[key];
        let m = &self.mirrors[c.mirror as usize];
        let (mirror, took) = (c.mirror, c.targets & !c.bad);
        if m.lost || took & m.live() == 0 {
            let regions = m.regions_of(c.start, c.count);
            regions.for_each(|r| self.suspect(mirror, r, cx));
            self.finish_change(key, Err(IoError::Io), cx);
            return;
        }
        let missed = m.which(|s| matches!(s, Leg::Live | Leg::Joining)) & !took;
        each(missed).for_each(|leg| self.leg_failed(mirror, leg, cx));
        self.finish_change(key, Ok(()), cx);
    }

    /// No leg took a change that may have reached parts of some: legs may differ in the region.
    fn suspect<L: Leaves>(&mut self, mirror: u16, region: u32, cx: &mut Ctx<'_, L>) {
        let m = &self.mirrors[mirror as usize];
        if m.lost || m.legs.len() == 1 {
            return;
        }
        let (live, behind) = (m.live(), m.which(|s| matches!(s, Leg::Rebuilding(_))));
        for leaf in self.leaves_of(mirror, live) {
            cx.leaves.resync_dirty(leaf);
        }
        let dirty: Vec<u32> = self.mirrors[mirror as usize].regions.dirty().collect();
        dirty
            .into_iter()
            .for_each(|r| self.insert_resync(mirror, r));
        let m = &mut self.mirrors[mirror as usize];
        if live.count_ones() > 1 {
            m.regions.differ.insert(region);
        }
        // A rebuild begins again, for it may have passed the region.
        for leg in each(behind) {
            m.step(leg, Event::Fail);
            let slot = &mut m.legs[leg as usize];
            slot.era += 1;
            m.regions.forget_leg(1 << leg);
            m.abort_job_of(leg);
        }
    }

    /// The region belongs to those that a leg which missed something is given whole.
    pub(super) fn insert_resync(&mut self, mirror: u16, region: u32) {
        if self.mirrors[mirror as usize].regions.resync.insert(region) {
            let all = self.legs_regions(mirror, self.all_legs(mirror), region);
            let marks = &mut self.mirrors[mirror as usize].regions.resync_marks;
            all.into_iter().for_each(|at| marks.add(at));
        }
    }

    /// Gives the blocks free and ends the request's part, or parks it until a record is durable.
    fn finish_change<L: Leaves>(
        &mut self,
        key: Key,
        result: Result<(), IoError>,
        cx: &mut Ctx<'_, L>,
    ) {
        let Some(c) = self.changes.remove(key) else {
            unreachable!("a change ends twice")
        };
        let m = &mut self.mirrors[c.mirror as usize];
        if c.entered {
            for region in m.regions_of(c.start, c.count) {
                m.regions.leave(region);
            }
        }
        self.unlock(c.mirror, Holder::Change(key), cx);
        match (result, self.mirrors[c.mirror as usize].gate(cx.planted)) {
            (Err(e), _) => self.part_done(c.request, Err(e), cx),
            (Ok(()), Gate::Open) => self.part_done(c.request, Ok(()), cx),
            (Ok(()), Gate::Lost) => self.part_done(c.request, Err(IoError::Io), cx),
            (Ok(()), Gate::Closed) => {
                self.mirrors[c.mirror as usize].parked.push(c.request);
            }
        }
    }

    /// Gives a range back and starts those who waited for it.
    pub(super) fn unlock<L: Leaves>(&mut self, mirror: u16, holder: Holder, cx: &mut Ctx<'_, L>) {
        let mut granted = Vec::new();
        self.mirrors[mirror as usize]
            .locks
            .release(holder, &mut granted);
        for holder in granted {
            match holder {
                Holder::Change(key) => self.change_locked(key, cx),
                Holder::Copy(key) => self.copy_locked(key, cx),
            }
        }
    }
}
