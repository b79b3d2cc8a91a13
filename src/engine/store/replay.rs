//! From the blocks in place and the records behind them to the metadata as it was last durable, or,
//! with the volatile log, as it was last answered for. Reads only.
//!
//! Every record changes one block and says all it says without looking at another, so each block is
//! rebuilt on its own: its last image, or its place where there is none, then the records after it.
//! Only blocks that have an image may be damaged in place: they were being written when power went.

use super::open::OpenError;
use crate::disk::Disk;
use crate::format::header::{Descriptor, Header};
use crate::format::journal::{FRAME, Frame, FrameKind};
use crate::format::object::ObjectRecord;
use crate::format::page::{Page, PageHome};
use crate::format::record::{Mark, Record};
use crate::format::superblock::Superblock;
use crate::format::{BLOCK, BlockError, MetaAddr};
use crate::planted::{Bug, Planted};
use std::collections::BTreeMap;

/// The metadata of a disk.
pub struct Metadata {
    /// The objects, by slot.
    pub objects: Vec<Option<ObjectRecord>>,
    /// The headers, by unit.
    pub headers: Vec<Header>,
    /// The pages that the records speak of, by segment of the disk: newer than in their place.
    pub pages: BTreeMap<u32, Page>,
    /// The highest leader's term.
    pub term: u64,
}

/// What the journal and the volatile log hold.
pub struct Found {
    /// The records in order.
    pub records: Vec<Record>,
    /// How many of them are in the journal; the rest is only in the volatile log.
    pub durable: usize,
    /// The number of the first record that is not in the journal.
    pub next: u64,
    /// Running number of the ring block after the last group.
    pub head: u64,
}

/// Reads the ring from its start to the last whole group, then the volatile log.
///
/// # Errors
/// Damage: a group that cannot be read with a good one behind it, a volatile log that does not fit.
pub fn find(
    disk: &mut dyn Disk,
    superblock: &Superblock,
    volatile: &[u8],
    planted: Planted,
) -> Result<Found, OpenError> {
    let geometry = &superblock.geometry;
    let blocks = u64::from(geometry.journal_blocks);
    let mut ring = vec![0; blocks as usize * BLOCK];
    // Block 0 of the ring is where a running number divisible by its length falls.
    disk.read(geometry.journal_offset(0), &mut ring)
        .map_err(OpenError::Io)?;
    let mut records = Vec::new();
    let mut head = superblock.tail;
    let mut next = superblock.first_record;
    while let Some((frame, payload)) = group_at(&ring, superblock, head) {
        if frame.first_record != next || head + frame.blocks() > superblock.tail + blocks {
            break;
        }
        let group = match frame.records(&payload) {
            Some(group) => group.map_err(|e| OpenError::JournalRecord {
                counter: head,
                error: e,
            })?,
            None if planted.has(Bug::TornGroupAccepted) => frame.records_unchecked(&payload),
            None => break,
        };
        next += u64::from(frame.records);
        head += frame.blocks();
        records.extend(group);
    }
    if let Some(behind) = (head + 1..superblock.tail + blocks).find(|counter| {
        let group = group_at(&ring, superblock, *counter);
        group.is_some_and(|(frame, payload)| {
            frame.first_record >= next && matches!(frame.records(&payload), Some(Ok(_)))
        })
    }) {
        return Err(OpenError::JournalHole { at: head, behind });
    }
    let durable = records.len();
    find_volatile(superblock, volatile, next, &mut records)?;
    Ok(Found {
        records,
        durable,
        next,
        head,
    })
}

