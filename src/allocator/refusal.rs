//! Why there is no plan, in words that a person can act on (spec A8).

use crate::shortage::{Funnel, Shortage};
use layout::{Bytes, DiskUid, Health, IntentError, InventoryError, Kind, Object, ObjectPath, UNIT};
use std::fmt;

/// Why there is no plan. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // the messages say what the fields are
pub enum Refusal {
    #[error("the intent is not valid: {}", all(.0))]
    Intent(Vec<IntentError>),
    #[error("the inventory is not valid")]
    Inventory(#[from] InventoryError),
    #[error(transparent)]
    NoPlacement(Box<NoPlacement>),
    #[error("size {size}, rounded up to equal columns and parts, does not fit 64 bits")]
    SizeTooLarge { size: Bytes },
    #[error("the volume has {from}; {to} would be less, and a volume does not shrink here")]
    Shrink { from: Bytes, to: Bytes },
    #[error(
        "the layout has {found} at {at} where the intent asks for {wanted}: another transformation must be finished first"
    )]
    OtherTree {
        at: ObjectPath,
        wanted: Shape,
        found: Shape,
    },
    #[error("{at} lies on disk {disk}, which the inventory does not have")]
    UnknownDisk { at: ObjectPath, disk: DiskUid },
    #[error("nothing of the volume lies on disk '{disk}'")]
    NotOnDisk { disk: String },
    #[error("disk '{disk}' is {health}: only a disk that has failed or is absent is replaced")]
    NotFailed { disk: String, health: Health },
    #[error(
        "{at} lay on disk '{disk}' and has no other whole copy ({others}): its content must come from a backup"
    )]
    NoLiveCopy {
        at: ObjectPath,
        disk: String,
        others: String,
    },
    #[error("{at} is no leaf of the volume")]
    NoLeaf { at: ObjectPath },
    #[error(
        "{at} shows {size} and has {granted} of {most} units granted: {more} more are not needed"
    )]
    GrantedTooMuch {
        at: ObjectPath,
        size: Bytes,
        granted: u64,
        most: u64,
        more: u64,
    },
    #[error("{at} needs {units} more units ({}) on disk '{disk}', which has {free} free", Bytes(units * UNIT))]
    DiskFull {
        at: ObjectPath,
        disk: String,
        units: u64,
        free: u64,
    },
    #[error("{at} lies on disk '{disk}', which is {health}: nothing is granted there")]
    DiskDown {
        at: ObjectPath,
        disk: String,
        health: Health,
    },
    #[error("the layout's generation is used up")]
    Generations,
}

/// The search found no disks for what must be placed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("volume '{name}': {shortage}.{funnel}{}", gave_up(*tries, *exhaustive))]
pub struct NoPlacement {
    /// What people call the volume.
    pub name: String,
    /// What is missing.
    pub shortage: Shortage,
    /// How the disks fell, for the leaf to which the fewest remain.
    pub funnel: Funnel,
    /// Candidates that the search tried.
    pub tries: u64,
    /// Whether the search looked at everything; else its budget ended it.
    pub exhaustive: bool,
}

/// A kind of object with the count of its children.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// The word for the kind.
    pub word: &'static str,
    /// How many children.
    pub children: usize,
}

impl Shape {
    /// The shape of an object.
    pub fn of(object: &Object) -> Self {
        let word = match object.kind {
            Kind::Stripe { .. } => "stripe",
            Kind::Mirror { .. } => "mirror",
            Kind::Concat { .. } => "concat",
            Kind::Extents { .. } => "extents",
        };
        Shape {
            word,
            children: object.children().len(),
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.children {
            0 => f.write_str(self.word),
            n => write!(f, "a {} of {n}", self.word),
        }
    }
}

fn all(errors: &[IntentError]) -> String {
    errors
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}

fn gave_up(tries: u64, exhaustive: bool) -> String {
    if exhaustive {
        return String::new();
    }
    format!(" The search gave up after {tries} tries: a placement may exist")
}
