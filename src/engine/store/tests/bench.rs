//! A store on a disk of its own, every effect carried out at once: what tests of the store and of
//! `check` stand on.

use crate::disk::{Disk, MemDisk};
use crate::format::geometry::GeometryChoice;
use crate::io::{Buf, Completion, Effect, Effects, IoKind, Notice, ReqId};
use crate::leaf::{Done, LeafError, LegsRecord, Outcome, Span, Token};
use crate::store::{Config, Format, Grant, OpenError, Sink, Store, format};
use layout::{DiskUid, Generation, ObjectPath, VolumeUid};
use std::collections::{BTreeMap, VecDeque};

pub(crate) const CHOICE: GeometryChoice = GeometryChoice {
    segment_blocks: 8,
    unit_segments: 4,
    slots: 4,
    journal_blocks: 64,
};
const BLOCK: usize = layout::BLOCK as usize;
pub(crate) const DISK: DiskUid = DiskUid([1; 16]);

/// A store on a disk, whose effects are carried out at once.
pub(crate) struct Bench<D = MemDisk> {
    pub disk: D,
    pub store: Store,
    pub volatile: Vec<u8>,
    pub buffers: BTreeMap<u64, Vec<u8>>,
    pub ended: BTreeMap<Token, Result<Outcome, LeafError>>,
    pub notices: Vec<Notice>,
    pub next: u64,
}

impl Bench {
    pub fn new(size: u64) -> Self {
        Self::with(size, CHOICE)
    }

    pub fn with(size: u64, choice: GeometryChoice) -> Self {
        let mut disk = MemDisk::new(size);
        let new = Format {
            disk: DISK,
            label: "t".into(),
            created: 0,
            choice,
        };
        format(&mut disk, &new).unwrap();
        Self::open(disk, &[]).unwrap()
    }
}

impl<D: Disk> Bench<D> {
    pub fn open(mut disk: D, volatile: &[u8]) -> Result<Self, OpenError> {
        let store = Store::open(&mut disk, Some(DISK), volatile, Config::default())?;
        Ok(Bench {
            disk,
            store,
            volatile: Vec::new(),
            buffers: BTreeMap::new(),
            ended: BTreeMap::new(),
            notices: Vec::new(),
            next: 1,
        })
    }

