//! Segments of the disk: which are free in the units granted to an object, and when one that was
//! given up may be used again.

use super::{Object, Sink, Store};
use crate::format::header::{Descriptor, Grant, Header};
use crate::format::page::Page;
use crate::io::{CommandId, Notice};
use crate::map::{Answer, Entry, Fault, State};
use crate::planted::Bug;
use layout::{Epoch, Generation};

/// A unit of the disk.
#[derive(Default)]
pub struct Unit {
    /// The object that has it.
    pub slot: Option<u16>,
    /// The object's generation when it got it.
    pub generation: Generation,
    /// One bit a segment that is in use, or was and may not be used yet.
    pub used: u64,
    /// For each segment in use the object's segment; empty where the unit is nobody's.
    pub logical: Box<[u32]>,
}

/// A segment that was given up.
pub struct Freed {
    segment: u32,
    slot: u16,
    /// Free when all records before this number are durable,
    after: u64,
    /// and no I/O that began before runs on it any more.
    drained: bool,
}

impl Store {
    /// Takes a free segment for the object's segment `logical`, next to its neighbour if possible.
    pub(super) fn allocate(&mut self, slot: u16, logical: u32) -> Option<u32> {
        let per_unit = self.geometry().unit_segments;
        let object = self.objects[usize::from(slot)].as_mut()?;
        let before = logical
            .checked_sub(1)
            .and_then(|l| object.table.get(l).location());
        let near = before.map(|l| l + 1).filter(|s| {
            let unit = self.units.get((s / per_unit) as usize);
            unit.is_some_and(|u| u.slot == Some(slot) && u.used >> (s % per_unit) & 1 == 0)
        });
        let segment = match near {
            Some(segment) => segment,
            None => {
                let count = object.units.len();
                let all = (0..count).map(|i| (object.cursor + i) % count);
                let (at, free) = all
                    .map(|at| {
                        (
                            at,
                            (!self.units[object.units[at] as usize].used).trailing_zeros(),
                        )
                    })
                    .find(|(_, free)| *free < per_unit)?;
                object.cursor = at;
                object.units[at] * per_unit + free
            }
        };
        let unit = &mut self.units[(segment / per_unit) as usize];
        if !self.config.planted.has(Bug::GrantedTwice) {
            unit.used |= 1 << (segment % per_unit);
        }
        unit.logical[(segment % per_unit) as usize] = logical;
        Some(segment)
    }

    /// The object's segment that is in this segment of the disk.
    pub(super) fn logical(&self, segment: u32) -> Option<(u16, u32)> {
        let per_unit = self.geometry().unit_segments;
        let unit = &self.units[(segment / per_unit) as usize];
        Some((unit.slot?, unit.logical[(segment % per_unit) as usize]))
    }

    /// Answers the faults of an object's table, as its controller.
    pub(super) fn serve_faults(&mut self, slot: u16, sink: &mut Sink<'_>) {
        let Some(object) = self.objects[usize::from(slot)].as_mut() else {
            return;
        };
        let faults: Vec<Fault> = object.table.take_faults().collect();
        for fault in faults {
            match fault.state {
                State::Zero => self.serve_first_write(slot, fault, sink),
                State::Invalid | State::NoWrite | State::Error => {
                    let record = &self.object(slot).record;
                    sink.out.push(crate::io::Effect::Notice(Notice::MapFault {
                        volume: record.volume,
                        path: record.path,
                        fault: fault.id.0,
                        segment: fault.segment,
                        write: fault.access == crate::map::Access::Write,
                        state: fault.state,
                    }));
                }
            }
        }
        self.take_ready(slot, sink);
    }

    /// Gives a segment to a first write, or has it wait for space.
    fn serve_first_write(&mut self, slot: u16, fault: Fault, sink: &mut Sink<'_>) {
        let Some(segment) = self.allocate(slot, fault.segment) else {
            self.starve(slot, fault, sink);
            return;
        };
        // A segment comes with whatever its last owner left in it: none of it is valid.
        let visible = self.config.planted.has(Bug::PreviousOwnerVisible);
        let blocks = self.geometry().segment_blocks;
        let object = self.object_mut(slot);
        let birth = object.table.get(fault.segment).birth();
        let answered = object
            .table
            .answer(fault.id, Answer::Replace(Entry::paged(segment)));
        assert!(answered.is_ok(), "the fault is open");
        self.pages.insert(
            segment,
            Page::new(fault.segment, blocks, visible, birth),
            false,
        );
        self.shrink_pages();
    }

    fn starve(&mut self, slot: u16, fault: Fault, sink: &mut Sink<'_>) {
        let freeing = self.freed.iter().any(|f| f.slot == slot);
        let per_unit = self.geometry().unit_segments;
        let object = self.object_mut(slot);
        if !object.starved.iter().any(|f| f.id == fault.id) {
            object.starved.push(fault);
        }
        let units = (object.starved.len() as u32).div_ceil(per_unit);
        let (volume, path) = (object.record.volume, object.record.path);
        if freeing {
            self.commit_wanted = true;
        } else {
            let disk = self.disk();
            let notice = Notice::PlacementFault {
                volume,
                path,
                disk,
                units,
            };
            sink.out.push(crate::io::Effect::Notice(notice));
        }
    }

