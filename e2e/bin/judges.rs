//! `judges`: fsx, fio verify, mkfs and check, fstrim.

use anyhow::{Result, ensure};
use clap::Parser;
use e2e::common::Common;
use e2e::judges::Judges;
use std::path::PathBuf;

/// Judges that nobody here wrote: fsx, fio verify, mkfs and check, fstrim.
#[derive(Parser, Debug)]
struct Args {
    /// Operations of fsx on each file system.
    #[arg(long, default_value_t = 20_000)]
    operations: u64,
    /// Where fsx is (cargo install fsx --root build/fsx).
    #[arg(long, default_value = "build/fsx/bin/fsx")]
    fsx: PathBuf,
    #[command(flatten)]
    common: Common,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let (seed, program) = (args.common.seed(), args.common.program()?);
    let fsx = args.fsx;
    ensure!(
        fsx.is_file(),
        "no fsx at {}: cargo install fsx --root build/fsx",
        fsx.display()
    );
    let scratch = args.common.scratch()?;
    let judges = Judges {
        fsx,
        operations: args.operations,
        seed,
    };
    judges.run(&program, scratch.path(), &mut |line| println!("{line}"))?;
    scratch.finish()
}
