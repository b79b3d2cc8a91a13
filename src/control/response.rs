//! What a request is answered with.

use crate::{Failure, MapRange, Status};
use layout::{Epoch, Term};
use serde::{Deserialize, Serialize};

/// The one reply to a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Reply {
    /// It was done.
    Ok(Response),
    /// It was refused or failed.
    Failed(Failure),
}

/// What a request that was carried out brings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Response {
    /// Nothing more.
    Done,
    /// To [`Hello`](crate::Request::Hello).
    Hello {
        /// The version to speak from now on.
        version: u16,
        /// The highest term seen, for a leader that counts from zero again (spec A9).
        highest: Term,
        /// What answers, for the log.
        who: String,
    },
    /// To [`MapCommand::Get`](crate::MapCommand::Get).
    Entries {
        /// In order, without gaps.
        ranges: Vec<MapRange>,
        /// The segment to ask on from, where not all fitted.
        next: Option<u32>,
    },
    /// To [`MapCommand::GetState`](crate::MapCommand::GetState).
    StateSet {
        /// Where the state is set: first segment and the one after the last, in order.
        ranges: Vec<(u32, u32)>,
        /// The segment to ask on from, where not all fitted.
        next: Option<u32>,
    },
    /// To [`CutEpoch`](crate::Request::CutEpoch).
    Epoch {
        /// The epoch that ended and is held.
        epoch: Epoch,
    },
    /// To [`Status`](crate::Request::Status).
    Status(Box<Status>),
}

impl From<Result<Response, Failure>> for Reply {
    fn from(result: Result<Response, Failure>) -> Self {
        match result {
            Ok(response) => Reply::Ok(response),
            Err(failure) => Reply::Failed(failure),
        }
    }
}

impl From<Reply> for Result<Response, Failure> {
    fn from(reply: Reply) -> Self {
        match reply {
            Reply::Ok(response) => Ok(response),
            Reply::Failed(failure) => Err(failure),
        }
    }
}
