//! Planners with one thing forgotten, for the tests: each must be caught by the checker (spec A7).

use crate::No;

/// What is forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// Confine rules.
    Confine,
    /// Separate rules, and that copies never share a disk.
    Separate,
    /// Select rules.
    Select,
    /// Exclude rules.
    Exclude,
    /// That a failed or unschedulable disk takes nothing new.
    Health,
    /// That what is promised to others is not there twice.
    PromiseTwice,
    /// To take a granted unit out of what is free.
    GrantTwice,
}

impl Bug {
    /// All of them.
    pub const ALL: [Bug; 7] = [
        Bug::Confine,
        Bug::Separate,
        Bug::Select,
        Bug::Exclude,
        Bug::Health,
        Bug::PromiseTwice,
        Bug::GrantTwice,
    ];

    pub(crate) fn forgets(self, no: &No) -> bool {
        match no {
            No::Health { .. } | No::NotSchedulable => self == Bug::Health,
            No::NotSelected { .. } => self == Bug::Select,
            No::Excluded { .. } => self == Bug::Exclude,
            No::Confined { .. } => self == Bug::Confine,
            No::Separated { .. } => self == Bug::Separate,
            No::Lacks { .. } | No::NoRoom { .. } => false,
        }
    }
}