    pub fn call<T>(&mut self, f: impl FnOnce(&mut Store, Token, &mut Sink<'_>) -> T) -> (Token, T) {
        let token = self.next;
        self.next += 1;
        let (mut out, mut done) = (Vec::new(), VecDeque::new());
        let answer = f(
            &mut self.store,
            token,
            &mut Sink {
                now: 0,
                out: &mut out,
                done: &mut done,
            },
        );
        self.carry_out(out, done);
        (token, answer)
    }

    fn carry_out(&mut self, out: Effects, done: VecDeque<Done>) {
        let (mut out, mut done) = (VecDeque::from(out), done);
        loop {
            self.ended
                .extend(done.drain(..).map(|d| (d.token, d.result)));
            let Some(effect) = out.pop_front() else {
                return;
            };
            let (id, offset, kind) = match effect {
                Effect::Io {
                    id, offset, kind, ..
                } => (id, offset, kind),
                Effect::Zero {
                    buf: Buf::Request { req, at },
                    len,
                } => {
                    let at = at as usize;
                    self.buffers.get_mut(&req.0).unwrap()[at..at + len as usize].fill(0);
                    continue;
                }
                Effect::Append { bytes, .. } => {
                    self.volatile.extend(bytes);
                    continue;
                }
                Effect::Trim { bytes, .. } => {
                    self.volatile.drain(..bytes as usize);
                    continue;
                }
                Effect::Notice(n) => {
                    self.notices.push(n);
                    continue;
                }
                other => panic!("unexpected {other:?}"),
            };
            let mut meta = Vec::new();
            let end = self.io(offset, kind, &mut meta);
            let mut more = Vec::new();
            self.store.complete(
                id,
                end,
                &mut Sink {
                    now: 0,
                    out: &mut more,
                    done: &mut done,
                },
            );
            out.extend(more);
        }
    }

    fn io<'m>(&mut self, offset: u64, kind: IoKind, meta: &'m mut Vec<u8>) -> Completion<'m> {
        match kind {
            IoKind::Read {
                buf: Buf::Request { req, at },
                len,
            } => {
                let (at, len) = (at as usize, len as usize);
                let buffer = &mut self.buffers.get_mut(&req.0).unwrap()[at..at + len];
                self.disk.read(offset, buffer).unwrap();
                Completion::Done
            }
            IoKind::Write {
                buf: Buf::Request { req, at },
                len,
            } => {
                let (at, len) = (at as usize, len as usize);
                self.disk
                    .write(offset, &self.buffers[&req.0][at..at + len])
                    .unwrap();
                Completion::Done
            }
            IoKind::WriteMeta { bytes, .. } => {
                self.disk.write(offset, &bytes).unwrap();
                Completion::Done
            }
            IoKind::ReadMeta { len } => {
                meta.resize(len as usize, 0);
                self.disk.read(offset, meta).unwrap();
                Completion::Bytes(meta)
            }
            IoKind::Flush => Completion::Done,
            other => panic!("unexpected {other:?}"),
        }
    }

    pub fn grant(&mut self, volume: u8, segments: u32, units: &[u32]) -> u16 {
        self.grant_with(volume, segments, units, 5000)
    }

    pub fn grant_with(&mut self, volume: u8, segments: u32, units: &[u32], owner: usize) -> u16 {
        let grant = Grant {
            volume: VolumeUid([volume; 16]),
            path: ObjectPath::ROOT,
            generation: Generation(1),
            segments,
            units: units.to_vec(),
            owner: vec![volume; owner],
            legs: LegsRecord::default(),
        };
        let (token, slot) = self.call(|s, t, k| s.grant(grant, t, k));
        assert_eq!(self.ended[&token], Ok(Outcome::Ok));
        slot.unwrap()
    }

    pub fn write(
        &mut self,
        slot: u16,
        start: u64,
        blocks: &[u8],
    ) -> Option<Result<Outcome, LeafError>> {
        let req = self.next;
        let data = blocks.iter().flat_map(|b| vec![*b; BLOCK]).collect();
        self.buffers.insert(req, data);
        let span = Span {
            start,
            count: blocks.len() as u32,
        };
        let buf = Buf::Request {
            req: ReqId(req),
            at: 0,
        };
        let (token, ()) = self.call(|s, t, k| s.write(slot, span, buf, t, k));
        self.ended.get(&token).cloned()
    }

    pub fn read(&mut self, slot: u16, start: u64, count: u32) -> Vec<u8> {
        self.try_read(slot, start, count).unwrap()
    }

    /// The first byte of each block, which all its bytes are.
    pub fn try_read(&mut self, slot: u16, start: u64, count: u32) -> Result<Vec<u8>, LeafError> {
        let req = self.next;
        self.buffers.insert(req, vec![0xee; count as usize * BLOCK]);
        let buf = Buf::Request {
            req: ReqId(req),
            at: 0,
        };
        let span = Span { start, count };
        let (token, ()) = self.call(|s, t, k| s.read(slot, span, buf, t, k));
        self.ended[&token].clone()?;
        let data = self.buffers.remove(&req).unwrap();
        for block in data.chunks(BLOCK) {
            assert!(
                block.iter().all(|b| *b == block[0]),
                "a block is of one write"
            );
        }
        Ok(data.chunks(BLOCK).map(|b| b[0]).collect())
    }

    pub fn discard(&mut self, slot: u16, start: u64, count: u64) {
        let (token, ()) = self.call(|s, t, k| s.discard(slot, start, count, t, k));
        assert_eq!(self.ended[&token], Ok(Outcome::Ok));
    }

    pub fn flush(&mut self) {
        let (token, ()) = self.call(|s, t, k| s.flush(t, k));
        assert_eq!(self.ended[&token], Ok(Outcome::Ok));
    }

    /// Closes the disk in good order.
    pub fn close(&mut self) {
        let (token, ()) = self.call(|s, t, k| s.close(t, k));
        assert_eq!(self.ended[&token], Ok(Outcome::Ok));
    }

    pub fn crash(&mut self) {
        self.store = Store::open(
            &mut self.disk,
            Some(DISK),
            &self.volatile,
            Config::default(),
        )
        .unwrap();
        self.volatile.clear();
    }
}
