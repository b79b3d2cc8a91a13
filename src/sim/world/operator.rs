//! The operator: it has the units of all disks to give, remembers every layout for ever, and sends
//! each command until it is answered.

use super::{Event, Fate, Volume, World};
use crate::checkers::{Loss, Violation, errors_have_causes, older_layouts_are_refused};
use crate::model;
use crate::rng::Rng;
use crate::swarm::{Grants, Swarm};
use crate::system::{Command, System};
use engine::format::{BLOCK, Geometry};
use engine::io::{CommandError, CommandId, Notice, Now, VolumeId};
use layout::{
    Bytes, DiskUid, Generation, Kind, Layout, Level, NodeName, Object, ObjectPath, UnitRange,
    VolumeUid,
};
use std::collections::{BTreeMap, BTreeSet};

/// What the operator knows of a disk.
#[derive(Clone, Debug)]
struct Disk {
    uid: DiskUid,
    free: BTreeSet<u32>,
}

/// The operator's memory.
#[derive(Clone, Debug)]
pub(crate) struct Operator {
    disks: Vec<Disk>,
    pub layouts: BTreeMap<u16, Layout>,
    segment: u64,
    next_volume: u16,
}

/// Blocks of a disk that has as many units as the swarm says.
pub(crate) fn disk_blocks(swarm: &Swarm) -> u64 {
    let g = &swarm.geometry;
    let unit = u64::from(g.unit_segments) * u64::from(g.segment_blocks + 1) + 1;
    let fixed = 16 + 4 * u64::from(g.slots) + u64::from(g.journal_blocks);
    fixed + u64::from(swarm.units + 1) * unit
}

impl Operator {
    pub fn new(swarm: &Swarm, disks: u16) -> Self {
        let size = disk_blocks(swarm) * BLOCK as u64;
        let units = Geometry::plan(size, swarm.geometry).map_or(0, |g| g.units);
        assert!(units >= swarm.units, "the disk holds its units");
        let disk = |i: u16| Disk {
            uid: DiskUid([i as u8 + 1; 16]),
            free: (0..units).collect(),
        };
        Operator {
            disks: (0..disks).map(disk).collect(),
            layouts: Default::default(),
            segment: u64::from(swarm.geometry.segment_blocks) * BLOCK as u64,
            next_volume: 1,
        }
    }

    pub fn disk_uid(&self, disk: u16) -> DiskUid {
        self.disks[usize::from(disk)].uid
    }

    fn take(&mut self, disk: DiskUid, count: u32, rng: &mut Rng) -> Vec<UnitRange> {
        let mut units = Vec::new();
        let Some(disk) = self.disks.iter_mut().find(|d| d.uid == disk) else {
            return units;
        };
        for _ in 0..count {
            let Some(from) = disk.free.last().copied() else {
                break;
            };
            let from = rng.below(u64::from(from) + 1) as u32;
            if let Some(unit) = disk.free.range(from..).next().copied() {
                disk.free.remove(&unit);
                units.push(UnitRange {
                    start: unit,
                    count: 1,
                });
            }
        }
        units
    }

    /// A layout for a new volume of so many segments.
    fn place(&mut self, segments: u64, rng: &mut Rng) -> (u16, Layout) {
        let number = self.next_volume;
        self.next_volume += 1;
        let mut uid = [0; 16];
        uid[..2].copy_from_slice(&number.to_le_bytes());
        let root = self.shape(segments, rng);
        let layout = Layout {
            volume: VolumeUid(uid),
            name: format!("volume-{number}"),
            generation: Generation(1),
            size: root.size(),
            root,
        };
        self.layouts.insert(number, layout.clone());
        (number, layout)
    }

    /// A tree that shows at least so many segments: mostly mirrors, where there are disks for them.
    fn shape(&mut self, segments: u64, rng: &mut Rng) -> Object {
        let mut disks: Vec<usize> = (0..self.disks.len()).collect();
        rng.shuffle(&mut disks);
        if disks.len() == 1 {
            return self.leaf(disks[0], segments, rng);
        }
        let mut copies = |o: &mut Self, segments, rng: &mut Rng| {
            let legs = rng.range(2, disks.len().min(3) as u64) as usize;
            let copies = disks[..legs].iter().map(|d| o.leaf(*d, segments, rng));
            let copies = copies.collect();
            disks.rotate_left(1);
            object(Kind::Mirror { copies })
        };
        let unit = Bytes(self.segment);
        match rng.below(10) {
            0..6 => copies(self, segments, rng),
            6 => {
                let parts = vec![copies(self, segments, rng), copies(self, 2, rng)];
                object(Kind::Concat { parts })
            }
            7 => {
                let columns = (0..2)
                    .map(|_| copies(self, segments.div_ceil(2), rng))
                    .collect();
                object(Kind::Stripe { unit, columns })
            }
            8 => {
                let leaf = |d| self.leaf(d, segments.div_ceil(2), rng);
                let columns = disks.into_iter().take(2).map(leaf).collect();
                object(Kind::Stripe { unit, columns })
            }
            _ => {
                let first = vec![
                    self.leaf(disks[0], 2, rng),
                    self.leaf(disks[0], segments, rng),
                ];
                let second = vec![
                    self.leaf(disks[1], segments, rng),
                    self.leaf(disks[1], 2, rng),
                ];
                let copies = [first, second].map(|parts| object(Kind::Concat { parts }));
                object(Kind::Mirror {
                    copies: copies.into(),
                })
            }
        }
    }

