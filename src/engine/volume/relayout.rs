//! A volume in use whose leaves change: a disk comes back, objects grow, a new layout takes over.
//!
//! Invariant: a leaf that another one takes the place of belongs to a leg that was dropped before.

use super::attach::{Lookup, find, refused};
use super::leg::Leg;
use super::mirror::{Mirror, each};
use super::regions::LegSet;
use super::{Ctx, Stage, Volume};
use crate::io::CommandError;
use crate::leaf::{LeafId, Leaves};
use crate::tree::Tree;
use layout::Layout;
use std::collections::BTreeMap;

impl Volume {
    /// A disk was reopened: stale legs on it are rebuilt by what they lack.
    pub fn disk_back<L: Leaves>(
        &mut self,
        disk: layout::DiskUid,
        lookup: Lookup<'_>,
        cx: &mut Ctx<'_, L>,
    ) {
        for index in 0..self.mirrors.len() as u16 {
            for leg in 0..self.mirrors[index as usize].legs.len() {
                let slot = &self.mirrors[index as usize].legs[leg];
                let range = slot.leaves.start as usize..slot.leaves.end as usize;
                let waits = matches!(slot.state, Leg::Stale | Leg::Dropping(_));
                let leaves = &self.tree.leaves()[range.clone()];
                if !waits || leaves.iter().all(|l| l.disk != disk) {
                    continue;
                }
                let size = self.segment_blocks as u32;
                let found = leaves
                    .iter()
                    .map(|l| find(l, size, lookup, cx).ok().and_then(Result::ok));
                let found: Vec<Option<LeafId>> = found.collect();
                self.mirrors[index as usize].legs[leg].ready = found.iter().all(Option::is_some);
                self.leaves[range].copy_from_slice(&found);
            }
            self.remeasure(index, cx);
            self.pump(index, cx);
        }
    }

    /// Objects under the volume were enlarged: their regions may be larger too.
    pub fn leaves_grew<L: Leaves>(&mut self, cx: &Ctx<'_, L>) {
        for index in 0..self.mirrors.len() as u16 {
            self.remeasure(index, cx);
        }
    }

    /// The leaves of a mirror are others: counts their marks anew.
    fn remeasure<L: Leaves>(&mut self, index: u16, cx: &Ctx<'_, L>) {
        self.measure_regions(cx);
        let regions = &mut self.mirrors[index as usize].regions;
        regions.dirty_marks.clear();
        regions.resync_marks.clear();
        let dirty: Vec<u32> = regions.dirty().collect();
        let resync: Vec<u32> = regions.resync.iter().copied().collect();
        let all = self.all_legs(index);
        for region in dirty {
            for at in self.legs_regions(index, all, region) {
                self.mirrors[index as usize].regions.dirty_marks.add(at);
            }
        }
        for region in resync {
            for at in self.legs_regions(index, all, region) {
                self.mirrors[index as usize].regions.resync_marks.add(at);
            }
        }
    }

    /// Takes a new layout while in use: the volume may be larger, and legs may lie on other disks;
    /// those count as new and are rebuilt.
    ///
    /// # Errors
    /// Where something else changed, a leaf is not there, or no other live leg would be left.
    /// Nothing was changed then.
    pub fn relayout<L: Leaves>(
        &mut self,
        layout: &Layout,
        lookup: Lookup<'_>,
        cx: &mut Ctx<'_, L>,
    ) -> Result<(), CommandError> {
        let size = self.segment_blocks as u32;
        let tree = Tree::build(layout, size).map_err(refused)?;
        tree.check_extends(&self.tree).map_err(refused)?;
        if self.stage != Stage::Attached || self.mirrors.iter().any(|m| m.recording.is_some()) {
            let why = "the volume's records are being changed; try again".to_owned();
            return Err(CommandError::Refused(why));
        }
        let old: BTreeMap<_, _> = (self.tree.leaves().iter().zip(&self.leaves))
            .map(|(l, id)| (l.path, (l.disk, *id)))
            .collect();
        let mut leaves = Vec::with_capacity(tree.leaves().len());
        let mut moved: Vec<LegSet> = vec![0; self.mirrors.len()];
        for leaf in tree.leaves() {
            let was = old.get(&leaf.path).filter(|(disk, _)| *disk == leaf.disk);
            let id = match was {
                Some((_, id)) => *id,
                None => Some(find(leaf, size, lookup, cx)??),
            };
            if was.is_none() && old.contains_key(&leaf.path) {
                let Some((m, leg)) = leaf.mirror else {
                    let why = format!("leaf {} has no copy to move it from", leaf.path);
                    return Err(CommandError::Refused(why));
                };
                moved[m as usize] |= 1 << leg;
            }
            leaves.push(id);
        }
        let left = |m: &Mirror, moved: LegSet| !m.lost && m.live() & !moved != 0;
        if !self
            .mirrors
            .iter()
            .zip(&moved)
            .all(|(m, moved)| left(m, *moved))
        {
            let why = "no other live copy would be left".to_owned();
            return Err(CommandError::Refused(why));
        }
        // Legs that move are dropped first, while their leaves are the old ones.
        for (index, legs) in (0u16..).zip(&moved) {
            each(*legs).for_each(|leg| self.leg_failed(index, leg, cx));
        }
        self.tree = tree;
        self.leaves = leaves;
        for (index, moved) in (0u16..).zip(moved) {
            self.reopen_mirror(index, moved, cx);
        }
        Ok(())
    }

    /// A mirror has other leaves, among them those of legs that `moved`.
    fn reopen_mirror<L: Leaves>(&mut self, index: u16, moved: LegSet, cx: &mut Ctx<'_, L>) {
        for leg in 0..self.mirrors[index as usize].legs.len() as u8 {
            let range = self.leg_leaves(index, leg);
            let slot = &mut self.mirrors[index as usize].legs[leg as usize];
            slot.leaves = range;
            slot.ready |= moved & 1 << leg != 0;
            slot.ready &= slot
                .leaves
                .clone()
                .all(|i| self.leaves[i as usize].is_some());
        }
        self.remeasure(index, cx);
        let leaves = self.leaves_of(index, self.mirrors[index as usize].live());
        let epoch = leaves
            .iter()
            .map(|l| cx.leaves.state(*l).epoch)
            .max()
            .unwrap_or_default();
        leaves
            .into_iter()
            .for_each(|l| cx.leaves.join_epoch(l, epoch));
        if self.mirrors[index as usize].recording.is_none() {
            self.settle(index, cx);
        }
        self.pump(index, cx);
    }
}
