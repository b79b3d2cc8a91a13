//! The engine as the server's [`Node`]: the wire's requests in the engine's words, and back.

use super::node::{Identity, Node, Outcome};
use crate::machine::Machine;
use control::{
    CopyState, CopyStatus, DiskStatus, Failure, FailureKind, FaultAnswer, Request, Response,
    Status, VolumeStatus,
};
use engine::disk::Disk;
use engine::io::{
    CommandError, CommandId, Completion, DiskIndex, Effects, IoId, Now, Op, ReqId, VolumeId,
};
use engine::leaf::LegsRecord;
use engine::node::Engine;
use engine::store::{self, Grant, Store};
use engine::volume::{Leg, MirrorStatus};
use layout::{BLOCK, DiskUid, Epoch, Layout, ObjectPath, Term, UnitRange, VolumeUid};

impl Machine for Engine {
    fn submit(&mut self, now: Now, volume: VolumeId, req: ReqId, op: Op, out: &mut Effects) {
        Engine::submit(self, now, volume, req, op, out);
    }
    fn complete(&mut self, now: Now, id: IoId, how: Completion<'_>, out: &mut Effects) {
        Engine::complete(self, now, id, how, out);
    }
    fn tick(&mut self, now: Now, out: &mut Effects) {
        Engine::tick(self, now, out);
    }
    fn next_wake(&self) -> Option<Now> {
        Engine::next_wake(self)
    }
}

fn bad_disk(error: &store::OpenError) -> Failure {
    FailureKind::BadDisk.because(error.to_string())
}

fn done<E: Into<Failure>>(result: Result<(), E>) -> Outcome {
    Outcome::Now(result.map(|()| Response::Done).map_err(Into::into))
}

/// What was begun is answered later; what was refused, now.
fn later(begun: Result<(), CommandError>) -> Outcome {
    match begun {
        Ok(()) => Outcome::Later,
        Err(e) => Outcome::Now(Err(e.into())),
    }
}

fn unknown_volume(volume: VolumeUid) -> Failure {
    let why = format!("volume {volume} is not attached here");
    FailureKind::UnknownVolume { volume }.because(why)
}

fn one_by_one(units: &[UnitRange]) -> Vec<u32> {
    units.iter().flat_map(UnitRange::iter).collect()
}

/// A usable disk that holds this object, and how many segments the object shows.
fn holder(engine: &Engine, volume: VolumeUid, path: ObjectPath) -> Option<(DiskUid, u32)> {
    let usable = engine
        .stores()
        .filter(|(_, store)| store.failed().is_none());
    usable.into_iter().find_map(|(_, store)| {
        let (_, record) = store
            .records()
            .find(|(_, r)| r.volume == volume && r.path == path)?;
        Some((store.disk(), record.segments))
    })
}

fn answer_fault(
    engine: &mut Engine,
    now: Now,
    id: CommandId,
    (volume, path): (VolumeUid, ObjectPath),
    answer: &FaultAnswer,
    out: &mut Effects,
) -> Outcome {
    let Some((disk, segments)) = holder(engine, volume, path) else {
        return Outcome::Now(Err(unknown_volume(volume)));
    };
    match answer {
        FaultAnswer::Wait => Outcome::Now(Ok(Response::Done)),
        FaultAnswer::NoSpace => done(engine.refuse(now, disk, (volume, path), out)),
        FaultAnswer::Grant { generation, units } => {
            let units = one_by_one(units);
            // The object is there: its owner's text and what is known of its mirror stay.
            let (owner, legs) = (Vec::new(), LegsRecord::default());
            let generation = *generation;
            let grant = Grant {
                volume,
                path,
                generation,
                segments,
                units,
                owner,
                legs,
            };
            later(engine.grant(now, disk, grant, id, out))
        }
    }
}

impl Node for Engine {
    fn identify(&self, disk: &mut dyn Disk) -> Result<Identity, Failure> {
        let superblock = store::read_superblock(disk).map_err(|e| bad_disk(&e))?;
        let log_bytes = superblock.geometry.journal_blocks as usize * BLOCK as usize;
        Ok(Identity {
            uid: superblock.disk,
            log_bytes,
        })
    }

    fn open_disk(
        &mut self,
        now: Now,
        index: DiskIndex,
        disk: &mut dyn Disk,
        expected: DiskUid,
        volatile: &[u8],
        out: &mut Effects,
    ) -> Result<(), Failure> {
        let config = store::Config::default();
        let store = Store::open(disk, Some(expected), volatile, config);
        self.attach_disk(now, index, store.map_err(|e| bad_disk(&e))?, out);
        Ok(())
    }

    fn close_disk(&mut self, now: Now, id: CommandId, disk: DiskUid, out: &mut Effects) -> Outcome {
        later(Engine::close_disk(self, now, disk, id, out))
    }

    fn forget_disk(
        &mut self,
        now: Now,
        index: DiskIndex,
        out: &mut Effects,
    ) -> Result<(), Failure> {
        Ok(self.detach_disk(now, index, out).map(drop)?)
    }

    fn has_failed(&self, index: DiskIndex) -> bool {
        self.store(index)
            .is_none_or(|store| store.failed().is_some())
    }

    fn attach(
        &mut self,
        now: Now,
        volume: VolumeId,
        layout: &Layout,
        out: &mut Effects,
    ) -> Result<(), Failure> {
        Ok(self.attach_volume(now, volume, layout, out)?)
    }

    fn detach(
        &mut self,
        now: Now,
        id: CommandId,
        volume: VolumeId,
        out: &mut Effects,
    ) -> Result<(), Failure> {
        Ok(self.detach_volume(now, volume, id, out)?)
    }

