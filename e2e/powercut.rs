//! The power is cut, again and again: what was flushed is there, and everything that checks agrees.
//!
//! The data plane runs with a volatile cache that is lost with its process. Two volumes are under
//! load: a bare one, whose log of answered flushes says what must be there, and one with a file
//! system, of which every file counts once its fsync was answered. After each cut: the disks are
//! verified as they are, the node starts anew and recovers, the file system is mounted and checked.

use crate::command;
use crate::direct::{Block, Direct};
use crate::filesystem::FileSystem;
use crate::node::{Config, DiskFile, Node, Shape, Volume};
use crate::random::Random;
use crate::stamps::{self, Crash, Log};
use anyhow::{Context, Result, anyhow, bail};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

const BARE: u64 = 256 << 20;
const FILE_SYSTEM: u64 = 512 << 20;
/// Most files that are kept: older ones are removed.
const FILES: usize = 100;

/// A test.
#[derive(Clone, Debug)]
pub struct Test {
    /// How many power cuts.
    pub cuts: usize,
    /// On the second volume.
    pub file_system: FileSystem,
    /// Chooses what is written, when the power is cut, and what reaches the disk before.
    pub seed: u64,
}

/// What was compared, over all cuts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Found {
    /// Blocks of the bare volume.
    pub blocks: usize,
    /// Of them those that a flush had made durable.
    pub durable: usize,
    /// Files.
    pub files: usize,
}

/// Files whose fsync was answered, by name, with the checksum of what they hold.
type Files = BTreeMap<PathBuf, u32>;

/// What must be there after the next cut.
#[derive(Default)]
struct Known {
    log: Log,
    files: Files,
    next_file: u64,
}

/// Between cuts: a running node with both volumes.
struct Up {
    node: Node,
    bare: PathBuf,
    device: PathBuf,
}

impl Test {
    /// Runs it on disk files in `dir`.
    ///
    /// # Errors
    /// What is lost, damaged or not clean.
    pub fn run(&self, program: &Path, dir: &Path) -> Result<Found> {
        let mut disks = vec![DiskFile::format(program, dir, 0, 4 << 30)?];
        let bare = Volume::place(0, Shape::plain(BARE), &mut disks);
        let on_it = Volume::place(1, Shape::plain(FILE_SYSTEM), &mut disks);
        let (mut known, mut found) = (Known::default(), Found::default());
        let mut random = Random::new(self.seed);
        for cut in 0..=self.cuts {
            let config = Config {
                program: program.to_owned(),
                dir: dir.join(format!("node{cut}")),
                volatile: Some(random.draw()),
            };
            let said = || format!("cut {cut} of {}", self.cuts);
            let node_dir = config.dir.clone();
            let up = self
                .start(config, &disks, &bare, &on_it, cut == 0)
                .with_context(said)?;
            let point = dir.join("mounted");
            if cut > 0 {
                let looked = self.look(&up, &point, &mut known, &mut found);
                looked.with_context(|| format!("{}; it said:\n{}", said(), up.node.said()))?;
            }
            if cut == self.cuts {
                up.node.stop()?;
                break;
            }
            self.load_and_cut(up, &point, &mut known, &mut random)
                .with_context(said)?;
            Node::clear_up(&node_dir).with_context(said)?;
            disks[0].verify(program).with_context(said)?;
        }
        Ok(found)
    }

    fn start(
        &self,
        config: Config,
        disks: &[DiskFile],
        bare: &Volume,
        on_it: &Volume,
        first: bool,
    ) -> Result<Up> {
        let node = Node::start(config, disks)?;
        if first {
            bare.grant(&node)?;
            on_it.grant(&node)?;
        }
        let (bare, device) = (bare.attach(&node)?, on_it.attach(&node)?);
        if first {
            self.file_system.make(&device)?;
        }
        Ok(Up { node, bare, device })
    }

    /// Compares everything with what is known.
    fn look(&self, up: &Up, point: &Path, known: &mut Known, found: &mut Found) -> Result<()> {
        let (device, mut block) = (Direct::open(&up.bare)?, Block::zeroed());
        let numbers: Vec<u64> = known.log.blocks().collect();
        found.durable += known.log.durable();
        for number in numbers {
            device.read(number, &mut block)?;
            let shown = stamps::read(&block);
            if let Some(what) = known.log.wrong(number, shown, Crash::Power) {
                bail!("flushed and lost: {what}");
            }
            known.log.settle(number, shown);
            found.blocks += 1;
        }
        // The mount replays the journal; what is checked then must be clean.
        self.file_system.mount(&up.device, point)?.unmount()?;
        self.file_system
            .check(&up.device)
            .context("the file system is not clean")?;
        let mounted = self.file_system.mount(&up.device, point)?;
        for (name, sum) in &known.files {
            let content = fs::read(point.join(name));
            let content = content.with_context(|| format!("{}, synced", name.display()))?;
            if crc32c::crc32c(&content) != *sum {
                bail!("{} was synced and holds something else", name.display());
            }
            found.files += 1;
        }
        mounted.unmount()
    }

