//! The mapping table (spec M1-M5, and the no-write of M9): what a segment's entry says to an I/O,
//! the faults of those it stops, and the controller's commands.
//!
//! Pure: the shell asks [`MapTable::admit`] before each I/O, gives the ticket back at its end,
//! and carries out what the `take_` calls hand over. Who answers a fault is not known here: the
//! node's own store inside granted extents, else whoever speaks to it over the control socket.
//!
//! ```text
//!                 admit                            end(ticket)
//!   I/O ───────────▶◆────────── go ───▶ running ───────────────▶ over
//!        ▲          ├────────── error ─────────────────────────▶ failed
//!        │          └── fault ──▶ waiting ◀─┐ resend_due: the fault is sent again
//!        │                         │  │  │  └─ answer Wait
//!        │   answer Replace,       │  │  │
//!        │   or a command that     │  │  └── answer Error: the error state is set ──▶ failed
//!        └── changed the entry ────┘  └───── the table ends before the segment ─────▶ failed
//! ```
//! One table of transitions, by the entry's states; a state further up outranks those below it:
//!
//! | entry                 | read         | write          | after `answer Error` |
//! |-----------------------|--------------|----------------|----------------------|
//! | error                 | error        | error          | (no fault)           |
//! | invalid               | fault        | fault          | error + invalid      |
//! | zero                  | go: zeros    | fault          | error + zero         |
//! | no-write (run, paged) | go           | fault          | error + no-write     |
//! | run, paged            | go           | go             | (no fault)           |
//!
//! Error outranks invalid, or the fault that it answers would come again for ever. Setting invalid
//! voids an error that was there: "nothing else in the entry is believed".
//!
//! | set state     | true                          | false             |
//! |---------------|-------------------------------|-------------------|
//! | invalid       | nothing else is kept          | refused           |
//! | no-write      | the rest is kept              | the rest is kept  |
//! | zero          | the location is void          | refused           |
//! | error         | the rest is kept              | refused           |

mod chunks;
mod entry;
mod faults;
mod flight;
#[cfg(test)]
mod model_tests;
mod tables;
#[cfg(test)]
mod tests;

pub use entry::{Access, Entry, MAX_LOCATION, State, States, Verdict};
pub use faults::{Fault, FaultId, RESEND_NS, Token};
pub use flight::Ticket;
pub use tables::{Command, MapTables, Outcome, Response, TableName};

use crate::io::CommandId;
use chunks::Chunks;
use faults::Faults;
use flight::Flight;
use std::ops::Range;

/// Why the table refused, or an I/O failed. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MapError {
    /// The entry is in the error state (spec M2).
    #[error("segment {segment} is in the error state")]
    ErrorState {
        /// Which one.
        segment: u32,
    },
    /// The range does not lie inside the table.
    #[error("segments {start}..{end} are not inside a table of {segments}")]
    OutOfRange {
        /// The first segment.
        start: u32,
        /// The one after the last.
        end: u32,
        /// How many there are.
        segments: u32,
    },
    /// Only a replacement of the entry clears this state (spec M4).
    #[error("the {state} state is cleared only by replacing the entry")]
    ReplacementOnly {
        /// Which one.
        state: State,
    },
    /// The range's last location would not fit an entry.
    #[error("{count} segments from location {location} pass the last location {MAX_LOCATION}")]
    LocationTooLarge {
        /// Of the first entry.
        location: u32,
        /// Segments in the range.
        count: u32,
    },
    /// The fault was answered before, or its segment's entry was changed since.
    #[error("fault {id} is not open")]
    NoSuchFault {
        /// As it was named in the answer.
        id: FaultId,
    },
    /// The table cannot be cut off before a segment that is not invalid.
    #[error("segment {segment} is still mapped")]
    StillMapped {
        /// The first such segment.
        segment: u32,
    },
    /// No table has this name.
    #[error("there is no table of volume {} object {}", .0.volume, .0.object)]
    UnknownTable(TableName),
    /// A table has this name already.
    #[error("there is a table of volume {} object {}", .0.volume, .0.object)]
    TableExists(TableName),
    /// The table cannot be deleted under running I/Os: set it invalid first, with the blocking
    /// flag.
    #[error("{running} I/Os run on the table")]
    Busy {
        /// How many.
        running: u64,
    },
}

