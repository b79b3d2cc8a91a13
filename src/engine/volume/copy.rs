//! The copy of one segment of a mirror, from the source of a job to its targets.
//!
//! ```text
//!   lock -> scan the source -> read -> write and discard -> unlock
//! ```
//! A copy holds its segment against changes, and each needs a scratch buffer, of which there are
//! few: that is what throttles a job. What there is to copy, and what follows, is `job`'s.

use super::job::{NOTICES, What};
use super::leg::Lacks;
use super::lock::Holder;
use super::mirror::each;
use super::request::span;
use super::slab::Key;
use super::{Call, Ctx, LegRef, Volume};
use crate::io::Buf;
use crate::leaf::{BlockBits, LeafError, LeafId, Leaves, SegmentScan};
use crate::planted::Bug;
use layout::{BLOCK, Epoch};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Locking,
    Scanning,
    Reading,
    Writing,
}

/// The copy of one segment.
#[derive(Debug)]
pub(super) struct Copy {
    mirror: u16,
    segment: u64,
    slot: u16,
    phase: Phase,
    left: u32,
    copy: BlockBits,
    discard: BlockBits,
}

impl Volume {
    /// Begins with the next segment of a job; the scratch buffer is its own from now on.
    pub(super) fn start_copy<L: Leaves>(&mut self, mirror: u16, slot: u16, cx: &mut Ctx<'_, L>) {
        let total = self.tree.mirrors()[mirror as usize].blocks / self.segment_blocks;
        let m = &mut self.mirrors[mirror as usize];
        let in_region = m.region_blocks / self.segment_blocks;
        let Some(job) = &mut m.job else {
            unreachable!("a copy is part of a job")
        };
        let segment = match &job.what {
            What::Resync(batch) => {
                let region = u64::from(batch[(job.next / in_region) as usize]);
                region * in_region + job.next % in_region
            }
            What::Rebuild(..) => job.next,
        };
        job.next += 1;
        if segment >= total {
            // The last region of a mirror may be a short one.
            job.done += 1;
            cx.scratch.free.push(slot);
            return;
        }
        job.active += 1;
        let key = self.copies.insert(Copy {
            mirror,
            segment,
            slot,
            phase: Phase::Locking,
            left: 0,
            copy: [0; 4],
            discard: [0; 4],
        });
        let start = segment * self.segment_blocks;
        let locks = &mut self.mirrors[mirror as usize].locks;
        if locks.acquire(Holder::Copy(key), start, self.segment_blocks) {
            self.copy_locked(key, cx);
        }
    }

    /// The leaf and its segment that a segment of a mirror is on a leg.
    fn leg_segment(&self, mirror: u16, leg: u8, segment: u64) -> (LeafId, u64) {
        let mut found = None;
        let start = segment * self.segment_blocks;
        let f = &mut |leaf, p: crate::tree::Piece| found = Some((leaf, p.start));
        self.tree.leg(mirror, leg, start, self.segment_blocks, f);
        match found {
            Some((leaf, start)) => (self.leaf(leaf), start),
            None => unreachable!("a segment lies somewhere"),
        }
    }

    fn copy_call(&mut self, key: Key, leg: u8) -> u64 {
        let c = &mut self.copies[key];
        c.left += 1;
        let leg = self.leg_ref(self.copies[key].mirror, leg);
        self.call(Call::Copy { copy: key, leg })
    }

    /// The segment is its own.
    pub(super) fn copy_locked<L: Leaves>(&mut self, key: Key, cx: &mut Ctx<'_, L>) {
        let c = &mut self.copies[key];
        c.phase = Phase::Scanning;
        let (mirror, segment) = (c.mirror, c.segment);
        let Some(job) = &self.mirrors[mirror as usize].job else {
            unreachable!("a copy is part of a job")
        };
        if job.aborted {
            self.end_copy(key, cx);
            return;
        }
        let since = match job.what {
            What::Rebuild(_, Lacks::Since(e) | Lacks::Blank(e)) => e,
            What::Rebuild(_, Lacks::Unknown) | What::Resync(_) => Epoch(0),
        };
        let source = job.source;
        let (leaf, start) = self.leg_segment(mirror, source, segment);
        let token = self.copy_call(key, source);
        cx.leaves
            .scan(leaf, (start / self.segment_blocks) as u32, since, token);
    }

    pub(super) fn copy_call_done<L: Leaves>(
        &mut self,
        key: Key,
        leg: LegRef,
        end: Result<(), LeafError>,
        scan: Option<SegmentScan>,
        cx: &mut Ctx<'_, L>,
    ) {
        if let Err(e) = end {
            self.copy_failed(key, leg, e, cx);
        }
        let c = &mut self.copies[key];
        c.left -= 1;
        if let Some(scan) = scan {
            let (mirror, segment) = (c.mirror, c.segment);
            let (copy, mut discard) = self.what_to_copy(mirror, segment, scan);
            if cx.planted.has(Bug::RebuildForgetsDiscards) {
                discard = [0; 4];
            }
            let c = &mut self.copies[key];
            (c.copy, c.discard) = (copy, discard);
        }
        let c = &self.copies[key];
        if c.left > 0 {
            return;
        }
        let aborted = self.mirrors[c.mirror as usize]
            .job
            .as_ref()
            .is_none_or(|j| j.aborted);
        match c.phase {
            _ if aborted => self.end_copy(key, cx),
            Phase::Scanning if c.copy != [0; 4] => self.copy_read(key, cx),
            Phase::Scanning | Phase::Reading => self.copy_write(key, cx),
            Phase::Writing => self.end_copy(key, cx),
            Phase::Locking => unreachable!("no call before the lock"),
        }
    }

