//! fio: jobs as command lines, and what it reports.
//!
//! Always io_uring, always past the page cache: what is measured and verified is the device.

mod report;
#[cfg(test)]
mod tests;

pub use report::{Report, Side};

use crate::command;
use anyhow::{Context, Result};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// What one job does.
#[derive(Clone, Debug)]
pub struct Job {
    /// fio's name of the pattern: `randread`, `randwrite`, `randrw`, `read`, `write`.
    pub pattern: &'static str,
    /// Bytes in one I/O.
    pub block: u32,
    /// I/Os under way.
    pub depth: u32,
    /// A flush after so many writes; 0: none.
    pub flush_every: u32,
    /// Reads in a hundred I/Os of `randrw`.
    pub read_percent: u32,
    /// How it ends.
    pub end: End,
    /// How often a block may be written before it is read back and compared; `None`: nothing is.
    pub verify: Option<Verify>,
}

/// When a job is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// After this time; what is done before it in `ramp` is not counted.
    After {
        /// Not counted.
        ramp: Duration,
        /// Counted.
        time: Duration,
    },
    /// When every block was touched once.
    Once,
}

/// How written content is compared: every block bears a checksum of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verify {
    /// While writing, and all of it at the end.
    Writing,
    /// Only what an earlier, otherwise equal job wrote.
    Earlier,
}

/// Where a job does it.
#[derive(Clone, Copy, Debug)]
pub enum Target<'a> {
    /// A device, or a file that exists.
    Device(&'a Path),
    /// Files in a directory.
    Files {
        /// Which.
        dir: &'a Path,
        /// How many, each with a writer of its own.
        count: u32,
        /// Bytes of each.
        size: u64,
    },
}

impl Job {
    /// A job of 4 KiB blocks that touches each once.
    pub fn new(pattern: &'static str, depth: u32) -> Self {
        Job {
            pattern,
            block: 4096,
            depth,
            flush_every: 0,
            read_percent: 50,
            end: End::Once,
            verify: None,
        }
    }

    /// The command line, without the limit of time.
    fn command(&self, target: Target<'_>) -> Command {
        let mut fio = command::words(&["fio", "--name=job", "--ioengine=io_uring", "--direct=1"]);
        fio.args([
            "--output-format=json",
            "--group_reporting",
            "--norandommap=0",
        ]);
        fio.arg(format!("--rw={}", self.pattern));
        fio.arg(format!("--bs={}", self.block));
        fio.arg(format!("--iodepth={}", self.depth));
        if self.flush_every > 0 {
            fio.arg(format!("--fsync={}", self.flush_every));
        }
        if self.pattern == "randrw" {
            fio.arg(format!("--rwmixread={}", self.read_percent));
        }
        if let End::After { ramp, time } = self.end {
            fio.arg("--time_based");
            fio.arg(format!("--ramp_time={}ms", ramp.as_millis()));
            fio.arg(format!("--runtime={}ms", time.as_millis()));
        }
        if let Some(verify) = self.verify {
            fio.args(["--verify=crc32c", "--verify_fatal=1", "--verify_dump=0"]);
            fio.arg(match verify {
                Verify::Writing => "--verify_backlog=512",
                Verify::Earlier => "--verify_only",
            });
        }
        match target {
            Target::Device(path) => {
                fio.arg(format!("--filename={}", path.display()));
            }
            Target::Files { dir, count, size } => {
                fio.arg(format!("--directory={}", dir.display()));
                fio.args([format!("--numjobs={count}"), format!("--size={size}")]);
            }
        }
        fio
    }

    /// Runs it; an I/O error or a wrong block is an error.
    ///
    /// # Errors
    /// Where fio fails, finds wrong content, or takes longer than `limit`.
    pub fn run(&self, target: Target<'_>, limit: Duration) -> Result<Report> {
        let mut fio = self.command(target);
        let output = command::run(&mut fio, limit)?;
        let report = Report::parse(&output.out);
        if !output.status.success() {
            let said = format!("{}{}", output.err, output.out);
            let first: Vec<&str> = said.lines().take(8).collect();
            anyhow::bail!("fio ended with {}: {}", output.status, first.join("\n"));
        }
        let report = report.with_context(|| format!("{fio:?}"))?;
        anyhow::ensure!(report.error == 0, "fio met error {}", report.error);
        Ok(report)
    }
}
