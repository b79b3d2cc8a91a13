//! Writes, discards, reservations and scans: whatever looks at or changes which blocks hold data.

use super::chunk::{Chunk, ChunkId, Kind, Stage};
use super::{Io, Sink, Store};
use crate::format::MetaAddr;
use crate::format::header::Descriptor;
use crate::format::page::Page;
use crate::format::record::Record;
use crate::io::{Buf, IoKind};
use crate::leaf::{BlockBits, LeafError, Outcome, SegmentScan};
use crate::map::{Access, Entry, State};
use crate::planted::Bug;
use layout::{BLOCK, Epoch};
use std::ops::Range;

impl Store {
    pub(super) fn run_write(&mut self, id: ChunkId, buf: Buf, sink: &mut Sink<'_>) {
        let Some(entry) = self.admit(id, Access::Write, sink) else {
            return;
        };
        let Some(physical) = entry.location() else {
            // A write is never let through to a segment without a place.
            self.end_chunk(id, Err(LeafError::Segment), sink);
            return;
        };
        let chunk = &mut self.chunks[id];
        chunk.physical = physical;
        chunk.stage = Stage::Running;
        chunk.ios = 1;
        let (first, len) = (chunk.first, chunk.count * BLOCK as u32);
        let offset = self.geometry().data_offset(physical, first);
        self.start(Io::Data(id), offset, IoKind::Write { buf, len }, sink);
    }

    /// The data is written; what that changes is recorded before the answer.
    pub(super) fn finish_write(&mut self, id: ChunkId, sink: &mut Sink<'_>) {
        let Chunk {
            slot,
            segment,
            first,
            count,
            physical,
            ..
        } = self.chunks[id];
        let whole = count == self.geometry().segment_blocks;
        let entry = self.object(slot).table.get(segment);
        if entry.has(State::Error) {
            self.end_chunk(id, Err(LeafError::Segment), sink);
            return;
        }
        if std::mem::take(&mut self.chunks[id].again) || entry.location() != Some(physical) {
            self.step_back(id);
            self.chunks[id].stage = Stage::Begin;
            self.ready.push_back(id);
            return;
        }
        if entry.is_run() && !self.object(slot).tracks(entry.birth()) {
            self.end_chunk(id, Ok(Outcome::Ok), sink);
            return;
        }
        if entry.is_paged() && !self.write_changes(id, sink) {
            return;
        }
        if !self.may_record() {
            self.stalled.push_back(id);
            return;
        }
        let birth = self.epoch(slot);
        if whole {
            self.become_run(slot, segment, physical, birth);
        } else {
            self.page_of(slot, segment, entry, physical);
            self.set_blocks(physical, first, count, true, birth);
            self.try_run(slot, segment, physical);
        }
        self.end_chunk(id, Ok(Outcome::Ok), sink);
    }

    /// Whether a write to a segment with a page changes it; `false` too where the chunk was ended
    /// or waits for the page.
    fn write_changes(&mut self, id: ChunkId, sink: &mut Sink<'_>) -> bool {
        let Chunk {
            slot,
            first,
            count,
            physical,
            ..
        } = self.chunks[id];
        let Some(page) = self.page_for(id, physical, sink) else {
            return false;
        };
        let invalid = (first..first + count).any(|b| !page.is_valid(b));
        let oldest = page.births[first as usize..(first + count) as usize]
            .iter()
            .min()
            .copied();
        let changes = invalid || self.object(slot).tracks(oldest.unwrap_or_default());
        if !changes {
            self.end_chunk(id, Ok(Outcome::Ok), sink);
        }
        changes
    }

    /// Sees to it that the segment's page is here and recorded; a run gets one.
    fn page_of(&mut self, slot: u16, segment: u32, entry: Entry, physical: u32) {
        let blocks = self.geometry().segment_blocks;
        let (valid, birth) = if entry.is_run() {
            let birth = entry.birth();
            self.pages
                .insert(physical, Page::new(segment, blocks, true, birth), false);
            self.set_entry(slot, segment, Entry::paged(physical));
            (true, birth)
        } else {
            let page = self.pages.peek(physical).map(|c| &c.page);
            let visible = page.is_some_and(|p| p.count() > 0);
            (visible, page.map(Page::newest).unwrap_or_default())
        };
        if let Some(cached) = self.pages.get(physical).filter(|c| !c.recorded) {
            cached.recorded = true;
            self.record(Record::Page {
                segment: physical,
                logical: segment,
                valid,
                birth,
            });
            let descriptor = Descriptor::Page { logical: segment };
            self.record(Record::Segment {
                segment: physical,
                descriptor,
            });
        }
    }

    fn set_blocks(&mut self, physical: u32, first: u32, count: u32, valid: bool, birth: Epoch) {
        if let Some(cached) = self.pages.get(physical) {
            cached.page.set(first, count, valid, birth);
        }
        let (first, count) = (first as u16, count as u16);
        self.record(Record::Blocks {
            segment: physical,
            first,
            count,
            valid,
            birth,
        });
    }

    fn set_entry(&mut self, slot: u16, segment: u32, entry: Entry) {
        let set = self
            .object_mut(slot)
            .table
            .set_range(segment..segment + 1, entry, None);
        assert!(set.is_ok(), "the segment is the table's own");
    }

    fn become_run(&mut self, slot: u16, logical: u32, physical: u32, birth: Epoch) {
        self.pages.remove(physical);
        self.dirty.remove(&MetaAddr::Page(physical));
        self.set_entry(slot, logical, Entry::run(physical, birth));
        let descriptor = Descriptor::Run { logical, birth };
        self.record(Record::Segment {
            segment: physical,
            descriptor,
        });
    }

