//! `demo`: the main job of the program on scratch disks, from intent to verified repair.

use crate::demo::{self, application};
use clap::Subcommand;
use std::io::Write;
use std::path::PathBuf;

/// Show it all on scratch disk files: place, write, kill, lose a disk, repair, verify. As root.
///
/// Takes less than a minute and leaves nothing behind. Without root the same volume is exercised in
/// memory. Exit code 1 if anything is not as it should be.
#[derive(clap::Args)]
pub struct Args {
    /// In memory, even as root
    #[arg(long)]
    memory: bool,
}

/// The application of the demo, a process of its own that may hang without the demo hanging.
#[derive(clap::Args)]
pub struct ApplicationArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Write files until standard input ends.
    Write { folder: PathBuf },
    /// Compare the files with the list at standard input.
    Check { folder: PathBuf },
}

impl Args {
    /// Runs it.
    pub fn run(self, out: &mut dyn Write) -> anyhow::Result<u8> {
        demo::run(self.memory, out)
    }
}

impl ApplicationArgs {
    /// Runs it.
    pub fn run(self, out: &mut dyn Write) -> anyhow::Result<u8> {
        match self.action {
            Action::Write { folder } => application::write(&folder, out)?,
            Action::Check { folder } => application::check(&folder, out)?,
        }
        Ok(0)
    }
}
