//! A shell around the engine whose disks are memory: carries effects out in the order given, one
//! by one, so that the engine can be stopped dead between any two of them.
//!
//! What outlives the engine is what outlives a process: the disks, the volatile logs, and the
//! requests that were not answered, which are submitted again.

use crate::demo::place::Leaf;
use anyhow::{Context, anyhow, ensure};
use engine::disk::{Disk, MemDisk};
use engine::io::{
    Buf, CommandError, CommandId, Completion, DiskIndex, Effect, Effects, IoFault, IoId, IoKind,
    Notice, Now, Op, ReqId, VolumeId,
};
use engine::leaf::LegsRecord;
use engine::node::{Config, Engine};
use engine::store::{self, Grant, Store};
use layout::{DiskUid, Layout, UnitRange, VolumeUid};
use std::collections::{BTreeMap, VecDeque};

/// The one volume.
const VOLUME: VolumeId = VolumeId(0);
/// The error number of a disk that is gone (EIO).
const EIO: i32 = 5;

/// A disk with its volatile log.
pub struct Kept {
    /// What its superblock says.
    pub uid: DiskUid,
    /// The disk.
    pub disk: MemDisk,
    log: Vec<u8>,
    failed: bool,
}

struct Request {
    op: Op,
    buffer: Vec<u8>,
}

struct Ended {
    id: IoId,
    result: Result<Option<Vec<u8>>, IoFault>,
}

/// Disks, logs and requests, and the engine while it lives.
pub struct Shell {
    /// The disks.
    pub disks: Vec<Kept>,
    engine: Engine,
    requests: BTreeMap<u64, Request>,
    /// Buffers of reads that were answered.
    read: BTreeMap<u64, Vec<u8>>,
    next: u64,
    effects: VecDeque<Effect>,
    ended: VecDeque<Ended>,
    scratch: BTreeMap<u16, Vec<u8>>,
    answers: BTreeMap<u64, Result<(), CommandError>>,
    /// What the engine said by itself.
    pub notices: Vec<Notice>,
    now: Now,
}

impl Shell {
    /// Opens formatted disks.
    pub fn new(disks: Vec<(DiskUid, MemDisk)>) -> anyhow::Result<Self> {
        let kept = |(uid, disk)| Kept {
            uid,
            disk,
            log: Vec::new(),
            failed: false,
        };
        let mut shell = Shell {
            disks: disks.into_iter().map(kept).collect(),
            engine: Engine::new(Config::default()),
            requests: BTreeMap::new(),
            read: BTreeMap::new(),
            next: 0,
            effects: VecDeque::new(),
            ended: VecDeque::new(),
            scratch: BTreeMap::new(),
            answers: BTreeMap::new(),
            notices: Vec::new(),
            now: 1,
        };
        shell.open()?;
        Ok(shell)
    }

    fn open(&mut self) -> anyhow::Result<()> {
        let mut out = Effects::new();
        for (kept, index) in self.disks.iter_mut().zip(0u16..) {
            if kept.failed {
                continue;
            }
            let config = store::Config::default();
            let store = Store::open(&mut kept.disk, Some(kept.uid), &kept.log, config)?;
            kept.log.clear();
            let index = DiskIndex(index);
            self.engine.attach_disk(self.now, index, store, &mut out);
        }
        self.effects.extend(out);
        Ok(())
    }

    /// The engine stops dead; its successor takes over what outlives a process.
    pub fn kill(&mut self, layout: &Layout) -> anyhow::Result<()> {
        self.engine = Engine::new(Config::default());
        self.effects.clear();
        self.ended.clear();
        self.open()?;
        self.attach(layout)?;
        let again: Vec<(u64, Op)> = self.requests.iter().map(|(n, r)| (*n, r.op)).collect();
        for (number, op) in again {
            self.start(number, op);
        }
        Ok(())
    }

    /// Every I/O on the disk is an error from now on.
    pub fn fail(&mut self, uid: DiskUid) {
        let disks = self.disks.iter_mut().filter(|d| d.uid == uid);
        disks.for_each(|d| d.failed = true);
    }

