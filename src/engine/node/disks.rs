//! The disks of a node as the leaves of its volumes: each call goes to the store of its disk.

use crate::io::{Buf, DiskIndex, Effects, Now};
use crate::leaf::{Done, LeafError, LeafId, LeafState, Leaves, LegsRecord, Span, Token};
use crate::store::{Sink, Store};
use layout::Epoch;
use std::collections::VecDeque;

/// The stores, and where the consequences of calls go.
pub(super) struct Disks<'a> {
    pub(super) stores: &'a mut [Option<Store>],
    pub(super) now: Now,
    pub(super) out: &'a mut Effects,
    pub(super) done: &'a mut VecDeque<Done>,
}

impl Disks<'_> {
    /// A call that ends; on a disk that is not there it ends at once.
    fn call(&mut self, disk: DiskIndex, token: Token, f: impl FnOnce(&mut Store, &mut Sink<'_>)) {
        if !self.tell(disk, f) {
            let result = Err(LeafError::DiskFailed);
            self.done.push_back(Done { token, result });
        }
    }

    /// A call that does not; whether the disk is there.
    fn tell(&mut self, disk: DiskIndex, f: impl FnOnce(&mut Store, &mut Sink<'_>)) -> bool {
        let Some(Some(store)) = self.stores.get_mut(usize::from(disk.0)) else {
            return false;
        };
        let mut sink = Sink {
            now: self.now,
            out: self.out,
            done: self.done,
        };
        f(store, &mut sink);
        true
    }

    fn store(&self, disk: DiskIndex) -> Option<&Store> {
        self.stores.get(usize::from(disk.0))?.as_ref()
    }
}

impl Leaves for Disks<'_> {
    fn read(&mut self, l: LeafId, span: Span, buf: Buf, token: Token) {
        self.call(l.disk, token, |s, sink| {
            s.read(l.slot, span, buf, token, sink)
        });
    }
    fn write(&mut self, l: LeafId, span: Span, buf: Buf, token: Token) {
        self.call(l.disk, token, |s, sink| {
            s.write(l.slot, span, buf, token, sink)
        });
    }
    fn reserve(&mut self, l: LeafId, span: Span, token: Token) {
        self.call(l.disk, token, |s, sink| {
            s.reserve(l.slot, span, token, sink)
        });
    }
    fn discard(&mut self, l: LeafId, start: u64, count: u64, token: Token) {
        self.call(l.disk, token, |s, sink| {
            s.discard(l.slot, start, count, token, sink)
        });
    }
    fn flush(&mut self, disk: DiskIndex, token: Token) {
        self.call(disk, token, |s, sink| s.flush(token, sink));
    }
    fn mark_dirty(&mut self, l: LeafId, region: u32, token: Token) {
        self.call(l.disk, token, |s, sink| {
            s.mark_dirty(l.slot, region, token, sink)
        });
    }
    fn clear_dirty(&mut self, l: LeafId, region: u32) {
        self.tell(l.disk, |s, sink| s.clear_dirty(l.slot, region, sink));
    }
    fn set_legs(&mut self, l: LeafId, legs: LegsRecord, token: Token) {
        self.call(l.disk, token, |s, sink| {
            s.set_legs(l.slot, legs, token, sink)
        });
    }
    fn resync_dirty(&mut self, l: LeafId) {
        self.tell(l.disk, |s, sink| s.resync_dirty(l.slot, sink));
    }
    fn clear_resync(&mut self, l: LeafId, region: u32) {
        self.tell(l.disk, |s, sink| s.clear_resync(l.slot, region, sink));
    }
    fn cut_epoch(&mut self, l: LeafId) -> Epoch {
        let mut cut = Epoch::default();
        self.tell(l.disk, |s, sink| cut = s.cut_epoch(l.slot, sink));
        cut
    }
    fn join_epoch(&mut self, l: LeafId, epoch: Epoch) {
        self.tell(l.disk, |s, sink| s.join_epoch(l.slot, epoch, sink));
    }
    fn release_epoch(&mut self, l: LeafId, epoch: Epoch) {
        self.tell(l.disk, |s, sink| s.release_epoch(l.slot, epoch, sink));
    }
    fn scan(&mut self, l: LeafId, segment: u32, since: Epoch, token: Token) {
        self.call(l.disk, token, |s, sink| {
            s.scan(l.slot, segment, since, token, sink)
        });
    }
    fn state(&self, l: LeafId) -> LeafState {
        match self.store(l.disk) {
            Some(store) => store.state(l.slot),
            None => unreachable!("a volume forgets the leaves of a disk that is taken away"),
        }
    }
    fn is_dirty(&self, l: LeafId, region: u32) -> bool {
        self.store(l.disk)
            .is_some_and(|s| s.is_dirty(l.slot, region))
    }
    fn is_resync(&self, l: LeafId, region: u32) -> bool {
        self.store(l.disk)
            .is_some_and(|s| s.is_resync(l.slot, region))
    }
    fn is_usable(&self, disk: DiskIndex) -> bool {
        self.store(disk).is_some_and(|s| s.failed().is_none())
    }
}
