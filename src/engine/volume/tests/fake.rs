//! Leaves in memory whose calls end when the test says so, with what disks do to them.

use crate::io::{Buf, DiskIndex, ReqId};
use crate::leaf::{
    Done, LeafError, LeafId, LeafState, Leaves, LegsRecord, Outcome, SegmentScan, Span, Token,
};
use layout::Epoch;
use std::collections::{BTreeMap, BTreeSet};

pub const SEGMENT_BLOCKS: u32 = 4;

/// splitmix64.
#[derive(Clone, Debug)]
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// What a leaf holds: for each block its content and the epoch of its last change.
#[derive(Clone, Debug, Default)]
pub struct Image {
    pub blocks: Vec<Option<u64>>,
    changed: Vec<u32>,
    pub legs: LegsRecord,
    pub dirty: BTreeSet<u32>,
    pub resync: BTreeSet<u32>,
    pub epoch: u32,
    pub held: BTreeSet<u32>,
}

#[derive(Clone, Debug)]
pub struct FakeLeaf {
    pub now: Image,
    pub durable: Image,
    region_segments: u32,
}

impl FakeLeaf {
    pub fn new(segments: u32, region_segments: u32) -> Self {
        let blocks = (segments * SEGMENT_BLOCKS) as usize;
        let image = Image {
            blocks: vec![None; blocks],
            changed: vec![0; blocks],
            epoch: 1,
            ..Image::default()
        };
        FakeLeaf {
            now: image.clone(),
            durable: image,
            region_segments,
        }
    }

    /// It shows so many segments more.
    pub fn grow(&mut self, segments: u32) {
        for image in [&mut self.now, &mut self.durable] {
            let blocks = image.blocks.len() + (segments * SEGMENT_BLOCKS) as usize;
            image.blocks.resize(blocks, None);
            image.changed.resize(blocks, 0);
        }
    }

    /// What of the unflushed survives is up to chance: the metadata as a whole, content in place
    /// block by block.
    pub fn cut(&mut self, rng: &mut Rng) {
        let mut image = if rng.one_in(2) {
            self.now.clone()
        } else {
            self.durable.clone()
        };
        for (i, block) in image.blocks.iter_mut().enumerate() {
            if let (Some(_), Some(now), Some(old)) =
                (*block, self.now.blocks[i], self.durable.blocks[i])
            {
                *block = Some(if rng.one_in(2) { now } else { old });
            }
        }
        // These are durable when their calls end, whatever else is.
        image.legs = self.durable.legs;
        self.now = image;
        self.durable = self.now.clone();
    }
}

#[derive(Clone, Debug)]
enum What {
    Read(Span, Buf),
    Write(Span, Buf),
    Reserve(Span),
    Discard(u64, u64),
    Flush,
    Mark(u32),
    Legs(LegsRecord, Image),
    Scan(u32, Epoch),
}

#[derive(Clone, Debug)]
pub struct Pending {
    pub token: Token,
    disk: u16,
    slot: u16,
    what: What,
}

#[derive(Debug, Default)]
pub struct Fake {
    /// Disk, slot.
    pub leaves: BTreeMap<(u16, u16), FakeLeaf>,
    pub failed: BTreeSet<u16>,
    pub full: BTreeSet<u16>,
    /// Segments whose map entry is in error.
    pub damaged: BTreeSet<(u16, u16, u32)>,
    pub pending: Vec<Pending>,
    pub buffers: BTreeMap<ReqId, Vec<Option<u64>>>,
    scratch: BTreeMap<(u16, u32), Option<u64>>,
}

impl Fake {
    fn push(&mut self, leaf: LeafId, token: Token, what: What) {
        let (disk, slot) = (leaf.disk.0, leaf.slot);
        self.pending.push(Pending {
            token,
            disk,
            slot,
            what,
        });
    }
    fn leaf(&mut self, leaf: LeafId) -> &mut FakeLeaf {
        self.leaves.get_mut(&(leaf.disk.0, leaf.slot)).unwrap()
    }

    fn put(&mut self, buf: Buf, i: u32, value: Option<u64>) {
        match buf {
            Buf::Request { req, at } => {
                if let Some(b) = self.buffers.get_mut(&req) {
                    b[(at / 4096 + i) as usize] = value;
                }
            }
            Buf::Scratch { slot, at } => {
                self.scratch.insert((slot, at / 4096 + i), value);
            }
        }
    }
    fn take(&self, buf: Buf, i: u32) -> Option<u64> {
        match buf {
            Buf::Request { req, at } => Some(req.0 << 16 | u64::from(at / 4096 + i)),
            Buf::Scratch { slot, at } => self.scratch[&(slot, at / 4096 + i)],
        }
    }

