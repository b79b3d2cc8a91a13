//! An object on this disk, as it is in memory.

use crate::format::object::ObjectRecord;
use crate::map::{Entry, Fault, MapTable};
use layout::Epoch;

/// A live object.
pub struct Object {
    /// What is recorded of it.
    pub record: ObjectRecord,
    /// Where its segments are.
    pub table: MapTable,
    /// The units granted to it, ascending.
    pub units: Vec<u32>,
    /// Where in `units` the search for a free segment starts.
    pub cursor: usize,
    /// Faults that wait for space.
    pub starved: Vec<Fault>,
}

impl Object {
    /// An object none of whose segments is mapped.
    pub fn new(record: ObjectRecord) -> Self {
        let mut object = Object {
            table: MapTable::new(record.segments),
            record,
            units: Vec::new(),
            cursor: 0,
            starved: Vec::new(),
        };
        object.grow_table(0);
        object
    }

    /// Makes the entries from `from` on zero: nothing was ever written there.
    pub fn grow_table(&mut self, from: u32) {
        let all = from..self.record.segments;
        let set = self.table.set_range(all, Entry::ZERO, None);
        assert!(set.is_ok(), "the range is the table's own");
    }

    /// Whether somebody needs to know that a block changed that was last changed at `birth`.
    pub fn tracks(&self, birth: Epoch) -> bool {
        self.record.held.last().is_some_and(|held| *held >= birth)
    }

    /// Whether changes between these two epochs must be told apart.
    pub fn separates(&self, oldest: Epoch, newest: Epoch) -> bool {
        self.record
            .held
            .iter()
            .any(|held| oldest <= *held && *held < newest)
    }
}
