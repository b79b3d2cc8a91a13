//! Child processes: those that end, each with a time limit, and those that serve.
//!
//! A child that hangs in the kernel cannot be killed; it is left behind after its limit, and this
//! process goes on.

use crate::sys;
use anyhow::{Context, Result, bail};
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Between two looks at a child.
const LOOK: Duration = Duration::from_millis(5);

/// The process groups that are running, so that an interrupted run can end them.
static RUNNING: Mutex<Vec<u32>> = Mutex::new(Vec::new());

/// What a child said, and how it ended.
#[derive(Debug)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub err: String,
}

/// A command line from its words.
pub fn words<S: AsRef<OsStr>>(all: &[S]) -> Command {
    let (program, rest) = all.split_first().map_or((None, all), |(p, r)| (Some(p), r));
    let mut command = Command::new(program.map_or(OsStr::new(""), AsRef::as_ref));
    command.args(rest);
    command
}

/// Runs a child to its end, whatever that is.
///
/// # Errors
/// Where it cannot be started, or takes longer than `limit`; it is killed then.
pub fn run(command: &mut Command, limit: Duration) -> Result<Output> {
    let what = format!("{command:?}");
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = spawn(command)?;
    let out = child.stdout.take().map(collect);
    let err = child.stderr.take().map(collect);
    let status = wait(&mut child, limit)?;
    forget(child.id());
    let Some(status) = status else {
        bail!("{what} took longer than {limit:?}");
    };
    let text = |reader: Option<JoinHandle<String>>| reader.and_then(|r| r.join().ok());
    let (out, err) = (text(out).unwrap_or_default(), text(err).unwrap_or_default());
    Ok(Output { status, out, err })
}

/// Runs a child that must succeed; what it said on its standard output.
///
/// # Errors
/// As [`run`], and where it fails: with what it complained about.
pub fn succeed(command: &mut Command, limit: Duration) -> Result<String> {
    let output = run(command, limit)?;
    if !output.status.success() {
        let (out, err) = (output.out.trim(), output.err.trim());
        bail!("{command:?} ended with {}\n{out}\n{err}", output.status);
    }
    Ok(output.out)
}

/// Whether a program is installed.
pub fn installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

/// A child that serves until it is stopped; killed when this is dropped.
#[derive(Debug)]
pub struct Service {
    child: Child,
    log: PathBuf,
}

impl Service {
    /// Starts it in a process group of its own; what it says goes to the end of `log`.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let file = File::options().create(true).append(true).open(log);
        let file = file.with_context(|| log.display().to_string())?;
        command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file);
        let child = spawn(command)?;
        let log = log.to_owned();
        Ok(Service { child, log })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its children, oldest first.
    pub fn children(&self) -> Vec<u32> {
        children(self.pid())
    }

    /// What it said so far, its last lines.
    pub fn said(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let skip = text.lines().count().saturating_sub(20);
        text.lines().skip(skip).collect::<Vec<_>>().join("\n")
    }

    /// Fails where it has ended.
    ///
    /// # Errors
    /// With its last words.
    pub fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!(
                "{} ended with {status}:\n{}",
                self.log.display(),
                self.said()
            ),
            None => Ok(()),
        }
    }

    /// Asks it to end; how it did, or `None` where it had to be killed after `limit`.
    ///
    /// # Errors
    /// Where waiting fails.
    pub fn stop(&mut self, limit: Duration) -> Result<Option<ExitStatus>> {
        let _ = sys::signal(self.pid() as i32, libc::SIGTERM); // It may have ended.
        let status = wait(&mut self.child, limit)?;
        forget(self.pid());
        Ok(status)
    }

    /// Kills it and everything in its group.
    pub fn kill(&mut self) {
        kill_group(self.pid());
        let _ = wait(&mut self.child, Duration::from_secs(5));
        forget(self.pid());
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.kill();
        }
    }
}

/// The children of a process, oldest first.
pub fn children(pid: u32) -> Vec<u32> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace()
        .filter_map(|p| p.parse().ok())
        .collect()
}

/// Kills every process that was started here and still runs.
pub fn kill_all() {
    let groups = std::mem::take(&mut *RUNNING.lock().unwrap_or_else(|e| e.into_inner()));
    groups.into_iter().rev().for_each(kill_group);
}

/// A group of its own, so that a key press reaches only this process, which then ends the others in
/// order.
fn spawn(command: &mut Command) -> Result<Child> {
    let child = command.process_group(0).spawn();
    let child = child.with_context(|| format!("starting {command:?}"))?;
    RUNNING
        .lock()
        .unwrap_or_else(|e| e.into_inner())
        .push(child.id());
    Ok(child)
}

fn forget(pid: u32) {
    let mut running = RUNNING.lock().unwrap_or_else(|e| e.into_inner());
    running.retain(|p| *p != pid);
}

fn kill_group(pid: u32) {
    let _ = sys::signal(-(pid as i32), libc::SIGKILL); // It may have ended.
}

/// Waits for the end; kills at the limit, and gives up on what cannot be killed.
fn wait(child: &mut Child, limit: Duration) -> Result<Option<ExitStatus>> {
    let start = Instant::now();
    while start.elapsed() < limit {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        thread::sleep(LOOK);
    }
    kill_group(child.id());
    let killed = Instant::now();
    while killed.elapsed() < Duration::from_secs(1) && child.try_wait()?.is_none() {
        thread::sleep(LOOK);
    }
    Ok(None)
}

fn collect(mut from: impl Read + Send + 'static) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut all = Vec::new();
        let _ = from.read_to_end(&mut all); // As much as there is.
        String::from_utf8_lossy(&all).into_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_told_apart() {
        let long = Duration::from_secs(20);
        assert_eq!(succeed(&mut words(&["echo", "a"]), long).unwrap(), "a\n");
        let failure = succeed(&mut words(&["sh", "-c", "echo why >&2; exit 3"]), long);
        assert!(failure.unwrap_err().to_string().contains("why"));
        let late = run(&mut words(&["sleep", "100"]), Duration::from_millis(20));
        assert!(late.unwrap_err().to_string().contains("longer than 20ms"));
        assert!(run(&mut words(&["no-such-program"]), long).is_err());
        assert!(installed("sh") && !installed("no-such-program"));
    }

    #[test]
    fn a_service_ends_with_its_handle() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let script = "echo up; sleep 100 & wait";
        let mut service = Service::start(&mut words(&["sh", "-c", script]), &log).unwrap();
        service.check().unwrap();
        let start = Instant::now();
        while !service.said().contains("up") || service.children().is_empty() {
            assert!(start.elapsed() < Duration::from_secs(20));
        }
        let child = service.children()[0];
        drop(service);
        let gone = || std::fs::read_to_string(format!("/proc/{child}/stat"));
        while gone().is_ok_and(|s| !s.contains(") Z ")) {
            assert!(start.elapsed() < Duration::from_secs(20));
        }
    }
}