/// The frame of the group that starts at a ring block, with as many bytes as it says, around the
/// ring's end.
fn group_at(ring: &[u8], superblock: &Superblock, counter: u64) -> Option<(Frame, Vec<u8>)> {
    let blocks = u64::from(superblock.geometry.journal_blocks);
    let at = (counter % blocks) as usize * BLOCK;
    let frame = Frame::decode(&ring[at..], superblock.disk)?;
    let sound = frame.kind == FrameKind::Group
        && frame.counter == counter
        && frame.incarnation <= superblock.incarnation
        && frame.blocks() <= blocks;
    if !sound {
        return None;
    }
    let payload = at + FRAME;
    let len = frame.bytes as usize;
    let first = len.min(ring.len() - payload);
    let mut bytes = ring[payload..payload + first].to_vec();
    bytes.extend_from_slice(&ring[..len - first]);
    Some((frame, bytes))
}

/// Adds what only the volatile log holds. An entry cut short at the end was never answered for.
fn find_volatile(
    superblock: &Superblock,
    volatile: &[u8],
    mut next: u64,
    records: &mut Vec<Record>,
) -> Result<(), OpenError> {
    let mut at = 0;
    while volatile.len() - at >= FRAME {
        let damaged = OpenError::VolatileLog {
            at: at as u64,
            why: "an entry is damaged",
        };
        let frame = Frame::decode(&volatile[at..], superblock.disk);
        let Some(frame) = frame.filter(|f| f.kind == FrameKind::Entry) else {
            return Err(damaged);
        };
        let end = at + FRAME + frame.bytes as usize;
        let Some(payload) = volatile.get(at + FRAME..end) else {
            break;
        };
        let past = frame.first_record + u64::from(frame.records);
        if past > next {
            let why = if frame.first_record != next {
                Some("records are missing before an entry")
            } else if frame.incarnation != superblock.incarnation {
                Some("the disk was opened by somebody else since")
            } else {
                None
            };
            if let Some(why) = why {
                return Err(OpenError::VolatileLog { at: at as u64, why });
            }
            match frame.records(payload) {
                Some(Ok(entry)) => records.extend(entry),
                _ => return Err(damaged),
            }
            next = past;
        }
        at = end;
    }
    Ok(())
}

impl Metadata {
    /// Rebuilds the metadata.
    ///
    /// # Errors
    /// A block that cannot be believed and has no image, or records that contradict the blocks.
    pub fn rebuild(
        disk: &mut dyn Disk,
        superblock: &Superblock,
        records: &[Record],
        planted: Planted,
    ) -> Result<Self, OpenError> {
        let mut starts: BTreeMap<MetaAddr, usize> = BTreeMap::new();
        for (i, record) in records.iter().enumerate() {
            match record {
                Record::Image { addr, .. } if !planted.has(Bug::ImagesIgnored) => {
                    starts.insert(*addr, i);
                }
                Record::Page { segment, .. } => {
                    starts.insert(MetaAddr::Page(*segment), i);
                }
                _ => {}
            }
        }
        let mut metadata = Self::in_place(disk, superblock, &starts)?;
        let mut pages: BTreeMap<u32, Vec<&Record>> = BTreeMap::new();
        let twice = planted.has(Bug::JournalReplayedTwice);
        for (i, record) in records
            .iter()
            .enumerate()
            .chain(records.iter().enumerate().filter(|_| twice))
        {
            let addr = address(superblock, record);
            if addr.is_some_and(|a| starts.get(&a).is_some_and(|start| i < *start)) {
                continue;
            }
            match addr {
                Some(MetaAddr::Page(segment)) => pages.entry(segment).or_default().push(record),
                _ => metadata.apply(superblock, record)?,
            }
        }
        for (segment, records) in pages {
            metadata.rebuild_page(disk, superblock, segment, &records)?;
        }
        Ok(metadata)
    }

