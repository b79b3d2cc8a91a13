//! The disks of a node, as the leaves of its volumes see them.

use crate::io::{Buf, DiskIndex, Effects, Now};
use crate::leaf::{Done, LeafError, LeafId, LeafState, Leaves, LegsRecord, Span, Token};
use crate::store::{Sink, Store};
use layout::Epoch;
use std::collections::VecDeque;

/// The stores, by index, with what their calls bring about.
#[derive(Default)]
pub struct Disks {
    stores: Vec<Option<Store>>,
    /// The time of the event at hand.
    pub now: Now,
    /// What the shell has to do for the disks.
    pub out: Effects,
    /// Calls that ended.
    pub done: VecDeque<Done>,
}

impl Disks {
    /// The disk's store, if one is attached under this index.
    pub fn get(&self, disk: DiskIndex) -> Option<&Store> {
        self.stores.get(usize::from(disk.0))?.as_ref()
    }
    /// All stores with their indices.
    pub fn iter(&self) -> impl Iterator<Item = (DiskIndex, &Store)> {
        let all = (0u16..).map(DiskIndex).zip(&self.stores);
        all.filter_map(|(i, s)| Some((i, s.as_ref()?)))
    }
    /// Puts a store under an index.
    pub fn insert(&mut self, disk: DiskIndex, store: Store) {
        let at = usize::from(disk.0);
        if self.stores.len() <= at {
            self.stores.resize_with(at + 1, || None);
        }
        assert!(self.stores[at].is_none(), "disk index {at} is in use");
        self.stores[at] = Some(store);
    }
    /// Takes the store from its index.
    pub fn remove(&mut self, disk: DiskIndex) -> Option<Store> {
        self.stores.get_mut(usize::from(disk.0))?.take()
    }

    /// Has the store do something; `None` where there is none.
    pub fn with<T>(
        &mut self,
        disk: DiskIndex,
        f: impl FnOnce(&mut Store, &mut Sink<'_>) -> T,
    ) -> Option<T> {
        let store = self.stores.get_mut(usize::from(disk.0))?.as_mut()?;
        let mut sink = Sink {
            now: self.now,
            out: &mut self.out,
            done: &mut self.done,
        };
        Some(f(store, &mut sink))
    }

    /// A call that ends in a [`Done`]; on a disk that is gone it fails.
    fn call(&mut self, disk: DiskIndex, token: Token, f: impl FnOnce(&mut Store, &mut Sink<'_>)) {
        if self.with(disk, f).is_none() {
            let result = Err(LeafError::DiskFailed);
            self.done.push_back(Done { token, result });
        }
    }
}

impl Leaves for Disks {
    fn read(&mut self, leaf: LeafId, span: Span, buf: Buf, token: Token) {
        self.call(leaf.disk, token, |s, sink| {
            s.read(leaf.slot, span, buf, token, sink)
        });
    }
    fn write(&mut self, leaf: LeafId, span: Span, buf: Buf, token: Token) {
        self.call(leaf.disk, token, |s, sink| {
            s.write(leaf.slot, span, buf, token, sink)
        });
    }
    fn reserve(&mut self, leaf: LeafId, span: Span, token: Token) {
        self.call(leaf.disk, token, |s, sink| {
            s.reserve(leaf.slot, span, token, sink)
        });
    }
    fn discard(&mut self, leaf: LeafId, start: u64, count: u64, token: Token) {
        self.call(leaf.disk, token, |s, sink| {
            s.discard(leaf.slot, start, count, token, sink)
        });
    }
    fn flush(&mut self, disk: DiskIndex, token: Token) {
        self.call(disk, token, |s, sink| s.flush(token, sink));
    }
    fn mark_dirty(&mut self, leaf: LeafId, region: u32, token: Token) {
        self.call(leaf.disk, token, |s, sink| {
            s.mark_dirty(leaf.slot, region, token, sink)
        });
    }
    fn clear_dirty(&mut self, leaf: LeafId, region: u32) {
        self.with(leaf.disk, |s, sink| s.clear_dirty(leaf.slot, region, sink));
    }
    fn set_legs(&mut self, leaf: LeafId, legs: LegsRecord, token: Token) {
        self.call(leaf.disk, token, |s, sink| {
            s.set_legs(leaf.slot, legs, token, sink)
        });
    }
    fn resync_dirty(&mut self, leaf: LeafId) {
        self.with(leaf.disk, |s, sink| s.resync_dirty(leaf.slot, sink));
    }
    fn clear_resync(&mut self, leaf: LeafId, region: u32) {
        self.with(leaf.disk, |s, sink| s.clear_resync(leaf.slot, region, sink));
    }
    fn cut_epoch(&mut self, leaf: LeafId) -> Epoch {
        let cut = self.with(leaf.disk, |s, sink| s.cut_epoch(leaf.slot, sink));
        cut.unwrap_or_default()
    }
    fn join_epoch(&mut self, leaf: LeafId, epoch: Epoch) {
        self.with(leaf.disk, |s, sink| s.join_epoch(leaf.slot, epoch, sink));
    }
    fn release_epoch(&mut self, leaf: LeafId, epoch: Epoch) {
        self.with(leaf.disk, |s, sink| s.release_epoch(leaf.slot, epoch, sink));
    }
    fn scan(&mut self, leaf: LeafId, segment: u32, since: Epoch, token: Token) {
        self.call(leaf.disk, token, |s, sink| {
            s.scan(leaf.slot, segment, since, token, sink)
        });
    }
    fn state(&self, leaf: LeafId) -> LeafState {
        let store = self.get(leaf.disk);
        assert!(store.is_some(), "disk {} is attached", leaf.disk.0);
        store.map(|s| s.state(leaf.slot)).unwrap_or_default()
    }
    fn is_dirty(&self, leaf: LeafId, region: u32) -> bool {
        self.get(leaf.disk)
            .is_some_and(|s| s.is_dirty(leaf.slot, region))
    }
    fn is_resync(&self, leaf: LeafId, region: u32) -> bool {
        self.get(leaf.disk)
            .is_some_and(|s| s.is_resync(leaf.slot, region))
    }
    fn is_usable(&self, disk: DiskIndex) -> bool {
        self.get(disk).is_some_and(|s| s.failed().is_none())
    }
}
