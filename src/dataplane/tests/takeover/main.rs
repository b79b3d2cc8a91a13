//! Real processes on real kernel interfaces: keeper, parent, I/O process, loop devices, and their
//! deaths. Each rule of the data path has a test here, or beside its module, that fails without it.
//!
//! Needs root and /dev/fuse; without them it says so and fails. One test at a time; a name on the
//! command line chooses.
#![allow(unsafe_code, clippy::unwrap_used, clippy::panic)]

mod engine_tests;
mod machine;
mod roles;
mod tests;
mod world;
mod writer;

use std::process::ExitCode;
use std::time::{Duration, Instant};

/// A test that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(100);

fn main() -> ExitCode {
    if let Some(code) = roles::run() {
        return code;
    }
    let filter = std::env::args()
        .skip(1)
        .find(|a| !a.starts_with('-'))
        .unwrap_or_default();
    if std::env::args().any(|a| a == "--list") {
        return ExitCode::SUCCESS;
    }
    let mut failed = 0;
    let all = tests::ALL.iter().chain(&engine_tests::ALL);
    for (name, test) in all.filter(|(name, _)| name.contains(&filter)) {
        let (tell, told) = std::sync::mpsc::channel();
        let watchdog = std::thread::spawn(move || {
            if told.recv_timeout(LIMIT).is_err() {
                eprintln!("test {name} ... hangs");
                world::kill_everything();
                std::process::exit(1);
            }
        });
        let start = Instant::now();
        let result = std::panic::catch_unwind(test);
        let _ = tell.send(());
        let _ = watchdog.join();
        let word = if result.is_ok() { "ok" } else { "FAILED" };
        println!(
            "test {name} ... {word} ({:.1} s)",
            start.elapsed().as_secs_f64()
        );
        failed += u32::from(result.is_err());
    }
    println!("{failed} failed");
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
