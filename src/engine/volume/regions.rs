//! Which regions of a mirror are marked as being written, and where its legs may differ.
//!
//! A region here is a range of the mirror; each leaf counts regions of its own. Where the two do
//! not line up a leaf's region belongs to several of the mirror's, so that its mark is forgotten
//! only with the last of them ([`Marks`]).

use super::slab::Key;
use crate::io::Now;
use smallvec::SmallVec;
use std::collections::{BTreeMap, BTreeSet};

/// A set of legs, one bit each.
pub(crate) type LegSet = u16;

/// A leaf's region: the leaf's index in the tree, the region's in the leaf.
pub(crate) type LeafRegion = (u32, u32);

/// How long a region has to be idle before its mark is forgotten, in nanoseconds.
pub(crate) const IDLE: Now = 4_000_000_000;
/// So many regions stay marked however idle: they are the first to be written again, and so few are
/// made equal in no time.
pub(crate) const KEEP: usize = 16;
/// At most so many marks are forgotten in one go.
pub(crate) const BUDGET: usize = 64;
/// Times of use are kept to this many bits of a nanosecond, about a second, so that a busy region
/// moves in the order of use that often and not with every write.
const QUANTUM: u32 = 30;

/// A region that is marked or being marked.
#[derive(Debug, Default)]
pub(crate) struct Region {
    /// Legs on which the mark is durable.
    pub(crate) marked: LegSet,
    /// Legs on which it is being made so.
    pub(crate) marking: LegSet,
    /// Calls until it is.
    pub(crate) left: u32,
    /// Changes that wait for the mark.
    pub(crate) waiters: SmallVec<[Key; 4]>,
    /// Changes under way.
    pub(crate) in_flight: u32,
    /// When the last change ended, by the mirror's count.
    seq: u64,
    /// When it was last used, by the clock.
    used: Now,
}

/// How many regions of the mirror stand behind each mark of a leaf.
#[derive(Debug, Default)]
pub(crate) struct Marks(BTreeMap<LeafRegion, u32>);

impl Marks {
    pub(crate) fn add(&mut self, at: LeafRegion) {
        *self.0.entry(at).or_default() += 1;
    }

    /// Takes one away; whether it was the last.
    pub(crate) fn remove(&mut self, at: LeafRegion) -> bool {
        let Some(n) = self.0.get_mut(&at) else {
            unreachable!("a mark is forgotten that was never made")
        };
        *n -= 1;
        let last = *n == 0;
        if last {
            self.0.remove(&at);
        }
        last
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

/// What [`Regions::idle`] found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Idle {
    /// This region's mark may be forgotten.
    Clear(u32),
    /// Nothing before a flush of all legs.
    Flush,
    /// Nothing now.
    Nothing,
}

/// The regions of one mirror.
#[derive(Debug, Default)]
pub(crate) struct Regions {
    dirty: BTreeMap<u32, Region>,
    /// By time of use.
    order: BTreeSet<(Now, u32)>,
    /// Marks of leaves that stand for `dirty`.
    pub(crate) dirty_marks: Marks,
    /// A leg that missed something may lack any block here.
    pub(crate) resync: BTreeSet<u32>,
    /// Marks of leaves that stand for `resync`.
    pub(crate) resync_marks: Marks,
    /// Live legs may differ here: read from one leg only. A subset of `resync`.
    pub(crate) differ: BTreeSet<u32>,
    /// Counts ends of changes.
    seq: u64,
    /// Every live leg has durably what ended up to here.
    flushed: u64,
}

impl Regions {
    pub(crate) fn len(&self) -> usize {
        self.dirty.len()
    }
    pub(crate) fn dirty(&self) -> impl Iterator<Item = u32> + '_ {
        self.dirty.keys().copied()
    }
    pub(crate) fn get(&mut self, region: u32) -> &mut Region {
        match self.dirty.get_mut(&region) {
            Some(r) => r,
            None => unreachable!("a region in use is marked"),
        }
    }

