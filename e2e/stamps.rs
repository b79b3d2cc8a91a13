//! Blocks that say which they are and when they were written, and the log of what was answered:
//! what a device must show after a crash, and after a power cut.
//!
//! ```text
//! 0 block u64 | 8 version u64 | 16.. noise that follows from both | 4088 zero u32 | 4092 crc32c
//! u32
//! ```
//! A version is never written twice. Invariant of a log: durable <= answered <= written, each
//! block.

use crate::direct::{Block, LEN};
use crate::random::{Random, mix};
use std::collections::BTreeMap;

/// Where the checksum is.
const SUM_AT: usize = LEN - 4;

/// Writes the stamp of a version over a block in memory.
pub fn stamp(into: &mut Block, block: u64, version: u64) {
    let mut noise = Random::new(mix(block) ^ version);
    let bytes = into.bytes_mut();
    for word in bytes.chunks_exact_mut(8) {
        word.copy_from_slice(&noise.draw().to_le_bytes());
    }
    bytes[..8].copy_from_slice(&block.to_le_bytes());
    bytes[8..16].copy_from_slice(&version.to_le_bytes());
    bytes[SUM_AT - 4..SUM_AT].fill(0);
    let sum = crc32c::crc32c(&bytes[..SUM_AT]);
    bytes[SUM_AT..].copy_from_slice(&sum.to_le_bytes());
}

/// What a block shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// Zeros: never written.
    Zeros,
    /// A whole stamp: which version of which block.
    Stamp {
        /// The block that it was written as.
        block: u64,
        /// The version.
        version: u64,
    },
    /// Neither.
    Garbage,
}

/// Reads a stamp.
pub fn read(block: &Block) -> Shown {
    let bytes = block.bytes();
    if bytes.iter().all(|b| *b == 0) {
        return Shown::Zeros;
    }
    let number = |at: usize| {
        bytes[at..]
            .first_chunk()
            .map_or(0, |b| u64::from_le_bytes(*b))
    };
    let (block, version) = (number(0), number(8));
    let mut expected = Block::zeroed();
    stamp(&mut expected, block, version);
    match expected.bytes() == bytes {
        true => Shown::Stamp { block, version },
        false => Shown::Garbage,
    }
}

/// Of one block: versions, 0 before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Versions {
    written: u64,
    answered: u64,
    durable: u64,
}

/// What was asked of a device and what it answered.
#[derive(Clone, Debug, Default)]
pub struct Log {
    blocks: BTreeMap<u64, Versions>,
    /// The newest version of all.
    last: u64,
}

/// What happened before the crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// The process died: what was answered is there.
    Process,
    /// The power was cut: what was flushed is there, all else may be.
    Power,
}

/// The answered versions at one moment: what a flush that starts then makes durable.
#[derive(Clone, Debug)]
pub struct Mark(Vec<(u64, u64)>);

impl Log {
    /// A write of a block begins: its version.
    pub fn begin(&mut self, block: u64) -> u64 {
        self.last += 1;
        self.blocks.entry(block).or_default().written = self.last;
        self.last
    }

    /// It was answered.
    pub fn answered(&mut self, block: u64, version: u64) {
        if let Some(v) = self.blocks.get_mut(&block) {
            v.answered = v.answered.max(version);
        }
    }

    /// A flush begins.
    pub fn mark(&self) -> Mark {
        let newer = self.blocks.iter().filter(|(_, v)| v.answered > v.durable);
        Mark(newer.map(|(block, v)| (*block, v.answered)).collect())
    }

    /// It was answered.
    pub fn flushed(&mut self, mark: Mark) {
        for (block, version) in mark.0 {
            if let Some(v) = self.blocks.get_mut(&block) {
                v.durable = v.durable.max(version);
            }
        }
    }

    /// The blocks that were touched, in order.
    pub fn blocks(&self) -> impl Iterator<Item = u64> + use<'_> {
        self.blocks.keys().copied()
    }

    /// Whether a block was ever written.
    pub fn knows(&self, block: u64) -> bool {
        self.blocks.contains_key(&block)
    }

    /// How many blocks have a version that a flush made durable.
    pub fn durable(&self) -> usize {
        self.blocks.values().filter(|v| v.durable > 0).count()
    }

    /// What is wrong with what a block shows, in words.
    pub fn wrong(&self, block: u64, shown: Shown, after: Crash) -> Option<String> {
        let v = self.blocks.get(&block).copied().unwrap_or_default();
        let least = match after {
            Crash::Process => v.answered,
            Crash::Power => v.durable,
        };
        let what = match shown {
            Shown::Zeros if least == 0 => return None,
            Shown::Stamp { block: b, version } if b == block => {
                if (least..=v.written).contains(&version) {
                    return None;
                }
                format!("version {version}")
            }
            Shown::Zeros => "zeros".to_owned(),
            Shown::Stamp { block: b, version } => format!("version {version} of block {b}"),
            Shown::Garbage => "neither zeros nor a stamp".to_owned(),
        };
        let written = v.written;
        Some(format!(
            "block {block} shows {what}, not version {least} to {written}"
        ))
    }

    /// What blocks show now is what counts from now on: after a crash it stays so.
    pub fn settle(&mut self, block: u64, shown: Shown) {
        let version = match shown {
            Shown::Stamp { version, .. } => version,
            Shown::Zeros | Shown::Garbage => 0,
        };
        let v = self.blocks.entry(block).or_default();
        // It may be in a cache still: durable stays what it was.
        (v.written, v.answered) = (version.max(v.durable), version);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(block: u64, version: u64) -> Shown {
        Shown::Stamp { block, version }
    }

    #[test]
    fn stamps_are_read_back() {
        let mut block = Block::zeroed();
        assert_eq!(read(&block), Shown::Zeros);
        stamp(&mut block, 7, 9);
        assert_eq!(read(&block), shown(7, 9));
        for at in [0, 8, 2000, LEN - 1] {
            let mut torn = block.clone();
            torn.bytes_mut()[at] ^= 1;
            assert_eq!(read(&torn), Shown::Garbage, "{at}");
        }
    }

    #[test]
    fn a_log_knows_what_may_be_shown() {
        let mut log = Log::default();
        let one = log.begin(5);
        log.answered(5, one);
        let mark = log.mark();
        let two = log.begin(5);
        log.answered(5, two);
        log.flushed(mark);
        let three = log.begin(5);
        let wrong = |version, crash| log.wrong(5, shown(5, version), crash).is_some();
        assert!(wrong(one, Crash::Process) && !wrong(two, Crash::Process));
        assert!(!wrong(three, Crash::Process) && wrong(three + 1, Crash::Process));
        assert!(!wrong(one, Crash::Power) && !wrong(three, Crash::Power));
        assert!(wrong(0, Crash::Power));
        assert!(log.wrong(5, Shown::Zeros, Crash::Power).is_some());
        assert!(log.wrong(6, Shown::Zeros, Crash::Process).is_none());
        assert!(log.wrong(6, shown(5, one), Crash::Power).is_some());
        assert!(log.wrong(6, Shown::Garbage, Crash::Power).is_some());
        assert_eq!((log.durable(), log.blocks().count()), (1, 1));
        log.settle(5, shown(5, one));
        assert!(log.wrong(5, shown(5, two), Crash::Power).is_some());
        assert!(log.wrong(5, shown(5, one), Crash::Process).is_none());
    }
}
