//! Rules of Rust files: each opens by saying what it is, holds one subject, and lies where the
//! module tree says.

use crate::tests::Finding;

/// Most lines of code in a file, comments and tests not counted.
const CODE_LINES: usize = 400;

/// Whether a file holds nothing but tests.
pub fn is_test(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    path.contains("/tests/") || name == "tests.rs" || name.ends_with("_tests.rs")
}

/// The lines before the tests at the end of a file, numbered, without comments and blank lines.
pub fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let end = text
        .find("\n#[cfg(test)]\nmod tests {")
        .unwrap_or(text.len());
    text[..end]
        .lines()
        .zip(1..)
        .map(|(line, number)| (number, without_comment(line)))
        .filter(|(_, line)| !line.is_empty())
}

/// A line up to its comment; a mark inside a string (`"https://"`) begins none.
fn without_comment(line: &str) -> &str {
    let comment = line
        .match_indices("//")
        .map(|(at, _)| at)
        .find(|at| line[..*at].matches('"').count().is_multiple_of(2));
    line[..comment.unwrap_or(line.len())].trim()
}

/// What is wrong with a Rust file.
pub fn check(path: &str, text: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    if !text.starts_with("//!") {
        let what = "does not open with //! saying what it is".to_owned();
        found.push(Finding::at(path, 1, what));
    }
    let lines = code(text).count();
    if !is_test(path) && lines > CODE_LINES {
        let what = format!("{lines} lines of code, at most {CODE_LINES}");
        found.push(Finding::at(path, 1, what));
    }
    found
}

/// What is wrong with where the files lie; `paths` are all of them.
pub fn check_places(paths: &[&str]) -> Vec<Finding> {
    let mut found = Vec::new();
    for path in paths.iter().filter(|p| p.ends_with(".rs")) {
        let folder = format!("{}/", path.trim_end_matches(".rs"));
        let sources = paths.iter().filter(|p| p.ends_with(".rs"));
        if sources.into_iter().any(|p| p.starts_with(&folder)) {
            let what = format!("a module with a folder lies in it, as {folder}mod.rs");
            found.push(Finding::at(path, 1, what));
        }
        if path
            .strip_prefix("src/")
            .is_some_and(|p| p.contains("/src/"))
        {
            let what = "a crate has no src folder of its own".to_owned();
            found.push(Finding::at(path, 1, what));
        }
    }
    found
}
