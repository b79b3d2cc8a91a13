//! Changes of the record that a mirror's legs hold about each other: one at a time.
//!
//! A leg that rejoins is told last. First its own record is made equal to the others', which still
//! call it stale (`Announce`); then theirs are changed (`Join`), then its own (`JoinSelf`). So
//! whatever a crash leaves, the highest generation is right, and a leg that it does not call stale
//! and that is at most one generation behind holds everything.

use super::leg::{Event, Leg, Lost};
use super::mirror::each;
use super::regions::LegSet;
use super::{Call, Ctx, LegRef, Volume};
use crate::io::{Effect, IoError, Notice};
use crate::leaf::{LeafError, Leaves, LegsRecord};
use layout::{Bytes, Epoch};

/// Why a record is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// Some legs do not have the current one.
    Settle,
    /// These legs are stale.
    Drop(LegSet),
    /// This leg, made equal, gets the current one.
    Announce(u8),
    /// This leg is not stale any more; the others are told.
    Join(u8),
    /// The same; it is told itself.
    JoinSelf(u8),
}

/// A record on its way to some legs.
#[derive(Debug)]
pub(super) struct Recording {
    why: Why,
    record: LegsRecord,
    /// Calls that have not ended.
    left: u32,
}

impl Volume {
    /// Writes a record to legs.
    pub(super) fn start_record<L: Leaves>(
        &mut self,
        mirror: u16,
        why: Why,
        record: LegsRecord,
        legs: LegSet,
        cx: &mut Ctx<'_, L>,
    ) {
        assert!(legs != 0, "a record is written to no leg");
        let m = &mut self.mirrors[mirror as usize];
        m.attempted = m.attempted.max(record.generation);
        let mut left = 0;
        for leg in each(legs) {
            for leaf in self.leaves_of(mirror, 1 << leg) {
                let leg = self.leg_ref(mirror, leg);
                let token = self.call(Call::Record { leg });
                cx.leaves.set_legs(leaf, record, token);
                left += 1;
            }
        }
        let recording = Recording { why, record, left };
        self.mirrors[mirror as usize].recording = Some(recording);
    }

    pub(super) fn record_leg_done<L: Leaves>(
        &mut self,
        leg: LegRef,
        end: Result<(), LeafError>,
        cx: &mut Ctx<'_, L>,
    ) {
        if end.is_err() {
            self.call_failed(leg, cx);
        }
        let m = &mut self.mirrors[leg.mirror as usize];
        let Some(r) = &mut m.recording else {
            unreachable!("a record ends that was not begun")
        };
        r.left -= 1;
        if r.left > 0 {
            return;
        }
        let (why, record) = (r.why, r.record);
        m.recording = None;
        if !m.lost {
            self.recorded(leg.mirror, why, record, cx);
        }
        self.next_record(leg.mirror, cx);
        self.announce(leg.mirror, cx);
        self.pump(leg.mirror, cx);
    }

    /// Every leg that is live has the record.
    fn recorded<L: Leaves>(
        &mut self,
        mirror: u16,
        why: Why,
        record: LegsRecord,
        cx: &mut Ctx<'_, L>,
    ) {
        let path = self.tree.mirrors()[mirror as usize].path;
        let m = &mut self.mirrors[mirror as usize];
        let old = std::mem::replace(&mut m.record, record);
        match why {
            Why::Settle => {}
            Why::Drop(legs) => {
                for leg in each(legs) {
                    m.step(leg, Event::Recorded);
                    cx.out.push(Effect::Notice(Notice::LegDropped {
                        volume: self.uid,
                        mirror: path,
                        leg,
                    }));
                }
                let before = each(legs)
                    .map(|leg| old.since[leg as usize])
                    .collect::<Vec<_>>();
                self.release(mirror, &before, cx);
            }
            Why::Announce(leg) => {
                if m.step(leg, Event::Complete) {
                    let joined = joined(m.record, leg, m.attempted + 1);
                    let live = m.live();
                    self.start_record(mirror, Why::Join(leg), joined, live, cx);
                }
            }
            Why::Join(leg) => {
                let others = each(old.stale & !(1 << leg)).map(|o| old.since[o as usize]);
                let others: Vec<Epoch> = others.collect();
                self.release(mirror, &others, cx);
                let m = &self.mirrors[mirror as usize];
                if m.legs[leg as usize].state == Leg::Joining {
                    self.start_record(mirror, Why::JoinSelf(leg), record, 1 << leg, cx);
                }
            }
            Why::JoinSelf(leg) => {
                if m.step(leg, Event::Joined) {
                    self.rejoined(mirror, leg, cx);
                }
            }
        }
    }