    /// A call under way on a disk.
    pub fn of_disk(&self, disk: u16) -> Option<usize> {
        self.pending.iter().position(|p| p.disk == disk)
    }

    /// Whether this call under way writes a record about legs.
    pub fn is_record(&self, index: usize) -> bool {
        matches!(self.pending[index].what, What::Legs(..))
    }

    /// Ends the call at an index.
    pub fn end(&mut self, index: usize) -> Done {
        let p = self.pending.swap_remove(index);
        let result = if self.failed.contains(&p.disk) {
            Err(LeafError::DiskFailed)
        } else {
            self.carry_out(&p, |_| true)
        };
        Done {
            token: p.token,
            result,
        }
    }

    fn is_damaged(&self, p: &Pending) -> bool {
        let s = u64::from(SEGMENT_BLOCKS);
        let (start, count) = match p.what {
            What::Read(span, _) | What::Write(span, _) => (span.start, u64::from(span.count)),
            What::Discard(start, count) => (start, count),
            What::Scan(segment, _) => (u64::from(segment) * s, s),
            What::Reserve(_) | What::Flush | What::Mark(_) | What::Legs(..) => return false,
        };
        (start / s..=(start + count - 1) / s)
            .any(|seg| self.damaged.contains(&(p.disk, p.slot, seg as u32)))
    }

    fn scanned(&self, at: (u16, u16), segment: u32, since: Epoch) -> SegmentScan {
        let image = &self.leaves[&at].now;
        assert!(
            since == Epoch(0) || image.held.contains(&since.0),
            "changes after {since} are asked for, held are {:?}",
            image.held
        );
        let mut s = SegmentScan::default();
        for b in 0..SEGMENT_BLOCKS {
            let i = (segment * SEGMENT_BLOCKS + b) as usize;
            s.valid[0] |= u64::from(image.blocks[i].is_some()) << b;
            s.changed[0] |= u64::from(image.changed[i] > since.0) << b;
        }
        s
    }

    fn carry_out(
        &mut self,
        p: &Pending,
        mut block: impl FnMut(u64) -> bool,
    ) -> Result<Outcome, LeafError> {
        let at = (p.disk, p.slot);
        if self.is_damaged(p) {
            return Err(LeafError::Segment);
        }
        match &p.what {
            What::Reserve(_) if self.full.contains(&p.disk) => return Err(LeafError::NoSpace),
            What::Reserve(span) => {
                assert!(span.count > 0);
            }
            What::Read(span, buf) => {
                for i in 0..span.count {
                    let v = self.leaves[&at].now.blocks[(span.start + u64::from(i)) as usize];
                    self.put(*buf, i, v);
                }
            }
            What::Write(span, buf) => {
                for i in 0..span.count {
                    let b = (span.start + u64::from(i)) as usize;
                    let v = self.take(*buf, i);
                    let image = &mut self.leaves.get_mut(&at).unwrap().now;
                    if block(b as u64) {
                        assert!(v.is_some(), "what holds no data is copied");
                        image.blocks[b] = v;
                        image.changed[b] = image.epoch;
                    }
                }
            }
            What::Discard(start, count) => {
                let image = &mut self.leaves.get_mut(&at).unwrap().now;
                for b in *start..start + count {
                    // As a store may: what holds no data has nothing to forget.
                    if block(b) && image.blocks[b as usize].is_some() {
                        image.blocks[b as usize] = None;
                        image.changed[b as usize] = image.epoch;
                    }
                }
            }
            What::Flush => {
                for (_, leaf) in self.leaves.iter_mut().filter(|(at, _)| at.0 == p.disk) {
                    leaf.durable = Image {
                        legs: leaf.durable.legs,
                        ..leaf.now.clone()
                    };
                }
            }
            What::Mark(region) => {
                self.leaves
                    .get_mut(&at)
                    .unwrap()
                    .durable
                    .dirty
                    .insert(*region);
            }
            What::Legs(record, image) => {
                let leaf = self.leaves.get_mut(&at).unwrap();
                leaf.now.legs = *record;
                leaf.durable.legs = *record;
                leaf.durable.resync = image.resync.clone();
                leaf.durable.epoch = leaf.durable.epoch.max(image.epoch);
                leaf.durable.held = image.held.clone();
            }
            What::Scan(segment, since) => {
                return Ok(Outcome::Scan(self.scanned(at, *segment, *since)));
            }
        }
        Ok(Outcome::Ok)
    }

