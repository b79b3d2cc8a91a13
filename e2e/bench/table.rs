//! What was measured, in words: medians with spread, ratios, and whether they reach their targets.

use super::{Sample, Workload};
use crate::statistics::{extremes, median};

/// A ratio that is to be reached.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// Doing what.
    pub workload: Workload,
    /// Whose rate.
    pub ours: &'a str,
    /// Over whose.
    pub theirs: &'a str,
    /// The least that is good.
    pub least: f64,
}

/// How one did one workload: medians over the rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cell {
    /// I/Os a second.
    pub rate: f64,
    /// The slowest round.
    pub least: f64,
    /// The fastest round.
    pub most: f64,
    /// CPU seconds for a million I/Os.
    pub cpu: f64,
}

/// The cell of a contender and a workload; `None` where it was not measured.
pub fn cell(samples: &[Sample], contender: &str, workload: &Workload) -> Option<Cell> {
    let mine = |s: &&Sample| s.contender == contender && s.workload == workload.name;
    let of = |f: fn(&Sample) -> f64| samples.iter().filter(mine).map(f).collect::<Vec<_>>();
    let rates = of(|s| s.rate);
    let (least, most) = extremes(&rates)?;
    Some(Cell {
        rate: median(&rates)?,
        least,
        most,
        cpu: median(&of(|s| s.cpu))?,
    })
}

/// Prints every cell: a line each.
pub fn print(samples: &[Sample], contenders: &[String], workloads: &[Workload]) {
    let (what, who, rate) = ("workload", "who", "k I/Os / s");
    println!(
        "{what:<16} {who:<28} {rate:>10}  {:>17}  CPU s / M",
        "least to most"
    );
    for workload in workloads {
        for contender in contenders {
            let Some(cell) = cell(samples, contender, workload) else {
                continue;
            };
            let (rate, cpu) = (cell.rate / 1e3, cell.cpu);
            let spread = format!("{:.1} to {:.1}", cell.least / 1e3, cell.most / 1e3);
            println!(
                "{:<16} {contender:<28} {rate:>10.1}  {spread:>17}  {cpu:>9.1}",
                workload.name
            );
        }
    }
}

/// Prints every ratio beside its target; how many are missed or were not measured.
pub fn judge(samples: &[Sample], targets: &[Target<'_>]) -> usize {
    let mut missed = 0;
    for target in targets {
        let of = |who| cell(samples, who, &target.workload);
        let (name, theirs, least) = (target.workload.name, target.theirs, target.least);
        let verdict = match (of(target.ours), of(target.theirs)) {
            (Some(ours), Some(other)) => {
                let ratio = ours.rate / other.rate;
                let reached = ratio >= least;
                missed += usize::from(!reached);
                let word = if reached { "reached" } else { "MISSED" };
                format!("{ratio:.2} of at least {least:.2}  {word}")
            }
            _ => {
                missed += 1;
                format!("not measured, at least {least:.2} wanted  MISSED")
            }
        };
        println!("{name:<16} {} / {theirs}: {verdict}", target.ours);
    }
    missed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::workload::{READ_1, READ_32};

    fn sample(contender: &str, rate: f64) -> Sample {
        Sample {
            round: 0,
            contender: contender.to_owned(),
            workload: READ_1.name,
            rate,
            cpu: 2.0,
            steal: 0.0,
            read: Default::default(),
            write: Default::default(),
        }
    }

    #[test]
    fn ratios_are_judged() {
        let samples = [
            sample("a", 3.0),
            sample("a", 1.0),
            sample("a", 2.0),
            sample("b", 1.0),
        ];
        let a = cell(&samples, "a", &READ_1).unwrap();
        assert_eq!((a.rate, a.least, a.most, a.cpu), (2.0, 1.0, 3.0, 2.0));
        assert_eq!(cell(&samples, "a", &READ_32), None);
        let target = |workload, least| Target {
            workload,
            ours: "a",
            theirs: "b",
            least,
        };
        assert_eq!(judge(&samples, &[target(READ_1, 1.9)]), 0);
        assert_eq!(
            judge(&samples, &[target(READ_1, 2.1), target(READ_32, 0.1)]),
            2
        );
    }
}
