//! Random requests, failures and crashes against the model. A seed is a whole life of a volume.

use super::model::Model;
use super::*;
use crate::io::IoError;
use crate::volume::{Counts, Leg, LegStatus, TRANSITIONS};

struct Life {
    rig: Rig,
    model: Model,
    rng: Rng,
    blocks: u64,
    region_segments: u32,
    /// Records about legs take long, and crashes come while they do.
    slow_records: bool,
    /// Requests not answered, with what is needed to judge the answer.
    open: BTreeMap<ReqId, Asked>,
    counts: Counts,
    /// When the last discard was submitted.
    discarded: u64,
    steps: Vec<String>,
}

#[derive(Debug)]
enum Asked {
    Read {
        start: u64,
        submitted: u64,
        allowed: Vec<Vec<Option<u64>>>,
    },
    Change {
        fua: bool,
    },
    Flush {
        submitted: u64,
    },
}

fn shapes() -> Vec<Shape> {
    let leaf = |n| Shape::Leaf(n);
    vec![
        pair(),
        pair(),
        Shape::Mirror(vec![leaf(12), leaf(12), leaf(12)]),
        Shape::Stripe(vec![pair(), pair()]),
        Shape::Mirror(vec![Shape::Concat(vec![leaf(7), leaf(5)]), leaf(12)]),
        Shape::Mirror(vec![
            Shape::Stripe(vec![leaf(6), leaf(6)]),
            leaf(12),
            leaf(12),
        ]),
        Shape::Concat(vec![leaf(4), pair(), Shape::Stripe(vec![leaf(4), leaf(4)])]),
    ]
}

impl Life {
    fn new(seed: u64) -> Life {
        let mut rng = Rng(seed);
        let all = shapes();
        let shape = all[rng.below(all.len() as u64) as usize].clone();
        let region_segments = 1 << rng.below(3);
        let slow_records = rng.one_in(2);
        let rig = Rig::new(&shape, region_segments);
        let blocks = rig.layout.size.0 / 4096;
        Life {
            rig,
            model: Model::new(blocks),
            rng,
            blocks,
            region_segments,
            slow_records,
            open: BTreeMap::new(),
            counts: [0; TRANSITIONS.len()],
            discarded: 0,
            steps: vec![format!("{shape:?} regions of {region_segments}")],
        }
    }

    fn disks(&self) -> Vec<u16> {
        let tree = self.rig.volume.as_ref().unwrap().tree();
        tree.leaves()
            .iter()
            .map(|l| u16::from(l.disk.0[0]) - 1)
            .collect()
    }

    fn submit(&mut self) {
        let most = if self.rng.one_in(8) { 20 } else { 4 };
        let count = 1 + self.rng.below(most);
        let start = self.rng.below(self.blocks - count);
        let (off, len) = (start * 4096, count * 4096);
        let kind = self.rng.below(16);
        let op = match kind {
            0..=5 => Op::Read {
                off,
                len: len as u32,
            },
            6..=12 => Op::Write {
                off,
                len: len as u32,
                fua: self.rng.one_in(6),
            },
            13 => Op::Discard { off, len },
            14 => Op::WriteZeroes { off, len },
            _ => Op::Flush,
        };
        let submitted = self.model.now();
        let req = ReqId(self.rig.next_req);
        let value = |i: u64| (kind <= 12).then_some(req.0 << 16 | i);
        let asked = match op {
            Op::Read { .. } => Asked::Read {
                start,
                submitted,
                allowed: (start..start + count)
                    .map(|b| self.model.candidates(b))
                    .collect(),
            },
            Op::Flush => Asked::Flush { submitted },
            _ => {
                let writes = (0..count).map(|i| (start + i, value(i))).collect();
                self.model.submit(req.0, writes);
                if kind > 12 {
                    self.discarded = submitted;
                }
                Asked::Change {
                    fua: matches!(op, Op::Write { fua: true, .. }),
                }
            }
        };
        self.open.insert(req, asked);
        self.steps
            .push(format!("{req:?} {op:?} at {start}+{count}"));
        assert_eq!(self.rig.submit(op), req);
    }

    /// Judges what was answered.
    fn judge(&mut self) {
        for (req, result) in std::mem::take(&mut self.rig.replies) {
            self.steps.push(format!("{req:?} -> {result:?}"));
            match self.open.remove(&req).unwrap() {
                Asked::Change { fua } => {
                    // A request over several mirrors may be done on those that had space.
                    let whole = matches!(self.rig.layout.root.kind, Kind::Mirror { .. });
                    let never = whole && result == Err(IoError::NoSpace);
                    self.model
                        .answer(req.0, result.is_ok(), never, fua && result.is_ok());
                }
                Asked::Flush { submitted } => {
                    if result.is_ok() {
                        self.model.flushed(submitted);
                    }
                }
                Asked::Read {
                    start,
                    submitted,
                    allowed,
                } => {
                    let got = self.rig.fake.buffers.remove(&req).unwrap();
                    if result.is_err() {
                        continue;
                    }
                    for (i, v) in got.iter().enumerate() {
                        let block = start + i as u64;
                        // Allowed: what could be there at either end of the read. A write that came
                        // and went meanwhile is too, and is in neither list: it is looked up.
                        let known = allowed[i].contains(v) || self.model.may_be(block, *v);
                        let discarded = self.discarded > submitted;
                        let between = v.map_or(discarded, |v| v >> 16 > req.0);
                        assert!(known || between, "{req:?} block {block} gave {v:?}");
                    }
                }
            }
        }
    }

