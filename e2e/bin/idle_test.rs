//! `idle-test`: what attached volumes cost while nobody uses them.

use anyhow::{Context, Result, bail};
use clap::Parser;
use e2e::common::Common;
use e2e::node::{Config, DiskFile, Node, Shape, Volume};
use e2e::usage;
use std::thread;
use std::time::{Duration, Instant};

/// Attach volumes, do nothing, and look at the CPU time of keeper, parent and data plane.
#[derive(Parser, Debug)]
struct Args {
    /// How many.
    #[arg(long, default_value_t = 100)]
    volumes: u16,
    /// Seconds to look.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    #[command(flatten)]
    common: Common,
}

/// Per cent of one core that are allowed.
const MOST: f64 = 1.0;
/// A small volume.
const SIZE: u64 = 64 << 20;
/// After the last volume was attached.
const SETTLE: Duration = Duration::from_secs(3);

fn main() -> Result<()> {
    let args = Args::parse();
    let program = args.common.program()?;
    let scratch = args.common.scratch()?;
    let dir = scratch.path();
    // A disk of this size has room for 256 objects; the file is thin.
    let mut disks = vec![DiskFile::format(&program, dir, 0, 128 << 30)?];
    let config = Config {
        program,
        dir: dir.join("node"),
        volatile: None,
    };
    let node = Node::start(config, &disks)?;
    for number in 0..args.volumes {
        let volume = Volume::place(number, Shape::plain(SIZE), &mut disks);
        volume.grant(&node)?;
        volume.attach(&node)?;
    }
    thread::sleep(SETTLE);
    let (before, start) = (used(&node)?, Instant::now());
    thread::sleep(Duration::from_secs(args.seconds));
    let time = start.elapsed().as_secs_f64();
    let after = used(&node)?;
    let mut sum = 0.0;
    for ((name, before), (_, after)) in before.iter().zip(&after) {
        let percent = (after - before).max(0.0) / time * 100.0;
        sum += percent;
        println!("{name}: {percent:.3} % of a core");
    }
    println!(
        "{} idle volumes: {sum:.2} % of a core, at most {MOST} %",
        args.volumes
    );
    node.stop()?;
    scratch.finish()?;
    if sum > MOST {
        bail!("{sum:.2} % is more than {MOST} %");
    }
    Ok(())
}

/// CPU seconds so far of each of the three.
fn used(node: &Node) -> Result<Vec<(&'static str, f64)>> {
    let (names, pids) = (["keeper", "parent", "data plane"], node.processes());
    anyhow::ensure!(pids.len() == names.len(), "no data plane runs");
    let time = |pid: u32| -> Result<f64> {
        Ok(usage::process(pid).context("a process died")?.as_secs_f64())
    };
    names
        .into_iter()
        .zip(pids)
        .map(|(name, pid)| Ok((name, time(pid)?)))
        .collect()
}
