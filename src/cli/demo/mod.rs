//! The demo: the main job of the program on scratch disks, told to a newcomer.
//!
//! As root everything is real: processes, block device, file system, failing disk (`live`).
//! Without root the same volume is placed by the same rules and exercised through the engine in
//! memory (`memory`), and the demo says so. Whatever is claimed was verified first: what is not as
//! it should be ends the demo with an error, and nothing stays behind either way.

pub mod application;
mod live;
mod memory;
mod place;
mod sys;
mod tell;

use crate::table::Table;
use place::{Placed, Replacement, TEMPTING};
use std::io::Write;
use std::path::Path;
use tell::Teller;

/// A row of the table at the end.
pub struct Shown {
    /// What was done.
    pub done: &'static str,
    /// What that proves.
    pub proves: &'static str,
    /// In figures.
    pub figures: String,
}

/// Runs the demo.
///
/// # Errors
/// Whatever was not as it should be.
pub fn run(in_memory: bool, out: &mut dyn Write) -> anyhow::Result<u8> {
    let mut tell = Teller::new(out);
    let missing = if in_memory {
        vec!["asked for with --memory".to_owned()]
    } else {
        missing()
    };
    sys::watch_signals();
    let shown = if missing.is_empty() {
        live::run(&mut tell)?
    } else {
        tell.say(format!(
            "In memory, without a block device: {}.",
            missing.join("; ")
        ));
        memory::run(&mut tell)?
    };
    let mut table = Table::new(&["what was done", "what it proves", "figures"]);
    for row in shown {
        table.row(vec![
            row.done.to_owned(),
            row.proves.to_owned(),
            row.figures,
        ]);
    }
    tell.chapter("What you have seen");
    tell.say(table.to_string());
    let seconds = tell.elapsed().as_secs_f64();
    tell.say(format!(
        "\nAll of it verified, in {seconds:.1} s. Nothing is left behind."
    ));
    Ok(0)
}

/// Tells what was decided, and what was not.
fn say_replacement(tell: &mut Teller<'_>, placed: &Placed, found: &Replacement) {
    tell.say(&found.why);
    let (by, place) = (placed.name(found.by), placed.enclosure(found.by));
    tell.say(format!("{} moves to disk {by} in {place}", found.leaf));
    let not = &found.not_the_tempting;
    tell.say(format!(
        "not to disk {TEMPTING}, empty and preferred as it is: {not}"
    ));
    tell.good("the checker finds nothing wrong with the new layout");
}

/// What the real thing needs and is not there.
fn missing() -> Vec<String> {
    if !sys::is_root() {
        return vec!["not root, so nothing can be mounted".to_owned()];
    }
    let mut missing = Vec::new();
    for device in ["/dev/fuse", "/dev/loop-control"] {
        let opened = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(device);
        if let Err(error) = opened {
            missing.push(format!("{device}: {error}"));
        }
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    for program in ["mkfs.ext4", "e2fsck", "mount", "umount", "fstrim"] {
        if !std::env::split_paths(&path).any(|folder| folder.join(program).exists()) {
            missing.push(format!("{program} is not installed"));
        }
    }
    if let Err(error) = std::fs::metadata(Path::new("/proc/self/mountinfo")) {
        missing.push(format!("/proc: {error}"));
    }
    missing
}