    /// The region is in the set of the marked ones from now on; whether it is new there.
    pub(crate) fn insert(&mut self, region: u32, now: Now) -> bool {
        let used = now >> QUANTUM;
        let mut new = false;
        let r = self.dirty.entry(region).or_insert_with(|| {
            new = true;
            Region::default()
        });
        if new || r.used != used {
            self.order.remove(&(r.used, region));
            self.order.insert((used, region));
            r.used = used;
        }
        new
    }

    /// A change began or, with the time at which it did, ended here.
    pub(crate) fn enter(&mut self, region: u32) {
        self.get(region).in_flight += 1;
    }

    pub(crate) fn leave(&mut self, region: u32) {
        self.seq += 1;
        let seq = self.seq;
        let r = self.get(region);
        r.in_flight -= 1;
        r.seq = seq;
    }

    /// The count up to which a flush that starts now makes changes durable.
    pub(crate) fn seq(&self) -> u64 {
        self.seq
    }
    /// Every live leg has durably what ended up to `seq`.
    pub(crate) fn flushed(&mut self, seq: u64) {
        self.flushed = self.flushed.max(seq);
    }

    /// Forgets that a leg ever was marked.
    pub(crate) fn forget_leg(&mut self, leg: LegSet) {
        for r in self.dirty.values_mut() {
            r.marked &= !leg;
            r.marking &= !leg;
        }
    }

    /// The least recently used region whose mark may be forgotten.
    pub(crate) fn idle(&mut self, now: Now) -> Idle {
        while self.dirty.len() > KEEP {
            let Some(&(used, region)) = self.order.first() else {
                break;
            };
            if wake(used) > now {
                break;
            }
            let flushed = self.flushed;
            let r = self.get(region);
            if r.in_flight == 0 && r.left == 0 {
                let durable = r.seq <= flushed;
                return if durable {
                    Idle::Clear(region)
                } else {
                    Idle::Flush
                };
            }
            self.insert(region, now);
        }
        Idle::Nothing
    }

    /// When there is something idle to look at, if ever.
    pub(crate) fn next_wake(&self) -> Option<Now> {
        let oldest = self.order.first().filter(|_| self.dirty.len() > KEEP)?;
        Some(wake(oldest.0))
    }

    /// Every region that nothing is happening in and whose changes are durable.
    pub(crate) fn quiet(&self) -> Vec<u32> {
        let quiet = |r: &Region| r.in_flight == 0 && r.left == 0 && r.seq <= self.flushed;
        (self.dirty.iter().filter(|(_, r)| quiet(r)).map(|(n, _)| *n)).collect()
    }

    pub(crate) fn remove(&mut self, region: u32) {
        if let Some(r) = self.dirty.remove(&region) {
            assert!(
                r.in_flight == 0 && r.left == 0,
                "a region in use is forgotten"
            );
            self.order.remove(&(r.used, region));
        }
    }
}

/// When a region last used in this quantum has been idle for long enough.
fn wake(used: Now) -> Now {
    ((used + 1) << QUANTUM) + IDLE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_used_is_forgotten_first_and_only_when_durable() {
        let mut r = Regions::default();
        let n = KEEP as u32 + 2;
        for i in 0..n {
            r.insert(i, u64::from(i) << QUANTUM);
            r.enter(i);
            r.leave(i);
        }
        let late = u64::from(n + 10) << QUANTUM;
        assert_eq!(r.next_wake(), Some((1 << QUANTUM) + IDLE));
        assert_eq!(r.idle(IDLE), Idle::Nothing);
        assert_eq!(r.idle(late), Idle::Flush);
        r.flushed(r.seq());
        r.enter(0);
        assert_eq!(r.idle(late), Idle::Clear(1), "0 is in use");
        r.remove(1);
        assert_eq!(r.idle(late), Idle::Clear(2));
        r.remove(2);
        assert_eq!(
            (r.idle(late), r.next_wake()),
            (Idle::Nothing, None),
            "few enough"
        );
    }
}
