//! `stratovol`, the command line. Each subcommand is a file below `commands`; what they share is
//! beside this one. Nothing here decides: the pure crates do, this reads, asks them and prints.
//!
//! Exit codes: 0 done, 1 refused or failed, 64 wrong usage; `verify` has its own.

mod commands;
mod date;
mod demo;
mod file_disk;
mod table;
mod yaml;

use clap::{Parser, Subcommand};
use std::io::Write;
use std::process::ExitCode;

/// The command line is not to be understood (as in `sysexits.h`): told apart from what was found.
const USAGE: u8 = 64;

/// Block storage: volumes as trees of storage objects, placed by rules.
#[derive(Parser)]
#[command(name = "stratovol", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Demo(commands::demo::Args),
    Format(commands::format::Args),
    Inspect(commands::inspect::Args),
    Verify(commands::verify::Args),
    Plan(commands::plan::Args),
    Keeper(commands::node::KeeperArgs),
    Dataplane(commands::node::DataplaneArgs),
    #[command(hide = true)]
    Serve(commands::node::ServeArgs),
    #[command(hide = true)]
    LoopDevice(commands::node::LoopArgs),
    #[command(hide = true)]
    DemoApplication(commands::demo::ApplicationArgs),
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way too, and go to standard output.
            let code = if error.use_stderr() { USAGE } else { 0 };
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    let mut out = std::io::stdout();
    let result = match cli.command {
        Command::Demo(args) => args.run(&mut out),
        Command::Format(args) => args.run(&mut out),
        Command::Inspect(args) => args.run(&mut out),
        Command::Verify(args) => args.run(&mut out),
        Command::Plan(args) => args.run(&mut out),
        Command::Keeper(args) => args.run(),
        Command::Dataplane(args) => args.run(),
        Command::Serve(args) => args.run(),
        Command::LoopDevice(args) => args.run(),
        Command::DemoApplication(args) => args.run(&mut out),
    };
    let result = result.and_then(|code| {
        out.flush()?;
        Ok(code)
    });
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("stratovol: {error:#}");
            ExitCode::FAILURE
        }
    }
}
