//! The world around the engine: virtual time, the disks, the front end and the operator.
//!
//! Everything that happens is an event in a queue ordered by (time, sequence); nothing is decided
//! by anything but the seed. A crash strikes between any two effects of the engine.

mod commands;
mod crash;
mod finish;
mod io;
mod operator;
mod requests;
#[cfg(test)]
mod tests;

use crate::checkers::{Loss, Violation, io_is_sane};
use crate::content::Content;
use crate::coverage::Coverage;
use crate::disk::SimDisk;
use crate::event_log::EventLog;
use crate::model;
use crate::rng::Rng;
use crate::swarm::{Fault, Swarm};
use crate::system::{Command, Drive, System};
use crate::workload::Step;
use engine::io::{CommandId, DiskIndex, Effect, Effects, IoId, Notice, Now, ReqId, VolumeId};
use engine::planted::Bug;
use io::Running;
use layout::{Generation, ObjectPath};
use operator::Operator;
use requests::Request;
use smallvec::SmallVec;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

pub use requests::Action;

/// How often the engine is told the time.
const TICK: Now = 10_000_000;

/// Something that will happen.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Event {
    /// An I/O ends, if the process that started it still lives.
    IoEnd { life: u32, io: IoId },
    /// The engine is told the time.
    Tick,
    /// The operator sends a command that was not answered; once to each process.
    Command { life: u32, id: CommandId },
    /// A volume is served again: it gets the requests that an earlier process left open.
    SendAgain { life: u32, volume: u16 },
    /// The operator looks at a failed disk.
    Repair { life: u32, drive: usize },
}

/// A volume as the front end and the operator know it.
#[derive(Debug)]
pub(crate) struct Volume {
    pub id: VolumeId,
    pub model: model::Volume,
    /// What may have taken content from it last.
    pub loss: Loss,
    /// Requests are sent.
    pub served: bool,
    /// What becomes of it when no request is in flight any more.
    pub fate: Fate,
    /// A disk without which it cannot be failed, and it was not attached anew since.
    pub broken: bool,
    /// When a request for units was refused last.
    pub refused_at: Now,
    /// The newest description of each object that the engine took.
    pub taken: BTreeMap<ObjectPath, Generation>,
}

/// What becomes of a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It stays.
    Stay,
    /// It is detached, then attached again.
    Return,
    /// It is detached, then deleted.
    Go,
}

/// What is done to the system next, at some effect.
#[derive(Clone, Copy, Debug)]
struct Trap {
    fault: Fault,
    effects_left: u64,
}

/// The world of one seed.
pub struct World<S> {
    pub(crate) swarm: Swarm,
    bug: Option<Bug>,
    rng: Rng,
    pub(crate) now: Now,
    sequence: u64,
    queue: BinaryHeap<Reverse<(Now, u64, Event)>>,
    pub(crate) log: EventLog,
    pub(crate) coverage: Coverage,
    drives: Vec<Drive>,
    /// For each index of a disk that was ever given out in this process, the drive.
    indices: Vec<usize>,
    /// For each drive, which of its next I/Os fails.
    strikes: Vec<Option<u64>>,
    system: Option<S>,
    /// Counts the processes.
    life: u32,
    ios: BTreeMap<IoId, Running>,
    scratch: Vec<Vec<Content>>,
    requests: BTreeMap<ReqId, Request>,
    next_request: u64,
    /// Actions that come before any that the workload draws.
    wanted: VecDeque<Action>,
    pub(crate) volumes: BTreeMap<u16, Volume>,
    operator: Operator,
    commands: BTreeMap<CommandId, Command>,
    /// Commands that another had overtaken when they were sent: the generation that one of them
    /// carries, and the newer one that the engine had taken.
    sent_late: BTreeMap<CommandId, (Generation, Generation)>,
    next_command: u64,
    /// Disks that answered with an error and were not reopened since.
    failed: Vec<bool>,
    /// A fault of a disk is planned and has not struck, or its disk was not reopened yet.
    armed: bool,
    /// Disks that lost what they had not made durable, since their last flush that failed.
    forgetful: Vec<bool>,
    /// When the engine last answered anything.
    answered_at: Now,
    trap: Option<Trap>,
    effects: Effects,
    bytes: Vec<u8>,
}

impl<S: System> World<S> {
    /// A world with `disks` formatted disks and an engine that opened them.
    ///
    /// # Errors
    /// What went wrong at once.
    pub fn new(
        rng: &Rng,
        swarm: Swarm,
        disks: u16,
        bug: Option<Bug>,
        log: EventLog,
    ) -> Result<Self, Violation> {
        let operator = Operator::new(&swarm, disks);
        let drives: Vec<_> = (0..disks)
            .map(|i| Drive {
                uid: operator.disk_uid(i),
                disk: SimDisk::new(operator::disk_blocks(&swarm), swarm.habits),
                log: Default::default(),
            })
            .collect();
        let mut world = World {
            bug,
            rng: rng.fork("world"),
            now: 1,
            sequence: 0,
            queue: BinaryHeap::new(),
            log,
            coverage: Coverage::default(),
            strikes: vec![None; drives.len()],
            drives,
            system: None,
            life: 0,
            ios: BTreeMap::new(),
            scratch: Vec::new(),
            requests: BTreeMap::new(),
            next_request: 0,
            wanted: VecDeque::new(),
            volumes: BTreeMap::new(),
            operator,
            commands: BTreeMap::new(),
            sent_late: BTreeMap::new(),
            next_command: 0,
            failed: vec![false; usize::from(disks)],
            forgetful: vec![false; usize::from(disks)],
            armed: false,
            indices: Vec::new(),
            answered_at: 0,
            trap: None,
            effects: Vec::new(),
            bytes: Vec::new(),
            swarm,
        };
        S::format(&mut world.drives, &world.swarm).map_err(|what| Violation {
            checker: "format",
            what,
        })?;
        world.open()?;
        world.schedule(TICK, Event::Tick);
        Ok(world)
    }

