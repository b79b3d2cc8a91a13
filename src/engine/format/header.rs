//! The header of a unit: whose it is, and what each of its segments holds (spec A4).
//!
//! ```text
//!    0 "SVUH" version state disk number=unit     (see `begin_block`; state 0 free, 1 granted)
//!   28 slot u16             30 segments u16
//!   32 volume uid [16]      48 path [8]           56 generation u64
//!   64 segments × 16: kind u8 (0 free, 1 run, 2 page) │ - [3] │ logical u32 │ birth u32 │ -
//! 4092 CRC-32C u32
//! ```

use super::{
    BlockError, DiskUid, array_at, begin_block, put, seal, u16_at, u32_at, u64_at, verify_block,
};
use layout::{Epoch, Generation, ObjectPath, VolumeUid};

const MAGIC: u32 = u32::from_le_bytes(*b"SVUH");
const DESCRIPTORS_AT: usize = 64;
/// Bytes of a segment's descriptor.
pub const DESCRIPTOR: usize = 16;

/// What a segment of the disk holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Descriptor {
    /// Nothing.
    #[default]
    Free,
    /// A whole logical segment, every block valid, each in its place.
    Run {
        /// Which segment of the object.
        logical: u32,
        /// No block of it changed after this epoch.
        birth: Epoch,
    },
    /// A logical segment whose blocks are told one by one in its page.
    Page {
        /// Which segment of the object.
        logical: u32,
    },
}

impl Descriptor {
    /// The logical segment that it holds, if any.
    pub fn logical(self) -> Option<u32> {
        match self {
            Descriptor::Free => None,
            Descriptor::Run { logical, .. } | Descriptor::Page { logical } => Some(logical),
        }
    }

    /// The bytes that stand for it.
    pub fn encode(self) -> [u8; DESCRIPTOR] {
        let (kind, logical, birth) = match self {
            Descriptor::Free => (0, 0, Epoch(0)),
            Descriptor::Run { logical, birth } => (1, logical, birth),
            Descriptor::Page { logical } => (2, logical, Epoch(0)),
        };
        let mut b = [0; DESCRIPTOR];
        b[0] = kind;
        put(&mut b, 4, &u32::to_le_bytes(logical));
        put(&mut b, 8, &birth.0.to_le_bytes());
        b
    }

    /// Reads sixteen bytes.
    ///
    /// # Errors
    /// A kind that does not exist.
    pub fn decode(b: &[u8]) -> Result<Self, BlockError> {
        let logical = u32_at(b, 4);
        match b[0] {
            0 => Ok(Descriptor::Free),
            1 => Ok(Descriptor::Run {
                logical,
                birth: Epoch(u32_at(b, 8)),
            }),
            2 => Ok(Descriptor::Page { logical }),
            other => Err(BlockError::Field {
                field: "kind of segment",
                value: other.into(),
            }),
        }
    }
}

/// Whose a unit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The slot of the object's record on this disk.
    pub slot: u16,
    /// The volume.
    pub volume: VolumeUid,
    /// The object's place in the volume's tree.
    pub path: ObjectPath,
    /// The object's generation when the unit was granted.
    pub generation: Generation,
}

/// A unit's header, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Whose it is, if anybody's.
    pub grant: Option<Grant>,
    /// Its segments, all free where it is nobody's.
    pub segments: Vec<Descriptor>,
}

impl Header {
    /// The header of a unit that is nobody's.
    pub fn free(segments: u32) -> Self {
        Header {
            grant: None,
            segments: vec![Descriptor::Free; segments as usize],
        }
    }

    /// The block that stands for it.
    pub fn encode(&self, disk: DiskUid, unit: u32) -> Vec<u8> {
        let mut b = begin_block(MAGIC, self.grant.is_some().into(), disk, unit);
        if let Some(g) = &self.grant {
            put(&mut b, 28, &g.slot.to_le_bytes());
            put(&mut b, 32, &g.volume.0);
            put(&mut b, 48, &g.path.to_bytes());
            put(&mut b, 56, &g.generation.0.to_le_bytes());
        }
        assert!(self.segments.len() <= 64, "a unit has at most 64 segments");
        put(&mut b, 30, &(self.segments.len() as u16).to_le_bytes());
        for (i, d) in self.segments.iter().enumerate() {
            put(&mut b, DESCRIPTORS_AT + i * DESCRIPTOR, &d.encode());
        }
        seal(&mut b);
        b
    }

    /// Reads a block.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(b: &[u8], disk: DiskUid, unit: u32, segments: u32) -> Result<Self, BlockError> {
        verify_block(b, MAGIC, disk, unit)?;
        let field = |field, value: u64| BlockError::Field { field, value };
        let count = u16_at(b, 30);
        if u32::from(count) != segments || count > 64 {
            return Err(field("segments", count.into()));
        }
        let grant = match u16_at(b, 6) {
            0 => None,
            1 => Some(Grant {
                slot: u16_at(b, 28),
                volume: VolumeUid(array_at(b, 32)),
                path: ObjectPath::from_bytes(array_at(b, 48))
                    .ok_or_else(|| field("path", u64_at(b, 48)))?,
                generation: Generation(u64_at(b, 56)),
            }),
            other => return Err(field("state", other.into())),
        };
        let segments: Vec<_> = b[DESCRIPTORS_AT..DESCRIPTORS_AT + usize::from(count) * DESCRIPTOR]
            .chunks_exact(DESCRIPTOR)
            .map(Descriptor::decode)
            .collect::<Result<_, _>>()?;
        if grant.is_none() && segments.iter().any(|d| *d != Descriptor::Free) {
            return Err(field("state", 0));
        }
        Ok(Header { grant, segments })
    }
}

/// Feeds any bytes to the decoder; what it accepts must encode to the same meaning.
pub fn fuzz_one(data: &[u8]) {
    let mut b = begin_block(MAGIC, 1, DiskUid([7; 16]), 3);
    let n = data.len().min(1100);
    b[28..28 + n].copy_from_slice(&data[..n]);
    seal(&mut b);
    for segments in [4, 64] {
        if let Ok(h) = Header::decode(&b, DiskUid([7; 16]), 3, segments) {
            let again = Header::decode(
                &h.encode(DiskUid([7; 16]), 3),
                DiskUid([7; 16]),
                3,
                segments,
            );
            assert_eq!(again, Ok(h));
        }
    }
}
