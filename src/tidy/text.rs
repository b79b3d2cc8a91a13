//! Rules of every text file.

use crate::tests::Finding;

/// Most columns of a line of code.
const COLUMNS: usize = 100;

/// Written apart, so that this file keeps its own rules.
const UNFINISHED: [&str; 4] = [
    concat!("to", "do!"),
    concat!("unimple", "mented!"),
    concat!("#[ig", "nore"),
    concat!("FIX", "ME"),
];

/// Folders of one machine, and hosts that one machine gets its packages from.
const PLACES: [&str; 8] = [
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
    concat!("/Us", "ers/"),
    concat!("index.crates", ".io"),
    concat!("static.crates", ".io"),
    concat!("deb.debian", ".org"),
    concat!("127.0.0.1", ":3128"),
];

/// The one place that dependencies come from.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// What is wrong with a text.
pub fn check(path: &str, text: &str) -> Vec<Finding> {
    if path.ends_with("Cargo.lock") {
        return check_lock(path, text);
    }
    let mut found = Vec::new();
    let mut say = |line: usize, what: String| found.push(Finding::at(path, line, what));
    for (line, number) in text.lines().zip(1..) {
        if line != line.trim_end() {
            say(number, "white space at the end".to_owned());
        }
        let columns = without_strings(line).chars().count();
        if is_code(path) && columns > COLUMNS {
            say(number, format!("{columns} columns, at most {COLUMNS}"));
        }
        for word in UNFINISHED.iter().filter(|w| line.contains(**w)) {
            say(number, format!("unfinished: {word}"));
        }
        for place in PLACES.iter().filter(|p| names_place(line, p)) {
            say(number, format!("names a place of one machine: {place}"));
        }
    }
    if !text.is_empty() && !text.ends_with('\n') {
        say(text.lines().count(), "no end of line at the end".to_owned());
    }
    found
}

/// A message or an example that is read in one piece is not cut in two: only what stands around
/// strings has to fit.
fn without_strings(line: &str) -> String {
    let outside = line.replace("\\\"", "");
    outside.split('"').step_by(2).collect()
}

/// Prose is broken where its author likes; what machines read is not.
fn is_code(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    !name.contains('.')
        || [".rs", ".toml", ".sh", ".py", ".yaml", ".yml"]
            .iter()
            .any(|end| name.ends_with(end))
}

/// A folder counts only where a path begins: `network/` is a word of ours.
fn names_place(line: &str, place: &str) -> bool {
    line.match_indices(place).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !place.starts_with('/') || !before.is_some_and(|c| c.is_alphanumeric() || "._-".contains(c))
    })
}

fn check_lock(path: &str, text: &str) -> Vec<Finding> {
    let lines = text.lines().zip(1..);
    lines
        .filter(|(line, _)| line.starts_with("source = ") && !line.contains(REGISTRY))
        .map(|(line, number)| Finding::at(path, number, format!("not from {REGISTRY}: {line}")))
        .collect()
}
