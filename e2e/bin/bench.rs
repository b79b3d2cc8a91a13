//! `bench`: our device beside the raw loop device and qemu-storage-daemon, in one run.

use anyhow::{Context, Result};
use clap::Parser;
use e2e::bench::{self, Contender, Measured, Plan, Workload, peer, raw, table, workload};
use e2e::scratch::Scratch;
use serde::Serialize;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Side by side, alternating, in rounds: fio on our device, the raw loop device and qemu-storage-daemon.
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
    /// Where the disk files lie while it runs.
    #[arg(long, default_value = "build/scratch")]
    scratch: PathBuf,
    /// Where the raw data is kept.
    #[arg(long, default_value = "build/bench")]
    data: PathBuf,
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
    #[serde(flatten)]
    measured: &'a Measured,
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let scratch = Scratch::new(&args.scratch, false)?;
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
    let bytes = args.size << 20;
    let mut contenders: Vec<Box<dyn Contender>> = vec![Box::new(raw::RawLoop::new(dir, bytes)?)];
    if let Some(program) = &program {
        contenders.push(Box::new(peer::Peer::new(program, dir, bytes)?));
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
    })?;
    println!();
    table::print(&measured.samples, &names, &workloads);
    keep(args, program.as_ref(), &measured)?;
    Ok(0)
}

/// Writes everything that was measured to a file of its own.
fn keep(args: &Args, program: Option<&peer::Program>, measured: &Measured) -> Result<()> {
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
        measured,
    };
    fs::write(&path, serde_json::to_vec_pretty(&raw)?)
        .with_context(|| path.display().to_string())?;
    println!("\nraw data: {}", path.display());
    Ok(())
}