    /// Reads objects and headers from their places, those aside that have an image.
    fn in_place(
        disk: &mut dyn Disk,
        superblock: &Superblock,
        starts: &BTreeMap<MetaAddr, usize>,
    ) -> Result<Self, OpenError> {
        let geometry = &superblock.geometry;
        let mut block = vec![0; BLOCK];
        let mut read = |disk: &mut dyn Disk, addr| {
            disk.read(geometry.meta_offset(addr), &mut block)
                .map_err(OpenError::Io)?;
            Ok::<_, OpenError>(block.clone())
        };
        let mut metadata = Metadata {
            objects: Vec::with_capacity(geometry.slots.into()),
            headers: Vec::with_capacity(geometry.units as usize),
            pages: BTreeMap::new(),
            term: superblock.term,
        };
        for slot in 0..geometry.slots {
            let addr = MetaAddr::Object(slot);
            let object = if starts.contains_key(&addr) {
                None
            } else {
                let block = read(disk, addr)?;
                ObjectRecord::decode(&block, superblock.disk, slot).map_err(damaged(addr))?
            };
            metadata.objects.push(object);
        }
        for unit in 0..geometry.units {
            let addr = MetaAddr::Header(unit);
            let header = if starts.contains_key(&addr) {
                Header::free(geometry.unit_segments)
            } else {
                let block = read(disk, addr)?;
                Header::decode(&block, superblock.disk, unit, geometry.unit_segments)
                    .map_err(damaged(addr))?
            };
            metadata.headers.push(header);
        }
        Ok(metadata)
    }

    /// Applies a record that is not about a page.
    fn apply(&mut self, superblock: &Superblock, record: &Record) -> Result<(), OpenError> {
        let geometry = &superblock.geometry;
        let impossible = |what| OpenError::Impossible { what };
        match record {
            Record::Image { addr, block } => match *addr {
                MetaAddr::Object(slot) => {
                    let object = self.objects.get_mut(usize::from(slot));
                    *object.ok_or(impossible("an image of a slot that does not exist"))? =
                        ObjectRecord::decode(block, superblock.disk, slot)
                            .map_err(damaged(*addr))?;
                }
                MetaAddr::Header(unit) => {
                    let header = self.headers.get_mut(unit as usize);
                    *header.ok_or(impossible("an image of a unit that does not exist"))? =
                        Header::decode(block, superblock.disk, unit, geometry.unit_segments)
                            .map_err(damaged(*addr))?;
                }
                MetaAddr::Owner(..) | MetaAddr::Page(_) => {
                    return Err(impossible("an image of a block that is not rebuilt"));
                }
            },
            Record::Mark {
                slot,
                mark,
                on,
                region,
            } => {
                let object = self.object(*slot)?;
                if *region >= object.segments.div_ceil(object.region_segments) {
                    return Err(impossible("a mark of a region that does not exist"));
                }
                match mark {
                    Mark::Dirty => object.dirty.set(*region, *on),
                    Mark::Resync => object.resync.set(*region, *on),
                }
            }
            Record::Segment {
                segment,
                descriptor,
            } => {
                let header = self.headers.get_mut(geometry.unit_of(*segment) as usize);
                let header = header.filter(|h| h.grant.is_some());
                let header = header.ok_or(impossible("a segment in a unit that is nobody's"))?;
                header.segments[(segment % geometry.unit_segments) as usize] = *descriptor;
            }
            Record::Legs { slot, legs } => self.object(*slot)?.legs = *legs,
            Record::Epochs {
                slot,
                running,
                held,
            } => {
                let object = self.object(*slot)?;
                object.epoch = *running;
                object.held.clone_from(held);
            }
            Record::Unequal { slot } => {
                let object = self.object(*slot)?;
                object.resync.union(&object.dirty);
            }
            Record::Term(term) => self.term = self.term.max(*term),
            Record::Page { .. } | Record::Blocks { .. } => {}
        }
        Ok(())
    }

    fn object(&mut self, slot: u16) -> Result<&mut ObjectRecord, OpenError> {
        let object = self
            .objects
            .get_mut(usize::from(slot))
            .and_then(Option::as_mut);
        object.ok_or(OpenError::Impossible {
            what: "a change of an object that does not exist",
        })
    }