    /// A leg counts again.
    fn rejoined<L: Leaves>(&mut self, mirror: u16, leg: u8, cx: &mut Ctx<'_, L>) {
        let m = &mut self.mirrors[mirror as usize];
        let held: Vec<Epoch> = m.record.since.to_vec();
        let equal: Vec<u32> = m
            .regions
            .resync
            .difference(&m.regions.differ)
            .copied()
            .collect();
        self.release(mirror, &held, cx);
        let m = &mut self.mirrors[mirror as usize];
        if m.live() == m.which(|_| true) {
            equal
                .into_iter()
                .for_each(|r| self.forget_resync(mirror, r, cx));
        }
        self.notice_rebuild(mirror, leg, true, cx);
    }

    /// Nobody needs these epochs any more but those that are stale still.
    fn release<L: Leaves>(&mut self, mirror: u16, epochs: &[Epoch], cx: &mut Ctx<'_, L>) {
        let m = &self.mirrors[mirror as usize];
        let stale = each(m.record.stale).map(|leg| m.record.since[leg as usize]);
        let needed: Vec<Epoch> = stale.collect();
        for e in epochs {
            if *e != Epoch(0) && !needed.contains(e) {
                for leaf in self.leaves_of(mirror, self.mirrors[mirror as usize].targets()) {
                    cx.leaves.release_epoch(leaf, *e);
                }
            }
        }
    }

    /// Starts the next change of the record if one is due; else lets go who waited for it.
    pub(super) fn next_record<L: Leaves>(&mut self, mirror: u16, cx: &mut Ctx<'_, L>) {
        let m = &mut self.mirrors[mirror as usize];
        if m.recording.is_some() {
            return;
        }
        if !m.lost && m.dropping() != 0 {
            self.record_drop(mirror, cx);
            return;
        }
        let result = if m.lost { Err(IoError::Io) } else { Ok(()) };
        for key in std::mem::take(&mut m.parked) {
            self.part_done(key, result, cx);
        }
        for key in std::mem::take(&mut self.parked) {
            self.flushed_request(key, cx);
        }
    }

    /// Records on the live legs that others are stale.
    fn record_drop<L: Leaves>(&mut self, mirror: u16, cx: &mut Ctx<'_, L>) {
        let m = &self.mirrors[mirror as usize];
        let (live, dropping) = (m.live(), m.dropping());
        let mut record = m.record;
        record.generation = m.attempted + 1;
        let cut = self.cut_mirror(mirror, cx);
        for leaf in self.leaves_of(mirror, live) {
            cx.leaves.resync_dirty(leaf);
        }
        let dirty: Vec<u32> = self.mirrors[mirror as usize].regions.dirty().collect();
        dirty
            .into_iter()
            .for_each(|r| self.insert_resync(mirror, r));
        let m = &mut self.mirrors[mirror as usize];
        for leg in each(dropping) {
            let Leg::Dropping(lost) = m.legs[leg as usize].state else {
                unreachable!("only legs that are being dropped")
            };
            record.stale |= 1 << leg;
            record.blank &= !(1 << leg);
            record.blank |= u16::from(lost == Some(Lost::Blank)) << leg;
            record.since[leg as usize] = match lost {
                Some(Lost::Unknown) => Epoch(0),
                Some(Lost::Blank) | None => cut,
            };
        }
        self.start_record(mirror, Why::Drop(dropping), record, live, cx);
    }

    /// Ends the running epoch on every leg that changes go to, and holds it.
    fn cut_mirror<L: Leaves>(&mut self, mirror: u16, cx: &mut Ctx<'_, L>) -> Epoch {
        let m = &self.mirrors[mirror as usize];
        let mut cut = None;
        for leaf in self.leaves_of(mirror, m.targets()) {
            let e = cx.leaves.cut_epoch(leaf);
            let first = *cut.get_or_insert(e);
            assert!(e == first, "a leg cut epoch {e}, another {first}");
        }
        cut.unwrap_or_default()
    }

    /// Tells how far a rebuild is.
    pub(super) fn notice_rebuild<L: Leaves>(
        &mut self,
        mirror: u16,
        leg: u8,
        complete: bool,
        cx: &mut Ctx<'_, L>,
    ) {
        let Some(job) = &self.mirrors[mirror as usize].job else {
            return;
        };
        let segment = self.segment_blocks * layout::BLOCK;
        cx.out.push(Effect::Notice(Notice::Rebuild {
            volume: self.uid,
            mirror: self.tree.mirrors()[mirror as usize].path,
            leg,
            done: Bytes(job.done * segment),
            total: Bytes(job.total * segment),
            copied: Bytes(job.copied * layout::BLOCK),
            complete,
        }));
    }
}

/// The record once a leg is not stale any more. What other stale legs lack can no longer be told
/// from epochs alone on every live leg, for this one learned of the past by copies: they are made
/// equal block by block.
fn joined(mut record: LegsRecord, leg: u8, generation: u64) -> LegsRecord {
    record.generation = generation;
    record.stale &= !(1 << leg);
    record.blank = 0;
    for other in each(record.stale) {
        record.since[other as usize] = Epoch(0);
    }
    record
}