    fn leaf(&mut self, disk: usize, segments: u64, rng: &mut Rng) -> Object {
        let disk = self.disks[disk].uid;
        let mut units = self.take(disk, rng.below(3) as u32, rng);
        units.sort_unstable();
        let size = Bytes(segments * self.segment);
        object(Kind::Extents { disk, size, units })
    }

    /// Whether the disk of this name is among those that `which` marks.
    pub fn is_among(&self, uid: DiskUid, which: &[bool]) -> bool {
        self.disks
            .iter()
            .zip(which)
            .any(|(d, marked)| *marked && d.uid == uid)
    }

    /// Whether any part of the volume lies on such a disk.
    pub fn touches(&self, volume: u16, on: impl Fn(DiskUid) -> bool) -> bool {
        let mut touches = false;
        if let Some(layout) = self.layouts.get(&volume) {
            layout.root.visit(ObjectPath::ROOT, &mut |_, object| {
                if let Kind::Extents { disk, .. } = &object.kind {
                    touches |= on(*disk);
                }
            });
        }
        touches
    }

    /// Whether a disk has no more units to give.
    pub fn is_full(&self) -> bool {
        self.disks.iter().any(|d| d.free.is_empty())
    }

    /// Whether a request may be cut in parts that have nothing to do with one another: one may have
    /// been done when another finds no space.
    pub fn is_cut(&self, volume: u16) -> bool {
        let cut = |o: &Object| matches!(o.kind, Kind::Stripe { .. } | Kind::Concat { .. });
        self.layouts.get(&volume).is_some_and(|l| cut(&l.root))
    }

    /// Whether the volume cannot do without such disks: no other copy has the same content.
    pub fn depends(&self, volume: u16, on: impl Fn(DiskUid) -> bool + Copy) -> bool {
        fn of(object: &Object, on: impl Fn(DiskUid) -> bool + Copy) -> bool {
            match &object.kind {
                Kind::Extents { disk, .. } => on(*disk),
                Kind::Mirror { copies } => copies.iter().all(|o| of(o, on)),
                Kind::Stripe { columns: below, .. } | Kind::Concat { parts: below } => {
                    below.iter().any(|o| of(o, on))
                }
            }
        }
        self.layouts.get(&volume).is_some_and(|l| of(&l.root, on))
    }

    fn number(&self, uid: VolumeUid) -> Option<u16> {
        let found = self.layouts.iter().find(|(_, l)| l.volume == uid);
        found.map(|(number, _)| *number)
    }

    /// Grants units to a leaf; `None` where the disk is full.
    fn grant(
        &mut self,
        volume: u16,
        path: ObjectPath,
        count: u32,
        rng: &mut Rng,
    ) -> Option<Command> {
        let mut layout = self.layouts.get(&volume)?.clone();
        let generation = layout.generation.next();
        let leaf = leaf_at(&mut layout.root, path)?;
        leaf.generation = generation;
        let Kind::Extents { disk, units, .. } = &mut leaf.kind else {
            return None;
        };
        let new = self.take(*disk, count, rng);
        if new.is_empty() {
            return None;
        }
        units.extend(&new);
        units.sort_unstable();
        layout.generation = generation;
        self.layouts.insert(volume, layout.clone());
        let volume = layout.volume;
        Some(Command::Grant {
            volume,
            path,
            layout,
            units: new,
        })
    }

    /// Makes a volume larger by some segments.
    fn grow(&mut self, volume: u16, segments: u64) {
        let more = segments * self.segment;
        if let Some(layout) = self.layouts.get_mut(&volume) {
            layout.generation = layout.generation.next();
            enlarge(&mut layout.root, more, layout.generation);
            layout.size = layout.root.size();
        }
    }

    /// Takes back what a deleted volume had.
    fn forget(&mut self, volume: u16) {
        let Some(layout) = self.layouts.remove(&volume) else {
            return;
        };
        layout.root.visit(ObjectPath::ROOT, &mut |_, object| {
            if let Kind::Extents { disk, units, .. } = &object.kind
                && let Some(disk) = self.disks.iter_mut().find(|d| d.uid == *disk)
            {
                disk.free.extend(units.iter().flat_map(UnitRange::iter));
            }
        });
    }
}

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

fn object(kind: Kind) -> Object {
    Object {
        level: Level::Host,
        node: NodeName("node-1".to_owned()),
        generation: Generation(1),
        properties: Vec::new(),
        reasons: Vec::new(),
        kind,
    }
}

/// Each leg and column grows by so much, of parts the last.
fn enlarge(object: &mut Object, more: u64, generation: Generation) {
    object.generation = generation;
    match &mut object.kind {
        Kind::Extents { size, .. } => size.0 += more,
        Kind::Stripe { columns: below, .. } | Kind::Mirror { copies: below } => {
            below.iter_mut().for_each(|o| enlarge(o, more, generation));
        }
        Kind::Concat { parts } => parts.iter_mut().rev().take(1).for_each(|o| {
            enlarge(o, more, generation);
        }),
    }
}

fn leaf_at(root: &mut Object, path: ObjectPath) -> Option<&mut Object> {
    let mut at = root;
    for step in path.steps() {
        let (Kind::Stripe { columns: below, .. }
        | Kind::Mirror { copies: below }
        | Kind::Concat { parts: below }) = &mut at.kind
        else {
            return None;
        };
        at = below.get_mut(usize::from(*step))?;
    }
    Some(at)
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

    /// The description of a leaf in the command that is older than one that the engine took, with the
    /// newer one.
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

    /// A command may fail only where a disk did, even if that was reopened since; it is sent again. Or
    /// where a newer one overtook it.
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
