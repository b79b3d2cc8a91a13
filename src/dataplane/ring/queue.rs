//! The io_uring: entries in, completions out, one system call for many of both.
#![allow(unsafe_code)]

use crate::sys::errno;
use io_uring::{IoUring, Probe, cqueue, opcode, squeue, types};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

/// Entries that may be prepared between two system calls.
const ENTRIES: u32 = 1024;
/// Completions that may wait; the kernel keeps more aside where it must.
const COMPLETIONS: u32 = 4096;

/// What a completion belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// A read of the front end of this volume.
    Front(u32),
    /// An I/O on a disk, by its place in the table of I/Os.
    Io(u32),
    /// The reply that was written from this slot.
    Reply(u16),
    /// A descriptor that somebody watches.
    Watch(u32),
    /// Nobody cares.
    Nothing,
}

impl Token {
    fn pack(self) -> u64 {
        let (kind, value) = match self {
            Token::Front(v) => (1, v),
            Token::Io(v) => (2, v),
            Token::Reply(v) => (3, u32::from(v)),
            Token::Watch(v) => (4, v),
            Token::Nothing => (5, 0),
        };
        kind << 32 | u64::from(value)
    }

    fn unpack(data: u64) -> Self {
        let value = data as u32;
        match data >> 32 {
            1 => Token::Front(value),
            2 => Token::Io(value),
            3 => Token::Reply(value as u16),
            4 => Token::Watch(value),
            _ => Token::Nothing,
        }
    }
}

/// One completion.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cqe {
    pub token: Token,
    /// Bytes, or the error.
    pub result: Result<u32, i32>,
    /// The slot that the kernel chose for a read of a front end.
    pub buffer: Option<u16>,
    /// Whether the same entry will have further completions.
    pub more: bool,
}

/// The ring.
pub(crate) struct Queue {
    ring: IoUring,
    /// Replies in the next submission.
    replies: usize,
    /// Whether one read may bring many requests (kernel 6.7 and later).
    multishot: bool,
}

/// A place in memory that stays valid, and is used by nobody else, until the completion: a slot, or
/// a buffer in the table of I/Os.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    pub at: *mut u8,
    pub len: u32,
}

impl Queue {
    pub(crate) fn new() -> io::Result<Self> {
        let mut builder = IoUring::builder();
        builder.setup_cqsize(COMPLETIONS).setup_submit_all();
        let best = builder
            .clone()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .build(ENTRIES);
        // Kernels before 6.1 know neither; they serve, with more interrupts.
        let ring = best.or_else(|_| builder.build(ENTRIES))?;
        let mut probe = Probe::new();
        ring.submitter().register_probe(&mut probe)?;
        let multishot = probe.is_supported(opcode::ReadMulti::CODE);
        Ok(Queue {
            ring,
            replies: 0,
            multishot,
        })
    }

    pub(crate) fn ring(&self) -> &IoUring {
        &self.ring
    }

    /// Reads requests of a front end as they come, each into a slot that the kernel takes from the
    /// group when it is needed: an idle volume holds none. It goes on until a completion says that
    /// there is no more to come.
    pub(crate) fn read_requests(&mut self, volume: u32, fd: RawFd, group: u16, len: u32) {
        let fd = types::Fd(fd);
        let entry = if self.multishot {
            opcode::ReadMulti::new(fd, 0, group)
                .offset(u64::MAX)
                .build()
        } else {
            let read = opcode::Read::new(fd, std::ptr::null_mut(), len).offset(u64::MAX);
            read.buf_group(group)
                .build()
                .flags(squeue::Flags::BUFFER_SELECT)
        };
        self.push(entry.user_data(Token::Front(volume).pack()));
    }

    /// Ends [`Queue::read_requests`]; a last completion follows.
    pub(crate) fn cancel_reads(&mut self, volume: u32) {
        let cancel = opcode::AsyncCancel::new(Token::Front(volume).pack()).build();
        self.push(cancel.user_data(Token::Nothing.pack()));
    }

    /// Writes a reply to a front end.
    pub(crate) fn reply(&mut self, slot: u16, fd: RawFd, from: Memory) {
        let write = opcode::Write::new(types::Fd(fd), from.at, from.len)
            .offset(u64::MAX)
            .build();
        self.push(write.user_data(Token::Reply(slot).pack()));
        self.replies += 1;
    }

