//! The store on a disk in memory, every effect carried out at once, against a model of the content.
//! Crashes of the process are played by opening the disk anew with the volatile log; what power
//! cuts leave is the simulator's subject.

use super::*;
use crate::disk::{Disk, MemDisk};
use crate::format::geometry::GeometryChoice;
use crate::io::{Buf, Completion, ReqId};
use crate::leaf::{LegsRecord, Span};
use layout::{DiskUid, Epoch, Generation, ObjectPath, VolumeUid};
use std::collections::BTreeMap;

const CHOICE: GeometryChoice = GeometryChoice {
    segment_blocks: 8,
    unit_segments: 4,
    slots: 4,
    journal_blocks: 64,
};
const BLOCK: usize = layout::BLOCK as usize;
const DISK: DiskUid = DiskUid([1; 16]);

struct Bench {
    disk: MemDisk,
    store: Store,
    volatile: Vec<u8>,
    buffers: BTreeMap<u64, Vec<u8>>,
    ended: BTreeMap<Token, Result<Outcome, LeafError>>,
    notices: Vec<Notice>,
    next: u64,
}

impl Bench {
    fn new(size: u64) -> Self {
        let mut disk = MemDisk::new(size);
        let new = Format {
            disk: DISK,
            label: "t".into(),
            created: 0,
            choice: CHOICE,
        };
        format(&mut disk, &new).unwrap();
        let store = Store::open(&mut disk, Some(DISK), &[], Config::default()).unwrap();
        Bench {
            disk,
            store,
            volatile: Vec::new(),
            buffers: BTreeMap::new(),
            ended: BTreeMap::new(),
            notices: Vec::new(),
            next: 1,
        }
    }

