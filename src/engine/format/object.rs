//! The record of an object: which leaf of which volume lies here, and what is known of the mirror
//! above it; and the owner's text beside it, from which the volume can be rebuilt (spec A4).
//!
//! ```text
//!    0 "SVOB" version state disk number=slot    (see `begin_block`; state 0 free, 1 live)
//!   28 owner text bytes u32
//!   32 volume uid [16]      48 path [8]          56 generation u64
//!   64 segments u32         68 region segments u32
//!   72 epoch u32            76 held count u32    80 held epochs [16] u32
//!  144 legs generation u64 152 stale u16        154 blank u16   156 -
//!  160 since [8] u32       192 owner text CRC-32C u32           196 -
//!  256 dirty regions [1792]                    2048 regions to resync [1792]
//! 4092 CRC-32C u32
//!
//! owner text part: 0 "SVOW" version state=part disk number=slot
//!   28 bytes u16 │ 32 text │ 4092 CRC-32C u32
//! ```

use super::{
    BLOCK, BlockError, CRC_AT, DiskUid, array_at, begin_block, put, seal, u16_at, u32_at, u64_at,
    verify_block,
};
use crate::leaf::LegsRecord;
use layout::{Epoch, Generation, ObjectPath, VolumeUid};

const MAGIC: u32 = u32::from_le_bytes(*b"SVOB");
const OWNER_MAGIC: u32 = u32::from_le_bytes(*b"SVOW");
/// Most epochs that can be held at once.
pub const HELD: usize = 16;
const BITMAP: usize = 1792;
/// Most regions an object can be divided into.
pub const REGIONS: u32 = BITMAP as u32 * 8;
/// Parts that the owner's text may take.
pub const OWNER_PARTS: u8 = 3;
const OWNER_PART: usize = CRC_AT - 32;
/// Most bytes of the owner's text.
pub const OWNER_TEXT: usize = OWNER_PARTS as usize * OWNER_PART;

/// One bit a region.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Regions(Box<[u8]>);

impl Default for Regions {
    fn default() -> Self {
        Regions(vec![0; BITMAP].into())
    }
}

impl Regions {
    /// Whether the region is marked.
    pub fn get(&self, region: u32) -> bool {
        self.0[region as usize / 8] >> (region % 8) & 1 == 1
    }
    /// Marks or unmarks a region.
    pub fn set(&mut self, region: u32, on: bool) {
        let byte = &mut self.0[region as usize / 8];
        *byte = if on {
            *byte | 1 << (region % 8)
        } else {
            *byte & !(1 << (region % 8))
        };
    }
    /// Marks whatever the other has marked.
    pub fn union(&mut self, other: &Regions) {
        self.0.iter_mut().zip(&other.0).for_each(|(a, b)| *a |= b);
    }
    /// The marked regions.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        let marked = (0..).zip(&self.0).filter(|(_, byte)| **byte != 0);
        marked
            .flat_map(|(i, _)| 8 * i..8 * i + 8)
            .filter(|r| self.get(*r))
    }
    /// The same marks for regions twice as large.
    #[must_use]
    pub fn halved(&self) -> Regions {
        let mut half = Regions::default();
        self.iter().for_each(|r| half.set(r / 2, true));
        half
    }
}

/// The record of a live object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectRecord {
    /// The volume.
    pub volume: VolumeUid,
    /// The object's place in the volume's tree.
    pub path: ObjectPath,
    /// The generation of the object's own map.
    pub generation: Generation,
    /// Segments that the object shows.
    pub segments: u32,
    /// Segments in a region of the marks below: a power of two.
    pub region_segments: u32,
    /// The epoch that is running.
    pub epoch: Epoch,
    /// The epochs after which changes are told apart, ascending.
    pub held: Vec<Epoch>,
    /// What is known of the mirror above.
    pub legs: LegsRecord,
    /// Bytes of the owner's text.
    pub owner_len: u32,
    /// Its checksum.
    pub owner_crc: u32,
    /// Regions being written.
    pub dirty: Regions,
    /// Regions in which the legs may differ.
    pub resync: Regions,
}

impl ObjectRecord {
    /// The block that stands for it.
    pub fn encode(&self, disk: DiskUid, slot: u16) -> Vec<u8> {
        let mut b = begin_block(MAGIC, 1, disk, slot.into());
        assert!(self.held.len() <= HELD, "at most {HELD} epochs are held");
        put(&mut b, 32, &self.volume.0);
        put(&mut b, 48, &self.path.to_bytes());
        put(&mut b, 56, &self.generation.0.to_le_bytes());
        for (at, word) in [
            (28, self.owner_len),
            (64, self.segments),
            (68, self.region_segments),
            (72, self.epoch.0),
            (76, self.held.len() as u32),
            (192, self.owner_crc),
        ] {
            put(&mut b, at, &word.to_le_bytes());
        }
        for (i, held) in self.held.iter().enumerate() {
            put(&mut b, 80 + 4 * i, &held.0.to_le_bytes());
        }
        put(&mut b, 144, &self.legs.generation.to_le_bytes());
        put(&mut b, 152, &self.legs.stale.to_le_bytes());
        put(&mut b, 154, &self.legs.blank.to_le_bytes());
        for (i, since) in self.legs.since.iter().enumerate() {
            put(&mut b, 160 + 4 * i, &since.0.to_le_bytes());
        }
        put(&mut b, 256, &self.dirty.0);
        put(&mut b, 2048, &self.resync.0);
        seal(&mut b);
        b
    }

