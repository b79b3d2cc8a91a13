//! A thread that reads and writes stamped blocks of one file without a break, as an application
//! would see it: how long each took, and whether what it reads is what it wrote.

use crate::direct::{Block, Direct};
use crate::random::Random;
use crate::stamps::{self, Crash, Log};
use anyhow::{Result, anyhow, bail};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Between two I/Os.
const BREATH: Duration = Duration::from_micros(500);

/// One I/O.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// Asked.
    pub start: Instant,
    /// Answered.
    pub end: Instant,
}

/// A running prober.
#[derive(Debug)]
pub struct Prober {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Vec<Span>>>,
}

impl Prober {
    /// Starts on the first `blocks` blocks of a file, which it overwrites.
    ///
    /// # Errors
    /// Where the file cannot be opened.
    pub fn start(path: &Path, blocks: u64, seed: u64) -> Result<Self> {
        let file = Direct::open(path)?;
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = thread::spawn(move || probe(&file, blocks, seed, &told));
        Ok(Prober { stop, thread })
    }

    /// Whether it goes on: it ends by itself only at an error.
    pub fn is_well(&self) -> bool {
        !self.thread.is_finished()
    }

    /// Ends it; every I/O that it did.
    ///
    /// # Errors
    /// The I/O error that it met, or wrong content.
    pub fn finish(self) -> Result<Vec<Span>> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread
            .join()
            .map_err(|_| anyhow!("the prober panicked"))?
    }
}

fn probe(file: &Direct, blocks: u64, seed: u64, stop: &AtomicBool) -> Result<Vec<Span>> {
    let (mut random, mut log, mut spans) = (Random::new(seed), Log::default(), Vec::new());
    let mut buffer = Block::zeroed();
    while !stop.load(Ordering::Relaxed) {
        let block = random.below(blocks);
        let known = log.knows(block);
        let version = if known && random.below(2) == 0 {
            None
        } else {
            Some(log.begin(block))
        };
        if let Some(version) = version {
            stamps::stamp(&mut buffer, block, version);
        }
        let start = Instant::now();
        match version {
            Some(version) => {
                file.write(block, &buffer)
                    .map_err(|e| anyhow!("writing block {block}: {e}"))?;
                log.answered(block, version);
            }
            None => file
                .read(block, &mut buffer)
                .map_err(|e| anyhow!("reading {block}: {e}"))?,
        }
        let end = Instant::now();
        spans.push(Span { start, end });
        if version.is_none()
            && let Some(what) = log.wrong(block, stamps::read(&buffer), Crash::Process)
        {
            bail!("{what}");
        }
        thread::sleep(BREATH);
    }
    Ok(spans)
}

/// The pause after each of these moments, in order: from it to the answer of the slowest I/O that
/// was waiting then or was asked before the next of them.
pub fn pauses(spans: &[Span], moments: &[Instant]) -> Vec<Duration> {
    let ends = moments.iter().skip(1).copied().map(Some).chain([None]);
    let pause = |(from, until): (&Instant, Option<Instant>)| {
        let during = |s: &&Span| s.end > *from && until.is_none_or(|u| s.start < u);
        let waited = |s: &Span| s.end.duration_since(s.start.max(*from));
        spans
            .iter()
            .filter(during)
            .map(waited)
            .max()
            .unwrap_or_default()
    };
    moments.iter().zip(ends).map(pause).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_begins_with_its_moment() {
        let zero = Instant::now();
        let at = |ms| zero + Duration::from_millis(ms);
        let span = |a, b| Span {
            start: at(a),
            end: at(b),
        };
        let spans = [
            span(0, 1),
            span(9, 40),
            span(41, 42),
            span(50, 53),
            span(60, 61),
        ];
        let found = pauses(&spans, &[at(10), at(51)]);
        assert_eq!(found, [Duration::from_millis(30), Duration::from_millis(2)]);
        assert_eq!(pauses(&spans, &[]), []);
    }

    #[test]
    fn it_probes_a_file() {
        let dir = tempfile::tempdir_in(".").unwrap(); // Memory file systems know no direct I/O.
        let path = dir.path().join("file");
        std::fs::File::create(&path)
            .unwrap()
            .set_len(64 * layout::BLOCK)
            .unwrap();
        let prober = Prober::start(&path, 64, 1).unwrap();
        while std::fs::metadata(&path).unwrap().modified().is_err() {}
        thread::sleep(Duration::from_millis(50));
        assert!(prober.is_well());
        assert!(!prober.finish().unwrap().is_empty());
    }
}
