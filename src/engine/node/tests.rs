//! A node over disks in memory: real stores, I/O carried out in order, a process that dies.

use super::*;
use crate::disk::{Disk, MemDisk};
use crate::format::geometry::GeometryChoice;
use crate::io::{Buf, IoFault, IoKind, Notice};
use crate::leaf::LegsRecord;
use crate::store::{Config as StoreConfig, Format, Grant, format};
use crate::volume::Leg;
use layout::{Bytes, Generation, Kind, Level, NodeName, Object};

const BLOCK: usize = layout::BLOCK as usize;
const CHOICE: GeometryChoice = GeometryChoice {
    segment_blocks: 8,
    unit_segments: 4,
    slots: 4,
    journal_blocks: 64,
};
const SEGMENTS: u32 = 8;
const VOLUME: VolumeId = VolumeId(3);

struct Slot {
    disk: MemDisk,
    volatile: Vec<u8>,
    broken: bool,
}

struct Bench {
    engine: Engine,
    slots: Vec<Slot>,
    buffers: BTreeMap<u64, Vec<u8>>,
    scratch: BTreeMap<u16, Vec<u8>>,
    replies: BTreeMap<ReqId, Result<(), IoError>>,
    answers: BTreeMap<CommandId, Result<(), CommandError>>,
    notices: Vec<Notice>,
    next: u64,
    now: Now,
}

fn uid(disk: usize) -> DiskUid {
    DiskUid([disk as u8 + 1; 16])
}

fn mirror(disks: &[usize]) -> Layout {
    let object = |kind| Object {
        level: Level::Host,
        node: NodeName::default(),
        generation: Generation(1),
        properties: Vec::new(),
        reasons: Vec::new(),
        kind,
    };
    let size = Bytes(u64::from(SEGMENTS) * 8 * layout::BLOCK);
    let leaf = |d: &usize| Kind::Extents {
        disk: uid(*d),
        size,
        units: Vec::new(),
    };
    let copies = disks.iter().map(|d| object(leaf(d))).collect();
    Layout {
        volume: VolumeUid([7; 16]),
        name: "v".into(),
        generation: Generation(1),
        size,
        root: object(Kind::Mirror { copies }),
    }
}

impl Bench {
    fn new(disks: usize) -> Bench {
        let mut b = Bench {
            engine: Engine::new(Config::default()),
            slots: Vec::new(),
            buffers: BTreeMap::new(),
            scratch: BTreeMap::new(),
            replies: BTreeMap::new(),
            answers: BTreeMap::new(),
            notices: Vec::new(),
            next: 1,
            now: 1,
        };
        for d in 0..disks {
            let mut disk = MemDisk::new(4 << 20);
            let new = Format {
                disk: uid(d),
                label: "t".into(),
                created: 0,
                choice: CHOICE,
            };
            format(&mut disk, &new).unwrap();
            b.slots.push(Slot {
                disk,
                volatile: Vec::new(),
                broken: false,
            });
            b.open(d);
        }
        b
    }

    fn open(&mut self, d: usize) {
        let slot = &mut self.slots[d];
        let config = StoreConfig::default();
        let store = Store::open(&mut slot.disk, Some(uid(d)), &slot.volatile, config).unwrap();
        slot.volatile.clear();
        self.call(|e, now, out| e.attach_disk(now, DiskIndex(d as u16), store, out));
    }

    fn call<T>(&mut self, f: impl FnOnce(&mut Engine, Now, &mut Effects) -> T) -> T {
        let mut out = Vec::new();
        let result = f(&mut self.engine, self.now, &mut out);
        let mut out = VecDeque::from(out);
        while let Some(effect) = out.pop_front() {
            let mut more = Vec::new();
            self.carry_out(effect, &mut more);
            out.extend(more);
        }
        result
    }

    fn part(&mut self, buf: Buf, len: u32) -> &mut [u8] {
        let (buffer, at) = match buf {
            Buf::Request { req, at } => (self.buffers.get_mut(&req.0).unwrap(), at),
            Buf::Scratch { slot, at } => {
                let new = || vec![0; Buf::SCRATCH as usize];
                (self.scratch.entry(slot).or_insert_with(new), at)
            }
        };
        &mut buffer[at as usize..(at + len) as usize]
    }