    fn relayout(
        &mut self,
        now: Now,
        volume: VolumeId,
        layout: &Layout,
        out: &mut Effects,
    ) -> Result<(), Failure> {
        Ok(Engine::relayout(self, now, volume, layout, out)?)
    }

    fn note_term(&mut self, now: Now, id: CommandId, term: Term, out: &mut Effects) -> usize {
        let usable = self.stores().filter(|(_, store)| store.failed().is_none());
        let disks: Vec<DiskUid> = usable.map(|(_, store)| store.disk()).collect();
        let noted = disks
            .iter()
            .filter(|disk| Engine::note_term(self, now, **disk, term.0, id, out).is_ok());
        noted.count()
    }

    fn highest_term(&self) -> Term {
        Term(
            self.stores()
                .map(|(_, store)| store.term())
                .max()
                .unwrap_or(0),
        )
    }

    fn carry_out(
        &mut self,
        now: Now,
        id: CommandId,
        request: &Request,
        attached: Option<VolumeId>,
        out: &mut Effects,
    ) -> Outcome {
        match request {
            Request::Grant {
                volume,
                object,
                generation,
                disk,
                units,
                size,
                owner,
            } => {
                let Some(store) = self.disk(*disk).ok().and_then(|i| self.store(i)) else {
                    let why = format!("disk {disk} is not attached here");
                    let kind = FailureKind::UnknownDisk { disk: *disk };
                    return Outcome::Now(Err(kind.because(why)));
                };
                let segments = size.div_ceil(store.geometry().segment_bytes());
                let Ok(segments) = u32::try_from(segments) else {
                    let why = format!("{size} bytes are more than an object can show");
                    return Outcome::Now(Err(FailureKind::OutOfRange.because(why)));
                };
                let grant = Grant {
                    volume: *volume,
                    path: *object,
                    generation: *generation,
                    segments,
                    units: one_by_one(units),
                    owner: owner.clone().into_bytes(),
                    legs: LegsRecord::default(),
                };
                later(self.grant(now, *disk, grant, id, out))
            }
            Request::Release {
                volume,
                object,
                disk,
                ..
            } => later(self.release(now, *disk, (*volume, *object), id, out)),
            Request::AnswerFault {
                volume,
                object,
                answer,
            } => answer_fault(self, now, id, (*volume, *object), answer, out),
            Request::CutEpoch { volume } => {
                let Some(attached) = attached else {
                    return Outcome::Now(Err(unknown_volume(*volume)));
                };
                let epoch = self.cut_epoch(now, attached, out);
                Outcome::Now(
                    epoch
                        .map(|epoch| Response::Epoch { epoch })
                        .map_err(Into::into),
                )
            }
            Request::ReleaseEpoch { volume, epoch } => match attached {
                Some(v) => done(self.release_epoch(now, v, *epoch, out)),
                None => Outcome::Now(Err(unknown_volume(*volume))),
            },
            _ => {
                let why = "this node's own store is the controller of its tables";
                Outcome::Now(Err(FailureKind::Refused.because(why)))
            }
        }
    }

    fn status(&self, volumes: &mut dyn Iterator<Item = (VolumeId, Layout)>) -> Status {
        let disks = self.stores().map(|(_, store)| disk_status(store)).collect();
        let volumes = volumes.filter_map(|(id, layout)| {
            let status = Engine::status(self, id)?;
            Some(VolumeStatus {
                volume: layout.volume,
                name: layout.name,
                size: layout.size.0,
                generation: layout.generation,
                epoch: self.epoch_of(layout.volume),
                device: None,
                copies: status.mirrors.iter().flat_map(copies).collect(),
                running: status.requests as u64,
                waiting: 0,
                lease: None,
            })
        });
        Status {
            disks,
            volumes: volumes.collect(),
            ..Status::default()
        }
    }
}

/// What only some of the engine's parts know.
trait Details {
    fn epoch_of(&self, volume: VolumeUid) -> Epoch;
}

impl Details for Engine {
    /// The latest epoch that one of the volume's objects is in.
    fn epoch_of(&self, volume: VolumeUid) -> Epoch {
        let records = self.stores().flat_map(|(_, store)| store.records());
        let of = records
            .filter(|(_, r)| r.volume == volume)
            .map(|(_, r)| r.epoch);
        of.max().unwrap_or_default()
    }
}

fn disk_status(store: &Store) -> DiskStatus {
    let units = store.geometry().units;
    let (mut granted, mut used) = (0, 0);
    for (slot, _) in store.records() {
        let (units, segments) = store.usage(slot);
        granted += units.len();
        used += u64::from(segments) * store.geometry().segment_bytes();
    }
    DiskStatus {
        disk: store.disk(),
        path: String::new(),
        units,
        free_units: units.saturating_sub(granted as u32),
        used: Some(used),
        failed: store.failed().map(|fault| fault.errno),
    }
}

fn copies(mirror: &MirrorStatus) -> impl Iterator<Item = CopyStatus> {
    mirror.legs.iter().zip(0u8..).map(|(leg, at)| {
        let rebuild = mirror.rebuild.filter(|r| r.leg == at);
        let state = match (leg.state, rebuild) {
            (Leg::Live, _) => CopyState::Live,
            (_, Some(r)) => CopyState::Rebuilding {
                done: r.done.0,
                total: r.total.0,
            },
            _ => CopyState::Stale,
        };
        CopyStatus {
            object: mirror.path.child(at).unwrap_or(mirror.path),
            state,
        }
    })
}
