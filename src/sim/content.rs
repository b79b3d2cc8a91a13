//! What a block holds, small enough that a thousand operations cost no memory traffic.
//!
//! Data of volumes is a *stamp*: 64 bits that say whose block it is and which version, repeated over
//! the sector. Metadata is real bytes. A block that a power cut tore holds a mixture.

use std::rc::Rc;

/// Bytes in a block.
pub const BLOCK: usize = layout::BLOCK as usize;
/// Bytes in a sector: written whole or not at all.
pub const SECTOR: usize = 512;
/// Sectors in a block.
pub const SECTORS: usize = BLOCK / SECTOR;

/// The content of a sector of data: zeros, or whose block in which version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Stamp(pub u64);

impl Stamp {
    /// Zeros.
    pub const ZERO: Stamp = Stamp(0);
    /// Random bytes that a power cut left in a sector.
    pub const GARBAGE: Stamp = Stamp(u64::MAX);

    /// Version `version` of block `block` of volume `volume`, which counts from 1.
    ///
    /// # Panics
    /// Where a number does not fit its bits (15, 21, 28): a run that large is a mistake.
    pub fn new(volume: u16, block: u64, version: u32) -> Self {
        assert!(volume > 0 && volume < 1 << 15 && block < 1 << 21 && version < 1 << 28);
        Stamp(u64::from(volume) << 49 | block << 28 | u64::from(version))
    }
    /// Whose it is; 0 for zeros.
    pub fn volume(self) -> u16 {
        (self.0 >> 49) as u16
    }
    /// Which block.
    pub fn block(self) -> u64 {
        self.0 >> 28 & ((1 << 21) - 1)
    }
    /// Which version.
    pub fn version(self) -> u32 {
        (self.0 & ((1 << 28) - 1)) as u32
    }
}

impl std::fmt::Display for Stamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            Stamp::ZERO => f.write_str("zeros"),
            Stamp::GARBAGE => f.write_str("garbage"),
            s => write!(f, "v{}/b{}#{}", s.volume(), s.block(), s.version()),
        }
    }
}

/// The content of a block.
#[derive(Clone, Debug, Default)]
pub enum Content {
    /// Zeros, or never written.
    #[default]
    Zero,
    /// Data of a volume, the same stamp in every sector.
    Data(Stamp),
    /// Data of a volume that a power cut tore.
    Torn(Rc<[Stamp; SECTORS]>),
    /// Anything else: metadata.
    Bytes(Rc<[u8]>),
}

impl Content {
    /// A block of metadata.
    ///
    /// # Panics
    /// Where it is not a block long.
    pub fn bytes(bytes: &[u8]) -> Self {
        assert_eq!(bytes.len(), BLOCK);
        if bytes.iter().all(|b| *b == 0) {
            Content::Zero
        } else {
            Content::Bytes(bytes.into())
        }
    }

    /// The stamps of the sectors, where all of it is data.
    pub fn stamps(&self) -> Option<[Stamp; SECTORS]> {
        match self {
            Content::Zero => Some([Stamp::ZERO; SECTORS]),
            Content::Data(s) => Some([*s; SECTORS]),
            Content::Torn(t) => Some(**t),
            Content::Bytes(b) => {
                let mut stamps = [Stamp::ZERO; SECTORS];
                for (stamp, sector) in stamps.iter_mut().zip(b.chunks_exact(SECTOR)) {
                    *stamp = stamp_of(sector)?;
                }
                Some(stamps)
            }
        }
    }

    /// The block as bytes.
    pub fn fill(&self, buf: &mut [u8]) {
        match self {
            Content::Zero => buf.fill(0),
            Content::Bytes(b) => buf.copy_from_slice(b),
            Content::Data(s) => fill_stamp(buf, *s),
            Content::Torn(t) => {
                for (sector, stamp) in buf.chunks_exact_mut(SECTOR).zip(t.iter()) {
                    fill_stamp(sector, *stamp);
                }
            }
        }
    }

    /// A block that has each sector from this or from the other, as `new` says.
    #[must_use]
    pub fn mix(&self, old: &Content, new: [Sector; SECTORS]) -> Content {
        if new.iter().all(|s| *s == Sector::New) {
            return self.clone();
        }
        if let (Some(ours), Some(theirs)) = (self.stamps(), old.stamps()) {
            let stamps = std::array::from_fn(|i| match new[i] {
                Sector::New => ours[i],
                Sector::Old => theirs[i],
                Sector::Garbage => Stamp::GARBAGE,
            });
            return if stamps == [stamps[0]; SECTORS] {
                Content::from(stamps[0])
            } else {
                Content::Torn(Rc::new(stamps))
            };
        }
        let (mut ours, mut mixed) = (vec![0; BLOCK], vec![0; BLOCK]);
        self.fill(&mut ours);
        old.fill(&mut mixed);
        for (i, sector) in mixed.chunks_exact_mut(SECTOR).enumerate() {
            match new[i] {
                Sector::New => sector.copy_from_slice(&ours[i * SECTOR..][..SECTOR]),
                Sector::Old => {}
                Sector::Garbage => fill_stamp(sector, Stamp::GARBAGE),
            }
        }
        Content::bytes(&mixed)
    }
}

impl From<Stamp> for Content {
    fn from(s: Stamp) -> Self {
        if s == Stamp::ZERO {
            Content::Zero
        } else {
            Content::Data(s)
        }
    }
}

/// What a torn write left in a sector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sector {
    /// What was there before.
    Old,
    /// What was written.
    New,
    /// Neither.
    Garbage,
}

fn fill_stamp(buf: &mut [u8], s: Stamp) {
    for word in buf.chunks_exact_mut(8) {
        word.copy_from_slice(&s.0.to_le_bytes());
    }
}

fn stamp_of(sector: &[u8]) -> Option<Stamp> {
    let (first, rest) = sector.split_at(8);
    rest.chunks_exact(8)
        .all(|w| w == first)
        .then(|| Stamp(first.iter().rev().fold(0, |n, b| n << 8 | u64::from(*b))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_keep_their_parts() {
        let s = Stamp::new(3, 77, 1_000_000);
        assert_eq!((s.volume(), s.block(), s.version()), (3, 77, 1_000_000));
        let mut bytes = vec![0; BLOCK];
        Content::from(s).fill(&mut bytes);
        assert_eq!(Content::bytes(&bytes).stamps(), Some([s; SECTORS]));
    }

    #[test]
    fn a_torn_block_has_each_sector_from_one_side() {
        let (old, new) = (Stamp::new(1, 0, 1), Stamp::new(1, 0, 2));
        let mut sides = [Sector::Old; SECTORS];
        sides[2] = Sector::New;
        sides[5] = Sector::Garbage;
        let torn = Content::from(new).mix(&Content::from(old), sides).stamps();
        let mut want = [old; SECTORS];
        want[2] = new;
        want[5] = Stamp::GARBAGE;
        assert_eq!(torn, Some(want));

        let meta = Content::bytes(&[9; BLOCK]);
        let mut bytes = vec![0; BLOCK];
        meta.mix(&Content::from(old), sides).fill(&mut bytes);
        assert_eq!(bytes[2 * SECTOR..3 * SECTOR], [9; SECTOR]);
        assert_eq!(bytes[..8], old.0.to_le_bytes());
    }
}
