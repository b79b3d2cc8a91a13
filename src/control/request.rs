//! What the data plane can be asked.

use crate::MapCommand;
use layout::{DiskUid, Epoch, Generation, Layout, NodeName, ObjectPath, UnitRange, VolumeUid};
use serde::{Deserialize, Serialize};

/// One request. Those that change something count only from a leader whose term is not older than
/// the highest seen ([`Request::needs_term`]).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// The first of a connection, in a frame of version 1 for ever.
    Hello {
        /// The oldest version of the protocol that the sender speaks.
        oldest: u16,
        /// The newest.
        newest: u16,
        /// Who asks, for the log.
        who: String,
    },
    /// Serve this disk.
    AddDisk {
        /// A device or a file.
        path: String,
        /// What its superblock must say.
        expected: DiskUid,
    },
    /// Serve this disk no more; refused while a volume uses it.
    RemoveDisk {
        /// Which one.
        disk: DiskUid,
    },
    /// Reserve units for an object; the first grant makes the object (spec A10). Repeating one does
    /// nothing.
    Grant {
        /// The volume.
        volume: VolumeUid,
        /// The object in its tree.
        object: ObjectPath,
        /// The layout's generation that says so.
        generation: Generation,
        /// The disk.
        disk: DiskUid,
        /// All units of the object, those granted before included.
        units: Vec<UnitRange>,
        /// Bytes that the object shows.
        size: u64,
        /// The owner record's text: intent, expansion, name of the claim (spec A4).
        owner: String,
    },
    /// Give an object's units back, and with them what it holds.
    Release {
        /// The volume.
        volume: VolumeUid,
        /// The object in its tree.
        object: ObjectPath,
        /// The layout's generation that says so.
        generation: Generation,
        /// The disk.
        disk: DiskUid,
    },
    /// Serve a volume.
    AttachVolume {
        /// Its placement.
        layout: Layout,
    },
    /// Serve it no more, after finishing what was asked.
    DetachVolume {
        /// Which one.
        volume: VolumeUid,
    },
    /// Show more bytes.
    ResizeVolume {
        /// Its placement with the new size; its leaves are granted what they need.
        layout: Layout,
    },
    /// Take a new copy in the place of one; it is filled while the volume is in use.
    ReplaceCopy {
        /// The copy to be replaced.
        copy: ObjectPath,
        /// The placement after it.
        layout: Layout,
    },
    /// A command on the mapping table of an object (spec M4).
    Map {
        /// The volume.
        volume: VolumeUid,
        /// The object in its tree.
        object: ObjectPath,
        /// The command.
        command: MapCommand,
    },
    /// The answer to a placement fault (spec M3).
    AnswerFault {
        /// The volume.
        volume: VolumeUid,
        /// The leaf at fault.
        object: ObjectPath,
        /// What is made of it.
        answer: FaultAnswer,
    },
    /// Give a host the right to serve a volume for a time (spec M7).
    Lease {
        /// The volume.
        volume: VolumeUid,
        /// The host.
        holder: NodeName,
        /// The layout's generation under which it may.
        generation: Generation,
        /// For how long, from the reply on; 0 takes the right back.
        milliseconds: u64,
    },
    /// End the epoch of a volume and hold what it leaves behind.
    CutEpoch {
        /// The volume.
        volume: VolumeUid,
    },
    /// An epoch that was held is needed no more.
    ReleaseEpoch {
        /// The volume.
        volume: VolumeUid,
        /// Which one.
        epoch: Epoch,
    },
    /// Say how things are.
    Status,
    /// Send events over this connection from now on.
    Subscribe,
    /// Finish what was read and end, so that a successor takes over; volumes stay.
    Upgrade,
    /// End for good; refused while volumes are attached.
    Shutdown,
}

/// What is made of a placement fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum FaultAnswer {
    /// These units are the object's now, those granted before included.
    Grant {
        /// The layout's generation that says so.
        generation: Generation,
        /// All units of the object.
        units: Vec<UnitRange>,
    },
    /// There is no space: who waits is told so.
    NoSpace,
    /// Not yet: the fault comes again.
    Wait,
}

impl Request {
    /// Whether it changes something, so that an older leader must be refused (spec A9).
    pub fn needs_term(&self) -> bool {
        match self {
            Request::Hello { .. } | Request::Status | Request::Subscribe => false,
            Request::Map { command, .. } => command.changes(),
            _ => true,
        }
    }
}
