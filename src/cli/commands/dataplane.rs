//! `dataplane`: the parent, and the two kinds of process that it and its child start from this same
//! program: the I/O process and the short-lived helper for loop devices.

use anyhow::Context;
use dataplane::{looped, parent, ring, run, server};
use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;

/// Serve the volumes of this node: starts the I/O process, and starts it again when it dies.
///
/// Signals: TERM finishes what was begun and ends; HUP replaces the I/O process by one of the
/// program that lies at this path by now.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    places: Places,
}

/// The I/O process. Its parent is at standard input.
#[derive(clap::Args)]
pub struct IoArgs {
    #[command(flatten)]
    places: Places,
}

/// The helper: KEEPER VOLUME attach FILE | KEEPER VOLUME resize | KEEPER VOLUME detach.
#[derive(clap::Args)]
pub struct LoopArgs {
    #[arg(required = true, trailing_var_arg = true)]
    words: Vec<OsString>,
}

#[derive(clap::Args)]
struct Places {
    /// The keeper's socket
    #[arg(long)]
    keeper: PathBuf,
    /// Where the control socket shall be
    #[arg(long)]
    control: PathBuf,
    /// A folder for the volumes' files
    #[arg(long)]
    volumes: PathBuf,
}

/// This program as it lies on disk.
fn program() -> anyhow::Result<OsString> {
    let path = std::env::current_exe().context("the path of this program is not known")?;
    Ok(path.into_os_string())
}

impl Args {
    /// Runs the parent until it is told to end.
    pub fn run(self) -> anyhow::Result<u8> {
        let mut command = vec![program()?, "dataplane-io".into()];
        let Places {
            keeper,
            control,
            volumes,
        } = self.places;
        for (name, path) in [
            ("--keeper", keeper),
            ("--control", control),
            ("--volumes", volumes),
        ] {
            command.extend([name.into(), path.into_os_string()]);
        }
        let limits = parent::Limits::default();
        parent::main(&parent::Args { command, limits })?;
        Ok(0)
    }
}

impl IoArgs {
    /// Runs the I/O process; the parent knows from the exit code that it refuses to start.
    pub fn run(self) -> anyhow::Result<u8> {
        let Places {
            keeper,
            control,
            volumes,
        } = self.places;
        let server = server::Config {
            control,
            volumes,
            helper: vec![program()?, "dataplane-loop".into()],
            power_cut: None,
        };
        let size = ring::Size::default();
        let args = run::Args {
            keeper,
            supervised: true,
            size,
            server,
        };
        match run::main(args) {
            Ok(()) => Ok(0),
            Err(error) => {
                eprintln!("dataplane: {error}");
                Ok(parent::REFUSED)
            }
        }
    }
}

impl LoopArgs {
    /// Does one thing, and prints the device.
    pub fn run(self, out: &mut dyn Write) -> anyhow::Result<u8> {
        let device = looped::Args::from_words(&self.words).and_then(|args| looped::main(&args))?;
        writeln!(out, "{}", device.path().display())?;
        Ok(0)
    }
}
