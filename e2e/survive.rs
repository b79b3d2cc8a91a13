//! The data plane is killed or upgraded under load, again and again: an application sees pauses, no
//! error, and nothing of what was answered is lost.
//!
//! The load: fio on files of a mounted file system, every block verified; a prober on another of
//! its files, which measures the pauses; a writer to fresh space of a second volume that never
//! flushes.

use crate::common::Common;
use crate::filesystem::{FileSystem, drop_caches};
use crate::fio::{Job, Target, Verify};
use crate::fresh::Writer;
use crate::node::{Config, DiskFile, Node, Shape, Volume};
use crate::prober::{self, Prober};
use crate::random::Random;
use crate::statistics::Pauses;
use crate::sys;
use anyhow::{Context, Result, anyhow, ensure};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const FILES: u64 = 64 << 20;
const PROBED: u64 = 4 << 20;
const FILE_SYSTEM: u64 = 512 << 20;
const FRESH: u64 = 2 << 30;
/// For a successor to serve.
const SUCCESSOR: Duration = Duration::from_secs(30);
/// For one run of fio, with all pauses in it.
const FIO: Duration = Duration::from_secs(300);

/// What pauses should not exceed. Told, not judged: the machine may be busy with something else.
const AIM_P50: Duration = Duration::from_millis(100);
const AIM_MAX: Duration = Duration::from_secs(2);

/// What is done to the data plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blow {
    /// Killed with -9.
    Kill,
    /// Told to give way to a new copy of the program.
    Upgrade,
}

/// A test.
#[derive(Clone, Debug)]
pub struct Test {
    /// What is done.
    pub blow: Blow,
    /// How often.
    pub count: usize,
    /// On what fio works.
    pub file_system: FileSystem,
    /// Chooses the moments.
    pub seed: u64,
}

/// What it found.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// How long the application waited, each time.
    pub pauses: Pauses,
    /// I/Os of fio.
    pub ios: u64,
    /// Blocks that were written, never flushed, and are there.
    pub unflushed: usize,
}

impl Test {
    /// Runs it on a new node in `dir`.
    ///
    /// # Errors
    /// Any I/O error, wrong or lost content, a file system that is not clean, or a successor that
    /// does not come.
    pub fn run(&self, program: &Path, dir: &Path) -> Result<Found> {
        let mut disks = vec![DiskFile::format(program, dir, 0, 8 << 30)?];
        let config = Config {
            program: program.to_owned(),
            dir: dir.join("node"),
            volatile: None,
        };
        let node = Node::start(config, &disks)?;
        let volume = Volume::place(0, Shape::plain(FILE_SYSTEM), &mut disks);
        let fresh = Volume::place(1, Shape::plain(FRESH), &mut disks);
        volume.grant(&node)?;
        fresh.grant(&node)?;
        let (device, bare) = (volume.attach(&node)?, fresh.attach(&node)?);
        let found = self.on_devices(&node, &device, &bare, dir);
        let found = found.with_context(|| format!("the data plane said:\n{}", node.said()))?;
        node.stop()?;
        disks[0].verify(program)?;
        Ok(found)
    }

    fn on_devices(&self, node: &Node, device: &Path, bare: &Path, dir: &Path) -> Result<Found> {
        let (fs, point) = (self.file_system, dir.join("mounted"));
        fs.make(device)?;
        let mounted = fs.mount(device, &point)?;
        let probed = point.join("probed");
        fs::write(&probed, vec![0; PROBED as usize])?;
        fs::File::open(&probed)?.sync_all()?;
        let prober = Prober::start(&probed, PROBED / layout::BLOCK, self.seed)?;
        let writer = Writer::start(bare, FRESH / layout::BLOCK, self.seed)?;
        let (moments, ios) = self.under_load(node, &point)?;
        let spans = prober.finish().context("the prober")?;
        let written = writer.finish().context("the writer to fresh space")?;
        // Once more, so that the last writes are not in the process that wrote them.
        self.strike(node)?;
        let unflushed = written.verify()?;
        drop(written);
        mounted.unmount()?;
        fs.check(device).context("the file system is not clean")?;
        drop_caches()?;
        let again = fs.mount(device, &point)?;
        job(Verify::Earlier)
            .run(files(&point), FIO)
            .context("after a new mount")?;
        again.unmount()?;
        let pauses = Pauses::of(&prober::pauses(&spans, &moments)).context("no pauses")?;
        Ok(Found {
            pauses,
            ios,
            unflushed,
        })
    }