    /// A source that cannot be read here ends the job; a target that cannot be written is dropped.
    fn copy_failed<L: Leaves>(&mut self, key: Key, leg: LegRef, e: LeafError, cx: &mut Ctx<'_, L>) {
        let c = &self.copies[key];
        if c.phase == Phase::Writing || e == LeafError::DiskFailed {
            self.call_failed(leg, cx);
            return;
        }
        let m = &mut self.mirrors[c.mirror as usize];
        m.abort_job();
        match m.job.as_ref().map(|j| &j.what) {
            Some(What::Rebuild(leg, _)) => m.legs[*leg as usize].ready = false,
            Some(What::Resync(_)) | None => m.blocked = true,
        }
    }

    /// The blocks to copy and those to discard, from what the source holds.
    fn what_to_copy(&self, mirror: u16, segment: u64, s: SegmentScan) -> (BlockBits, BlockBits) {
        let m = &self.mirrors[mirror as usize];
        let region = (segment * self.segment_blocks / m.region_blocks) as u32;
        let lacks = match m.job.as_ref().map(|j| &j.what) {
            Some(What::Rebuild(_, lacks)) if !m.regions.resync.contains(&region) => *lacks,
            _ => Lacks::Unknown,
        };
        let (mut copy, mut discard) = ([0; 4], [0; 4]);
        for word in 0..4u64 {
            let bits = self.segment_blocks.saturating_sub(word * 64).min(64);
            let all = if bits == 64 {
                u64::MAX
            } else {
                (1 << bits) - 1
            };
            let i = word as usize;
            let (of_valid, of_invalid) = match lacks {
                Lacks::Since(_) => (s.changed[i], s.changed[i]),
                Lacks::Blank(_) => (all, s.changed[i]),
                Lacks::Unknown => (all, all),
            };
            copy[i] = s.valid[i] & of_valid & all;
            discard[i] = !s.valid[i] & of_invalid & all;
        }
        (copy, discard)
    }

    fn copy_read<L: Leaves>(&mut self, key: Key, cx: &mut Ctx<'_, L>) {
        let c = &mut self.copies[key];
        c.phase = Phase::Reading;
        let (mirror, segment, slot, bits) = (c.mirror, c.segment, c.slot, c.copy);
        let source = self.mirrors[mirror as usize]
            .job
            .as_ref()
            .map_or(0, |j| j.source);
        let (leaf, start) = self.leg_segment(mirror, source, segment);
        for (first, count) in runs(&bits) {
            let token = self.copy_call(key, source);
            cx.leaves.read(
                leaf,
                span(start + first, count),
                scratch(slot, first),
                token,
            );
        }
    }

    fn copy_write<L: Leaves>(&mut self, key: Key, cx: &mut Ctx<'_, L>) {
        let c = &mut self.copies[key];
        c.phase = Phase::Writing;
        let (mirror, segment, slot) = (c.mirror, c.segment, c.slot);
        let (copy, discard) = (c.copy, c.discard);
        let targets = self.mirrors[mirror as usize]
            .job
            .as_ref()
            .map_or(0, |j| j.targets);
        for leg in each(targets) {
            let (leaf, start) = self.leg_segment(mirror, leg, segment);
            for (first, count) in runs(&copy) {
                let token = self.copy_call(key, leg);
                cx.leaves.write(
                    leaf,
                    span(start + first, count),
                    scratch(slot, first),
                    token,
                );
            }
            for (first, count) in runs(&discard) {
                let token = self.copy_call(key, leg);
                cx.leaves.discard(leaf, start + first, count, token);
            }
        }
        if self.copies[key].left == 0 {
            self.end_copy(key, cx);
        }
    }

    fn end_copy<L: Leaves>(&mut self, key: Key, cx: &mut Ctx<'_, L>) {
        let Some(c) = self.copies.remove(key) else {
            unreachable!("a copy ends twice")
        };
        cx.scratch.free.push(c.slot);
        let Some(job) = &mut self.mirrors[c.mirror as usize].job else {
            unreachable!("a copy is part of a job")
        };
        job.active -= 1;
        let mut tell = None;
        if !job.aborted {
            job.done += 1;
            job.copied += c
                .copy
                .iter()
                .map(|w| u64::from(w.count_ones()))
                .sum::<u64>();
            if let What::Rebuild(leg, _) = job.what {
                let every = job.total.div_ceil(NOTICES);
                tell = job.done.is_multiple_of(every).then_some(leg);
            }
        }
        if let Some(leg) = tell {
            self.notice_rebuild(c.mirror, leg, false, cx);
        }
        self.unlock(c.mirror, Holder::Copy(key), cx);
        self.pump(c.mirror, cx);
    }
}

fn scratch(slot: u16, block: u64) -> Buf {
    let at = (block * BLOCK) as u32;
    Buf::Scratch { slot, at }
}

/// The runs of ones, each with its first bit and its length.
fn runs(bits: &BlockBits) -> impl Iterator<Item = (u64, u64)> + use<> {
    let bits = *bits;
    let is = move |i: u64| i < 256 && bits[(i / 64) as usize] >> (i % 64) & 1 == 1;
    let mut next = 0;
    std::iter::from_fn(move || {
        let first = (next..256).find(|i| is(*i))?;
        next = (first..=256).find(|i| !is(*i))?;
        Some((first, next - first))
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn runs_of_bits() {
        let all: Vec<_> = super::runs(&[0b1011, 1 << 63, 1, u64::MAX]).collect();
        assert_eq!(all, [(0, 2), (3, 1), (127, 2), (192, 64)]);
        assert_eq!(super::runs(&[0; 4]).count(), 0);
    }
}