    /// The block of a slot that nobody has.
    pub fn encode_free(disk: DiskUid, slot: u16) -> Vec<u8> {
        let mut b = begin_block(MAGIC, 0, disk, slot.into());
        seal(&mut b);
        b
    }

    /// Reads a block; `None` for a slot that nobody has.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(b: &[u8], disk: DiskUid, slot: u16) -> Result<Option<Self>, BlockError> {
        verify_block(b, MAGIC, disk, slot.into())?;
        let field = |field, value: u64| BlockError::Field { field, value };
        match u16_at(b, 6) {
            0 => return Ok(None),
            1 => {}
            other => return Err(field("state", other.into())),
        }
        let held = u32_at(b, 76) as usize;
        if held > HELD {
            return Err(field("held count", held as u64));
        }
        let (segments, region_segments) = (u32_at(b, 64), u32_at(b, 68));
        if !region_segments.is_power_of_two() || segments.div_ceil(region_segments) > REGIONS {
            return Err(field("region segments", region_segments.into()));
        }
        let owner_len = u32_at(b, 28);
        if owner_len as usize > OWNER_TEXT {
            return Err(field("owner text bytes", owner_len.into()));
        }
        let epoch = Epoch(u32_at(b, 72));
        let held: Vec<_> = (0..held).map(|i| Epoch(u32_at(b, 80 + 4 * i))).collect();
        if let Some(pair) = held.windows(2).find(|pair| pair[0] >= pair[1]) {
            return Err(field("held epochs", pair[1].0.into()));
        }
        let mut legs = LegsRecord {
            generation: u64_at(b, 144),
            stale: u16_at(b, 152),
            blank: u16_at(b, 154),
            ..LegsRecord::default()
        };
        for (i, since) in legs.since.iter_mut().enumerate() {
            *since = Epoch(u32_at(b, 160 + 4 * i));
        }
        Ok(Some(ObjectRecord {
            volume: VolumeUid(array_at(b, 32)),
            path: ObjectPath::from_bytes(array_at(b, 48))
                .ok_or_else(|| field("path", u64_at(b, 48)))?,
            generation: Generation(u64_at(b, 56)),
            segments,
            region_segments,
            epoch,
            held,
            legs,
            owner_len,
            owner_crc: u32_at(b, 192),
            dirty: Regions(b[256..256 + BITMAP].into()),
            resync: Regions(b[2048..2048 + BITMAP].into()),
        }))
    }
}

/// Cuts the owner's text into its parts; `None` where it is too long.
pub fn encode_owner(text: &[u8], disk: DiskUid, slot: u16) -> Option<Vec<Vec<u8>>> {
    if text.len() > OWNER_TEXT {
        return None;
    }
    let blocks = text.chunks(OWNER_PART).zip(1u16..).map(|(part, number)| {
        let mut b = begin_block(OWNER_MAGIC, number, disk, slot.into());
        put(&mut b, 28, &(part.len() as u16).to_le_bytes());
        put(&mut b, 32, part);
        seal(&mut b);
        b
    });
    Some(blocks.collect())
}

/// Reads one part of the owner's text.
///
/// # Errors
/// What is wrong with it.
pub fn decode_owner_part(
    b: &[u8],
    disk: DiskUid,
    slot: u16,
    part: u8,
) -> Result<&[u8], BlockError> {
    verify_block(b, OWNER_MAGIC, disk, slot.into())?;
    if u16_at(b, 6) != part.into() {
        return Err(BlockError::Field {
            field: "part",
            value: u16_at(b, 6).into(),
        });
    }
    let len = u16_at(b, 28);
    if usize::from(len) > OWNER_PART {
        return Err(BlockError::Field {
            field: "bytes",
            value: len.into(),
        });
    }
    Ok(&b[32..32 + usize::from(len)])
}

/// Feeds any bytes to the decoders; what they accept must encode to the same meaning.
pub fn fuzz_one(data: &[u8]) {
    let (disk, slot) = (DiskUid([7; 16]), 3);
    for (magic, state) in [(MAGIC, 1), (OWNER_MAGIC, 1)] {
        let mut b = begin_block(magic, state, disk, slot.into());
        let n = data.len().min(BLOCK - 32);
        b[28..28 + n].copy_from_slice(&data[..n]);
        seal(&mut b);
        if let Ok(Some(r)) = ObjectRecord::decode(&b, disk, slot) {
            assert_eq!(
                ObjectRecord::decode(&r.encode(disk, slot), disk, slot),
                Ok(Some(r))
            );
        }
        if let Ok(text) = decode_owner_part(&b, disk, slot, 1) {
            let parts = encode_owner(text, disk, slot);
            let first = parts
                .iter()
                .flatten()
                .next()
                .map(|p| decode_owner_part(p, disk, slot, 1));
            assert!(text.is_empty() || first == Some(Ok(text)));
        }
    }
}
