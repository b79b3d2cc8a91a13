//! A volume as a file of FUSE, for a loop device above.
//!
//! One entry in the ring reads requests for as long as slots are free: under load many come with
//! one system call, and idle it holds no memory.

use super::{Driver, Incoming};
use crate::fuse::{self, Header, Request, reply, request};
use crate::ring::{Answer, Cqe, Queue, SlotId, Slots};
use engine::io::{IoError, Op, VolumeId};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// The FUSE connection of one volume.
#[derive(Debug)]
pub struct FuseFront {
    volume: VolumeId,
    fd: OwnedFd,
    size: u64,
    /// Whether the kernel is asked for requests.
    armed: bool,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Serving,
    Stopped,
    /// The connection is gone: unmounted, or aborted.
    Gone,
}

impl FuseFront {
    /// A front end on a connection whose INIT was answered, showing `size` bytes. The descriptor
    /// must be a duplicate of the keeper's, never a clone of the connection: the last close of a
    /// clone fails its requests.
    pub fn new(volume: VolumeId, fd: OwnedFd, size: u64) -> Self {
        let state = State::Serving;
        FuseFront {
            volume,
            fd,
            size,
            armed: false,
            state,
        }
    }

    /// Which volume it shows.
    pub fn volume(&self) -> VolumeId {
        self.volume
    }

    /// Has the kernel send again what a predecessor had read and not answered. Only after every
    /// disk of the volume was claimed: before that, the predecessor's writes may still land over
    /// newer ones.
    ///
    /// # Errors
    /// EINVAL on kernels without RESEND (before 6.9); ENODEV where the connection is gone.
    pub fn resend(&self) -> io::Result<()> {
        let fd = std::fs::File::from(self.fd.as_fd().try_clone_to_owned()?);
        let message = reply::resend();
        let sent = io::Write::write(&mut &fd, &message)?;
        assert_eq!(
            sent,
            message.len(),
            "the kernel takes a message whole or not at all"
        );
        Ok(())
    }

    /// What to do with one request: an operation for the machine, or an answer.
    fn dispatch(&self, request: Request) -> Dispatch {
        let op = |op, answer| Dispatch::Op(op, answer);
        match request {
            Request::Read { offset, size } => {
                let len = u64::from(size).min(self.size.saturating_sub(offset)) as u32;
                match len {
                    0 => Dispatch::Answer(Vec::new()),
                    _ => op(Op::Read { off: offset, len }, Answer::Data(len)),
                }
            }
            Request::Write { size: 0, .. } => Dispatch::Answer(reply::written(0).to_vec()),
            Request::Write { offset, size } => op(
                Op::Write {
                    off: offset,
                    len: size,
                    fua: false,
                },
                Answer::Written(size),
            ),
            Request::Fsync => op(Op::Flush, Answer::Empty),
            Request::Fallocate {
                offset,
                length,
                mode,
            } => {
                const DISCARD: u32 = request::PUNCH_HOLE | request::KEEP_SIZE;
                const ZEROES: u32 = request::ZERO_RANGE | request::KEEP_SIZE;
                match mode {
                    DISCARD => op(
                        Op::Discard {
                            off: offset,
                            len: length,
                        },
                        Answer::Empty,
                    ),
                    ZEROES => op(
                        Op::WriteZeroes {
                            off: offset,
                            len: length,
                        },
                        Answer::Empty,
                    ),
                    _ => Dispatch::Refuse(libc::EOPNOTSUPP),
                }
            }
            Request::Setattr { size: Some(size) } if size != self.size => {
                Dispatch::Refuse(libc::EPERM)
            }
            Request::Getattr | Request::Setattr { .. } => {
                Dispatch::Answer(reply::attributes(self.size).to_vec())
            }
            Request::Open => Dispatch::Answer(reply::opened().to_vec()),
            Request::Statfs => Dispatch::Answer(reply::statfs(self.size).to_vec()),
            Request::Release | Request::Flush | Request::Destroy => Dispatch::Answer(Vec::new()),
            Request::Note => Dispatch::Silence,
            // INIT was answered by the keeper, once and for all.
            Request::Init(_) => Dispatch::Refuse(libc::EPROTO),
            Request::Other { .. } => Dispatch::Refuse(libc::ENOSYS),
        }
    }

    fn send(&self, slot: SlotId, reply: &[u8], slots: &Slots, queue: &mut Queue) {
        queue.reply(slot.0, self.fd.as_raw_fd(), slots.whole(slot, reply));
    }

