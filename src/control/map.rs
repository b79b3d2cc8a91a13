//! Map commands as they travel (spec M4), and their change into the engine's and back.
//!
//! The wire has its own types, so that an entry's 64 bits in memory may change without a new
//! version of the protocol. Answers are cut at [`MAX_RANGES`] ranges and say where to ask on.

use crate::{Failure, FailureKind, Response};
use engine::map::{self, Entry, State};
use layout::Epoch;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Ranges in one answer at most: they fit a frame whatever they hold.
pub const MAX_RANGES: usize = 4096;

/// One of the four states of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MapState {
    /// Nothing else in the entry is believed.
    Invalid,
    /// Writes fault.
    NoWrite,
    /// Zeros without storage.
    Zero,
    /// Any I/O is answered with an error.
    Error,
}

/// What an entry says of where its segment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum MapPlace {
    /// Nothing: the entry is invalid.
    Nowhere,
    /// Zeros without storage.
    Zero {
        /// Since this epoch.
        birth: Epoch,
    },
    /// In one piece.
    Run {
        /// The physical segment of the disk.
        location: u32,
        /// Its content is not older.
        birth: Epoch,
    },
    /// As its page says.
    Paged {
        /// The page's home.
        location: u32,
    },
}

/// One entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct MapEntry {
    /// Where the segment is.
    pub place: MapPlace,
    /// Whether writes fault beside what `place` says.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_write: bool,
    /// Whether any I/O is answered with an error.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub error: bool,
}

/// A range of like entries: locations go up by one a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct MapRange {
    /// The first segment.
    pub start: u32,
    /// The one after the last.
    pub end: u32,
    /// The entry of the first.
    pub first: MapEntry,
}

/// A command on one mapping table. `start..end` are segments of the object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum MapCommand {
    /// Make the table, all invalid.
    Create {
        /// How many.
        segments: u32,
    },
    /// Forget it; refused while I/Os run.
    Delete,
    /// Say the entries.
    Get {
        /// The first segment.
        start: u32,
        /// The one after the last.
        end: u32,
    },
    /// Replace entries, all or none.
    Set {
        /// Which and by what.
        ranges: Vec<MapRange>,
        /// Answer only when every I/O that began before has ended (spec M5).
        blocking: bool,
    },
    /// Say where a state is set.
    GetState {
        /// The first segment.
        start: u32,
        /// The one after the last.
        end: u32,
        /// Which state.
        state: MapState,
    },
    /// Set a state, or clear no-write.
    SetState {
        /// The first segment.
        start: u32,
        /// The one after the last.
        end: u32,
        /// Which state.
        state: MapState,
        /// Whether it is to be set.
        value: bool,
        /// Answer only when every I/O that began before has ended (spec M5).
        blocking: bool,
    },
}

impl MapCommand {
    /// Whether it changes the table.
    pub fn changes(&self) -> bool {
        !matches!(self, MapCommand::Get { .. } | MapCommand::GetState { .. })
    }
}

impl From<State> for MapState {
    fn from(state: State) -> Self {
        match state {
            State::Invalid => MapState::Invalid,
            State::NoWrite => MapState::NoWrite,
            State::Zero => MapState::Zero,
            State::Error => MapState::Error,
        }
    }
}

impl From<MapState> for State {
    fn from(state: MapState) -> Self {
        match state {
            MapState::Invalid => State::Invalid,
            MapState::NoWrite => State::NoWrite,
            MapState::Zero => State::Zero,
            MapState::Error => State::Error,
        }
    }
}

impl From<Entry> for MapEntry {
    fn from(entry: Entry) -> Self {
        let place = match entry.location() {
            _ if entry.has(State::Invalid) => MapPlace::Nowhere,
            Some(location) if entry.is_paged() => MapPlace::Paged { location },
            Some(location) => MapPlace::Run {
                location,
                birth: entry.birth(),
            },
            None => MapPlace::Zero {
                birth: entry.birth(),
            },
        };
        let (no_write, error) = (entry.has(State::NoWrite), entry.has(State::Error));
        MapEntry {
            place,
            no_write,
            error,
        }
    }
}

impl TryFrom<MapEntry> for Entry {
    type Error = Failure;
    fn try_from(wire: MapEntry) -> Result<Self, Failure> {
        let mut entry = match wire.place {
            MapPlace::Nowhere => Entry::INVALID,
            MapPlace::Zero { birth } => Entry::zero(birth),
            MapPlace::Run { location, .. } | MapPlace::Paged { location }
                if location > map::MAX_LOCATION =>
            {
                let message = format!("location {location} is above {}", map::MAX_LOCATION);
                return Err(FailureKind::OutOfRange.because(message));
            }
            MapPlace::Run { location, birth } => Entry::run(location, birth),
            MapPlace::Paged { location } => Entry::paged(location),
        };
        if wire.no_write {
            entry = entry.with_no_write();
        }
        if wire.error {
            entry = entry.with_error();
        }
        Ok(entry)
    }
}

impl TryFrom<MapCommand> for map::Command {
    type Error = Failure;
    fn try_from(wire: MapCommand) -> Result<Self, Failure> {
        Ok(match wire {
            MapCommand::Create { segments } => map::Command::Create { segments },
            MapCommand::Delete => map::Command::Delete,
            MapCommand::Get { start, end } => map::Command::Get { range: start..end },
            MapCommand::Set { ranges, blocking } => {
                let range = |r: MapRange| Ok((r.start..r.end, r.first.try_into()?));
                let ranges = ranges
                    .into_iter()
                    .map(range)
                    .collect::<Result<_, Failure>>()?;
                map::Command::Set { ranges, blocking }
            }
            MapCommand::GetState { start, end, state } => map::Command::GetState {
                range: start..end,
                state: state.into(),
            },
            MapCommand::SetState {
                start,
                end,
                state,
                value,
                blocking,
            } => {
                let (range, state) = (start..end, state.into());
                map::Command::SetState {
                    range,
                    state,
                    value,
                    blocking,
                }
            }
        })
    }
}

/// The answer to a command as it travels.
pub fn response(response: map::Response) -> Response {
    match response {
        map::Response::Done => Response::Done,
        map::Response::Entries(mut all) => {
            let next = cut(&mut all, |(range, _)| range);
            let wire = |(range, first): (Range<u32>, Entry)| {
                let Range { start, end } = range;
                MapRange {
                    start,
                    end,
                    first: first.into(),
                }
            };
            Response::Entries {
                ranges: all.into_iter().map(wire).collect(),
                next,
            }
        }
        map::Response::Set(mut all) => {
            let next = cut(&mut all, |range| range);
            let ranges = all.into_iter().map(|r| (r.start, r.end)).collect();
            Response::StateSet { ranges, next }
        }
    }
}

/// Keeps what fits; says from which segment the rest is to be asked for.
fn cut<T>(all: &mut Vec<T>, range: impl Fn(&T) -> &Range<u32>) -> Option<u32> {
    let next = all.get(MAX_RANGES).map(|first| range(first).start);
    all.truncate(MAX_RANGES);
    next
}