    /// There may be space again: serves who waits for it.
    pub(super) fn feed_starved(&mut self, slot: u16, sink: &mut Sink<'_>) {
        let Some(object) = self.objects[usize::from(slot)].as_mut() else {
            return;
        };
        for fault in std::mem::take(&mut object.starved) {
            self.serve_first_write(slot, fault, sink);
        }
        self.take_ready(slot, sink);
    }

    /// Chunks that waited on the object's table run again, or fail.
    pub(super) fn take_ready(&mut self, slot: u16, sink: &mut Sink<'_>) {
        let woken: Vec<_> = self.object_mut(slot).table.take_ready().collect();
        for (token, result) in woken {
            let chunk = token as usize;
            match result {
                Ok(()) => self.ready.push_back(chunk),
                Err(_) => self.end_chunk(chunk, Err(crate::leaf::LeafError::Segment), sink),
            }
        }
    }

    /// The object's segment holds nothing any more; its place is free once it is safe.
    pub(super) fn give_up(&mut self, slot: u16, logical: u32, segment: u32) {
        self.pages.remove(segment);
        self.dirty.remove(&crate::format::MetaAddr::Page(segment));
        let drain = CommandId(segment.into());
        let table = &mut self.object_mut(slot).table;
        let set = table.set_range(logical..logical + 1, Entry::ZERO, Some(drain));
        assert!(set.is_ok(), "the segment is the table's own");
        self.freed.push(Freed {
            segment,
            slot,
            after: self.log.next(),
            drained: false,
        });
        self.note_drained(slot);
    }

    /// Looks whether older I/Os on given-up segments have ended.
    pub(super) fn note_drained(&mut self, slot: u16) {
        let durable = self.durable();
        let Some(object) = self.objects[usize::from(slot)].as_mut() else {
            return;
        };
        for CommandId(segment) in object.table.take_drained().collect::<Vec<_>>() {
            let of = |f: &&mut Freed| u64::from(f.segment) == segment && f.slot == slot;
            if let Some(freed) = self.freed.iter_mut().rev().find(of) {
                freed.drained = true;
                self.freed_now |= freed.after <= durable;
            }
        }
    }

    /// Segments whose giving-up is durable, and on which nothing runs, are free again.
    pub(super) fn release_freed(&mut self, durable: u64, sink: &mut Sink<'_>) {
        self.freed_now = false;
        let early = self.config.planted.has(Bug::FreedTooEarly);
        let per_unit = self.geometry().unit_segments;
        let mut fed = Vec::new();
        let units = &mut self.units;
        self.freed.retain(|f| {
            let free = f.drained && (f.after <= durable || early);
            if free {
                units[(f.segment / per_unit) as usize].used &= !(1 << (f.segment % per_unit));
                fed.push(f.slot);
            }
            !free
        });
        fed.dedup();
        for slot in fed {
            self.feed_starved(slot, sink);
        }
    }

    /// Forgets what was given up by an object that is gone.
    pub(super) fn forget_freed(&mut self, slot: u16) {
        self.freed.retain(|f| f.slot != slot);
    }

    /// The header of a unit as the records so far make it.
    pub(super) fn header(&self, unit: u32) -> Header {
        let per_unit = self.geometry().unit_segments;
        let state = &self.units[unit as usize];
        // A unit being released has its slot still, but no segments any more.
        let slot = state.slot.filter(|_| !state.logical.is_empty());
        let owner = slot.and_then(|s| Some((s, self.objects[usize::from(s)].as_ref()?)));
        let Some((slot, object)) = owner else {
            return Header::free(per_unit);
        };
        let grant = Grant {
            slot,
            volume: object.record.volume,
            path: object.record.path,
            generation: state.generation,
        };
        let segments = (0..per_unit)
            .map(|i| self.descriptor(object, unit * per_unit + i, state.logical[i as usize]))
            .collect();
        Header {
            grant: Some(grant),
            segments,
        }
    }

    fn descriptor(&self, object: &Object, segment: u32, logical: u32) -> Descriptor {
        if logical >= object.table.segments() {
            return Descriptor::Free;
        }
        let entry = object.table.get(logical);
        if entry.location() != Some(segment) {
            return Descriptor::Free;
        }
        if entry.is_run() {
            return Descriptor::Run {
                logical,
                birth: entry.birth(),
            };
        }
        match self.pages.peek(segment) {
            Some(cached) if !cached.recorded => Descriptor::Free,
            _ => Descriptor::Page { logical },
        }
    }

    /// Bytes in use on the disk by an object: mapped segments.
    pub(super) fn used_segments(&self, slot: u16) -> u32 {
        let units = self.units.iter().filter(|u| u.slot == Some(slot));
        units.map(|u| u.used.count_ones()).sum()
    }

    /// The epoch of changes made now.
    pub(super) fn epoch(&self, slot: u16) -> Epoch {
        self.object(slot).record.epoch
    }
}