    /// A page whose blocks all hold data, and whose births nobody needs to tell apart, becomes a
    /// run.
    pub(super) fn try_run(&mut self, slot: u16, logical: u32, physical: u32) {
        let Some(cached) = self.pages.peek(physical) else {
            return;
        };
        let full = cached.page.count() == self.geometry().segment_blocks;
        let (oldest, newest) = super::pages::births(&cached.page);
        if full && cached.recorded && !self.object(slot).separates(oldest, newest) {
            self.become_run(slot, logical, physical, newest);
        }
    }

    pub(super) fn run_reserve(&mut self, id: ChunkId, sink: &mut Sink<'_>) {
        if self.admit(id, Access::Write, sink).is_some() {
            self.end_chunk(id, Ok(Outcome::Ok), sink);
        }
    }

    pub(super) fn run_discard(&mut self, id: ChunkId, sink: &mut Sink<'_>) {
        let Chunk {
            slot,
            segment,
            first,
            count,
            ..
        } = self.chunks[id];
        if self.object(slot).table.get(segment).has(State::Zero) {
            self.end_chunk(id, Ok(Outcome::Ok), sink);
            return;
        }
        let Some(entry) = self.admit(id, Access::Write, sink) else {
            return;
        };
        let Some(physical) = entry.location() else {
            self.end_chunk(id, Ok(Outcome::Ok), sink);
            return;
        };
        let tracked = !self.object(slot).record.held.is_empty();
        let whole = count == self.geometry().segment_blocks;
        // A write that has its space must not lose it to a discard beside it (spec A10).
        let keep = tracked || self.is_being_written(slot, segment);
        if entry.is_paged() && (keep || !whole) {
            let Some(page) = self.page_for(id, physical, sink) else {
                return;
            };
            if !(first..first + count).any(|b| page.is_valid(b)) {
                self.end_chunk(id, Ok(Outcome::Ok), sink);
                return;
            }
        }
        // Nothing of it runs: it must not hold up what it gives up.
        self.step_back(id);
        if !self.may_record() {
            self.stalled.push_back(id);
            return;
        }
        self.redo_writes(slot, segment, first..first + count);
        if whole && !keep {
            self.free_segment(slot, segment, physical);
        } else {
            self.page_of(slot, segment, entry, physical);
            let birth = self.epoch(slot);
            self.set_blocks(physical, first, count, false, birth);
            let empty = self
                .pages
                .peek(physical)
                .is_some_and(|c| c.page.count() == 0);
            if empty && !keep {
                self.free_segment(slot, segment, physical);
            }
        }
        self.end_chunk(id, Ok(Outcome::Ok), sink);
    }

    /// Writes of these blocks that are under way are done again.
    fn redo_writes(&mut self, slot: u16, segment: u32, blocks: Range<u32>) {
        for (_, c) in self.chunks.iter_mut() {
            let writes = matches!(c.kind, Kind::Write(_)) && c.stage != Stage::Begin;
            let meets = c.first < blocks.end && blocks.start < c.first + c.count;
            c.again |= writes && meets && c.slot == slot && c.segment == segment;
        }
    }

    fn is_being_written(&self, slot: u16, segment: u32) -> bool {
        self.chunks.iter().any(|(_, c)| {
            let writes = matches!(c.kind, Kind::Write(_) | Kind::Reserve);
            writes && c.slot == slot && c.segment == segment
        })
    }

    fn free_segment(&mut self, slot: u16, logical: u32, physical: u32) {
        if !self.config.planted.has(Bug::DiscardForgotten) {
            let descriptor = Descriptor::Free;
            self.record(Record::Segment {
                segment: physical,
                descriptor,
            });
        }
        self.give_up(slot, logical, physical);
    }

    pub(super) fn run_scan(&mut self, id: ChunkId, since: Epoch, sink: &mut Sink<'_>) {
        let Some(entry) = self.admit(id, Access::Read, sink) else {
            return;
        };
        let blocks = self.geometry().segment_blocks;
        let all = |on: bool| if on { first_bits(blocks) } else { [0; 4] };
        let scan = match entry.location() {
            None => SegmentScan {
                valid: [0; 4],
                changed: all(entry.birth() > since),
            },
            Some(_) if entry.is_run() => SegmentScan {
                valid: all(true),
                changed: all(entry.birth() > since),
            },
            Some(physical) => {
                let Some(page) = self.page_for(id, physical, sink) else {
                    return;
                };
                let mut scan = SegmentScan {
                    valid: page.valid,
                    changed: [0; 4],
                };
                for (i, _) in page.births.iter().enumerate().filter(|(_, b)| **b > since) {
                    scan.changed[i / 64] |= 1 << (i % 64);
                }
                scan
            }
        };
        self.end_chunk(id, Ok(Outcome::Scan(scan)), sink);
    }

    /// Runs of pages that nobody needs any more, as far as records may be written.
    pub(super) fn fold_pages(&mut self, slot: u16) {
        for physical in self.pages.full() {
            let Some((owner, logical)) = self.logical(physical) else {
                continue;
            };
            let current = self.object(owner).table.get(logical).location() == Some(physical);
            if owner == slot && current && self.may_record() {
                self.try_run(slot, logical, physical);
            }
        }
    }
}

/// The lowest `n` bits.
fn first_bits(n: u32) -> BlockBits {
    let mut bits = [0; 4];
    (0..n as usize).for_each(|i| bits[i / 64] |= 1 << (i % 64));
    bits
}
