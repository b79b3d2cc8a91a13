//! `kill-test`: the data plane is killed with -9 under load.

use anyhow::Result;
use clap::{Parser, ValueEnum};
use e2e::common::Common;
use e2e::filesystem::FileSystem;
use e2e::survive::Blow;

/// Kill the data plane with -9 at random while fio verifies files on it: no I/O error, nothing
/// lost, pauses printed.
#[derive(Parser, Debug)]
struct Args {
    /// How often, on each file system.
    #[arg(long, default_value_t = 50)]
    kills: usize,
    /// On which.
    #[arg(long, value_enum, default_value_t = On::Both)]
    fs: On,
    #[command(flatten)]
    common: Common,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum On {
    Ext4,
    Xfs,
    Both,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let all = match args.fs {
        On::Ext4 => &[FileSystem::Ext4][..],
        On::Xfs => &[FileSystem::Xfs],
        On::Both => &[FileSystem::Ext4, FileSystem::Xfs],
    };
    e2e::survive::program(&args.common, all, Blow::Kill, args.kills)
}
