//! The search: a disk for every demand, such that all hard rules hold together.
//!
//! Depth first, demand after demand in the order of the paths, the best candidate first, back to
//! the last choice when a demand has none left. Complete: if an assignment of whole demands exists,
//! it is found; then, if one exists that splits demands over disks ([`crate::split`]). Both within
//! a budget of tries. Disks that no rule can tell apart, with the same room and unused by the
//! volume, are tried once. Deterministic: ties end at the disk's name.

use crate::book::Book;
use crate::room::{Demand, Room};
use crate::shortage;
use std::cmp::Ordering;

/// Per demand, the disks with the units that each takes, in the order of addresses.
pub(crate) type Assignment = Vec<Vec<(usize, u64)>>;

/// No assignment was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotFound {
    /// Candidates that were tried.
    pub tries: u64,
    /// Whether that was all there are.
    pub exhaustive: bool,
}

/// A search under way.
pub(crate) struct Search<'s, 'a> {
    pub book: &'s mut Book<'a>,
    pub room: &'s mut Room,
    pub demands: &'s [Demand],
    pub chosen: Assignment,
    pub tries: u64,
    pub budget: u64,
}

/// Finds a disk for every demand. The book is left as it was.
pub(crate) fn search(
    book: &mut Book<'_>,
    room: &Room,
    demands: &[Demand],
    budget: u64,
) -> Result<Assignment, NotFound> {
    for demand in demands {
        for (id, _) in book.frame.upwards(demand.leaf) {
            book.pending[id] += 1;
        }
    }
    let result = if shortage::proof(book, room, demands).is_some() {
        Err(NotFound {
            tries: 0,
            exhaustive: true,
        })
    } else {
        let mut room = room.clone();
        let chosen = Vec::with_capacity(demands.len());
        let mut search = Search {
            book,
            room: &mut room,
            demands,
            chosen,
            tries: 0,
            budget,
        };
        if search.whole(0) {
            Ok(search.chosen)
        } else {
            search.split()
        }
    };
    book.pending.fill(0);
    result
}

impl Search<'_, '_> {
    /// Whether another candidate may be tried.
    pub fn may_try(&mut self) -> bool {
        self.tries += 1;
        self.tries <= self.budget
    }

    /// Gives every demand from this one on one disk.
    fn whole(&mut self, i: usize) -> bool {
        let Some(demand) = self.demands.get(i) else {
            return true;
        };
        let (leaf, units) = (demand.leaf, demand.units);
        let mut failed: Vec<usize> = Vec::new();
        for disk in self.candidates(i) {
            if failed.iter().any(|f| self.alike(*f, disk)) {
                continue;
            }
            if !self.may_try() {
                return false;
            }
            self.place(leaf, disk);
            self.room.promise[disk] -= units;
            self.room.free[disk] -= demand.now;
            self.chosen.push(vec![(disk, units)]);
            if self.whole(i + 1) {
                self.room.promise[disk] += units;
                self.room.free[disk] += demand.now;
                self.take_back(leaf, disk);
                return true;
            }
            self.chosen.pop();
            self.room.promise[disk] += units;
            self.room.free[disk] += demand.now;
            self.take_back(leaf, disk);
            failed.push(disk);
        }
        false
    }

    /// Enters that the leaf's demand has this disk and no further one.
    fn place(&mut self, leaf: usize, disk: usize) {
        self.book.enter(leaf, disk);
        for (id, _) in self.book.frame.upwards(leaf) {
            self.book.pending[id] -= 1;
        }
    }

    fn take_back(&mut self, leaf: usize, disk: usize) {
        for (id, _) in self.book.frame.upwards(leaf) {
            self.book.pending[id] += 1;
        }
        self.book.erase(leaf, disk);
    }

    /// The disks that can take all of a demand, the best first.
    fn candidates(&self, i: usize) -> Vec<usize> {
        let demand = &self.demands[i];
        let can = |d: &usize| {
            self.room.fits(*d, demand.units, demand.now)
                && self.book.no(demand.leaf, *d, true).is_none()
        };
        let mut all: Vec<usize> = (0..self.book.disks.len()).filter(can).collect();
        all.sort_by(|x, y| self.rank(demand, *x, *y));
        all
    }

    /// Which of two disks comes first for a demand: the one where the leaf lies already, the one
    /// preferred more, the one less used by this volume, the one that is left with the larger part
    /// of itself free.
    fn rank(&self, demand: &Demand, x: usize, y: usize) -> Ordering {
        let stay = demand.stay(self.book.frame);
        let moves = |d: usize| stay != Some(d);
        let left = |d: usize| u128::from(self.room.promise[d].saturating_sub(demand.units));
        let units = |d: usize| u128::from(self.room.units[d]);
        (moves(x).cmp(&moves(y)))
            .then_with(|| self.book.weight[y].cmp(&self.book.weight[x]))
            .then_with(|| self.book.pieces_on(x).cmp(&self.book.pieces_on(y)))
            .then_with(|| (left(y) * units(x)).cmp(&(left(x) * units(y))))
            .then_with(|| x.cmp(&y))
    }

    /// Whether it makes no difference to the hard rules which of two disks is used.
    pub fn alike(&self, x: usize, y: usize) -> bool {
        let (book, room) = (&self.book, &self.room);
        book.class[x] == book.class[y]
            && book.pieces_on(x) == 0
            && book.pieces_on(y) == 0
            && room.promise[x] == room.promise[y]
            && room.free[x] == room.free[y]
    }
}
