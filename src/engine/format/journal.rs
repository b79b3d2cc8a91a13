//! How records are framed: a group in the journal ring, an entry in the volatile log.
//!
//! ```text
//!  0 "SVJG" version u16 │ 6 kind u16 (1 group, 2 entry)
//!  8 disk uid [16]       24 incarnation u64     32 counter u64 (group: running block number)
//! 40 first record u64    48 records u32         52 bytes u32   56 payload CRC-32C u32
//!                         (images that follow them are not counted)
//! 60 header CRC-32C u32  64 records, in a group zero-filled to a whole block
//! ```
//! A group counts only whole: its checksums cover all of it, so a torn one is as if never written.
//! Groups follow one another in the ring and are written one at a time, each durable before the
//! next is begun; a damaged group with a good one behind it is therefore damage, not a power cut.

use super::record::{Record, RecordError};
use super::{BLOCK, DiskUid, VERSION, array_at, put, u16_at, u32_at, u64_at};

const MAGIC: u32 = u32::from_le_bytes(*b"SVJG");
/// Bytes before the records.
pub const FRAME: usize = 64;

/// Where a frame stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    /// In the journal ring.
    Group,
    /// In the volatile log.
    Entry,
}

/// The head of a group or an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Where it stands.
    pub kind: FrameKind,
    /// The disk.
    pub disk: DiskUid,
    /// The disk's incarnation when it was written.
    pub incarnation: u64,
    /// For a group, the running number of its first block.
    pub counter: u64,
    /// The number of its first record.
    pub first_record: u64,
    /// How many records, images that a checkpoint added aside.
    pub records: u32,
    /// Their bytes.
    pub bytes: u32,
    /// Their checksum.
    pub crc: u32,
}

/// Frames records that are already encoded.
pub fn encode(mut frame: Frame, payload: &[u8]) -> Vec<u8> {
    frame.bytes = payload.len() as u32;
    frame.crc = crc32c::crc32c(payload);
    let size = match frame.kind {
        FrameKind::Group => (FRAME + payload.len()).next_multiple_of(BLOCK),
        FrameKind::Entry => FRAME + payload.len(),
    };
    let mut b = vec![0; size];
    put(&mut b, 0, &MAGIC.to_le_bytes());
    put(&mut b, 4, &VERSION.to_le_bytes());
    let kind: u16 = if frame.kind == FrameKind::Group { 1 } else { 2 };
    put(&mut b, 6, &kind.to_le_bytes());
    put(&mut b, 8, &frame.disk.0);
    for (at, word) in [
        (24, frame.incarnation),
        (32, frame.counter),
        (40, frame.first_record),
    ] {
        put(&mut b, at, &word.to_le_bytes());
    }
    for (at, word) in [(48, frame.records), (52, frame.bytes), (56, frame.crc)] {
        put(&mut b, at, &word.to_le_bytes());
    }
    let crc = crc32c::crc32c(&b[..60]);
    put(&mut b, 60, &crc.to_le_bytes());
    put(&mut b, FRAME, payload);
    b
}

impl Frame {
    /// Reads the head of a frame; `None` where there is none of this disk.
    pub fn decode(b: &[u8], disk: DiskUid) -> Option<Self> {
        let b = b.get(..FRAME)?;
        let sound = u32_at(b, 60) == crc32c::crc32c(&b[..60])
            && u32_at(b, 0) == MAGIC
            && u16_at(b, 4) == VERSION
            && array_at(b, 8) == disk.0;
        let kind = match u16_at(b, 6) {
            1 => FrameKind::Group,
            2 => FrameKind::Entry,
            _ => return None,
        };
        sound.then(|| Frame {
            kind,
            disk,
            incarnation: u64_at(b, 24),
            counter: u64_at(b, 32),
            first_record: u64_at(b, 40),
            records: u32_at(b, 48),
            bytes: u32_at(b, 52),
            crc: u32_at(b, 56),
        })
    }

    /// Whether a ring block looks like the start of this group, damaged or torn: three of its four
    /// marks are right. What is left of an older group at the same place has two.
    pub fn resembles(block: &[u8], disk: DiskUid, counter: u64, first_record: u64) -> bool {
        let marks = [
            u32_at(block, 0) == MAGIC,
            array_at(block, 8) == disk.0,
            u64_at(block, 32) == counter,
            u64_at(block, 40) == first_record,
        ];
        marks.iter().filter(|m| **m).count() >= 3
    }

    /// Blocks that the group takes in the ring.
    pub fn blocks(&self) -> u64 {
        (FRAME as u64 + u64::from(self.bytes)).div_ceil(BLOCK as u64)
    }

    /// Reads the records as far as they can be read, whatever the checksum says: a planted mistake.
    pub(crate) fn records_unchecked(&self, payload: &[u8]) -> Vec<Record> {
        let mut rest = &payload[..payload.len().min(self.bytes as usize)];
        let mut records = Vec::new();
        while let Some(record) = (!rest.is_empty())
            .then(|| Record::decode(&mut rest).ok())
            .flatten()
        {
            records.push(record);
        }
        records
    }

    /// Reads the records of a frame whose payload this is; `None` where the payload is not whole.
    ///
    /// # Errors
    /// A payload that is whole and yet holds a record that cannot be.
    pub fn records(&self, payload: &[u8]) -> Option<Result<Vec<Record>, RecordError>> {
        let mut rest = payload.get(..self.bytes as usize)?;
        if crc32c::crc32c(rest) != self.crc {
            return None;
        }
        let mut records = Vec::new();
        while !rest.is_empty() {
            match Record::decode(&mut rest) {
                Ok(r) => records.push(r),
                Err(e) => return Some(Err(e)),
            }
        }
        let counted = records.len() >= self.records as usize;
        let images = |r: &Record| matches!(r, Record::Image { .. });
        let sound = counted && records.iter().skip(self.records as usize).all(images);
        let short = RecordError::Field {
            field: "count in its frame",
            value: self.records,
        };
        Some(if sound { Ok(records) } else { Err(short) })
    }
}

/// Feeds any bytes to the decoders, as they are and as the payload of a sound frame; what is
/// accepted must encode to the same meaning.
pub fn fuzz_one(data: &[u8]) {
    let disk = DiskUid([7; 16]);
    if let Some(frame) = Frame::decode(data, disk) {
        assert!(frame.blocks() >= 1);
        let _ = frame.records(&data[FRAME..]);
    }
    let Some((head, payload)) = data.split_first_chunk() else {
        return;
    };
    let frame = Frame {
        kind: FrameKind::Group,
        disk,
        incarnation: 1,
        counter: 2,
        first_record: 3,
        records: u32::from_le_bytes(*head),
        bytes: 0,
        crc: 0,
    };
    if let Some(Ok(records)) = reread(frame, payload) {
        let mut again = Vec::new();
        records.iter().for_each(|r| r.encode(&mut again));
        assert_eq!(reread(frame, &again), Some(Ok(records)));
    }
}

/// What a frame around this payload says when it is read.
fn reread(frame: Frame, payload: &[u8]) -> Option<Result<Vec<Record>, RecordError>> {
    let b = encode(frame, payload);
    Frame::decode(&b, frame.disk)?.records(&b[FRAME..])
}
