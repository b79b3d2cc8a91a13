//! Many seeds, some at a time.

use crate::checkers::Violation;
use crate::coverage::Coverage;
use crate::run::{Outcome, Plan, run as run_seed};
use engine::planted::Bug;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How seeds are run.
#[derive(Clone, Copy, Debug)]
pub struct Batch {
    /// Operations of a seed, at least.
    pub operations: u64,
    /// Seeds at a time.
    pub jobs: usize,
    /// Disks; the seed decides where nothing is said.
    pub disks: Option<u16>,
    /// A planted bug.
    pub bug: Option<Bug>,
    /// Every so many seeds one is run a second time; 0 for none.
    pub twice_every: usize,
    /// No new seed is begun after so many failed.
    pub stop_after: usize,
}

/// What many seeds came to.
#[derive(Debug, Default)]
pub struct Report {
    /// Seeds that were run.
    pub seeds: u64,
    /// Steps of their logs.
    pub steps: u64,
    /// Seeds that were run twice, with the same hash.
    pub twice: u64,
    /// What they went through.
    pub coverage: Coverage,
    /// Broken invariants by seed, ascending.
    pub violations: Vec<(u64, Violation)>,
}

impl Report {
    /// Transitions that never happened.
    pub fn missing(&self) -> Vec<&'static str> {
        let never = |what: &&&str| self.coverage.of(what) == 0;
        crate::coverage::TRANSITIONS
            .iter()
            .filter(never)
            .copied()
            .collect()
    }

    /// How many transitions there are.
    pub fn known(&self) -> usize {
        crate::coverage::TRANSITIONS.len()
    }
}

thread_local! {
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

fn remember(info: &PanicHookInfo<'_>) {
    PANIC.set(Some(info.to_string().replace('\n', " ")));
}

/// Runs one seed; an assertion of the engine that fails is a violation too.
pub fn run_guarded(plan: Plan) -> Outcome {
    catch_unwind(AssertUnwindSafe(|| run_seed(plan))).unwrap_or_else(|_| Outcome {
        hash: 0,
        steps: 0,
        coverage: Coverage::default(),
        violation: Some(Violation {
            checker: "assertions_hold",
            what: PANIC.take().unwrap_or_default(),
        }),
    })
}

/// Runs seeds; tells `progress` every so often how many were done and how many failed.
///
/// # Panics
/// Where a worker of it does, outside a seed.
pub fn run(seeds: &[u64], batch: &Batch, progress: impl Fn(u64, usize) + Sync) -> Report {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(remember));
    let next = AtomicUsize::new(0);
    let failed = AtomicUsize::new(0);
    let report = Mutex::new(Report::default());
    let work = || {
        let mut own = Report::default();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            if at >= seeds.len() || failed.load(Ordering::Relaxed) >= batch.stop_after {
                break;
            }
            let twice = batch.twice_every > 0 && at.is_multiple_of(batch.twice_every);
            let failures = own.violations.len();
            one(&mut own, seeds[at], batch, twice);
            failed.fetch_add(own.violations.len() - failures, Ordering::Relaxed);
            if at > 0 && at.is_multiple_of(5_000) {
                progress(at as u64, failed.load(Ordering::Relaxed));
            }
        }
        if let Ok(mut all) = report.lock() {
            all.merge(own);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..batch.jobs.max(1) {
            scope.spawn(work);
        }
    });
    std::panic::set_hook(hook);
    let mut report = report.into_inner().unwrap_or_default();
    report.violations.sort_by_key(|(seed, _)| *seed);
    report
}

fn one(report: &mut Report, seed: u64, batch: &Batch, twice: bool) {
    let Batch {
        operations,
        bug,
        disks,
        ..
    } = *batch;
    let plan = Plan {
        seed,
        operations,
        bug,
        print: false,
        until: None,
        disks,
    };
    let outcome = run_guarded(plan);
    report.seeds += 1;
    report.steps += outcome.steps;
    report.coverage.merge(&outcome.coverage);
    let mut violation = outcome.violation;
    if twice && violation.is_none() {
        report.twice += 1;
        let again = run_guarded(plan).hash;
        if again != outcome.hash {
            let what = format!("hashes {:016x} and {again:016x}", outcome.hash);
            violation = Some(Violation {
                checker: "one_seed_is_one_run",
                what,
            });
        }
    }
    report.violations.extend(violation.map(|v| (seed, v)));
}

impl Report {
    fn merge(&mut self, other: Report) {
        self.seeds += other.seeds;
        self.steps += other.steps;
        self.twice += other.twice;
        self.coverage.merge(&other.coverage);
        self.violations.extend(other.violations);
    }
}
