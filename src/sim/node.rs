//! The engine of a node as a system: several disks, volumes that are trees over them.
//!
//! A command of the operator becomes what the shell makes of it: a grant to each leaf, then the
//! volume attached or given its new layout; for a removal a release of each leaf.

use crate::one_disk;
use crate::swarm::Swarm;
use crate::system::{Command, Drive, System};
use engine::io::{
    CommandError, CommandId, Completion, DiskIndex, Effect, Effects, IoId, Now, Op, ReqId, VolumeId,
};
use engine::leaf::LegsRecord;
use engine::node::{Config, Engine};
use engine::planted::{Bug, Planted};
use engine::store::{Grant, Store};
use engine::volume::{Leg, LegStatus, MirrorStatus, TRANSITIONS};
use layout::{DiskUid, Generation, Kind, Layout, Object, ObjectPath, UnitRange, VolumeUid};
use std::collections::BTreeMap;

/// Commands of the node to itself are named from here on.
const OWN: u64 = 1 << 40;

/// A command of the operator under way.
#[derive(Clone, Debug)]
struct Flow {
    /// What it waits for.
    left: usize,
    /// The first thing that went wrong.
    failed: Option<CommandError>,
    /// What comes when nothing is left.
    then: Then,
}

#[derive(Clone, Debug)]
enum Then {
    Answer,
    Serve(Option<VolumeId>, Layout),
}

impl Then {
    /// The volume is being detached: it is not served any more.
    fn forget(&mut self, volume: VolumeUid) {
        if matches!(self, Then::Serve(_, layout) if layout.volume == volume) {
            *self = Then::Answer;
        }
    }
}

/// A node.
pub struct Node {
    engine: Engine,
    segment: u64,
    attached: BTreeMap<VolumeUid, VolumeId>,
    /// The newest layout that each volume was given.
    newest: BTreeMap<VolumeUid, Generation>,
    flows: BTreeMap<CommandId, Flow>,
    /// For each command of its own the flow that it belongs to.
    parts: BTreeMap<CommandId, CommandId>,
    /// Flows whose last step must be tried again.
    again: Vec<CommandId>,
    next: u64,
}

impl Node {
    fn part_of(&mut self, flow: CommandId) -> CommandId {
        self.next += 1;
        let part = CommandId(OWN + self.next);
        self.parts.insert(part, flow);
        part
    }

    /// Takes the answers to the node's own commands out of the effects from `from` on, and follows
    /// them up.
    fn follow(&mut self, now: Now, from: usize, out: &mut Effects) {
        let mut at = from;
        while at < out.len() {
            let own = matches!(&out[at], Effect::Answer { command, .. } if command.0 >= OWN);
            if !own {
                at += 1;
                continue;
            }
            if let Effect::Answer { command, result } = out.remove(at)
                && let Some(flow) = self.parts.remove(&command)
            {
                self.part_ended(now, flow, result, out);
            }
        }
    }

    fn part_ended(
        &mut self,
        now: Now,
        id: CommandId,
        result: Result<(), CommandError>,
        out: &mut Effects,
    ) {
        let Some(flow) = self.flows.get_mut(&id) else {
            return;
        };
        flow.left -= 1;
        if flow.failed.is_none() {
            flow.failed = result.err();
        }
        if flow.left == 0 {
            self.end_flow(now, id, out);
        }
    }

    fn end_flow(&mut self, now: Now, command: CommandId, out: &mut Effects) {
        let Some(flow) = self.flows.get(&command).cloned() else {
            return;
        };
        let mut result = flow.failed.map_or(Ok(()), Err);
        if let (Ok(()), Then::Serve(id, layout)) = (&result, &flow.then) {
            result = self.serve(now, *id, layout, out);
            if let Err(CommandError::Refused(why)) = &result
                && why.contains("try again")
            {
                self.again.push(command);
                return;
            }
        }
        self.flows.remove(&command);
        out.push(Effect::Answer { command, result });
    }

