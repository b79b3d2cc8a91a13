//! The application as the demo sees it: when each of its writes was answered, and what every
//! finished file must hold.

use super::tools::{LIMIT, run_with, until, wait};
use crate::demo::sys;
use anyhow::{Context, bail};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What was read from it so far.
#[derive(Default)]
struct Seen {
    answers: Vec<Instant>,
    /// Finished files with their checksums in hexadecimal.
    files: BTreeMap<String, String>,
}

/// The process that writes.
pub struct Writer {
    child: Child,
    seen: Arc<Mutex<Seen>>,
    reader: Option<JoinHandle<()>>,
}

/// What was written.
pub struct Written {
    /// Finished files with their checksums.
    pub files: BTreeMap<String, String>,
    /// Writes that were answered.
    pub writes: usize,
}

impl Writer {
    /// Begins to write files in `folder`.
    pub fn start(folder: &Path) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(["demo-application", "write"])
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        sys::tie(&mut command, libc::SIGKILL);
        let mut child = command.spawn().context("the application")?;
        let seen = Arc::new(Mutex::new(Seen::default()));
        let shared = Arc::clone(&seen);
        let reader = child.stdout.take();
        let reader = reader.map(|out| std::thread::spawn(move || listen(out, &shared)));
        Ok(Writer {
            child,
            seen,
            reader,
        })
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until so many more writes were answered.
    pub fn progress(&mut self, more: usize) -> anyhow::Result<()> {
        let from = self.seen().answers.len();
        let seen = Arc::clone(&self.seen);
        let child = &mut self.child;
        until("the application's writes", LIMIT, || {
            if let Some(status) = child.try_wait()? {
                let mut complaint = String::new();
                if let Some(stderr) = child.stderr.as_mut() {
                    stderr.read_to_string(&mut complaint)?;
                }
                bail!("the application ended ({status}): {}", complaint.trim());
            }
            let now = seen
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .answers
                .len();
            Ok((now >= from + more).then_some(()))
        })
    }

    /// The longest time without an answer that began before `to` and ended after `from`.
    pub fn longest_pause(&self, from: Instant, to: Instant) -> Duration {
        let seen = self.seen();
        let gaps = seen.answers.windows(2).filter(|w| w[1] > from && w[0] < to);
        gaps.map(|w| w[1] - w[0]).max().unwrap_or_default()
    }

    /// Lets it finish its last file.
    pub fn finish(mut self) -> anyhow::Result<Written> {
        drop(self.child.stdin.take());
        let status = wait(&mut self.child, LIMIT).context("the application")?;
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        let mut complaint = String::new();
        if let Some(stderr) = self.child.stderr.as_mut() {
            stderr.read_to_string(&mut complaint)?;
        }
        if !status.success() {
            bail!("the application failed ({status}): {}", complaint.trim());
        }
        let mut seen = self.seen();
        Ok(Written {
            files: std::mem::take(&mut seen.files),
            writes: seen.answers.len(),
        })
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Ended already, unless something went wrong; it cannot be unmounted under a writer.
        let _ = self.child.kill();
        let _ = wait(&mut self.child, Duration::from_secs(2));
    }
}

fn listen(out: ChildStdout, seen: &Mutex<Seen>) {
    for line in BufReader::new(out).lines() {
        let (Ok(line), now) = (line, Instant::now()) else {
            return;
        };
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut words = line.split(' ');
        match (words.next(), words.next(), words.next()) {
            (Some("writing"), Some(name), None) => drop(seen.files.remove(name)),
            (Some("done"), Some(name), Some(crc)) => {
                seen.files.insert(name.to_owned(), crc.to_owned());
            }
            _ => seen.answers.push(now),
        }
    }
}

impl Written {
    /// Has the files read and compared; how many there were.
    pub fn check(&self, folder: &Path) -> anyhow::Result<usize> {
        let mut list = String::new();
        for (name, crc) in &self.files {
            list += &format!("{name} {crc}\n");
        }
        let words = [Path::new("demo-application"), Path::new("check"), folder];
        let said = run_with(std::env::current_exe()?, &words, &list)?;
        let right: usize = said.trim().parse().context("the application's count")?;
        if right != self.files.len() {
            bail!("{right} of {} files were compared", self.files.len());
        }
        Ok(right)
    }
}
