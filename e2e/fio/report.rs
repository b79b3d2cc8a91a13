//! What fio reports, as far as it is used here.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Of one job, its writers together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Report {
    /// The first error number; 0 without one.
    pub error: i32,
    /// Reads.
    pub read: Side,
    /// Writes.
    pub write: Side,
}

/// Of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Side {
    /// I/Os done.
    pub ios: u64,
    /// I/Os a second.
    pub rate: f64,
    /// Seconds from submission to completion, half of them.
    pub p50: f64,
    /// Seconds that the slowest took.
    pub max: f64,
}

#[derive(Deserialize)]
struct Output {
    jobs: Vec<JobOutput>,
}

#[derive(Deserialize)]
struct JobOutput {
    error: i32,
    read: SideOutput,
    write: SideOutput,
}

#[derive(Deserialize)]
struct SideOutput {
    total_ios: u64,
    iops: f64,
    clat_ns: Latency,
}

#[derive(Deserialize)]
struct Latency {
    max: f64,
    #[serde(default)]
    percentile: std::collections::BTreeMap<String, f64>,
}

impl Report {
    /// Reads fio's JSON; other lines may stand before it.
    ///
    /// # Errors
    /// Where it is none, or has no job.
    pub fn parse(text: &str) -> Result<Self> {
        let start = text.find('{').context("fio wrote no report")?;
        let mut documents = serde_json::Deserializer::from_str(&text[start..]).into_iter();
        let output: Output = documents.next().context("fio wrote no report")??;
        let job = output.jobs.first().context("fio reports no job")?;
        Ok(Report {
            error: job.error,
            read: job.read.side(),
            write: job.write.side(),
        })
    }

    /// I/Os of both directions.
    pub fn ios(&self) -> u64 {
        self.read.ios + self.write.ios
    }

    /// I/Os a second of both directions.
    pub fn rate(&self) -> f64 {
        self.read.rate + self.write.rate
    }

    /// The slowest I/O.
    pub fn slowest(&self) -> Duration {
        Duration::from_secs_f64(self.read.max.max(self.write.max))
    }
}

impl SideOutput {
    fn side(&self) -> Side {
        let half = self.clat_ns.percentile.get("50.000000");
        Side {
            ios: self.total_ios,
            rate: self.iops,
            p50: half.map_or(0.0, |ns| ns / 1e9),
            max: self.clat_ns.max / 1e9,
        }
    }
}
