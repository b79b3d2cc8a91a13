//! What a seed tries: each turns on another part of what can happen, so that rare things meet.

use crate::disk::{Habits, Tear};
use crate::rng::Rng;
use engine::format::geometry::GeometryChoice;

/// The faults that can be planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The process dies; the disks and the volatile logs stay.
    ProcessCrash,
    /// The power of everything fails.
    PowerCut,
    /// A flush fails and loses what it would have covered.
    FlushError,
    /// One read or write fails.
    IoError,
    /// A block cannot be read until it is written.
    Unreadable,
}

impl Fault {
    /// Whether it ends the process.
    pub fn is_crash(self) -> bool {
        matches!(self, Fault::ProcessCrash | Fault::PowerCut)
    }

    /// All of them.
    pub const ALL: [Fault; 5] = [
        Fault::ProcessCrash,
        Fault::PowerCut,
        Fault::FlushError,
        Fault::IoError,
        Fault::Unreadable,
    ];
}

/// The kinds of operation, and how often each comes.
#[derive(Clone, Copy, Debug)]
pub struct Weights {
    /// Reads.
    pub read: u32,
    /// Writes.
    pub write: u32,
    /// Writes that are durable when answered.
    pub fua: u32,
    /// Flushes.
    pub flush: u32,
    /// Discards.
    pub discard: u32,
    /// Writes of zeros.
    pub zeroes: u32,
    /// A volume grows.
    pub grow: u32,
    /// A volume is created, or one is deleted.
    pub turnover: u32,
    /// A volume is detached and attached again.
    pub reattach: u32,
}

impl Weights {
    /// In the order of the fields.
    pub fn list(&self) -> [u32; 9] {
        let Weights {
            read,
            write,
            fua,
            flush,
            discard,
            zeroes,
            grow,
            turnover,
            reattach,
        } = *self;
        [
            read, write, fua, flush, discard, zeroes, grow, turnover, reattach,
        ]
    }
}

/// How requests for more units are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grants {
    /// Soon.
    Prompt,
    /// Much later.
    Late,
    /// Of ten, so many are not answered at all (and come again), the rest soon.
    Forgetful,
    /// Of ten, some are refused though there is room.
    Stingy,
}

/// What one seed does.
#[derive(Clone, Debug)]
pub struct Swarm {
    /// The numbers of the disk format.
    pub geometry: GeometryChoice,
    /// Units on each disk.
    pub units: u32,
    /// How disks behave.
    pub habits: Habits,
    /// Operations.
    pub operations: u64,
    /// Requests in flight at most.
    pub depth: usize,
    /// Largest request, in blocks.
    pub reach: u64,
    /// Of a hundred requests, how many go to a few hot blocks.
    pub hot: u64,
    /// Whether requests that overlap may be in flight together.
    pub overlap: bool,
    /// Segments of a volume at its creation, at most.
    pub segments: u64,
    /// Volumes at a time.
    pub volumes: usize,
    /// How often what comes.
    pub weights: Weights,
    /// Whether grants come.
    pub grants: Grants,
    /// The operation before which each fault is planned, ascending.
    pub faults: Vec<(u64, Fault)>,
    /// Of ten recoveries, how many are themselves cut short.
    pub cut_recovery: u64,
    /// Pages that the engine may keep in memory.
    pub pages: usize,
}

impl Swarm {
    /// The choice of a seed.
    pub fn choose(rng: &mut Rng, operations: u64) -> Self {
        let habits = Habits {
            tear: [Tear::Block, Tear::Sector, Tear::Garbage][rng.index(3)],
            seen_late: rng.chance(1, 2),
            kept: [0, 30, 50, 90][rng.index(4)],
            torn: [0, 10, 30][rng.index(3)],
        };
        Swarm {
            geometry: GeometryChoice {
                segment_blocks: 8,
                unit_segments: 4,
                slots: 16,
                journal_blocks: [64, 72, 100, 256][rng.index(4)],
            },
            units: rng.range(6, 40) as u32,
            habits,
            operations,
            depth: [1, 4, 8, 24][rng.index(4)],
            reach: [1, 4, 16, 40][rng.index(4)],
            hot: [0, 20, 80][rng.index(3)],
            overlap: rng.chance(1, 2),
            segments: rng.range(4, 24),
            volumes: rng.range(1, 3) as usize,
            weights: weights(rng),
            grants: [
                Grants::Prompt,
                Grants::Late,
                Grants::Forgetful,
                Grants::Stingy,
            ][rng.index(4)],
            faults: plan(rng, operations),
            cut_recovery: [0, 2, 5][rng.index(3)],
            pages: [4, 16, 1024][rng.index(3)],
        }
    }
}

fn weights(rng: &mut Rng) -> Weights {
    let mut some = |usual: u32| match rng.below(4) {
        0 => 0,
        1 => usual * 4,
        _ => usual,
    };
    Weights {
        read: 20 + some(20),
        write: 20 + some(20),
        fua: some(4),
        flush: 1 + some(5),
        discard: some(6),
        zeroes: some(3),
        grow: some(1),
        turnover: some(1),
        reattach: some(1),
    }
}

/// At least one fault; crashes more often than the rest.
fn plan(rng: &mut Rng, operations: u64) -> Vec<(u64, Fault)> {
    let rare = u32::from(rng.chance(1, 3));
    let weights = [4, 4, rare, rare, rare];
    let count = rng.range(1, 8);
    let mut faults: Vec<_> = (0..count)
        .map(|_| {
            let at = rng.below(operations * 9 / 10);
            (at, Fault::ALL[rng.weighted(&weights)])
        })
        .collect();
    faults.sort_by_key(|(at, _)| *at);
    faults
}
