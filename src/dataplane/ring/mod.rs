//! The event loop of the I/O process: one thread, one io_uring, every volume and every disk of the
//! node.
//!
//! ```text
//! front end: request read into a slot -> Machine::submit -> effects -> disk I/O on the slot
//!            reply written from it <- Reply effect <- Machine::complete <- disk I/O ends
//! ```
//! One system call submits everything that a turn produced and waits for whatever comes next.
//! Nothing wakes an idle loop but the parent's heartbeat.
//!
//! Invariants:
//! - Effects are carried out in the order given; an append is in the volatile log before a later
//!   reply.
//! - A slot belongs to one request from its read to the end of its reply's write.
//! - Disks are plain descriptors, never registered files: a dead process's claim ends with its last
//!   I/O, not with its ring.

mod effects;
mod ios;
mod queue;
mod slots;

pub(crate) use queue::{Cqe, Queue, Token};
pub(crate) use slots::{Answer, SlotId, Slots};

use crate::disk::DiskFile;
use crate::front::{Driver, FuseFront, Incoming};
use crate::machine::Machine;
use crate::sys::memory::SharedMap;
use crate::sys::process;
use crate::volatile_log::VolatileLog;
use engine::io::{DiskIndex, Effects, Notice, ReqId, VolumeId};
use ios::{Ended, Ios};
use std::collections::VecDeque;
use std::io;
use std::time::Duration;

/// How long a stopping loop waits for requests that it has read; its successor gets the rest.
const DRAIN_LIMIT: u64 = 2_000_000_000;

/// How large the loop is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Requests under way at once, of all volumes together: a power of two. Each takes 1 MiB of
    /// memory that is never paged out.
    pub slots: u16,
}

impl Size {
    /// Bytes of memory that the slots take.
    pub(crate) fn bytes(self) -> usize {
        Slots::bytes(self.slots)
    }
}

impl Default for Size {
    fn default() -> Self {
        Size { slots: 64 }
    }
}

/// Why a turn of the loop ended with something for its owner to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Wake {
    /// Nothing in particular.
    Io,
    /// This descriptor is ready; watch it again to hear more.
    Ready(u32),
    /// Everything that was read is answered, after [`Loop::stop`].
    Drained,
}

/// A disk as the loop uses it.
struct Port {
    file: DiskFile,
    log: VolatileLog,
}

/// The event loop around one machine.
pub struct Loop<M> {
    machine: M,
    queue: Queue,
    slots: Slots,
    ios: Ios,
    disks: Vec<Option<Port>>,
    fronts: Vec<Option<Box<dyn Driver>>>,
    effects: Effects,
    /// I/Os that ended without the ring: those of disks behind a power-cut cache.
    ended: VecDeque<Ended>,
    scratch: effects::Scratch,
    notices: VecDeque<Notice>,
    answers: VecDeque<effects::Answered>,
    cqes: Vec<Cqe>,
    /// Front ends that may have to ask the kernel for requests again.
    unarmed: Vec<u32>,
    wakes: VecDeque<Wake>,
    stop_at: Option<u64>,
}

impl<M: Machine> Loop<M> {
    /// Makes the ring, over the memory of the slots ([`Size::bytes`]), which a predecessor may
    /// still use until the disks are claimed. To be called in the thread that will run it.
    ///
    /// # Errors
    /// Where the kernel refuses the ring.
    pub(crate) fn new(machine: M, size: Size, memory: SharedMap) -> io::Result<Self> {
        let queue = Queue::new()?;
        let slots = Slots::new(size.slots, memory, &queue)?;
        Ok(Loop {
            machine,
            queue,
            slots,
            ios: Ios::default(),
            disks: Vec::new(),
            fronts: Vec::new(),
            effects: Effects::new(),
            ended: VecDeque::new(),
            scratch: effects::Scratch::default(),
            notices: VecDeque::new(),
            answers: VecDeque::new(),
            cqes: Vec::new(),
            unarmed: Vec::new(),
            wakes: VecDeque::new(),
            stop_at: None,
        })
    }