    /// The volume comes back after it was gone; every block is read, and from then on it is that.
    fn reattach(&mut self, power: bool) {
        self.open.clear();
        self.rig.replies.clear();
        self.rig.fake.buffers.clear();
        self.model.crash();
        if self.rig.attach().is_err() {
            self.steps.push("all disks come back".into());
            self.rig.fake.failed.clear();
            self.rig.attach().unwrap();
        }
        self.rig.fake.full.clear();
        let first = self.read_all();
        self.steps.push("settled".into());
        self.rig.settle();
        let again = self.read_all();
        for (block, (a, b)) in first.iter().zip(&again).enumerate() {
            assert!(a == b, "block {block} was {a:?}, then {b:?}");
            let block = block as u64;
            let may = self.model.candidates(block);
            assert!(may.contains(a), "block {block} is {a:?} of {may:?}");
            self.model.settle(block, *a, power);
        }
        self.rig.check_legs();
    }

    fn read_all(&mut self) -> Vec<Option<u64>> {
        let len = (self.blocks * 4096) as u32;
        let req = self.rig.submit(Op::Read { off: 0, len });
        self.rig.run(req).unwrap();
        self.rig.fake.buffers.remove(&req).unwrap()
    }

    fn count(&mut self) {
        let n = self.rig.volume.as_ref().unwrap().transitions();
        self.counts.iter_mut().zip(n).for_each(|(c, n)| *c += n);
    }

    fn crash(&mut self, power: bool) {
        let status = self.rig.volume.as_ref().unwrap().status();
        self.steps.push(format!(
            "crash, power cut: {power}, of {:?}",
            status.mirrors
        ));
        self.count();
        if power {
            self.rig.fake.power_cut(&mut self.rng);
            self.model.lose();
        } else {
            self.rig.fake.crash(&mut self.rng);
            // A disk that forgot what was not flushed, and nobody knows, be it back or not.
            let failed = |d: &DiskUid| self.rig.fake.failed.contains(&(u16::from(d.0[0]) - 1));
            let forgot = |l: &LegStatus| match l.state {
                Leg::Stale | Leg::Rebuilding(_) => false,
                Leg::Dropping(None) => true,
                Leg::Live | Leg::Joining | Leg::Dropping(Some(_)) => l.disks.iter().any(failed),
            };
            let leaves = self.rig.volume.as_ref().unwrap().tree().leaves().iter();
            let mut plain = leaves.filter(|l| l.mirror.is_none()).map(|l| &l.disk);
            let mut legs = status.mirrors.iter().flat_map(|m| &m.legs);
            if legs.any(forgot) || plain.any(failed) {
                self.model.lose();
            }
        }
        self.rig.volume = None;
        self.reattach(power);
    }

    fn detach(&mut self) {
        self.steps.push("detach".into());
        self.rig.with(|v, cx| v.detach(CommandId(1), cx));
        self.rig.settle();
        self.judge();
        assert!(self.rig.volume.as_ref().unwrap().is_detached());
        assert_eq!(std::mem::take(&mut self.rig.answers), [CommandId(1)]);
        assert!(self.open.is_empty());
        self.count();
        let status = self.rig.volume.take().unwrap().status();
        let well = |m: &MirrorStatus| m.legs.iter().all(|l| l.state == Leg::Live) && m.differ == 0;
        if status.mirrors.iter().all(well) && !self.lost(&status) {
            let marked = |l: &FakeLeaf| !l.durable.dirty.is_empty() || !l.durable.resync.is_empty();
            let leaves = &self.rig.fake.leaves;
            for leaf in self.rig.layout_disks() {
                assert!(
                    !marked(&leaves[&(leaf, 0)]),
                    "marks are left after a detach"
                );
            }
        } else if self.lost(&status) {
            self.model.lose();
        }
        self.reattach(false);
    }

    fn lost(&self, s: &VolumeStatus) -> bool {
        s.lost || s.mirrors.iter().any(|m| m.lost)
    }

    fn disturb(&mut self) {
        let disks = self.disks();
        let disk = disks[self.rng.below(disks.len() as u64) as usize];
        match self.rng.below(9) {
            0 | 1 if self.rig.fake.failed.is_empty() || self.rng.one_in(6) => {
                self.steps.push(format!("disk {disk} fails"));
                self.rig.fake.fail(disk, &mut self.rng);
            }
            2..=4 => {
                let Some(disk) = self.rig.fake.failed.first().copied() else {
                    return;
                };
                self.back(disk);
            }
            5 => {
                let leaf = self.rng.below(disks.len() as u64) as usize;
                if self.rng.one_in(3) {
                    let done = self.rig.replace(leaf, self.region_segments);
                    self.steps.push(format!("leaf {leaf} replaced: {done:?}"));
                }
            }
            6 => {
                self.steps.push(format!("disk {disk} full, or not"));
                if !self.rig.fake.full.remove(&disk) {
                    self.rig.fake.full.insert(disk);
                }
            }
            7 => {
                self.rig.now += self.rng.below(20_000_000_000);
                self.rig.with(|v, cx| v.tick(cx));
            }
            _ => {}
        }
    }