    fn with<T>(&mut self, act: impl FnOnce(&mut Engine, Now, &mut Effects) -> T) -> T {
        let mut out = Effects::new();
        let result = act(&mut self.engine, self.now, &mut out);
        self.effects.extend(out);
        result
    }

    /// Begins a command and waits for its answer.
    fn command(
        &mut self,
        begin: impl FnOnce(&mut Engine, Now, CommandId, &mut Effects) -> Result<(), CommandError>,
    ) -> anyhow::Result<()> {
        self.next += 1;
        let number = self.next;
        self.with(|e, now, out| begin(e, now, CommandId(number), out))?;
        self.settle()?;
        let answer = self.answers.remove(&number);
        Ok(answer.context("a command was not answered")??)
    }

    /// Grants a leaf its units.
    pub fn grant(&mut self, layout: &Layout, leaf: &Leaf, owner: &str) -> anyhow::Result<()> {
        let grant = Grant {
            volume: layout.volume,
            path: leaf.path,
            generation: layout.generation,
            segments: u32::try_from(leaf.size / layout::SEGMENT)?,
            units: leaf.units.iter().flat_map(UnitRange::iter).collect(),
            owner: owner.as_bytes().to_vec(),
            legs: LegsRecord::default(),
        };
        let disk = leaf.disk;
        self.command(|e, now, id, out| e.grant(now, disk, grant, id, out))
    }

    /// Attaches the volume.
    pub fn attach(&mut self, layout: &Layout) -> anyhow::Result<()> {
        Ok(self.with(|e, now, out| e.attach_volume(now, VOLUME, layout, out))?)
    }

    /// Gives the volume a new layout.
    pub fn relayout(&mut self, layout: &Layout) -> anyhow::Result<()> {
        Ok(self.with(|e, now, out| e.relayout(now, VOLUME, layout, out))?)
    }

    /// Whether every copy counts.
    pub fn all_live(&self) -> bool {
        let status = self.engine.status(VOLUME);
        let mut mirrors = status.iter().flat_map(|s| &s.mirrors);
        mirrors.all(|m| m.legs.iter().all(|l| l.state == engine::volume::Leg::Live))
    }

    /// Bytes in use on the disks that serve.
    pub fn used(&self) -> u64 {
        let stores = self.engine.stores().filter(|(_, s)| s.failed().is_none());
        let slots = stores.flat_map(|(_, s)| s.records().map(move |(slot, _)| (s, slot)));
        slots
            .map(|(s, slot)| u64::from(s.usage(slot).1) * s.geometry().segment_bytes())
            .sum()
    }

    /// Lets go of the volume and the disks, in good order.
    pub fn close(&mut self, volume: VolumeUid) -> anyhow::Result<()> {
        self.command(|e, now, id, out| e.detach_volume(now, VOLUME, id, out))
            .with_context(|| format!("detaching volume {volume}"))?;
        let serving: Vec<DiskUid> = self
            .disks
            .iter()
            .filter(|d| !d.failed)
            .map(|d| d.uid)
            .collect();
        for disk in serving {
            self.command(|e, now, id, out| e.close_disk(now, disk, id, out))?;
        }
        Ok(())
    }

    /// Begins a request with its data, or with room for it.
    pub fn submit(&mut self, op: Op, buffer: Vec<u8>) -> u64 {
        self.next += 1;
        self.requests.insert(self.next, Request { op, buffer });
        self.start(self.next, op);
        self.next
    }

    fn start(&mut self, number: u64, op: Op) {
        self.with(|e, now, out| e.submit(now, VOLUME, ReqId(number), op, out));
    }

    /// Reads.
    pub fn read(&mut self, off: u64, len: u32) -> anyhow::Result<Vec<u8>> {
        let number = self.submit(Op::Read { off, len }, vec![0; len as usize]);
        while !self.read.contains_key(&number) {
            ensure!(self.step()?, "a read is not answered");
        }
        self.read.remove(&number).context("a read without a buffer")
    }

    /// Requests that are not answered.
    pub fn running(&self) -> usize {
        self.requests.len()
    }

    /// Carries out everything there is.
    pub fn settle(&mut self) -> anyhow::Result<()> {
        while self.step()? {}
        Ok(())
    }

