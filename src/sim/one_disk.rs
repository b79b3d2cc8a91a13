//! The store of one disk as a system: every volume is one leaf on it.

use crate::swarm::Swarm;
use crate::system::{Command, Drive, System};
use engine::disk::Disk;
use engine::format::object::ObjectRecord;
use engine::io::{
    Buf, CommandError, CommandId, Completion, DiskIndex, Effect, Effects, IoError, IoId, Now, Op,
    ReqId, VolumeId,
};
use engine::leaf::{Done, LeafError, LegsRecord, Span, Token};
use engine::planted::{Bug, Planted};
use engine::store::{Config, Format, Grant, Sink, Store, format};
use layout::{BLOCK, Kind, Layout, ObjectPath, UnitRange, VolumeUid};
use std::collections::{BTreeMap, VecDeque};

/// What a call of the store is for.
#[derive(Clone, Debug)]
enum Purpose {
    /// A request; the last call of it.
    Answer(ReqId),
    /// A request; the write that follows its reservation.
    ThenWrite {
        req: ReqId,
        slot: u16,
        span: Span,
        fua: bool,
    },
    /// A request; the flush that makes it durable follows.
    ThenFlush(ReqId),
    /// A command.
    Command(CommandId),
}

/// One disk.
pub struct OneDisk {
    store: Store,
    served: BTreeMap<VolumeId, u16>,
    purposes: BTreeMap<Token, Purpose>,
    done: VecDeque<Done>,
    next: Token,
}

impl OneDisk {
    fn token(&mut self, purpose: Purpose) -> Token {
        self.next += 1;
        self.purposes.insert(self.next, purpose);
        self.next
    }

    /// Calls the store, then follows up whatever ended.
    fn call(&mut self, now: Now, out: &mut Effects, call: impl FnOnce(&mut Store, &mut Sink<'_>)) {
        let mut done = std::mem::take(&mut self.done);
        call(
            &mut self.store,
            &mut Sink {
                now,
                out,
                done: &mut done,
            },
        );
        while let Some(end) = done.pop_front() {
            self.follow(now, end, out, &mut done);
        }
        self.done = done;
    }

    fn follow(&mut self, now: Now, end: Done, out: &mut Effects, done: &mut VecDeque<Done>) {
        let Some(purpose) = self.purposes.remove(&end.token) else {
            unreachable!("the store ends each call once: {end:?}");
        };
        let result = end.result.map(|_| ());
        match purpose {
            Purpose::Command(command) => {
                let disk = self.store.disk();
                let result = result.map_err(|_: LeafError| CommandError::DiskFailed(disk));
                out.push(Effect::Answer { command, result });
            }
            Purpose::ThenWrite {
                req,
                slot,
                span,
                fua,
            } if result.is_ok() => {
                let next = match fua {
                    true => Purpose::ThenFlush(req),
                    false => Purpose::Answer(req),
                };
                let token = self.token(next);
                let buf = Buf::Request { req, at: 0 };
                self.store
                    .write(slot, span, buf, token, &mut Sink { now, out, done });
            }
            Purpose::ThenFlush(req) if result.is_ok() => {
                let token = self.token(Purpose::Answer(req));
                self.store.flush(token, &mut Sink { now, out, done });
            }
            Purpose::Answer(req) | Purpose::ThenWrite { req, .. } | Purpose::ThenFlush(req) => {
                out.push(Effect::Reply {
                    req,
                    result: result.map_err(IoError::from),
                });
            }
        }
    }

    fn grant(
        &mut self,
        now: Now,
        id: CommandId,
        layout: &Layout,
        out: &mut Effects,
    ) -> Option<u16> {
        let Kind::Extents { size, units, .. } = &layout.root.kind else {
            unreachable!("on one disk every volume is one leaf");
        };
        let segment = self.store.geometry().segment_bytes();
        let grant = Grant {
            volume: layout.volume,
            path: ObjectPath::ROOT,
            generation: layout.root.generation,
            segments: size.0.div_ceil(segment) as u32,
            units: units.iter().flat_map(UnitRange::iter).collect(),
            owner: layout.name.clone().into_bytes(),
            legs: LegsRecord::default(),
        };
        let token = self.token(Purpose::Command(id));
        let mut granted = Ok(0);
        self.call(now, out, |store, sink| {
            granted = store.grant(grant, token, sink)
        });
        match granted {
            Ok(slot) => Some(slot),
            Err(error) => {
                self.refuse_command(id, token, error, out);
                None
            }
        }
    }

    fn refuse_command(
        &mut self,
        command: CommandId,
        token: Token,
        error: CommandError,
        out: &mut Effects,
    ) {
        self.purposes.remove(&token);
        out.push(Effect::Answer {
            command,
            result: Err(error),
        });
    }
}

fn span(off: u64, len: u32) -> Span {
    Span {
        start: off / BLOCK,
        count: len / BLOCK as u32,
    }
}

impl System for OneDisk {
    fn format(drives: &mut [Drive], swarm: &Swarm) -> Result<(), String> {
        format_all(drives, swarm)
    }

    fn open(_: Now, drives: &mut [Drive], swarm: &Swarm, bug: Option<Bug>) -> Result<Self, String> {
        let mut store = open_store(&mut drives[0], swarm, bug)?;
        drives[0].log.clear();
        store.attach(DiskIndex(0));
        Ok(OneDisk {
            store,
            served: BTreeMap::new(),
            purposes: BTreeMap::new(),
            done: VecDeque::new(),
            next: 0,
        })
    }

