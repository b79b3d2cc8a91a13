//! The simulated disk: a volatile cache over a durable image.
//!
//! - A read returns the newest content, whether it is durable or not.
//! - A write joins `pending` and completes later, in any order. It is seen by reads from its start
//!   or, where the disk is so set, from its completion: a device orders nothing that runs at once.
//! - A flush makes durable exactly the writes that had *completed when it was issued*.
//! - A write with `fua` is durable at its own completion, alone.
//! - A power cut keeps, drops or tears each pending write, sector by sector; nothing outside a
//!   written range changes.
//! - A flush may fail once: what it would have covered is gone, and the next flush succeeds.
//!
//! The disk knows no time: the world says when something completes.

mod image;
#[cfg(test)]
mod tests;

use crate::content::{BLOCK, Content, SECTORS, Sector};
use crate::rng::Rng;
use engine::disk::Disk;
use engine::io::IoFault;
use image::Image;
use smallvec::SmallVec;
use std::collections::BTreeSet;

/// The error of the medium.
pub const EIO: IoFault = IoFault { errno: 5 };
const EINVAL: IoFault = IoFault { errno: 22 };

/// What a write carries, block by block.
pub type Data = SmallVec<[Content; 4]>;

/// How a power cut treats the blocks of a write that it tears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tear {
    /// Blocks of 4 KiB are written whole or not at all.
    Block,
    /// Sectors of 512 bytes are written whole or not at all.
    Sector,
    /// As `Sector`, and a sector that was being written may hold random bytes.
    Garbage,
}

/// How a disk behaves within the rules.
#[derive(Clone, Copy, Debug)]
pub struct Habits {
    /// What a power cut may leave.
    pub tear: Tear,
    /// Reads see a write from its completion only, not from its start.
    pub seen_late: bool,
    /// Of 100 pending writes, how many a power cut keeps whole, and how many it tears.
    pub kept: u64,
    /// See `kept`.
    pub torn: u64,
}

impl Default for Habits {
    fn default() -> Self {
        Habits {
            tear: Tear::Sector,
            seen_late: false,
            kept: 40,
            torn: 30,
        }
    }
}

/// Names a write until it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WriteId(u64);

/// The moment at which a flush was issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlushPoint(u64);

#[derive(Clone, Debug)]
struct Write {
    id: WriteId,
    block: u64,
    data: Data,
    fua: bool,
    /// When reads began to see it; later is newer. Zero: not yet.
    order: u64,
    /// When it completed. Zero: not yet.
    completed: u64,
}

/// One disk.
#[derive(Clone, Debug)]
pub struct SimDisk {
    blocks: u64,
    habits: Habits,
    durable: Image,
    newest: Image,
    pending: Vec<Write>,
    /// Counts every start and end of a write and every start of a flush.
    clock: u64,
    unreadable: BTreeSet<u64>,
    dead: bool,
    fail_flush: bool,
    /// How many synchronous calls are still answered; then the power is gone.
    calls_left: Option<u64>,
}

impl SimDisk {
    /// An empty disk of so many blocks.
    pub fn new(blocks: u64, habits: Habits) -> Self {
        SimDisk {
            blocks,
            habits,
            durable: Image::new(blocks),
            newest: Image::new(blocks),
            pending: Vec::new(),
            clock: 0,
            unreadable: BTreeSet::new(),
            dead: false,
            fail_flush: false,
            calls_left: None,
        }
    }

    /// How it behaves.
    pub fn habits(&self) -> Habits {
        self.habits
    }

    /// Whether the range is a whole number of blocks within the disk.
    pub fn holds(&self, offset: u64, len: u64) -> bool {
        let block = BLOCK as u64;
        offset.is_multiple_of(block)
            && len.is_multiple_of(block)
            && offset
                .checked_add(len)
                .is_some_and(|end| end <= self.blocks * block)
    }

    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// What reads see of a block now.
    pub fn peek(&self, block: u64) -> &Content {
        self.newest.get(block)
    }

    /// Reads blocks, as a completed read does.
    ///
    /// # Errors
    /// [`EIO`] where the disk is dead or a block cannot be read.
    pub fn read_blocks(&self, block: u64, count: u64) -> Result<Data, IoFault> {
        self.readable(block, count)?;
        Ok((block..block + count)
            .map(|b| self.newest.get(b).clone())
            .collect())
    }

    fn readable(&self, block: u64, count: u64) -> Result<(), IoFault> {
        let bad = self.dead || self.unreadable.range(block..block + count).next().is_some();
        if bad { Err(EIO) } else { Ok(()) }
    }

