//! `powercut-test`: the power is cut under load.

use anyhow::Result;
use clap::Parser;
use e2e::common::Common;
use e2e::filesystem::FileSystem;
use e2e::powercut::Test;
use std::fs;

/// Cut the power at random: all that was flushed is there, disks and file systems are clean.
#[derive(Parser, Debug)]
struct Args {
    /// How often, in turn on ext4 and on xfs.
    #[arg(long, default_value_t = 50)]
    cuts: usize,
    #[command(flatten)]
    common: Common,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let (seed, program) = (args.common.seed(), args.common.program()?);
    let scratch = args.common.scratch()?;
    let shares = [
        (FileSystem::Ext4, args.cuts.div_ceil(2)),
        (FileSystem::Xfs, args.cuts / 2),
    ];
    for (file_system, cuts) in shares {
        let dir = scratch.path().join(file_system.name());
        fs::create_dir_all(&dir)?;
        let test = Test {
            cuts,
            file_system,
            seed,
        };
        let found = test.run(&program, &dir)?;
        println!(
            "{}: {cuts} power cuts; verify, file system check and mount clean",
            file_system.name()
        );
        println!(
            "  {} comparisons of blocks, {} of them flushed: all there",
            found.blocks, found.durable
        );
        println!(
            "  {} comparisons of files that were synced: all there",
            found.files
        );
    }
    scratch.finish()
}