    fn disk(&mut self, index: DiskIndex) -> &mut SimDisk {
        &mut self.drives[self.indices[usize::from(index.0)]].disk
    }

    fn schedule(&mut self, at: Now, event: Event) {
        self.sequence += 1;
        self.queue.push(Reverse((at, self.sequence, event)));
    }

    /// The volumes that take requests.
    pub(crate) fn served(&self) -> SmallVec<[u16; 4]> {
        let served = self
            .volumes
            .iter()
            .filter(|(_, v)| v.served && v.fate == Fate::Stay);
        served.map(|(number, _)| *number).collect()
    }

    /// Whether one more request may be sent.
    pub(crate) fn has_room(&self) -> bool {
        self.requests.len() < self.swarm.depth
    }

    /// Whether a disk failed, so that most of what is asked now is refused at once.
    pub(crate) fn waits_for_repair(&self) -> bool {
        self.failed.contains(&true)
    }

    /// Does what the workload drew.
    ///
    /// # Errors
    /// A broken invariant.
    pub fn take(&mut self, step: Step) -> Result<(), Violation> {
        match step {
            Step::Request(action) => self.submit(action),
            Step::Create => {
                self.create_volume();
                Ok(())
            }
            Step::Grow(volume) => {
                self.grow_volume(volume);
                Ok(())
            }
            Step::Delete(volume) => self.send_off(volume, Fate::Go),
            Step::Reattach(volume) => self.send_off(volume, Fate::Return),
        }
    }

    /// Lets the next event happen.
    ///
    /// # Errors
    /// A broken invariant.
    pub fn step(&mut self) -> Result<(), Violation> {
        let Some(Reverse((at, _, event))) = self.queue.pop() else {
            unreachable!("there is always a next tick");
        };
        self.now = self.now.max(at);
        match event {
            Event::IoEnd { life, io } if life == self.life => self.end_io(io),
            Event::IoEnd { .. } => Ok(()),
            Event::Command { life, id } if life == self.life => self.send_command(id),
            Event::Command { .. } => Ok(()),
            Event::SendAgain { life, volume } if life == self.life => self.send_again(volume),
            Event::SendAgain { .. } => Ok(()),
            Event::Repair { life, drive } if life == self.life => self.repair(drive),
            Event::Repair { .. } => Ok(()),
            Event::Tick => {
                self.schedule(self.now + TICK, Event::Tick);
                self.check_progress()?;
                let mut out = std::mem::take(&mut self.effects);
                if let Some(system) = &mut self.system {
                    system.tick(self.now, &mut out);
                }
                self.execute(out)
            }
        }
    }

    /// Runs what the engine asks, in order; a trap strikes between two effects, or in an append.
    fn execute(&mut self, mut out: Effects) -> Result<(), Violation> {
        let life = self.life;
        for effect in out.drain(..) {
            if let Some(trap) = &mut self.trap {
                if trap.effects_left == 0 {
                    return self.spring(Some(effect));
                }
                trap.effects_left -= 1;
            }
            self.effect(effect)?;
        }
        assert_eq!(self.life, life, "only a trap ends a process here");
        self.effects = out;
        Ok(())
    }

    fn effect(&mut self, effect: Effect) -> Result<(), Violation> {
        match effect {
            Effect::Io {
                id,
                disk,
                offset,
                kind,
            } => self.start_io(id, disk, offset, kind),
            Effect::Zero { buf, len } => {
                let blocks = u64::from(len) / layout::BLOCK;
                self.buffer(buf, blocks)?.fill(Content::Zero);
                Ok(())
            }
            Effect::Append { disk, bytes } => {
                self.log.note(
                    self.now,
                    "append",
                    [disk.0.into(), bytes.len() as u64],
                    || format!("disk {}: {} bytes", disk.0, bytes.len()),
                );
                self.drives[self.indices[usize::from(disk.0)]]
                    .log
                    .append(&bytes);
                Ok(())
            }
            Effect::Trim { disk, bytes } => {
                self.log.note(self.now, "trim", [disk.0.into(), bytes], || {
                    format!("disk {}: {bytes} bytes of the volatile log", disk.0)
                });
                let at = self.indices[usize::from(disk.0)];
                let enough = self.drives[at].log.trim(bytes);
                io_is_sane::check(enough, || {
                    format!("{bytes} bytes trimmed, fewer were there")
                })
            }
            Effect::Reply { req, result } => self.reply(req, result),
            Effect::Answer { command, result } => self.answer(command, result),
            Effect::Notice(notice) => self.notice(&notice),
        }
    }

    fn notice(&mut self, notice: &Notice) -> Result<(), Violation> {
        self.log
            .note(self.now, "notice", [0, 0], || format!("{notice:?}"));
        self.hear(notice)
    }

    /// The coverage so far.
    pub fn coverage(&self) -> &Coverage {
        &self.coverage
    }

    /// The log so far.
    pub fn log(&self) -> &EventLog {
        &self.log
    }
}
