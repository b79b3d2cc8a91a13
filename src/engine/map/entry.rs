//! One entry of a mapping table: the four states of a segment and its location, in 8 bytes.
//!
//! Not here: what a table does with an entry that stops an I/O ([`super::faults`]).
//!
//! ```text
//!  63                              32 31                           5  4  3  2  1  0
//! +----------------------------------+------------------------------+--+--+--+--+--+
//! | birth epoch                      | location: physical segment   |PG|ER|ZR|NW|IN|
//! +----------------------------------+------------------------------+--+--+--+--+--+
//! ```
//! IN invalid, NW no-write, ZR zero, ER error, PG paged: the location is the home of the segment's
//! page, which says where each block is. PG is no state: it stops nothing.
//!
//! Invariants: an invalid entry has neither location nor birth; a zero entry has no location.
//! So a state, once set, cannot be undone by clearing its bit, except no-write (spec M4).

use layout::Epoch;
use std::fmt;

/// The largest location, in segments from the start of the disk: 128 TiB.
pub const MAX_LOCATION: u32 = (1 << 27) - 1;

const INVALID: u64 = 1;
const NO_WRITE: u64 = 1 << 1;
const ZERO: u64 = 1 << 2;
const ERROR: u64 = 1 << 3;
const PAGED: u64 = 1 << 4;
const STATES: u64 = INVALID | NO_WRITE | ZERO | ERROR;
const LOCATION_SHIFT: u32 = 5;
const LOCATION: u64 = (MAX_LOCATION as u64) << LOCATION_SHIFT;
const BIRTH_SHIFT: u32 = 32;

/// One of the four states that an entry holds (spec M1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Nothing else in the entry is believed; any I/O faults.
    Invalid,
    /// Reads go through, writes fault.
    NoWrite,
    /// Reads give zeros without storage, writes fault.
    Zero,
    /// Any I/O is answered with an error.
    Error,
}

impl State {
    /// All of them.
    pub const ALL: [State; 4] = [State::Invalid, State::NoWrite, State::Zero, State::Error];

    const fn bit(self) -> u64 {
        match self {
            State::Invalid => INVALID,
            State::NoWrite => NO_WRITE,
            State::Zero => ZERO,
            State::Error => ERROR,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            State::Invalid => "invalid",
            State::NoWrite => "no-write",
            State::Zero => "zero",
            State::Error => "error",
        })
    }
}

/// The states that an entry holds at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct States {
    /// See [`State::Invalid`].
    pub invalid: bool,
    /// See [`State::NoWrite`].
    pub no_write: bool,
    /// See [`State::Zero`].
    pub zero: bool,
    /// See [`State::Error`].
    pub error: bool,
}

/// What an I/O wants to do with a segment. Discard and write-zeroes are writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Changes nothing.
    Read,
    /// Changes content or validity.
    Write,
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Access::Read => "read",
            Access::Write => "write",
        })
    }
}

/// What an entry says to an I/O.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Straight to storage, or zeros where the entry is zero.
    Go,
    /// It waits; this state stopped it.
    Fault(State),
    /// It is answered with an error.
    Error,
}

/// An entry of a mapping table; see the module for its 64 bits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Entry(u64);

impl Entry {
    /// Nothing is known: what a new table is full of.
    pub const INVALID: Entry = Entry(INVALID);
    /// Zeros without storage, since the first epoch.
    pub const ZERO: Entry = Entry(ZERO);

    /// A segment in one piece at `location` (a physical segment of the disk), whose content is not
    /// older than `birth`.
    ///
    /// # Panics
    /// Where the location is above [`MAX_LOCATION`].
    #[must_use]
    pub const fn run(location: u32, birth: Epoch) -> Entry {
        assert!(location <= MAX_LOCATION, "a location has 27 bits");
        Entry((location as u64) << LOCATION_SHIFT | (birth.0 as u64) << BIRTH_SHIFT)
    }

    /// A segment whose page is at home in `location`, in the caller's unit; births are in the page.
    ///
    /// # Panics
    /// Where the location is above [`MAX_LOCATION`].
    #[must_use]
    pub const fn paged(location: u32) -> Entry {
        Entry(Entry::run(location, Epoch(0)).0 | PAGED)
    }

    /// Zeros without storage since `birth`.
    #[must_use]
    pub const fn zero(birth: Epoch) -> Entry {
        Entry(ZERO | (birth.0 as u64) << BIRTH_SHIFT)
    }

