//! The calls of [`crate::leaf::Leaves`], for one disk: the object's slot takes the leaf's place.

use super::chunk::Kind;
use super::{Sink, Store};
use crate::format::record::{Mark, Record};
use crate::io::Buf;
use crate::leaf::{LeafError, LeafState, LegsRecord, Span, Token};
use layout::Epoch;

impl Store {
    /// See [`crate::leaf::Leaves::read`].
    pub fn read(&mut self, slot: u16, span: Span, buf: Buf, token: Token, sink: &mut Sink<'_>) {
        let blocks = span.start..span.start + u64::from(span.count);
        self.call(slot, blocks, token, |n| {
            Kind::Read(buf.skip(n * layout::BLOCK as u32))
        });
        self.pump(sink);
    }

    /// See [`crate::leaf::Leaves::write`].
    pub fn write(&mut self, slot: u16, span: Span, buf: Buf, token: Token, sink: &mut Sink<'_>) {
        let blocks = span.start..span.start + u64::from(span.count);
        self.call(slot, blocks, token, |n| {
            Kind::Write(buf.skip(n * layout::BLOCK as u32))
        });
        self.pump(sink);
    }

    /// See [`crate::leaf::Leaves::reserve`].
    pub fn reserve(&mut self, slot: u16, span: Span, token: Token, sink: &mut Sink<'_>) {
        let blocks = span.start..span.start + u64::from(span.count);
        self.call(slot, blocks, token, |_| Kind::Reserve);
        self.pump(sink);
    }

    /// See [`crate::leaf::Leaves::discard`].
    pub fn discard(
        &mut self,
        slot: u16,
        start: u64,
        count: u64,
        token: Token,
        sink: &mut Sink<'_>,
    ) {
        if self.failed.is_some() {
            sink.end(token, Err(LeafError::DiskFailed));
            return;
        }
        self.call_discard(slot, start..start + count, token);
        self.pump(sink);
        self.end_empty(sink);
    }

    /// See [`crate::leaf::Leaves::flush`].
    pub fn flush(&mut self, token: Token, sink: &mut Sink<'_>) {
        self.wait_durable(token, sink);
    }

    /// See [`crate::leaf::Leaves::mark_dirty`].
    pub fn mark_dirty(&mut self, slot: u16, region: u32, token: Token, sink: &mut Sink<'_>) {
        self.mark(slot, Mark::Dirty, region, true);
        self.wait_durable(token, sink);
    }

    /// See [`crate::leaf::Leaves::clear_dirty`].
    pub fn clear_dirty(&mut self, slot: u16, region: u32, sink: &mut Sink<'_>) {
        self.mark(slot, Mark::Dirty, region, false);
        self.pump(sink);
    }

    /// See [`crate::leaf::Leaves::set_legs`].
    pub fn set_legs(&mut self, slot: u16, legs: LegsRecord, token: Token, sink: &mut Sink<'_>) {
        self.object_mut(slot).record.legs = legs;
        self.record(Record::Legs { slot, legs });
        self.wait_durable(token, sink);
    }

    /// See [`crate::leaf::Leaves::resync_dirty`].
    pub fn resync_dirty(&mut self, slot: u16, sink: &mut Sink<'_>) {
        let record = &mut self.object_mut(slot).record;
        record.resync.union(&record.dirty);
        self.record(Record::Unequal { slot });
        self.pump(sink);
    }

    /// See [`crate::leaf::Leaves::clear_resync`].
    pub fn clear_resync(&mut self, slot: u16, region: u32, sink: &mut Sink<'_>) {
        self.mark(slot, Mark::Resync, region, false);
        self.pump(sink);
    }

    /// See [`crate::leaf::Leaves::cut_epoch`].
    pub fn cut_epoch(&mut self, slot: u16, sink: &mut Sink<'_>) -> Epoch {
        let record = &mut self.object_mut(slot).record;
        let ended = record.epoch;
        record.epoch = ended.next();
        record.held.push(ended);
        self.record_epochs(slot);
        self.pump(sink);
        ended
    }