    fn read(&self, slot: SlotId, len: u32, slots: &Slots) -> Result<(Header, Request), String> {
        let mut head = [0; request::HEAD_MAX];
        let head = &mut head[..request::HEAD_MAX.min(len as usize)];
        slots.request_head(slot, head);
        let (header, request) = fuse::decode(head, len as usize).map_err(|e| e.to_string())?;
        if header.node != fuse::ROOT && request != Request::Note {
            return Err(format!(
                "{request:?} of node {}, there is only 1",
                header.node
            ));
        }
        Ok((header, request))
    }
}

enum Dispatch {
    Op(Op, Answer),
    Answer(Vec<u8>),
    Refuse(i32),
    Silence,
}

impl Driver for FuseFront {
    fn arm(&mut self, queue: &mut Queue, slots: &Slots) -> bool {
        if self.armed || self.state != State::Serving {
            return true;
        }
        if slots.free() == 0 {
            return false;
        }
        self.armed = true;
        let (fd, group) = (self.fd.as_raw_fd(), Slots::GROUP);
        queue.read_requests(self.volume.0, fd, group, Slots::REQUEST_LEN);
        true
    }

    fn event(&mut self, cqe: &Cqe, slots: &mut Slots, queue: &mut Queue) -> Incoming {
        self.armed = cqe.more;
        let slot = cqe.buffer.map(SlotId);
        if let Some(slot) = slot {
            slots.taken(slot, self.volume);
        }
        let (len, slot) = match (cqe.result, slot) {
            (Ok(len), Some(slot)) => (len, slot),
            (failed, slot) => {
                if let Some(slot) = slot {
                    slots.release(slot);
                }
                if failed == Err(libc::ENODEV) {
                    self.state = State::Gone;
                }
                return Incoming::Nothing;
            }
        };
        let (header, request) = match self.read(slot, len, slots) {
            Ok(read) => read,
            Err(why) => {
                // The kernel never sends such a thing. Without a name it cannot be answered.
                eprintln!("dataplane: volume {}: {why}", self.volume.0);
                slots.release(slot);
                return Incoming::Nothing;
            }
        };
        match self.dispatch(request) {
            Dispatch::Op(op, answer) => {
                slots.describe(slot, header.unique, answer);
                return Incoming::Request { slot, op };
            }
            Dispatch::Answer(payload) => {
                self.send(
                    slot,
                    &reply::answer(header.unique, Ok(&payload)),
                    slots,
                    queue,
                );
            }
            Dispatch::Refuse(errno) => {
                self.send(slot, &reply::header(header.unique, errno, 0), slots, queue);
            }
            Dispatch::Silence => slots.release(slot),
        }
        Incoming::Nothing
    }

    fn reply(
        &mut self,
        slot: SlotId,
        result: Result<(), IoError>,
        slots: &Slots,
        queue: &mut Queue,
    ) {
        let unique = slots.unique(slot);
        match (result, slots.answer(slot)) {
            (Ok(()), Answer::Data(len)) => {
                let header = reply::header(unique, 0, len as usize);
                queue.reply(
                    slot.0,
                    self.fd.as_raw_fd(),
                    slots.before_data(slot, &header, len),
                );
            }
            (Ok(()), Answer::Written(len)) => {
                let written = reply::written(len);
                self.send(slot, &reply::answer(unique, Ok(&written)), slots, queue);
            }
            (Ok(()), Answer::Empty) => {
                self.send(slot, &reply::header(unique, 0, 0), slots, queue);
            }
            (Err(error), _) => {
                self.send(
                    slot,
                    &reply::header(unique, errno_of(error), 0),
                    slots,
                    queue,
                );
            }
        }
    }

    fn replied(&mut self, result: Result<u32, i32>) {
        // ENOENT: the request was answered before, or the application was killed.
        if let Err(errno) = result
            && errno != libc::ENOENT
        {
            eprintln!(
                "dataplane: volume {}: a reply failed, errno {errno}",
                self.volume.0
            );
        }
    }

    fn stop(&mut self, queue: &mut Queue) {
        if self.state == State::Serving {
            self.state = State::Stopped;
            if self.armed {
                queue.cancel_reads(self.volume.0);
            }
        }
    }

    fn is_quiet(&self) -> bool {
        !self.armed
    }

    fn resize(&mut self, size: u64) {
        self.size = size;
    }
}

/// What an application sees of an error.
fn errno_of(error: IoError) -> i32 {
    match error {
        IoError::Unaligned => libc::EINVAL,
        IoError::OutOfRange | IoError::NoSpace => libc::ENOSPC,
        IoError::Io => libc::EIO,
        IoError::ReadOnly => libc::EROFS,
        IoError::Detached => libc::ENODEV,
    }
}
