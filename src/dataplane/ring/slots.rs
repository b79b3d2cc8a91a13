//! The buffers of requests, one pool for all volumes.
//!
//! A slot is a page and 1 MiB. A request is read so that its data lies at the second page, aligned
//! for direct I/O; the header of a reply goes directly before the data, or, where a reply has no
//! data from disk, at the slot's start.
//! ```text
//! 0 reply without data | ... | 4016 request header, arguments | 4096 data, 1 MiB
//!                              4080 reply header (over the arguments, which are read by then)
//! ```
//! Free slots are in a ring that the kernel takes from when it has a request to put there, so an
//! idle volume holds no memory. The memory is shared and populated from the start: a page of a slot
//! that is absent when this process dies in the kernel's copy would be an I/O error for the
//! application.
#![allow(unsafe_code)]

use super::Queue;
use super::queue::Memory;
use crate::fuse::{DATA_AT, init::MAX_WRITE};
use crate::sys::memory::SharedMap;
use engine::io::{ReqId, VolumeId};
use io_uring::types::BufRingEntry;
use std::io;
use std::sync::atomic::{AtomicU16, Ordering};

const DATA: usize = 4096;
const STRIDE: usize = DATA + MAX_WRITE as usize;
/// The kernel's name for the group of free slots.
const GROUP: u16 = 0;
/// Bytes that a read of a request must be able to take.
const REQUEST_LEN: u32 = DATA_AT as u32 + MAX_WRITE;

/// One slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SlotId(pub u16);

/// What the answer to a request consists of, if all goes well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// So many bytes of the slot's data.
    Data(u32),
    /// The word that so many bytes were written.
    Written(u32),
    /// Nothing but success.
    Empty,
}

#[derive(Clone, Copy, Debug)]
struct Busy {
    volume: VolumeId,
    unique: u64,
    answer: Answer,
}

/// All slots.
pub(crate) struct Slots {
    memory: SharedMap,
    free_ring: SharedMap,
    busy: Vec<Option<Busy>>,
    free: usize,
    tail: u16,
}

