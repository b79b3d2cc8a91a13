//! What a mirror has to copy from leg to leg, as a whole: the resync of live legs that may differ,
//! and the rebuild of a stale one. How one segment is copied is `copy`'s.
//!
//! ```text
//!   resync:   a batch of regions, flush, forget that they may differ; again until none is left
//!   rebuild:  all segments, flush, rewrite the records (`record`)
//! ```
//! One of the two at a time on a mirror, a resync first. Whatever fails ends the whole; what was
//! copied is harmless, and it begins again from the records.

use super::leg::{Event, Lacks, Leg};
use super::mirror::{LegSlot, Mirror};
use super::record::Why;
use super::regions::LegSet;
use super::{Ctx, Stage, Volume, flush};
use crate::leaf::{LeafId, Leaves};
use layout::Epoch;

/// The most copies under way on a mirror.
const COPIES: u32 = 4;
/// A resync forgets regions in batches of at least so many.
const BATCH: usize = 64;
/// Progress is told at most so many times in a rebuild.
pub(super) const NOTICES: u64 = 16;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// These regions, from the source to the other live legs.
    Resync(Vec<u32>),
    /// The whole of a leg.
    Rebuild(u8, Lacks),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stand {
    Copying,
    Flushing,
    Recording,
}

/// A resync or a rebuild.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) what: What,
    pub(super) source: u8,
    pub(super) targets: LegSet,
    stand: Stand,
    /// It goes no further.
    pub(super) aborted: bool,
    /// The next segment, counted within what there is to do.
    pub(super) next: u64,
    /// Copies under way.
    pub(super) active: u32,
    /// Segments done, of how many; blocks copied.
    pub(super) done: u64,
    pub(super) total: u64,
    pub(super) copied: u64,
}

impl Mirror {
    pub(super) fn abort_job(&mut self) {
        if let Some(job) = &mut self.job {
            job.aborted = true;
        }
    }
    /// Ends the job that this leg has a part in.
    pub(super) fn abort_job_of(&mut self, leg: u8) {
        if let Some(job) = &mut self.job {
            job.aborted |= job.source == leg || job.targets & 1 << leg != 0;
        }
    }
}

impl Volume {
    /// Starts what there is to copy on a mirror, or goes on with it.
    pub(super) fn pump<L: Leaves>(&mut self, mirror: u16, cx: &mut Ctx<'_, L>) {
        if self.mirrors[mirror as usize].job.is_none() {
            self.start_job(mirror, cx);
        }
        loop {
            let Some(job) = &mut self.mirrors[mirror as usize].job else {
                return;
            };
            if job.stand != Stand::Copying {
                return;
            }
            let over = job.aborted || job.next == job.total;
            if over && job.active == 0 {
                if job.aborted {
                    self.end_job(mirror, cx);
                } else {
                    job.stand = Stand::Flushing;
                    self.start_flush(flush::For::Job(mirror), cx);
                }
                return;
            }
            if over || job.active == COPIES {
                return;
            }
            let Some(slot) = cx.scratch.free.pop() else {
                if !std::mem::replace(&mut self.starved, true) {
                    cx.scratch.waiting.push_back(self.base);
                }
                return;
            };
            self.start_copy(mirror, slot, cx);
        }
    }

    /// The job is over; perhaps another one is due.
    fn end_job<L: Leaves>(&mut self, mirror: u16, cx: &mut Ctx<'_, L>) {
        let m = &mut self.mirrors[mirror as usize];
        if let Some(Job {
            what: What::Rebuild(leg, _),
            ..
        }) = m.job.take()
        {
            // A rebuild that came to nothing: it is begun again if the leg is ready.
            let slot = &mut m.legs[leg as usize];
            if matches!(slot.state, Leg::Rebuilding(_)) {
                slot.era += 1;
                m.step(leg, Event::Fail);
                m.regions.forget_leg(1 << leg);
            }
        }
        self.pump(mirror, cx);
    }

