//! The store of one disk as a system: every volume is one leaf on it.

use crate::swarm::Swarm;
use crate::system::{Command, Drive, System};
use engine::disk::Disk;
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

    fn open(_: Now, drives: &mut [Drive], swarm: &Swarm, bug: Option<Bug>) -> Result<Self, String> {
        let drive = &mut drives[0];
        let config = Config {
            pages: swarm.pages,
            planted: Planted::with(bug),
        };
        let opened = Store::open(&mut drive.disk, Some(drive.uid), drive.log.bytes(), config);
        let mut store = opened.map_err(|e| e.to_string())?;
        drive.log.clear();
        store.attach(DiskIndex(0));
        Ok(OneDisk {
            store,
            served: BTreeMap::new(),
            purposes: BTreeMap::new(),
            done: VecDeque::new(),
            next: 0,
        })
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
        let disk: &mut dyn Disk = &mut drive.disk;
        let found = Store::inspect(disk, drive.log.bytes());
        found.err().map(|e| e.to_string()).into_iter().collect()
    }

    fn usage(&self) -> Vec<(VolumeUid, u64)> {
        let used = |(slot, record): (u16, &engine::format::object::ObjectRecord)| {
            (record.volume, u64::from(self.store.usage(slot).1))
        };
        self.store.records().map(used).collect()
    }

    fn digest(&self) -> String {
        let line = |(slot, r): (u16, &engine::format::object::ObjectRecord)| {
            let (units, used) = self.store.usage(slot);
            format!(
                "slot {slot}: volume {} {} generation {} segments {} epoch {} held {:?} legs {:?} \
                 units {units:?}, {used} segments used",
                r.volume, r.path, r.generation, r.segments, r.epoch, r.held, r.legs
            )
        };
        self.store
            .records()
            .map(line)
            .collect::<Vec<_>>()
            .join("\n")
    }
}
