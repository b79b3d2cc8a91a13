//! The world itself on trial: an engine too simple to be wrong passes, and each classic mistake
//! made in it is caught by the checker that is named for it.

use super::*;
use crate::run::{Plan, run_on};
use crate::swarm::Swarm;
use engine::io::{Buf, Completion, IoKind, Op};
use layout::{ObjectPath, VolumeUid};
use std::cell::Cell;

thread_local! {
    static MISTAKE: Cell<Mistake> = const { Cell::new(Mistake::None) };
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mistake {
    None,
    WriteAnsweredEarly,
    FlushAnsweredEarly,
    FuaIsNotFlushed,
    DiscardForgotten,
    WrongBlock,
    SameBlocksForAll,
    AnswersNothing,
    ReadsNotFilled,
    FailsForNoReason,
}

/// Every volume lies in one piece at a fixed place, for ever; all blocks are written in place.
struct Simple {
    mistake: Mistake,
    attached: BTreeMap<VolumeId, u64>,
    running: BTreeMap<IoId, (ReqId, Stage)>,
    next: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Last,
    WriteThenFlush,
    AnsweredBefore,
}

const ROOM: u64 = 600;

impl Simple {
    fn io(&mut self, req: ReqId, stage: Stage, offset: u64, kind: IoKind, out: &mut Effects) {
        self.next += 1;
        let id = IoId(self.next);
        self.running.insert(id, (req, stage));
        let disk = DiskIndex(0);
        out.push(Effect::Io {
            id,
            disk,
            offset,
            kind,
        });
    }
}

impl System for Simple {
    fn format(drives: &mut [Drive], _: &Swarm) -> Result<(), String> {
        drives[0].disk = SimDisk::new(64 * ROOM, drives[0].disk.habits());
        Ok(())
    }
    fn open(_: Now, _: &mut [Drive], _: &Swarm, _: Option<Bug>) -> Result<Self, String> {
        Ok(Simple {
            mistake: MISTAKE.get(),
            attached: BTreeMap::new(),
            running: BTreeMap::new(),
            next: 0,
        })
    }
    fn request(&mut self, _: Now, req: ReqId, volume: VolumeId, op: Op, out: &mut Effects) {
        let base = self.attached[&volume] * layout::BLOCK;
        let buf = Buf::Request { req, at: 0 };
        let answer = |out: &mut Effects| {
            out.push(Effect::Reply {
                req,
                result: Ok(()),
            })
        };
        match op {
            Op::Read { .. } if self.mistake == Mistake::ReadsNotFilled => answer(out),
            Op::Read { .. } if self.mistake == Mistake::FailsForNoReason => {
                let result = Err(engine::io::IoError::Io);
                out.push(Effect::Reply { req, result });
            }
            Op::Read { off, len } => {
                self.io(req, Stage::Last, base + off, IoKind::Read { buf, len }, out);
            }
            Op::Write { off, len, fua } => {
                let off = match self.mistake {
                    Mistake::WrongBlock if off > 0 => off - layout::BLOCK,
                    _ => off,
                };
                let stage = match fua && self.mistake != Mistake::FuaIsNotFlushed {
                    true => Stage::WriteThenFlush,
                    false if self.mistake == Mistake::WriteAnsweredEarly => Stage::AnsweredBefore,
                    false => Stage::Last,
                };
                self.io(req, stage, base + off, IoKind::Write { buf, len }, out);
                if stage == Stage::AnsweredBefore {
                    answer(out);
                }
            }
            Op::Flush if self.mistake == Mistake::FlushAnsweredEarly => answer(out),
            Op::Flush if self.mistake == Mistake::AnswersNothing => {}
            Op::Flush => self.io(req, Stage::Last, 0, IoKind::Flush, out),
            Op::Discard { .. } if self.mistake == Mistake::DiscardForgotten => answer(out),
            Op::Discard { off, len } | Op::WriteZeroes { off, len } => {
                let bytes = vec![0; len as usize];
                let kind = IoKind::WriteMeta { bytes, fua: false };
                self.io(req, Stage::Last, base + off, kind, out);
            }
        }
    }
    fn complete(&mut self, _: Now, io: IoId, end: Completion<'_>, out: &mut Effects) {
        let (req, stage) = self.running.remove(&io).unwrap();
        match end {
            Completion::Failed(_) if stage != Stage::AnsweredBefore => {
                let result = Err(engine::io::IoError::Io);
                out.push(Effect::Reply { req, result });
            }
            _ if stage == Stage::WriteThenFlush => {
                self.io(req, Stage::Last, 0, IoKind::Flush, out);
            }
            _ if stage == Stage::AnsweredBefore => {}
            _ => out.push(Effect::Reply {
                req,
                result: Ok(()),
            }),
        }
    }
    fn command(&mut self, _: Now, command: CommandId, what: &Command, out: &mut Effects) {
        if let Command::Attach(id, _) = what {
            let place = match self.mistake {
                Mistake::SameBlocksForAll => 1,
                _ => u64::from(id.0 % 64),
            };
            self.attached.insert(*id, place * ROOM);
        }
        out.push(Effect::Answer {
            command,
            result: Ok(()),
        });
    }
    fn tick(&mut self, _: Now, _: &mut Effects) {}
    fn reopen(
        &mut self,
        _: Now,
        _: DiskIndex,
        _: DiskIndex,
        _: &mut Drive,
        _: &Swarm,
        _: Option<Bug>,
        _: &mut Effects,
    ) -> Result<(), String> {
        Ok(())
    }
    fn is_whole(&self) -> bool {
        true
    }
    fn transitions(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }
    fn check(_: &mut Drive) -> Vec<String> {
        Vec::new()
    }
    fn usage(&self) -> Vec<(VolumeUid, u64)> {
        Vec::new()
    }
    fn digest(&self) -> String {
        ObjectPath::ROOT.to_string()
    }
}

fn plan(seed: u64) -> Plan {
    Plan {
        seed,
        operations: 400,
        bug: None,
        print: false,
        until: None,
        disks: None,
    }
}

/// Runs seeds until a violation; the checkers that complained.
fn seeds(mistake: Mistake, seeds: std::ops::Range<u64>) -> Vec<&'static str> {
    MISTAKE.set(mistake);
    let mut names = Vec::new();
    for seed in seeds {
        if let Some(violation) = run_on::<Simple>(plan(seed), 1).violation {
            assert!(mistake != Mistake::None, "seed {seed}: {violation}");
            names.push(violation.checker);
        }
    }
    names
}

