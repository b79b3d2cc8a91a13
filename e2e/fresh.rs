//! A thread that writes to space that nobody wrote to before, never flushes, and reads back what
//! was answered: what a killed process must not lose.

use crate::direct::{Block, Direct};
use crate::random::Random;
use crate::stamps::{self, Crash, Log};
use anyhow::{Result, anyhow, ensure};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Between two I/Os: the space has to last.
const BREATH: Duration = Duration::from_micros(300);
/// Odd, so that steps of it reach every block of a power of two.
const STRIDE: u64 = 0x9e37_79b1;

/// A running writer.
#[derive(Debug)]
pub struct Writer {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Written>>,
}

/// What a writer wrote, not flushed; the device stays open, for its last close would flush it.
#[derive(Debug)]
pub struct Written {
    device: Direct,
    log: Log,
}

impl Writer {
    /// Starts on a device of `blocks` blocks, a power of two, that is empty.
    ///
    /// # Errors
    /// Where the device cannot be opened.
    pub fn start(path: &Path, blocks: u64, seed: u64) -> Result<Self> {
        ensure!(
            blocks.is_power_of_two(),
            "{blocks} blocks are no power of two"
        );
        let device = Direct::open(path)?;
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = thread::spawn(move || write(device, blocks, seed, &told));
        Ok(Writer { stop, thread })
    }

    /// Whether it goes on: it ends by itself only at an error, or when no fresh space is left.
    pub fn is_well(&self) -> bool {
        !self.thread.is_finished()
    }

    /// Ends it.
    ///
    /// # Errors
    /// The I/O error that it met, or wrong content.
    pub fn finish(self) -> Result<Written> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread
            .join()
            .map_err(|_| anyhow!("the writer panicked"))?
    }
}

impl Written {
    /// Reads every block again; how many there are.
    ///
    /// # Errors
    /// What was answered and is not there.
    pub fn verify(&self) -> Result<usize> {
        let (mut block, mut count) = (Block::zeroed(), 0);
        for number in self.log.blocks() {
            check(&self.device, &self.log, number, &mut block)?;
            count += 1;
        }
        Ok(count)
    }
}

fn write(device: Direct, blocks: u64, seed: u64, stop: &AtomicBool) -> Result<Written> {
    let (mut random, mut log) = (Random::new(seed), Log::default());
    let mut buffer = Block::zeroed();
    let start = random.draw();
    let place = |n: u64| start.wrapping_add(n.wrapping_mul(STRIDE)) % blocks;
    for n in 0..blocks {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let block = place(n);
        let version = log.begin(block);
        stamps::stamp(&mut buffer, block, version);
        let written = device.write(block, &buffer);
        written.map_err(|e| anyhow!("writing block {block}: {e}"))?;
        log.answered(block, version);
        if random.below(4) == 0 {
            check(&device, &log, place(random.below(n + 1)), &mut buffer)?;
        }
        thread::sleep(BREATH);
    }
    Ok(Written { device, log })
}

fn check(device: &Direct, log: &Log, block: u64, buffer: &mut Block) -> Result<()> {
    let read = device.read(block, buffer);
    read.map_err(|e| anyhow!("reading block {block}: {e}"))?;
    match log.wrong(block, stamps::read(buffer), Crash::Process) {
        Some(what) => Err(anyhow!("answered, not flushed, lost: {what}")),
        None => Ok(()),
    }
}
