//! Where everything is on a disk: computed from a handful of numbers in the superblock.

use super::{BLOCK, MetaAddr};

/// The numbers that place everything. Valid by construction: every offset is inside the disk and no
/// sum overflows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Bytes on the disk that the format uses; a multiple of a block.
    pub size: u64,
    /// Blocks in a segment: a power of two, 2 to 256.
    pub segment_blocks: u32,
    /// Segments in a unit: a power of two, 2 to 64.
    pub unit_segments: u32,
    /// Units on the disk.
    pub units: u32,
    /// Object slots.
    pub slots: u16,
    /// Blocks in the journal ring.
    pub journal_blocks: u32,
}

/// A disk or a set of numbers from which no geometry can be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GeometryError {
    /// Too little room for one unit.
    #[error("{size} bytes are too few: the smallest disk with these parameters has {least}")]
    TooSmall {
        /// Bytes there are.
        size: u64,
        /// Bytes that are needed.
        least: u64,
    },
    /// A number outside its bounds.
    #[error("{field} is {value}, it must be {bounds}")]
    Bounds {
        /// Which.
        field: &'static str,
        /// What it is.
        value: u64,
        /// What it may be.
        bounds: &'static str,
    },
}

/// What can be chosen when a disk is formatted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GeometryChoice {
    /// Blocks in a segment.
    pub segment_blocks: u32,
    /// Segments in a unit.
    pub unit_segments: u32,
    /// Object slots.
    pub slots: u16,
    /// Blocks in the journal ring.
    pub journal_blocks: u32,
}

impl GeometryChoice {
    /// What suits a disk of this many bytes: segments of 1 MiB, units of 64 MiB, a journal of 4 to
    /// 8 MiB (a takeover reads it whole), 64 to 1,024 objects.
    pub fn for_size(size: u64) -> Self {
        let gib = (size >> 30).min(1 << 20);
        GeometryChoice {
            segment_blocks: 256,
            unit_segments: 64,
            slots: match gib {
                0..64 => 64,
                64..1024 => 256,
                _ => 1024,
            },
            journal_blocks: (gib as u32 * 256).clamp(1 << 10, 1 << 11),
        }
    }
}

const OBJECTS_AT: u64 = 16;
/// Most segments on a disk: a map entry names one in 27 bits.
const MOST_SEGMENTS: u64 = 1 << 27;
/// Blocks in an object slot: the record and three parts of the owner text.
pub const SLOT_BLOCKS: u64 = 4;

impl Geometry {
    /// Lays out a disk of `size` bytes with as many units as fit.
    ///
    /// # Errors
    /// A choice out of bounds, or a disk too small for one unit.
    pub fn plan(size: u64, choice: GeometryChoice) -> Result<Self, GeometryError> {
        let mut g = Geometry {
            size: size - size % BLOCK as u64,
            segment_blocks: choice.segment_blocks,
            unit_segments: choice.unit_segments,
            units: 1,
            slots: choice.slots,
            journal_blocks: choice.journal_blocks,
        };
        g.check_bounds()?;
        let least = g.end();
        if g.size < least {
            return Err(GeometryError::TooSmall { size, least });
        }
        // A unit costs its data, a header and its page slots. Alignment may give or take a segment,
        // so one unit more is tried.
        let per_unit = g.unit_blocks() + 1 + u64::from(g.unit_segments);
        let room = (g.size - least) / BLOCK as u64;
        let most = MOST_SEGMENTS / u64::from(g.unit_segments);
        g.units = u32::try_from((2 + room / per_unit).min(most)).unwrap_or(u32::MAX);
        while g.end() > g.size {
            g.units -= 1;
        }
        Ok(g)
    }

    /// Checks numbers that were read from a disk.
    ///
    /// # Errors
    /// The first number out of its bounds.
    pub fn validate(self) -> Result<Self, GeometryError> {
        self.check_bounds()?;
        if self.size < self.end() {
            return Err(GeometryError::TooSmall {
                size: self.size,
                least: self.end(),
            });
        }
        Ok(self)
    }

