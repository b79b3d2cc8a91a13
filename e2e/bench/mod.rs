//! The same work on several devices side by side: alternating, in rounds, so that a machine that
//! changes its mood does so for all of them.
//!
//! A round in which the hypervisor took more than [`MAX_STEAL`] during any measurement is thrown
//! away and done again.

pub mod ours;
pub mod peer;
pub mod raw;
pub mod table;
pub mod workload;

pub use workload::Workload;

use crate::fio::{Report, Side, Target};
use crate::usage::Machine;
use anyhow::Result;
use serde::Serialize;
use std::path::Path;
use std::time::Duration;

/// The share of the machine's time that may be stolen in a round that counts.
pub const MAX_STEAL: f64 = 0.10;
/// What one measurement may take beyond its time.
const GRACE: Duration = Duration::from_secs(60);

/// Somebody who is measured.
pub trait Contender {
    /// What the tables call it.
    fn name(&self) -> &str;
    /// Where fio reads and writes.
    fn target(&self) -> Target<'_>;
    /// Whether it takes part in a workload.
    fn takes(&self, _: &Workload) -> bool {
        true
    }
    /// Comes before every measurement, and is not measured.
    ///
    /// # Errors
    /// Where the contender cannot be made ready.
    fn prepare(&mut self) -> Result<()> {
        Ok(())
    }
}

/// One measurement.
#[derive(Clone, Debug, Serialize)]
pub struct Sample {
    /// Which round, from 0.
    pub round: usize,
    /// Of whom.
    pub contender: String,
    /// Doing what.
    pub workload: &'static str,
    /// I/Os a second.
    pub rate: f64,
    /// CPU seconds of all cores, of whoever took part, for a million I/Os.
    pub cpu: f64,
    /// The share of the machine that was stolen.
    pub steal: f64,
    /// Its reads.
    pub read: Side,
    /// Its writes.
    pub write: Side,
}

/// How to measure.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Rounds that count.
    pub rounds: usize,
    /// Of one measurement.
    pub time: Duration,
    /// Before each, not counted.
    pub ramp: Duration,
}

/// What was measured.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Measured {
    /// In rounds that count.
    pub samples: Vec<Sample>,
    /// In rounds that were thrown away.
    pub discarded: Vec<Sample>,
}

/// Measures everybody at everything, in rounds.
///
/// # Errors
/// Where a contender fails, or so much is stolen that half of the rounds do not count.
pub fn measure(
    contenders: &mut [Box<dyn Contender>],
    workloads: &[Workload],
    plan: Plan,
    say: &mut dyn FnMut(&str),
) -> Result<Measured> {
    let mut measured = Measured::default();
    let (mut good, mut tried) = (0, 0);
    while good < plan.rounds {
        anyhow::ensure!(
            tried < 2 * plan.rounds,
            "too much steal: {good} rounds of {tried} count"
        );
        let samples = round(contenders, workloads, plan, good, tried, say)?;
        let steal = samples.iter().map(|s| s.steal).fold(0.0, f64::max);
        tried += 1;
        if steal > MAX_STEAL {
            say(&format!("thrown away: steal was {:.0} %", steal * 100.0));
            measured.discarded.extend(samples);
        } else {
            say(&format!(
                "round {} of {}, steal {:.0} %",
                good + 1,
                plan.rounds,
                steal * 100.0
            ));
            measured.samples.extend(samples);
            good += 1;
        }
    }
    Ok(measured)
}

/// One round; whoever begins changes from try to try.
fn round(
    contenders: &mut [Box<dyn Contender>],
    workloads: &[Workload],
    plan: Plan,
    number: usize,
    first: usize,
    say: &mut dyn FnMut(&str),
) -> Result<Vec<Sample>> {
    let (count, mut samples) = (contenders.len().max(1), Vec::new());
    for workload in workloads {
        for turn in 0..contenders.len() {
            let contender = &mut contenders[(first + turn) % count];
            if !contender.takes(workload) {
                continue;
            }
            let sample = one(contender.as_mut(), workload, plan, number)?;
            let (name, rate) = (contender.name(), sample.rate / 1e3);
            say(&format!("{:<16} {name:<24} {rate:8.1} k/s", workload.name));
            samples.push(sample);
        }
    }
    Ok(samples)
}

fn one(who: &mut dyn Contender, work: &Workload, plan: Plan, round: usize) -> Result<Sample> {
    who.prepare()?;
    let job = work.job(plan.ramp, plan.time);
    let before = Machine::now()?;
    let report = job.run(who.target(), plan.ramp + plan.time + GRACE)?;
    let used = before.since()?;
    Ok(Sample {
        round,
        contender: who.name().to_owned(),
        workload: work.name,
        rate: report.rate(),
        cpu: cpu_per_million(&report, used.cpu, plan),
        steal: used.steal,
        read: report.read,
        write: report.write,
    })
}

/// fio counts the I/Os of the time, the machine's counters know no ramp: taken as equally busy.
fn cpu_per_million(report: &Report, cpu: f64, plan: Plan) -> f64 {
    let whole = (plan.ramp + plan.time).as_secs_f64() / plan.time.as_secs_f64();
    cpu / (report.ios().max(1) as f64 * whole) * 1e6
}

/// Writes every block of a device once, and makes it durable.
///
/// # Errors
/// Where fio fails.
pub fn fill(device: &Path) -> Result<()> {
    let mut job = crate::fio::Job::new("write", 4);
    job.block = 1 << 20;
    job.run(Target::Device(device), Duration::from_secs(300))?;
    crate::direct::Direct::open(device)?.flush()?;
    Ok(())
}
