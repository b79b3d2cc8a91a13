//! Records that are not durable on the disk yet: in memory, and in the volatile log.

use crate::format::journal::{self, Frame, FrameKind};
use crate::format::record::Record;
use layout::DiskUid;

/// The records since the last group.
#[derive(Default)]
pub struct Log {
    /// The records, encoded.
    pub payload: Vec<u8>,
    /// How many.
    pub records: u32,
    /// The number of the first.
    pub first: u64,
    /// Bytes that they take in the volatile log.
    pub volatile: u64,
    /// Where in `payload` those begin that are not in the volatile log yet, and how many they are.
    unsent: (usize, u32),
}

impl Log {
    /// An empty log whose next record has this number.
    pub fn new(first: u64) -> Self {
        Log {
            first,
            ..Log::default()
        }
    }
    /// The number that the next record gets.
    pub fn next(&self) -> u64 {
        self.first + u64::from(self.records)
    }
    /// Adds a record.
    pub fn push(&mut self, record: &Record) {
        record.encode(&mut self.payload);
        self.records += 1;
        self.unsent.1 += 1;
    }
    /// The entry for the volatile log that holds what it does not hold yet.
    pub fn unsent(&mut self, disk: DiskUid, incarnation: u64) -> Option<Vec<u8>> {
        let (at, records) = self.unsent;
        if records == 0 {
            return None;
        }
        let frame = Frame {
            kind: FrameKind::Entry,
            disk,
            incarnation,
            counter: 0,
            first_record: self.next() - u64::from(records),
            records,
            bytes: 0,
            crc: 0,
        };
        let entry = journal::encode(frame, &self.payload[at..]);
        self.volatile += entry.len() as u64;
        self.unsent = (self.payload.len(), 0);
        Some(entry)
    }
    /// Takes everything for a group and leaves an empty log behind.
    pub fn take(&mut self) -> Log {
        assert_eq!(self.unsent.1, 0, "all records are in the volatile log");
        let next = self.next();
        std::mem::replace(self, Log::new(next))
    }
}
