//! Other programs, each with a time limit: what touches the mounted volume may hang.

use crate::demo::sys;
use anyhow::{Context, bail};
use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Between two looks whether something has come true.
pub const PAUSE: Duration = Duration::from_millis(2);
/// What is expected to take a second may take this long on a busy machine.
pub const LIMIT: Duration = Duration::from_secs(20);
/// How long the end of a killed process is waited for.
const LAST_WAIT: Duration = Duration::from_secs(2);

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

/// Waits for a child to end; killed where it does not in time, and then not waited for long: it may
/// be beyond the reach of signals. Ctrl-C does not count here: what was begun, a mount for example,
/// is better finished than cut in two.
pub fn wait(child: &mut Child, limit: Duration) -> anyhow::Result<ExitStatus> {
    if let Some(status) = ended_within(child, limit)? {
        return Ok(status);
    }
    child.kill()?;
    ended_within(child, LAST_WAIT)?;
    bail!("still running after {limit:?}; killed");
}

fn ended_within(child: &mut Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let start = Instant::now();
    loop {
        let status = child.try_wait()?;
        if status.is_some() || start.elapsed() > limit {
            return Ok(status);
        }
        std::thread::sleep(PAUSE);
    }
}

/// Runs a program with something at standard input; what it printed, which must be little.
pub fn run_with<A: AsRef<OsStr>>(
    program: impl AsRef<OsStr>,
    words: &[A],
    input: &str,
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
    let status = wait(&mut child, LIMIT).with_context(|| shown.clone())?;
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

/// Runs a program, unless the demo is to end.
pub fn run<A: AsRef<OsStr>>(program: &str, words: &[A]) -> anyhow::Result<String> {
    heed_stop()?;
    run_with(program, words, "")
}

/// Runs a program while cleaning up.
pub fn run_last<A: AsRef<OsStr>>(program: &str, words: &[A]) -> anyhow::Result<String> {
    run_with(program, words, "")
}
