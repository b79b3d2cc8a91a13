//! What is measured.

use crate::fio::{End, Job};
use std::time::Duration;

/// One kind of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Workload {
    /// What the tables call it.
    pub name: &'static str,
    pattern: &'static str,
    block: u32,
    depth: u32,
    flush_every: u32,
    /// Whether only the main contenders do it; the others would not say more.
    pub main_only: bool,
}

/// Reads in a hundred I/Os of mixed work.
const READ_PERCENT: u32 = 70;

const fn work(name: &'static str, pattern: &'static str, block: u32, depth: u32) -> Workload {
    Workload {
        name,
        pattern,
        block,
        depth,
        flush_every: 0,
        main_only: false,
    }
}

const fn main_only(workload: Workload) -> Workload {
    Workload {
        main_only: true,
        ..workload
    }
}

/// 4 KiB random reads, 32 under way.
pub const READ_32: Workload = work("4k read x32", "randread", 4096, 32);
/// 4 KiB random writes, 32 under way.
pub const WRITE_32: Workload = work("4k write x32", "randwrite", 4096, 32);
/// 4 KiB random reads, one after the other.
pub const READ_1: Workload = work("4k read x1", "randread", 4096, 1);
/// 4 KiB random writes, one after the other.
pub const WRITE_1: Workload = work("4k write x1", "randwrite", 4096, 1);

/// Everything, in the order of the tables.
pub const ALL: [Workload; 8] = [
    READ_32,
    WRITE_32,
    READ_1,
    WRITE_1,
    main_only(work("4k 70/30 x32", "randrw", 4096, 32)),
    main_only(work("128k read", "read", 128 << 10, 8)),
    main_only(work("128k write", "write", 128 << 10, 8)),
    Workload {
        flush_every: 32,
        ..main_only(work("4k write, flush", "randwrite", 4096, 1))
    },
];

impl Workload {
    /// Whether it only writes.
    pub fn writes(&self) -> bool {
        self.pattern.ends_with("write")
    }

    /// The job that does it for a time.
    pub fn job(&self, ramp: Duration, time: Duration) -> Job {
        Job {
            block: self.block,
            flush_every: self.flush_every,
            read_percent: READ_PERCENT,
            end: End::After { ramp, time },
            ..Job::new(self.pattern, self.depth)
        }
    }
}