    /// Starts a write.
    ///
    /// # Panics
    /// Where it reaches past the end of the disk.
    pub fn start_write(&mut self, block: u64, data: Data, fua: bool) -> WriteId {
        assert!(block + data.len() as u64 <= self.blocks, "past the end");
        let now = self.tick();
        let mut write = Write {
            id: WriteId(now),
            block,
            data,
            fua,
            order: 0,
            completed: 0,
        };
        if !self.habits.seen_late {
            show(&mut self.newest, &mut write, now);
        }
        self.pending.push(write);
        WriteId(now)
    }

    /// Ends a write.
    ///
    /// # Errors
    /// [`EIO`] where the disk is dead.
    ///
    /// # Panics
    /// Where no such write is in flight.
    pub fn end_write(&mut self, id: WriteId) -> Result<(), IoFault> {
        if self.dead {
            return Err(EIO);
        }
        let now = self.tick();
        let at = self.find(id);
        let write = &mut self.pending[at];
        assert_eq!(write.completed, 0, "a write ends once");
        write.completed = now;
        if write.order == 0 {
            show(&mut self.newest, write, now);
        }
        for i in 0..write.data.len() as u64 {
            self.unreadable.remove(&(write.block + i));
        }
        if write.fua {
            let write = self.pending.remove(at);
            harden(&mut self.durable, &write);
        }
        Ok(())
    }

    /// Ends a write with an error; each of its blocks was written or not.
    ///
    /// # Panics
    /// Where no such write is in flight.
    pub fn fail_write(&mut self, id: WriteId, rng: &mut Rng) {
        let at = self.find(id);
        self.settle(at, rng);
        self.pending.retain(|w| !w.data.is_empty());
    }

    fn find(&self, id: WriteId) -> usize {
        let at = self.pending.iter().rposition(|w| w.id == id);
        assert!(at.is_some(), "no such write is in flight");
        at.unwrap_or_default()
    }

    /// Cuts the write at `at` in one-block writes, of which each is done or never was.
    fn settle(&mut self, at: usize, rng: &mut Rng) {
        let now = self.tick();
        let all = rng.below(3);
        let write = &mut self.pending[at];
        let (first, order) = (write.block, write.order);
        let data = std::mem::take(&mut write.data);
        let count = data.len() as u64;
        for (content, block) in data.into_iter().zip(first..) {
            if all == 0 || (all == 1 && rng.chance(1, 2)) {
                let id = WriteId(self.tick());
                let mut done = Write {
                    id,
                    block,
                    data: SmallVec::from_iter([content]),
                    fua: false,
                    order,
                    completed: now,
                };
                if order == 0 {
                    show(&mut self.newest, &mut done, now);
                }
                self.pending.push(done);
            }
        }
        self.refresh(first, count);
    }

    /// Shows reads again what the durable image and the pending writes amount to.
    fn refresh(&mut self, first: u64, count: u64) {
        for block in first..first + count {
            let (mut content, mut order) = (self.durable.get(block), self.durable.order(block));
            for w in &self.pending {
                let inside = w.block <= block && block < w.block + w.data.len() as u64;
                if inside && w.order > order {
                    (content, order) = (&w.data[(block - w.block) as usize], w.order);
                }
            }
            let content = content.clone();
            self.newest.set(block, content, order);
        }
    }

    /// Issues a flush.
    pub fn start_flush(&mut self) -> FlushPoint {
        FlushPoint(self.tick())
    }

    /// Ends a flush: what had completed when it was issued is durable.
    ///
    /// # Errors
    /// [`EIO`] where the disk is dead, or once after [`SimDisk::fail_next_flush`]: what the flush
    /// would have covered is then lost.
    pub fn end_flush(&mut self, point: FlushPoint) -> Result<(), IoFault> {
        if self.dead {
            return Err(EIO);
        }
        let covered = |w: &Write| w.completed != 0 && w.completed < point.0;
        let (mut gone, left): (Vec<_>, Vec<_>) = std::mem::take(&mut self.pending)
            .into_iter()
            .partition(covered);
        self.pending = left;
        gone.sort_unstable_by_key(|w| w.order);
        let failed = std::mem::take(&mut self.fail_flush);
        for write in &gone {
            if failed {
                self.refresh(write.block, write.data.len() as u64);
            } else {
                harden(&mut self.durable, write);
            }
        }
        if failed { Err(EIO) } else { Ok(()) }
    }

    /// The process that wrote is gone; its writes still in flight were done, or not, or in part.
    pub fn process_crash(&mut self, rng: &mut Rng) {
        let mut at = 0;
        let in_flight = self.pending.len();
        while at < in_flight {
            if self.pending[at].completed == 0 {
                self.settle(at, rng);
            }
            at += 1;
        }
        self.pending.retain(|w| !w.data.is_empty());
    }

