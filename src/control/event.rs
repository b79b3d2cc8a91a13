//! What the data plane says by itself to those who subscribed.

use engine::io::Notice;
use layout::{DiskUid, ObjectPath, VolumeUid};
use serde::{Deserialize, Serialize};

/// One event. Events are hints: after a reconnect the status says how things are, and a placement
/// fault comes again until it is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Event {
    /// A leaf needs more units; its writers wait for [`AnswerFault`](crate::Request::AnswerFault)
    /// (spec M3).
    PlacementFault {
        /// The volume.
        volume: VolumeUid,
        /// The leaf.
        object: ObjectPath,
        /// The disk on which it lies.
        disk: DiskUid,
        /// Units that would be enough for those who wait.
        units: u32,
    },
    /// An I/O met a state of its map entry that only the controller can lift (spec M3); it waits
    /// for an entry to be set, or an error.
    MapFault {
        /// The volume.
        volume: VolumeUid,
        /// The leaf.
        object: ObjectPath,
        /// The segment of the leaf.
        segment: u32,
        /// Whether it is a write.
        write: bool,
        /// The state that stopped it, in words.
        state: String,
    },
    /// A disk had an I/O error; nothing is sent to it until it is reopened.
    DiskFailed {
        /// The disk.
        disk: DiskUid,
        /// The operating system's error number.
        errno: i32,
    },
    /// A metadata block cannot be believed; what it maps is answered with errors.
    Damaged {
        /// The disk.
        disk: DiskUid,
        /// Which block, and what is wrong with it, in words.
        what: String,
    },
    /// A copy missed a write; the others know, durably.
    LegDropped {
        /// The volume.
        volume: VolumeUid,
        /// The mirror.
        mirror: ObjectPath,
        /// Which of its copies.
        leg: u8,
    },
    /// A copy is being made equal again.
    RebuildProgress {
        /// The volume.
        volume: VolumeUid,
        /// The mirror.
        mirror: ObjectPath,
        /// Which of its copies.
        leg: u8,
        /// Bytes looked at so far.
        done: u64,
        /// Bytes to look at.
        total: u64,
        /// Bytes copied so far.
        copied: u64,
        /// Whether the copy counts again.
        complete: bool,
    },
}

impl From<Notice> for Event {
    fn from(notice: Notice) -> Self {
        match notice {
            Notice::PlacementFault {
                volume,
                path,
                disk,
                units,
            } => Event::PlacementFault {
                volume,
                object: path,
                disk,
                units,
            },
            Notice::MapFault {
                volume,
                path,
                segment,
                write,
                state,
                fault: _,
            } => Event::MapFault {
                volume,
                object: path,
                segment,
                write,
                state: state.to_string(),
            },
            Notice::DiskFailed { disk, fault } => Event::DiskFailed {
                disk,
                errno: fault.errno,
            },
            Notice::Damaged { disk, what } => Event::Damaged { disk, what },
            Notice::LegDropped {
                volume,
                mirror,
                leg,
            } => Event::LegDropped {
                volume,
                mirror,
                leg,
            },
            Notice::Rebuild {
                volume,
                mirror,
                leg,
                done,
                total,
                copied,
                complete,
            } => {
                let (done, total, copied) = (done.0, total.0, copied.0);
                Event::RebuildProgress {
                    volume,
                    mirror,
                    leg,
                    done,
                    total,
                    copied,
                    complete,
                }
            }
        }
    }
}