    /// The machine.
    pub fn machine(&self) -> &M {
        &self.machine
    }

    /// Lets the machine do something and carries out what it wants.
    pub fn with_machine<T>(&mut self, f: impl FnOnce(&mut M, u64, &mut Effects) -> T) -> T {
        let result = f(&mut self.machine, process::now(), &mut self.effects);
        self.settle();
        result
    }

    /// Adds a disk that is claimed, with its log.
    pub fn add_disk(&mut self, disk: DiskIndex, file: DiskFile, log: VolatileLog) {
        let at = usize::from(disk.0);
        if self.disks.len() <= at {
            self.disks.resize_with(at + 1, || None);
        }
        assert!(self.disks[at].is_none(), "disk index {at} is taken");
        self.disks[at] = Some(Port { file, log });
    }

    /// Whether a disk has I/O under way.
    pub fn is_busy(&self, disk: DiskIndex) -> bool {
        self.ios.any_on(disk)
    }

    /// Takes a disk away. The machine must have no I/O on it under way.
    pub fn remove_disk(&mut self, disk: DiskIndex) -> Option<(DiskFile, VolatileLog)> {
        assert!(!self.ios.any_on(disk), "disk {} has I/O under way", disk.0);
        let port = self.disks.get_mut(usize::from(disk.0))?.take()?;
        Some((port.file, port.log))
    }

    /// Adds a FUSE connection and starts to serve it.
    pub fn add_fuse(&mut self, front: FuseFront) {
        self.add_front(front.volume(), Box::new(front));
    }

    /// Adds the front end of a volume and starts to serve it.
    pub(crate) fn add_front(&mut self, volume: VolumeId, front: Box<dyn Driver>) {
        let at = volume.0 as usize;
        if self.fronts.len() <= at {
            self.fronts.resize_with(at + 1, || None);
        }
        assert!(self.fronts[at].is_none(), "volume {at} has a front end");
        self.fronts[at] = Some(front);
        self.unarmed.push(volume.0);
        self.arm();
    }

    /// Shows another size of a volume, in bytes.
    pub fn resize_front(&mut self, volume: VolumeId, size: u64) {
        if let Some(Some(front)) = self.fronts.get_mut(volume.0 as usize) {
            front.resize(size);
        }
    }

    /// Stops a volume's front end; [`Loop::remove_front`] once it is quiet.
    pub fn stop_front(&mut self, volume: VolumeId) {
        if let Some(Some(front)) = self.fronts.get_mut(volume.0 as usize) {
            front.stop(&mut self.queue);
        }
    }

    /// Removes a front end that was stopped; whether it is gone. It is not while a request is under
    /// way.
    pub fn remove_front(&mut self, volume: VolumeId) -> bool {
        let at = volume.0 as usize;
        let Some(Some(front)) = self.fronts.get(at) else {
            return true;
        };
        if !front.is_quiet() || self.slots.any_of(volume) {
            return false;
        }
        self.fronts[at] = None;
        true
    }

    /// Tells, once, when this descriptor can be read: as [`Wake::Ready`] with this name.
    pub fn watch(&mut self, fd: &impl std::os::fd::AsFd, name: u32) {
        self.queue.poll(fd.as_fd(), Token::Watch(name));
    }

    /// Tells, once, when this descriptor can take more bytes: as [`Wake::Ready`] with this name.
    pub fn watch_writable(&mut self, fd: &impl std::os::fd::AsFd, name: u32) {
        self.queue.poll_writable(fd.as_fd(), Token::Watch(name));
    }

    /// What the machine told by itself, oldest first.
    pub fn next_notice(&mut self) -> Option<Notice> {
        self.notices.pop_front()
    }

    /// What the machine answered to commands, oldest first.
    pub fn next_answer(&mut self) -> Option<effects::Answered> {
        self.answers.pop_front()
    }

    /// Reads no more requests; [`Wake::Drained`] comes when those that were read are answered, or
    /// cannot be in time.
    pub fn stop(&mut self) {
        if self.stop_at.is_none() {
            self.stop_at = Some(process::now() + DRAIN_LIMIT);
            for front in self.fronts.iter_mut().flatten() {
                front.stop(&mut self.queue);
            }
        }
    }