    /// Reads from a disk.
    pub(crate) fn read_disk(&mut self, io: u32, fd: RawFd, offset: u64, to: Memory) {
        let read = opcode::Read::new(types::Fd(fd), to.at, to.len)
            .offset(offset)
            .build();
        self.push(read.user_data(Token::Io(io).pack()));
    }

    /// Writes to a disk; with `fua`, durable before the completion.
    pub(crate) fn write_disk(&mut self, io: u32, fd: RawFd, offset: u64, from: Memory, fua: bool) {
        let flags = if fua { libc::RWF_DSYNC } else { 0 };
        let write = opcode::Write::new(types::Fd(fd), from.at, from.len)
            .offset(offset)
            .rw_flags(flags)
            .build();
        self.push(write.user_data(Token::Io(io).pack()));
    }

    /// Makes durable what was written to a disk.
    pub(crate) fn flush_disk(&mut self, io: u32, fd: RawFd) {
        let flush = opcode::Fsync::new(types::Fd(fd))
            .flags(types::FsyncFlags::DATASYNC)
            .build();
        self.push(flush.user_data(Token::Io(io).pack()));
    }

    /// Tells once when a descriptor can be read.
    pub(crate) fn poll(&mut self, fd: BorrowedFd<'_>, token: Token) {
        let poll = opcode::PollAdd::new(types::Fd(fd.as_raw_fd()), libc::POLLIN as u32).build();
        self.push(poll.user_data(token.pack()));
    }

    /// Tells once when a descriptor can take more bytes.
    pub(crate) fn poll_writable(&mut self, fd: BorrowedFd<'_>, token: Token) {
        let poll = opcode::PollAdd::new(types::Fd(fd.as_raw_fd()), libc::POLLOUT as u32).build();
        self.push(poll.user_data(token.pack()));
    }

    /// Submits everything, waits for something to end (at most `limit`), appends what ended to
    /// `out`. Where nobody waits for the end of a reply (`past_replies`), the wait is for something
    /// else: replies end inside the submission.
    pub(crate) fn turn(
        &mut self,
        limit: Option<Duration>,
        past_replies: bool,
        out: &mut Vec<Cqe>,
    ) -> io::Result<()> {
        let replies = std::mem::take(&mut self.replies);
        let want = match (self.ring.completion().is_empty(), past_replies) {
            (false, _) => 0,
            (true, true) => 1 + replies,
            (true, false) => 1,
        };
        let submitted = match limit {
            None => self.ring.submitter().submit_and_wait(want),
            Some(limit) => {
                let time = types::Timespec::from(limit);
                let args = types::SubmitArgs::new().timespec(&time);
                self.ring.submitter().submit_with_args(want, &args)
            }
        };
        match submitted {
            Ok(_) => {}
            // Nothing ended in time; a signal; completions wait to be taken first.
            Err(e) if matches!(errno(&e), libc::ETIME | libc::EINTR | libc::EBUSY) => {}
            Err(e) => return Err(e),
        }
        out.extend(self.ring.completion().map(|c| Cqe {
            token: Token::unpack(c.user_data()),
            result: u32::try_from(c.result()).map_err(|_| -c.result()),
            buffer: cqueue::buffer_select(c.flags()),
            more: cqueue::more(c.flags()),
        }));
        Ok(())
    }

    fn make_room(&mut self, entries: usize) {
        let room = |ring: &mut IoUring| {
            let queue = ring.submission();
            queue.capacity() - queue.len()
        };
        while room(&mut self.ring) < entries {
            if let Err(e) = self.ring.submit()
                && !matches!(errno(&e), libc::EINTR | libc::EBUSY | libc::EAGAIN)
            {
                // The descriptor is ours and valid: only a bug of ours gets here.
                unreachable!("io_uring refuses entries: {e}");
            }
        }
    }

    fn push(&mut self, entry: squeue::Entry) {
        self.make_room(1);
        // SAFETY: every entry is built above, from descriptors that the loop owns and from
        // `Memory`, which is valid until the completion by its contract.
        let pushed = unsafe { self.ring.submission().push(&entry) };
        assert!(pushed.is_ok(), "room was made");
    }
}

#[cfg(test)]
#[test]
fn tokens_come_back() {
    let all = [
        Token::Front(7),
        Token::Io(u32::MAX),
        Token::Reply(9),
        Token::Watch(0),
    ];
    for token in all.into_iter().chain([Token::Nothing]) {
        assert_eq!(Token::unpack(token.pack()), token);
    }
}
