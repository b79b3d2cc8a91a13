//! Other programs, each with a time limit: what touches the mounted volume may hang.

use crate::demo::sys;
use anyhow::{Context, bail};
use std::ffi::OsStr;
use std::io::{Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Between two looks whether something has come true.
pub const PAUSE: Duration = Duration::from_millis(2);
/// What is expected to take a second may take this long on a busy machine.
pub const LIMIT: Duration = Duration::from_secs(20);

/// Whether Ctrl-C counts: not while cleaning up.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// It ends the wait with an error.
    Heed,
    /// It does not.
    Ignore,
}

/// Fails if somebody wants the demo to end.
pub fn heed_stop() -> anyhow::Result<()> {
    if sys::stop_asked() {
        bail!("interrupted");
    }
    Ok(())
}

/// Waits for something to come true.
pub fn until<T>(
    what: &str,
    limit: Duration,
    mut ask: impl FnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let start = Instant::now();
    loop {
        heed_stop()?;
        if let Some(found) = ask()? {
            return Ok(found);
        }
        if start.elapsed() > limit {
            bail!("waited {limit:?} for {what}");
        }
        std::thread::sleep(PAUSE);
    }
}

/// Waits for a child to end; killed where it does not in time, and then not waited for: it may be
/// beyond the reach of signals.
pub fn wait(child: &mut Child, limit: Duration, stop: Stop) -> anyhow::Result<ExitStatus> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        let stopped = stop == Stop::Heed && sys::stop_asked();
        if stopped || start.elapsed() > limit {
            child.kill()?;
            heed_stop()?;
            bail!("still running after {limit:?}; killed");
        }
        std::thread::sleep(PAUSE);
    }
}

/// Runs a program with something at standard input; what it printed, which must be little.
pub fn run_with<A: AsRef<OsStr>>(
    program: impl AsRef<OsStr>,
    words: &[A],
    input: &str,
    stop: Stop,
) -> anyhow::Result<String> {
    let shown = program.as_ref().to_string_lossy().into_owned();
    let mut command = Command::new(program);
    command
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    sys::tie(&mut command, libc::SIGKILL);
    let mut child = command
        .spawn()
        .with_context(|| format!("{shown} cannot be started"))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes())?;
    }
    let status = wait(&mut child, LIMIT, stop).with_context(|| shown.clone())?;
    let (mut said, mut complaint) = (String::new(), String::new());
    if let (Some(mut out), Some(mut err)) = (child.stdout.take(), child.stderr.take()) {
        out.read_to_string(&mut said)?;
        err.read_to_string(&mut complaint)?;
    }
    if !status.success() {
        bail!(
            "{shown} failed ({status}): {}{}",
            said.trim(),
            complaint.trim()
        );
    }
    Ok(said)
}

/// Runs a program.
pub fn run<A: AsRef<OsStr>>(program: &str, words: &[A]) -> anyhow::Result<String> {
    run_with(program, words, "", Stop::Heed)
}

/// Runs a program while cleaning up.
pub fn run_last<A: AsRef<OsStr>>(program: &str, words: &[A]) -> anyhow::Result<String> {
    run_with(program, words, "", Stop::Ignore)
}