    /// What was under way on these disks happened in part.
    fn tear(&mut self, rng: &mut Rng, disk: impl Fn(u16) -> bool) {
        let torn: Vec<_> = self
            .pending
            .iter()
            .filter(|p| disk(p.disk))
            .cloned()
            .collect();
        for p in torn {
            match p.what {
                What::Write(..) | What::Discard(..) => {
                    let _ = self.carry_out(&p, |_| rng.one_in(2));
                }
                What::Mark(_) | What::Legs(..) if rng.one_in(2) => {
                    let _ = self.carry_out(&p, |_| true);
                }
                _ => {}
            }
        }
    }

    /// The process dies: what was under way happened in part, nothing else is lost.
    pub fn crash(&mut self, rng: &mut Rng) {
        let failed = self.failed.clone();
        self.tear(rng, |d| !failed.contains(&d));
        self.pending.clear();
    }

    /// The power goes.
    pub fn power_cut(&mut self, rng: &mut Rng) {
        self.crash(rng);
        self.leaves.values_mut().for_each(|l| l.cut(rng));
    }

    /// A disk fails and forgets what was not flushed.
    pub fn fail(&mut self, disk: u16, rng: &mut Rng) {
        self.tear(rng, |d| d == disk);
        for (_, leaf) in self.leaves.iter_mut().filter(|(at, _)| at.0 == disk) {
            leaf.cut(rng);
        }
        self.failed.insert(disk);
    }
}

impl Leaves for Fake {
    fn read(&mut self, leaf: LeafId, span: Span, buf: Buf, token: Token) {
        self.push(leaf, token, What::Read(span, buf));
    }
    fn write(&mut self, leaf: LeafId, span: Span, buf: Buf, token: Token) {
        self.push(leaf, token, What::Write(span, buf));
    }
    fn reserve(&mut self, leaf: LeafId, span: Span, token: Token) {
        self.push(leaf, token, What::Reserve(span));
    }
    fn discard(&mut self, leaf: LeafId, start: u64, count: u64, token: Token) {
        self.push(leaf, token, What::Discard(start, count));
    }
    fn flush(&mut self, disk: DiskIndex, token: Token) {
        self.push(LeafId { disk, slot: 0 }, token, What::Flush);
    }
    fn mark_dirty(&mut self, leaf: LeafId, region: u32, token: Token) {
        if !self.failed.contains(&leaf.disk.0) {
            self.leaf(leaf).now.dirty.insert(region);
        }
        self.push(leaf, token, What::Mark(region));
    }
    fn clear_dirty(&mut self, leaf: LeafId, region: u32) {
        self.leaf(leaf).now.dirty.remove(&region);
    }
    fn set_legs(&mut self, leaf: LeafId, legs: LegsRecord, token: Token) {
        let image = self.leaf(leaf).now.clone();
        self.push(leaf, token, What::Legs(legs, image));
    }
    fn resync_dirty(&mut self, leaf: LeafId) {
        let image = &mut self.leaf(leaf).now;
        image.resync.extend(image.dirty.iter());
    }
    fn clear_resync(&mut self, leaf: LeafId, region: u32) {
        self.leaf(leaf).now.resync.remove(&region);
    }
    fn cut_epoch(&mut self, leaf: LeafId) -> Epoch {
        let image = &mut self.leaf(leaf).now;
        image.held.insert(image.epoch);
        image.epoch += 1;
        Epoch(image.epoch - 1)
    }
    fn join_epoch(&mut self, leaf: LeafId, epoch: Epoch) {
        let image = &mut self.leaf(leaf).now;
        image.epoch = image.epoch.max(epoch.0);
    }
    fn release_epoch(&mut self, leaf: LeafId, epoch: Epoch) {
        self.leaf(leaf).now.held.remove(&epoch.0);
    }
    fn scan(&mut self, leaf: LeafId, segment: u32, since: Epoch, token: Token) {
        self.push(leaf, token, What::Scan(segment, since));
    }
    fn state(&self, leaf: LeafId) -> LeafState {
        let l = &self.leaves[&(leaf.disk.0, leaf.slot)];
        LeafState {
            segments: l.now.blocks.len() as u32 / SEGMENT_BLOCKS,
            segment_blocks: SEGMENT_BLOCKS,
            region_segments: l.region_segments,
            legs: l.now.legs,
            epoch: Epoch(l.now.epoch),
            held: l.now.held.first().map(|e| Epoch(*e)),
        }
    }
    fn is_dirty(&self, leaf: LeafId, region: u32) -> bool {
        self.leaves[&(leaf.disk.0, leaf.slot)]
            .now
            .dirty
            .contains(&region)
    }
    fn is_resync(&self, leaf: LeafId, region: u32) -> bool {
        self.leaves[&(leaf.disk.0, leaf.slot)]
            .now
            .resync
            .contains(&region)
    }
    fn is_usable(&self, disk: DiskIndex) -> bool {
        !self.failed.contains(&disk.0)
    }
}
