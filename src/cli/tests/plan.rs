//! `plan` as it is run: the tree with the rule that decided each placement, and refusals in words.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod common;

use common::{Ran, stratovol, text};
use std::path::{Path, PathBuf};

fn example(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/examples");
    folder.join(name)
}

fn plan(intent: &Path, inventory: &Path, more: &[&str]) -> Ran {
    let args = [
        "plan",
        "--intent",
        text(intent),
        "--inventory",
        text(inventory),
    ];
    stratovol(&[&args, more].concat())
}

/// Plans with one of the examples changed.
fn changed(file: &str, from: &str, to: &str) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    let whole = std::fs::read_to_string(example(file)).unwrap();
    assert!(whole.contains(from), "{from}");
    let path = folder.path().join(file);
    std::fs::write(&path, whole.replace(from, to)).unwrap();
    match file {
        "intent.yaml" => plan(&path, &example("inventory.yaml"), &[]),
        _ => plan(&example("intent.yaml"), &path, &[]),
    }
}

#[test]
fn the_tree_is_drawn_with_the_rules_that_decided() {
    let ran = plan(&example("intent.yaml"), &example("inventory.yaml"), &[]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    for part in [
        "orders, 512 MiB",
        "stripe of 2, unit 1 MiB",
        "mirror of 2",
        "separate(enclosure)",
        "extents on a1",
        "extents on b2",
        "·",
    ] {
        assert!(ran.out.contains(part), "{part} in\n{}", ran.out);
    }
    let again = plan(&example("intent.yaml"), &example("inventory.yaml"), &[]);
    assert_eq!(ran.out, again.out);
}

#[test]
fn as_json_with_a_host() {
    let more = ["--json", "--host", "node-z"];
    let ran = plan(&example("intent.yaml"), &example("inventory.yaml"), &more);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let json: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(json["explanation"]["name"], "orders");
    assert_eq!(json["explanation"]["root"]["node"], "node-z");
    let steps = json["plan"]["steps"].as_array().unwrap();
    assert_eq!(steps.len(), 1);
    assert_eq!(steps[0]["granted"].as_object().unwrap().len(), 4);
}

#[test]
fn what_cannot_be_met_is_refused_in_words() {
    for (file, from, to, what) in [
        ("intent.yaml", "512 MiB", "1 TiB", "a1"),
        ("intent.yaml", "copies: 2", "copies: 3", "enclosure"),
        ("intent.yaml", "copies: 2", "copies: 0", "copies"),
        (
            "intent.yaml",
            "512 MiB",
            "-5 GiB",
            "a size cannot be negative",
        ),
        (
            "intent.yaml",
            "copies: 2",
            "copies: 2\n          colour: red",
            "unknown field",
        ),
        ("intent.yaml", "separate:", "scatter:", "scatter"),
        (
            "inventory.yaml",
            "name: a2",
            "name: a1",
            "the inventory is not valid",
        ),
        ("inventory.yaml", "units: 16", "units: many", "units"),
    ] {
        let ran = changed(file, from, to);
        assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{from} -> {to}");
        assert!(ran.err.contains(what), "{from} -> {to}: {}", ran.err);
        println!("{from} -> {to}: {}", ran.err.trim_end());
    }
    let ran = plan(Path::new("/nowhere"), &example("inventory.yaml"), &[]);
    assert_eq!(ran.code, 1);
    assert!(
        ran.err.contains("an intent /nowhere cannot be read"),
        "{}",
        ran.err
    );
    assert_eq!(stratovol(&["plan"]).code, 64);
    assert_eq!(stratovol(&["--help"]).code, 0);
}
