//! Objects come, grow and go: the commands of the allocator, as far as one disk is concerned.
//!
//! A grant or a release of many units is done in steps, each durable before the next, so that a
//! journal of any size holds it. A command that was cut off is given again and goes on: units that
//! are granted to this very object, or free already, are passed over.

use super::alloc::Unit;
use super::object::Object;
use super::{Io, Sink, Store};
use crate::format::header::Header;
use crate::format::object::{ObjectRecord, REGIONS, Regions, encode_owner};
use crate::format::record::Record;
use crate::format::{BLOCK, MetaAddr};
use crate::io::{CommandError, IoKind};
use crate::leaf::{LegsRecord, Outcome, Token};
use crate::map::Answer;
use crate::planted::Bug;
use layout::{Epoch, Generation, ObjectPath, VolumeUid};

/// What the allocator grants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The volume.
    pub volume: VolumeUid,
    /// The leaf.
    pub path: ObjectPath,
    /// The generation of the leaf's map with this grant in it.
    pub generation: Generation,
    /// Segments that the leaf shows; never fewer than before.
    pub segments: u32,
    /// Every unit that the leaf has with this grant.
    pub units: Vec<u32>,
    /// The owner's text, kept when the object is new.
    pub owner: Vec<u8>,
    /// What is known of the mirror above, when the object is new.
    pub legs: LegsRecord,
}

/// A grant or a release under way.
pub struct Granting {
    /// Whom to tell.
    pub token: Token,
    slot: u16,
    release: bool,
    /// Parts of the owner's text being written.
    owner: u32,
    /// Units to do, last first.
    units: Vec<u32>,
    /// Whether the first step was begun.
    begun: bool,
    /// Whether the last step was begun.
    last: bool,
    /// The step that runs is durable when this record is.
    after: u64,
}

impl Store {
    /// The slot of a leaf's object, if it lies here.
    pub fn find(&self, volume: VolumeUid, path: ObjectPath) -> Option<u16> {
        let is = |o: &Object| o.record.volume == volume && o.record.path == path;
        let at = self
            .objects
            .iter()
            .position(|o| o.as_ref().is_some_and(is))?;
        u16::try_from(at).ok()
    }

    /// The records of the objects that lie here.
    pub fn records(&self) -> impl Iterator<Item = (u16, &ObjectRecord)> {
        let live = self
            .objects
            .iter()
            .zip(0u16..)
            .filter_map(|(o, i)| Some((i, o.as_ref()?)));
        live.map(|(slot, object)| (slot, &object.record))
    }

    /// The units granted to an object, and how many of their segments are in use.
    pub fn usage(&self, slot: u16) -> (Vec<u32>, u32) {
        (self.object(slot).units.clone(), self.used_segments(slot))
    }

    /// Makes an object, or grows one. Ends the call when all of it is durable.
    ///
    /// # Errors
    /// What contradicts what the disk says of itself; nothing was changed.
    pub fn grant(
        &mut self,
        grant: Grant,
        token: Token,
        sink: &mut Sink<'_>,
    ) -> Result<u16, CommandError> {
        let slot = self.check_grant(&grant)?;
        let has = |u: &u32| self.units[*u as usize].slot == Some(slot);
        let units: Vec<u32> = grant
            .units
            .iter()
            .rev()
            .filter(|u| !has(u))
            .copied()
            .collect();
        let mut granting = Granting {
            token,
            slot,
            release: false,
            owner: 0,
            units,
            begun: false,
            last: false,
            after: self.log.first,
        };
        if self.objects[usize::from(slot)].is_none() {
            let parts = encode_owner(&grant.owner, self.disk(), slot).unwrap_or_default();
            for (part, bytes) in (1..).zip(parts) {
                let offset = self.geometry().meta_offset(MetaAddr::Owner(slot, part));
                let kind = IoKind::WriteMeta { bytes, fua: false };
                granting.owner += 1;
                self.start(Io::Owner(slot), offset, kind, sink);
            }
            self.objects[usize::from(slot)] = Some(Object::new(new_record(&grant)));
        } else {
            self.grow(slot, &grant);
        }
        self.grants.push_back(granting);
        self.advance_grants(sink);
        self.pump(sink);
        Ok(slot)
    }

    fn grow(&mut self, slot: u16, grant: &Grant) {
        let object = self.object_mut(slot);
        let before = object.record.segments;
        object.record.segments = before.max(grant.segments);
        object.record.generation = object.record.generation.max(grant.generation);
        while object
            .record
            .segments
            .div_ceil(object.record.region_segments)
            > REGIONS
        {
            object.record.region_segments *= 2;
            object.record.dirty = object.record.dirty.halved();
            object.record.resync = object.record.resync.halved();
        }
        let resized = object.table.resize(object.record.segments);
        assert!(resized.is_ok(), "a table only grows here");
        object.grow_table(before);
    }