/// What becomes of an I/O at the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admit {
    /// It has begun: straight to storage (zeros where the entry says so), then [`MapTable::end`].
    Go {
        /// What the segment's entry was when it began.
        entry: Entry,
        /// To be given back when it ended.
        ticket: Ticket,
    },
    /// It has not begun; its token comes out of [`MapTable::take_ready`] when the fault is over.
    Wait,
}

/// What the controller makes of a fault (spec M3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// This entry takes the place of the one at fault; who waits tries again.
    Replace(Entry),
    /// The error state is set; who waits fails.
    Error,
    /// Not yet. The fault stays open and is sent again in its time, for a controller that forgot.
    Wait,
}

/// A mapping table: an entry for each segment, the I/Os that run and those that wait.
pub struct MapTable {
    chunks: Chunks,
    faults: Faults,
    flight: Flight,
}

impl MapTable {
    /// A table of so many segments, all invalid.
    pub fn new(segments: u32) -> Self {
        let (faults, flight) = (Faults::default(), Flight::default());
        MapTable {
            chunks: Chunks::new(segments),
            faults,
            flight,
        }
    }

    /// How many segments it has.
    #[inline]
    pub fn segments(&self) -> u32 {
        self.chunks.len()
    }

    /// Grows by invalid entries, or gives an invalid tail up; who waits there fails.
    ///
    /// # Errors
    /// [`MapError::StillMapped`] where the tail is not all invalid.
    pub fn resize(&mut self, segments: u32) -> Result<(), MapError> {
        let (start, end) = (segments.min(self.segments()), self.segments());
        let mapped = |(_, entry): &(_, Entry)| !entry.has(State::Invalid);
        if let Some((range, _)) = self.chunks.ranges(start..end).into_iter().find(mapped) {
            return Err(MapError::StillMapped {
                segment: range.start,
            });
        }
        self.chunks.resize(segments);
        for segment in self.faults.segments(start..end).collect::<Vec<_>>() {
            let gone = MapError::OutOfRange {
                start: segment,
                end: segment + 1,
                segments,
            };
            self.faults.release(segment, Err(gone));
        }
        Ok(())
    }

    /// The segment's entry, in constant time.
    ///
    /// # Panics
    /// Past the end of the table.
    #[inline]
    pub fn get(&self, segment: u32) -> Entry {
        self.chunks.get(segment)
    }

    /// An I/O on one segment asks to begin; `now` in nanoseconds of the caller's clock. One on
    /// several segments asks for each; where one of them waits it has not begun, so the tickets
    /// of the others go back at once and it asks for all of them again.
    ///
    /// # Errors
    /// [`MapError::ErrorState`] and [`MapError::OutOfRange`]: the I/O fails.
    #[inline]
    pub fn admit(
        &mut self,
        now: u64,
        access: Access,
        segment: u32,
        token: Token,
    ) -> Result<Admit, MapError> {
        if segment >= self.segments() {
            let (start, end) = (segment, segment.saturating_add(1));
            return Err(MapError::OutOfRange {
                start,
                end,
                segments: self.segments(),
            });
        }
        let entry = self.chunks.get(segment);
        match entry.verdict(access) {
            Verdict::Go => Ok(Admit::Go {
                entry,
                ticket: self.flight.begin(),
            }),
            Verdict::Error => Err(MapError::ErrorState { segment }),
            Verdict::Fault(state) => {
                self.faults.wait(now, access, segment, state, token);
                Ok(Admit::Wait)
            }
        }
    }

    /// An I/O that had begun ended, well or not.
    ///
    /// # Panics
    /// Where a ticket comes back twice and this shows.
    #[inline]
    pub fn end(&mut self, ticket: Ticket) {
        self.flight.end(ticket);
    }

    /// I/Os that have begun and not ended.
    pub fn running(&self) -> u64 {
        self.flight.running()
    }

    /// The controller answers a fault.
    ///
    /// # Errors
    /// [`MapError::NoSuchFault`] where it is over: a second answer to a fault that was sent twice.
    pub fn answer(&mut self, fault: FaultId, answer: Answer) -> Result<(), MapError> {
        let segment = match self.faults.find(fault) {
            Some(fault) => fault.segment,
            None => return Err(MapError::NoSuchFault { id: fault }),
        };
        let one = segment..segment + 1;
        match answer {
            Answer::Replace(entry) => {
                self.chunks.fill(one, entry);
                self.faults.release(segment, Ok(()));
            }
            Answer::Error => {
                self.chunks.map(one, Entry::with_error);
                self.faults
                    .release(segment, Err(MapError::ErrorState { segment }));
            }
            Answer::Wait => {}
        }
        Ok(())
    }

