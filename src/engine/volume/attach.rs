//! The beginning of a volume: which legs count.
//!
//! What the legs' records say decides. The one with the highest generation is right. A leg that it
//! calls stale is; so is a leg whose own record is missing (it is new) or two or more generations
//! behind (it was away, and the others did not know). One generation behind is a change of the
//! record that was cut short, and nothing was acknowledged after that. A leg that is not there must
//! be on record as stale: else *this* side may be the stale one, and the volume is refused; and
//! where a leg is found stale that no record calls so, none may be missing at all.

use super::leg::{Leg, Lost, TRANSITIONS};
use super::lock::Locks;
use super::mirror::{LegSlot, Mirror, each};
use super::record::Why;
use super::regions::{LegSet, Regions};
use super::slab::Slab;
use super::{Ctx, Stage, TOKEN_BITS, Volume};
use crate::io::CommandError;
use crate::leaf::{LeafId, LeafState, Leaves, LegsRecord, Token};
use crate::tree::{self, Tree};
use layout::{Epoch, Layout};
use std::ops::Range;

/// Finds the object of a leaf on the disks of the node.
pub type Lookup<'a> = &'a mut dyn FnMut(&tree::Leaf) -> Result<LeafId, CommandError>;

impl Volume {
    /// Attaches a volume; `base` is a token with all [`TOKEN_BITS`] lower bits zero, which no other
    /// volume uses.
    ///
    /// # Errors
    /// A layout that cannot be, a leaf that is not there and not on record as stale, or one that is
    /// not what the layout says. No mark or record was changed then.
    pub fn attach<L: Leaves>(
        layout: &Layout,
        segment_blocks: u32,
        base: Token,
        lookup: Lookup<'_>,
        cx: &mut Ctx<'_, L>,
    ) -> Result<Volume, CommandError> {
        assert!(
            base.trailing_zeros() >= TOKEN_BITS,
            "a base that overlaps tokens"
        );
        let tree = Tree::build(layout, segment_blocks).map_err(refused)?;
        let mut found = Vec::with_capacity(tree.leaves().len());
        for leaf in tree.leaves() {
            found.push(find(leaf, segment_blocks, lookup, cx)?);
        }
        let mut v = Volume {
            uid: layout.volume,
            tree,
            segment_blocks: u64::from(segment_blocks),
            base,
            leaves: found.iter().map(|f| f.as_ref().ok().copied()).collect(),
            leaf_region_blocks: Vec::new(),
            mirrors: Vec::new(),
            lost: false,
            stage: Stage::Attached,
            calls: Slab::new(),
            requests: Slab::new(),
            changes: Slab::new(),
            copies: Slab::new(),
            flushes: Slab::new(),
            parked: Vec::new(),
            tidying: false,
            starved: false,
        };
        v.measure_regions(cx);
        for index in 0..v.tree.mirrors().len() as u16 {
            let mirror = v.judge(index, &found, cx)?;
            v.mirrors.push(mirror);
        }
        for index in 0..v.mirrors.len() as u16 {
            v.open_mirror(index, cx);
        }
        Ok(v)
    }

    /// How many blocks a region of each leaf has. A leaf that is not there gets what others have.
    pub(super) fn measure_regions<L: Leaves>(&mut self, cx: &Ctx<'_, L>) {
        let of = |l: &LeafId| {
            let s = cx.leaves.state(*l);
            u64::from(s.region_segments) * u64::from(s.segment_blocks)
        };
        let most = self
            .leaves
            .iter()
            .flatten()
            .map(of)
            .max()
            .unwrap_or(self.segment_blocks);
        let all = self.leaves.iter().map(|l| l.as_ref().map_or(most, of));
        self.leaf_region_blocks = all.collect();
    }

    /// The range of a leg's leaves in the tree's index.
    pub(super) fn leg_leaves(&self, mirror: u16, leg: u8) -> Range<u32> {
        let is = |l: &tree::Leaf| l.mirror == Some((mirror, leg));
        let first = self.tree.leaves().iter().position(is).unwrap_or(0);
        let count = self.tree.leaves().iter().filter(|l| is(l)).count();
        first as u32..(first + count) as u32
    }

