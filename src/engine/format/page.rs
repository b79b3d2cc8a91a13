//! The page of a segment: for each block where it is, whether it holds data, and since when.
//!
//! ```text
//!    0 "SVPG" version state=0 disk number=segment of the disk   (see `begin_block`)
//!   28 blocks u16           30 -
//!   32 volume uid [16]      48 path [8]           56 logical segment u32     60 -
//!   64 blocks × 12: location u64 │ birth u32
//! 4092 CRC-32C u32
//! ```
//! A location is the number of a block of the disk in its low 48 bits and `valid` in bit 63. Blocks
//! lie at home, in the segment whose page this is; a later feature that moves blocks elsewhere (one
//! snapshot needs the old place) sets an incompatible bit, so version 1 refuses such a disk whole.

use super::{
    BlockError, DiskUid, array_at, begin_block, put, seal, u16_at, u32_at, u64_at, verify_block,
};
use crate::leaf::BlockBits;
use layout::{Epoch, ObjectPath, VolumeUid};

const MAGIC: u32 = u32::from_le_bytes(*b"SVPG");
const ENTRIES_AT: usize = 64;
const ENTRY: usize = 12;
const VALID: u64 = 1 << 63;

/// A page, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Which segment of the object.
    pub logical: u32,
    /// The blocks that hold data.
    pub valid: BlockBits,
    /// For each block the epoch of its last change, as far as it was tracked.
    pub births: Vec<Epoch>,
}

/// Who a page belongs to, and where its blocks' home is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageHome {
    /// The disk.
    pub disk: DiskUid,
    /// The volume.
    pub volume: VolumeUid,
    /// The object's place in the volume's tree.
    pub path: ObjectPath,
    /// The segment of the disk.
    pub segment: u32,
    /// The number of its first block on the disk.
    pub first_block: u64,
}

impl Page {
    /// A page of so many blocks, all of them holding data or none.
    pub fn new(logical: u32, blocks: u32, valid: bool, birth: Epoch) -> Self {
        let mut page = Page {
            logical,
            valid: [0; 4],
            births: vec![birth; blocks as usize],
        };
        if valid {
            page.set(0, blocks, true, birth);
        }
        page
    }

    /// Whether the block holds data.
    pub fn is_valid(&self, block: u32) -> bool {
        self.valid[block as usize / 64] >> (block % 64) & 1 == 1
    }

    /// Changes a run of blocks.
    pub fn set(&mut self, first: u32, count: u32, valid: bool, birth: Epoch) {
        assert!(
            (first + count) as usize <= self.births.len(),
            "blocks inside the page"
        );
        for block in first..first + count {
            let bit = 1 << (block % 64);
            let word = &mut self.valid[block as usize / 64];
            *word = if valid { *word | bit } else { *word & !bit };
            self.births[block as usize] = birth;
        }
    }

    /// How many blocks hold data.
    pub fn count(&self) -> u32 {
        self.valid.iter().map(|w| w.count_ones()).sum()
    }

    /// The latest change of any block.
    pub fn newest(&self) -> Epoch {
        self.births.iter().copied().max().unwrap_or_default()
    }

    /// The block that stands for it.
    pub fn encode(&self, home: &PageHome) -> Vec<u8> {
        let mut b = begin_block(MAGIC, 0, home.disk, home.segment);
        assert!(self.births.len() <= 256, "a segment has at most 256 blocks");
        put(&mut b, 28, &(self.births.len() as u16).to_le_bytes());
        put(&mut b, 32, &home.volume.0);
        put(&mut b, 48, &home.path.to_bytes());
        put(&mut b, 56, &self.logical.to_le_bytes());
        for (i, birth) in self.births.iter().enumerate() {
            let valid = if self.is_valid(i as u32) { VALID } else { 0 };
            let location = (home.first_block + i as u64) | valid;
            put(&mut b, ENTRIES_AT + i * ENTRY, &location.to_le_bytes());
            put(&mut b, ENTRIES_AT + i * ENTRY + 8, &birth.0.to_le_bytes());
        }
        seal(&mut b);
        b
    }

    /// Reads a block.
    ///
    /// # Errors
    /// What is wrong with it, a page of another owner included.
    pub fn decode(b: &[u8], home: &PageHome, blocks: u32) -> Result<Self, BlockError> {
        verify_block(b, MAGIC, home.disk, home.segment)?;
        let field = |field, value: u64| BlockError::Field { field, value };
        if u32::from(u16_at(b, 28)) != blocks || blocks > 256 {
            return Err(field("blocks", u16_at(b, 28).into()));
        }
        if array_at(b, 32) != home.volume.0 {
            return Err(field("volume", u64_at(b, 32)));
        }
        if array_at(b, 48) != home.path.to_bytes() {
            return Err(field("path", u64_at(b, 48)));
        }
        let mut page = Page::new(u32_at(b, 56), blocks, false, Epoch(0));
        for i in 0..blocks {
            let at = ENTRIES_AT + i as usize * ENTRY;
            let location = u64_at(b, at);
            if location & !VALID != home.first_block + u64::from(i) {
                return Err(field("location", location));
            }
            page.set(i, 1, location & VALID != 0, Epoch(u32_at(b, at + 8)));
        }
        Ok(page)
    }
}

/// Feeds any bytes to the decoder; what it accepts must encode to the same meaning.
pub fn fuzz_one(data: &[u8]) {
    let home = PageHome {
        disk: DiskUid([7; 16]),
        volume: VolumeUid([0; 16]),
        path: ObjectPath::ROOT,
        segment: 3,
        first_block: 0,
    };
    let mut b = begin_block(MAGIC, 0, home.disk, home.segment);
    let n = data.len().min(3200);
    b[28..28 + n].copy_from_slice(&data[..n]);
    seal(&mut b);
    for blocks in [8, 256] {
        if let Ok(p) = Page::decode(&b, &home, blocks) {
            assert_eq!(Page::decode(&p.encode(&home), &home, blocks), Ok(p));
        }
    }
}
