//! A node of its own: keeper, parent and data plane from the `stratovol` program, over disk files.

mod disk;
mod volume;

pub use disk::DiskFile;
pub use volume::{Shape, Volume};

use crate::command::{self, Service};
use crate::{mounts, sys};
use anyhow::{Context, Result, bail};
use control::{Client, ClientError, Request, Response, Status};
use layout::{Term, VolumeUid};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// For one request, and for a process to start or to end.
const LIMIT: Duration = Duration::from_secs(30);
/// For others to let go of a device.
const RELEASE: Duration = Duration::from_secs(10);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(5);
/// These tests are the only leader.
const TERM: Term = Term(1);

/// How to run a node.
#[derive(Clone, Debug)]
pub struct Config {
    /// The program.
    pub program: PathBuf,
    /// Where it keeps its sockets, mounts and logs.
    pub dir: PathBuf,
    /// Lose what was not flushed when the data plane dies; the seed chooses what reaches the disk
    /// before.
    pub volatile: Option<u64>,
}

/// A running node. Dropped, its processes are killed; [`Node::stop`] ends it in order.
#[derive(Debug)]
pub struct Node {
    config: Config,
    keeper: Service,
    parent: Service,
}

impl Node {
    /// Starts keeper, parent and data plane, and gives them the disks.
    ///
    /// # Errors
    /// Where one of them does not start, or refuses a disk; with what it said.
    pub fn start(config: Config, disks: &[DiskFile]) -> Result<Self> {
        fs::create_dir_all(&config.dir)?;
        // The program at a place of its own, so that an upgrade can put another one there.
        install(&config.program, &config.dir.join("program"))?;
        let program = config.dir.join("program");
        let mut keeper = command::words(&[&program]);
        keeper.arg("keeper").arg("--dir").arg(&config.dir);
        let mut keeper = Service::start(&mut keeper, &config.dir.join("keeper.log"))?;
        await_file(&config.dir.join("keeper.sock"), &mut keeper)?;
        let mut parent = command::words(&[&program]);
        parent.arg("dataplane").arg("--dir").arg(&config.dir);
        parent.arg("--program").arg(&program);
        if let Some(seed) = config.volatile {
            parent.arg("--power-cut").arg(seed.to_string());
        }
        let mut parent = Service::start(&mut parent, &config.dir.join("dataplane.log"))?;
        await_file(&config.dir.join("control.sock"), &mut parent)?;
        let node = Node {
            config,
            keeper,
            parent,
        };
        for disk in disks {
            node.ask(Request::AddDisk {
                path: disk.path.display().to_string(),
                expected: disk.uid,
            })
            .with_context(|| format!("adding {}", disk.path.display()))?;
        }
        Ok(node)
    }

    /// Asks the data plane for something, over a connection of its own: the one before may have
    /// ended with a killed process. A connection that breaks is tried again: repeating does no
    /// harm.
    ///
    /// # Errors
    /// A refusal, or no answer in time.
    pub fn ask(&self, request: Request) -> Result<Response> {
        let start = Instant::now();
        loop {
            let error = match self.ask_once(request.clone()) {
                Ok(response) => return Ok(response),
                Err(e @ (ClientError::Failed(_) | ClientError::TimedOut(_))) => {
                    return Err(e.into());
                }
                Err(e) => e,
            };
            if start.elapsed() > LIMIT {
                bail!("{error}; the data plane said:\n{}", self.parent.said());
            }
            thread::sleep(LOOK);
        }
    }

    fn ask_once(&self, request: Request) -> Result<Response, ClientError> {
        let mut client = Client::connect(&self.config.dir.join("control.sock"), "e2e", LIMIT)?;
        client.set_term(TERM);
        client.call(request)
    }

    /// How things are.
    ///
    /// # Errors
    /// As [`Node::ask`].
    pub fn status(&self) -> Result<Status> {
        match self.ask(Request::Status)? {
            Response::Status(status) => Ok(*status),
            other => bail!("no status: {other:?}"),
        }
    }

    /// The process that carries the I/O, while there is one.
    pub fn plane(&self) -> Option<u32> {
        // In an upgrade there are two for a moment: the older one serves.
        self.parent.children().first().copied()
    }

    /// The processes that are there for ever: keeper, parent and data plane.
    pub fn processes(&self) -> Vec<u32> {
        let mut all = vec![self.keeper.pid(), self.parent.pid()];
        all.extend(self.plane());
        all
    }

