//! Judges that nobody here wrote, on volumes of a node: fio's verification on the bare device, mkfs
//! and check, fsx, fstrim.

use crate::command;
use crate::filesystem::FileSystem;
use crate::fio::{Job, Target, Verify};
use crate::node::{Config, DiskFile, Node, Shape, Volume};
use anyhow::{Context, Result, ensure};
use layout::Bytes;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

const SIZE: u64 = 512 << 20;
const FIO: Duration = Duration::from_secs(300);
const FSX: Duration = Duration::from_secs(600);
/// What is written and removed before fstrim, and the least of it that must come back.
const TRIMMED: u64 = 256 << 20;
const GIVEN_BACK: u64 = 240 << 20;

/// Who judges, and how long.
#[derive(Clone, Debug)]
pub struct Judges {
    /// Where fsx is.
    pub fsx: PathBuf,
    /// How many operations it does on each file system.
    pub operations: u64,
    /// Chooses them.
    pub seed: u64,
}

/// The node that is judged. It is stopped now and then: how much of a disk is used is read from the
/// disk itself.
struct Judged<'a> {
    program: &'a Path,
    dir: &'a Path,
    disks: Vec<DiskFile>,
    volume: Volume,
}

/// While it runs.
struct Up {
    node: Node,
    device: PathBuf,
}

impl Judges {
    /// Has them judge a new node in `dir`; says what each found.
    ///
    /// # Errors
    /// The first that is not content.
    pub fn run(&self, program: &Path, dir: &Path, say: &mut dyn FnMut(String)) -> Result<()> {
        let mut disks = vec![DiskFile::format(program, dir, 0, 4 << 30)?];
        let volume = Volume::place(0, Shape::plain(SIZE), &mut disks);
        let judged = Judged {
            program,
            dir,
            disks,
            volume,
        };
        let up = judged.start()?;
        for (block, depth) in [(4096, 32), (64 << 10, 8), (1 << 20, 2)] {
            let ios = fio_verify(&up.device, block, depth)?;
            say(format!(
                "fio verify, {} blocks: {ios} I/Os, clean",
                Bytes(block.into())
            ));
        }
        judged.stop(up)?;
        for file_system in [FileSystem::Ext4, FileSystem::Xfs] {
            let name = file_system.name();
            let mut say = |what| say(format!("{name}: {what}"));
            self.on(file_system, &judged, &mut say).context(name)?;
            trim(file_system, &judged, &mut say).context(name)?;
        }
        judged.disks[0].verify(program)?;
        say("stratovol verify: clean".to_owned());
        Ok(())
    }

    /// Makes a file system, and has fsx use it.
    fn on(&self, fs: FileSystem, judged: &Judged<'_>, say: &mut dyn FnMut(String)) -> Result<()> {
        let up = judged.start()?;
        fs.make(&up.device)?;
        fs.check(&up.device)?;
        say("mkfs and check: clean".to_owned());
        let mounted = fs.mount(&up.device, &judged.point())?;
        let mut fsx = command::words(&[&self.fsx]);
        fsx.args([
            "-q",
            "-N",
            &self.operations.to_string(),
            "-S",
            &self.seed.to_string(),
        ]);
        fsx.arg("-P")
            .arg(judged.dir)
            .arg(mounted.point().join("fsx"));
        command::succeed(&mut fsx, FSX).context("fsx")?;
        say(format!("fsx: {} operations, clean", self.operations));
        mounted.unmount()?;
        fs.check(&up.device)?;
        judged.stop(up)
    }
}

impl Judged<'_> {
    fn start(&self) -> Result<Up> {
        let config = Config {
            program: self.program.to_owned(),
            dir: self.dir.join("node"),
            volatile: None,
        };
        let node = Node::start(config, &self.disks)?;
        self.volume.grant(&node)?;
        let device = self.volume.attach(&node)?;
        Ok(Up { node, device })
    }

    fn stop(&self, up: Up) -> Result<()> {
        up.node.stop()
    }

    fn point(&self) -> PathBuf {
        self.dir.join("mounted")
    }

    /// Does something in the mounted file system and gives back what it does not need; bytes in use
    /// then.
    fn used_after(&self, fs: FileSystem, act: impl FnOnce(&Path) -> Result<()>) -> Result<u64> {
        let up = self.start()?;
        let mounted = fs.mount(&up.device, &self.point())?;
        act(mounted.point())?;
        // XFS removes files behind the back; what is removed is sure only after an unmount.
        mounted.unmount()?;
        let mounted = fs.mount(&up.device, &self.point())?;
        mounted.trim()?;
        mounted.unmount()?;
        fs.check(&up.device)?;
        self.stop(up)?;
        self.disks[0].used(self.program)
    }
}

/// Writes every block of the device, reading back what was written as it goes and all of it at the
/// end.
fn fio_verify(device: &Path, block: u32, depth: u32) -> Result<u64> {
    let job = Job {
        block,
        flush_every: 64,
        verify: Some(Verify::Writing),
        ..Job::new("randwrite", depth)
    };
    let report = job.run(Target::Device(device), FIO);
    Ok(report
        .with_context(|| format!("fio with {block} byte blocks"))?
        .ios())
}

/// What a removed file took comes back.
fn trim(fs: FileSystem, judged: &Judged<'_>, say: &mut dyn FnMut(String)) -> Result<()> {
    let empty = judged.used_after(fs, |_| Ok(()))?;
    let full = judged.used_after(fs, |point| {
        std::fs::write(point.join("large"), vec![1; TRIMMED as usize])?;
        Ok(File::open(point.join("large"))?.sync_all()?)
    })?;
    let after = judged.used_after(fs, |point| Ok(std::fs::remove_file(point.join("large"))?))?;
    let shown = [empty, full, after].map(|b| Bytes(b).to_string());
    say(format!(
        "fstrim: {} in use, {} with a file more, {} after",
        shown[0], shown[1], shown[2]
    ));
    ensure!(full >= empty + GIVEN_BACK, "the file took no space");
    ensure!(after + GIVEN_BACK <= full, "fstrim gave back too little");
    Ok(())
}
