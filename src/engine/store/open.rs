//! Opening a disk, for writing or to look at it.

use super::alloc::Unit;
use super::commit::{Checkpoint, Commit};
use super::find::{Found, Ring, give_up};
use super::log::Log;
use super::object::Object;
use super::pages::Pages;
use super::replay::Metadata;
use super::{Config, Store};
use crate::disk::Disk;
use crate::format::header::Descriptor;
use crate::format::journal::{self, Frame, FrameKind};
use crate::format::object::ObjectRecord;
use crate::format::record::{Record, RecordError};
use crate::format::superblock::{PLACES, Superblock, SuperblockError};
use crate::format::{BLOCK, BlockError, MetaAddr};
use crate::io::{DiskIndex, IoFault};
use crate::map::Entry;
use crate::planted::Planted;
use layout::DiskUid;
use slab::Slab;
use std::collections::{BTreeSet, VecDeque};

/// Why a disk was not opened. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The device failed.
    #[error("failed to read or write the disk: {0}")]
    Io(IoFault),
    /// Neither superblock can be believed; what is wrong with the first, or with the better one.
    #[error("{0}")]
    Superblock(SuperblockError),
    /// Another disk than the one that was asked for.
    #[error("this is disk {found}, expected disk {expected}")]
    OtherDisk {
        /// Which it is.
        found: DiskUid,
        /// Which it ought to be.
        expected: DiskUid,
    },
    /// The device ends before the format does.
    #[error("the device has {found} bytes, its superblock says {expected}: it was cut short")]
    Truncated {
        /// Bytes there are.
        found: u64,
        /// Bytes there ought to be.
        expected: u64,
    },
    /// A metadata block cannot be believed, and the journal has no image of it.
    #[error("{addr} is damaged: {error}")]
    Damaged {
        /// Which.
        addr: MetaAddr,
        /// What is wrong with it.
        error: BlockError,
    },
    /// A group of the journal is damaged: there is a good one behind it.
    #[error("the journal is damaged: no group at block {at}, but a good one at block {behind}")]
    JournalHole {
        /// Running number of the ring block where a group ought to be.
        at: u64,
        /// Running number of the good one.
        behind: u64,
    },
    /// A group whose checksum is right holds a record that cannot be.
    #[error("the journal's group at block {counter} cannot be read: {error}")]
    JournalRecord {
        /// Running number of its first block.
        counter: u64,
        /// What is wrong.
        error: RecordError,
    },
    /// The volatile log does not fit the disk.
    #[error("the volatile log cannot be used, at byte {at}: {why}")]
    VolatileLog {
        /// Where.
        at: u64,
        /// Why.
        why: &'static str,
    },
    /// Blocks that are each sound contradict one another.
    #[error("the metadata contradicts itself: {what}")]
    Impossible {
        /// How.
        what: &'static str,
    },
}

/// The better of the two superblocks.
///
/// # Errors
/// Why neither can be used, and a device shorter than the format.
pub fn read_superblock(disk: &mut dyn Disk) -> Result<Superblock, OpenError> {
    let mut best: Option<Superblock> = None;
    let mut wrong = SuperblockError::Absent;
    for place in PLACES {
        let mut block = vec![0; BLOCK];
        if disk.size() < place + BLOCK as u64 {
            break;
        }
        disk.read(place, &mut block).map_err(OpenError::Io)?;
        match Superblock::decode(&block) {
            Ok(s) if best.as_ref().is_none_or(|b| b.sequence < s.sequence) => best = Some(s),
            Ok(_) => {}
            Err(e) if wrong == SuperblockError::Absent => wrong = e,
            Err(_) => {}
        }
    }
    // A version or feature that is refused is refused whatever the other copy says: it is newer.
    let newer = matches!(
        wrong,
        SuperblockError::Version { .. } | SuperblockError::Incompatible { .. }
    );
    let superblock = best
        .filter(|_| !newer)
        .ok_or(OpenError::Superblock(wrong))?;
    let (found, expected) = (disk.size(), superblock.geometry.size);
    if found < expected {
        return Err(OpenError::Truncated { found, expected });
    }
    Ok(superblock)
}

impl Store {
    /// Opens a disk for writing, as it was last answered for: with what the volatile log holds, if
    /// the node has not lost it. When this returns, everything is durable and the volatile log may
    /// be emptied.
    ///
    /// # Errors
    /// What is wrong with the disk; nothing was changed, unless a write failed.
    pub fn open(
        disk: &mut dyn Disk,
        expected: Option<DiskUid>,
        volatile: &[u8],
        config: Config,
    ) -> Result<Store, OpenError> {
        let superblock = read_superblock(disk)?;
        superblock.writable().map_err(OpenError::Superblock)?;
        if let Some(expected) = expected.filter(|e| *e != superblock.disk) {
            return Err(OpenError::OtherDisk {
                found: superblock.disk,
                expected,
            });
        }
        let (found, metadata) = recover(disk, &superblock, volatile, config.planted)?;
        let mut store = Store::build(&superblock, metadata, &found, config)?;
        store.settle(disk, &found)?;
        Ok(store)
    }

