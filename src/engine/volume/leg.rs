//! The states of a leg, and the one table of the moves between them.
//!
//! ```text
//!            Fail                Recorded             Return
//!   Live ----------> Dropping ------------> Stale ------------> Rebuilding
//!    ^                   ^                    ^                   |   |
//!    |                   | Fail               '------- Fail ------'   |
//!    |     Joined        |                                            |
//!    '--------------- Joining <------------- Complete ----------------'
//! ```
//! - Live: holds everything, is read and written; what it lacks is in regions to resync.
//! - Dropping: missed something; the others are being told, durably. No change is acknowledged.
//! - Stale: the others know. Nothing is sent to it.
//! - Rebuilding: gets every new write, and what it missed is being copied.
//! - Joining: holds everything durably; the records that said otherwise are being rewritten.

use layout::Epoch;

/// What a leg is short of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lacks {
    /// What changed after this epoch, and regions to resync.
    Since(Epoch),
    /// Everything: it is new. What it holds it got by a rebuild, begun after this epoch.
    Blank(Epoch),
    /// Unknown: every block has to be made equal.
    Unknown,
}

/// A leg's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leg {
    /// Counts.
    Live,
    /// Being recorded as stale; `Some` where what it lacks does not begin now.
    Dropping(Option<Lost>),
    /// Recorded as stale.
    Stale,
    /// Being made equal again.
    Rebuilding(Lacks),
    /// Equal; being recorded as such.
    Joining,
}

/// Why a leg is stale from further back than now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// It is new.
    Blank,
    /// Its own record is too old to tell.
    Unknown,
}

/// What moves a leg from state to state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// It failed.
    Fail,
    /// Every other leg's record says durably that it is stale.
    Recorded,
    /// It is back, lacking this.
    Return(Lacks),
    /// All was copied and is durable.
    Complete,
    /// Every record says that it is not stale.
    Joined,
}

/// How often each transition was taken, in the order of [`TRANSITIONS`].
pub type Counts = [u64; TRANSITIONS.len()];

/// The names of all transitions, for coverage.
pub const TRANSITIONS: [&str; 7] = [
    "leg live -fail-> dropping",
    "leg dropping -recorded-> stale",
    "leg stale -return-> rebuilding",
    "leg rebuilding -fail-> stale",
    "leg rebuilding -complete-> joining",
    "leg joining -fail-> dropping",
    "leg joining -joined-> live",
];

impl Leg {
    /// The table: the state after an event and the transition's index; `None`: the event means
    /// nothing here.
    const fn next(self, event: Event) -> Option<(Leg, usize)> {
        Some(match (self, event) {
            (Leg::Live, Event::Fail) => (Leg::Dropping(None), 0),
            (Leg::Dropping(_), Event::Recorded) => (Leg::Stale, 1),
            (Leg::Stale, Event::Return(lacks)) => (Leg::Rebuilding(lacks), 2),
            (Leg::Rebuilding(_), Event::Fail) => (Leg::Stale, 3),
            (Leg::Rebuilding(_), Event::Complete) => (Leg::Joining, 4),
            (Leg::Joining, Event::Fail) => (Leg::Dropping(None), 5),
            (Leg::Joining, Event::Joined) => (Leg::Live, 6),
            _ => return None,
        })
    }

    /// Takes an event; whether it meant anything.
    pub(crate) fn step(&mut self, event: Event, counts: &mut Counts) -> bool {
        let Some((next, index)) = self.next(event) else {
            return false;
        };
        *self = next;
        counts[index] += 1;
        true
    }

    /// Whether changes are sent to it.
    pub fn is_target(self) -> bool {
        matches!(self, Leg::Live | Leg::Rebuilding(_) | Leg::Joining)
    }
}
