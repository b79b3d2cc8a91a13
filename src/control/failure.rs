//! Why a request was refused: a kind to match on, and words for people.

use crate::map::MapState;
use crate::{FrameError, MessageError, OLDEST, StaleTerm, VERSION};
use engine::io::CommandError;
use engine::map::MapError;
use layout::{DiskUid, Term, VolumeUid};
use serde::{Deserialize, Serialize};

/// A request that was not carried out; nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(deny_unknown_fields)]
#[error("{message}")]
pub struct Failure {
    /// To match on.
    pub kind: FailureKind,
    /// For people; it may change at any time.
    pub message: String,
}

/// The kinds of failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum FailureKind {
    /// The bytes were no frame; the connection is closed.
    BadFrame,
    /// No version that both ends speak; the connection is closed.
    Version {
        /// The oldest that is spoken here.
        oldest: u16,
        /// The newest.
        newest: u16,
    },
    /// The frame was whole, what it says is not known; the connection goes on.
    BadRequest,
    /// A newer leader was seen (spec A9).
    StaleTerm {
        /// The highest term seen.
        highest: Term,
    },
    /// A newer generation of the layout was seen (spec A4).
    StaleGeneration {
        /// What was given.
        given: u64,
        /// What was seen.
        seen: u64,
    },
    /// No such volume here.
    UnknownVolume {
        /// As it was named.
        volume: VolumeUid,
    },
    /// No such disk here.
    UnknownDisk {
        /// As it was named.
        disk: DiskUid,
    },
    /// The disk had an I/O error and was not reopened.
    DiskFailed {
        /// Which one.
        disk: DiskUid,
    },
    /// What is asked contradicts what the disk says of itself.
    Contradiction {
        /// The disk.
        disk: DiskUid,
    },
    /// The disk is not the expected one, not ours, damaged, or in use: the message says which.
    BadDisk,
    /// No mapping table of that name.
    UnknownTable,
    /// There is a mapping table of that name.
    TableExists,
    /// Segments that the table does not have, or a location that no entry can hold.
    OutOfRange,
    /// Only a replacement of the entry clears this state (spec M4).
    ReplacementOnly {
        /// Which one.
        state: MapState,
    },
    /// No such fault is open.
    NoSuchFault,
    /// I/Os are running, or a volume is attached.
    Busy,
    /// It cannot be done now.
    Refused,
}

impl FailureKind {
    /// With words.
    pub fn because(self, message: impl Into<String>) -> Failure {
        Failure {
            kind: self,
            message: message.into(),
        }
    }
}

impl From<StaleTerm> for Failure {
    fn from(stale: StaleTerm) -> Self {
        FailureKind::StaleTerm {
            highest: stale.highest,
        }
        .because(stale.to_string())
    }
}

impl From<FrameError> for Failure {
    fn from(error: FrameError) -> Self {
        let kind = match error {
            FrameError::Version { .. } => FailureKind::Version {
                oldest: OLDEST,
                newest: VERSION,
            },
            _ => FailureKind::BadFrame,
        };
        kind.because(error.to_string())
    }
}

impl From<MessageError> for Failure {
    fn from(error: MessageError) -> Self {
        match error {
            MessageError::Frame(error) => error.into(),
            MessageError::Body { .. } => FailureKind::BadRequest.because(error.to_string()),
        }
    }
}

impl From<CommandError> for Failure {
    fn from(error: CommandError) -> Self {
        let message = error.to_string();
        let kind = match error {
            CommandError::UnknownVolume(volume) => FailureKind::UnknownVolume { volume },
            CommandError::UnknownDisk(disk) => FailureKind::UnknownDisk { disk },
            CommandError::DiskFailed(disk) => FailureKind::DiskFailed { disk },
            CommandError::Contradiction { disk, .. } => FailureKind::Contradiction { disk },
            CommandError::StaleGeneration { given, seen } => {
                FailureKind::StaleGeneration { given, seen }
            }
            CommandError::Refused(_) => FailureKind::Refused,
        };
        kind.because(message)
    }
}

impl From<MapError> for Failure {
    fn from(error: MapError) -> Self {
        let kind = match error {
            MapError::UnknownTable(_) => FailureKind::UnknownTable,
            MapError::TableExists(_) => FailureKind::TableExists,
            MapError::OutOfRange { .. } | MapError::LocationTooLarge { .. } => {
                FailureKind::OutOfRange
            }
            MapError::ReplacementOnly { state } => FailureKind::ReplacementOnly {
                state: state.into(),
            },
            MapError::NoSuchFault { .. } => FailureKind::NoSuchFault,
            MapError::Busy { .. } => FailureKind::Busy,
            MapError::ErrorState { .. } | MapError::StillMapped { .. } => FailureKind::Refused,
        };
        kind.because(error.to_string())
    }
}