    /// Makes durable and puts in place all that was found, so that the journal is empty. Cut off
    /// anywhere, it is done again by whoever opens the disk next, without needing more of the ring.
    fn settle(&mut self, disk: &mut dyn Disk, found: &Found) -> Result<(), OpenError> {
        // What a dead process wrote without a flush may still be lost with the power: nothing is
        // built on it before it is durable.
        disk.flush().map_err(OpenError::Io)?;
        let late = &found.records[found.durable..];
        let mut payload = Vec::new();
        late.iter().for_each(|r| r.encode(&mut payload));
        let dirty = std::mem::take(&mut self.dirty);
        let images: Vec<_> = dirty
            .into_iter()
            .filter_map(|addr| Some((addr, self.encode(addr)?)))
            .collect();
        // A block whose last record is an image needs no other.
        let mut imaged = BTreeSet::new();
        for record in &found.records {
            if let Record::Image { addr, .. } = record {
                imaged.insert(*addr);
            } else if let Some(addr) = self.dirtied_by(record) {
                imaged.remove(&addr);
            }
        }
        for (addr, block) in images.iter().filter(|(addr, _)| !imaged.contains(addr)) {
            Record::Image {
                addr: *addr,
                block: block.clone(),
            }
            .encode(&mut payload);
        }
        if !payload.is_empty() {
            self.write_group(disk, found.next, late.len() as u32, &payload)?;
        }
        self.write_images(disk, images)?;
        disk.flush().map_err(OpenError::Io)?;
        self.log = Log::new(found.next + late.len() as u64);
        self.superblock.tail = self.head;
        self.superblock.first_record = self.log.first;
        self.superblock.incarnation += 1;
        self.superblock.sequence += 1;
        self.superblock.clean = false;
        for place in PLACES {
            disk.write(place, &self.superblock.encode())
                .map_err(OpenError::Io)?;
            disk.flush().map_err(OpenError::Io)?;
        }
        Ok(())
    }

    /// Writes blocks to their places, neighbours at once: it is what a takeover waits for longest.
    fn write_images(
        &self,
        disk: &mut dyn Disk,
        images: Vec<(MetaAddr, Vec<u8>)>,
    ) -> Result<(), OpenError> {
        let mut run: (u64, Vec<u8>) = (0, Vec::new());
        for (addr, block) in images {
            let offset = self.geometry().meta_offset(addr);
            if offset != run.0 + run.1.len() as u64 && !run.1.is_empty() {
                disk.write(run.0, &run.1).map_err(OpenError::Io)?;
                run.1.clear();
            }
            if run.1.is_empty() {
                run.0 = offset;
            }
            run.1.extend_from_slice(&block);
        }
        if !run.1.is_empty() {
            disk.write(run.0, &run.1).map_err(OpenError::Io)?;
        }
        Ok(())
    }

    /// Writes a group at the head of the ring, durably.
    fn write_group(
        &mut self,
        disk: &mut dyn Disk,
        first_record: u64,
        records: u32,
        payload: &[u8],
    ) -> Result<(), OpenError> {
        let frame = Frame {
            kind: FrameKind::Group,
            disk: self.disk(),
            incarnation: self.superblock.incarnation,
            counter: self.head,
            first_record,
            records,
            bytes: 0,
            crc: 0,
        };
        let group = journal::encode(frame, payload);
        let blocks = (group.len() / BLOCK) as u64;
        let ring = u64::from(self.geometry().journal_blocks);
        assert!(
            self.head + blocks <= self.superblock.tail + ring,
            "a group fits the ring"
        );
        let before_end = (ring - self.head % ring).min(blocks);
        let (first, rest) = group.split_at(before_end as usize * BLOCK);
        for (counter, part) in [(self.head, first), (self.head + before_end, rest)] {
            if !part.is_empty() {
                let offset = self.geometry().journal_offset(counter);
                disk.write(offset, part).map_err(OpenError::Io)?;
            }
        }
        disk.flush().map_err(OpenError::Io)?;
        self.head += blocks;
        Ok(())
    }

    /// Opens a disk for looking at it: nothing is ever written.
    ///
    /// # Errors
    /// What is wrong with the disk.
    pub fn inspect(disk: &mut dyn Disk, volatile: &[u8]) -> Result<Store, OpenError> {
        let superblock = read_superblock(disk)?;
        let config = Config::default();
        let (found, metadata) = recover(disk, &superblock, volatile, config.planted)?;
        Store::build(&superblock, metadata, &found, config)
    }