    /// The power fails: each pending write is kept, dropped or torn, overlapping ones in any order.
    pub fn power_cut(&mut self, rng: &mut Rng) {
        let mut lost = std::mem::take(&mut self.pending);
        rng.shuffle(&mut lost);
        let now = self.tick();
        for write in &lost {
            let fate = rng.below(100);
            for (content, block) in write.data.iter().zip(write.block..) {
                let overtaken = write.order != 0 && write.order < self.durable.order(block);
                let sides = if fate < self.habits.kept {
                    [Sector::New; SECTORS]
                } else if fate < self.habits.kept + self.habits.torn {
                    torn_block(self.habits.tear, rng)
                } else {
                    [Sector::Old; SECTORS]
                };
                if !overtaken && sides != [Sector::Old; SECTORS] {
                    let mixed = content.mix(self.durable.get(block), sides);
                    self.durable.set(block, mixed, self.durable.order(block));
                }
            }
        }
        for write in &lost {
            for block in write.block..write.block + write.data.len() as u64 {
                self.newest.set(block, self.durable.get(block).clone(), now);
            }
        }
        self.calls_left = None;
        self.fail_flush = false;
    }

    /// Whether anything would be lost by a power cut.
    pub fn is_dirty(&self) -> bool {
        !self.pending.is_empty()
    }

    /// The next flush fails.
    pub fn fail_next_flush(&mut self) {
        self.fail_flush = true;
    }

    /// A block becomes unreadable until it is written.
    pub fn spoil(&mut self, block: u64) {
        self.unreadable.insert(block);
    }

    /// All blocks can be read again.
    pub fn heal(&mut self) {
        self.unreadable.clear();
        self.fail_flush = false;
        self.dead = false;
    }

    /// The disk answers nothing but errors from now on.
    pub fn die(&mut self) {
        self.dead = true;
    }

    /// Whether the disk died.
    pub fn is_dead(&self) -> bool {
        self.dead
    }

    /// After so many more synchronous calls the power fails: all later ones are errors.
    pub fn cut_after(&mut self, calls: u64) {
        self.calls_left = Some(calls);
    }

    /// The power stays on after all.
    pub fn cut_never(&mut self) {
        self.calls_left = None;
    }

    fn call(&mut self, offset: u64, len: usize) -> Result<(u64, u64), IoFault> {
        if let Some(left) = &mut self.calls_left {
            *left = left.checked_sub(1).ok_or(EIO)?;
        }
        if !self.holds(offset, len as u64) {
            return Err(EINVAL);
        }
        Ok((offset / BLOCK as u64, (len / BLOCK) as u64))
    }
}

/// For opening, checking and formatting: calls that return when they are done.
impl Disk for SimDisk {
    fn size(&self) -> u64 {
        self.blocks * BLOCK as u64
    }
    fn read(&mut self, offset: u64, buf: &mut [u8]) -> Result<(), IoFault> {
        let (block, count) = self.call(offset, buf.len())?;
        self.readable(block, count)?;
        for (chunk, b) in buf.chunks_exact_mut(BLOCK).zip(block..) {
            self.newest.get(b).fill(chunk);
        }
        Ok(())
    }
    fn write(&mut self, offset: u64, data: &[u8]) -> Result<(), IoFault> {
        let (block, _) = self.call(offset, data.len())?;
        let data = data.chunks_exact(BLOCK).map(Content::bytes).collect();
        let id = self.start_write(block, data, false);
        self.end_write(id)
    }
    fn flush(&mut self) -> Result<(), IoFault> {
        self.call(0, 0)?;
        let point = self.start_flush();
        self.end_flush(point)
    }
}

fn show(newest: &mut Image, write: &mut Write, now: u64) {
    write.order = now;
    for (content, block) in write.data.iter().zip(write.block..) {
        newest.set(block, content.clone(), now);
    }
}

fn harden(durable: &mut Image, write: &Write) {
    for (content, block) in write.data.iter().zip(write.block..) {
        if durable.order(block) < write.order {
            durable.set(block, content.clone(), write.order);
        }
    }
}

fn torn_block(tear: Tear, rng: &mut Rng) -> [Sector; SECTORS] {
    let of_sector = |rng: &mut Rng| match tear {
        Tear::Garbage if rng.chance(1, 4) => Sector::Garbage,
        _ if rng.chance(1, 2) => Sector::New,
        _ => Sector::Old,
    };
    match tear {
        Tear::Block => [of_sector(rng); SECTORS],
        Tear::Sector | Tear::Garbage => std::array::from_fn(|_| of_sector(rng)),
    }
}