    /// Writes to both volumes until the power is cut at a random moment.
    fn load_and_cut(
        &self,
        up: Up,
        point: &Path,
        known: &mut Known,
        random: &mut Random,
    ) -> Result<()> {
        let mounted = self.file_system.mount(&up.device, point)?;
        let device = Direct::open(&up.bare)?;
        let cut = AtomicBool::new(false);
        let (log, files, next) = (&mut known.log, &mut known.files, &mut known.next_file);
        let (one, two) = (random.draw(), random.draw());
        let moment = Duration::from_millis(200 + random.below(1000));
        let ends = thread::scope(|scope| {
            let blocks = scope.spawn(|| write_blocks(&device, log, one, &cut));
            let names = scope.spawn(|| write_files(point, files, next, two, &cut));
            thread::sleep(moment);
            cut.store(true, Ordering::SeqCst);
            let ended = up.node.cut_power();
            let gone = |_| anyhow!("a writer panicked");
            ended
                .and(blocks.join().map_err(gone)?)
                .and(names.join().map_err(gone)?)
        });
        drop(device);
        // Nobody serves it: an error is as good as success, if only it ends.
        let mut unmount = command::words(&[Path::new("umount"), mounted.point()]);
        let output = command::run(&mut unmount, Duration::from_secs(60))?;
        if !output.status.success() {
            let mut unmount =
                command::words(&[Path::new("umount"), Path::new("-l"), mounted.point()]);
            command::succeed(&mut unmount, Duration::from_secs(60))?;
        }
        ends
    }
}

/// Writes random blocks, half of them again and again, with a flush now and then. The cut is its
/// end.
fn write_blocks(device: &Direct, log: &mut Log, seed: u64, cut: &AtomicBool) -> Result<()> {
    let (mut random, mut buffer) = (Random::new(seed), Block::zeroed());
    let blocks = BARE / layout::BLOCK;
    loop {
        let range = if random.below(2) == 0 { blocks } else { 512 };
        let block = random.below(range);
        let version = log.begin(block);
        stamps::stamp(&mut buffer, block, version);
        let mut done = device.write(block, &buffer);
        if done.is_ok() {
            log.answered(block, version);
            if random.below(64) == 0 {
                let mark = log.mark();
                done = device.flush();
                if done.is_ok() {
                    log.flushed(mark);
                }
            }
        }
        match done {
            Ok(()) => {}
            Err(_) if cut.load(Ordering::SeqCst) => return Ok(()),
            Err(e) => return Err(anyhow!("block {block}, before the cut: {e}")),
        }
    }
}

/// Makes files and removes old ones; each counts once its fsync and that of its directory were
/// answered.
fn write_files(
    point: &Path,
    files: &mut Files,
    next: &mut u64,
    seed: u64,
    cut: &AtomicBool,
) -> Result<()> {
    let mut random = Random::new(seed);
    loop {
        match write_file(point, files, next, &mut random) {
            Ok(()) => {}
            Err(_) if cut.load(Ordering::SeqCst) => return Ok(()),
            Err(e) => return Err(e.context("a file, before the cut")),
        }
    }
}

fn write_file(point: &Path, files: &mut Files, next: &mut u64, random: &mut Random) -> Result<()> {
    let name = PathBuf::from(format!("file{next}"));
    *next += 1;
    let mut content = vec![0; random.below(200_000) as usize];
    for word in content.chunks_exact_mut(8) {
        word.copy_from_slice(&random.draw().to_le_bytes());
    }
    fs::write(point.join(&name), &content)?;
    fs::File::open(point.join(&name))?.sync_all()?;
    fs::File::open(point)?.sync_all()?;
    files.insert(name, crc32c::crc32c(&content));
    if files.len() > FILES
        && let Some((old, _)) = files.pop_first()
    {
        fs::remove_file(point.join(old))?;
    }
    Ok(())
}