    /// This entry with one state set (spec M4). Invalid voids all else, an earlier error included;
    /// zero voids the location; error and no-write keep what was there.
    #[must_use]
    pub const fn with(self, state: State) -> Entry {
        match state {
            State::Invalid => Entry::INVALID,
            State::Zero => Entry(self.0 & !(LOCATION | PAGED) | ZERO),
            State::NoWrite | State::Error => Entry(self.0 | state.bit()),
        }
    }
    /// This entry, whose writes fault.
    #[must_use]
    pub const fn with_no_write(self) -> Entry {
        self.with(State::NoWrite)
    }
    /// This entry, whose writes no longer fault for no-write: the one state that can be cleared.
    #[must_use]
    pub const fn without_no_write(self) -> Entry {
        Entry(self.0 & !NO_WRITE)
    }
    /// This entry, answered with errors; what it held is kept beneath.
    #[must_use]
    pub const fn with_error(self) -> Entry {
        self.with(State::Error)
    }

    /// Whether this state is set.
    #[inline]
    pub const fn has(self, state: State) -> bool {
        self.0 & state.bit() != 0
    }
    /// All four states.
    pub const fn states(self) -> States {
        States {
            invalid: self.has(State::Invalid),
            no_write: self.has(State::NoWrite),
            zero: self.has(State::Zero),
            error: self.has(State::Error),
        }
    }
    /// Where the segment is, or its page's home; `None` where the entry holds no location
    /// (invalid, zero). An error leaves it readable here, for it keeps the earlier state.
    #[inline]
    pub const fn location(self) -> Option<u32> {
        if self.0 & (INVALID | ZERO) != 0 {
            return None;
        }
        Some(((self.0 & LOCATION) >> LOCATION_SHIFT) as u32)
    }
    /// The epoch that the content is not older than; 0 where invalid or paged.
    #[inline]
    pub const fn birth(self) -> Epoch {
        Epoch((self.0 >> BIRTH_SHIFT) as u32)
    }
    /// Whether it maps the segment in one piece.
    #[inline]
    pub const fn is_run(self) -> bool {
        self.0 & (INVALID | ZERO | PAGED) == 0
    }
    /// Whether its location is a page's home.
    #[inline]
    pub const fn is_paged(self) -> bool {
        self.0 & PAGED != 0
    }

    /// What it says to an I/O: the table of transitions is in [`super`].
    #[inline]
    pub const fn verdict(self, access: Access) -> Verdict {
        if self.0 & STATES == 0 {
            return Verdict::Go;
        }
        match access {
            _ if self.has(State::Error) => Verdict::Error,
            _ if self.has(State::Invalid) => Verdict::Fault(State::Invalid),
            Access::Read => Verdict::Go,
            Access::Write if self.has(State::Zero) => Verdict::Fault(State::Zero),
            Access::Write => Verdict::Fault(State::NoWrite),
        }
    }

    /// The entry `n` segments further in a range that starts with this one: the location moves
    /// along where there is one, all else stays. `None` where the location would pass
    /// [`MAX_LOCATION`].
    #[inline]
    pub const fn nth(self, n: u32) -> Option<Entry> {
        let Some(location) = self.location() else {
            return Some(self);
        };
        if n > MAX_LOCATION - location {
            return None;
        }
        Some(Entry(self.0 + ((n as u64) << LOCATION_SHIFT)))
    }

    /// Its 64 bits, as drawn in the module.
    pub const fn bits(self) -> u64 {
        self.0
    }
    /// Reads [`Self::bits`]; `None` where no entry has these bits.
    pub const fn from_bits(bits: u64) -> Option<Entry> {
        let entry = Entry(bits);
        let beside = if entry.has(State::Invalid) {
            bits & !STATES
        } else if entry.has(State::Zero) {
            bits & (LOCATION | PAGED)
        } else if entry.is_paged() {
            bits >> BIRTH_SHIFT
        } else {
            0
        };
        if beside == 0 { Some(entry) } else { None }
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.location() {
            Some(location) if self.is_paged() => write!(f, "paged@{location}")?,
            Some(location) => write!(f, "run@{location}#{}", self.birth())?,
            None => write!(f, "none#{}", self.birth())?,
        }
        State::ALL
            .iter()
            .filter(|s| self.has(**s))
            .try_for_each(|s| write!(f, "+{s}"))
    }
}
