//! The pages in memory: a cache with a fixed budget, those aside that hold changes not yet in
//! place.

use super::chunk::ChunkId;
use crate::format::page::Page;
use layout::Epoch;
use std::collections::{BTreeMap, BTreeSet};

/// A page in memory.
pub struct Cached {
    /// The page.
    pub page: Page,
    /// Whether the log or the disk knows of it. A page of a segment that nobody finished writing to
    /// exists only here.
    pub recorded: bool,
    /// Whether it was used since the last look for something to forget.
    used: bool,
}

/// The pages in memory, by segment of the disk.
#[derive(Default)]
pub struct Pages {
    cached: BTreeMap<u32, Cached>,
    /// Who waits for a page that is being read.
    waiting: BTreeMap<u32, Vec<ChunkId>>,
    /// Pages whose image is on its way to its place: what is there now is older.
    in_flight: BTreeSet<u32>,
    hand: u32,
}

impl Pages {
    /// The page, if it is here.
    pub fn get(&mut self, segment: u32) -> Option<&mut Cached> {
        let cached = self.cached.get_mut(&segment)?;
        cached.used = true;
        Some(cached)
    }
    /// The page, if it is here, without counting as a use.
    pub fn peek(&self, segment: u32) -> Option<&Cached> {
        self.cached.get(&segment)
    }
    /// Puts a page here.
    pub fn insert(&mut self, segment: u32, page: Page, recorded: bool) {
        self.cached.insert(
            segment,
            Cached {
                page,
                recorded,
                used: true,
            },
        );
    }
    /// The segment has no page any more.
    pub fn remove(&mut self, segment: u32) {
        self.cached.remove(&segment);
    }
    /// Has `chunk` wait for a page; whether it is the first, so that the page must be read.
    pub fn wait(&mut self, segment: u32, chunk: ChunkId) -> bool {
        let waiting = self.waiting.entry(segment).or_default();
        waiting.push(chunk);
        waiting.len() == 1
    }
    /// Who waited for the page.
    pub fn woken(&mut self, segment: u32) -> Vec<ChunkId> {
        self.waiting.remove(&segment).unwrap_or_default()
    }
    /// Nobody waits any more.
    pub fn forget_waiters(&mut self) {
        self.waiting.clear();
    }
    /// Images of these pages are under way.
    pub fn set_in_flight(&mut self, segments: BTreeSet<u32>) {
        self.in_flight = segments;
    }
    /// How many pages are here.
    pub fn len(&self) -> usize {
        self.cached.len()
    }
    /// Bytes held for the pages that are here.
    pub fn memory(&self) -> usize {
        let page = |c: &Cached| size_of::<Cached>() + size_of_val(&c.page.births[..]);
        self.cached.values().map(page).sum()
    }
    /// The segments that have a page here, all of whose blocks hold data.
    pub fn full(&self) -> Vec<u32> {
        let full = |c: &Cached| c.page.count() as usize == c.page.births.len();
        self.cached
            .iter()
            .filter(|(_, c)| full(c))
            .map(|(s, _)| *s)
            .collect()
    }

    /// Forgets pages until at most `budget` are left or none can be forgotten: a page may go when
    /// it is on the disk as it is here.
    pub fn shrink(&mut self, budget: usize, dirty: impl Fn(u32) -> bool) {
        let mut looks = 2 * self.cached.len();
        while self.cached.len() > budget && looks > 0 {
            looks -= 1;
            let next = self.cached.range_mut(self.hand..).next();
            let Some((&segment, cached)) = next else {
                self.hand = 0;
                continue;
            };
            self.hand = segment.saturating_add(1);
            let busy = !cached.recorded || self.in_flight.contains(&segment) || dirty(segment);
            if std::mem::take(&mut cached.used) || busy {
                continue;
            }
            self.cached.remove(&segment);
        }
    }
}

/// The oldest and the newest change of any block of a page.
pub fn births(page: &Page) -> (Epoch, Epoch) {
    let oldest = page.births.iter().copied().min().unwrap_or_default();
    (oldest, page.newest())
}
