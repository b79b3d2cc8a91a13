//! `bench`: our device beside the raw loop device and qemu-storage-daemon, in one run.

use anyhow::{Context, Result};
use clap::Parser;
use control::Status;
use e2e::bench::ours::FILLED;
use e2e::bench::table::Target;
use e2e::bench::{self, Measured, Plan, Workload, peer, raw, table, workload};
use e2e::common::Common;
use e2e::node::{Config, DiskFile, Node};
use layout::Bytes;
use serde::Serialize;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Side by side, alternating, in rounds: fio on our device, the raw loop device and
/// qemu-storage-daemon.
#[derive(Parser, Debug)]
struct Args {
    /// Rounds that count.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of one measurement.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// MiB of each device.
    #[arg(long, default_value_t = 1024)]
    size: u64,
    /// Only workloads whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
    /// Targets that are missed do not make it fail.
    #[arg(long)]
    report: bool,
    /// The folder of qemu-storage-daemon 10, as `e2e/get-peer` unpacks it.
    #[arg(long, default_value = "build/peer")]
    peer: PathBuf,
    /// Where the raw data is kept.
    #[arg(long, default_value = "build/bench")]
    data: PathBuf,
    #[command(flatten)]
    common: Common,
}

/// What is kept of a run.
#[derive(Serialize)]
struct Raw<'a> {
    kernel: String,
    cores: usize,
    peer: Option<&'a str>,
    rounds: usize,
    seconds: f64,
    bytes: u64,
    map_bytes: u64,
    page_bytes: u64,
    #[serde(flatten)]
    measured: &'a Measured,
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let scratch = args.common.scratch()?;
    let missed = run(&args, scratch.path())?;
    scratch.finish()?;
    Ok(match missed {
        0 => ExitCode::SUCCESS,
        _ if args.report => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

fn run(args: &Args, dir: &Path) -> Result<usize> {
    let program = peer::Program::find(&args.peer)?;
    match &program {
        None => {
            println!("no qemu-storage-daemon: e2e/get-peer fetches it; its targets count as missed")
        }
        Some(p) if p.is_strong() => println!("peer: {}", p.version),
        Some(p) => println!(
            "peer: {}, the weaker one: e2e/get-peer fetches version 10",
            p.version
        ),
    }
    println!("filling the devices");
    let bytes = args.size << 20;
    let node = node(args, dir, bytes)?;
    let (node, mut disks) = (Rc::new(node.0), node.1);
    let mut contenders = bench::ours::all(&node, &mut disks, bytes, &dir.join("mounted"))?;
    contenders.insert(1, Box::new(raw::RawLoop::new(dir, bytes)?));
    if let Some(program) = &program {
        contenders.insert(2, Box::new(peer::Peer::new(program, dir, bytes)?));
    }
    let names: Vec<String> = contenders.iter().map(|c| c.name().to_owned()).collect();
    let chosen = |w: &&Workload| w.name.contains(&args.only);
    let workloads: Vec<Workload> = workload::ALL.iter().filter(chosen).copied().collect();
    let plan = Plan {
        rounds: args.rounds,
        time: Duration::from_secs_f64(args.seconds),
        ramp: Duration::from_millis(500),
    };
    let measured = bench::measure(&mut contenders, &workloads, plan, &mut |line| {
        println!("  {line}")
    });
    let measured = measured.with_context(|| format!("the data plane said:\n{}", node.said()))?;
    let status = node.status()?;
    drop(contenders);
    if let Some(node) = Rc::into_inner(node) {
        node.stop()?;
    }
    println!();
    table::print(&measured.samples, &names, &workloads);
    println!();
    let theirs = names
        .iter()
        .find(|n| n.starts_with("qemu"))
        .map_or("qemu-storage-daemon", |n| n);
    let missed = table::judge(&measured.samples, &targets(theirs, &workloads));
    keep(args, program.as_ref(), &measured, &status)?;
    Ok(missed + usize::from(!memory_is_small(&status)))
}

/// A node with two disks: the second is for the second copies.
fn node(args: &Args, dir: &Path, bytes: u64) -> Result<(Node, Vec<DiskFile>)> {
    let stratovol = args.common.program()?;
    let disks = vec![
        DiskFile::format(&stratovol, dir, 0, bench::ours::room(bytes))?,
        DiskFile::format(&stratovol, dir, 1, 2 * bytes + (1 << 30))?,
    ];
    let config = Config {
        program: stratovol,
        dir: dir.join("node"),
        volatile: None,
    };
    Ok((Node::start(config, &disks)?, disks))
}

/// What is to be reached, of the workloads that were chosen.
fn targets<'a>(theirs: &'a str, chosen: &[Workload]) -> Vec<Target<'a>> {
    let target = |workload, theirs, least| Target {
        workload,
        ours: FILLED,
        theirs,
        least,
    };
    let mut all = vec![
        target(workload::READ_32, theirs, 1.6),
        target(workload::WRITE_32, theirs, 1.8),
        target(workload::READ_32, raw::NAME, 0.7),
        target(workload::WRITE_32, raw::NAME, 0.7),
        target(workload::READ_1, theirs, 1.1),
        target(workload::WRITE_1, theirs, 1.1),
    ];
    all.retain(|t| chosen.contains(&t.workload));
    all
}

/// Map entries in memory for all volumes of the node, a TiB shown.
fn memory_is_small(status: &Status) -> bool {
    const MOST: f64 = 8.0;
    if status.map_bytes == 0 {
        println!("map entries: the data plane does not tell  MISSED");
        return false;
    }
    let shown: u64 = status
        .volumes
        .iter()
        .map(|v| v.size * v.copies.len().max(1) as u64)
        .sum();
    let each = status.map_bytes as f64 / shown as f64 * 1024.0 * 1024.0;
    let word = if each <= MOST { "reached" } else { "MISSED" };
    println!("map entries: {each:.2} MiB of memory a TiB of at most {MOST:.0} MiB  {word}");
    println!("page cache: {}", Bytes(status.page_bytes));
    each <= MOST
}

/// Writes everything that was measured to a file of its own.
fn keep(
    args: &Args,
    program: Option<&peer::Program>,
    measured: &Measured,
    status: &Status,
) -> Result<()> {
    fs::create_dir_all(&args.data)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let path = args.data.join(format!("{now}.json"));
    let raw = Raw {
        kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?
            .trim()
            .to_owned(),
        cores: std::thread::available_parallelism()?.get(),
        peer: program.map(|p| p.version.as_str()),
        rounds: args.rounds,
        seconds: args.seconds,
        bytes: args.size << 20,
        map_bytes: status.map_bytes,
        page_bytes: status.page_bytes,
        measured,
    };
    fs::write(&path, serde_json::to_vec_pretty(&raw)?)
        .with_context(|| path.display().to_string())?;
    println!("\nraw data: {}", path.display());
    Ok(())
}