    /// Which legs of a mirror count, by their records.
    fn judge<L: Leaves>(
        &self,
        index: u16,
        found: &[Result<LeafId, CommandError>],
        cx: &Ctx<'_, L>,
    ) -> Result<Mirror, CommandError> {
        let count = self.tree.mirrors()[index as usize].legs();
        let ranges: Vec<Range<u32>> = (0..count).map(|leg| self.leg_leaves(index, leg)).collect();
        let records = |r: &Range<u32>| {
            let leaves = &self.leaves[r.start as usize..r.end as usize];
            let records = leaves.iter().flatten().map(|l| cx.leaves.state(*l).legs);
            records.collect::<Vec<LegsRecord>>()
        };
        let all: Vec<Vec<LegsRecord>> = ranges.iter().map(records).collect();
        let top = all.iter().flatten().max_by_key(|r| r.generation).copied();
        let mut record = top.unwrap_or_default();
        let fresh = record.generation == 0;
        record.generation = record.generation.max(1);
        // Every leg has a leaf without a record: the volume was being enlarged.
        let grown = all.iter().all(|r| r.iter().any(|r| r.generation == 0));
        let mut legs: smallvec::SmallVec<[LegSlot; 3]> = smallvec::SmallVec::new();
        let mut region_blocks = self.segment_blocks;
        for ((range, records), leg) in ranges.into_iter().zip(&all).zip(0u8..) {
            let missing = range.clone().find_map(|i| found[i as usize].as_ref().err());
            let known = records
                .iter()
                .map(|r| r.generation)
                .filter(|g| !grown || *g > 0);
            let oldest = if fresh { 1 } else { known.min().unwrap_or(0) };
            let state = match leg_state(&record, leg, oldest) {
                Leg::Stale => Leg::Stale,
                state => missing.map_or(Ok(state), |e| Err(e.clone()))?,
            };
            let regions = &self.leaf_region_blocks[range.start as usize..range.end as usize];
            region_blocks = regions.iter().copied().fold(region_blocks, u64::max);
            legs.push(LegSlot {
                state,
                era: 0,
                ready: missing.is_none(),
                leaves: range,
            });
        }
        // A leg that came to be stale without a record may have known of more: then all others have
        // to be asked.
        let unknown = legs.iter().any(|l| matches!(l.state, Leg::Dropping(_)));
        let range = legs.iter().flat_map(|l| l.leaves.clone());
        let missing = range
            .filter_map(|i| found[i as usize].as_ref().err())
            .next();
        if let (true, Some(e)) = (unknown, missing) {
            return Err(e.clone());
        }
        let live = |leg: usize| legs[leg].state == Leg::Live;
        let told = (0..legs.len())
            .filter(|leg| live(*leg))
            .flat_map(|leg| &all[leg]);
        forget_epochs(&mut record, told);
        let mirror = Mirror {
            legs,
            record,
            attempted: record.generation,
            recording: None,
            locks: Locks::default(),
            regions: Regions::default(),
            region_blocks,
            parked: Vec::new(),
            lost: false,
            job: None,
            blocked: false,
            counts: [0; TRANSITIONS.len()],
        };
        if mirror.live() == 0 {
            let path = self.tree.mirrors()[index as usize].path;
            let why = format!("no copy of mirror {path} that is here is known to be current");
            return Err(CommandError::Refused(why));
        }
        Ok(mirror)
    }

    /// Brings the live legs of a mirror in step and starts what there is to do.
    fn open_mirror<L: Leaves>(&mut self, index: u16, cx: &mut Ctx<'_, L>) {
        let m = &self.mirrors[index as usize];
        let (live, record) = (m.live(), m.record);
        let leaves = self.leaves_of(index, live);
        let epoch = leaves
            .iter()
            .map(|l| cx.leaves.state(*l).epoch)
            .max()
            .unwrap_or_default();
        let count = self.mirrors[index as usize].legs.len();
        for leaf in leaves {
            cx.leaves.join_epoch(leaf, epoch);
            // Held for a rebuild that is over; the crash may have come before the release.
            for leg in (0..count).filter(|leg| record.stale & 1 << leg == 0) {
                let since = record.since[leg];
                if since != Epoch(0) {
                    cx.leaves.release_epoch(leaf, since);
                }
            }
            let old = cx.leaves.state(leaf).legs.since;
            for (old, new) in old.into_iter().zip(record.since) {
                if old != Epoch(0) && new == Epoch(0) {
                    cx.leaves.release_epoch(leaf, old);
                }
            }
            if count > 1 {
                cx.leaves.resync_dirty(leaf);
            }
        }
        if count > 1 {
            self.find_resync(index, live, cx);
        }
        self.settle(index, cx);
        self.next_record(index, cx);
        self.pump(index, cx);
    }