    /// Carries out one effect, or tells the engine of one ended I/O, or lets time pass where it
    /// waits for that; false where nothing is left to do.
    pub fn step(&mut self) -> anyhow::Result<bool> {
        if let Some(effect) = self.effects.pop_front() {
            self.run(effect)?;
        } else if let Some(ended) = self.ended.pop_front() {
            self.with(|e, now, out| {
                let how = match &ended.result {
                    Err(fault) => Completion::Failed(*fault),
                    Ok(Some(bytes)) => Completion::Bytes(bytes),
                    Ok(None) => Completion::Done,
                };
                e.complete(now, ended.id, how, out);
            });
        } else if let Some(wake) = self.engine.next_wake() {
            self.now = self.now.max(wake);
            self.with(|e, now, out| e.tick(now, out));
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    fn run(&mut self, effect: Effect) -> anyhow::Result<()> {
        match effect {
            Effect::Io {
                id,
                disk,
                offset,
                kind,
            } => {
                let result = self.io(disk, offset, kind)?;
                self.ended.push_back(Ended { id, result });
            }
            Effect::Zero { buf, len } => self.buffer(buf, len)?.fill(0),
            Effect::Append { disk, bytes } => self.kept(disk)?.log.extend(bytes),
            Effect::Trim { disk, bytes } => {
                self.kept(disk)?.log.drain(..usize::try_from(bytes)?);
            }
            Effect::Reply { req, result } => {
                let request = self.requests.remove(&req.0);
                let request = request.ok_or_else(|| anyhow!("a request is answered twice"))?;
                result.with_context(|| format!("{:?}", request.op))?;
                if matches!(request.op, Op::Read { .. }) {
                    self.read.insert(req.0, request.buffer);
                }
            }
            Effect::Answer { command, result } => drop(self.answers.insert(command.0, result)),
            Effect::Notice(notice) => self.notices.push(notice),
        }
        Ok(())
    }

    fn kept(&mut self, disk: DiskIndex) -> anyhow::Result<&mut Kept> {
        let kept = self.disks.get_mut(usize::from(disk.0));
        kept.with_context(|| format!("there is no disk {}", disk.0))
    }

    fn buffer(&mut self, buf: Buf, len: u32) -> anyhow::Result<&mut [u8]> {
        let (all, at) = match buf {
            Buf::Request { req, at } => {
                let request = self.requests.get_mut(&req.0);
                (
                    &mut request.context("an answered request is used")?.buffer,
                    at,
                )
            }
            Buf::Scratch { slot, at } => {
                let new = || vec![0; Buf::SCRATCH as usize];
                (self.scratch.entry(slot).or_insert_with(new), at)
            }
        };
        let end = at as usize + len as usize;
        all.get_mut(at as usize..end)
            .context("past the end of a buffer")
    }

    fn io(
        &mut self,
        disk: DiskIndex,
        offset: u64,
        kind: IoKind,
    ) -> anyhow::Result<Result<Option<Vec<u8>>, IoFault>> {
        if self.kept(disk)?.failed {
            return Ok(Err(IoFault { errno: EIO }));
        }
        let result = match kind {
            IoKind::Read { buf, len } => {
                let mut bytes = vec![0; len as usize];
                let result = self.kept(disk)?.disk.read(offset, &mut bytes);
                self.buffer(buf, len)?.copy_from_slice(&bytes);
                result.map(|()| None)
            }
            IoKind::Write { buf, len } => {
                let bytes = self.buffer(buf, len)?.to_vec();
                self.kept(disk)?.disk.write(offset, &bytes).map(|()| None)
            }
            IoKind::ReadMeta { len } => {
                let mut bytes = vec![0; len as usize];
                let result = self.kept(disk)?.disk.read(offset, &mut bytes);
                result.map(|()| Some(bytes))
            }
            IoKind::WriteMeta { bytes, .. } => {
                self.kept(disk)?.disk.write(offset, &bytes).map(|()| None)
            }
            IoKind::Flush => self.kept(disk)?.disk.flush().map(|()| None),
        };
        Ok(result)
    }
}