    /// Attaches the volume, or gives it the newer layout.
    fn serve(
        &mut self,
        now: Now,
        id: Option<VolumeId>,
        layout: &Layout,
        out: &mut Effects,
    ) -> Result<(), CommandError> {
        let newest = self.newest.get(&layout.volume);
        if newest.is_some_and(|n| layout.generation < *n) {
            return Ok(());
        }
        match (self.attached.get(&layout.volume), id) {
            (Some(id), _) => self.engine.relayout(now, *id, layout, out)?,
            (None, Some(id)) => {
                self.engine.attach_volume(now, id, layout, out)?;
                self.attached.insert(layout.volume, id);
            }
            (None, None) => return Ok(()),
        }
        self.newest.insert(layout.volume, layout.generation);
        Ok(())
    }

    fn start_flow(&mut self, id: CommandId, left: usize, then: Then) {
        let failed = None;
        self.flows.insert(id, Flow { left, failed, then });
    }

    /// Grants to the leaves that `wanted` names, then serves the layout.
    fn grant(
        &mut self,
        now: Now,
        id: CommandId,
        serve: Option<VolumeId>,
        layout: &Layout,
        wanted: impl Fn(ObjectPath) -> bool,
        out: &mut Effects,
    ) {
        let grants: Vec<_> = leaves(layout)
            .into_iter()
            .filter(|(path, ..)| wanted(*path))
            .map(|(path, disk, object)| (disk, self.grant_of(layout, path, object)))
            .collect();
        self.start_flow(id, grants.len(), Then::Serve(serve, layout.clone()));
        for (disk, grant) in grants {
            let part = self.part_of(id);
            let begun = self.engine.grant(now, disk, grant, part, out);
            self.refused_at_once(now, part, begun, out);
        }
    }

    fn grant_of(&self, layout: &Layout, path: ObjectPath, object: &Object) -> Grant {
        let (size, units) = match &object.kind {
            Kind::Extents { size, units, .. } => (size.0, &units[..]),
            _ => (0, &[][..]),
        };
        Grant {
            volume: layout.volume,
            path,
            generation: object.generation,
            segments: size.div_ceil(self.segment) as u32,
            units: units.iter().flat_map(UnitRange::iter).collect(),
            owner: layout.name.clone().into_bytes(),
            legs: LegsRecord::default(),
        }
    }

    /// A part of a flow that was refused when it was given.
    fn refused_at_once(
        &mut self,
        now: Now,
        part: CommandId,
        begun: Result<(), CommandError>,
        out: &mut Effects,
    ) {
        let result = match begun {
            Ok(()) => return,
            // A removal given again: of this leaf it was done.
            Err(CommandError::UnknownVolume(_)) => Ok(()),
            Err(error) => Err(error),
        };
        if let Some(flow) = self.parts.remove(&part) {
            self.part_ended(now, flow, result, out);
        }
    }
}

/// The leaves of a layout: where, on which disk, and the object.
fn leaves(layout: &Layout) -> Vec<(ObjectPath, DiskUid, &Object)> {
    let mut found = Vec::new();
    layout.root.visit(ObjectPath::ROOT, &mut |path, object| {
        if let Kind::Extents { disk, .. } = &object.kind {
            found.push((path, *disk, object));
        }
    });
    found
}

impl System for Node {
    fn format(drives: &mut [Drive], swarm: &Swarm) -> Result<(), String> {
        one_disk::format_all(drives, swarm)
    }

    fn open(
        now: Now,
        drives: &mut [Drive],
        swarm: &Swarm,
        bug: Option<Bug>,
    ) -> Result<Self, String> {
        let mut engine = Engine::new(Config {
            scratch: 2,
            planted: Planted::with(bug),
        });
        let mut out = Effects::new();
        let mut segment = 1;
        let mut stores = Vec::new();
        for drive in drives.iter_mut() {
            stores.push(one_disk::open_store(drive, swarm, bug)?);
        }
        for (drive, store) in drives.iter_mut().zip(&mut stores) {
            drive.log.clear();
            segment = store.geometry().segment_bytes();
        }
        for (index, store) in (0..).zip(stores) {
            engine.attach_disk(now, DiskIndex(index), store, &mut out);
        }
        assert!(out.is_empty(), "disks without volumes want nothing");
        Ok(Node {
            engine,
            segment,
            attached: BTreeMap::new(),
            newest: BTreeMap::new(),
            flows: BTreeMap::new(),
            parts: BTreeMap::new(),
            again: Vec::new(),
            next: 0,
        })
    }