    fn reopen(
        &mut self,
        _: Now,
        _: DiskIndex,
        new: DiskIndex,
        drive: &mut Drive,
        swarm: &Swarm,
        bug: Option<Bug>,
        _: &mut Effects,
    ) -> Result<(), String> {
        self.store = open_store(drive, swarm, bug)?;
        drive.log.clear();
        self.store.attach(new);
        Ok(())
    }

    fn is_whole(&self) -> bool {
        self.store.failed().is_none()
    }

    fn transitions(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }

    fn request(&mut self, now: Now, req: ReqId, volume: VolumeId, op: Op, out: &mut Effects) {
        let Some(&slot) = self.served.get(&volume) else {
            out.push(Effect::Reply {
                req,
                result: Err(IoError::Detached),
            });
            return;
        };
        match op {
            Op::Read { off, len } => {
                let token = self.token(Purpose::Answer(req));
                let buf = Buf::Request { req, at: 0 };
                self.call(now, out, |s, sink| {
                    s.read(slot, span(off, len), buf, token, sink)
                });
            }
            Op::Write { off, len, fua } => {
                let span = span(off, len);
                let token = self.token(Purpose::ThenWrite {
                    req,
                    slot,
                    span,
                    fua,
                });
                self.call(now, out, |s, sink| s.reserve(slot, span, token, sink));
            }
            Op::Flush => {
                let token = self.token(Purpose::Answer(req));
                self.call(now, out, |s, sink| s.flush(token, sink));
            }
            Op::Discard { off, len } | Op::WriteZeroes { off, len } => {
                let token = self.token(Purpose::Answer(req));
                let (start, count) = (off / BLOCK, len / BLOCK);
                self.call(now, out, |s, sink| {
                    s.discard(slot, start, count, token, sink)
                });
            }
        }
    }

    fn complete(&mut self, now: Now, io: IoId, end: Completion<'_>, out: &mut Effects) {
        self.call(now, out, |s, sink| s.complete(io, end, sink));
    }

    fn command(&mut self, now: Now, id: CommandId, command: &Command, out: &mut Effects) {
        let answer = |out: &mut Effects, result| {
            out.push(Effect::Answer {
                command: id,
                result,
            })
        };
        if self.store.failed().is_some() {
            return answer(out, Err(CommandError::DiskFailed(self.store.disk())));
        }
        let slot = self.store.find(command.volume(), ObjectPath::ROOT);
        match (command, slot) {
            (Command::Attach(volume, layout), _) => {
                if let Some(slot) = self.grant(now, id, layout, out) {
                    self.served.insert(*volume, slot);
                }
            }
            (Command::Grant { layout, .. }, _) => {
                self.grant(now, id, layout, out);
            }
            (_, None) => answer(out, Err(CommandError::UnknownVolume(command.volume()))),
            (Command::Detach(_), Some(slot)) => {
                self.served.retain(|_, s| *s != slot);
                answer(out, Ok(()));
            }
            (Command::Delete(_), Some(slot)) => {
                let token = self.token(Purpose::Command(id));
                let mut released = Ok(());
                self.call(now, out, |s, sink| released = s.release(slot, token, sink));
                if let Err(error) = released {
                    self.refuse_command(id, token, error, out);
                }
            }
            (Command::Refuse { .. }, Some(slot)) => {
                self.call(now, out, |s, sink| s.refuse(slot, sink));
                answer(out, Ok(()));
            }
        }
    }

    fn tick(&mut self, now: Now, out: &mut Effects) {
        self.call(now, out, |s, sink| s.tick(sink));
    }

    fn check(drive: &mut Drive) -> Vec<String> {
        check_image(drive)
    }

    fn usage(&self) -> Vec<(VolumeUid, u64)> {
        usage_of(&self.store)
    }

    fn digest(&self) -> String {
        digest_of(&self.store)
    }
}

/// Prepares blank disks.
///
/// # Errors
/// What went wrong, in words.
pub fn format_all(drives: &mut [Drive], swarm: &Swarm) -> Result<(), String> {
    for drive in drives {
        let new = Format {
            disk: drive.uid,
            label: "simulated".to_owned(),
            created: 0,
            choice: swarm.geometry,
        };
        format(&mut drive.disk, &new).map_err(|e| e.to_string())?;
    }
    Ok(())
}

/// Opens a disk with its volatile log, which the caller clears once all disks are open.
///
/// # Errors
/// What went wrong, in words.
pub fn open_store(drive: &mut Drive, swarm: &Swarm, bug: Option<Bug>) -> Result<Store, String> {
    let config = Config {
        pages: swarm.pages,
        planted: Planted::with(bug),
    };
    let opened = Store::open(&mut drive.disk, Some(drive.uid), drive.log.bytes(), config);
    opened.map_err(|e| e.to_string())
}

/// What is wrong with a disk's image at rest.
pub fn check_image(drive: &mut Drive) -> Vec<String> {
    let disk: &mut dyn Disk = &mut drive.disk;
    let found = Store::inspect(disk, drive.log.bytes());
    found.err().map(|e| e.to_string()).into_iter().collect()
}

/// The segments that each object uses.
pub fn usage_of(store: &Store) -> Vec<(VolumeUid, u64)> {
    let used =
        |(slot, record): (u16, &ObjectRecord)| (record.volume, u64::from(store.usage(slot).1));
    store.records().map(used).collect()
}

/// The metadata of a store in words.
pub fn digest_of(store: &Store) -> String {
    let line = |(slot, r): (u16, &ObjectRecord)| {
        let (units, used) = store.usage(slot);
        format!(
            "slot {slot}: volume {} {} generation {} segments {} epoch {} held {:?} legs {:?} \
             units {units:?}, {used} segments used",
            r.volume, r.path, r.generation, r.segments, r.epoch, r.held, r.legs
        )
    };
    store.records().map(line).collect::<Vec<_>>().join("\n")
}
