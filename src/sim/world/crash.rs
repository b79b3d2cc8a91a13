//! Faults, and what comes after them.

use super::requests::Request;
use super::{Event, Fate, Trap, World};
use crate::checkers::{Loss, Violation, image_is_sound, recover_is_idempotent};
use crate::disk::Tear;
use crate::swarm::Fault;
use crate::system::System;
use engine::io::{DiskIndex, Effect};

impl<S: System> World<S> {
    /// Plans a fault: a crash strikes after a few more effects of the engine, anything else a disk.
    /// A disk fails only while all others hold everything: what two failures lose is lost.
    pub fn plan(&mut self, fault: Fault) {
        let disk = self.rng.index(self.drives.len());
        let whole = self.system.as_ref().is_some_and(S::is_whole) && !self.waits_for_repair();
        if !fault.is_crash() && (!whole || std::mem::replace(&mut self.armed, true)) {
            return;
        }
        match fault {
            Fault::ProcessCrash | Fault::PowerCut => {
                let effects_left = self.rng.below(30);
                self.trap = Some(Trap {
                    fault,
                    effects_left,
                });
            }
            Fault::FlushError => self.drives[disk].disk.fail_next_flush(),
            Fault::IoError => self.strikes[disk] = Some(self.rng.below(20)),
            Fault::Unreadable => {
                let block = self.rng.below(super::operator::disk_blocks(&self.swarm));
                self.drives[disk].disk.spoil(block);
            }
        }
        self.log
            .note(self.now, "fault", [fault as u64, disk as u64], || {
                format!("{fault:?} planned, disk {disk}")
            });
    }

    /// The planned crash strikes where `effect` was to run.
    pub(super) fn spring(&mut self, effect: Option<Effect>) -> Result<(), Violation> {
        let Some(trap) = self.trap.take() else {
            return Ok(());
        };
        if let Some(Effect::Append { disk, bytes }) = effect {
            let drive = &mut self.drives[self.indices[usize::from(disk.0)]];
            drive.log.append_torn(&bytes, &mut self.rng);
        }
        self.crash(trap.fault)
    }

    /// The process dies, or the power fails; then everything starts again.
    ///
    /// # Errors
    /// A broken invariant.
    pub fn crash(&mut self, fault: Fault) -> Result<(), Violation> {
        self.log.note(self.now, "crash", [fault as u64, 0], || {
            format!("{fault:?}")
        });
        self.collect();
        self.system = None;
        self.life += 1;
        self.ios.clear();
        self.scratch.clear();
        let resend = fault == Fault::ProcessCrash && self.rng.chance(9, 10);
        if fault == Fault::ProcessCrash {
            self.coverage.hit("crash: process");
            self.process_crash(resend);
        } else {
            self.coverage.hit("crash: power");
            self.power_cut();
        }
        self.open()?;
        self.start_again()
    }

    fn process_crash(&mut self, resend: bool) {
        if !resend {
            self.requests.clear();
        }
        for drive in &mut self.drives {
            drive.disk.process_crash(&mut self.rng);
        }
        for (number, volume) in &mut self.volumes {
            volume.model.process_crash(|_| resend);
            // Nobody is left who knows that a disk forgot something.
            let forgot = |uid| self.operator.is_among(uid, &self.forgetful);
            if self.operator.touches(*number, forgot) {
                volume.model.lose_unflushed(false);
                volume.loss = Loss::Power;
            }
            if volume.loss == Loss::None {
                volume.loss = Loss::Process;
            }
        }
    }

    fn power_cut(&mut self) {
        self.requests.clear();
        for drive in &mut self.drives {
            drive.disk.power_cut(&mut self.rng);
            drive.log.clear();
        }
        let garbage = self.swarm.habits.tear == Tear::Garbage;
        for volume in self.volumes.values_mut() {
            volume.model.power_cut(garbage);
            volume.loss = Loss::Power;
        }
    }

    /// Opens the disks; now and then the power or the process fails while that goes on.
    pub(super) fn open(&mut self) -> Result<(), Violation> {
        let mut cuts = 0;
        self.failed.fill(false);
        self.forgetful.fill(false);
        self.strikes.fill(None);
        self.armed = false;
        self.indices = (0..self.drives.len()).collect();
        for drive in &mut self.drives {
            drive.disk.heal();
        }
        loop {
            let cut = cuts < 3 && self.life > 0 && self.rng.chance(self.swarm.cut_recovery, 10);
            for drive in &mut self.drives {
                if cut {
                    drive.disk.cut_after(self.rng.below(60));
                }
            }
            let opened = S::open(self.now, &mut self.drives, &self.swarm, self.bug);
            for drive in &mut self.drives {
                drive.disk.cut_never();
            }
            match opened {
                Ok(system) => {
                    self.system = Some(system);
                    break;
                }
                Err(_) if cut => {
                    cuts += 1;
                    self.coverage.hit("recovery: cut short");
                    self.log
                        .note(self.now, "cut", [cuts, 0], || "recovery cut short".into());
                    match self.rng.chance(1, 2) {
                        true => self.power_cut(),
                        false => self.process_crash(true),
                    }
                }
                Err(what) => {
                    return Err(Violation {
                        checker: "opens_after_any_crash",
                        what,
                    });
                }
            }
        }
        self.after_open()
    }

