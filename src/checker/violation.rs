//! What can be wrong with a layout.

use layout::{Bytes, Generation, Health, Level, NodeName, ObjectPath};

/// One thing that is wrong. `at` is the object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // the messages say what the fields are
pub enum Violation {
    #[error("the intent or the inventory is not valid: nothing can be judged")]
    Input,
    #[error("{at} is {found}, the intent asks for {wanted}")]
    Kind {
        at: ObjectPath,
        wanted: &'static str,
        found: &'static str,
    },
    #[error("{at} has {found} children, the intent asks for {wanted}")]
    Count {
        at: ObjectPath,
        wanted: usize,
        found: usize,
    },
    #[error("{at} is deeper than a tree may be, or has more than 255 children")]
    TooLarge { at: ObjectPath },
    #[error("{at} has the stripe unit {found}, the intent asks for {wanted}")]
    Unit {
        at: ObjectPath,
        wanted: Bytes,
        found: Bytes,
    },
    #[error("{at}: its children are of different size")]
    Unequal { at: ObjectPath },
    #[error("{at} shows {size}, which is no multiple of {step}, or nothing")]
    Uneven {
        at: ObjectPath,
        size: Bytes,
        step: Bytes,
    },
    #[error("{at}: its size does not fit 64 bits")]
    Overflow { at: ObjectPath },
    #[error("the volume shows {found}, the intent asks for {wanted}")]
    Size { wanted: Bytes, found: Bytes },
    #[error("the volume shows {size}, but its root holds {root}")]
    RootTooSmall { size: Bytes, root: Bytes },
    #[error("the volume had {before} and has {after}")]
    Shrunk { before: Bytes, after: Bytes },
    #[error(
        "{at} is evaluated by {node} at level {level:?}, which its disks or the objects around \
            it contradict"
    )]
    Evaluated {
        at: ObjectPath,
        level: Level,
        node: NodeName,
    },
    #[error("the layout before was of another volume")]
    OtherVolume,
    #[error("{at} has generation {found}, which must be {wanted}")]
    Generation {
        at: ObjectPath,
        wanted: Generation,
        found: Generation,
    },
    #[error("the layout has generation {found}, the one before has {before}")]
    OldGeneration {
        before: Generation,
        found: Generation,
    },
    #[error("{at} lies on a disk that the inventory does not have")]
    UnknownDisk { at: ObjectPath },
    #[error("{at} newly lies on disk '{disk}', which is {health} and schedulable: {schedulable}")]
    UnusableDisk {
        at: ObjectPath,
        disk: String,
        health: Health,
        schedulable: bool,
    },
    #[error("{at}: '{rule}' is broken by disk '{disk}'")]
    Rule {
        at: ObjectPath,
        rule: String,
        disk: String,
    },
    #[error("{at}: '{rule}' is broken by its children {one} and {other}: {values}")]
    Separate {
        at: ObjectPath,
        rule: String,
        one: usize,
        other: usize,
        values: String,
    },
    #[error("{at}: its units on disk '{disk}' are empty or out of order at {start}")]
    Ranges {
        at: ObjectPath,
        disk: String,
        start: u32,
    },
    #[error("{at}: unit {unit} is beyond the end of disk '{disk}'")]
    BeyondDisk {
        at: ObjectPath,
        disk: String,
        unit: u64,
    },
    #[error("{at}: unit {unit} of disk '{disk}' is not free")]
    NotFree {
        at: ObjectPath,
        disk: String,
        unit: u32,
    },
    #[error("{at}: unit {unit} of disk '{disk}' is granted twice in this volume")]
    Twice {
        at: ObjectPath,
        disk: String,
        unit: u32,
    },
    #[error("{at}: unit {unit} of disk '{disk}' is granted to volume '{other}'")]
    OfAnother {
        at: ObjectPath,
        disk: String,
        unit: u32,
        other: String,
    },
    #[error("{at} has {granted} units granted, more than its {size} need")]
    TooMany {
        at: ObjectPath,
        size: Bytes,
        granted: u64,
    },
    #[error("disk '{disk}' would have {promised} units promised; {most} may be")]
    Overpromised {
        disk: String,
        promised: u64,
        most: u64,
    },
    #[error("at byte {offset} {live} copies served before, {kept} would after; {wanted} must")]
    CopyLost {
        offset: u64,
        live: usize,
        kept: usize,
        wanted: usize,
    },
}
