//! Carrying out what the machine wants, in the order in which it wants it.
#![allow(unsafe_code)]

use super::ios::{Action, Ended, Io};
use super::queue::Memory;
use super::{Loop, Port, SlotId};
use crate::machine::Machine;
use crate::sys::{errno, memory::AlignedBuf, process};
use engine::io::{
    Buf, CommandError, CommandId, Completion, DiskIndex, Effect, IoFault, IoId, IoKind,
};
use std::io;

/// The machine's answer to a command.
pub type Answered = (CommandId, Result<(), CommandError>);

impl<M: Machine> Loop<M> {
    /// Carries out effects until there are none. I/Os that end without the ring cause more.
    pub(super) fn settle(&mut self) {
        loop {
            let mut effects = std::mem::take(&mut self.effects);
            for effect in effects.drain(..) {
                self.run(effect);
            }
            self.effects = effects;
            let Some(ended) = self.ended.pop_front() else {
                return;
            };
            let how = match (&ended.result, &ended.bytes) {
                (Err(fault), _) => Completion::Failed(*fault),
                (Ok(()), Some(buf)) => Completion::Bytes(buf.bytes()),
                (Ok(()), None) => Completion::Done,
            };
            self.machine
                .complete(process::now(), ended.id, how, &mut self.effects);
        }
    }

    fn run(&mut self, effect: Effect) {
        match effect {
            Effect::Io {
                id,
                disk,
                offset,
                kind,
            } => self.start(id, disk, offset, kind),
            Effect::Zero { buf, len } => {
                let memory = self.memory(buf, len);
                // SAFETY: `memory` is in a slot or scratch buffer that belongs to the machine's
                // request or copy; only raw pointers into it exist.
                unsafe { std::ptr::write_bytes(memory.at, 0, len as usize) };
            }
            Effect::Append { disk, bytes } => {
                if let Err(e) = self.port(disk).log.append(&bytes) {
                    // The machine keeps the log within its bounds. Were the entry dropped, an
                    // acknowledged write could be lost; a successor starts with the log applied,
                    // and so empty.
                    eprintln!("dataplane: disk {}: {e}", disk.0);
                    std::process::abort();
                }
            }
            Effect::Trim { disk, bytes } => self.port(disk).log.trim(bytes),
            Effect::Reply { req, result } => {
                let slot = SlotId(req.0 as u16);
                let volume = self.slots.volume(slot);
                match self.fronts.get_mut(volume.0 as usize) {
                    Some(Some(front)) => {
                        front.reply(slot, result, &self.slots, &mut self.queue);
                    }
                    _ => self.slots.release(slot),
                }
            }
            Effect::Answer { command, result } => self.answers.push_back((command, result)),
            Effect::Notice(notice) => self.notices.push_back(notice),
        }
    }

    fn port(&mut self, disk: DiskIndex) -> &mut Port {
        match self.disks.get_mut(usize::from(disk.0)) {
            Some(Some(port)) => port,
            _ => unreachable!("the machine names disk {}, which is not attached", disk.0),
        }
    }

    fn memory(&mut self, buf: Buf, len: u32) -> Memory {
        match buf {
            Buf::Request { req, at } => self.slots.data(req, at, len),
            Buf::Scratch { slot, at } => self.scratch.memory(slot, at, len),
        }
    }

    fn start(&mut self, id: IoId, disk: DiskIndex, offset: u64, kind: IoKind) {
        let (action, own) = match kind {
            IoKind::Read { buf, len } => (Action::Read(self.memory(buf, len)), None),
            IoKind::Write { buf, len } => (Action::Write(self.memory(buf, len), false), None),
            IoKind::ReadMeta { len } => {
                let own = AlignedBuf::zeroed(len as usize);
                (
                    Action::Read(Memory {
                        at: own.as_ptr(),
                        len,
                    }),
                    Some(own),
                )
            }
            IoKind::WriteMeta { bytes, fua } => {
                let own = AlignedBuf::from_bytes(&bytes);
                let memory = Memory {
                    at: own.as_ptr(),
                    len: bytes.len() as u32,
                };
                (Action::Write(memory, fua), Some(own))
            }
            IoKind::Flush => (Action::Flush, None),
        };
        match self.port(disk).file.ring_fd() {
            Some(fd) => {
                self.ios.start(
                    Io {
                        id,
                        disk,
                        fd,
                        offset,
                        action,
                        own,
                    },
                    &mut self.queue,
                );
            }
            None => {
                let done = behind_cache(self.port(disk), offset, action);
                let result = done.map_err(|e| IoFault { errno: errno(&e) });
                let read = matches!(action, Action::Read(_));
                self.ended.push_back(Ended {
                    id,
                    result,
                    bytes: own.filter(|_| read),
                });
            }
        }
    }
}

/// Does an I/O at once, through the cache of a power-cut test.
fn behind_cache(port: &mut Port, offset: u64, action: Action) -> io::Result<()> {
    let file = &mut port.file;
    match action {
        Action::Read(Memory { at, len }) => {
            // SAFETY: `Memory` is valid and used by nobody else until the I/O ends, which is here.
            let to = unsafe { std::slice::from_raw_parts_mut(at, len as usize) };
            file.read_aligned(offset, to)
        }
        Action::Write(Memory { at, len }, fua) => {
            // SAFETY: as above.
            let from = unsafe { std::slice::from_raw_parts(at, len as usize) };
            file.write_aligned(offset, from, fua)
        }
        Action::Flush => file.flush_all(),
    }
}

/// Buffers for copies, allocated when the machine first names them. It uses few.
#[derive(Default)]
pub(super) struct Scratch(Vec<Option<AlignedBuf>>);

impl Scratch {
    fn memory(&mut self, slot: u16, at: u32, len: u32) -> Memory {
        assert!(at.checked_add(len).is_some_and(|end| end <= Buf::SCRATCH));
        let slot = usize::from(slot);
        if self.0.len() <= slot {
            self.0.resize_with(slot + 1, || None);
        }
        let buf = self.0[slot].get_or_insert_with(|| AlignedBuf::zeroed(Buf::SCRATCH as usize));
        Memory {
            at: buf.as_ptr().wrapping_add(at as usize),
            len,
        }
    }
}