    /// Faults to send to the controller: new ones, and ones that [`Self::resend_due`] found.
    pub fn take_faults(&mut self) -> impl Iterator<Item = Fault> {
        self.faults.take_unsent()
    }

    /// Faults that are open.
    pub fn open_faults(&self) -> usize {
        self.faults.len()
    }

    /// I/Os that no longer wait: `Ok` asks [`Self::admit`] again, `Err` fails.
    pub fn take_ready(&mut self) -> impl Iterator<Item = (Token, Result<(), MapError>)> {
        self.faults.take_ready()
    }

    /// Has faults sent again that were not over within [`RESEND_NS`].
    pub fn resend_due(&mut self, now: u64) {
        self.faults.resend_due(now);
    }

    /// When [`Self::resend_due`] has something to do next; `None` without open faults.
    pub fn next_wake(&self) -> Option<u64> {
        self.faults.next_wake()
    }

    /// Replaces the entries of `range` by `first` and those that follow it ([`Entry::nth`]). Who
    /// waits for a segment whose entry changed tries again. With `blocking`, that command comes
    /// out of [`Self::take_drained`] when every I/O that has begun by now ended (spec M5).
    ///
    /// # Errors
    /// [`MapError::OutOfRange`] and [`MapError::LocationTooLarge`].
    pub fn set_range(
        &mut self,
        range: Range<u32>,
        first: Entry,
        blocking: Option<CommandId>,
    ) -> Result<(), MapError> {
        self.check_range(&range)?;
        check_locations(&range, first)?;
        self.change(range.clone(), |chunks| chunks.fill(range, first), blocking);
        Ok(())
    }

    /// Sets or clears one state over `range`; `blocking` and who waits as in [`Self::set_range`].
    ///
    /// # Errors
    /// [`MapError::OutOfRange`]; [`MapError::ReplacementOnly`] for clearing all but no-write.
    pub fn set_state(
        &mut self,
        range: Range<u32>,
        state: State,
        value: bool,
        blocking: Option<CommandId>,
    ) -> Result<(), MapError> {
        self.check_range(&range)?;
        let f = move |entry: Entry| match (state, value) {
            (state, true) => entry.with(state),
            (_, false) => entry.without_no_write(),
        };
        if !value && state != State::NoWrite {
            return Err(MapError::ReplacementOnly { state });
        }
        self.change(range.clone(), |chunks| chunks.map(range, f), blocking);
        Ok(())
    }

    /// The entries of `range` as ranges of like entries, in order: runs with consecutive locations
    /// and the same birth and states are one range, given by its first entry.
    ///
    /// # Panics
    /// Past the end of the table.
    pub fn get_ranges(&self, range: Range<u32>) -> Vec<(Range<u32>, Entry)> {
        self.chunks.ranges(range)
    }

    /// Blocking commands whose older I/Os have all ended. An I/O that waits delays none.
    pub fn take_drained(&mut self) -> impl Iterator<Item = CommandId> {
        self.flight.take_drained()
    }

    /// Bytes held for entries, faults and running I/Os.
    pub fn memory(&self) -> usize {
        size_of::<Self>() + self.chunks.memory() + self.faults.memory() + self.flight.memory()
    }

    fn check_range(&self, range: &Range<u32>) -> Result<(), MapError> {
        let segments = self.segments();
        if range.start > range.end || range.end > segments {
            return Err(MapError::OutOfRange {
                start: range.start,
                end: range.end,
                segments,
            });
        }
        Ok(())
    }

    fn change(
        &mut self,
        range: Range<u32>,
        change: impl FnOnce(&mut Chunks),
        blocking: Option<CommandId>,
    ) {
        let at_fault: Vec<_> = self
            .faults
            .segments(range)
            .map(|s| (s, self.get(s)))
            .collect();
        change(&mut self.chunks);
        for (segment, before) in at_fault {
            if self.get(segment) != before {
                self.faults.release(segment, Ok(()));
            }
        }
        if let Some(command) = blocking {
            self.flight.block(command);
        }
    }
}

fn check_locations(range: &Range<u32>, first: Entry) -> Result<(), MapError> {
    let count = range.end - range.start;
    match (first.location(), first.nth(count.saturating_sub(1))) {
        (Some(location), None) => Err(MapError::LocationTooLarge { location, count }),
        _ => Ok(()),
    }
}