    /// Writes the record to the live legs that have another one.
    pub(super) fn settle<L: Leaves>(&mut self, index: u16, cx: &mut Ctx<'_, L>) {
        let m = &self.mirrors[index as usize];
        let record = m.record;
        let mut behind: LegSet = 0;
        for leg in each(m.live()) {
            let leaves = self.leaves_of(index, 1 << leg);
            let differs = |l: &LeafId| cx.leaves.state(*l).legs != record;
            behind |= LegSet::from(leaves.iter().any(differs)) << leg;
        }
        if behind != 0 {
            self.start_record(index, Why::Settle, record, behind, cx);
        }
    }

    /// Takes over the marks that the last time left: what any live leg says holds for all.
    fn find_resync<L: Leaves>(&mut self, index: u16, live: LegSet, cx: &mut Ctx<'_, L>) {
        let blocks = self.tree.mirrors()[index as usize].blocks;
        let regions = blocks.div_ceil(self.mirrors[index as usize].region_blocks) as u32;
        for region in 0..regions {
            let (mut marked, mut resync) = (0, false);
            for leg in each(live) {
                let mut dirty = true;
                for (leaf, r) in self.legs_regions(index, 1 << leg, region) {
                    dirty &= cx.leaves.is_dirty(self.leaf(leaf), r);
                    resync |= cx.leaves.is_resync(self.leaf(leaf), r);
                }
                marked |= LegSet::from(dirty) << leg;
            }
            if !resync {
                continue;
            }
            self.insert_dirty(index, region, cx.now);
            self.insert_resync(index, region);
            let regions = &mut self.mirrors[index as usize].regions;
            regions.get(region).marked = marked;
            if live.count_ones() > 1 {
                regions.differ.insert(region);
            }
            if live & !marked != 0 {
                self.mark_region(index, region, live & !marked, cx);
            }
        }
    }
}

/// What a leg is by the record that is right and by the generation of its own.
fn leg_state(record: &LegsRecord, leg: u8, own: u64) -> Leg {
    if record.stale & 1 << leg != 0 {
        Leg::Stale
    } else if own == 0 {
        Leg::Dropping(Some(Lost::Blank))
    } else if own + 1 < record.generation {
        Leg::Dropping(Some(Lost::Unknown))
    } else {
        Leg::Live
    }
}

/// A live leg that was not told of a stale one holds no epoch for it: from such a leg what the
/// stale one lacks cannot be learned by epochs, so that any block of it may differ.
fn forget_epochs<'a>(record: &mut LegsRecord, told: impl Iterator<Item = &'a LegsRecord>) {
    let before = *record;
    for other in told {
        for leg in each(before.stale) {
            let same = other.stale & 1 << leg != 0
                && other.since[leg as usize] == before.since[leg as usize];
            if !same {
                record.since[leg as usize] = Epoch(0);
                record.blank &= !(1 << leg);
            }
        }
    }
    if *record != before {
        record.generation += 1;
    }
}

pub(super) fn refused(e: tree::TreeError) -> CommandError {
    CommandError::Refused(e.to_string())
}

/// Looks a leaf up and checks that it can be what the layout says. The inner error: it is not
/// there, which its mirror may bear.
pub(super) fn find<L: Leaves>(
    leaf: &tree::Leaf,
    segment_blocks: u32,
    lookup: Lookup<'_>,
    cx: &Ctx<'_, L>,
) -> Result<Result<LeafId, CommandError>, CommandError> {
    let id = match lookup(leaf) {
        Ok(id) if cx.leaves.is_usable(id.disk) => id,
        Ok(_) if leaf.mirror.is_none() => return Err(CommandError::DiskFailed(leaf.disk)),
        Ok(_) => return Ok(Err(CommandError::DiskFailed(leaf.disk))),
        Err(e) => {
            use CommandError::{DiskFailed, UnknownDisk, UnknownVolume};
            let away = matches!(e, DiskFailed(_) | UnknownDisk(_) | UnknownVolume(_));
            return if away && leaf.mirror.is_some() {
                Ok(Err(e))
            } else {
                Err(e)
            };
        }
    };
    let s: LeafState = cx.leaves.state(id);
    let shows = u64::from(s.segments) * u64::from(s.segment_blocks);
    if s.segment_blocks != segment_blocks || shows < leaf.blocks {
        let (disk, path, asked) = (leaf.disk, leaf.path, leaf.blocks);
        let has = s.segment_blocks;
        let why = format!(
            "object {path} shows {shows} blocks in segments of {has}, the layout says {asked} in \
             segments of {segment_blocks}"
        );
        return Err(CommandError::Contradiction { disk, why });
    }
    Ok(Ok(id))
}
