//! The bytes on a disk, format version 1. Nothing outside this module knows a byte offset.
//!
//! ```text
//!  block 0, 1      superblock, twice                                  superblock.rs
//!  block 16 ..     object slots, 4 blocks each: record, owner text    object.rs
//!  then            journal ring                                       journal.rs, record.rs
//!  then            one header a unit: owner, its segments             header.rs
//!  then            one page slot a segment of a unit                  page.rs
//!  aligned         the data: units of (64) segments of (256) blocks
//! ```
//! Every metadata block has its place for ever, so metadata can never run out of space, and each
//! carries a magic number, the version, the disk's uid, its own address and a CRC-32C in its last
//! four bytes. Blocks are rewritten in place only after their new content is in the journal, so a
//! torn write is always repairable and any other damage is told apart from it.

pub mod foreign;
pub mod geometry;
pub mod header;
pub mod journal;
pub mod object;
pub mod page;
pub mod record;
pub mod superblock;

use layout::DiskUid;
use std::fmt;

pub use geometry::Geometry;

/// Bytes in a block.
pub const BLOCK: usize = layout::BLOCK as usize;
/// The version that this code writes in every metadata block.
pub const VERSION: u16 = 1;

const CRC_AT: usize = BLOCK - 4;

/// The address of a metadata block: every one has its place for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MetaAddr {
    /// The record of the object in this slot.
    Object(u16),
    /// Part `1..=3` of the owner text of the object in this slot.
    Owner(u16, u8),
    /// The header of this unit.
    Header(u32),
    /// The page slot of this segment, counted over all units.
    Page(u32),
}

impl fmt::Display for MetaAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MetaAddr::Object(slot) => write!(f, "the object record of slot {slot}"),
            MetaAddr::Owner(slot, part) => write!(f, "owner text part {part} of slot {slot}"),
            MetaAddr::Header(unit) => write!(f, "the header of unit {unit}"),
            MetaAddr::Page(segment) => write!(f, "the page of segment {segment}"),
        }
    }
}

/// What is wrong with a metadata block.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// The bytes are not those that were written.
    #[error("checksum {found:#010x}, computed {computed:#010x}")]
    Checksum {
        /// What the block says.
        found: u32,
        /// What its bytes give.
        computed: u32,
    },
    /// Not this kind of block.
    #[error("magic {found:#010x}, expected {expected:#010x}")]
    Magic {
        /// What the block says.
        found: u32,
        /// What it ought to say.
        expected: u32,
    },
    /// Written by a later version.
    #[error("version {0}, this program knows up to {VERSION}")]
    Version(u16),
    /// A block of another disk.
    #[error("it belongs to disk {0}")]
    ForeignDisk(DiskUid),
    /// A block from another place.
    #[error("it says that it is number {found}, expected {expected}")]
    Misplaced {
        /// What the block says.
        found: u32,
        /// Where it is.
        expected: u32,
    },
    /// A field holds what it cannot hold.
    #[error("field {field} holds {value}")]
    Field {
        /// Which.
        field: &'static str,
        /// What.
        value: u64,
    },
}

pub(crate) fn u16_at(b: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(array_at(b, at))
}
pub(crate) fn u32_at(b: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array_at(b, at))
}
pub(crate) fn u64_at(b: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array_at(b, at))
}
pub(crate) fn array_at<const N: usize>(b: &[u8], at: usize) -> [u8; N] {
    let mut a = [0; N];
    a.copy_from_slice(&b[at..at + N]);
    a
}
pub(crate) fn put(b: &mut [u8], at: usize, bytes: &[u8]) {
    b[at..at + bytes.len()].copy_from_slice(bytes);
}

/// The first 32 bytes of every metadata block but the superblock.
///
/// ```text
///  0 magic u32 │ 4 version u16 │ 6 state u16 │ 8 disk uid [16] │ 24 number u32 │ 28 ..
/// ```
pub(crate) fn begin_block(magic: u32, state: u16, disk: DiskUid, number: u32) -> Vec<u8> {
    let mut b = vec![0; BLOCK];
    put(&mut b, 0, &magic.to_le_bytes());
    put(&mut b, 4, &VERSION.to_le_bytes());
    put(&mut b, 6, &state.to_le_bytes());
    put(&mut b, 8, &disk.0);
    put(&mut b, 24, &number.to_le_bytes());
    b
}

/// Puts the checksum into the last four bytes.
pub(crate) fn seal(b: &mut [u8]) {
    let crc = crc32c::crc32c(&b[..CRC_AT]);
    put(b, CRC_AT, &crc.to_le_bytes());
}

/// Verifies checksum, magic, version, disk and number, in the order that gives the best message.
pub(crate) fn verify_block(
    b: &[u8],
    magic: u32,
    disk: DiskUid,
    number: u32,
) -> Result<(), BlockError> {
    assert_eq!(b.len(), BLOCK, "a metadata block is {BLOCK} bytes");
    let (found, computed) = (u32_at(b, CRC_AT), crc32c::crc32c(&b[..CRC_AT]));
    if found != computed {
        return Err(BlockError::Checksum { found, computed });
    }
    if u32_at(b, 0) != magic {
        return Err(BlockError::Magic {
            found: u32_at(b, 0),
            expected: magic,
        });
    }
    match u16_at(b, 4) {
        VERSION => {}
        other => return Err(BlockError::Version(other)),
    }
    let owner = DiskUid(array_at(b, 8));
    if owner != disk {
        return Err(BlockError::ForeignDisk(owner));
    }
    if u32_at(b, 24) != number {
        return Err(BlockError::Misplaced {
            found: u32_at(b, 24),
            expected: number,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
