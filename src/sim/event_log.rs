//! What happened, in order: a running hash of it, and on demand the text.
//!
//! Two runs of one seed are the same run exactly if their hashes are equal.

use crate::rng::mix;
use engine::io::Now;

/// The log of a run.
#[derive(Debug, Default)]
pub struct EventLog {
    hash: u64,
    steps: u64,
    printing: bool,
}

impl EventLog {
    /// A log that prints each step.
    pub fn printing() -> Self {
        EventLog {
            printing: true,
            ..EventLog::default()
        }
    }

    /// A step: what kind, two numbers that tell it apart, and how to say it.
    pub fn note(&mut self, now: Now, kind: &'static str, what: [u64; 2], say: impl Fn() -> String) {
        self.steps += 1;
        for word in [now, kind.len() as u64, what[0], what[1]] {
            self.hash = mix(self.hash ^ word);
        }
        if self.printing {
            let (ms, ns) = (now / 1_000_000, now % 1_000_000);
            println!("{:>7} {ms:>6}.{ns:06} ms  {kind:<10} {}", self.steps, say());
        }
    }

    /// The hash of all steps so far.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// How many steps there were.
    pub fn steps(&self) -> u64 {
        self.steps
    }
}
