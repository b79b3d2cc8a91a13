//! The demo as it is run: for real, in memory, and interrupted; nothing stays behind.
//!
//! The real one needs root, /dev/fuse and loop devices; without them the demo says what is missing
//! and the test says that it saw less.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

fn demo(folder: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stratovol"));
    command.arg("demo").args(words).env("TMPDIR", folder);
    command
}

fn text(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr))
}

/// What is left of a demo that was run in `folder`: files, mounts, loop devices, processes.
fn left(folder: &Path) -> Vec<String> {
    let name = folder.to_str().unwrap();
    let mut left: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path().display().to_string())
        .collect();
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    left.extend(
        mounts
            .lines()
            .filter(|l| l.contains(name))
            .map(str::to_owned),
    );
    for device in std::fs::read_dir("/sys/block").unwrap() {
        let file = device.unwrap().path().join("loop/backing_file");
        let backing = std::fs::read_to_string(&file).unwrap_or_default();
        if backing.contains(name) {
            left.push(format!("{}: {backing}", file.display()));
        }
    }
    for process in std::fs::read_dir("/proc").unwrap() {
        let words = process.unwrap().path().join("cmdline");
        // One that is gone meanwhile is not left.
        let words = std::fs::read(&words).unwrap_or_default();
        let words = String::from_utf8_lossy(&words).into_owned();
        if words.contains(name) {
            left.push(words);
        }
    }
    left
}

/// Why the real demo cannot be run here, in its own words.
fn in_memory(out: &str) -> Option<&str> {
    out.lines()
        .find(|l| l.contains("In memory, without a block device"))
}

fn assert_shown(out: &str, all: &[&str]) {
    for part in all {
        assert!(out.contains(part), "{part} in\n{out}");
    }
    assert!(
        !out.contains('\x1b'),
        "colours, although nobody looks:\n{out}"
    );
}

const BOTH: [&str; 8] = [
    "kind: VolumeIntent",
    "/0 mirror of 2",
    "separate by enclosure: array-a | array-b",
    "Disk a1 in array-a fails",
    "/0.0 moves to disk a3 in array-a",
    "not to disk b3, empty and preferred as it is: in enclosure=array-b",
    "verify: 5 disks are clean",
    "All of it verified",
];

#[test]
fn it_ends_with_the_table_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let begin = Instant::now();
    let output = demo(folder.path(), &[]).output().unwrap();
    let (out, err) = text(&output);
    assert!(output.status.success(), "{out}\n{err}");
    assert_shown(&out, &BOTH);
    if let Some(why) = in_memory(&out) {
        eprintln!("only in memory: {}", why.trim());
    } else {
        assert_shown(
            &out,
            &[
                "kill 10: process",
                "every checksum as written",
                "e2fsck finds nothing wrong",
                "the failed one cannot be read",
            ],
        );
    }
    // A promise of the issue, and no tight one: it takes a tenth of that.
    let took = begin.elapsed();
    assert!(took < Duration::from_secs(60), "{took:?}");
    assert_eq!(left(folder.path()), Vec::<String>::new());
}

#[test]
fn in_memory_it_shows_the_same_rules() {
    let folder = tempfile::tempdir().unwrap();
    let output = demo(folder.path(), &["--memory"]).output().unwrap();
    let (out, err) = text(&output);
    assert!(output.status.success(), "{out}\n{err}");
    assert!(in_memory(&out).is_some(), "{out}");
    assert_shown(&out, &BOTH);
    assert_eq!(left(folder.path()), Vec::<String>::new());
}

#[test]
fn interrupted_anywhere_it_leaves_nothing() {
    // At the first line of each of these chapters, as Ctrl-C may come.
    for chapter in ["\n2. ", "\n3. ", "\n4. ", "\n5. ", "\n6. "] {
        let folder = tempfile::tempdir().unwrap();
        let mut child = demo(folder.path(), &[])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let out = read_until(&mut child, chapter);
        let pid = child.id().to_string();
        let killed = Command::new("kill").args(["-INT", &pid]).status().unwrap();
        assert!(killed.success());
        let output = child.wait_with_output().unwrap();
        let (_, err) = text(&output);
        assert_eq!(
            output.status.code(),
            Some(1),
            "at {chapter:?}: {out}\n{err}"
        );
        assert!(err.contains("interrupted"), "at {chapter:?}: {err}");
        assert_eq!(left(folder.path()), Vec::<String>::new(), "at {chapter:?}");
        if in_memory(&out).is_some() {
            eprintln!("only in memory: interrupted once");
            return;
        }
    }
}

#[test]
fn an_error_is_told_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = demo(folder.path(), &[])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let out = read_until(&mut child, "4. ");
    if in_memory(&out).is_some() {
        eprintln!("only in memory: there is no keeper to kill");
        let _ = child.wait_with_output();
        return;
    }
    // Without the keeper every request of the file system ends with an error.
    let keeper = keeper_of(child.id());
    let killed = Command::new("kill").args(["-KILL", &keeper]).status();
    assert!(killed.unwrap().success());
    let output = child.wait_with_output().unwrap();
    let (_, err) = text(&output);
    assert_eq!(output.status.code(), Some(1), "{out}\n{err}");
    assert!(err.contains("stratovol: "), "{err}");
    assert_eq!(left(folder.path()), Vec::<String>::new());
}

#[test]
fn what_is_not_as_it_was_written_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let size = 4 << 20;
    let mut bytes = vec![7; size];
    let list = format!("file {:08x}\n", crc32c::crc32c(&bytes));
    let check = |bytes: &[u8]| {
        std::fs::write(folder.path().join("file"), bytes).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_stratovol"))
            .args(["demo-application", "check"])
            .arg(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(list.as_bytes())
            .unwrap();
        let output = child.wait_with_output().unwrap();
        (output.status.code(), text(&output).1)
    };
    assert_eq!(check(&bytes), (Some(0), String::new()));
    bytes[size / 2] ^= 1;
    let (code, err) = check(&bytes);
    assert_eq!(code, Some(1));
    assert!(err.contains("file is not what was written"), "{err}");
    let (code, err) = check(&bytes[..size - 1]);
    assert_eq!(code, Some(1));
    assert!(err.contains("file has 4194303 bytes"), "{err}");
}

/// The keeper among the children of a demo.
fn keeper_of(demo: u32) -> String {
    let children = format!("/proc/{demo}/task/{demo}/children");
    let children = std::fs::read_to_string(children).unwrap();
    let is_keeper = |pid: &&str| {
        let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap();
        words.split(|b| *b == 0).nth(1) == Some(b"keeper".as_slice())
    };
    let keeper = children.split_whitespace().find(is_keeper);
    keeper.unwrap().to_owned()
}

/// Reads what the child prints until a text comes.
fn read_until(child: &mut std::process::Child, wanted: &str) -> String {
    use std::io::Read;
    let out = child.stdout.as_mut().unwrap();
    let (mut seen, mut byte) = (Vec::new(), [0]);
    while !String::from_utf8_lossy(&seen).contains(wanted) {
        let read = out.read(&mut byte).unwrap();
        assert_eq!(read, 1, "the demo ended before {wanted:?}");
        seen.push(byte[0]);
    }
    String::from_utf8_lossy(&seen).into_owned()
}
