//! The tables of a node by name, and the commands of the controller on them (spec M4, M5).
//!
//! Not here: how commands travel. Each command gets exactly one answer, an error included; a
//! refused command changed nothing.

use super::{Entry, MapError, MapTable, State, Token, check_locations};
use crate::io::CommandId;
use layout::{ObjectPath, VolumeUid};
use std::collections::BTreeMap;
use std::ops::Range;

/// Names a table: an object of a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TableName {
    /// Of which volume.
    pub volume: VolumeUid,
    /// Which object in its tree.
    pub object: ObjectPath,
}

/// What a controller asks of one table. All ranges are in segments of the object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Makes the table, all invalid.
    Create {
        /// How many.
        segments: u32,
    },
    /// Forgets the table; who waits on it fails, and blocking commands do not exist any more, for
    /// no I/O may be running.
    Delete,
    /// Asks for the entries.
    Get {
        /// Of these segments.
        range: Range<u32>,
    },
    /// Replaces entries, all or none.
    Set {
        /// Each range with its first entry; of two for one segment the later one counts.
        ranges: Vec<(Range<u32>, Entry)>,
        /// Whether the answer waits for the I/Os that began before.
        blocking: bool,
    },
    /// Asks where a state is set.
    GetState {
        /// In these segments.
        range: Range<u32>,
        /// Which one.
        state: State,
    },
    /// Sets a state, or clears no-write.
    SetState {
        /// In these segments.
        range: Range<u32>,
        /// Which one.
        state: State,
        /// Whether it is to be set.
        value: bool,
        /// Whether the answer waits for the I/Os that began before.
        blocking: bool,
    },
}

/// What a command that was carried out answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// It is done; with the blocking flag: and all older I/Os have ended.
    Done,
    /// The ranges of like entries, in order.
    Entries(Vec<(Range<u32>, Entry)>),
    /// The ranges in which the state is set, in order.
    Set(Vec<Range<u32>>),
}

/// The answer to a command: exactly one for each.
pub type Outcome = Result<Response, MapError>;

/// All tables of a node.
#[derive(Default)]
pub struct MapTables {
    tables: BTreeMap<TableName, MapTable>,
    answers: Vec<(CommandId, Outcome)>,
    failed: Vec<(Token, MapError)>,
}

impl MapTables {
    /// The table of this name, to pass I/Os through and to answer its faults.
    pub fn get_mut(&mut self, name: TableName) -> Option<&mut MapTable> {
        self.tables.get_mut(&name)
    }

    /// The names of all tables, in order.
    pub fn names(&self) -> impl Iterator<Item = TableName> {
        self.tables.keys().copied()
    }

    /// Carries a command out. Its answer comes out of [`Self::take_answers`], at once or, with the
    /// blocking flag, after the I/Os that began before it.
    pub fn apply(&mut self, id: CommandId, name: TableName, command: Command) {
        match self.carry_out(id, name, command) {
            Ok(Some(response)) => self.answers.push((id, Ok(response))),
            Ok(None) => {} // The table hands the answer out when it is due.
            Err(error) => self.answers.push((id, Err(error))),
        }
    }

    /// `None` where the answer [`Response::Done`] is due when `id` comes out of the table's
    /// [`MapTable::take_drained`].
    fn carry_out(
        &mut self,
        id: CommandId,
        name: TableName,
        command: Command,
    ) -> Result<Option<Response>, MapError> {
        let unknown = MapError::UnknownTable(name);
        let table = self.tables.get_mut(&name);
        match command {
            Command::Create { .. } if table.is_some() => Err(MapError::TableExists(name)),
            Command::Create { segments } => {
                self.tables.insert(name, MapTable::new(segments));
                Ok(Some(Response::Done))
            }
            Command::Delete => self.delete(name).map(|()| Some(Response::Done)),
            Command::Get { range } => {
                let table = table.ok_or(unknown)?;
                table.check_range(&range)?;
                Ok(Some(Response::Entries(table.get_ranges(range))))
            }
            Command::GetState { range, state } => {
                let table = table.ok_or(unknown)?;
                table.check_range(&range)?;
                Ok(Some(Response::Set(table.where_set(range, state))))
            }
            Command::Set { ranges, blocking } => {
                let table = table.ok_or(unknown)?;
                table.set_ranges(ranges)?;
                Ok(table.answer_after(id, blocking))
            }
            Command::SetState {
                range,
                state,
                value,
                blocking,
            } => {
                let table = table.ok_or(unknown)?;
                table.set_state(range, state, value, None)?;
                Ok(table.answer_after(id, blocking))
            }
        }
    }

    fn delete(&mut self, name: TableName) -> Result<(), MapError> {
        let table = self.tables.get(&name).ok_or(MapError::UnknownTable(name))?;
        match table.running() {
            0 => {}
            running => return Err(MapError::Busy { running }),
        }
        if let Some(mut table) = self.tables.remove(&name) {
            let drained = table.take_drained().map(|id| (id, Ok(Response::Done)));
            self.answers.extend(drained);
            for segment in table.faults.segments(0..u32::MAX).collect::<Vec<_>>() {
                table
                    .faults
                    .release(segment, Err(MapError::UnknownTable(name)));
            }
            let gone = |(token, outcome): (_, Result<(), MapError>)| {
                (token, outcome.err().unwrap_or(MapError::UnknownTable(name)))
            };
            self.failed.extend(table.take_ready().map(gone));
        }
        Ok(())
    }

    /// The answers that are due; of one table in the order in which they became due.
    pub fn take_answers(&mut self) -> impl Iterator<Item = (CommandId, Outcome)> {
        let drained = self.tables.values_mut().flat_map(MapTable::take_drained);
        self.answers
            .extend(drained.map(|id| (id, Ok(Response::Done))));
        self.answers.drain(..)
    }

    /// I/Os that waited on a table that was deleted: they fail.
    pub fn take_failed(&mut self) -> impl Iterator<Item = (Token, MapError)> {
        self.failed.drain(..)
    }
}

impl MapTable {
    fn set_ranges(&mut self, ranges: Vec<(Range<u32>, Entry)>) -> Result<(), MapError> {
        for (range, first) in &ranges {
            self.check_range(range)?;
            check_locations(range, *first)?;
        }
        ranges
            .into_iter()
            .try_for_each(|(range, first)| self.set_range(range, first, None))
    }

    fn answer_after(&mut self, id: CommandId, blocking: bool) -> Option<Response> {
        if !blocking {
            return Some(Response::Done);
        }
        self.flight.block(id);
        None
    }

    fn where_set(&self, range: Range<u32>, state: State) -> Vec<Range<u32>> {
        let mut out: Vec<Range<u32>> = Vec::new();
        for (range, _) in self
            .get_ranges(range)
            .into_iter()
            .filter(|(_, e)| e.has(state))
        {
            match out.last_mut() {
                Some(before) if before.end == range.start => before.end = range.end,
                _ => out.push(range),
            }
        }
        out
    }
}
