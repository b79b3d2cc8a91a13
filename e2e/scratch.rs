//! The place where a run keeps its files, and the promise that nothing is left behind: at the end,
//! at an error, a panic or Ctrl-C, whatever is mounted below it, looped on it or running is taken
//! away.
//!
//! What is to be taken away is looked up when it is taken away, not remembered: a list could lie.

use crate::{command, mounts, sys};
use anyhow::{Context, Result};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// For one unmount in the sweep. Without a server it hangs; then the connection is aborted.
const UNMOUNT: Duration = Duration::from_secs(5);
/// The exit code of an interrupted run, as shells have it.
const INTERRUPTED: i32 = 130;

/// A directory that is swept when this is dropped. One per process.
#[derive(Debug)]
pub struct Scratch {
    dir: Arc<Mutex<Option<PathBuf>>>,
    path: PathBuf,
    keep: bool,
}

impl Scratch {
    /// A new directory below `parent`, which is made; `keep`: its files are left for a look, and
    /// where they are is said.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub fn new(parent: &Path, keep: bool) -> Result<Self> {
        fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
        let parent = parent.canonicalize()?;
        let path = tempfile::Builder::new()
            .prefix("run-")
            .tempdir_in(parent)?
            .keep();
        let dir = Arc::new(Mutex::new(Some(path.clone())));
        let mut interrupts = sys::interrupts()?;
        let at_interrupt = Arc::clone(&dir);
        thread::spawn(move || {
            if interrupts.read_exact(&mut [0]).is_ok() {
                // The lock is never given back: the rest of this process may fail, not interfere.
                let mut dir = at_interrupt.lock().unwrap_or_else(|e| e.into_inner());
                eprintln!("interrupted: taking everything away");
                report(sweep(dir.take(), keep));
                std::process::exit(INTERRUPTED);
            }
        });
        Ok(Scratch { dir, path, keep })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes everything away, and says whether that went well.
    ///
    /// # Errors
    /// Where something could not be taken away.
    pub fn finish(self) -> Result<()> {
        let mut dir = self.dir.lock().unwrap_or_else(|e| e.into_inner());
        sweep(dir.take(), self.keep)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let mut dir = self.dir.lock().unwrap_or_else(|e| e.into_inner());
        report(sweep(dir.take(), self.keep));
    }
}

fn report(result: Result<()>) {
    if let Err(e) = result {
        eprintln!("left behind: {e:#}");
    }
}

/// File systems first, while somebody may still serve what is below them; then processes, then what
/// they served, then files. `None`: it was done.
fn sweep(dir: Option<PathBuf>, keep: bool) -> Result<()> {
    let Some(dir) = &dir else {
        return Ok(());
    };
    for mount in mounts::below(dir)?
        .iter()
        .rev()
        .filter(|m| !m.kind.starts_with("fuse"))
    {
        let mut unmount = command::words(&[Path::new("umount"), &mount.point]);
        if command::succeed(&mut unmount, UNMOUNT).is_err() {
            abort_all(dir)?;
            let mut unmount = command::words(&[Path::new("umount"), Path::new("-l"), &mount.point]);
            command::succeed(&mut unmount, UNMOUNT)?;
        }
    }
    for device in mounts::loops_below(dir)? {
        detach(&device);
    }
    // Nothing may wait for a server from here on.
    abort_all(dir)?;
    command::kill_all();
    for mount in mounts::below(dir)?.iter().rev() {
        let mut unmount = command::words(&[Path::new("umount"), Path::new("-l"), &mount.point]);
        command::succeed(&mut unmount, UNMOUNT)?;
    }
    let start = Instant::now();
    while let [device, ..] = &mounts::loops_below(dir)?[..] {
        detach(device);
        anyhow::ensure!(start.elapsed() < UNMOUNT, "{} stays", device.display());
        thread::sleep(Duration::from_millis(20));
    }
    match keep {
        true => eprintln!("kept: {}", dir.display()),
        false => fs::remove_dir_all(dir).with_context(|| dir.display().to_string())?,
    }
    Ok(())
}

/// Takes effect at the last close, so it succeeds although somebody holds the device.
fn detach(device: &Path) {
    let mut losetup = command::words(&[Path::new("losetup"), Path::new("-d"), device]);
    let _ = command::succeed(&mut losetup, UNMOUNT); // It may be gone by itself.
}

fn abort_all(dir: &Path) -> Result<()> {
    for mount in mounts::below(dir)?
        .iter()
        .filter(|m| m.kind.starts_with("fuse"))
    {
        let _ = mounts::abort(mount); // Its server may have ended it.
    }
    Ok(())
}