    fn after_open(&mut self) -> Result<(), Violation> {
        self.log.note(self.now, "open", [self.life.into(), 0], || {
            format!("life {}", self.life)
        });
        if self.life > 0 && self.rng.chance(1, 4) {
            self.coverage.hit("recovery: twice");
            let first = self.system.take().map(|s| s.digest()).unwrap_or_default();
            let again = S::open(self.now, &mut self.drives, &self.swarm, self.bug);
            let again = recover_is_idempotent::check(&first, again, S::digest)?;
            self.system = Some(again);
        }
        for (drive, n) in self.drives.iter_mut().zip(0..) {
            image_is_sound::check(n, &S::check(drive))?;
        }
        Ok(())
    }

    /// The operator has the volumes attached again; each then gets its requests again.
    fn start_again(&mut self) -> Result<(), Violation> {
        let life = self.life;
        for id in self.commands.keys().copied().collect::<Vec<_>>() {
            let at = self.now + self.rng.below(100_000);
            self.schedule(at, Event::Command { life, id });
        }
        self.attach_again();
        if self.rng.chance(1, 2) {
            self.read_back();
        }
        Ok(())
    }

    /// Whether the planned error strikes this I/O.
    pub(super) fn strike(&mut self, disk: DiskIndex) -> bool {
        let strike = &mut self.strikes[self.indices[usize::from(disk.0)]];
        match strike {
            Some(0) => {
                *strike = None;
                true
            }
            Some(left) => {
                *left -= 1;
                false
            }
            None => false,
        }
    }

    /// A disk answered with an error; the operator will look at it.
    pub(super) fn disk_failed(&mut self, disk: DiskIndex, flush: bool) {
        self.coverage.hit("disk: answered with an error");
        let drive = self.indices[usize::from(disk.0)];
        if flush {
            self.forgetful[drive] = true;
            let forgot = |uid| self.operator.is_among(uid, &self.forgetful);
            for (number, volume) in &mut self.volumes {
                if self.operator.depends(*number, forgot) {
                    volume.model.lose_unflushed(false);
                    volume.loss = Loss::Power;
                    let ours = |r: &&mut Request| r.action.target().0 == *number;
                    self.requests
                        .values_mut()
                        .filter(ours)
                        .for_each(|r| r.shaken = true);
                }
            }
        }
        if !std::mem::replace(&mut self.failed[drive], true) {
            let at = self.now + self.rng.range(100_000, 20_000_000);
            let life = self.life;
            self.schedule(at, Event::Repair { life, drive });
        }
    }

    /// The operator makes a disk work again and has it reopened, once nothing of it runs any more.
    pub(super) fn repair(&mut self, drive: usize) -> Result<(), Violation> {
        let runs = |io: &super::io::Running| self.indices[usize::from(io.disk.0)] == drive;
        if self.ios.values().any(runs) {
            let (life, at) = (self.life, self.now + 100_000);
            self.schedule(at, Event::Repair { life, drive });
            return Ok(());
        }
        self.log.note(self.now, "repair", [drive as u64, 0], || {
            format!("drive {drive}")
        });
        self.coverage.hit("disk: repaired");
        self.failed[drive] = false;
        self.forgetful[drive] = false;
        self.strikes[drive] = None;
        self.armed = false;
        let old = self
            .indices
            .iter()
            .rposition(|d| *d == drive)
            .unwrap_or_default();
        let (old, new) = (DiskIndex(old as u16), DiskIndex(self.indices.len() as u16));
        self.indices.push(drive);
        let lost = |uid| uid == self.drives[drive].uid;
        for (number, volume) in &mut self.volumes {
            if self.operator.depends(*number, lost) {
                // No copy was left: such a volume serves again only once it was attached anew.
                volume.broken = true;
                if volume.fate == Fate::Stay {
                    volume.fate = Fate::Return;
                }
            }
        }
        let mut out = std::mem::take(&mut self.effects);
        let drive = &mut self.drives[drive];
        drive.disk.heal();
        if let Some(system) = &mut self.system {
            let (now, swarm, bug) = (self.now, &self.swarm, self.bug);
            let reopened = system.reopen(now, old, new, drive, swarm, bug, &mut out);
            reopened.map_err(|what| Violation {
                checker: "opens_after_any_error",
                what,
            })?;
        }
        self.execute(out)?;
        for number in self.volumes.keys().copied().collect::<Vec<_>>() {
            self.detach_if_idle(number);
        }
        Ok(())
    }

    /// Notes which transitions the engine took in this process.
    pub(crate) fn collect(&mut self) {
        let taken = self.system.as_ref().map(S::transitions).unwrap_or_default();
        for (what, n) in taken {
            self.coverage.add(what, n);
        }
    }
}