    /// The descriptor of a segment of the disk, and whose it is.
    pub fn descriptor(
        &self,
        superblock: &Superblock,
        segment: u32,
    ) -> Option<(&Header, Descriptor)> {
        let geometry = &superblock.geometry;
        let header = self.headers.get(geometry.unit_of(segment) as usize)?;
        Some((
            header,
            header.segments[(segment % geometry.unit_segments) as usize],
        ))
    }

    fn rebuild_page(
        &mut self,
        disk: &mut dyn Disk,
        superblock: &Superblock,
        segment: u32,
        records: &[&Record],
    ) -> Result<(), OpenError> {
        let blocks = superblock.geometry.segment_blocks;
        let addr = MetaAddr::Page(segment);
        let found = self.descriptor(superblock, segment);
        let Some((header, Descriptor::Page { logical })) = found else {
            // The segment has no page any more; what was said of it does not matter.
            return Ok(());
        };
        let home = page_home(superblock, header, segment)?;
        let mut page: Option<Page> = None;
        for record in records {
            match record {
                Record::Image { block, .. } => {
                    page = Some(Page::decode(block, &home, blocks).map_err(damaged(addr))?);
                }
                Record::Page {
                    logical,
                    valid,
                    birth,
                    ..
                } => {
                    page = Some(Page::new(*logical, blocks, *valid, *birth));
                }
                Record::Blocks {
                    first,
                    count,
                    valid,
                    birth,
                    ..
                } => {
                    let page = match &mut page {
                        Some(page) => page,
                        none => none.insert(read_page(disk, superblock, &home)?),
                    };
                    let (first, count) = (u32::from(*first), u32::from(*count));
                    if first + count > blocks {
                        let what = "blocks past the end of a page";
                        return Err(OpenError::Impossible { what });
                    }
                    page.set(first, count, *valid, *birth);
                }
                _ => {}
            }
        }
        if let Some(page) = page {
            if page.logical != logical {
                return Err(OpenError::Impossible {
                    what: "a page of another segment",
                });
            }
            self.pages.insert(segment, page);
        }
        Ok(())
    }
}

/// Reads a page from its place.
///
/// # Errors
/// A page that cannot be believed.
pub fn read_page(
    disk: &mut dyn Disk,
    superblock: &Superblock,
    home: &PageHome,
) -> Result<Page, OpenError> {
    let addr = MetaAddr::Page(home.segment);
    let mut block = vec![0; BLOCK];
    disk.read(superblock.geometry.meta_offset(addr), &mut block)
        .map_err(OpenError::Io)?;
    Page::decode(&block, home, superblock.geometry.segment_blocks).map_err(damaged(addr))
}

/// Whose page a segment's is.
///
/// # Errors
/// A unit that is nobody's.
pub fn page_home(
    superblock: &Superblock,
    header: &Header,
    segment: u32,
) -> Result<PageHome, OpenError> {
    let what = "a page in a unit that is nobody's";
    let grant = header
        .grant
        .as_ref()
        .ok_or(OpenError::Impossible { what })?;
    Ok(PageHome {
        disk: superblock.disk,
        volume: grant.volume,
        path: grant.path,
        segment,
        first_block: superblock.geometry.data_block(segment, 0),
    })
}

fn damaged(addr: MetaAddr) -> impl Fn(BlockError) -> OpenError {
    move |error| OpenError::Damaged { addr, error }
}

/// The block that a record changes; `None` for the superblock.
fn address(superblock: &Superblock, record: &Record) -> Option<MetaAddr> {
    match record {
        Record::Image { addr, .. } => Some(*addr),
        Record::Mark { slot, .. } => Some(MetaAddr::Object(*slot)),
        Record::Segment { segment, .. } => {
            Some(MetaAddr::Header(superblock.geometry.unit_of(*segment)))
        }
        Record::Page { segment, .. } | Record::Blocks { segment, .. } => {
            Some(MetaAddr::Page(*segment))
        }
        Record::Legs { slot, .. } | Record::Epochs { slot, .. } | Record::Unequal { slot } => {
            Some(MetaAddr::Object(*slot))
        }
        Record::Term(_) => None,
    }
}
