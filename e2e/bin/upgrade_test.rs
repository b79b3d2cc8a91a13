//! `upgrade-test`: a new program takes over under load.

use anyhow::Result;
use clap::Parser;
use e2e::common::Common;
use e2e::filesystem::FileSystem;
use e2e::survive::{self, Blow};

/// Upgrade the data plane while fio verifies files on it: no I/O error, nothing lost, pauses
/// printed.
#[derive(Parser, Debug)]
struct Args {
    /// How often.
    #[arg(long, default_value_t = 20)]
    count: usize,
    #[command(flatten)]
    common: Common,
}

fn main() -> Result<()> {
    let args = Args::parse();
    survive::program(&args.common, &[FileSystem::Ext4], Blow::Upgrade, args.count)
}
