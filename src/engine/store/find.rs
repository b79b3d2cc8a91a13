//! Which records lie behind the blocks in place: those of the journal up to its last whole group,
//! then those that only the volatile log holds. Reads only.

use super::open::OpenError;
use crate::disk::Disk;
use crate::format::journal::{FRAME, Frame, FrameKind};
use crate::format::record::Record;
use crate::format::superblock::Superblock;
use crate::format::{BLOCK, MetaAddr};
use crate::planted::{Bug, Planted};

/// Told of what is wrong, and where if it is one block: the error is given back where the work must
/// end with it, as opening does; checking writes it down and goes on.
pub type Wrong<'a> = &'a mut dyn FnMut(Option<MetaAddr>, OpenError) -> Result<(), OpenError>;

/// The way of opening: anything wrong ends it.
///
/// # Errors
/// What it was told.
pub fn give_up(_: Option<MetaAddr>, error: OpenError) -> Result<(), OpenError> {
    Err(error)
}

/// What the journal and the volatile log hold.
#[derive(Debug, PartialEq, Eq)]
pub struct Found {
    /// The records in order.
    pub records: Vec<Record>,
    /// How many of them are in the journal; the rest is only in the volatile log.
    pub durable: usize,
    /// The number of the first record that is not in the journal.
    pub next: u64,
    /// Running number of the ring block after the last group.
    pub head: u64,
}

/// The journal ring as it is on the disk.
pub struct Ring<'a> {
    superblock: &'a Superblock,
    pub(crate) bytes: Vec<u8>,
}

impl<'a> Ring<'a> {
    /// Reads the ring.
    ///
    /// # Errors
    /// The device's.
    pub fn read(disk: &mut dyn Disk, superblock: &'a Superblock) -> Result<Self, OpenError> {
        let geometry = &superblock.geometry;
        let mut bytes = vec![0; geometry.journal_blocks as usize * BLOCK];
        // Block 0 of the ring is where a running number divisible by its length falls.
        disk.read(geometry.journal_offset(0), &mut bytes)
            .map_err(OpenError::Io)?;
        Ok(Ring { superblock, bytes })
    }

    /// The block of the ring that a running number falls on.
    pub fn block(&self, counter: u64) -> &[u8] {
        let blocks = u64::from(self.superblock.geometry.journal_blocks);
        let at = (counter % blocks) as usize * BLOCK;
        &self.bytes[at..at + BLOCK]
    }

    /// The frame of the group that starts at a ring block, with as many bytes as it says, around
    /// the ring's end.
    pub fn group(&self, counter: u64) -> Option<(Frame, Vec<u8>)> {
        let blocks = u64::from(self.superblock.geometry.journal_blocks);
        let at = (counter % blocks) as usize * BLOCK;
        let frame = Frame::decode(&self.bytes[at..], self.superblock.disk)?;
        let sound = frame.kind == FrameKind::Group
            && frame.counter == counter
            && frame.incarnation <= self.superblock.incarnation
            && frame.blocks() <= blocks;
        if !sound {
            return None;
        }
        let payload = at + FRAME;
        let len = frame.bytes as usize;
        let first = len.min(self.bytes.len() - payload);
        let mut bytes = self.bytes[payload..payload + first].to_vec();
        bytes.extend_from_slice(&self.bytes[..len - first]);
        Some((frame, bytes))
    }

    /// Finds the records from the ring's start to its last whole group, then those of the volatile
    /// log. Where `wrong` lets it go on, those before the damage.
    ///
    /// # Errors
    /// Damage that `wrong` does not let pass: a group that cannot be read with a good one behind
    /// it, a volatile log that does not fit.
    pub fn find(
        &self,
        volatile: &[u8],
        planted: Planted,
        wrong: Wrong<'_>,
    ) -> Result<Found, OpenError> {
        let superblock = self.superblock;
        let end = superblock.tail + u64::from(superblock.geometry.journal_blocks);
        let mut records = Vec::new();
        let mut head = superblock.tail;
        let mut next = superblock.first_record;
        let mut unreadable = None;
        while let Some((frame, payload)) = self.group(head) {
            if frame.first_record != next || head + frame.blocks() > end {
                break;
            }
            let group = match frame.records(&payload) {
                Some(Ok(group)) => group,
                Some(Err(error)) => {
                    let counter = head;
                    unreadable = Some(OpenError::JournalRecord { counter, error });
                    break;
                }
                None if planted.has(Bug::TornGroupAccepted) => frame.records_unchecked(&payload),
                None => break,
            };
            next += u64::from(frame.records);
            head += frame.blocks();
            records.extend(group);
        }
        let behind = (head + 1..end).find(|counter| {
            let group = self.group(*counter);
            group.is_some_and(|(frame, payload)| {
                frame.first_record >= next && matches!(frame.records(&payload), Some(Ok(_)))
            })
        });
        let hole = behind.map(|behind| OpenError::JournalHole { at: head, behind });
        if let Some(error) = unreadable.or(hole) {
            wrong(None, error)?;
        }
        let durable = records.len();
        if let Err(error) = find_volatile(superblock, volatile, next, &mut records) {
            wrong(None, error)?;
        }
        Ok(Found {
            records,
            durable,
            next,
            head,
        })
    }
}

/// Adds what only the volatile log holds. An entry cut short at the end was never answered for.
fn find_volatile(
    superblock: &Superblock,
    volatile: &[u8],
    mut next: u64,
    records: &mut Vec<Record>,
) -> Result<(), OpenError> {
    let mut at = 0;
    while volatile.len() - at >= FRAME {
        let damaged = OpenError::VolatileLog {
            at: at as u64,
            why: "an entry is damaged",
        };
        let frame = Frame::decode(&volatile[at..], superblock.disk);
        let Some(frame) = frame.filter(|f| f.kind == FrameKind::Entry) else {
            return Err(damaged);
        };
        let end = at + FRAME + frame.bytes as usize;
        let Some(payload) = volatile.get(at + FRAME..end) else {
            break;
        };
        let past = frame.first_record.saturating_add(frame.records.into());
        if past > next {
            let why = if frame.first_record != next {
                Some("records are missing before an entry")
            } else if frame.incarnation != superblock.incarnation {
                Some("the disk was opened by somebody else since")
            } else {
                None
            };
            if let Some(why) = why {
                return Err(OpenError::VolatileLog { at: at as u64, why });
            }
            match frame.records(payload) {
                Some(Ok(entry)) => records.extend(entry),
                _ => return Err(damaged),
            }
            next = past;
        }
        at = end;
    }
    Ok(())
}
