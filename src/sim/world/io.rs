//! The I/O that runs: from an effect to its completion, some virtual time later.

use super::{Event, World};
use crate::checkers::Violation;
use crate::checkers::io_is_sane::check;
use crate::content::{BLOCK, Content, Stamp};
use crate::disk::{Data, EIO, FlushPoint, WriteId};
use crate::system::System;
use engine::io::{Buf, Completion, DiskIndex, IoFault, IoId, IoKind, Now};
use std::ops::Range;

/// What no buffer may show: it was never filled.
pub const POISON: Stamp = Stamp(u64::MAX - 1);

/// An I/O that runs.
#[derive(Clone, Debug)]
pub struct Running {
    pub disk: DiskIndex,
    block: u64,
    blocks: u64,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    /// With the content, if it was taken at the start.
    Read(Option<Buf>, Option<Result<Data, IoFault>>),
    Write(WriteId),
    Flush(FlushPoint),
}

impl<S: System> World<S> {
    pub(super) fn start_io(
        &mut self,
        id: IoId,
        index: DiskIndex,
        offset: u64,
        kind: IoKind,
    ) -> Result<(), Violation> {
        check(!self.ios.contains_key(&id), || format!("{id:?} is in use"))?;
        let drive = self.indices.get(usize::from(index.0));
        let drive = drive.map(|at| &self.drives[*at]);
        check(drive.is_some(), || format!("{index:?} is not attached"))?;
        let bytes = match &kind {
            IoKind::Read { len, .. } | IoKind::Write { len, .. } | IoKind::ReadMeta { len } => *len,
            IoKind::WriteMeta { bytes, .. } => bytes.len() as u32,
            IoKind::Flush => 0,
        };
        let inside = drive.is_some_and(|d| d.disk.holds(offset, bytes.into()));
        check(inside, || {
            format!("{bytes} bytes at {offset} are no whole blocks within the disk")
        })?;
        let block = offset / BLOCK as u64;
        let blocks = u64::from(bytes) / BLOCK as u64;
        self.log.note(self.now, "io", [id.0, offset], || {
            let name = match &kind {
                IoKind::Read { buf, .. } => format!("read into {buf:?}"),
                IoKind::Write { buf, .. } => format!("write from {buf:?}"),
                IoKind::ReadMeta { .. } => "read metadata".to_owned(),
                IoKind::WriteMeta { fua, .. } => format!("write metadata, fua {fua}"),
                IoKind::Flush => "flush".to_owned(),
            };
            format!("{id:?} disk {} block {block} +{blocks}: {name}", index.0)
        });
        let early = self.rng.chance(1, 2);
        let what = match kind {
            IoKind::Read { buf, .. } => {
                self.buffer(buf, blocks)?;
                What::Read(Some(buf), self.read_now(early, index, block, blocks))
            }
            IoKind::ReadMeta { .. } => What::Read(None, self.read_now(early, index, block, blocks)),
            IoKind::Write { buf, .. } => {
                let data = Data::from(self.buffer(buf, blocks)?.to_vec());
                What::Write(self.disk(index).start_write(block, data, false))
            }
            IoKind::WriteMeta { bytes, fua } => {
                let data = bytes.chunks_exact(BLOCK).map(Content::bytes).collect();
                What::Write(self.disk(index).start_write(block, data, fua))
            }
            IoKind::Flush => What::Flush(self.disk(index).start_flush()),
        };
        let disk = index;
        self.ios.insert(
            id,
            Running {
                disk,
                block,
                blocks,
                what,
            },
        );
        let at = self.now + self.latency();
        self.schedule(
            at,
            Event::IoEnd {
                life: self.life,
                io: id,
            },
        );
        Ok(())
    }

    fn read_now(
        &mut self,
        early: bool,
        index: DiskIndex,
        block: u64,
        blocks: u64,
    ) -> Option<Result<Data, IoFault>> {
        early.then(|| self.disk(index).read_blocks(block, blocks))
    }

    /// Most I/O is fast, some takes long enough for everything else to overtake it.
    fn latency(&mut self) -> Now {
        let usual = self.rng.range(20_000, 120_000);
        if self.rng.chance(1, 40) {
            usual * 50
        } else {
            usual
        }
    }

    /// The blocks of a buffer; it must exist and be large enough.
    pub(super) fn buffer(&mut self, buf: Buf, blocks: u64) -> Result<&mut [Content], Violation> {
        let (at, content) = match buf {
            Buf::Request { req, at } => {
                let request = self.requests.get_mut(&req);
                (at, request.map(|r| &mut r.data[..]).unwrap_or_default())
            }
            Buf::Scratch { slot, at } => {
                let slot = usize::from(slot);
                let of_segment = self.swarm.geometry.segment_blocks as usize;
                if self.scratch.len() <= slot {
                    let fresh = || vec![Content::from(POISON); of_segment];
                    self.scratch.resize_with(slot + 1, fresh);
                }
                (at, &mut self.scratch[slot][..])
            }
        };
        let first = at as usize / BLOCK;
        let range = Range {
            start: first,
            end: first + blocks as usize,
        };
        match content.get_mut(range) {
            Some(blocks) if (at as usize).is_multiple_of(BLOCK) => Ok(blocks),
            _ => {
                check(false, || {
                    format!("no {blocks} blocks of {buf:?}: answered already, or short")
                })?;
                Ok(&mut [])
            }
        }
    }

    pub(super) fn end_io(&mut self, id: IoId) -> Result<(), Violation> {
        let Some(running) = self.ios.remove(&id) else {
            unreachable!("an I/O that ends was started");
        };
        let Running {
            disk,
            block,
            blocks,
            what,
        } = running;
        let strike = self.strike(disk);
        let mut bytes = std::mem::take(&mut self.bytes);
        let mut wants_bytes = false;
        let flush = matches!(what, What::Flush(_));
        let result = match what {
            What::Write(write) if strike => {
                let rng = &mut self.rng;
                self.drives[self.indices[usize::from(disk.0)]]
                    .disk
                    .fail_write(write, rng);
                Err(EIO)
            }
            What::Read(..) if strike => Err(EIO),
            What::Write(write) => self.disk(disk).end_write(write),
            What::Flush(point) => self.disk(disk).end_flush(point),
            What::Read(buf, early) => {
                let late = || {
                    self.drives[self.indices[usize::from(disk.0)]]
                        .disk
                        .read_blocks(block, blocks)
                };
                match (early.unwrap_or_else(late), buf) {
                    (Err(fault), _) => Err(fault),
                    (Ok(data), Some(buf)) => {
                        self.buffer(buf, blocks)?.clone_from_slice(&data);
                        Ok(())
                    }
                    (Ok(data), None) => {
                        bytes.resize(data.len() * BLOCK, 0);
                        for (content, chunk) in data.iter().zip(bytes.chunks_exact_mut(BLOCK)) {
                            content.fill(chunk);
                        }
                        wants_bytes = true;
                        Ok(())
                    }
                }
            }
        };
        let failed = u64::from(result.is_err());
        self.log.note(self.now, "io-end", [id.0, failed], || {
            format!("{id:?} {result:?}")
        });
        let end = match result {
            Ok(()) if wants_bytes => Completion::Bytes(&bytes),
            Ok(()) => Completion::Done,
            Err(fault) => {
                self.disk_failed(disk, flush);
                Completion::Failed(fault)
            }
        };
        let mut out = std::mem::take(&mut self.effects);
        if let Some(system) = &mut self.system {
            system.complete(self.now, id, end, &mut out);
        }
        self.bytes = bytes;
        self.execute(out)
    }
}