    /// fio over and over until the last blow; when they fell, and how many I/Os there were.
    fn under_load(&self, node: &Node, point: &Path) -> Result<(Vec<Instant>, u64)> {
        let (stop, done) = (AtomicBool::new(false), AtomicBool::new(false));
        thread::scope(|scope| {
            let blows = scope.spawn(|| {
                let moments = self.strikes(node, &stop);
                done.store(true, Ordering::Relaxed);
                moments
            });
            let mut ios = 0;
            let load = loop {
                match job(Verify::Writing).run(files(point), FIO) {
                    Ok(report) => ios += report.ios(),
                    Err(e) => break Err(e.context("fio")),
                }
                if done.load(Ordering::Relaxed) {
                    break Ok(());
                }
            };
            stop.store(true, Ordering::Relaxed);
            let moments = blows
                .join()
                .map_err(|_| anyhow!("the thread of blows panicked"))?;
            load?;
            Ok((moments?, ios))
        })
    }

    /// All blows, at random times; some fall while a successor is still starting.
    fn strikes(&self, node: &Node, stop: &AtomicBool) -> Result<Vec<Instant>> {
        let (mut random, mut moments) = (Random::new(self.seed), Vec::new());
        while moments.len() < self.count && !stop.load(Ordering::Relaxed) {
            let early = self.blow == Blow::Kill && random.below(8) == 0;
            let wait = if early {
                random.below(40)
            } else {
                200 + random.below(1000)
            };
            thread::sleep(Duration::from_millis(wait));
            moments.push(self.strike(node)?);
        }
        Ok(moments)
    }

    /// One blow; returns when another process is there.
    fn strike(&self, node: &Node) -> Result<Instant> {
        let before = node.plane().context("no data plane runs")?;
        let moment = Instant::now();
        match self.blow {
            Blow::Kill => sys::signal(before as i32, libc::SIGKILL)?,
            Blow::Upgrade => node.upgrade()?,
        }
        loop {
            if let Some(pid) = node.plane()
                && pid != before
            {
                if self.blow == Blow::Upgrade {
                    ensure!(
                        node.runs_installed(pid)?,
                        "process {pid} runs the older program"
                    );
                }
                return Ok(moment);
            }
            ensure!(
                moment.elapsed() < SUCCESSOR,
                "no successor of {before} in {SUCCESSOR:?}"
            );
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Two writers on files of their own.
fn job(verify: Verify) -> Job {
    Job {
        flush_every: 8,
        verify: Some(verify),
        ..Job::new("randwrite", 16)
    }
}

fn files(dir: &Path) -> Target<'_> {
    let (count, size) = (2, FILES);
    Target::Files { dir, count, size }
}

/// What the two programs do: the test on each file system, and what it found in words.
///
/// # Errors
/// As [`Test::run`].
pub fn program(common: &Common, all: &[FileSystem], blow: Blow, count: usize) -> Result<()> {
    let (seed, program) = (common.seed(), common.program()?);
    let scratch = common.scratch()?;
    for file_system in all.iter().copied() {
        let test = Test {
            blow,
            count,
            file_system,
            seed,
        };
        let dir = scratch.path().join(file_system.name());
        fs::create_dir_all(&dir)?;
        let found = test.run(&program, &dir)?;
        let what = match blow {
            Blow::Kill => "kills with -9",
            Blow::Upgrade => "upgrades",
        };
        println!("{}: {count} {what}, 0 I/O errors", file_system.name());
        println!(
            "  fio: {} I/Os, verify clean, again after a new mount; file system check clean",
            found.ios
        );
        println!(
            "  {} blocks written to fresh space, never flushed: all there",
            found.unflushed
        );
        let aim = found.pauses.p50 <= AIM_P50 && found.pauses.max <= AIM_MAX;
        let word = if aim { "reached" } else { "MISSED" };
        println!(
            "  pauses: {}; aim p50 <= 100 ms, max <= 2 s: {word}",
            found.pauses
        );
    }
    scratch.finish()
}