    /// The store that the metadata makes.
    ///
    /// # Errors
    /// Blocks that contradict one another.
    pub(crate) fn build(
        superblock: &Superblock,
        metadata: Metadata,
        found: &Found,
        config: Config,
    ) -> Result<Store, OpenError> {
        let mut superblock = superblock.clone();
        superblock.term = metadata.term;
        let (objects, units) = build_objects(&superblock, &metadata)?;
        let mut store = Store {
            index: DiskIndex(0),
            config,
            log: Log::new(found.next),
            superblock,
            objects,
            units,
            pages: Pages::default(),
            dirty: BTreeSet::new(),
            commit: Commit::Idle,
            checkpoint: Checkpoint::Idle,
            waiters: Vec::new(),
            commit_wanted: false,
            head: found.head,
            ios: Slab::new(),
            chunks: Slab::new(),
            pieces: Slab::new(),
            ready: VecDeque::new(),
            stalled: VecDeque::new(),
            freed: Vec::new(),
            freed_now: false,
            grants: VecDeque::new(),
            closing: None,
            failed: None,
        };
        for (segment, page) in metadata.pages {
            store.pages.insert(segment, page, true);
        }
        // Whatever a record speaks of differs from its place, or may.
        for record in &found.records {
            store.dirty.extend(store.dirtied_by(record));
        }
        let pages = &store.pages;
        store
            .dirty
            .retain(|a| !matches!(a, MetaAddr::Page(s) if pages.peek(*s).is_none()));
        Ok(store)
    }

    /// What the disk is.
    pub fn superblock(&self) -> &Superblock {
        &self.superblock
    }
}

/// What the journal and the volatile log hold, and the metadata that they make of the blocks in
/// place.
fn recover(
    disk: &mut dyn Disk,
    superblock: &Superblock,
    volatile: &[u8],
    planted: Planted,
) -> Result<(Found, Metadata), OpenError> {
    let ring = Ring::read(disk, superblock)?;
    let found = ring.find(volatile, planted, &mut give_up)?;
    let records = &found.records;
    let metadata = Metadata::rebuild(disk, superblock, records, planted, &mut give_up)?;
    Ok((found, metadata))
}

/// Makes the objects with their tables, and the units, from the metadata.
fn build_objects(
    superblock: &Superblock,
    metadata: &Metadata,
) -> Result<(Vec<Option<Object>>, Vec<Unit>), OpenError> {
    let impossible = |what| OpenError::Impossible { what };
    let per_unit = superblock.geometry.unit_segments;
    let live = metadata
        .objects
        .iter()
        .map(|record| record.clone().map(Object::new));
    let mut objects: Vec<Option<Object>> = live.collect();
    let mut units = Vec::with_capacity(metadata.headers.len());
    for (number, header) in (0..).zip(&metadata.headers) {
        let mut unit = Unit::default();
        if let Some(grant) = &header.grant {
            let object = objects
                .get_mut(usize::from(grant.slot))
                .and_then(Option::as_mut);
            let object = object.ok_or(impossible("a unit is granted to no object"))?;
            if object.record.volume != grant.volume || object.record.path != grant.path {
                return Err(impossible(
                    "a unit is granted to another object than its slot's",
                ));
            }
            object.units.push(number);
            unit.slot = Some(grant.slot);
            unit.generation = grant.generation;
            let mut logical = vec![u32::MAX; per_unit as usize];
            for (i, descriptor) in (0..).zip(&header.segments) {
                let Some(segment) = descriptor.logical() else {
                    continue;
                };
                let at = number * per_unit + i;
                let entry = match descriptor {
                    Descriptor::Run { birth, .. } => Entry::run(at, *birth),
                    _ => Entry::paged(at),
                };
                if segment >= object.table.segments() {
                    return Err(impossible("a segment past the end of its object"));
                }
                if object.table.get(segment).location().is_some() {
                    return Err(impossible("a segment of an object lies in two places"));
                }
                let set = object.table.set_range(segment..segment + 1, entry, None);
                set.map_err(|_| impossible("a segment past the end of its object"))?;
                logical[i as usize] = segment;
                unit.used |= 1 << i;
            }
            unit.logical = logical.into();
        }
        units.push(unit);
    }
    Ok((objects, units))
}

/// The owner's text of an object.
///
/// # Errors
/// A part that cannot be believed.
pub fn owner_text(
    disk: &mut dyn Disk,
    superblock: &Superblock,
    slot: u16,
    record: &ObjectRecord,
) -> Result<Vec<u8>, OpenError> {
    let mut text = Vec::new();
    let mut part = 0;
    while text.len() < record.owner_len as usize {
        part += 1;
        let addr = MetaAddr::Owner(slot, part);
        let damaged = |error| OpenError::Damaged { addr, error };
        if part > crate::format::object::OWNER_PARTS {
            return Err(OpenError::Impossible {
                what: "an owner's text is shorter than recorded",
            });
        }
        let mut block = vec![0; BLOCK];
        disk.read(superblock.geometry.meta_offset(addr), &mut block)
            .map_err(OpenError::Io)?;
        let bytes = crate::format::object::decode_owner_part(&block, superblock.disk, slot, part);
        text.extend_from_slice(bytes.map_err(damaged)?);
    }
    if crc32c::crc32c(&text) != record.owner_crc {
        return Err(OpenError::Impossible {
            what: "an owner's text is another than recorded",
        });
    }
    Ok(text)
}
