//! The simplest machine there is: volume N is disk N, byte by byte. It keeps one entry in the
//! disk's volatile log for each write that no flush has covered, so that logs are exercised too.

use dataplane::machine::Machine;
use engine::io::{
    Buf, Completion, DiskIndex, Effect, Effects, IoError, IoId, IoKind, Now, Op, ReqId, VolumeId,
};
use std::collections::BTreeMap;

/// Entries are of this length.
pub const ENTRY: u64 = 8;

#[derive(Default)]
pub struct Identity {
    next: u64,
    waiting: BTreeMap<IoId, (ReqId, DiskIndex, Kind)>,
    /// Bytes in each disk's log.
    logged: BTreeMap<DiskIndex, u64>,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Write,
    /// The log's length when it was asked for.
    Flush(u64),
    Other,
}

impl Identity {
    /// Tells how much a predecessor left in a log.
    pub fn recover(&mut self, disk: DiskIndex, logged: u64) {
        assert_eq!(logged % ENTRY, 0, "the log ends between two entries");
        self.logged.insert(disk, logged);
    }
}

impl Machine for Identity {
    fn submit(&mut self, _: Now, volume: VolumeId, req: ReqId, op: Op, out: &mut Effects) {
        let disk = DiskIndex(volume.0 as u16);
        let buf = Buf::Request { req, at: 0 };
        let aligned = |off: u64, len: u64| (off % 4096, len % 4096) == (0, 0);
        let (offset, kind, what) = match op {
            Op::Read { off, len } if aligned(off, len.into()) => {
                (off, IoKind::Read { buf, len }, Kind::Other)
            }
            Op::Write { off, len, .. } if aligned(off, len.into()) => {
                (off, IoKind::Write { buf, len }, Kind::Write)
            }
            Op::Discard { off, len } | Op::WriteZeroes { off, len } if aligned(off, len) => {
                let len = u32::try_from(len).unwrap();
                out.push(Effect::Zero { buf, len });
                (off, IoKind::Write { buf, len }, Kind::Write)
            }
            Op::Flush => {
                let logged = self.logged.get(&disk).copied().unwrap_or(0);
                (0, IoKind::Flush, Kind::Flush(logged))
            }
            _ => {
                out.push(Effect::Reply {
                    req,
                    result: Err(IoError::Unaligned),
                });
                return;
            }
        };
        let id = IoId(self.next);
        self.next += 1;
        self.waiting.insert(id, (req, disk, what));
        out.push(Effect::Io {
            id,
            disk,
            offset,
            kind,
        });
    }

    fn complete(&mut self, _: Now, id: IoId, how: Completion<'_>, out: &mut Effects) {
        let (req, disk, kind) = self.waiting.remove(&id).unwrap();
        let result = match how {
            Completion::Failed(fault) => {
                eprintln!("plane: {fault}");
                Err(IoError::Io)
            }
            _ => Ok(()),
        };
        let logged = self.logged.entry(disk).or_default();
        match kind {
            Kind::Write => {
                out.push(Effect::Append {
                    disk,
                    bytes: id.0.to_le_bytes().to_vec(),
                });
                *logged += ENTRY;
            }
            Kind::Flush(covered) => {
                let bytes = covered.min(*logged);
                out.push(Effect::Trim { disk, bytes });
                *logged -= bytes;
            }
            Kind::Other => {}
        }
        out.push(Effect::Reply { req, result });
    }

    fn tick(&mut self, _: Now, _: &mut Effects) {}

    fn next_wake(&self) -> Option<Now> {
        None
    }
}
