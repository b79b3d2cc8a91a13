//! Room on disks: what may still be promised, what is free now, and which units a grant takes.
//!
//! Invariant: a unit is handed out once, and no more is promised of a disk than the inventory
//! allows (spec A10).

use crate::frame::Frame;
use layout::{Bytes, Disk, Inventory, UnitRange};

/// The room on every disk, by its index in the order of names, in allocation units.
#[derive(Clone)]
pub(crate) struct Room {
    /// What may still be promised.
    pub promise: Vec<u64>,
    /// What is free now.
    pub free: Vec<u64>,
    /// Capacity.
    pub units: Vec<u64>,
    ranges: Vec<Vec<UnitRange>>,
    #[cfg(feature = "planted-bugs")]
    pub bug: Option<crate::Bug>,
}

impl Room {
    /// The room that an inventory has.
    pub fn new(inventory: &Inventory, disks: &[&Disk]) -> Self {
        let left = |d: &&Disk| {
            inventory
                .promisable(d)
                .saturating_sub(d.promised_units().into())
        };
        Room {
            promise: disks.iter().map(left).collect(),
            free: disks.iter().map(|d| u64::from(d.free_units())).collect(),
            units: disks.iter().map(|d| u64::from(d.units)).collect(),
            ranges: disks.iter().map(|d| d.free.clone()).collect(),
            #[cfg(feature = "planted-bugs")]
            bug: None,
        }
    }

    #[cfg(feature = "planted-bugs")]
    pub fn plant(&mut self, bug: Option<crate::Bug>) {
        self.bug = bug;
        if bug == Some(crate::Bug::PromiseTwice) {
            self.promise = self.units.clone();
        }
    }

    /// Units that one disk can take of a leaf that is split over several: each piece could be
    /// granted whole.
    pub fn for_a_part(&self, disk: usize) -> u64 {
        self.promise[disk].min(self.free[disk])
    }

    /// Whether a disk can take so many units, of which some are granted now.
    pub fn fits(&self, disk: usize, units: u64, now: u64) -> bool {
        self.promise[disk] >= units && self.free[disk] >= now
    }

    /// Hands out free units of a disk: one run if there is one (the shortest that is long enough),
    /// else the longest runs.
    /// `None` if the disk has not got so many; then nothing has changed.
    pub fn carve(&mut self, disk: usize, count: u64) -> Option<Vec<UnitRange>> {
        let ranges = &mut self.ranges[disk];
        if ranges.iter().map(|r| u64::from(r.count)).sum::<u64>() < count {
            return None;
        }
        #[cfg(feature = "planted-bugs")]
        let before = ranges.clone();
        let (mut left, mut taken) = (u32::try_from(count).ok()?, Vec::new());
        self.free[disk] = self.free[disk].saturating_sub(count);
        while left > 0 {
            let long_enough = (0..ranges.len()).filter(|i| ranges[*i].count >= left);
            let shortest = long_enough.min_by_key(|i| ranges[*i].count);
            let longest = || (0..ranges.len()).max_by_key(|i| (ranges[*i].count, usize::MAX - i));
            let i = shortest.or_else(longest)?;
            let count = left.min(ranges[i].count);
            taken.push(UnitRange {
                start: ranges[i].start,
                count,
            });
            left -= count;
            ranges[i] = UnitRange {
                start: ranges[i].start + count,
                count: ranges[i].count - count,
            };
            ranges.retain(|r| r.count > 0);
        }
        #[cfg(feature = "planted-bugs")]
        if self.bug == Some(crate::Bug::GrantTwice) {
            *ranges = before;
        }
        Some(taken)
    }
}

/// Two ordered lists of ranges as one, neighbours joined.
pub(crate) fn join(mut ranges: Vec<UnitRange>, more: Vec<UnitRange>) -> Vec<UnitRange> {
    ranges.extend(more);
    ranges.sort_unstable();
    let mut joined: Vec<UnitRange> = Vec::with_capacity(ranges.len());
    for r in ranges {
        match joined.last_mut() {
            Some(last) if last.end() == r.start => last.count += r.count,
            _ => joined.push(r),
        }
    }
    joined
}

/// Something that needs a disk: a leaf, or what is missing of it.
#[derive(Clone, Debug)]
pub(crate) struct Demand {
    /// The leaf in the frame.
    pub leaf: usize,
    /// What of the leaf it is.
    pub part: Part,
    /// Bytes of it.
    pub size: Bytes,
    /// Units to promise: those that hold the size.
    pub units: u64,
    /// Units of these to grant now.
    pub now: u64,
}

/// What of a leaf is in demand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// All of it: it has no pieces.
    All,
    /// What follows its last piece; that piece's disk comes first.
    More,
    /// The piece with this index.
    Piece(usize),
}

impl Demand {
    /// The disk that comes before all others, if it may be used.
    pub fn stay(&self, frame: &Frame<'_>) -> Option<usize> {
        let pieces = &frame.nodes[self.leaf].pieces;
        pieces
            .last()
            .filter(|_| self.part == Part::More)
            .map(|p| p.disk)
    }
}