    fn carry_out(&mut self, effect: Effect, more: &mut Effects) {
        match effect {
            Effect::Io {
                id,
                disk,
                offset,
                kind,
            } => {
                let d = usize::from(disk.0);
                let mut meta = Vec::new();
                let end = if self.slots[d].broken {
                    Completion::Failed(IoFault { errno: 5 })
                } else {
                    self.io(d, offset, kind, &mut meta)
                };
                let end = if meta.is_empty() {
                    end
                } else {
                    Completion::Bytes(&meta)
                };
                self.engine.complete(self.now, id, end, more);
            }
            Effect::Zero { buf, len } => self.part(buf, len).fill(0),
            Effect::Append { disk, bytes } => {
                self.slots[usize::from(disk.0)].volatile.extend(bytes);
            }
            Effect::Trim { disk, bytes } => {
                self.slots[usize::from(disk.0)]
                    .volatile
                    .drain(..bytes as usize);
            }
            Effect::Reply { req, result } => assert!(self.replies.insert(req, result).is_none()),
            Effect::Answer { command, result } => {
                assert!(self.answers.insert(command, result).is_none());
            }
            Effect::Notice(n) => self.notices.push(n),
        }
    }

    fn io(&mut self, d: usize, at: u64, kind: IoKind, meta: &mut Vec<u8>) -> Completion<'static> {
        match kind {
            IoKind::Read { buf, len } => {
                let mut data = vec![0; len as usize];
                self.slots[d].disk.read(at, &mut data).unwrap();
                self.part(buf, len).copy_from_slice(&data);
            }
            IoKind::Write { buf, len } => {
                let data = self.part(buf, len).to_vec();
                self.slots[d].disk.write(at, &data).unwrap();
            }
            IoKind::WriteMeta { bytes, .. } => self.slots[d].disk.write(at, &bytes).unwrap(),
            IoKind::ReadMeta { len } => {
                meta.resize(len as usize, 0);
                self.slots[d].disk.read(at, meta).unwrap();
            }
            IoKind::Flush => {}
        }
        Completion::Done
    }

    fn grant(&mut self, disk: usize, leg: u8) {
        let grant = Grant {
            volume: VolumeUid([7; 16]),
            path: ObjectPath::ROOT.child(leg).unwrap(),
            generation: Generation(1),
            segments: SEGMENTS,
            units: vec![0, 1],
            owner: vec![1; 10],
            legs: LegsRecord::default(),
        };
        let command = CommandId(self.next);
        self.next += 1;
        self.call(|e, now, out| e.grant(now, uid(disk), grant, command, out))
            .unwrap();
        assert_eq!(self.answers.remove(&command), Some(Ok(())));
    }

    fn attach(&mut self, layout: &Layout) -> Result<(), CommandError> {
        self.call(|e, now, out| e.attach_volume(now, VOLUME, layout, out))
    }

    fn ask(&mut self, data: Vec<u8>, op: Op) -> (Result<(), IoError>, Vec<u8>) {
        let req = ReqId(self.next);
        self.next += 1;
        self.buffers.insert(req.0, data);
        self.call(|e, now, out| e.submit(now, VOLUME, req, op, out));
        let data = self.buffers.remove(&req.0).unwrap();
        (self.replies.remove(&req).unwrap(), data)
    }

    fn write(&mut self, block: u64, with: u8) -> Result<(), IoError> {
        let (off, len) = (block * BLOCK as u64, BLOCK as u32);
        self.ask(
            vec![with; BLOCK],
            Op::Write {
                off,
                len,
                fua: false,
            },
        )
        .0
    }

    fn read(&mut self) -> Vec<u8> {
        let len = SEGMENTS * 8 * BLOCK as u32;
        let (result, data) = self.ask(vec![0xee; len as usize], Op::Read { off: 0, len });
        result.unwrap();
        data.chunks(BLOCK).map(|b| b[0]).collect()
    }

    fn legs(&self) -> Vec<Leg> {
        let status = self.engine.status(VOLUME).unwrap();
        status.mirrors[0].legs.iter().map(|l| l.state).collect()
    }

    /// The process dies and comes back; nothing else is lost.
    fn crash(&mut self) {
        self.engine = Engine::new(Config::default());
        (0..self.slots.len()).for_each(|d| self.open(d));
    }
}

#[test]
fn a_mirror_on_real_stores_loses_a_disk_and_gets_it_back() {
    let mut b = Bench::new(3);
    b.grant(0, 0);
    b.grant(1, 1);
    let layout = mirror(&[0, 1]);
    b.attach(&layout).unwrap();
    for block in [0, 1, 9, 63] {
        b.write(block, block as u8 + 1).unwrap();
    }
    let mut model = vec![0; 64];
    [0, 1, 9, 63]
        .iter()
        .for_each(|b: &usize| model[*b] = *b as u8 + 1);
    assert_eq!(b.read(), model);
    b.crash();
    b.attach(&layout).unwrap();
    assert_eq!(b.read(), model);
    assert_eq!(
        b.engine.status(VOLUME).unwrap().mirrors[0].differ,
        0,
        "equal again"
    );

    b.slots[1].broken = true;
    b.write(9, 77).unwrap();
    model[9] = 77;
    assert_eq!(b.legs(), [Leg::Live, Leg::Stale]);
    assert!(
        b.notices
            .iter()
            .any(|n| matches!(n, Notice::LegDropped { leg: 1, .. }))
    );
    b.slots[1].broken = false;
    b.call(|e, now, out| e.detach_disk(now, DiskIndex(1), out))
        .map(|_| ())
        .unwrap();
    b.open(1);
    assert_eq!(b.legs(), [Leg::Live, Leg::Live]);
    b.write(10, 78).unwrap();
    model[10] = 78;

    // Now the other one goes for good, and a new disk takes its place.
    b.slots[0].broken = true;
    b.write(11, 79).unwrap();
    model[11] = 79;
    assert_eq!(b.read(), model);
    assert_eq!(b.legs(), [Leg::Stale, Leg::Live]);
    b.grant(2, 0);
    let layout = mirror(&[2, 1]);
    b.call(|e, now, out| e.relayout(now, VOLUME, &layout, out))
        .unwrap();
    assert_eq!(b.legs(), [Leg::Live, Leg::Live]);
    b.slots[1].broken = true;
    assert_eq!(b.read(), model);
    b.slots[0].broken = false;
    b.slots[1].broken = false;
    b.crash();
    b.attach(&layout).unwrap();
    assert_eq!(b.read(), model);
}