    /// Submits what there is, waits for something to happen (at most so long), deals with it.
    ///
    /// # Errors
    /// Where the ring itself fails.
    pub fn turn(&mut self, limit: Option<Duration>) -> io::Result<Wake> {
        if let Some(wake) = self.wakes.pop_front() {
            return Ok(wake);
        }
        if self.is_drained() {
            return Ok(Wake::Drained);
        }
        let limit = self.time_to_wait(limit);
        let mut cqes = std::mem::take(&mut self.cqes);
        // A stopping loop, and a front end without a slot, wait for the end of replies.
        let past_replies = self.stop_at.is_none() && self.unarmed.is_empty();
        self.queue.turn(limit, past_replies, &mut cqes)?;
        for cqe in cqes.drain(..) {
            self.completed(cqe);
        }
        self.cqes = cqes;
        let now = process::now();
        if self.machine.next_wake().is_some_and(|at| at <= now) {
            self.machine.tick(now, &mut self.effects);
            self.settle();
        }
        self.arm();
        Ok(self.wakes.pop_front().unwrap_or(Wake::Io))
    }

    fn is_drained(&self) -> bool {
        let Some(stop_at) = self.stop_at else {
            return false;
        };
        let quiet = self.fronts.iter().flatten().all(|f| f.is_quiet()) && self.slots.all_free();
        quiet || process::now() >= stop_at
    }

    fn time_to_wait(&self, limit: Option<Duration>) -> Option<Duration> {
        let wakes = [self.machine.next_wake(), self.stop_at];
        let first = wakes.into_iter().flatten().min();
        let wait = first.map(|at| Duration::from_nanos(at.saturating_sub(process::now())));
        match (wait, limit) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    fn completed(&mut self, cqe: Cqe) {
        match cqe.token {
            Token::Watch(name) => self.wakes.push_back(Wake::Ready(name)),
            Token::Front(volume) => self.front_event(volume, cqe),
            Token::Io(index) => {
                if let Some(ended) = self.ios.completed(index, cqe.result, &mut self.queue) {
                    self.ended.push_back(ended);
                    self.settle();
                }
            }
            Token::Reply(slot) => {
                let slot = SlotId(slot);
                let volume = self.slots.volume(slot);
                if let Some(Some(front)) = self.fronts.get_mut(volume.0 as usize) {
                    front.replied(cqe.result);
                }
                self.slots.release(slot);
            }
            Token::Nothing => {}
        }
    }

    fn front_event(&mut self, volume: u32, cqe: Cqe) {
        let Some(Some(front)) = self.fronts.get_mut(volume as usize) else {
            return;
        };
        let incoming = front.event(&cqe, &mut self.slots, &mut self.queue);
        if front.is_quiet() {
            self.unarmed.push(volume);
        }
        match incoming {
            Incoming::Nothing => {}
            Incoming::Request { slot, op } => {
                let req = ReqId(u64::from(slot.0));
                let now = process::now();
                self.machine
                    .submit(now, VolumeId(volume), req, op, &mut self.effects);
                self.settle();
            }
        }
    }

    /// Front ends that cannot ask for more, because no slot is free, are tried again next turn.
    fn arm(&mut self) {
        if self.stop_at.is_some() {
            self.unarmed.clear();
        }
        let (fronts, slots, queue) = (&mut self.fronts, &self.slots, &mut self.queue);
        self.unarmed
            .retain(|volume| match fronts.get_mut(*volume as usize) {
                Some(Some(front)) => !front.arm(queue, slots),
                _ => false,
            });
    }
}

impl<M> Drop for Loop<M> {
    fn drop(&mut self) {
        // The kernel may still write to the memory of I/Os under way: it is never used for anything
        // else. What drops a loop is the end of its process.
        std::mem::forget(std::mem::take(&mut self.ios));
        std::mem::forget(std::mem::take(&mut self.scratch));
    }
}
