//! The disk I/Os under way: what they belong to, and the rest of a short one.

use super::queue::{Memory, Queue};
use crate::sys::memory::AlignedBuf;
use engine::io::{DiskIndex, IoFault, IoId};
use std::os::fd::RawFd;

/// What an I/O does.
#[derive(Clone, Copy, Debug)]
pub(super) enum Action {
    Read(Memory),
    Write(Memory, bool),
    Flush,
}

/// An I/O to start.
#[derive(Debug)]
pub(super) struct Io {
    pub id: IoId,
    pub disk: DiskIndex,
    pub fd: RawFd,
    pub offset: u64,
    pub action: Action,
    /// The memory of metadata; `None` where a slot or a scratch buffer is used.
    pub own: Option<AlignedBuf>,
}

/// An I/O that ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub id: IoId,
    pub result: Result<(), IoFault>,
    /// What was read, where it was metadata.
    pub bytes: Option<AlignedBuf>,
}

/// The table.
#[derive(Default)]
pub(super) struct Ios {
    all: Vec<Option<Io>>,
    free: Vec<u32>,
}

impl Ios {
    /// Whether the disk has any I/O under way.
    pub(super) fn any_on(&self, disk: DiskIndex) -> bool {
        self.all.iter().flatten().any(|io| io.disk == disk)
    }

    /// Puts an I/O into the queue.
    pub(super) fn start(&mut self, io: Io, queue: &mut Queue) {
        let index = self.free.pop().unwrap_or_else(|| {
            self.all.push(None);
            self.all.len() as u32 - 1
        });
        submit(index, &io, queue);
        self.all[index as usize] = Some(io);
    }

    /// Takes the completion of an I/O; `None` where only part of it was done and the rest was
    /// submitted.
    pub(super) fn completed(
        &mut self,
        index: u32,
        result: Result<u32, i32>,
        queue: &mut Queue,
    ) -> Option<Ended> {
        let place = &mut self.all[index as usize];
        let Some(io) = place else {
            unreachable!("I/O {index} ended twice")
        };
        let result = match result {
            Ok(done) => match io.advance(done) {
                Progress::Whole => Ok(()),
                Progress::Part => {
                    submit(index, io, queue);
                    return None;
                }
                Progress::Stuck => Err(IoFault { errno: libc::EIO }),
            },
            Err(libc::EINTR | libc::EAGAIN) => {
                submit(index, io, queue);
                return None;
            }
            Err(errno) => Err(IoFault { errno }),
        };
        let read = matches!(io.action, Action::Read(_));
        let ended = Ended {
            id: io.id,
            result,
            bytes: io.own.take().filter(|_| read),
        };
        *place = None;
        self.free.push(index);
        Some(ended)
    }
}

enum Progress {
    Whole,
    Part,
    /// Nothing was done: the end of the disk.
    Stuck,
}

impl Io {
    /// Counts what was done.
    fn advance(&mut self, done: u32) -> Progress {
        let (Action::Read(memory) | Action::Write(memory, _)) = &mut self.action else {
            return Progress::Whole;
        };
        assert!(done <= memory.len, "{done} bytes done of {}", memory.len);
        if done == memory.len {
            return Progress::Whole;
        }
        // Direct I/O goes on only where it stays aligned.
        if done == 0 || !u64::from(done).is_multiple_of(layout::BLOCK) {
            return Progress::Stuck;
        }
        memory.at = memory.at.wrapping_add(done as usize);
        memory.len -= done;
        self.offset += u64::from(done);
        Progress::Part
    }
}

fn submit(index: u32, io: &Io, queue: &mut Queue) {
    match io.action {
        Action::Read(to) => queue.read_disk(index, io.fd, io.offset, to),
        Action::Write(from, fua) => queue.write_disk(index, io.fd, io.offset, from, fua),
        Action::Flush => queue.flush_disk(index, io.fd),
    }
}
