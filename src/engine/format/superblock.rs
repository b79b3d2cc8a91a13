//! The superblock: what the disk is, and where its journal starts. Written twice, one after the
//! other, with the same content; the valid one with the higher sequence number counts.
//!
//! ```text
//!    0 magic "STRATOVL"      8 version u16   10 -            12 -
//!   16 disk uid [16]        32 sequence u64
//!   40 compatible u64       48 read-only compatible u64      56 incompatible u64
//!   64 size u64             72 segment blocks u32            76 unit segments u32
//!   80 units u32            84 slots u32                     88 journal blocks u32   92 -
//!   96 tail u64            104 first record u64             112 incarnation u64
//!  120 term u64            128 clean u8                     136 created u64
//!  144 label [64], UTF-8, zero-filled                     4092 CRC-32C u32
//! ```
//! Feature words: a bit of *compatible* that is not known is ignored, of *read-only compatible*
//! allows reading only, of *incompatible* refuses the disk.

use super::geometry::GeometryError;
use super::{BLOCK, BlockError, CRC_AT, Geometry, array_at, put, seal, u16_at, u32_at, u64_at};
use layout::DiskUid;

const MAGIC: [u8; 8] = *b"STRATOVL";
/// The highest version of the superblock that this code reads and the one that it writes.
pub const VERSION: u16 = 1;
/// Bits of the read-only compatible word that this code knows.
pub const KNOWN_READ_ONLY: u64 = 0;
/// Bits of the incompatible word that this code knows.
pub const KNOWN_INCOMPATIBLE: u64 = 0;
/// Bytes of the label.
pub const LABEL: usize = 64;

/// No running number gets here, at a billion a second, in thirty years; so sums with them do not
/// overflow.
const END_OF_NUMBERS: u64 = 1 << 60;

/// The two places of the superblock, byte offsets.
pub const PLACES: [u64; 2] = [0, BLOCK as u64];

/// A superblock, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Superblock {
    /// The disk's identity.
    pub disk: DiskUid,
    /// Counts the writes of the superblock.
    pub sequence: u64,
    /// Feature bits that may be ignored.
    pub compatible: u64,
    /// Feature bits that allow reading only where not known.
    pub read_only: u64,
    /// Feature bits that refuse the disk where not known.
    pub incompatible: u64,
    /// Where everything is.
    pub geometry: Geometry,
    /// Running number of the journal block at which replay starts.
    pub tail: u64,
    /// The number of the first record there.
    pub first_record: u64,
    /// Counts the times the disk was opened for writing.
    pub incarnation: u64,
    /// The highest leader's term that was seen (spec A9).
    pub term: u64,
    /// Whether the disk was closed in good order: the journal is then empty.
    pub clean: bool,
    /// When it was formatted, seconds since 1970.
    pub created: u64,
    /// What people call it.
    pub label: String,
}

/// A superblock that is not to be believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SuperblockError {
    /// Not a disk of ours.
    #[error("no Stratovol superblock is there")]
    Absent,
    /// Damaged.
    #[error("the superblock is damaged: {0}")]
    Block(BlockError),
    /// Written by a later version.
    #[error("format version {found}, this program knows up to {VERSION}")]
    Version {
        /// What the disk has.
        found: u16,
    },
    /// It has a feature without which it cannot be read.
    #[error("incompatible features {unknown:#x} are not known to this program")]
    Incompatible {
        /// The bits.
        unknown: u64,
    },
    /// It has a feature without which it can be read but not written.
    #[error("features {unknown:#x} are not known to this program: the disk can only be read")]
    ReadOnly {
        /// The bits.
        unknown: u64,
    },
    /// Numbers that make no sense.
    #[error("the superblock's geometry is impossible: {0}")]
    Geometry(#[from] GeometryError),
}

impl Superblock {
    /// The block that stands for it.
    pub fn encode(&self) -> Vec<u8> {
        let g = &self.geometry;
        let mut b = vec![0; BLOCK];
        put(&mut b, 0, &MAGIC);
        put(&mut b, 8, &VERSION.to_le_bytes());
        put(&mut b, 16, &self.disk.0);
        for (at, word) in [
            (32, self.sequence),
            (40, self.compatible),
            (48, self.read_only),
            (56, self.incompatible),
            (64, g.size),
            (96, self.tail),
            (104, self.first_record),
            (112, self.incarnation),
            (120, self.term),
            (136, self.created),
        ] {
            put(&mut b, at, &word.to_le_bytes());
        }
        for (at, word) in [
            (72, g.segment_blocks),
            (76, g.unit_segments),
            (80, g.units),
            (84, g.slots.into()),
            (88, g.journal_blocks),
        ] {
            put(&mut b, at, &word.to_le_bytes());
        }
        b[128] = self.clean.into();
        put(&mut b, 144, label_bytes(&self.label));
        seal(&mut b);
        b
    }