    /// A disk is reopened: only once everything on it has ended with an error.
    fn back(&mut self, disk: u16) {
        self.rig.with(|v, cx| v.disk_gone(DiskIndex(disk), cx));
        while let Some(i) = self.rig.fake.of_disk(disk) {
            self.rig.end(i);
        }
        self.steps.push(format!("disk {disk} is back"));
        self.rig.fake.failed.remove(&disk);
        let uid = DiskUid([disk as u8 + 1; 16]);
        self.rig.with(|v, cx| v.disk_back(uid, &mut lookup, cx));
    }

    fn step(&mut self) {
        let pending = self.rig.fake.pending.len() as u64;
        let fake = &self.rig.fake;
        let recording = self.slow_records && (0..fake.pending.len()).any(|i| fake.is_record(i));
        match self.rng.below(100) {
            0 => self.disturb(),
            1 if recording || self.rng.one_in(8) => {
                let power = self.rng.one_in(2);
                self.crash(power);
            }
            2 if self.rng.one_in(8) => self.detach(),
            3..=30 if self.open.len() < 12 => self.submit(),
            _ if pending > 0 => {
                let mut i = self.rng.below(pending) as usize;
                if recording && self.rig.fake.is_record(i) && !self.rng.one_in(8) {
                    i = self.rng.below(pending) as usize;
                }
                self.rig.end(i);
            }
            _ => self.submit(),
        }
        self.judge();
        let status = self.rig.volume.as_ref().unwrap().status();
        if self.lost(&status) {
            self.steps.push("lost".into());
            self.rig.settle();
            self.judge();
            self.crash(true);
        }
    }

    fn live(&mut self, steps: u32) {
        for _ in 0..steps {
            self.step();
        }
        self.rig.fake.full.clear();
        for disk in self.rig.fake.failed.clone() {
            self.back(disk);
        }
        self.rig.settle();
        self.judge();
        assert!(self.open.is_empty(), "not answered: {:?}", self.open);
        self.rig.check_legs();
        let power = self.lost(&self.rig.volume.as_ref().unwrap().status());
        self.crash(power);
        let status = self.rig.volume.as_ref().unwrap().status();
        let live = |m: &MirrorStatus| m.legs.iter().all(|l| l.state == Leg::Live);
        assert!(
            status.mirrors.iter().all(live),
            "not whole at the end: {status:?}"
        );
        assert_eq!(status.mirrors.iter().map(|m| m.differ).sum::<usize>(), 0);
        self.count();
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let from = self.steps.len().saturating_sub(400);
            self.steps[from..].iter().for_each(|s| eprintln!("{s}"));
        }
    }
}

/// `VOLUME_SEED` replays one seed, `VOLUME_SEEDS` says how many.
#[test]
fn random_lives() {
    let number = |name| {
        std::env::var(name)
            .ok()
            .and_then(|s: String| s.parse::<u64>().ok())
    };
    let (first, count) = match number("VOLUME_SEED") {
        Some(seed) => (seed, 1),
        None => (1, number("VOLUME_SEEDS").unwrap_or(400)),
    };
    let mut counts: Counts = [0; TRANSITIONS.len()];
    for seed in first..first + count {
        println!("seed {seed}: VOLUME_SEED={seed} cargo test --release -p engine random_lives");
        let mut life = Life::new(seed);
        life.live(1500);
        counts
            .iter_mut()
            .zip(life.counts)
            .for_each(|(c, n)| *c += n);
    }
    for (name, n) in TRANSITIONS.iter().zip(counts) {
        println!("{n:8} {name}");
        assert!(n > 0 || count < 100, "never: {name}");
    }
}

/// Each of these is seen: a life with it breaks what one without it keeps.
#[cfg(feature = "planted-bugs")]
#[test]
fn planted_mistakes_are_seen() {
    use crate::planted::{Bug, Planted};
    let bugs = [
        Bug::LegLossNotDurable,
        Bug::StaleLegRead,
        Bug::RebuildForgetsDiscards,
        Bug::DirtyMarkSkipped,
    ];
    let mut missed = Vec::new();
    for bug in bugs {
        let seen = (1..=1000u64).find_map(|seed| {
            let live = move || {
                let mut life = Life::new(seed);
                life.rig.planted = Planted::with(Some(bug));
                life.live(1500);
            };
            let broken = std::panic::catch_unwind(live).err()?;
            let why = broken.downcast_ref::<String>().cloned();
            Some((seed, why.unwrap_or_default()))
        });
        println!("{bug:?}: {seen:?}");
        missed.extend(seen.is_none().then_some(bug));
    }
    assert_eq!(missed, [], "not seen in 1000 lives");
}