#[test]
fn a_detached_volume_is_clean_and_its_name_free() {
    let mut b = Bench::new(2);
    b.grant(0, 0);
    b.grant(1, 1);
    let layout = mirror(&[0, 1]);
    b.attach(&layout).unwrap();
    assert!(matches!(b.attach(&layout), Err(CommandError::Refused(_))));
    b.write(5, 5).unwrap();
    assert_eq!(b.engine.status(VOLUME).unwrap().mirrors[0].dirty, 1);
    b.call(|e, now, out| e.detach_volume(now, VOLUME, CommandId(99), out))
        .unwrap();
    assert_eq!(b.answers.remove(&CommandId(99)), Some(Ok(())));
    let len = BLOCK as u32;
    let (result, _) = b.ask(vec![0; BLOCK], Op::Read { off: 0, len });
    assert_eq!(result, Err(IoError::Detached));
    assert_eq!(b.engine.next_wake(), None, "no idle wakeups");
    b.attach(&layout).unwrap();
    assert_eq!(b.engine.status(VOLUME).unwrap().mirrors[0].dirty, 0);
    let cut = b.call(|e, now, out| e.cut_epoch(now, VOLUME, out)).unwrap();
    let next = b.call(|e, now, out| e.cut_epoch(now, VOLUME, out)).unwrap();
    assert_eq!(next, cut.next());
    b.call(|e, now, out| e.release_epoch(now, VOLUME, cut, out))
        .unwrap();
}

#[test]
fn what_is_not_there_is_named() {
    let mut b = Bench::new(2);
    b.grant(0, 0);
    let volume = VolumeUid([7; 16]);
    assert_eq!(
        b.attach(&mirror(&[0, 1])),
        Err(CommandError::UnknownVolume(volume))
    );
    assert_eq!(
        b.attach(&mirror(&[0, 5])),
        Err(CommandError::UnknownDisk(uid(5)))
    );
    b.grant(1, 1);
    let mut old = mirror(&[0, 1]);
    let Kind::Mirror { copies } = &mut old.root.kind else {
        unreachable!()
    };
    copies[1].generation = Generation(0);
    assert_eq!(
        b.attach(&old),
        Err(CommandError::StaleGeneration { given: 0, seen: 1 })
    );
    b.attach(&mirror(&[0, 1])).unwrap();
    let command = CommandId(50);
    let leaf = (volume, ObjectPath::ROOT.child(0).unwrap());
    let refused = b.call(|e, now, out| e.release(now, uid(0), leaf, command, out));
    assert!(matches!(refused, Err(CommandError::Refused(_))));
    let refused = b
        .call(|e, now, out| e.detach_disk(now, DiskIndex(0), out))
        .map(|_| ());
    assert!(matches!(refused, Err(CommandError::Refused(_))));
}

/// The layout of before is served where nobody compares generations: what
/// `what_is_not_there_is_named` would see.
#[cfg(feature = "planted-bugs")]
#[test]
fn a_generation_that_is_not_checked_is_seen() {
    use crate::planted::{Bug, Planted};
    let mut b = Bench::new(2);
    b.grant(0, 0);
    b.grant(1, 1);
    let mut old = mirror(&[0, 1]);
    let Kind::Mirror { copies } = &mut old.root.kind else {
        unreachable!()
    };
    copies[1].generation = Generation(0);
    let stale = CommandError::StaleGeneration { given: 0, seen: 1 };
    assert_eq!(b.attach(&old), Err(stale));
    b.engine = Engine::new(Config {
        planted: Planted::with(Some(Bug::GenerationNotChecked)),
        ..Config::default()
    });
    (0..2).for_each(|d| b.open(d));
    assert_eq!(b.attach(&old), Ok(()));
}
