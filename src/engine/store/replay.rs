//! From the blocks in place and the records behind them to the metadata as it was last durable, or,
//! with the volatile log, as it was last answered for. Reads only.
//!
//! Every record changes one block and says all it says without looking at another, so each block is
//! rebuilt on its own: its last image, or its place where there is none, then the records after it.
//! Only blocks that have an image may be damaged in place: they were being written when power went.

use super::find::Wrong;
use super::open::OpenError;
use crate::disk::{Ahead, Disk};
use crate::format::header::{Descriptor, Header};
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

impl Metadata {
    /// Rebuilds the metadata. Where `wrong` lets it go on, what cannot be believed counts as free.
    ///
    /// # Errors
    /// What `wrong` does not let pass: a block that cannot be believed and has no image, records
    /// that contradict the blocks.
    pub fn rebuild(
        disk: &mut dyn Disk,
        superblock: &Superblock,
        records: &[Record],
        planted: Planted,
        wrong: Wrong<'_>,
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
        let mut metadata = Self::in_place(disk, superblock, &starts, wrong)?;
        let mut pages: BTreeMap<u32, Vec<&Record>> = BTreeMap::new();
        let twice = planted.has(Bug::JournalReplayedTwice);
        let older = records.iter().enumerate().take(records.len() / 2);
        for (i, record) in records.iter().enumerate().chain(older.filter(|_| twice)) {
            let addr = address(superblock, record);
            if addr.is_some_and(|a| starts.get(&a).is_some_and(|start| i < *start)) {
                continue;
            }
            match addr {
                Some(MetaAddr::Page(segment)) => pages.entry(segment).or_default().push(record),
                _ => {
                    if let Err(error) = metadata.apply(superblock, record) {
                        wrong(addr, error)?;
                    }
                }
            }
        }
        for (segment, records) in pages {
            if let Err(error) = metadata.rebuild_page(disk, superblock, segment, &records) {
                wrong(Some(MetaAddr::Page(segment)), error)?;
            }
        }
        Ok(metadata)
    }

    /// Reads objects and headers from their places, those aside that have an image.
    fn in_place(
        disk: &mut dyn Disk,
        superblock: &Superblock,
        starts: &BTreeMap<MetaAddr, usize>,
        wrong: Wrong<'_>,
    ) -> Result<Self, OpenError> {
        let geometry = &superblock.geometry;
        let mut block = vec![0; BLOCK];
        let mut metadata = Metadata {
            objects: Vec::with_capacity(geometry.slots.into()),
            headers: Vec::with_capacity(geometry.units as usize),
            pages: BTreeMap::new(),
            term: superblock.term,
        };
        for slot in 0..geometry.slots {
            let addr = MetaAddr::Object(slot);
            let mut object = None;
            if !starts.contains_key(&addr) {
                disk.read(geometry.meta_offset(addr), &mut block)
                    .map_err(OpenError::Io)?;
                match ObjectRecord::decode(&block, superblock.disk, slot) {
                    Ok(found) => object = found,
                    Err(error) => wrong(Some(addr), OpenError::Damaged { addr, error })?,
                }
            }
            metadata.objects.push(object);
        }
        let mut ahead = Ahead::new(disk, geometry.meta_offset(MetaAddr::Page(0)));
        for unit in 0..geometry.units {
            let addr = MetaAddr::Header(unit);
            let mut header = Header::free(geometry.unit_segments);
            if !starts.contains_key(&addr) {
                let block = ahead
                    .block(geometry.meta_offset(addr))
                    .map_err(OpenError::Io)?;
                match Header::decode(block, superblock.disk, unit, geometry.unit_segments) {
                    Ok(found) => header = found,
                    Err(error) => wrong(Some(addr), OpenError::Damaged { addr, error })?,
                }
            }
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
