//! A mirror of a volume: its legs, and what happens when one fails.

use super::job::Job;
use super::leg::{Counts, Event, Leg};
use super::lock::Locks;
use super::record::Recording;
use super::regions::{LeafRegion, LegSet, Regions};
use super::slab::Key;
use super::{Ctx, LegRef, Volume};
use crate::leaf::{LeafId, Leaves, LegsRecord, Span};
use crate::planted::{Bug, Planted};
use smallvec::SmallVec;
use std::ops::Range;

/// One leg.
#[derive(Debug)]
pub(super) struct LegSlot {
    pub(super) state: Leg,
    /// How often it was dropped.
    pub(super) era: u32,
    /// It is stale, there, and nothing failed since it came: it may be rebuilt.
    pub(super) ready: bool,
    /// Its leaves, by the tree's index.
    pub(super) leaves: Range<u32>,
}

/// Whether changes may be acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    /// Every leg that lacks something is recorded as stale.
    Open,
    /// That is being recorded.
    Closed,
    /// The last live leg failed.
    Lost,
}

/// One mirror.
#[derive(Debug)]
pub(super) struct Mirror {
    pub(super) legs: SmallVec<[LegSlot; 3]>,
    /// What stands, durably, on every live leg.
    pub(super) record: LegsRecord,
    /// The highest generation that was ever written to a leg.
    pub(super) attempted: u64,
    /// A change of the record that is under way; one at a time.
    pub(super) recording: Option<Recording>,
    pub(super) locks: Locks,
    pub(super) regions: Regions,
    /// Blocks in a region, a power of two.
    pub(super) region_blocks: u64,
    /// Requests of which a part waits for the gate.
    pub(super) parked: Vec<Key>,
    /// The last live leg failed.
    pub(super) lost: bool,
    pub(super) job: Option<Job>,
    /// A resync met what it cannot read; it is tried again with the next attach.
    pub(super) blocked: bool,
    pub(super) counts: Counts,
}

impl Mirror {
    /// The legs whose state is as asked.
    pub(super) fn which(&self, f: impl Fn(Leg) -> bool) -> LegSet {
        let fits = |(i, l): (usize, &LegSlot)| LegSet::from(f(l.state)) << i;
        self.legs.iter().enumerate().map(fits).sum()
    }
    pub(super) fn live(&self) -> LegSet {
        self.which(|s| s == Leg::Live)
    }
    pub(super) fn targets(&self) -> LegSet {
        self.which(Leg::is_target)
    }
    pub(super) fn dropping(&self) -> LegSet {
        self.which(|s| matches!(s, Leg::Dropping(_)))
    }
    pub(super) fn gate(&self, planted: Planted) -> Gate {
        if self.lost {
            Gate::Lost
        } else if self.dropping() != 0 && !planted.has(Bug::LegLossNotDurable) {
            Gate::Closed
        } else {
            Gate::Open
        }
    }
    /// Whether marks may be forgotten: all legs are live and equal.
    pub(super) fn may_forget(&self) -> bool {
        !self.lost
            && self.regions.differ.is_empty()
            && self.legs.iter().all(|l| l.state == Leg::Live)
    }
    /// The regions that blocks lie in.
    pub(super) fn regions_of(&self, start: u64, count: u64) -> std::ops::RangeInclusive<u32> {
        let last = start + count.max(1) - 1;
        (start / self.region_blocks) as u32..=(last / self.region_blocks) as u32
    }
    /// Whether live legs may differ in some of the blocks.
    pub(super) fn differs(&self, at: Span) -> bool {
        let differ = &self.regions.differ;
        !differ.is_empty()
            && (differ
                .range(self.regions_of(at.start, u64::from(at.count)))
                .next())
            .is_some()
    }
    pub(super) fn step(&mut self, leg: u8, event: Event) -> bool {
        self.legs[leg as usize].state.step(event, &mut self.counts)
    }
}

/// The legs of a set, one by one.
pub(super) fn each(set: LegSet) -> impl Iterator<Item = u8> {
    (0..LegsRecord::LEGS as u8).filter(move |leg| set & 1 << leg != 0)
}

impl Volume {
    pub(super) fn leg_ref(&self, mirror: u16, leg: u8) -> LegRef {
        let era = self.mirrors[mirror as usize].legs[leg as usize].era;
        LegRef { mirror, leg, era }
    }

    /// The leaves of some legs.
    pub(super) fn leaves_of(&self, mirror: u16, legs: LegSet) -> Vec<LeafId> {
        let m = &self.mirrors[mirror as usize];
        let leaves = each(legs).flat_map(|leg| m.legs[leg as usize].leaves.clone());
        leaves.map(|i| self.leaf(i)).collect()
    }

    /// Something that a leg was called for failed; counts only against the leg that was called.
    pub(super) fn call_failed<L: Leaves>(&mut self, leg: LegRef, cx: &mut Ctx<'_, L>) {
        if self.leg_ref(leg.mirror, leg.leg) == leg {
            self.leg_failed(leg.mirror, leg.leg, cx);
        }
    }

    /// A leg failed: it is dropped, unless it is the last one.
    pub(super) fn leg_failed<L: Leaves>(&mut self, mirror: u16, leg: u8, cx: &mut Ctx<'_, L>) {
        let m = &mut self.mirrors[mirror as usize];
        m.legs[leg as usize].ready = false;
        if m.live() == 1 << leg {
            m.lost = true;
            m.abort_job();
        } else if m.step(leg, Event::Fail) {
            let slot = &mut m.legs[leg as usize];
            slot.era += 1;
            m.regions.forget_leg(1 << leg);
            m.abort_job_of(leg);
        } else {
            return;
        }
        self.next_record(mirror, cx);
        self.pump(mirror, cx);
    }

    /// Visits the regions of the leaves of one leg that a region of the mirror lies in.
    pub(super) fn leaf_regions(
        &self,
        mirror: u16,
        leg: u8,
        region: u32,
        f: &mut impl FnMut(LeafRegion),
    ) {
        let blocks = self.mirrors[mirror as usize].region_blocks;
        let start = u64::from(region) * blocks;
        let end = (start + blocks).min(self.tree.mirrors()[mirror as usize].blocks);
        self.tree
            .leg_merged(mirror, leg, start, end - start, &mut |leaf, p| {
                let of = self.leaf_region_blocks[leaf as usize];
                let (first, last) = (p.start / of, (p.start + p.count - 1) / of);
                (first..=last).for_each(|r| f((leaf, r as u32)));
            });
    }

    /// The leaves' regions behind a region, on all legs of a set.
    pub(super) fn legs_regions(&self, mirror: u16, legs: LegSet, region: u32) -> Vec<LeafRegion> {
        let mut all = Vec::new();
        for leg in each(legs) {
            self.leaf_regions(mirror, leg, region, &mut |at| all.push(at));
        }
        all
    }

    /// All legs of a mirror, whatever their state.
    pub(super) fn all_legs(&self, mirror: u16) -> LegSet {
        self.mirrors[mirror as usize].which(|_| true)
    }
}