    fn request(&mut self, now: Now, req: ReqId, volume: VolumeId, op: Op, out: &mut Effects) {
        let from = out.len();
        self.engine.submit(now, volume, req, op, out);
        self.follow(now, from, out);
    }

    fn complete(&mut self, now: Now, io: IoId, end: Completion<'_>, out: &mut Effects) {
        let from = out.len();
        self.engine.complete(now, io, end, out);
        self.follow(now, from, out);
    }

    fn command(&mut self, now: Now, id: CommandId, command: &Command, out: &mut Effects) {
        let from = out.len();
        let engine = &mut self.engine;
        match command {
            Command::Attach(volume, layout) => {
                self.grant(now, id, Some(*volume), layout, |_| true, out);
            }
            Command::Grant { layout, path, .. } => {
                self.grant(now, id, None, layout, |p| p == *path, out);
            }
            Command::Detach(uid) => match self.attached.remove(uid) {
                Some(volume) => {
                    self.newest.remove(uid);
                    for flow in self.flows.values_mut() {
                        flow.then.forget(*uid);
                    }
                    if let Err(error) = engine.detach_volume(now, volume, id, out) {
                        let result = Err(error);
                        out.push(Effect::Answer {
                            command: id,
                            result,
                        });
                    }
                }
                None => out.push(Effect::Answer {
                    command: id,
                    result: Err(CommandError::UnknownVolume(*uid)),
                }),
            },
            Command::Delete(layout) => {
                let all = leaves(layout);
                self.start_flow(id, all.len(), Then::Answer);
                for (path, disk, _) in all {
                    let part = self.part_of(id);
                    let leaf = (layout.volume, path);
                    let begun = self.engine.release(now, disk, leaf, part, out);
                    self.refused_at_once(now, part, begun, out);
                }
            }
            Command::Refuse { volume, disk, path } => {
                let result = engine.refuse(now, *disk, (*volume, *path), out);
                out.push(Effect::Answer {
                    command: id,
                    result,
                });
            }
        }
        self.follow(now, from, out);
    }

    fn tick(&mut self, now: Now, out: &mut Effects) {
        let from = out.len();
        self.engine.tick(now, out);
        for flow in std::mem::take(&mut self.again) {
            self.end_flow(now, flow, out);
        }
        self.follow(now, from, out);
    }

    fn reopen(
        &mut self,
        now: Now,
        old: DiskIndex,
        new: DiskIndex,
        drive: &mut Drive,
        swarm: &Swarm,
        bug: Option<Bug>,
        out: &mut Effects,
    ) -> Result<(), String> {
        let from = out.len();
        let gone = self.engine.detach_disk(now, old, out);
        gone.map_err(|e| e.to_string())?;
        let store: Store = one_disk::open_store(drive, swarm, bug)?;
        drive.log.clear();
        self.engine.attach_disk(now, new, store, out);
        self.follow(now, from, out);
        Ok(())
    }

    fn is_whole(&self) -> bool {
        self.attached.values().all(|id| {
            let live = |l: &LegStatus| l.state == Leg::Live;
            let whole = |m: &MirrorStatus| m.legs.iter().all(live) && m.differ == 0;
            let status = self.engine.status(*id);
            status.is_some_and(|s| !s.lost && s.mirrors.iter().all(whole))
        })
    }

    fn transitions(&self) -> Vec<(&'static str, u64)> {
        TRANSITIONS
            .into_iter()
            .zip(self.engine.transitions())
            .collect()
    }

    fn check(drive: &mut Drive) -> Vec<String> {
        one_disk::check_image(drive)
    }

    fn usage(&self) -> Vec<(VolumeUid, u64)> {
        let of = |store: &Store| one_disk::usage_of(store);
        self.engine.stores().flat_map(|(_, s)| of(s)).collect()
    }

    fn digest(&self) -> String {
        let of = |(index, store): (DiskIndex, &Store)| {
            format!("disk {}\n{}", index.0, one_disk::digest_of(store))
        };
        self.engine.stores().map(of).collect::<Vec<_>>().join("\n")
    }
}