    fn check_grant(&self, grant: &Grant) -> Result<u16, CommandError> {
        let disk = self.disk();
        if self.failed.is_some() {
            return Err(CommandError::DiskFailed(disk));
        }
        let contradiction = |why| Err(CommandError::Contradiction { disk, why });
        let known = self.find(grant.volume, grant.path);
        if let Some(slot) = known {
            if self.grants.iter().any(|g| g.slot == slot && g.release) {
                return Err(CommandError::Refused(
                    "the object is being removed".to_owned(),
                ));
            }
            let seen = self.object(slot).record.generation;
            let checked = !self.config.planted.has(Bug::GenerationNotChecked);
            if grant.generation < seen && checked {
                return Err(CommandError::StaleGeneration {
                    given: grant.generation.0,
                    seen: seen.0,
                });
            }
        }
        for &unit in &grant.units {
            match self.units.get(unit as usize) {
                None => {
                    let units = self.units.len();
                    return contradiction(format!("unit {unit} does not exist, it has {units}"));
                }
                Some(state) if state.slot.is_some() && state.slot != known => {
                    let owner = state
                        .slot
                        .and_then(|s| self.objects[usize::from(s)].as_ref());
                    let whose = owner.map_or("an object being removed".to_owned(), |o| {
                        format!("volume {} object {}", o.record.volume, o.record.path)
                    });
                    return contradiction(format!("unit {unit} belongs to {whose}"));
                }
                Some(_) => {}
            }
        }
        if encode_owner(&grant.owner, disk, 0).is_none() {
            let most = crate::format::object::OWNER_TEXT;
            let why = format!(
                "the owner's text has {} bytes, at most {most}",
                grant.owner.len()
            );
            return Err(CommandError::Refused(why));
        }
        let free = || {
            let busy = |s: u16| self.grants.iter().any(|g| g.slot == s);
            (0..self.geometry().slots)
                .find(|s| self.objects[usize::from(*s)].is_none() && !busy(*s))
        };
        known.or_else(free).ok_or_else(|| {
            CommandError::Refused(format!(
                "all {} object slots of the disk are in use",
                self.objects.len()
            ))
        })
    }

    /// Removes an object, which no call may be using. Ends the call when its units are free,
    /// durably.
    ///
    /// # Errors
    /// A failed disk; nothing was changed.
    pub fn release(
        &mut self,
        slot: u16,
        token: Token,
        sink: &mut Sink<'_>,
    ) -> Result<(), CommandError> {
        if self.failed.is_some() {
            return Err(CommandError::DiskFailed(self.disk()));
        }
        let object = self.object(slot);
        if self.grants.iter().any(|g| g.slot == slot && g.release) {
            return Err(CommandError::Refused(
                "the object is being removed already".to_owned(),
            ));
        }
        if object.table.running() > 0 || object.table.open_faults() > 0 {
            return Err(CommandError::Refused("the object is in use".to_owned()));
        }
        self.forget_freed(slot);
        let after = self.log.first;
        let release = true;
        self.grants.push_back(Granting {
            token,
            slot,
            release,
            owner: 0,
            units: Vec::new(),
            begun: false,
            last: false,
            after,
        });
        self.advance_grants(sink);
        self.pump(sink);
        Ok(())
    }

    /// No more units come: whoever waits for space is told so.
    pub fn refuse(&mut self, slot: u16, sink: &mut Sink<'_>) {
        if self.failed.is_some() {
            // Whoever waited was told when the disk failed.
            return;
        }
        let object = self.object_mut(slot);
        for fault in std::mem::take(&mut object.starved) {
            let same = object.table.get(fault.segment);
            // The entry stays as it is: only those who wait now are refused.
            let answered = object.table.answer(fault.id, Answer::Replace(same));
            assert!(answered.is_ok(), "the fault is open");
        }
        let woken: Vec<_> = object.table.take_ready().collect();
        for (token, _) in woken {
            self.end_chunk(token as usize, Err(crate::leaf::LeafError::NoSpace), sink);
        }
        self.pump(sink);
    }

    /// The answer to a fault on a state that the store did not make: a replacement, or an error.
    pub fn answer_fault(&mut self, slot: u16, fault: u64, answer: Answer, sink: &mut Sink<'_>) {
        // A fault that is over was answered twice; the first answer stands.
        let _ = self
            .object_mut(slot)
            .table
            .answer(crate::map::FaultId(fault), answer);
        self.take_ready(slot, sink);
        self.pump(sink);
    }

    pub(super) fn owner_written(&mut self, slot: u16, sink: &mut Sink<'_>) {
        // Others may be before it in the queue.
        let granting = self
            .grants
            .iter_mut()
            .find(|g| g.slot == slot && g.owner > 0);
        if let Some(granting) = granting {
            granting.owner -= 1;
        }
        self.advance_grants(sink);
    }