    /// Has another copy of the program take over: how an upgrade is done.
    ///
    /// # Errors
    /// Where the copy cannot be made, or the parent is gone.
    pub fn upgrade(&self) -> Result<()> {
        install(&self.config.program, &self.config.dir.join("program"))?;
        sys::signal(self.parent.pid() as i32, libc::SIGHUP).context("the parent is gone")
    }

    /// Whether a process runs the copy of the program that was installed last.
    ///
    /// # Errors
    /// Where there is no such process.
    pub fn runs_installed(&self, pid: u32) -> Result<bool> {
        let running = fs::metadata(format!("/proc/{pid}/exe"))?;
        let installed = fs::metadata(self.config.dir.join("program"))?;
        Ok(running.ino() == installed.ino())
    }

    /// Cuts the power: the data plane dies with what it had not flushed, nobody takes its place,
    /// and the kernel's connections are aborted. The file systems above are still mounted.
    ///
    /// # Errors
    /// Where something survives.
    pub fn cut_power(mut self) -> Result<()> {
        let plane = self.plane().context("no data plane runs")?;
        sys::signal(self.parent.pid() as i32, libc::SIGSTOP)?;
        sys::signal(plane as i32, libc::SIGKILL)?;
        for mount in mounts::below(&self.config.dir.join("volumes"))? {
            mounts::abort(&mount)?;
        }
        self.parent.kill();
        self.keeper.kill();
        let start = Instant::now();
        while Path::new(&format!("/proc/{plane}/fd"))
            .read_dir()
            .is_ok_and(|mut d| d.next().is_some())
        {
            anyhow::ensure!(start.elapsed() < LIMIT, "process {plane} does not end");
            thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Takes away what a power cut left in the kernel: loop devices and mounts of volumes. Whatever
    /// was mounted above is unmounted by now.
    ///
    /// # Errors
    /// Where something stays.
    pub fn clear_up(dir: &Path) -> Result<()> {
        for device in mounts::loops_below(dir)? {
            let mut losetup = command::words(&[Path::new("losetup"), Path::new("-d"), &device]);
            let _ = command::run(&mut losetup, LIMIT)?; // It may clear itself meanwhile.
        }
        for mount in mounts::below(dir)?.iter().rev() {
            let mut unmount = command::words(&[Path::new("umount"), Path::new("-l"), &mount.point]);
            command::succeed(&mut unmount, LIMIT)?;
        }
        let start = Instant::now();
        while !mounts::loops_below(dir)?.is_empty() {
            anyhow::ensure!(
                start.elapsed() < LIMIT,
                "loop devices stay after a power cut"
            );
            thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Detaches every volume, and ends every process in order.
    ///
    /// # Errors
    /// Where something is still used, or a process had to be killed.
    pub fn stop(mut self) -> Result<()> {
        for volume in self.status()?.volumes {
            let detached = self.detach(volume.volume);
            detached.with_context(|| format!("detaching {}", volume.name))?;
        }
        let ended = self
            .parent
            .stop(LIMIT)?
            .context("the parent had to be killed")?;
        anyhow::ensure!(
            ended.success(),
            "the parent ended with {ended}:\n{}",
            self.parent.said()
        );
        let ended = self
            .keeper
            .stop(LIMIT)?
            .context("the keeper had to be killed")?;
        anyhow::ensure!(
            ended.success(),
            "the keeper ended with {ended}:\n{}",
            self.keeper.said()
        );
        Ok(())
    }

    /// Whoever looks at the mounts of the machine may hold one for a moment after its unmount, and
    /// with it the device: a refusal is taken for good only after a while.
    fn detach(&self, volume: VolumeUid) -> Result<()> {
        let start = Instant::now();
        loop {
            match self.ask(Request::DetachVolume { volume }) {
                Ok(_) => return Ok(()),
                Err(e) if start.elapsed() > RELEASE => return Err(e),
                Err(_) => thread::sleep(Duration::from_millis(100)),
            }
        }
    }

    /// What the data plane said, its last lines.
    pub fn said(&self) -> String {
        self.parent.said()
    }
}

/// Puts a new copy of a program at a place: another file than the one that runs.
fn install(program: &Path, at: &Path) -> Result<()> {
    let new = at.with_extension("new");
    fs::copy(program, &new).with_context(|| program.display().to_string())?;
    fs::rename(&new, at)?;
    Ok(())
}

fn await_file(path: &Path, by: &mut Service) -> Result<()> {
    let start = Instant::now();
    while !path.exists() {
        by.check()?;
        anyhow::ensure!(
            start.elapsed() < LIMIT,
            "no {} after {LIMIT:?}",
            path.display()
        );
        thread::sleep(LOOK);
    }
    Ok(())
}
