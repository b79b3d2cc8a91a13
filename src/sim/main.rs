//! `sim`: runs seeds, replays one, and proves that planted bugs are found.
//!
//! Exit codes: 0 all well; 1 an invariant was broken, or a planted bug was not found; 2 bad
//! arguments.

use clap::{Parser, Subcommand};
use engine::planted::Bug;
use sim::batch::{self, Batch};
use sim::run::Plan;
use std::ops::Range;
use std::process::ExitCode;
use std::time::Instant;

/// Seeds that ever broke an invariant; they run first.
const EVER_FAILED: &str = include_str!("seeds.txt");
/// Seeds in which a planted bug must be found.
const SEEDS_FOR_A_BUG: u64 = 1_000;

#[derive(Parser)]
#[command(about = "The simulator: one seed, one run; every fault a disk can have.")]
struct Arguments {
    #[command(subcommand)]
    command: What,
}

#[derive(Subcommand)]
enum What {
    /// Runs many seeds, after those that ever failed; prints what they went through.
    Run {
        /// Which seeds: `A..B`, or a number of them.
        #[arg(long, default_value = "0..1000", value_parser = seeds)]
        seeds: Range<u64>,
        /// Operations of a seed, at least.
        #[arg(long, default_value_t = 1_000)]
        ops: u64,
        /// How many run at a time.
        #[arg(long, default_value_t = 2)]
        jobs: usize,
        /// So many disks in every seed; else the seed decides.
        #[arg(long)]
        disks: Option<u16>,
    },
    /// Runs one seed and prints its log.
    Replay {
        /// Which.
        #[arg(long)]
        seed: u64,
        /// Operations, as in the run that failed.
        #[arg(long, default_value_t = 1_000)]
        ops: u64,
        /// Stop after this step of the log.
        #[arg(long)]
        until: Option<u64>,
        /// With this planted bug.
        #[arg(long, value_parser = bug)]
        bug: Option<Bug>,
        /// Disks, as in the run that failed.
        #[arg(long)]
        disks: Option<u16>,
    },
    /// Runs each planted bug until it is found.
    Bugs {
        /// How many seeds run at a time.
        #[arg(long, default_value_t = 2)]
        jobs: usize,
        /// Only this one.
        #[arg(long, value_parser = bug)]
        bug: Option<Bug>,
    },
}

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let (start, end) = text.split_once("..").unwrap_or(("0", text));
    let number = |t: &str| t.parse().map_err(|e| format!("'{t}' is not a seed: {e}"));
    let range = number(start)?..number(end)?;
    if range.is_empty() {
        Err(format!("{text} holds no seed"))
    } else {
        Ok(range)
    }
}

fn bug(text: &str) -> Result<Bug, String> {
    let named = |b: &&Bug| format!("{b:?}") == text;
    let all = || Bug::ALL.map(|b| format!("{b:?}")).join(", ");
    Bug::ALL
        .iter()
        .find(named)
        .copied()
        .ok_or_else(|| format!("not one of {}", all()))
}

fn main() -> ExitCode {
    let good = match Arguments::parse().command {
        What::Run {
            seeds,
            ops,
            jobs,
            disks,
        } => run(seeds, ops, jobs, disks),
        What::Replay {
            seed,
            ops,
            until,
            bug,
            disks,
        } => replay(Plan {
            seed,
            operations: ops,
            bug,
            print: true,
            until,
            disks,
        }),
        What::Bugs { jobs, bug } => bugs(jobs, bug),
    };
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn ever_failed() -> impl Iterator<Item = u64> {
    let lines = EVER_FAILED
        .lines()
        .filter_map(|l| l.split_whitespace().next());
    lines.filter_map(|word| word.parse().ok())
}

fn run(seeds: Range<u64>, operations: u64, jobs: usize, disks: Option<u16>) -> bool {
    let started = Instant::now();
    let all: Vec<u64> = ever_failed().chain(seeds).collect();
    println!(
        "{} seeds of {operations} operations, {jobs} at a time",
        all.len()
    );
    let batch = Batch {
        operations,
        jobs,
        disks,
        bug: None,
        twice_every: 50,
        stop_after: 10,
    };
    let report = batch::run(&all, &batch, |done, failed| {
        eprintln!(
            "  {done} seeds, {failed} failed, {:.0} s",
            started.elapsed().as_secs_f64()
        );
    });
    let seconds = started.elapsed().as_secs_f64();
    println!("\nwhat they went through:");
    for (what, n) in report.coverage.iter() {
        println!("  {n:>12}  {what}");
    }
    let missing = report.missing();
    println!(
        "transitions: {} of {} happened",
        report.known() - missing.len(),
        report.known()
    );
    for what in &missing {
        println!("  never: {what}");
    }
    for (seed, violation) in &report.violations {
        println!("seed {seed}: {violation}");
        println!("  sim replay --seed {seed} --ops {operations}");
    }
    println!(
        "{} seeds, {} log steps, {} run twice with equal hashes, {} violations, {:.0} seeds/s",
        report.seeds,
        report.steps,
        report.twice,
        report.violations.len(),
        report.seeds as f64 / seconds
    );
    report.violations.is_empty()
}

fn replay(plan: Plan) -> bool {
    let outcome = batch::run_guarded(plan);
    println!("{} steps, hash {:016x}", outcome.steps, outcome.hash);
    match outcome.violation {
        Some(violation) => {
            println!("{violation}");
            false
        }
        None => {
            println!("no violation");
            true
        }
    }
}

fn bugs(jobs: usize, only: Option<Bug>) -> bool {
    let mut missed = 0;
    let chosen = Bug::ALL
        .into_iter()
        .filter(|b| only.is_none_or(|o| o == *b));
    for bug in chosen {
        let seeds: Vec<u64> = (0..SEEDS_FOR_A_BUG).collect();
        let batch = Batch {
            operations: 1_000,
            jobs,
            disks: None,
            bug: Some(bug),
            twice_every: 0,
            stop_after: 1,
        };
        let report = batch::run(&seeds, &batch, |_, _| {});
        match report.violations.first() {
            Some((seed, violation)) => {
                println!(
                    "{bug:?}: found by seed {seed}, {} seeds needed: {violation}",
                    seed + 1
                );
            }
            None => {
                missed += 1;
                println!("{bug:?}: NOT FOUND in {} seeds", report.seeds);
            }
        }
    }
    println!("{missed} planted bugs were not found");
    missed == 0
}
