//! Commands on their way: sent until they are answered, judged by their answers; and what the
//! engine says by itself.

use super::{Event, Fate, Volume, World};
use crate::checkers::{Loss, Violation, errors_have_causes, older_layouts_are_refused};
use crate::model;
use crate::swarm::Grants;
use crate::system::{Command, System};
use engine::io::{CommandError, CommandId, Notice, Now, VolumeId};
use layout::{Generation, ObjectPath, VolumeUid};
use std::collections::BTreeMap;

/// The leaves that a command describes, with their generations.
fn leaves(command: &Command) -> Vec<(ObjectPath, Generation)> {
    let only = match command {
        Command::Grant { path, .. } => Some(*path),
        _ => None,
    };
    let mut found = Vec::new();
    if let Some(layout) = command.layout() {
        layout.root.visit(ObjectPath::ROOT, &mut |path, object| {
            if object.children().is_empty() && only.is_none_or(|only| only == path) {
                found.push((path, object.generation));
            }
        });
    }
    found
}

impl<S: System> World<S> {
    /// Gives a command to be sent now and again until it is answered.
    fn command(&mut self, command: Command, delay: Now) {
        self.next_command += 1;
        let id = CommandId(self.next_command);
        self.commands.insert(id, command);
        let life = self.life;
        self.schedule(self.now + delay, Event::Command { life, id });
    }

    pub(super) fn send_command(&mut self, id: CommandId) -> Result<(), Violation> {
        let Some(command) = self.commands.get(&id) else {
            return Ok(());
        };
        self.log.note(self.now, "command", [id.0, 0], || {
            format!("{id:?} {command:?}")
        });
        if let Command::Refuse { volume, .. } = command
            && let Some(number) = self.operator.number(*volume)
            && let Some(volume) = self.volumes.get_mut(&number)
        {
            volume.refused_at = self.now;
        }
        if let Some(late) = self.overtaken(command) {
            self.sent_late.insert(id, late);
        }
        let mut out = std::mem::take(&mut self.effects);
        if let Some(system) = &mut self.system {
            system.command(self.now, id, command, &mut out);
        }
        self.execute(out)
    }

    pub(super) fn answer(
        &mut self,
        id: CommandId,
        result: Result<(), CommandError>,
    ) -> Result<(), Violation> {
        let failed = u64::from(result.is_err());
        self.log.note(self.now, "answer", [id.0, failed], || {
            format!("{id:?} {result:?}")
        });
        let Some(command) = self.commands.remove(&id) else {
            return Ok(());
        };
        self.answered_at = self.now;
        if let Err(error) = result {
            return self.refused(command, &error);
        }
        self.check_generation(id, &command)?;
        match command {
            Command::Attach(id, layout) => {
                self.coverage.hit("answer: attach");
                let number = id.0 as u16;
                if let Some(v) = self.volumes.get_mut(&number) {
                    v.model.grow(layout.size.0 / layout::BLOCK);
                    v.served = true;
                    v.broken = false;
                }
                let (life, volume) = (self.life, number);
                self.schedule(self.now, Event::SendAgain { life, volume });
                self.detach_if_idle(number);
            }
            Command::Detach(uid) => {
                self.coverage.hit("answer: detach");
                self.detached(uid);
            }
            Command::Delete(layout) => {
                self.coverage.hit("answer: delete");
                if let Some(number) = self.operator.number(layout.volume) {
                    self.operator.forget(number);
                    self.volumes.remove(&number);
                }
            }
            Command::Grant { .. } => self.coverage.hit("answer: grant"),
            Command::Refuse { .. } => self.coverage.hit("answer: refuse"),
        }
        Ok(())
    }

    /// The volume gets no more requests; it is detached when none is in flight.
    pub(super) fn send_off(&mut self, number: u16, fate: Fate) -> Result<(), Violation> {
        if let Some(volume) = self.volumes.get_mut(&number) {
            volume.fate = fate;
        }
        self.detach_if_idle(number);
        Ok(())
    }

    pub(super) fn detach_if_idle(&mut self, number: u16) {
        let busy = self
            .requests
            .values()
            .any(|r| r.action.target().0 == number);
        let Some(volume) = self.volumes.get_mut(&number) else {
            return;
        };
        if busy || !volume.served || volume.fate == Fate::Stay {
            return;
        }
        volume.served = false;
        let uid = self.operator.layouts[&number].volume;
        self.commands.retain(|_, c| c.volume() != uid);
        self.command(Command::Detach(uid), 0);
    }

    fn detached(&mut self, uid: VolumeUid) {
        let Some(number) = self.operator.number(uid) else {
            return;
        };
        let Some(volume) = self.volumes.get_mut(&number) else {
            return;
        };
        if volume.fate == Fate::Go {
            let layout = self.operator.layouts[&number].clone();
            // A grant that came after the removal would bring the object back.
            self.commands.retain(|_, c| c.volume() != uid);
            return self.command(Command::Delete(layout), 0);
        }
        volume.fate = Fate::Stay;
        self.attach(number);
    }

    fn attach(&mut self, number: u16) {
        let layout = self.operator.layouts[&number].clone();
        self.command(Command::Attach(VolumeId(number.into()), layout), 0);
    }

