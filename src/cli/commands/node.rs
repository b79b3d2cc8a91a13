//! The processes of a node: `keeper`, `dataplane` (the parent) and what the parent starts.
//!
//! All of them find one another in one folder: `keeper.sock`, `control.sock`, `volumes/`.

use anyhow::Context;
use dataplane::disk::PowerCut;
use dataplane::{keeper, looped, parent, ring, run, server};
use std::ffi::OsString;
use std::path::PathBuf;

/// Hold what must outlive the data plane: the volumes' connections to the kernel.
///
/// Does nothing else and is not restarted: when it ends, so do the volumes. It refuses SIGTERM
/// while it holds any.
#[derive(clap::Args)]
pub struct KeeperArgs {
    /// The folder of the node's sockets and volumes
    #[arg(long)]
    dir: PathBuf,
}

/// Serve volumes: a parent that starts the I/O process again when it dies, and kills it when it
/// hangs.
///
/// SIGTERM ends both, SIGHUP has a new program take over under load.
#[derive(clap::Args)]
pub struct DataplaneArgs {
    #[command(flatten)]
    serve: ServeArgs,
    /// The program that the parent starts, looked up anew each time; this one if not given
    #[arg(long)]
    program: Option<PathBuf>,
}

/// The I/O process; the data plane's parent starts it.
#[derive(clap::Args)]
pub struct ServeArgs {
    /// The folder of the node's sockets and volumes
    #[arg(long)]
    dir: PathBuf,
    /// Requests under way at once, of all volumes: a power of two; each takes 1 MiB
    #[arg(long, default_value_t = ring::Size::default().slots)]
    slots: u16,
    /// For tests: keep unflushed writes in this process and lose some of them with it, chosen by
    /// this seed, as a power cut would
    #[arg(long, value_name = "SEED")]
    power_cut: Option<u64>,
}

/// Sets up or removes a loop device; the I/O process starts it.
#[derive(clap::Args)]
pub struct LoopArgs {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<OsString>,
}

impl KeeperArgs {
    /// Runs the keeper until it is told to end and holds nothing.
    pub fn run(&self) -> anyhow::Result<u8> {
        std::fs::create_dir_all(&self.dir)
            .with_context(|| format!("failed to make {}", self.dir.display()))?;
        let socket = self.dir.join("keeper.sock");
        keeper::main(&keeper::Args { socket }).context("keeper")?;
        Ok(0)
    }
}

impl DataplaneArgs {
    /// Runs the parent until it is told to end.
    pub fn run(&self) -> anyhow::Result<u8> {
        let program = match &self.program {
            Some(program) => program.clone(),
            None => std::env::current_exe().context("failed to find this program")?,
        };
        let mut command = vec![program.into_os_string(), "serve".into()];
        command.extend(self.serve.to_words());
        let limits = parent::Limits::default();
        parent::main(&parent::Args { command, limits }).context("data plane")?;
        Ok(0)
    }
}

impl ServeArgs {
    fn to_words(&self) -> Vec<OsString> {
        let slots = self.slots.to_string();
        let mut words = vec![
            "--dir".into(),
            self.dir.clone().into(),
            "--slots".into(),
            slots.into(),
        ];
        if let Some(seed) = self.power_cut {
            words.extend(["--power-cut".into(), seed.to_string().into()]);
        }
        words
    }

    /// Serves until told to end. The parent knows from the exit code that it refuses to start.
    pub fn run(&self) -> anyhow::Result<u8> {
        let dir = std::path::absolute(&self.dir)
            .with_context(|| format!("failed to find {}", self.dir.display()))?;
        let volumes = dir.join("volumes");
        std::fs::create_dir_all(&volumes)
            .with_context(|| format!("failed to make {}", volumes.display()))?;
        let program = std::env::current_exe().context("failed to find this program")?;
        let served = run::main(run::Args {
            keeper: dir.join("keeper.sock"),
            supervised: true,
            size: ring::Size { slots: self.slots },
            server: server::Config {
                control: dir.join("control.sock"),
                volumes,
                helper: vec![program.into(), "loop-device".into()],
                power_cut: self.power_cut.map(|seed| PowerCut { seed }),
            },
        });
        match served {
            Ok(()) => Ok(0),
            Err(error) => {
                eprintln!("dataplane: {error}");
                Ok(parent::REFUSED)
            }
        }
    }
}

impl LoopArgs {
    /// Does what the I/O process asked for.
    pub fn run(&self) -> anyhow::Result<u8> {
        let args = looped::Args::from_words(&self.words)?;
        looped::main(&args)?;
        Ok(0)
    }
}