    fn call<T>(&mut self, f: impl FnOnce(&mut Store, Token, &mut Sink<'_>) -> T) -> (Token, T) {
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
            let end = match kind {
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
                    self.disk.read(offset, &mut meta).unwrap();
                    Completion::Bytes(&meta)
                }
                IoKind::Flush => Completion::Done,
                other => panic!("unexpected {other:?}"),
            };
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

    fn grant(&mut self, volume: u8, segments: u32, units: &[u32]) -> u16 {
        let grant = Grant {
            volume: VolumeUid([volume; 16]),
            path: ObjectPath::ROOT,
            generation: Generation(1),
            segments,
            units: units.to_vec(),
            owner: vec![volume; 5000],
            legs: LegsRecord::default(),
        };
        let (token, slot) = self.call(|s, t, k| s.grant(grant, t, k));
        assert_eq!(self.ended[&token], Ok(Outcome::Ok));
        slot.unwrap()
    }

    fn write(
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

    fn read(&mut self, slot: u16, start: u64, count: u32) -> Vec<u8> {
        let req = self.next;
        self.buffers.insert(req, vec![0xee; count as usize * BLOCK]);
        let buf = Buf::Request {
            req: ReqId(req),
            at: 0,
        };
        let span = Span { start, count };
        let (token, ()) = self.call(|s, t, k| s.read(slot, span, buf, t, k));
        assert_eq!(self.ended[&token], Ok(Outcome::Ok));
        let data = self.buffers.remove(&req).unwrap();
        for block in data.chunks(BLOCK) {
            assert!(
                block.iter().all(|b| *b == block[0]),
                "a block is of one write"
            );
        }
        data.chunks(BLOCK).map(|b| b[0]).collect()
    }

    fn discard(&mut self, slot: u16, start: u64, count: u64) {
        let (token, ()) = self.call(|s, t, k| s.discard(slot, start, count, t, k));
        assert_eq!(self.ended[&token], Ok(Outcome::Ok));
    }

    fn flush(&mut self) {
        let (token, ()) = self.call(|s, t, k| s.flush(t, k));
        assert_eq!(self.ended[&token], Ok(Outcome::Ok));
    }

    fn crash(&mut self) {
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

#[test]
fn content_and_space_come_and_go() {
    let mut b = Bench::new(4 << 20);
    let slot = b.grant(7, 6, &[0, 1]);
    assert_eq!(b.read(slot, 0, 48), vec![0; 48]);
    b.write(slot, 5, &[1, 2, 3, 4, 5]).unwrap().unwrap();
    assert_eq!(b.read(slot, 4, 7), vec![0, 1, 2, 3, 4, 5, 0]);
    assert_eq!(b.store.usage(slot), (vec![0, 1], 2));
    b.discard(slot, 6, 40);
    b.flush();
    assert_eq!(b.read(slot, 4, 7), vec![0, 1, 0, 0, 0, 0, 0]);
    assert_eq!(b.store.usage(slot), (vec![0, 1], 1));
    b.crash();
    assert_eq!(b.read(slot, 4, 7), vec![0, 1, 0, 0, 0, 0, 0]);
    let text = owner_text(
        &mut b.disk,
        b.store.superblock(),
        slot,
        &b.store.object(slot).record,
    );
    assert_eq!(text.unwrap(), vec![7; 5000]);
}

#[test]
fn a_writer_without_space_waits_and_is_served_or_refused() {
    let mut b = Bench::new(4 << 20);
    let slot = b.grant(7, 8, &[2]);
    b.write(slot, 0, &[1; 32]).unwrap().unwrap();
    assert_eq!(b.write(slot, 32, &[2; 8]), None);
    assert!(matches!(
        b.notices.last(),
        Some(Notice::PlacementFault { units: 1, .. })
    ));
    b.call(|s, _, k| s.refuse(slot, k));
    let last = b.next - 2;
    assert_eq!(b.ended[&last], Err(LeafError::NoSpace));
    assert_eq!(b.read(slot, 32, 8), vec![0; 8]);
    assert_eq!(b.write(slot, 32, &[3; 8]), None);
    let waiting = b.next - 1;
    assert_eq!(b.grant(7, 8, &[2, 3]), slot);
    assert_eq!(b.ended[&waiting], Ok(Outcome::Ok));
    assert_eq!(b.read(slot, 32, 8), vec![3; 8]);
    b.discard(slot, 0, 32);
    b.flush();
    b.write(slot, 40, &[4; 24]).unwrap().unwrap();
    assert_eq!(b.store.usage(slot).1, 4);
}

#[test]
fn units_are_free_again_after_a_release_and_show_nothing_of_the_old_owner() {
    let mut b = Bench::new(4 << 20);
    let old = b.grant(7, 8, &[0, 1]);
    b.write(old, 0, &[9; 64]).unwrap().unwrap();
    let contradiction = Grant {
        volume: VolumeUid([8; 16]),
        path: ObjectPath::ROOT,
        generation: Generation(1),
        segments: 4,
        units: vec![1],
        owner: Vec::new(),
        legs: LegsRecord::default(),
    };
    let (_, refused) = b.call(|s, t, k| s.grant(contradiction.clone(), t, k));
    assert!(
        refused
            .unwrap_err()
            .to_string()
            .contains("unit 1 belongs to volume 0707")
    );
    let (token, released) = b.call(|s, t, k| s.release(old, t, k));
    released.unwrap();
    assert_eq!(b.ended[&token], Ok(Outcome::Ok));
    let new = b.grant(8, 8, &[0, 1]);
    b.write(new, 3, &[5]).unwrap().unwrap();
    b.crash();
    assert_eq!(b.read(new, 0, 8), vec![0, 0, 0, 5, 0, 0, 0, 0]);
    assert_eq!(b.store.find(VolumeUid([7; 16]), ObjectPath::ROOT), None);
}

#[test]
fn a_held_epoch_tells_what_changed() {
    let mut b = Bench::new(4 << 20);
    let slot = b.grant(7, 4, &[0]);
    b.write(slot, 0, &[1; 16]).unwrap().unwrap();
    let (_, epoch) = b.call(|s, _, k| s.cut_epoch(slot, k));
    assert_eq!(epoch, Epoch(1));
    b.write(slot, 3, &[2; 2]).unwrap().unwrap();
    b.discard(slot, 8, 8);
    b.flush();
    b.crash();
    let mut scan = |segment, since| {
        let (token, ()) = b.call(|s, t, k| s.scan(slot, segment, since, t, k));
        let Ok(Outcome::Scan(scan)) = b.ended[&token].clone() else {
            panic!("no scan")
        };
        (scan.valid[0], scan.changed[0])
    };
    assert_eq!(scan(0, epoch), (0xff, 0b11000));
    assert_eq!(scan(1, epoch), (0, 0xff));
    assert_eq!(scan(2, epoch), (0, 0));
    b.call(|s, _, k| s.release_epoch(slot, epoch, k));
    b.crash();
    assert_eq!(b.read(slot, 0, 8), vec![1, 1, 1, 2, 2, 1, 1, 1]);
}

#[test]
fn random_operations_against_a_model() {
    let seed = std::env::var("STRATOVOL_SEED")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or(1u64);
    println!(
        "seed {seed}; replay with STRATOVOL_SEED={seed} cargo test -p engine random_operations"
    );
    let mut state = seed;
    let mut random = move |n: u64| {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 33) % n
    };
    let mut b = Bench::new(4 << 20);
    let slots = [b.grant(1, 12, &[0, 1, 2]), b.grant(2, 12, &[3, 4, 5])];
    let mut model = [vec![0u8; 96], vec![0u8; 96]];
    let mut held = [None, None];
    for step in 0..20_000u64 {
        let v = random(2) as usize;
        let (start, most) = (random(96), 1 + random(20));
        let count = most.min(96 - start);
        let range = start as usize..(start + count) as usize;
        match random(100) {
            0..45 => {
                let data: Vec<u8> = (0..count).map(|i| (1 + (step + i) % 255) as u8).collect();
                b.write(slots[v], start, &data).unwrap().unwrap();
                model[v][range].copy_from_slice(&data);
            }
            45..75 => assert_eq!(
                b.read(slots[v], start, count as u32),
                model[v][range],
                "{step}"
            ),
            75..90 => {
                b.discard(slots[v], start, count);
                model[v][range].fill(0);
            }
            90..96 => b.flush(),
            96..97 => match held[v].take() {
                Some(e) => drop(b.call(|s, _, k| s.release_epoch(slots[v], e, k))),
                None => held[v] = Some(b.call(|s, _, k| s.cut_epoch(slots[v], k)).1),
            },
            _ => b.crash(),
        }
    }
    for v in 0..2 {
        assert_eq!(b.read(slots[v], 0, 96), model[v]);
    }
    let (token, ()) = b.call(|s, t, k| s.close(t, k));
    assert_eq!(b.ended[&token], Ok(Outcome::Ok));
    assert!(read_superblock(&mut b.disk).unwrap().clean);
}