    /// See [`crate::leaf::Leaves::join_epoch`].
    pub fn join_epoch(&mut self, slot: u16, epoch: Epoch, sink: &mut Sink<'_>) {
        let record = &mut self.object_mut(slot).record;
        if epoch > record.epoch {
            record.epoch = epoch;
            self.record_epochs(slot);
        }
        self.pump(sink);
    }

    /// See [`crate::leaf::Leaves::release_epoch`].
    pub fn release_epoch(&mut self, slot: u16, epoch: Epoch, sink: &mut Sink<'_>) {
        let held = &mut self.object_mut(slot).record.held;
        if held.contains(&epoch) {
            held.retain(|held| *held != epoch);
            self.record_epochs(slot);
            self.fold_pages(slot);
        }
        self.pump(sink);
    }

    /// See [`crate::leaf::Leaves::scan`].
    pub fn scan(
        &mut self,
        slot: u16,
        segment: u32,
        since: Epoch,
        token: Token,
        sink: &mut Sink<'_>,
    ) {
        let blocks = u64::from(self.geometry().segment_blocks);
        let start = u64::from(segment) * blocks;
        self.call(slot, start..start + blocks, token, |_| Kind::Scan(since));
        self.pump(sink);
    }

    /// See [`crate::leaf::Leaves::state`].
    pub fn state(&self, slot: u16) -> LeafState {
        let record = &self.object(slot).record;
        LeafState {
            segments: record.segments,
            segment_blocks: self.geometry().segment_blocks,
            region_segments: record.region_segments,
            legs: record.legs,
            epoch: record.epoch,
            held: record.held.first().copied(),
        }
    }

    /// See [`crate::leaf::Leaves::is_dirty`].
    pub fn is_dirty(&self, slot: u16, region: u32) -> bool {
        self.object(slot).record.dirty.get(region)
    }

    /// See [`crate::leaf::Leaves::is_resync`].
    pub fn is_resync(&self, slot: u16, region: u32) -> bool {
        self.object(slot).record.resync.get(region)
    }

    fn record_epochs(&mut self, slot: u16) {
        let record = &self.object(slot).record;
        let (running, held) = (record.epoch, record.held.clone());
        self.record(Record::Epochs {
            slot,
            running,
            held,
        });
    }

    fn mark(&mut self, slot: u16, mark: Mark, region: u32, on: bool) {
        let record = &mut self.object_mut(slot).record;
        let marks = match mark {
            Mark::Dirty => &mut record.dirty,
            Mark::Resync => &mut record.resync,
        };
        if marks.get(region) != on {
            marks.set(region, on);
            self.record(Record::Mark {
                slot,
                mark,
                on,
                region,
            });
        }
    }

    /// The call ends when everything recorded so far is durable.
    fn wait_durable(&mut self, token: Token, sink: &mut Sink<'_>) {
        if self.failed.is_some() {
            sink.end(token, Err(LeafError::DiskFailed));
            return;
        }
        self.wait_for_commit(token);
        self.pump(sink);
    }

    /// Sends faults again that nobody answered in time.
    pub fn tick(&mut self, sink: &mut Sink<'_>) {
        let slots = 0..self.geometry().slots;
        for slot in slots {
            let Some(object) = self.objects[usize::from(slot)].as_mut() else {
                continue;
            };
            object.table.resend_due(sink.now);
            self.serve_faults(slot, sink);
        }
        self.pump(sink);
    }

    /// When [`Store::tick`] has something to do next; `None` when nothing waits.
    pub fn next_wake(&self) -> Option<crate::io::Now> {
        let waits = self.failed.is_none();
        let objects = self.objects.iter().flatten().filter(|_| waits);
        objects.filter_map(|o| o.table.next_wake()).min()
    }
}
