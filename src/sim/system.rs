//! What the world drives: the engine, behind the few calls that the shell makes.

use crate::disk::SimDisk;
use crate::swarm::Swarm;
use crate::volatile::VolatileLog;
use engine::io::{CommandId, Completion, DiskIndex, Effects, IoId, Now, Op, ReqId, VolumeId};
use engine::planted::Bug;
use layout::{DiskUid, Layout, ObjectPath, UnitRange, VolumeUid};

/// A disk as the node has it: the medium, and the volatile log that belongs to it.
#[derive(Clone, Debug)]
pub struct Drive {
    /// Its identity, as its superblock says.
    pub uid: DiskUid,
    /// The medium.
    pub disk: SimDisk,
    /// What outlives the process.
    pub log: VolatileLog,
}

/// What the operator asks of the node.
#[derive(Clone, Debug)]
pub enum Command {
    /// Serve this volume under this number, creating its objects where they are new; also with a
    /// newer layout of a volume that is served: it grew.
    Attach(VolumeId, Layout),
    /// Serve it no more.
    Detach(VolumeUid),
    /// Remove its objects.
    Delete(Layout),
    /// The leaf may use these units as well.
    Grant {
        /// The volume.
        volume: VolumeUid,
        /// The leaf.
        path: ObjectPath,
        /// All units that the leaf has now, and the generation.
        layout: Layout,
        /// Those that are new.
        units: Vec<UnitRange>,
    },
    /// The leaf gets no more units.
    Refuse {
        /// The volume.
        volume: VolumeUid,
        /// The disk of the leaf.
        disk: DiskUid,
        /// The leaf.
        path: ObjectPath,
    },
}

impl Command {
    /// The volume that it is about.
    pub fn volume(&self) -> VolumeUid {
        match self {
            Command::Attach(_, layout) | Command::Delete(layout) => layout.volume,
            Command::Detach(volume)
            | Command::Grant { volume, .. }
            | Command::Refuse { volume, .. } => *volume,
        }
    }

    /// The layout that it carries.
    pub fn layout(&self) -> Option<&Layout> {
        match self {
            Command::Attach(_, layout) | Command::Grant { layout, .. } => Some(layout),
            Command::Detach(_) | Command::Delete(_) | Command::Refuse { .. } => None,
        }
    }

    /// The same with another layout.
    #[must_use]
    pub fn with_layout(self, layout: Layout) -> Self {
        match self {
            Command::Attach(id, _) => Command::Attach(id, layout),
            Command::Grant {
                volume,
                path,
                units,
                ..
            } => Command::Grant {
                volume,
                path,
                layout,
                units,
            },
            other => other,
        }
    }
}

/// The system under test. Everything goes in as calls and comes out as effects.
pub trait System: Sized {
    /// Prepares blank disks.
    ///
    /// # Errors
    /// What went wrong, in words.
    fn format(drives: &mut [Drive], swarm: &Swarm) -> Result<(), String>;
    /// Opens what is on the disks and in their volatile logs.
    ///
    /// # Errors
    /// What went wrong, in words.
    fn open(
        now: Now,
        drives: &mut [Drive],
        swarm: &Swarm,
        bug: Option<Bug>,
    ) -> Result<Self, String>;
    /// A request of the front end.
    fn request(&mut self, now: Now, req: ReqId, volume: VolumeId, op: Op, out: &mut Effects);
    /// An I/O ended.
    fn complete(&mut self, now: Now, io: IoId, end: Completion<'_>, out: &mut Effects);
    /// A command of the operator.
    fn command(&mut self, now: Now, id: CommandId, command: &Command, out: &mut Effects);
    /// Time passed.
    fn tick(&mut self, now: Now, out: &mut Effects);
    /// A failed disk was made to work again; no I/O of it is in flight. From now on it goes by
    /// another index.
    ///
    /// # Errors
    /// What went wrong, in words.
    #[expect(
        clippy::too_many_arguments,
        reason = "what opening needs, and the two names"
    )]
    fn reopen(
        &mut self,
        now: Now,
        old: DiskIndex,
        new: DiskIndex,
        drive: &mut Drive,
        swarm: &Swarm,
        bug: Option<Bug>,
        out: &mut Effects,
    ) -> Result<(), String>;
    /// Whether every copy of everything counts.
    fn is_whole(&self) -> bool;
    /// How often this process took each transition of the state machines.
    fn transitions(&self) -> Vec<(&'static str, u64)>;
    /// What is wrong with the image of a disk at rest, one line each.
    fn check(drive: &mut Drive) -> Vec<String>;
    /// For each object on the disks: which volume it belongs to, and how many segments it uses.
    fn usage(&self) -> Vec<(VolumeUid, u64)>;
    /// What the metadata on the disks and in the volatile logs amounts to, in a form that can be
    /// compared.
    fn digest(&self) -> String;
}