impl Slots {
    /// `count`: a power of two, at most 32768. `memory` is not touched before the first request.
    pub(crate) fn new(count: u16, memory: SharedMap, queue: &Queue) -> io::Result<Self> {
        let n = usize::from(count);
        if !count.is_power_of_two() {
            let why = format!("{count} slots: not a power of two");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        let free_ring = SharedMap::populated(n * size_of::<BufRingEntry>())?;
        let address = free_ring.at(0) as u64;
        // SAFETY: the mapping is page-aligned and holds `count` entries; it is dropped after the
        // ring, which the event loop owns beside it.
        unsafe {
            queue
                .ring()
                .submitter()
                .register_buf_ring_with_flags(address, count, GROUP, 0)?;
        }
        let mut slots = Slots {
            memory,
            free_ring,
            busy: vec![None; n],
            free: 0,
            tail: 0,
        };
        (0..count).for_each(|slot| slots.give(SlotId(slot)));
        Ok(slots)
    }

    /// Bytes of memory that so many slots take.
    pub(crate) fn bytes(count: u16) -> usize {
        usize::from(count) * STRIDE
    }

    pub(crate) const GROUP: u16 = GROUP;
    pub(crate) const REQUEST_LEN: u32 = REQUEST_LEN;

    /// How many slots the kernel may still take.
    pub(crate) fn free(&self) -> usize {
        self.free
    }
    pub(crate) fn all_free(&self) -> bool {
        self.free == self.busy.len()
    }
    pub(crate) fn any_of(&self, volume: VolumeId) -> bool {
        self.busy.iter().flatten().any(|b| b.volume == volume)
    }

    /// The kernel took this slot for a volume's front end.
    pub(crate) fn taken(&mut self, slot: SlotId, volume: VolumeId) {
        let busy = &mut self.busy[usize::from(slot.0)];
        assert!(busy.is_none(), "slot {} was taken twice", slot.0);
        *busy = Some(Busy {
            volume,
            unique: 0,
            answer: Answer::Empty,
        });
        self.free -= 1;
    }

    /// Remembers what the request in this slot is called and how it is answered.
    pub(crate) fn describe(&mut self, slot: SlotId, unique: u64, answer: Answer) {
        let busy = self.busy_mut(slot);
        busy.unique = unique;
        busy.answer = answer;
    }

    /// The volume whose request is in this slot.
    pub(crate) fn volume(&self, slot: SlotId) -> VolumeId {
        self.busy(slot).volume
    }
    /// The front end's own name of the request.
    pub(crate) fn unique(&self, slot: SlotId) -> u64 {
        self.busy(slot).unique
    }
    /// How it is answered.
    pub(crate) fn answer(&self, slot: SlotId) -> Answer {
        self.busy(slot).answer
    }

    /// The slot may be used for another request.
    pub(crate) fn release(&mut self, slot: SlotId) {
        assert!(
            self.busy[usize::from(slot.0)].take().is_some(),
            "slot {} is free",
            slot.0
        );
        self.give(slot);
    }

    /// Copies the first bytes of a request.
    pub(crate) fn request_head(&self, slot: SlotId, head: &mut [u8]) {
        assert!(head.len() <= REQUEST_LEN as usize);
        self.memory.read(self.base(slot) + DATA - DATA_AT, head);
    }

    /// Part of the data of the request `req`, for disk I/O.
    pub(crate) fn data(&self, req: ReqId, at: u32, len: u32) -> Memory {
        let slot = SlotId(req.0 as u16);
        self.busy(slot);
        assert!(at.checked_add(len).is_some_and(|end| end <= MAX_WRITE));
        Memory {
            at: self.memory.at(self.base(slot) + DATA + at as usize),
            len,
        }
    }

    /// Puts `header` directly before the first `len` bytes of the data: one write sends both.
    pub(crate) fn before_data(&self, slot: SlotId, header: &[u8], len: u32) -> Memory {
        assert!(header.len() <= DATA && len <= MAX_WRITE);
        let at = self.base(slot) + DATA - header.len();
        self.memory.write(at, header);
        Memory {
            at: self.memory.at(at),
            len: header.len() as u32 + len,
        }
    }

    /// Puts a whole reply at the slot's start.
    pub(crate) fn whole(&self, slot: SlotId, reply: &[u8]) -> Memory {
        assert!(reply.len() <= DATA - DATA_AT);
        self.memory.write(self.base(slot), reply);
        Memory {
            at: self.memory.at(self.base(slot)),
            len: reply.len() as u32,
        }
    }

    fn base(&self, slot: SlotId) -> usize {
        usize::from(slot.0) * STRIDE
    }
    fn busy(&self, slot: SlotId) -> &Busy {
        match &self.busy[usize::from(slot.0)] {
            Some(busy) => busy,
            None => unreachable!("slot {} is free", slot.0),
        }
    }
    fn busy_mut(&mut self, slot: SlotId) -> &mut Busy {
        match &mut self.busy[usize::from(slot.0)] {
            Some(busy) => busy,
            None => unreachable!("slot {} is free", slot.0),
        }
    }

    /// Puts a slot at the end of the ring of free ones.
    fn give(&mut self, slot: SlotId) {
        let mask = self.busy.len() as u16 - 1;
        let entry = self.free_ring.at(0).cast::<BufRingEntry>();
        let start = self.memory.at(self.base(slot) + DATA - DATA_AT) as u64;
        // SAFETY: the index is inside the ring (its length is a power of two), and the kernel reads
        // the entry only after the tail covers it. The tail is a u16 of the first entry that nobody
        // else writes.
        unsafe {
            let place = entry.add(usize::from(self.tail & mask));
            (*place).set_addr(start);
            (*place).set_len(REQUEST_LEN);
            (*place).set_bid(slot.0);
            self.tail = self.tail.wrapping_add(1);
            let tail = AtomicU16::from_ptr(BufRingEntry::tail(entry).cast_mut());
            tail.store(self.tail, Ordering::Release);
        }
        self.free += 1;
    }
}
