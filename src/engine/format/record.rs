//! One change of one metadata block, as it stands in the journal and in the volatile log.
//!
//! ```text
//! kind u8, then
//!  1 image    address [5] │ block [4096]              the block is this
//!  2 mark     slot u16 │ which u8 (0 dirty, 1 resync) │ on u8 │ region u32
//!  3 segment  segment u32 │ descriptor [16]           in its unit's header
//!  4 page     segment u32 │ logical u32 │ valid u8 │ birth u32     the page is new, all alike
//!  5 blocks   segment u32 │ first u16 │ count u16 │ valid u8 │ birth u32   in the page
//!  6 term     term u64                               in the superblock
//!  7 legs     slot u16 │ generation u64 │ stale u16 │ blank u16 │ since [8] u32
//!  8 epochs   slot u16 │ running u32 │ count u8 │ held [count] u32
//!  9 unequal  slot u16      every dirty region of the object is one to resync too
//! address: kind u8 (1 object, 2 owner, 3 header, 4 page) │ number u32 (owner: slot | part << 16)
//! ```
//! Every record sets, none adds: done twice it gives the same. A record says what it changes
//! without looking at anything else, so replay needs no order between blocks.

use super::header::{DESCRIPTOR, Descriptor};
use super::object::{HELD, OWNER_PARTS};
use super::{BLOCK, MetaAddr, u16_at, u32_at, u64_at};
use crate::leaf::LegsRecord;
use layout::Epoch;

/// A change of one metadata block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// The block's whole content.
    Image {
        /// Which block.
        addr: MetaAddr,
        /// Its content, one block long.
        block: Vec<u8>,
    },
    /// A mark of a region of an object.
    Mark {
        /// The object.
        slot: u16,
        /// Which mark.
        mark: Mark,
        /// Set or cleared.
        on: bool,
        /// The region.
        region: u32,
    },
    /// What a segment of the disk holds.
    Segment {
        /// The segment, counted over all units.
        segment: u32,
        /// What it holds.
        descriptor: Descriptor,
    },
    /// A page begins, every block alike.
    Page {
        /// The segment of the disk.
        segment: u32,
        /// The object's segment.
        logical: u32,
        /// Whether the blocks hold data.
        valid: bool,
        /// Since when.
        birth: Epoch,
    },
    /// Blocks of a page change.
    Blocks {
        /// The segment of the disk.
        segment: u32,
        /// The first block.
        first: u16,
        /// How many.
        count: u16,
        /// Whether they hold data.
        valid: bool,
        /// Since when.
        birth: Epoch,
    },
    /// The highest leader's term that was seen.
    Term(u64),
    /// What is known of the mirror above an object.
    Legs {
        /// The object.
        slot: u16,
        /// What is known.
        legs: LegsRecord,
    },
    /// The epochs of an object.
    Epochs {
        /// The object.
        slot: u16,
        /// The one that is running.
        running: Epoch,
        /// Those that are held, ascending, at most [`HELD`].
        held: Vec<Epoch>,
    },
    /// In every dirty region of the object the legs may differ.
    Unequal {
        /// The object.
        slot: u16,
    },
}

/// The marks of a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// It is being written.
    Dirty,
    /// The legs may differ in it.
    Resync,
}

/// A record that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// It ends too soon.
    #[error("a record is cut short")]
    Short,
    /// Its kind, or a field of it, holds what it cannot hold.
    #[error("a record's {field} holds {value}")]
    Field {
        /// Which.
        field: &'static str,
        /// What.
        value: u32,
    },
}