    /// Takes the first grant or release a step further if its last step is durable.
    pub(super) fn advance_grants(&mut self, sink: &mut Sink<'_>) {
        let most = self.step_units();
        while let Some(granting) = self.grants.front() {
            if granting.owner > 0 {
                return;
            }
            let (token, slot, release) = (granting.token, granting.slot, granting.release);
            if granting.after > self.durable() {
                self.commit_wanted = true;
                return;
            }
            // Which units an object has is known only when the grants before its removal are done.
            let has = match self.objects[usize::from(slot)].as_ref() {
                Some(object) if release && !granting.begun => {
                    object.units.iter().rev().copied().collect()
                }
                _ => Vec::new(),
            };
            let Some(granting) = self.grants.front_mut() else {
                return;
            };
            granting.begun = true;
            granting.units.extend(has);
            if granting.last {
                self.grants.pop_front();
                if release {
                    self.units
                        .iter_mut()
                        .filter(|u| u.slot == Some(slot))
                        .for_each(|u| {
                            *u = Unit::default();
                        });
                }
                sink.end(token, Ok(Outcome::Ok));
                continue;
            }
            let step = granting
                .units
                .split_off(granting.units.len().saturating_sub(most));
            granting.last = granting.units.is_empty();
            let last = granting.last;
            if release {
                self.release_step(slot, step, last);
            } else {
                self.grant_step(slot, step);
                self.feed_starved(slot, sink);
            }
            let after = self.log.next();
            if let Some(granting) = self.grants.front_mut() {
                granting.after = after;
            }
        }
    }

    /// How many units a step may do: a quarter of what the log may hold, in images.
    fn step_units(&self) -> usize {
        let limits = self.limits();
        (limits.payload / BLOCK / 4).min(limits.dirty / 4).max(1)
    }

    /// The next units of a grant, with the object's record. Units that a grant before this one in
    /// the queue has brought already hold data by now.
    fn grant_step(&mut self, slot: u16, step: Vec<u32>) {
        for unit in step.into_iter().rev() {
            if self.units[unit as usize].slot == Some(slot) {
                continue;
            }
            let per_unit = self.geometry().unit_segments as usize;
            let generation = self.object(slot).record.generation;
            let logical = vec![u32::MAX; per_unit].into();
            self.units[unit as usize] = Unit {
                slot: Some(slot),
                generation,
                used: 0,
                logical,
            };
            let object = self.object_mut(slot);
            let at = object.units.partition_point(|u| *u < unit);
            object.units.insert(at, unit);
            self.image(MetaAddr::Header(unit));
        }
        self.record_object(slot);
    }

    /// The next units of a release, the object itself with the last.
    fn release_step(&mut self, slot: u16, step: Vec<u32>, last: bool) {
        let per_unit = self.geometry().unit_segments;
        let free = Header::free(per_unit);
        for unit in step {
            for segment in unit * per_unit..(unit + 1) * per_unit {
                self.pages.remove(segment);
                self.dirty.remove(&MetaAddr::Page(segment));
            }
            // Nobody may have the unit before this is durable; until then it stays the slot's.
            self.object_mut(slot).units.retain(|u| *u != unit);
            self.units[unit as usize].logical = Box::default();
            let block = free.encode(self.disk(), unit);
            self.record(Record::Image {
                addr: MetaAddr::Header(unit),
                block,
            });
        }
        if last {
            self.objects[usize::from(slot)] = None;
            let block = ObjectRecord::encode_free(self.disk(), slot);
            self.record(Record::Image {
                addr: MetaAddr::Object(slot),
                block,
            });
        }
    }

    fn image(&mut self, addr: MetaAddr) {
        if let Some(block) = self.encode(addr) {
            self.record(Record::Image { addr, block });
        }
    }

    /// Records the object as it is in memory.
    pub(super) fn record_object(&mut self, slot: u16) {
        self.image(MetaAddr::Object(slot));
    }

    /// Notes a leader's term that is higher than any seen; the call ends when it is durable.
    pub fn note_term(&mut self, term: u64, token: Token, sink: &mut Sink<'_>) {
        if term > self.superblock.term {
            self.superblock.term = term;
            self.record(Record::Term(term));
        }
        self.wait_for_commit(token);
        self.pump(sink);
    }

    /// Empties the journal and marks the disk as closed in good order. No call follows but
    /// [`Store::complete`].
    pub fn close(&mut self, token: Token, sink: &mut Sink<'_>) {
        if self.failed.is_some() {
            sink.end(token, Err(crate::leaf::LeafError::DiskFailed));
            return;
        }
        self.closing = Some(token);
        self.commit_wanted = true;
        self.pump(sink);
    }
}

fn new_record(grant: &Grant) -> ObjectRecord {
    // Half of the regions are left for growth; past that, regions double.
    let region_segments = grant.segments.div_ceil(REGIONS / 2).next_power_of_two();
    ObjectRecord {
        volume: grant.volume,
        path: grant.path,
        generation: grant.generation,
        segments: grant.segments,
        region_segments,
        epoch: Epoch(1),
        held: Vec::new(),
        legs: grant.legs,
        owner_len: grant.owner.len() as u32,
        owner_crc: crc32c::crc32c(&grant.owner),
        dirty: Regions::default(),
        resync: Regions::default(),
    }
}
