//! What the pure crates may not name. Their manifests keep other crates out; this keeps out what
//! the standard library brings along. Their tests may use files and processes.

use crate::source;
use crate::tests::Finding;

/// The crates that decide and never act.
pub const CRATES: [&str; 5] = ["layout", "engine", "allocator", "checker", "replication"];

/// Modules of the standard library that touch the world.
const MODULES: [&str; 7] = ["fs", "net", "thread", "process", "env", "io", "os"];

/// Words that bring in a clock, chance, an order that differs from run to run, or waiting.
const WORDS: [&str; 14] = [
    "Instant",
    "SystemTime",
    "HashMap",
    "HashSet",
    "RandomState",
    "async",
    "await",
    "tokio",
    "rand",
    "unsafe",
    "println",
    "eprintln",
    "Mutex",
    "RwLock",
];

/// Whether the rules here are for this file.
pub fn applies(path: &str) -> bool {
    let mut parts = path.split('/');
    let krate = (parts.next() == Some("src"))
        .then(|| parts.next())
        .flatten();
    path.ends_with(".rs") && krate.is_some_and(|k| CRATES.contains(&k)) && !source::is_test(path)
}

/// What a pure file names and may not.
pub fn check(path: &str, text: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    // Inside `std::{ ... }`, which may go over several lines.
    let mut group = false;
    for (number, line) in source::code(text) {
        let mut say = |what: &str| {
            let what = format!("a pure crate names {what}");
            found.push(Finding::at(path, number, what));
        };
        for word in WORDS.iter().filter(|w| has_word(line, w)) {
            say(word);
        }
        group |= line.contains("std::{");
        for module in MODULES {
            if line.contains(&format!("std::{module}")) && has_word(line, module)
                || group && has_word(line, module)
            {
                say(&format!("std::{module}"));
            }
        }
        group &= !line.contains('}');
    }
    found
}

fn has_word(line: &str, word: &str) -> bool {
    line.split(|c: char| !(c.is_alphanumeric() || c == '_'))
        .any(|w| w == word)
}