impl Record {
    /// Appends the bytes that stand for it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut words = |kind: u8, words: &[u32]| {
            out.push(kind);
            words
                .iter()
                .for_each(|w| out.extend_from_slice(&w.to_le_bytes()));
        };
        match self {
            Record::Segment {
                segment,
                descriptor,
            } => {
                words(3, &[*segment]);
                out.extend_from_slice(&descriptor.encode());
            }
            Record::Page {
                segment,
                logical,
                valid,
                birth,
            } => {
                words(4, &[*segment, *logical]);
                out.push((*valid).into());
                out.extend_from_slice(&birth.0.to_le_bytes());
            }
            Record::Blocks {
                segment,
                first,
                count,
                valid,
                birth,
            } => {
                words(5, &[*segment, u32::from(*first) | u32::from(*count) << 16]);
                out.push((*valid).into());
                out.extend_from_slice(&birth.0.to_le_bytes());
            }
            Record::Term(term) => {
                out.push(6);
                out.extend_from_slice(&term.to_le_bytes());
            }
            Record::Image { addr, block } => {
                assert_eq!(block.len(), BLOCK, "an image is one block");
                let (kind, number) = match *addr {
                    MetaAddr::Object(slot) => (1, u32::from(slot)),
                    MetaAddr::Owner(slot, part) => (2, u32::from(slot) | u32::from(part) << 16),
                    MetaAddr::Header(unit) => (3, unit),
                    MetaAddr::Page(segment) => (4, segment),
                };
                out.extend_from_slice(&[1, kind]);
                out.extend_from_slice(&number.to_le_bytes());
                out.extend_from_slice(block);
            }
            Record::Mark { slot, .. }
            | Record::Legs { slot, .. }
            | Record::Epochs { slot, .. }
            | Record::Unequal { slot } => self.encode_of_object(*slot, out),
        }
    }

    /// The rest of [`Record::encode`]: changes of an object's record.
    fn encode_of_object(&self, slot: u16, out: &mut Vec<u8>) {
        let mut begin = |kind: u8| {
            out.push(kind);
            out.extend_from_slice(&slot.to_le_bytes());
        };
        match self {
            Record::Mark {
                mark, on, region, ..
            } => {
                begin(2);
                out.extend_from_slice(&[(*mark == Mark::Resync).into(), (*on).into()]);
                out.extend_from_slice(&region.to_le_bytes());
            }
            Record::Legs { legs, .. } => {
                begin(7);
                out.extend_from_slice(&legs.generation.to_le_bytes());
                out.extend_from_slice(&legs.stale.to_le_bytes());
                out.extend_from_slice(&legs.blank.to_le_bytes());
                legs.since
                    .iter()
                    .for_each(|e| out.extend_from_slice(&e.0.to_le_bytes()));
            }
            Record::Epochs { running, held, .. } => {
                assert!(held.len() <= HELD, "at most {HELD} epochs are held");
                begin(8);
                out.extend_from_slice(&running.0.to_le_bytes());
                out.push(held.len() as u8);
                held.iter()
                    .for_each(|e| out.extend_from_slice(&e.0.to_le_bytes()));
            }
            _ => begin(9),
        }
    }

    /// Reads one record from the front of `bytes`, which it shortens.
    ///
    /// # Errors
    /// A record that cannot be; `bytes` is then of no use.
    pub fn decode(bytes: &mut &[u8]) -> Result<Self, RecordError> {
        let kind = take(bytes, 1)?[0];
        match kind {
            1 => Self::decode_image(bytes),
            2 => {
                let b = take(bytes, 8)?;
                let mark = if flag(b[2], "mark")? {
                    Mark::Resync
                } else {
                    Mark::Dirty
                };
                let (slot, on, region) = (u16_at(b, 0), flag(b[3], "mark's state")?, u32_at(b, 4));
                Ok(Record::Mark {
                    slot,
                    mark,
                    on,
                    region,
                })
            }
            3 => {
                let b = take(bytes, 4 + DESCRIPTOR)?;
                let bad = RecordError::Field {
                    field: "kind of segment",
                    value: b[4].into(),
                };
                let descriptor = Descriptor::decode(&b[4..]).map_err(|_| bad)?;
                Ok(Record::Segment {
                    segment: u32_at(b, 0),
                    descriptor,
                })
            }
            4 => {
                let b = take(bytes, 13)?;
                Ok(Record::Page {
                    segment: u32_at(b, 0),
                    logical: u32_at(b, 4),
                    valid: flag(b[8], "validity")?,
                    birth: Epoch(u32_at(b, 9)),
                })
            }
            5 => {
                let b = take(bytes, 13)?;
                let (first, count) = (u16_at(b, 4), u16_at(b, 6));
                if u32::from(first) + u32::from(count) > 256 {
                    return Err(RecordError::Field {
                        field: "block count",
                        value: count.into(),
                    });
                }
                Ok(Record::Blocks {
                    segment: u32_at(b, 0),
                    first,
                    count,
                    valid: flag(b[8], "validity")?,
                    birth: Epoch(u32_at(b, 9)),
                })
            }
            6 => Ok(Record::Term(u64_at(take(bytes, 8)?, 0))),
            7 => Self::decode_legs(bytes),
            8 => Self::decode_epochs(bytes),
            9 => Ok(Record::Unequal {
                slot: u16_at(take(bytes, 2)?, 0),
            }),
            other => Err(RecordError::Field {
                field: "kind",
                value: other.into(),
            }),
        }
    }

    fn decode_legs(bytes: &mut &[u8]) -> Result<Self, RecordError> {
        let b = take(bytes, 14 + 4 * LegsRecord::LEGS)?;
        let mut legs = LegsRecord {
            generation: u64_at(b, 2),
            stale: u16_at(b, 10),
            blank: u16_at(b, 12),
            ..LegsRecord::default()
        };
        for (i, since) in legs.since.iter_mut().enumerate() {
            *since = Epoch(u32_at(b, 14 + 4 * i));
        }
        Ok(Record::Legs {
            slot: u16_at(b, 0),
            legs,
        })
    }

    fn decode_epochs(bytes: &mut &[u8]) -> Result<Self, RecordError> {
        let b = take(bytes, 7)?;
        let (slot, running, count) = (u16_at(b, 0), Epoch(u32_at(b, 2)), usize::from(b[6]));
        if count > HELD {
            return Err(RecordError::Field {
                field: "held count",
                value: count as u32,
            });
        }
        let held: Vec<_> = take(bytes, 4 * count)?
            .chunks_exact(4)
            .map(|e| Epoch(u32_at(e, 0)))
            .collect();
        if let Some(pair) = held.windows(2).find(|pair| pair[0] >= pair[1]) {
            return Err(RecordError::Field {
                field: "held epochs",
                value: pair[1].0,
            });
        }
        Ok(Record::Epochs {
            slot,
            running,
            held,
        })
    }

    fn decode_image(bytes: &mut &[u8]) -> Result<Self, RecordError> {
        let b = take(bytes, 5)?;
        let number = u32_at(b, 1);
        let bad = RecordError::Field {
            field: "address",
            value: number,
        };
        let addr = match b[0] {
            1 => MetaAddr::Object(u16::try_from(number).map_err(|_| bad)?),
            2 => {
                let part = u8::try_from(number >> 16).map_err(|_| bad)?;
                if !(1..=OWNER_PARTS).contains(&part) {
                    return Err(bad);
                }
                MetaAddr::Owner(number as u16, part)
            }
            3 => MetaAddr::Header(number),
            4 => MetaAddr::Page(number),
            other => {
                return Err(RecordError::Field {
                    field: "address",
                    value: other.into(),
                });
            }
        };
        Ok(Record::Image {
            addr,
            block: take(bytes, BLOCK)?.to_vec(),
        })
    }
}

fn flag(byte: u8, field: &'static str) -> Result<bool, RecordError> {
    match byte {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(RecordError::Field {
            field,
            value: other.into(),
        }),
    }
}

fn take<'a>(bytes: &mut &'a [u8], n: usize) -> Result<&'a [u8], RecordError> {
    let (head, rest) = bytes.split_at_checked(n).ok_or(RecordError::Short)?;
    *bytes = rest;
    Ok(head)
}

/// Feeds any bytes to the decoder; what it accepts must encode to the same meaning.
pub fn fuzz_one(data: &[u8]) {
    let mut rest = data;
    while !rest.is_empty() {
        let before = rest;
        let Ok(record) = Record::decode(&mut rest) else {
            return;
        };
        let mut again = Vec::new();
        record.encode(&mut again);
        let mut check = again.as_slice();
        assert_eq!(Record::decode(&mut check), Ok(record));
        assert!(check.is_empty() && again.len() == before.len() - rest.len());
    }
}
