//! Judges that nobody here wrote, on volumes of a node: fio's verification on the bare device, mkfs and
//! check, fsx, fstrim.

use crate::command;
use crate::filesystem::FileSystem;
use crate::fio::{Job, Target, Verify};
use crate::node::{Config, DiskFile, Node, Shape, Volume};
use anyhow::{Context, Result, ensure};
use layout::Bytes;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

const SIZE: u64 = 1 << 30;
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

impl Judges {
    /// Has them judge a new node in `dir`; says what each found.
    ///
    /// # Errors
    /// The first that is not content.
    pub fn run(&self, program: &Path, dir: &Path, say: &mut dyn FnMut(String)) -> Result<()> {
        let mut disks = vec![DiskFile::format(program, dir, 0, 4 << 30)?];
        let config = Config {
            program: program.to_owned(),
            dir: dir.join("node"),
            volatile: None,
        };
        let node = Node::start(config, &disks)?;
        let volume = Volume::place(0, Shape::plain(SIZE), &mut disks);
        volume.grant(&node)?;
        let device = volume.attach(&node)?;
        for (block, depth) in [(4096, 32), (64 << 10, 8), (1 << 20, 2)] {
            let report = fio_verify(&device, block, depth)?;
            say(format!(
                "fio verify, {} blocks: {report} I/Os, clean",
                Bytes(block.into())
            ));
        }
        for file_system in [FileSystem::Ext4, FileSystem::Xfs] {
            let name = file_system.name();
            let judged = self.on(
                file_system,
                &node,
                &volume,
                &device,
                &dir.join("mounted"),
                say,
            );
            judged.with_context(|| format!("{name}; the data plane said:\n{}", node.said()))?;
        }
        node.stop()?;
        disks[0].verify(program)?;
        say("stratovol verify: clean".to_owned());
        Ok(())
    }

    fn on(
        &self,
        file_system: FileSystem,
        node: &Node,
        volume: &Volume,
        device: &Path,
        point: &Path,
        say: &mut dyn FnMut(String),
    ) -> Result<()> {
        let name = file_system.name();
        file_system.make(device)?;
        file_system.check(device)?;
        say(format!("{name}: mkfs and check: clean"));
        let mounted = file_system.mount(device, point)?;
        let mut fsx = command::words(&[&self.fsx]);
        fsx.args([
            "-q",
            "-N",
            &self.operations.to_string(),
            "-S",
            &self.seed.to_string(),
        ]);
        fsx.arg("-P")
            .arg(point.parent().unwrap_or(point))
            .arg(point.join("fsx"));
        command::succeed(&mut fsx, FSX).context("fsx")?;
        say(format!(
            "{name}: fsx: {} operations, clean",
            self.operations
        ));
        trim(node, volume, &mounted, &mut |what| {
            say(format!("{name}: {what}"))
        })?;
        mounted.unmount()?;
        file_system.check(device)?;
        say(format!("{name}: check at the end: clean"));
        Ok(())
    }
}

/// Writes every block of the device, reading back what was written as it goes and all of it at the end.
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
fn trim(
    node: &Node,
    volume: &Volume,
    mounted: &crate::filesystem::Mounted,
    say: &mut dyn FnMut(String),
) -> Result<()> {
    mounted.trim()?;
    let empty = volume.mapped(node)?;
    let file = mounted.point().join("large");
    fs::write(&file, vec![1; TRIMMED as usize])?;
    fs::File::open(&file)?.sync_all()?;
    let full = volume.mapped(node)?;
    fs::remove_file(&file)?;
    fs::File::open(mounted.point())?.sync_all()?;
    mounted.trim()?;
    let after = volume.mapped(node)?;
    let shown = [empty, full, after].map(|b| Bytes(b).to_string());
    say(format!(
        "fstrim: {} in use, {} with a file more, {} after",
        shown[0], shown[1], shown[2]
    ));
    ensure!(full >= empty + GIVEN_BACK, "the file took no space");
    ensure!(after + GIVEN_BACK <= full, "fstrim gave back too little");
    Ok(())
}
