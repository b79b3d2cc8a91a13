//! Loop devices for peers: past the page cache, in blocks of 4 KiB, as the data plane sets up its
//! own.

use crate::command;
use anyhow::Result;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// For setting one up or taking it away.
const LIMIT: Duration = Duration::from_secs(20);

/// A loop device, taken away when this is dropped.
#[derive(Debug)]
pub struct Looped(PathBuf);

impl Looped {
    /// Puts one on a file.
    ///
    /// # Errors
    /// Where there is none, or it would go through the page cache.
    pub fn on(file: &Path) -> Result<Self> {
        let mut losetup = command::words(&["losetup", "--direct-io=on", "--find", "--show"]);
        losetup.arg("--sector-size=4096").arg(file);
        let device = Looped(PathBuf::from(command::succeed(&mut losetup, LIMIT)?.trim()));
        let mut list = command::words(&["losetup", "--noheadings", "--output=DIO"]);
        let direct = command::succeed(list.arg(&device.0), LIMIT)?;
        anyhow::ensure!(
            direct.trim() == "1",
            "{} has no direct I/O",
            device.0.display()
        );
        Ok(device)
    }

    /// Its node.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Looped {
    fn drop(&mut self) {
        let mut losetup = command::words(&[Path::new("losetup"), Path::new("-d"), &self.0]);
        if let Err(e) = command::succeed(&mut losetup, LIMIT) {
            eprintln!("{}: {e:#}", self.0.display());
        }
    }
}