    /// After a new process began: every volume is attached again, aside those being deleted.
    pub(super) fn attach_again(&mut self) {
        self.commands.retain(|_, c| matches!(c, Command::Delete(_)));
        let deleting: Vec<_> = self.commands.values().map(Command::volume).collect();
        for number in self.volumes.keys().copied().collect::<Vec<_>>() {
            if let Some(volume) = self.volumes.get_mut(&number) {
                volume.served = false;
            }
            if !deleting.contains(&self.operator.layouts[&number].volume) {
                self.attach(number);
            }
        }
    }

    /// The volume becomes larger.
    pub(super) fn grow_volume(&mut self, number: u16) {
        let segments = self.rng.range(1, 4);
        let pending = |c: &Command| matches!(c, Command::Attach(id, _) if id.0 == number.into());
        let known = self.operator.layouts.get(&number);
        let small = known.is_some_and(|l| l.size.0 < 128 * self.operator.segment);
        if small && !self.commands.values().any(pending) {
            self.operator.grow(number, segments);
            self.attach(number);
        }
    }

    /// The description of a leaf in the command that is older than one that the engine took, with
    /// the newer one.
    fn overtaken(&self, command: &Command) -> Option<(Generation, Generation)> {
        let number = self.operator.number(command.volume())?;
        let taken = &self.volumes.get(&number)?.taken;
        let older = |(path, given): (ObjectPath, Generation)| {
            let taken = *taken.get(&path)?;
            (given < taken).then_some((given, taken))
        };
        leaves(command).into_iter().find_map(older)
    }

    /// A layout was taken; one that was overtaken when it was sent must have been refused.
    fn check_generation(&mut self, id: CommandId, command: &Command) -> Result<(), Violation> {
        if let Some((given, taken)) = self.sent_late.remove(&id) {
            return older_layouts_are_refused::check(given, taken);
        }
        let number = self.operator.number(command.volume());
        if let Some(volume) = number.and_then(|n| self.volumes.get_mut(&n)) {
            for (path, given) in leaves(command) {
                let taken = volume.taken.entry(path).or_default();
                *taken = given.max(*taken);
            }
        }
        Ok(())
    }

    /// A command may fail only where a disk did, even if that was reopened since; it is sent again.
    /// Or where a newer one overtook it.
    fn refused(&mut self, command: Command, error: &CommandError) -> Result<(), Violation> {
        let gone = matches!(error, CommandError::UnknownVolume(_));
        let newest = self
            .operator
            .number(command.volume())
            .map(|n| &self.operator.layouts[&n]);
        if let (CommandError::StaleGeneration { .. }, Some(given), Some(newest)) =
            (error, command.layout(), newest)
            && given.generation < newest.generation
        {
            self.coverage.hit("command: stale generation refused");
            let newest = newest.clone();
            self.command(command.with_layout(newest), 0);
            return Ok(());
        }
        match command {
            Command::Delete(layout) if gone => {
                if let Some(number) = self.operator.number(layout.volume) {
                    self.operator.forget(number);
                    self.volumes.remove(&number);
                }
                Ok(())
            }
            other
                if self.failed.contains(&true)
                    || self.indices.len() > self.drives.len()
                        && matches!(error, CommandError::DiskFailed(_)) =>
            {
                self.command(other, 5_000_000);
                Ok(())
            }
            other => Err(Violation {
                checker: errors_have_causes::NAME,
                what: format!("{other:?} was refused without a cause: {error}"),
            }),
        }
    }

    /// A new volume.
    pub fn create_volume(&mut self) {
        let segments = self.rng.range(1, self.swarm.segments);
        let (number, layout) = self.operator.place(segments, &mut self.rng);
        let id = VolumeId(number.into());
        let volume = Volume {
            id,
            model: model::Volume::new(number, layout.size.0 / layout::BLOCK),
            loss: Loss::None,
            served: false,
            fate: Fate::Stay,
            broken: false,
            refused_at: 0,
            taken: BTreeMap::new(),
        };
        self.volumes.insert(number, volume);
        self.command(Command::Attach(id, layout), 0);
    }

    pub(super) fn hear(&mut self, notice: &Notice) -> Result<(), Violation> {
        let Notice::PlacementFault {
            volume,
            path,
            units,
            disk,
        } = notice
        else {
            return Ok(());
        };
        self.coverage.hit("notice: placement fault");
        let Some(number) = self.operator.number(*volume) else {
            return Ok(());
        };
        let answered = self.commands.values().any(|c| match c {
            Command::Grant {
                volume: v, path: p, ..
            }
            | Command::Refuse {
                volume: v, path: p, ..
            } => v == volume && p == path,
            _ => false,
        });
        if answered {
            return Ok(());
        }
        let soon = self.rng.range(10_000, 1_000_000);
        let (delay, silent, stingy) = match self.swarm.grants {
            Grants::Prompt => (soon, false, false),
            Grants::Late => (soon * 50, false, false),
            Grants::Forgetful => (soon, self.rng.chance(7, 10), false),
            Grants::Stingy => (soon, false, self.rng.chance(3, 10)),
        };
        if silent {
            return Ok(());
        }
        let granted = match stingy {
            true => None,
            false => self.operator.grant(number, *path, *units, &mut self.rng),
        };
        let command = granted.unwrap_or(Command::Refuse {
            volume: *volume,
            disk: *disk,
            path: *path,
        });
        self.command(command, delay);
        Ok(())
    }
}
