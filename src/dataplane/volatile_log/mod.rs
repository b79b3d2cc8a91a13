//! The volatile log of a disk: metadata that was acknowledged and is not yet durable on the disk.
//!
//! It is a ring of bytes in a memfd that the keeper holds, so it outlives the data plane but not
//! the node: a killed process loses no acknowledged write, a power cut only what was not flushed.
//! What the bytes mean is the engine's business.
//!
//! ```text
//! 0 "SVVLOG1\0" | 8 capacity u64 | 16 start u64 | 24 end u64 | 4096.. the ring
//! byte n of the log is at n % capacity of the ring
//! ```
//! Invariants:
//! - `start <= end <= start + capacity`; both only grow. Bytes are in the ring before `end` covers
//!   them, so a process killed at any instruction leaves a log that ends between two appends.
//! - One process at a time: a log is opened only after the disk it belongs to was claimed.
#![allow(unsafe_code)]

#[cfg(test)]
mod tests;

use crate::sys::memory::{SharedMap, memfd};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

const MAGIC: [u8; 8] = *b"SVVLOG1\0";
const CAPACITY_AT: usize = 8;
const START_AT: usize = 16;
const END_AT: usize = 24;
const RING_AT: usize = 4096;

/// Why a log cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The memory cannot be had.
    #[error("volatile log: {0}")]
    Memory(#[from] io::Error),
    /// The file is no log of this version.
    #[error("volatile log: not a log of version 1 ({0} bytes)")]
    Format(u64),
    /// Start, end and capacity contradict each other.
    #[error("volatile log: start {start}, end {end}, capacity {capacity}")]
    Positions {
        /// First byte that counts.
        start: u64,
        /// One past the last.
        end: u64,
        /// Bytes in the ring.
        capacity: u64,
    },
    /// No room for an append; nothing was changed.
    #[error("volatile log: {wanted} bytes do not fit, {free} of {capacity} are free")]
    Full {
        /// Bytes to append.
        wanted: u64,
        /// Bytes free.
        free: u64,
        /// Bytes in the ring.
        capacity: u64,
    },
}

/// The log of one disk.
#[derive(Debug)]
pub struct VolatileLog {
    map: SharedMap,
    capacity: u64,
    start: u64,
    end: u64,
}

impl VolatileLog {
    /// A new, empty log of `capacity` bytes, and the memfd to give to the keeper.
    ///
    /// # Errors
    /// Where the memory cannot be had.
    pub fn create(capacity: usize) -> Result<(Self, OwnedFd), LogError> {
        let fd = memfd(c"stratovol-log", RING_AT + capacity)?;
        let map = SharedMap::of_file(fd.as_fd(), RING_AT + capacity)?;
        let capacity = capacity as u64;
        map.write(CAPACITY_AT, &capacity.to_le_bytes());
        map.write(0, &MAGIC);
        Ok((
            VolatileLog {
                map,
                capacity,
                start: 0,
                end: 0,
            },
            fd,
        ))
    }

    /// The log that a predecessor left. The disk must be claimed: the predecessor writes no more.
    ///
    /// # Errors
    /// Where it is none.
    pub fn open(fd: BorrowedFd<'_>) -> Result<Self, LogError> {
        let len = std::fs::File::from(fd.try_clone_to_owned()?)
            .metadata()?
            .len();
        if len <= RING_AT as u64 || len > isize::MAX as u64 {
            return Err(LogError::Format(len));
        }
        let map = SharedMap::of_file(fd, len as usize)?;
        let mut fixed = [0; 32];
        map.read(0, &mut fixed);
        let word = |at: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&fixed[at..at + 8]);
            u64::from_le_bytes(bytes)
        };
        let (capacity, start, end) = (word(CAPACITY_AT), word(START_AT), word(END_AT));
        if !fixed.starts_with(&MAGIC) || capacity != len - RING_AT as u64 {
            return Err(LogError::Format(len));
        }
        if end.checked_sub(start).is_none_or(|used| used > capacity) {
            return Err(LogError::Positions {
                start,
                end,
                capacity,
            });
        }
        Ok(VolatileLog {
            map,
            capacity,
            start,
            end,
        })
    }

    /// Appends; on return the bytes outlive this process.
    ///
    /// # Errors
    /// [`LogError::Full`], and nothing was changed.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), LogError> {
        let (wanted, free) = (bytes.len() as u64, self.capacity - self.len());
        if wanted > free {
            return Err(LogError::Full {
                wanted,
                free,
                capacity: self.capacity,
            });
        }
        let at = (self.end % self.capacity) as usize;
        let before_wrap = bytes.len().min(self.capacity as usize - at);
        self.map.write(RING_AT + at, &bytes[..before_wrap]);
        self.map.write(RING_AT, &bytes[before_wrap..]);
        self.end += wanted;
        self.publish(END_AT, self.end);
        Ok(())
    }

    /// Drops the first `bytes` bytes.
    pub fn trim(&mut self, bytes: u64) {
        assert!(
            bytes <= self.len(),
            "trim of {bytes} bytes, the log has {}",
            self.len()
        );
        self.start += bytes;
        self.publish(START_AT, self.start);
    }

    /// Everything in the log, in order.
    pub fn read_all(&self) -> Vec<u8> {
        let mut all = vec![0; self.len() as usize];
        let at = (self.start % self.capacity) as usize;
        let before_wrap = all.len().min(self.capacity as usize - at);
        let (first, second) = all.split_at_mut(before_wrap);
        self.map.read(RING_AT + at, first);
        self.map.read(RING_AT, second);
        all
    }

    /// Bytes in the log.
    pub fn len(&self) -> u64 {
        self.end - self.start
    }
    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Stores a position after everything that was written before it.
    fn publish(&self, at: usize, position: u64) {
        assert!(at.is_multiple_of(8) && at + 8 <= RING_AT);
        // SAFETY: inside the mapping and aligned (asserted; the mapping starts at a page); the
        // memory lives as long as `self` and is accessed by nobody else (one process at a time).
        let word = unsafe { AtomicU64::from_ptr(self.map.at(at).cast()) };
        word.store(position.to_le(), Ordering::Release);
    }
}
