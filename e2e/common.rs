//! What every test program here begins with: its common arguments, and where the program under test
//! is.

use crate::random;
use crate::scratch::Scratch;
use anyhow::{Context, Result, bail};
use std::path::PathBuf;

/// Arguments that all have.
#[derive(clap::Args, Clone, Debug)]
pub struct Common {
    /// The program under test; by default the one that was built beside this one.
    #[arg(long)]
    pub program: Option<PathBuf>,
    /// Where disk files, mounts and logs lie while it runs.
    #[arg(long, default_value = "build/scratch")]
    pub scratch: PathBuf,
    /// Leave disk files and logs behind.
    #[arg(long)]
    pub keep: bool,
    /// Repeats the choices of an earlier run.
    #[arg(long)]
    pub seed: Option<u64>,
}

impl Common {
    /// Prints the seed and the command that repeats it; the seed.
    pub fn seed(&self) -> u64 {
        let seed = self.seed.unwrap_or_else(random::fresh_seed);
        let words: Vec<String> = std::env::args().collect();
        let again = match self.seed {
            Some(_) => words.join(" "),
            None => format!("{} --seed {seed}", words.join(" ")),
        };
        println!("seed {seed}; again: {again}");
        seed
    }

    /// A scratch directory.
    ///
    /// # Errors
    /// Where it cannot be made, or this is not root.
    pub fn scratch(&self) -> Result<Scratch> {
        if !std::fs::read_to_string("/proc/self/status")?.contains("\nUid:\t0\t") {
            bail!("mounts and loop devices need root");
        }
        Scratch::new(&self.scratch, self.keep)
    }

    /// The program under test.
    ///
    /// # Errors
    /// Where it is not built.
    pub fn program(&self) -> Result<PathBuf> {
        let beside = || Some(std::env::current_exe().ok()?.parent()?.join("stratovol"));
        let program = self.program.clone().or_else(beside).context("no program")?;
        let found = program.canonicalize();
        found.with_context(|| format!("{} (cargo build --release -p cli)", program.display()))
    }
}