#[test]
fn an_engine_too_simple_to_be_wrong_passes() {
    println!("seeds 0..60; replay one with run_on::<Simple>(plan(seed), 1)");
    assert!(seeds(Mistake::None, 0..60).is_empty());
}

#[test]
fn each_mistake_is_caught_by_the_checker_named_for_it() {
    for (mistake, checker) in [
        (Mistake::WriteAnsweredEarly, "acknowledged_survives"),
        (Mistake::FlushAnsweredEarly, "flushed_survives"),
        (Mistake::FuaIsNotFlushed, "flushed_survives"),
        (Mistake::DiscardForgotten, "reads_see_writes"),
        (Mistake::WrongBlock, "owners_are_separate"),
        (Mistake::SameBlocksForAll, "owners_are_separate"),
        (Mistake::AnswersNothing, "converges_after_heal"),
        (Mistake::ReadsNotFilled, "owners_are_separate"),
        (Mistake::FailsForNoReason, "errors_have_causes"),
    ] {
        let names = seeds(mistake, 0..40);
        assert!(
            names.contains(&checker),
            "{mistake:?} was caught by {names:?}"
        );
    }
}

#[test]
fn one_seed_is_one_run() {
    MISTAKE.set(Mistake::None);
    for seed in 0..5 {
        let (a, b) = (
            run_on::<Simple>(plan(seed), 1),
            run_on::<Simple>(plan(seed), 1),
        );
        assert_eq!((a.hash, a.steps), (b.hash, b.steps));
        assert_ne!(a.hash, run_on::<Simple>(plan(seed + 100), 1).hash);
    }
}
