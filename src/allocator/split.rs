//! The search's second part: demands split over several disks.
//!
//! Chooses for each demand a set of disks, and lets a flow decide how many units each disk of the
//! set takes: whether sets fit the room is a question of flow, not of search. Every disk of a set
//! takes one unit at least. A disk's room here is what it could grant now: units promised beyond
//! that are for whole leaves.

use crate::search::{Assignment, NotFound, Search};
use std::collections::BTreeMap;

/// The most pieces that a leaf may have: a level has at most 255 children.
const MAX_PIECES: usize = 255;

/// How many units of each demand lie on each disk, and what each disk has left.
#[derive(Clone)]
struct Flow {
    taken: Vec<BTreeMap<usize, u64>>,
    left: Vec<u64>,
}

impl Search<'_, '_> {
    /// Finds an assignment that splits demands. The room is left as it was.
    pub fn split(&mut self) -> Result<Assignment, NotFound> {
        let whole = self.tries;
        let out_of_budget = whole > self.budget;
        let left = (0..self.book.disks.len())
            .map(|d| self.room.for_a_part(d))
            .collect();
        self.tries = 0;
        let flow = Flow {
            taken: Vec::new(),
            left,
        };
        let found = self.demand(0, &flow);
        let exhaustive = !out_of_budget && self.tries <= self.budget;
        let tries = whole.min(self.budget) + self.tries.min(self.budget);
        let flow = found.ok_or(NotFound { tries, exhaustive })?;
        let mut parts: Assignment = flow
            .taken
            .into_iter()
            .map(|t| t.into_iter().collect())
            .collect();
        for (demand, parts) in self.demands.iter().zip(&mut parts) {
            // What continues the last piece on its disk comes first, then the largest.
            let stay = demand.stay(self.book.frame);
            parts.sort_by_key(|(disk, units)| (stay != Some(*disk), u64::MAX - units, *disk));
        }
        Ok(parts)
    }

    /// Gives every demand from this one on a set of disks: single disks first, then larger sets.
    fn demand(&mut self, i: usize, flow: &Flow) -> Option<Flow> {
        if i == self.demands.len() {
            return Some(flow.clone());
        }
        let leaf = self.demands[i].leaf;
        let mut disks: Vec<usize> = (0..self.book.disks.len())
            .filter(|d| self.room.for_a_part(*d) > 0 && self.book.no(leaf, *d, false).is_none())
            .collect();
        let stay = self.demands[i].stay(self.book.frame);
        disks.sort_by_key(|d| {
            // What is left comes first: to move others away is possible, but splits them too.
            let (weight, left) = (self.book.weight[*d], flow.left[*d]);
            (stay != Some(*d), u64::MAX - weight, u64::MAX - left, *d)
        });
        let pieces = self.book.frame.nodes[leaf].pieces.len();
        for most in [1, MAX_PIECES.saturating_sub(pieces)] {
            let found = self.set(i, &disks, most, &mut Vec::new(), flow);
            if found.is_some() {
                return found;
            }
        }
        None
    }

    /// Adds one of the disks to the set, and goes on with the next demand if the set suffices. With
    /// `most` 1, looks at sets of one disk only, else at sets of two and more.
    fn set(
        &mut self,
        i: usize,
        disks: &[usize],
        most: usize,
        set: &mut Vec<usize>,
        flow: &Flow,
    ) -> Option<Flow> {
        let leaf = self.demands[i].leaf;
        let mut failed: Vec<usize> = Vec::new();
        for (at, disk) in disks.iter().enumerate() {
            if failed.iter().any(|f| self.alike(*f, *disk))
                || self.book.no(leaf, *disk, false).is_some()
            {
                continue;
            }
            if !self.may_try() {
                return None;
            }
            set.push(*disk);
            self.book.enter(leaf, *disk);
            let mut found = None;
            if most == 1 || set.len() > 1 {
                found = self.close(i, set, flow);
            }
            if found.is_none() && set.len() < most {
                found = self.set(i, &disks[at + 1..], most, set, flow);
            }
            self.book.erase(leaf, *disk);
            set.pop();
            if found.is_some() {
                return found;
            }
            failed.push(*disk);
        }
        None
    }

    /// Goes on with the next demand if this set of disks has the room and keeps the rules.
    fn close(&mut self, i: usize, set: &[usize], flow: &Flow) -> Option<Flow> {
        let mut flow = flow.clone();
        if !flow.add(self.demands[i].units, set) {
            return None;
        }
        let above: Vec<usize> = self
            .book
            .frame
            .upwards(self.demands[i].leaf)
            .map(|(id, _)| id)
            .collect();
        above.iter().for_each(|id| self.book.pending[*id] -= 1);
        let mut found = None;
        if self.book.complete_ones_differ(self.demands[i].leaf) {
            found = self.demand(i + 1, &flow);
        }
        above.iter().for_each(|id| self.book.pending[*id] += 1);
        found
    }
}

impl Flow {
    /// Adds a demand that lies on all disks of a set, moving what others have on them if need be.
    /// False if it does not fit; then the flow is of no further use.
    fn add(&mut self, units: u64, set: &[usize]) -> bool {
        let Some(mut rest) = units.checked_sub(set.len() as u64) else {
            return false;
        };
        self.taken.push(BTreeMap::new());
        let i = self.taken.len() - 1;
        for disk in set {
            if self.left[*disk] == 0 && !self.free_up(*disk) {
                return false;
            }
            self.left[*disk] -= 1;
            self.taken[i].insert(*disk, 1);
        }
        while rest > 0 {
            let roomy = set.iter().copied().find(|d| self.left[*d] > 0);
            let Some(disk) = roomy.or_else(|| set.iter().copied().find(|d| self.free_up(*d)))
            else {
                return false;
            };
            let count = rest.min(self.left[disk]);
            self.left[disk] -= count;
            *self.taken[i].entry(disk).or_default() += count;
            rest -= count;
        }
        true
    }

    /// Makes room on a disk by moving units of a demand to another disk of its set, and so on along
    /// the shortest such path. Every disk keeps one unit of each demand that has it in its set.
    fn free_up(&mut self, disk: usize) -> bool {
        // The disk from which each one was reached, and by moving which demand.
        let mut from: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
        let mut queue = std::collections::VecDeque::from([disk]);
        while let Some(here) = queue.pop_front() {
            if self.left[here] > 0 {
                self.shift(disk, here, &from);
                return true;
            }
            for (i, taken) in self.taken.iter().enumerate() {
                if taken.get(&here).is_some_and(|units| *units > 1) {
                    for next in taken.keys().filter(|d| **d != here && **d != disk) {
                        if !from.contains_key(next) {
                            from.insert(*next, (here, i));
                            queue.push_back(*next);
                        }
                    }
                }
            }
        }
        false
    }

    /// Moves units along a path from `disk` to `end`, which has room: as many as every step allows.
    fn shift(&mut self, disk: usize, end: usize, from: &BTreeMap<usize, (usize, usize)>) {
        let mut path = Vec::new();
        let mut at = end;
        while let Some((before, i)) = from.get(&at).copied().filter(|_| at != disk) {
            path.push((before, at, i));
            at = before;
        }
        // Every disk is on the path once, so the steps do not take from each other.
        let spare = path.iter().map(|(before, _, i)| self.taken[*i][before] - 1);
        let count = spare.fold(self.left[end], u64::min);
        assert!(count > 0, "a path goes only where something can move");
        for (before, at, i) in path {
            *self.taken[i].entry(before).or_default() -= count;
            *self.taken[i].entry(at).or_default() += count;
        }
        self.left[end] -= count;
        self.left[disk] += count;
    }
}
