//! Which records lie behind the blocks in place: those of the journal up to its last whole group,
//! then those that only the volatile log holds. Reads only.

use super::open::OpenError;
use crate::disk::Disk;
use crate::format::BLOCK;
use crate::format::journal::{FRAME, Frame, FrameKind};
use crate::format::record::Record;
use crate::format::superblock::Superblock;
use crate::planted::{Bug, Planted};

/// What the journal and the volatile log hold.
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

/// Reads the ring from its start to the last whole group, then the volatile log.
///
/// # Errors
/// Damage: a group that cannot be read with a good one behind it, a volatile log that does not fit.
pub fn find(
    disk: &mut dyn Disk,
    superblock: &Superblock,
    volatile: &[u8],
    planted: Planted,
) -> Result<Found, OpenError> {
    let geometry = &superblock.geometry;
    let blocks = u64::from(geometry.journal_blocks);
    let mut ring = vec![0; blocks as usize * BLOCK];
    // Block 0 of the ring is where a running number divisible by its length falls.
    disk.read(geometry.journal_offset(0), &mut ring)
        .map_err(OpenError::Io)?;
    let mut records = Vec::new();
    let mut head = superblock.tail;
    let mut next = superblock.first_record;
    while let Some((frame, payload)) = group_at(&ring, superblock, head) {
        if frame.first_record != next || head + frame.blocks() > superblock.tail + blocks {
            break;
        }
        let group = match frame.records(&payload) {
            Some(group) => group.map_err(|e| OpenError::JournalRecord {
                counter: head,
                error: e,
            })?,
            None if planted.has(Bug::TornGroupAccepted) => frame.records_unchecked(&payload),
            None => break,
        };
        next += u64::from(frame.records);
        head += frame.blocks();
        records.extend(group);
    }
    if let Some(behind) = (head + 1..superblock.tail + blocks).find(|counter| {
        let group = group_at(&ring, superblock, *counter);
        group.is_some_and(|(frame, payload)| {
            frame.first_record >= next && matches!(frame.records(&payload), Some(Ok(_)))
        })
    }) {
        return Err(OpenError::JournalHole { at: head, behind });
    }
    let durable = records.len();
    find_volatile(superblock, volatile, next, &mut records)?;
    Ok(Found {
        records,
        durable,
        next,
        head,
    })
}

/// The frame of the group that starts at a ring block, with as many bytes as it says, around the
/// ring's end.
fn group_at(ring: &[u8], superblock: &Superblock, counter: u64) -> Option<(Frame, Vec<u8>)> {
    let blocks = u64::from(superblock.geometry.journal_blocks);
    let at = (counter % blocks) as usize * BLOCK;
    let frame = Frame::decode(&ring[at..], superblock.disk)?;
    let sound = frame.kind == FrameKind::Group
        && frame.counter == counter
        && frame.incarnation <= superblock.incarnation
        && frame.blocks() <= blocks;
    if !sound {
        return None;
    }
    let payload = at + FRAME;
    let len = frame.bytes as usize;
    let first = len.min(ring.len() - payload);
    let mut bytes = ring[payload..payload + first].to_vec();
    bytes.extend_from_slice(&ring[..len - first]);
    Some((frame, bytes))
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
        let past = frame.first_record + u64::from(frame.records);
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
