//! The tree keeps the rules, and each rule notices what breaks it.

use crate::tree::{SourceFile, files, root};
use crate::{manifest, purity, source, text};
use std::fmt;

/// One thing that is wrong.
#[derive(Debug, PartialEq, Eq)]
pub struct Finding {
    path: String,
    line: usize,
    what: String,
}

impl Finding {
    /// Wrong in this line of this file.
    pub fn at(path: &str, line: usize, what: String) -> Self {
        Finding {
            path: path.to_owned(),
            line,
            what,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.what)
    }
}

fn assert_none(findings: impl Iterator<Item = Finding>) {
    let lines: Vec<_> = findings.map(|f| f.to_string()).collect();
    assert!(
        lines.is_empty(),
        "{} found:\n{}",
        lines.len(),
        lines.join("\n")
    );
}

fn tree() -> Vec<SourceFile> {
    let files = files(&root());
    assert!(files.iter().any(|f| f.path == "src/tidy/tests.rs"));
    files
}

#[test]
fn every_text_is_clean() {
    assert_none(tree().iter().flat_map(|f| text::check(&f.path, &f.text)));
}

#[test]
fn every_source_file_is_headed_short_and_in_its_place() {
    let files = tree();
    let paths: Vec<_> = files.iter().map(|f| f.path.as_str()).collect();
    let sources = files.iter().filter(|f| f.path.ends_with(".rs"));
    let found = sources.flat_map(|f| source::check(&f.path, &f.text));
    assert_none(found.chain(source::check_places(&paths)));
}

#[test]
fn pure_crates_are_pure() {
    let files = tree();
    let pure: Vec<_> = files.iter().filter(|f| purity::applies(&f.path)).collect();
    assert!(pure.iter().any(|f| f.path == "src/layout/lib.rs"));
    assert_none(pure.iter().flat_map(|f| purity::check(&f.path, &f.text)));
}

#[test]
fn manifests_keep_the_walls() {
    let files = tree();
    let is_crate = |p: &str| p.starts_with("src/") && p.ends_with("/Cargo.toml");
    let manifests: Vec<_> = files.iter().filter(|f| is_crate(&f.path)).collect();
    assert!(manifests.len() >= 3);
    let found = manifests.iter();
    assert_none(found.flat_map(|f| manifest::check(&f.path, &f.text)));
}

/// What a rule says of a text, without its place.
fn said(findings: &[Finding]) -> Vec<&str> {
    findings.iter().map(|f| f.what.as_str()).collect()
}

#[test]
fn text_that_breaks_a_rule_is_noticed() {
    let long = "x".repeat(101);
    let cases = [
        ("a.rs", "fn f() {} \n", "white space at the end"),
        ("a.rs", "x", "no end of line at the end"),
        ("Makefile", &format!("{long}\n"), "101 columns, at most 100"),
        (
            "a.md",
            concat!("FIX", "ME\n"),
            concat!("unfinished: FIX", "ME"),
        ),
        (
            "a.md",
            concat!("see /wo", "rk/x\n"),
            concat!("names a place of one machine: /wo", "rk/"),
        ),
    ];
    for (path, bad, what) in cases {
        assert_eq!(said(&text::check(path, bad)), [what]);
    }
    let message = format!("say(\"{long}\");\n");
    assert_eq!(text::check("a.rs", &message), []);
    let good = ["net/wo", "rk/x\n"].concat();
    assert_eq!(text::check("a.rs", &good), []);
    assert_eq!(text::check("a.md", &format!("{long}\n")), []);
    let lock = "source = \"registry+https://elsewhere/index\"\n";
    assert_eq!(text::check("Cargo.lock", lock).len(), 1);
}

#[test]
fn a_source_file_that_breaks_a_rule_is_noticed() {
    let long = format!("//! Head.\n{}", "let x = 1;\n".repeat(401));
    assert_eq!(
        said(&source::check("src/a/b.rs", &long)),
        ["401 lines of code, at most 400"]
    );
    assert_eq!(source::check("src/a/tests.rs", &long), []);
    let commented = format!("//! Head.\n{}", "// why\n\n".repeat(401));
    assert_eq!(source::check("src/a/b.rs", &commented), []);
    assert_eq!(source::check("src/a/b.rs", "fn f() {}\n").len(), 1);

    let places = [
        "src/a/b.rs",
        "src/a/b/c.rs",
        "src/a/d/mod.rs",
        "src/e/src/f.rs",
    ];
    let found = source::check_places(&places);
    assert_eq!(
        said(&found),
        [
            "a module with a folder lies in it, as src/a/b/mod.rs",
            "a crate has no src folder of its own"
        ]
    );
}

#[test]
fn an_impure_file_is_noticed() {
    for bad in [
        "use std::fs;",
        "use std::fs::File;",
        "use std::{fmt, net};",
        "use std::{\n    fmt,\n    thread,\n};",
        "let t = std::time::Instant::now();",
        "use std::collections::{BTreeMap, HashMap};",
        "pub async fn f() {}",
        "let x = \"//\"; use std::env;",
    ] {
        let text = format!("//! Head.\n{bad}\n");
        assert_eq!(purity::check("src/engine/a.rs", &text).len(), 1, "{bad}");
    }
    for good in [
        "use std::{fmt, mem};",
        "// no thread, no std::fs, no HashMap",
        "let x = std::fmt::Error; // like std::io",
        "let brand = random;",
        "\n#[cfg(test)]\nmod tests {\n    use std::fs;\n}",
    ] {
        let text = format!("//! Head.\n{good}\n");
        assert_eq!(purity::check("src/engine/a.rs", &text), [], "{good}");
    }
    assert!(purity::applies("src/engine/store/mod.rs"));
    assert!(!purity::applies("src/engine/store/tests.rs"));
    assert!(!purity::applies("src/dataplane/lib.rs"));
}

#[test]
fn a_manifest_that_breaks_a_wall_is_noticed() {
    let lints = "[lints]\nworkspace = true\n";
    let check = |path: &str, lines: &str| {
        let found = manifest::check(path, &format!("{lines}{lints}"));
        found.into_iter().map(|f| f.what).collect::<Vec<_>>()
    };
    let engine = "src/engine/Cargo.toml";
    let tokio = ["a pure crate may not depend on tokio"];
    assert_eq!(
        check(engine, "[dependencies]\ntokio.workspace = true\n"),
        tokio
    );
    assert_eq!(
        check(engine, "[dependencies.tokio]\nworkspace = true\n"),
        tokio
    );
    let target = "[target.'cfg(unix)'.dependencies]\nlibc.workspace = true\n";
    assert_eq!(
        check(engine, target),
        ["a pure crate may not depend on libc"]
    );
    let allocator = "[dependencies]\nallocator.workspace = true\n";
    let wall = ["a pure crate may not depend on allocator"];
    assert_eq!(check("src/checker/Cargo.toml", allocator), wall);
    assert_eq!(check("src/cli/Cargo.toml", allocator).len(), 0);
    let dev = "[dev-dependencies]\ntempfile.workspace = true\n";
    assert_eq!(check(engine, dev).len(), 0);
    assert_eq!(
        check("src/cli/Cargo.toml", "[dependencies]\nclap = \"4\"\n"),
        ["clap does not come from the workspace's manifest"]
    );
    let bare = manifest::check("src/cli/Cargo.toml", "[dependencies]\n");
    assert_eq!(said(&bare), ["does not take the workspace's lints"]);
}