    fn check_bounds(&self) -> Result<(), GeometryError> {
        let bad = |field, value, bounds| {
            Err(GeometryError::Bounds {
                field,
                value,
                bounds,
            })
        };
        if !self.size.is_multiple_of(BLOCK as u64) {
            return bad("size", self.size, "a multiple of 4,096");
        }
        let pow2 = |n: u32, most| n.is_power_of_two() && (2..=most).contains(&n);
        if !pow2(self.segment_blocks, 256) {
            let n = self.segment_blocks.into();
            return bad("blocks in a segment", n, "a power of two from 2 to 256");
        }
        if !pow2(self.unit_segments, 64) {
            let n = self.unit_segments.into();
            return bad("segments in a unit", n, "a power of two from 2 to 64");
        }
        if !(1..=4096).contains(&self.slots) {
            return bad("object slots", self.slots.into(), "from 1 to 4,096");
        }
        if !(64..=1 << 20).contains(&self.journal_blocks) {
            return bad(
                "journal blocks",
                self.journal_blocks.into(),
                "from 64 to 1,048,576",
            );
        }
        let segments = u64::from(self.units) * u64::from(self.unit_segments);
        if self.units == 0 || segments > MOST_SEGMENTS {
            return bad(
                "units",
                self.units.into(),
                "at least 1, at most 2^27 segments in all",
            );
        }
        Ok(())
    }

    fn journal_at(&self) -> u64 {
        OBJECTS_AT + u64::from(self.slots) * SLOT_BLOCKS
    }
    fn headers_at(&self) -> u64 {
        self.journal_at() + u64::from(self.journal_blocks)
    }
    fn pages_at(&self) -> u64 {
        self.headers_at() + u64::from(self.units)
    }
    fn data_at(&self) -> u64 {
        (self.pages_at() + u64::from(self.segments())).next_multiple_of(self.segment_blocks.into())
    }
    fn unit_blocks(&self) -> u64 {
        u64::from(self.unit_segments) * u64::from(self.segment_blocks)
    }
    fn end(&self) -> u64 {
        (self.data_at() + u64::from(self.units) * self.unit_blocks()) * BLOCK as u64
    }

    /// Segments on the disk.
    pub fn segments(&self) -> u32 {
        self.units * self.unit_segments
    }
    /// Bytes in a segment.
    pub fn segment_bytes(&self) -> u64 {
        u64::from(self.segment_blocks) * BLOCK as u64
    }
    /// Bytes in a unit.
    pub fn unit_bytes(&self) -> u64 {
        self.unit_blocks() * BLOCK as u64
    }
    /// The unit in which a segment of the disk lies.
    pub fn unit_of(&self, segment: u32) -> u32 {
        segment / self.unit_segments
    }
    /// Byte offset of a metadata block.
    pub fn meta_offset(&self, addr: MetaAddr) -> u64 {
        let block = match addr {
            MetaAddr::Object(slot) => OBJECTS_AT + u64::from(slot) * SLOT_BLOCKS,
            MetaAddr::Owner(slot, part) => {
                OBJECTS_AT + u64::from(slot) * SLOT_BLOCKS + u64::from(part)
            }
            MetaAddr::Header(unit) => self.headers_at() + u64::from(unit),
            MetaAddr::Page(segment) => self.pages_at() + u64::from(segment),
        };
        block * BLOCK as u64
    }
    /// Byte offset of the block of the ring that the running number `counter` falls on.
    pub fn journal_offset(&self, counter: u64) -> u64 {
        (self.journal_at() + counter % u64::from(self.journal_blocks)) * BLOCK as u64
    }
    /// Byte offset of a block of a segment of the disk.
    pub fn data_offset(&self, segment: u32, block: u32) -> u64 {
        (self.data_at() + u64::from(segment) * u64::from(self.segment_blocks) + u64::from(block))
            * BLOCK as u64
    }
    /// The number that the page of a block's home has in a page entry: blocks from the disk's
    /// start.
    pub fn data_block(&self, segment: u32, block: u32) -> u64 {
        self.data_offset(segment, block) / BLOCK as u64
    }
}
