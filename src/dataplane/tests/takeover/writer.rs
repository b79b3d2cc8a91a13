//! A writer that verifies: each thread owns some blocks, knows what it wrote last to each, and
//! checks every read.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const BLOCK: usize = 4096;
const BLOCKS_PER_THREAD: u64 = 64;

/// Memory aligned for direct I/O.
#[repr(align(4096))]
pub struct Block(pub [u8; BLOCK]);

/// What the threads saw.
#[derive(Debug, Default)]
pub struct Seen {
    pub reads: u64,
    pub writes: u64,
    pub flushes: u64,
    /// Errors and wrong content, in words.
    pub wrong: Vec<String>,
    /// When requests ended.
    pub ends: Vec<Instant>,
    /// Every block that was written: what it may hold after a power cut.
    pub blocks: Vec<BlockState>,
}

/// What is known of a block.
#[derive(Clone, Copy, Debug, Default)]
pub struct BlockState {
    pub number: u64,
    /// The version that was answered last.
    pub answered: u64,
    /// The version that a flush answered after it covers.
    pub flushed: u64,
    /// The last version that was begun.
    pub begun: u64,
}

pub struct Writer {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Seen>>,
    pub done: Arc<AtomicU64>,
}

/// xorshift64*.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

pub fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_DIRECT)
        .open(path)
}

/// Content that says which block it is of and how often that was written; all of it derives from
/// these.
pub fn fill(block: &mut Block, number: u64, version: u64) {
    let mut random = Random(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ version << 1 | 1);
    for chunk in block.0.chunks_mut(8) {
        chunk.copy_from_slice(&random.next().to_le_bytes());
    }
    block.0[..8].copy_from_slice(&number.to_le_bytes());
    block.0[8..16].copy_from_slice(&version.to_le_bytes());
}

impl Writer {
    pub fn start(path: &Path, threads: u64, seed: u64) -> Self {
        Self::start_at(path, 0, threads, seed)
    }

    /// The same, on the blocks behind those of so many threads.
    pub fn start_at(path: &Path, first: u64, threads: u64, seed: u64) -> Self {
        let (stop, done) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let threads = (first..first + threads)
            .map(|n| {
                let (path, stop, done) = (path.to_owned(), stop.clone(), done.clone());
                std::thread::spawn(move || run(&path, n, seed, &stop, &done))
            })
            .collect();
        Writer {
            stop,
            threads,
            done,
        }
    }

    /// Waits until so many more requests have ended; whether they did in time.
    pub fn progress(&self, more: u64, limit: Duration) -> bool {
        let (start, from) = (Instant::now(), self.done.load(Ordering::Relaxed));
        while self.done.load(Ordering::Relaxed) < from + more {
            if start.elapsed() > limit {
                return false;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        true
    }

    /// Ends the threads and verifies every block once more. A thread that hangs is an error, not a
    /// hang.
    pub fn finish(self, limit: Duration) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        let start = Instant::now();
        let mut all = Seen::default();
        for thread in self.threads {
            while !thread.is_finished() && start.elapsed() < limit {
                std::thread::sleep(Duration::from_millis(5));
            }
            if !thread.is_finished() {
                all.wrong.push("a request hangs".to_owned());
                continue;
            }
            let seen = thread.join().unwrap();
            all.reads += seen.reads;
            all.writes += seen.writes;
            all.flushes += seen.flushes;
            all.wrong.extend(seen.wrong);
            all.ends.extend(seen.ends);
            all.blocks.extend(seen.blocks);
        }
        all.ends.sort();
        all
    }
}

fn run(path: &Path, n: u64, seed: u64, stop: &AtomicBool, done: &AtomicU64) -> Seen {
    let mut seen = Seen::default();
    let file = match open(path) {
        Ok(file) => file,
        Err(e) => {
            seen.wrong.push(format!("open: {e}"));
            return seen;
        }
    };
    let mut random = Random(seed ^ (n + 1) << 32);
    let state = |at| BlockState {
        number: n * BLOCKS_PER_THREAD + at,
        ..BlockState::default()
    };
    let mut blocks: Vec<BlockState> = (0..BLOCKS_PER_THREAD).map(state).collect();
    let mut block = Box::new(Block([0; BLOCK]));
    while !stop.load(Ordering::Relaxed) && seen.wrong.is_empty() {
        let at = &mut blocks[(random.next() % BLOCKS_PER_THREAD) as usize];
        let number = at.number;
        let result = match random.next() % 100 {
            0..60 => {
                at.begun = at.answered + 1;
                fill(&mut block, number, at.begun);
                file.write_all_at(&block.0, number * BLOCK as u64)
                    .map(|()| {
                        at.answered = at.begun;
                        seen.writes += 1;
                    })
            }
            60..95 if at.answered > 0 => {
                seen.reads += 1;
                check(&file, &mut block, number, at.answered)
            }
            60..95 => continue,
            _ => file.sync_data().map(|()| {
                seen.flushes += 1;
                blocks.iter_mut().for_each(|b| b.flushed = b.answered);
            }),
        };
        if let Err(e) = result {
            seen.wrong.push(format!("thread {n}, block {number}: {e}"));
        }
        seen.ends.push(Instant::now());
        done.fetch_add(1, Ordering::Relaxed);
    }
    for at in blocks.iter().filter(|b| b.answered > 0) {
        if seen.wrong.is_empty()
            && let Err(e) = check(&file, &mut block, at.number, at.answered)
        {
            seen.wrong
                .push(format!("at the end, block {}: {e}", at.number));
        }
    }
    seen.blocks = blocks;
    seen
}

/// After a power cut a block holds what a flush made durable, or something newer that was begun.
pub fn survived(file: &File, state: &BlockState) -> Result<(), String> {
    let mut block = Block([0; BLOCK]);
    let read = file.read_exact_at(&mut block.0, state.number * BLOCK as u64);
    read.map_err(|e| format!("{state:?}: {e}"))?;
    if state.flushed == 0 && block.0 == [0; BLOCK] {
        return Ok(());
    }
    let version = u64::from_le_bytes([0, 1, 2, 3, 4, 5, 6, 7].map(|i| block.0[8 + i]));
    let mut want = Block([0; BLOCK]);
    fill(&mut want, state.number, version);
    let known = (state.flushed.max(1)..=state.begun).contains(&version);
    if known && want.0 == block.0 {
        return Ok(());
    }
    Err(format!(
        "{state:?}: version {version} found, content right: {}",
        want.0 == block.0
    ))
}

fn check(file: &File, block: &mut Block, number: u64, version: u64) -> io::Result<()> {
    file.read_exact_at(&mut block.0, number * BLOCK as u64)?;
    let mut want = Block([0; BLOCK]);
    fill(&mut want, number, version);
    if block.0 == want.0 {
        return Ok(());
    }
    let word = |at: usize| u64::from_le_bytes(block.0[at..at + 8].try_into().unwrap());
    let (number, got) = (word(0), word(8));
    Err(io::Error::other(format!(
        "version {version} expected, block {number} version {got} found"
    )))
}
