//! File systems on devices: made, mounted, checked. Every command has a limit of time.

use crate::command;
use anyhow::{Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// For one command. An unmount writes back what is cached.
const LIMIT: Duration = Duration::from_secs(120);

/// A kind of file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileSystem {
    /// ext4.
    Ext4,
    /// XFS.
    Xfs,
}

/// A mounted file system; [`Mounted::unmount`] ends it, the sweep what is left.
#[derive(Debug)]
pub struct Mounted(PathBuf);

impl FileSystem {
    /// What mount calls it.
    pub fn name(self) -> &'static str {
        match self {
            FileSystem::Ext4 => "ext4",
            FileSystem::Xfs => "xfs",
        }
    }

    /// Makes an empty one.
    ///
    /// # Errors
    /// What mkfs complains about.
    pub fn make(self, device: &Path) -> Result<()> {
        let mut mkfs = match self {
            FileSystem::Ext4 => command::words(&["mkfs.ext4", "-q", "-F"]),
            FileSystem::Xfs => command::words(&["mkfs.xfs", "-q", "-f"]),
        };
        command::succeed(mkfs.arg(device), LIMIT)?;
        Ok(())
    }

    /// Mounts one at `point`, a directory that is made.
    ///
    /// # Errors
    /// What mount complains about.
    pub fn mount(self, device: &Path, point: &Path) -> Result<Mounted> {
        fs::create_dir_all(point)?;
        let mut mount = command::words(&["mount", "-t", self.name()]);
        command::succeed(mount.arg(device).arg(point), LIMIT)?;
        Ok(Mounted(point.to_owned()))
    }

    /// Checks one that is not mounted, without changing it. Its journal was replayed by a mount.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(self, device: &Path) -> Result<()> {
        let mut check = match self {
            FileSystem::Ext4 => command::words(&["e2fsck", "-f", "-n"]),
            FileSystem::Xfs => command::words(&["xfs_repair", "-n"]),
        };
        let output = command::run(check.arg(device), LIMIT)?;
        if !output.status.success() {
            let (status, out, err) = (output.status, output.out, output.err);
            bail!("{check:?} ended with {status}\n{out}\n{err}");
        }
        Ok(())
    }
}

impl Mounted {
    /// Where.
    pub fn point(&self) -> &Path {
        &self.0
    }

    /// Unmounts.
    ///
    /// # Errors
    /// Where somebody uses it, or it takes too long.
    pub fn unmount(self) -> Result<()> {
        let mut unmount = command::words(&[Path::new("umount"), &self.0]);
        command::succeed(&mut unmount, LIMIT)?;
        Ok(())
    }

    /// Gives the space that no file needs back to the device; how many bytes it says.
    ///
    /// # Errors
    /// Where the device cannot.
    pub fn trim(&self) -> Result<String> {
        let mut trim = command::words(&[Path::new("fstrim"), Path::new("-v"), &self.0]);
        command::succeed(&mut trim, LIMIT)
    }
}

/// Forgets what the kernel cached of files and devices, so that the next read asks the device.
///
/// # Errors
/// Without root.
pub fn drop_caches() -> Result<()> {
    Ok(fs::write("/proc/sys/vm/drop_caches", "3")?)
}
