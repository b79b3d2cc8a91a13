//! `keeper`: the process that holds what the kernel would take away with a dead data plane.

use std::path::PathBuf;

/// Hold FUSE connections, loop devices and volatile logs for the data plane of this node.
///
/// Its end takes every attached volume with it: it has no reason to be restarted, and is not part
/// of an upgrade.
#[derive(clap::Args)]
pub struct Args {
    /// Where its socket shall be
    #[arg(long)]
    socket: PathBuf,
}

impl Args {
    /// Runs until it is told to end.
    pub fn run(self) -> anyhow::Result<u8> {
        let socket = self.socket;
        dataplane::keeper::main(&dataplane::keeper::Args { socket })?;
        Ok(0)
    }
}
