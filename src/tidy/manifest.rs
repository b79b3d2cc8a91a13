//! Rules of manifests: what the pure crates may depend on, and what every crate says alike.

use crate::purity;
use crate::tests::Finding;

/// What any pure crate may use: none of these touches the world.
const COMMON: [&str; 5] = ["crc32c", "serde", "slab", "smallvec", "thiserror"];

/// Which of our crates each pure crate may use: dependencies point one way, and the checker knows
/// nothing of the allocator that it judges.
const OURS: [(&str, &[&str]); 5] = [
    ("layout", &[]),
    ("engine", &["layout"]),
    ("allocator", &["layout"]),
    ("checker", &["layout"]),
    ("replication", &["engine", "layout"]),
];

/// What is wrong with the manifest of a crate below `src`.
pub fn check(path: &str, text: &str) -> Vec<Finding> {
    let krate = path.split('/').nth(1).unwrap_or_default();
    let allowed = OURS.iter().find(|(name, _)| *name == krate);
    assert_eq!(allowed.is_some(), purity::CRATES.contains(&krate));
    let mut found = Vec::new();
    let mut say = |line, what: String| found.push(Finding::at(path, line, what));
    let mut section = "";
    for (line, number) in text.lines().zip(1..) {
        let line = line.trim();
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_matches(['[', ']']);
        }
        let Some(dependency) = dependency(section, line) else {
            continue;
        };
        if !line.contains("workspace = true") {
            let what = format!("{dependency} does not come from the workspace's manifest");
            say(number, what);
        }
        if let Some((_, ours)) = allowed
            && !section.contains("dev-dependencies")
            && !COMMON.contains(&dependency)
            && !ours.contains(&dependency)
        {
            say(
                number,
                format!("a pure crate may not depend on {dependency}"),
            );
        }
    }
    if !text.contains("[lints]\nworkspace = true") {
        say(1, "does not take the workspace's lints".to_owned());
    }
    found
}

/// The dependency that a line of a section names: `x.workspace = true`, `x = { ... }`, or a section
/// of its own.
fn dependency<'a>(section: &'a str, line: &'a str) -> Option<&'a str> {
    let (kind, own) = match section.rsplit_once("dependencies.") {
        Some((_, own)) => ("dependencies", Some(own)),
        None => (section, None),
    };
    if !kind.ends_with("dependencies") || line.is_empty() || line.starts_with(['#', '[']) {
        return None;
    }
    own.or_else(|| line.split(['.', ' ', '=']).next())
}
