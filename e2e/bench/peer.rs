//! The peer: qemu-storage-daemon with the same front end, a FUSE file under a loop device.
//!
//! The one to compare with is version 10. A Debian that has an older one gets it unpacked into a
//! folder (`e2e/get-peer`), with the libraries it needs, and it is started through that folder's
//! dynamic loader.

use super::Contender;
use crate::command::{self, Service};
use crate::fio::Target;
use crate::looped::Looped;
use crate::mounts;
use anyhow::{Context, Result};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

const PROGRAM: &str = "qemu-storage-daemon";
/// To start, to stop.
const LIMIT: Duration = Duration::from_secs(20);
/// Below this version it gave a corrupt ext4 under a loop device.
const STRONG: u32 = 10;

/// Where a daemon is.
#[derive(Clone, Debug)]
pub struct Program {
    /// The folder it was unpacked into; `None`: installed.
    folder: Option<PathBuf>,
    /// What it says of itself.
    pub version: String,
}

impl Program {
    /// The one in `folder`, else the installed one; `None` where there is neither.
    ///
    /// # Errors
    /// Where the one there is does not run.
    pub fn find(folder: &Path) -> Result<Option<Self>> {
        let folder = match folder.join("usr/bin").join(PROGRAM).is_file() {
            true => Some(folder.canonicalize()?),
            false if command::installed(PROGRAM) => None,
            false => return Ok(None),
        };
        let version = String::new();
        let mut program = Program { folder, version };
        let said = command::succeed(program.command()?.arg("--version"), LIMIT)?;
        program.version = said.lines().next().unwrap_or_default().to_owned();
        Ok(Some(program))
    }

    /// Whether it is a peer, or too old to be one.
    pub fn is_strong(&self) -> bool {
        let number = |word: &str| word.split('.').next()?.parse::<u32>().ok();
        self.version.split(' ').filter_map(number).next() >= Some(STRONG)
    }

    fn command(&self) -> Result<Command> {
        let Some(folder) = &self.folder else {
            return Ok(Command::new(PROGRAM));
        };
        let arch = std::env::consts::ARCH;
        let libraries = folder.join(format!("usr/lib/{arch}-linux-gnu"));
        let mut loader = None;
        for entry in libraries
            .read_dir()
            .with_context(|| libraries.display().to_string())?
        {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with("ld-linux") {
                loader = Some(path);
            }
        }
        let mut command = Command::new(loader.context("no dynamic loader in the folder")?);
        command.arg("--library-path").arg(&libraries);
        command.arg(folder.join("usr/bin").join(PROGRAM));
        Ok(command)
    }
}

/// A daemon that serves one file.
#[derive(Debug)]
pub struct Peer {
    name: String,
    device: Option<Looped>,
    mount: PathBuf,
    daemon: Service,
}

impl Peer {
    /// Serves a new file of `size` bytes in `dir`, filled: raw, past the page cache, with io_uring
    /// and a thread of its own, which is the fastest it can.
    ///
    /// # Errors
    /// Where the daemon does not start, or there is no space or no device.
    pub fn new(program: &Program, dir: &Path, size: u64) -> Result<Self> {
        let (file, mount) = (dir.join("peer"), dir.join("peer-mount"));
        let made = File::create_new(&file).and_then(|f| f.set_len(size));
        made.with_context(|| file.display().to_string())?;
        File::create_new(&mount)?;
        let disk = format!(
            "driver=file,filename={},node-name=disk,cache.direct=on,aio=io_uring,discard=unmap",
            file.display()
        );
        let export = format!(
            "type=fuse,id=export,node-name=disk,mountpoint={},writable=on,iothread=thread",
            mount.display()
        );
        let mut command = program.command()?;
        command.args(["--object", "iothread,id=thread"]);
        command.args(["--blockdev", &disk, "--export", &export]);
        let mut daemon = Service::start(&mut command, &dir.join("peer.log"))?;
        let start = Instant::now();
        while !mounts::all()?.iter().any(|m| m.point == mount) {
            daemon.check()?;
            anyhow::ensure!(start.elapsed() < LIMIT, "{PROGRAM}: no mount in {LIMIT:?}");
            thread::sleep(Duration::from_millis(10));
        }
        let device = Looped::on(&mount)?;
        super::fill(device.path())?;
        let version = program
            .version
            .split(' ')
            .find(|w| w.starts_with(|c: char| c.is_ascii_digit()));
        Ok(Peer {
            name: format!("qemu-storage-daemon {}", version.unwrap_or_default()),
            device: Some(device),
            mount,
            daemon,
        })
    }
}

impl Contender for Peer {
    fn name(&self) -> &str {
        &self.name
    }
    fn target(&self) -> Target<'_> {
        Target::Device(self.device.as_ref().map_or(Path::new(""), Looped::path))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // The device while its file is served, the mount before its server.
        self.device = None;
        let mut unmount = command::words(&[Path::new("umount"), &self.mount]);
        let _ = command::succeed(&mut unmount, LIMIT); // The sweep looks again.
        let _ = self.daemon.stop(LIMIT);
    }
}

#[cfg(test)]
#[test]
fn versions_are_told_apart() {
    let program = |text: &str| Program {
        folder: None,
        version: text.to_owned(),
    };
    assert!(program("qemu-storage-daemon version 10.0.13 (Debian 1:10.0.13)").is_strong());
    assert!(!program("qemu-storage-daemon version 7.2.17 (Debian 1:7.2)").is_strong());
    assert!(!program("").is_strong());
}
