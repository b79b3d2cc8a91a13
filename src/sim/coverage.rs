//! What a run went through, by name, so that what never happens is seen.

use std::collections::BTreeMap;

/// How often each named thing happened.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    counts: BTreeMap<&'static str, u64>,
}

impl Coverage {
    /// It happened.
    pub fn hit(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    /// It happened so many times.
    pub fn add(&mut self, what: &'static str, n: u64) {
        *self.counts.entry(what).or_default() += n;
    }

    /// Adds what another run went through.
    pub fn merge(&mut self, other: &Coverage) {
        for (what, n) in &other.counts {
            *self.counts.entry(what).or_default() += n;
        }
    }

    /// Everything that happened, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.counts.iter().map(|(what, n)| (*what, *n))
    }

    /// How often this happened.
    pub fn of(&self, what: &str) -> u64 {
        self.counts.get(what).copied().unwrap_or_default()
    }
}

/// Every transition that a large run must go through.
pub const TRANSITIONS: &[&str] = &[
    "answer: attach",
    "answer: delete",
    "answer: detach",
    "answer: discard",
    "answer: error",
    "answer: flush",
    "answer: grant",
    "answer: no space",
    "answer: read",
    "answer: refuse",
    "answer: write",
    "answer: write with fua",
    "answer: write zeroes",
    "command: stale generation refused",
    "crash: power",
    "crash: process",
    "disk: answered with an error",
    "disk: repaired",
    "notice: placement fault",
    "recovery: cut short",
    "recovery: twice",
];