    fn start_job<L: Leaves>(&mut self, mirror: u16, cx: &mut Ctx<'_, L>) {
        let m = &mut self.mirrors[mirror as usize];
        if m.lost || m.recording.is_some() || self.stage != Stage::Attached {
            return;
        }
        let live = m.live();
        let source = live.trailing_zeros() as u8;
        let (what, targets, total) = if !m.regions.differ.is_empty() && !m.blocked {
            let size = BATCH.max(m.regions.differ.len() / BATCH);
            let batch: Vec<u32> = m.regions.differ.iter().take(size).copied().collect();
            let total = batch.len() as u64 * (m.region_blocks / self.segment_blocks);
            (What::Resync(batch), live & !(1 << source), total)
        } else {
            let stale = |l: &LegSlot| l.state == Leg::Stale && l.ready;
            let Some(leg) = m.legs.iter().position(stale) else {
                return;
            };
            let leg = leg as u8;
            let lacks = self.start_rebuild(mirror, leg, cx);
            let total = self.tree.mirrors()[mirror as usize].blocks / self.segment_blocks;
            (What::Rebuild(leg, lacks), 1 << leg, total)
        };
        self.mirrors[mirror as usize].job = Some(Job {
            what,
            source,
            targets,
            stand: Stand::Copying,
            aborted: false,
            next: 0,
            active: 0,
            done: 0,
            total,
            copied: 0,
        });
    }

    /// A stale leg takes part from now on: it is in step with the others, and marks that it bears
    /// from before mean nothing.
    fn start_rebuild<L: Leaves>(&mut self, mirror: u16, leg: u8, cx: &mut Ctx<'_, L>) -> Lacks {
        let m = &self.mirrors[mirror as usize];
        // A power cut may have left the stale leg ahead: the others follow it then.
        let in_step = self.leaves_of(mirror, m.targets() | 1 << leg);
        let epochs = in_step.iter().map(|l| cx.leaves.state(*l).epoch);
        let epoch = epochs.max().unwrap_or_default();
        let leaves = self.leaves_of(mirror, 1 << leg);
        let new = |l: &LeafId| cx.leaves.state(*l).legs.generation == 0;
        let since = m.record.since[leg as usize];
        let lacks = match (since, m.record.blank & 1 << leg != 0) {
            (Epoch(0), false) => Lacks::Unknown,
            (_, true) if !leaves.iter().all(new) => Lacks::Unknown,
            (since, true) => Lacks::Blank(since),
            (since, false) if leaves.iter().any(new) => Lacks::Blank(since),
            (since, false) => Lacks::Since(since),
        };
        in_step.iter().for_each(|l| cx.leaves.join_epoch(*l, epoch));
        for leaf in leaves {
            let state = cx.leaves.state(leaf);
            for region in 0..state.segments.div_ceil(state.region_segments) {
                if cx.leaves.is_dirty(leaf, region) {
                    cx.leaves.clear_dirty(leaf, region);
                }
                if cx.leaves.is_resync(leaf, region) {
                    cx.leaves.clear_resync(leaf, region);
                }
            }
        }
        let begun = self.mirrors[mirror as usize].step(leg, Event::Return(lacks));
        assert!(begun, "only a stale leg is rebuilt");
        lacks
    }

    /// What a job copied is durable.
    pub(super) fn job_flushed<L: Leaves>(&mut self, mirror: u16, cx: &mut Ctx<'_, L>) {
        let m = &mut self.mirrors[mirror as usize];
        let Some(job) = &mut m.job else {
            unreachable!("a flush for a job that is over")
        };
        if job.aborted {
            self.end_job(mirror, cx);
            return;
        }
        match &mut job.what {
            What::Resync(batch) => {
                let batch = std::mem::take(batch);
                let whole = m.live() == m.which(|_| true);
                for region in batch {
                    self.mirrors[mirror as usize].regions.differ.remove(&region);
                    if whole {
                        self.forget_resync(mirror, region, cx);
                    }
                }
                self.end_job(mirror, cx);
            }
            What::Rebuild(..) => {
                job.stand = Stand::Recording;
                self.announce(mirror, cx);
            }
        }
    }

    /// No change of the records is under way: a leg that was rebuilt has its records changed, and
    /// the job ends when they are, or when that came to nothing.
    pub(super) fn announce<L: Leaves>(&mut self, mirror: u16, cx: &mut Ctx<'_, L>) {
        let m = &self.mirrors[mirror as usize];
        let Some(job) = m.job.as_ref().filter(|j| j.stand == Stand::Recording) else {
            return;
        };
        let What::Rebuild(leg, _) = job.what else {
            unreachable!("a resync changes no record")
        };
        if m.recording.is_some() {
            return;
        }
        let state = m.legs[leg as usize].state;
        if job.aborted || m.lost || !matches!(state, Leg::Rebuilding(_)) {
            self.end_job(mirror, cx);
        } else {
            self.start_record(mirror, Why::Announce(leg), m.record, 1 << leg, cx);
        }
    }
}