    /// Reads a block; features are judged by [`Superblock::writable`].
    ///
    /// # Errors
    /// Why the block is not to be believed.
    pub fn decode(b: &[u8]) -> Result<Self, SuperblockError> {
        assert_eq!(b.len(), BLOCK, "a superblock is {BLOCK} bytes");
        if b[..8] != MAGIC {
            return Err(SuperblockError::Absent);
        }
        let (found, computed) = (u32_at(b, CRC_AT), crc32c::crc32c(&b[..CRC_AT]));
        if found != computed {
            return Err(SuperblockError::Block(BlockError::Checksum {
                found,
                computed,
            }));
        }
        let version = u16_at(b, 8);
        if version != VERSION {
            return Err(SuperblockError::Version { found: version });
        }
        let field = |field, value| SuperblockError::Block(BlockError::Field { field, value });
        let incompatible = u64_at(b, 56);
        if incompatible & !KNOWN_INCOMPATIBLE != 0 {
            return Err(SuperblockError::Incompatible {
                unknown: incompatible & !KNOWN_INCOMPATIBLE,
            });
        }
        for (name, at) in [
            ("sequence", 32),
            ("tail", 96),
            ("first record", 104),
            ("incarnation", 112),
        ] {
            if u64_at(b, at) >= END_OF_NUMBERS {
                return Err(field(name, u64_at(b, at)));
            }
        }
        let slots = u32_at(b, 84);
        let geometry = Geometry {
            size: u64_at(b, 64),
            segment_blocks: u32_at(b, 72),
            unit_segments: u32_at(b, 76),
            units: u32_at(b, 80),
            slots: u16::try_from(slots).map_err(|_| field("slots", slots.into()))?,
            journal_blocks: u32_at(b, 88),
        }
        .validate()?;
        let label = &b[144..144 + LABEL];
        let end = label.iter().position(|c| *c == 0).unwrap_or(LABEL);
        let label = std::str::from_utf8(&label[..end])
            .map_err(|e| field("label", e.valid_up_to() as u64))?;
        Ok(Superblock {
            disk: DiskUid(array_at(b, 16)),
            sequence: u64_at(b, 32),
            compatible: u64_at(b, 40),
            read_only: u64_at(b, 48),
            incompatible,
            geometry,
            tail: u64_at(b, 96),
            first_record: u64_at(b, 104),
            incarnation: u64_at(b, 112),
            term: u64_at(b, 120),
            clean: match b[128] {
                0 => false,
                1 => true,
                other => return Err(field("clean", other.into())),
            },
            created: u64_at(b, 136),
            label: label.to_owned(),
        })
    }

    /// Whether the disk may be written.
    ///
    /// # Errors
    /// A read-only compatible feature that is not known here.
    pub fn writable(&self) -> Result<(), SuperblockError> {
        match self.read_only & !KNOWN_READ_ONLY {
            0 => Ok(()),
            unknown => Err(SuperblockError::ReadOnly { unknown }),
        }
    }
}

/// The longest prefix of a label that fits, cut between characters.
fn label_bytes(label: &str) -> &[u8] {
    let mut end = label.len().min(LABEL);
    while !label.is_char_boundary(end) {
        end -= 1;
    }
    &label.as_bytes()[..end]
}

/// Feeds any bytes to the decoder; what it accepts must encode to the same meaning.
pub fn fuzz_one(data: &[u8]) {
    let mut b = vec![0; BLOCK];
    let n = data.len().min(BLOCK);
    b[..n].copy_from_slice(&data[..n]);
    for sealed in [false, true] {
        if sealed {
            put(&mut b, 0, &MAGIC);
            put(&mut b, 8, &VERSION.to_le_bytes());
            seal(&mut b);
        }
        if let Ok(s) = Superblock::decode(&b) {
            assert_eq!(Superblock::decode(&s.encode()), Ok(s));
        }
    }
}
