//! What the real tools put on a device is recognised: each makes an image in a temporary directory.
//! A tool that this machine lacks is named; `make setup` installs those that the project needs.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use engine::format::foreign::{HEAD, TAIL, detect};
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::process::{Command, Stdio};

/// The tool with its arguments, which the image's path follows; what it is fed; what must be found.
struct Case {
    tool: &'static str,
    arguments: &'static [&'static str],
    input: &'static str,
    found: &'static str,
}

const fn case(
    tool: &'static str,
    arguments: &'static [&'static str],
    input: &'static str,
    found: &'static str,
) -> Case {
    Case {
        tool,
        arguments,
        input,
        found,
    }
}

const CASES: &[Case] = &[
    case("mkfs.ext2", &["-q", "-F"], "", "ext4"),
    case("mkfs.ext4", &["-q", "-F"], "", "ext4"),
    case("mkfs.xfs", &["-q", "-f"], "", "XFS"),
    case("mkfs.btrfs", &["-q", "-f"], "", "Btrfs"),
    case("mkfs.vfat", &[], "", "FAT"),
    case("mkfs.f2fs", &["-q"], "", "F2FS"),
    case("mkswap", &["-q"], "", "swap"),
    case("sfdisk", &["-q"], "label: gpt\nsize=100M\n", "GPT"),
    case("sfdisk", &["-q"], "label: dos\nsize=100M\n", "MBR"),
    case(
        "cryptsetup",
        &[
            "luksFormat",
            "-q",
            "--pbkdf-force-iterations=4",
            "--pbkdf-memory=32",
            "--key-file=-",
        ],
        "secret",
        "LUKS",
    ),
];

const SIZE: u64 = 512 << 20;

/// Whether the tool is there; it must then succeed.
fn run(case: &Case, image: &Path) -> bool {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    let child = Command::new(case.tool)
        .args(case.arguments)
        .arg(image)
        .env("PATH", path)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(e) if e.kind() == ErrorKind::NotFound => return false,
        Err(e) => panic!("{}: {e}", case.tool),
    };
    let mut stdin = child.stdin.take().unwrap();
    // A tool that reads nothing may have ended already.
    let _ = stdin.write_all(case.input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {errors}", case.tool);
    true
}

fn ends(image: &mut File) -> (Vec<u8>, Vec<u8>) {
    let (mut head, mut tail) = (vec![0; HEAD], vec![0; TAIL]);
    image.seek(SeekFrom::Start(0)).unwrap();
    image.read_exact(&mut head).unwrap();
    image.seek(SeekFrom::End(-(TAIL as i64))).unwrap();
    image.read_exact(&mut tail).unwrap();
    (head, tail)
}

#[test]
fn what_real_tools_make_is_recognised() {
    let dir = tempfile::tempdir().unwrap();
    let mut tried = 0;
    for (i, case) in CASES.iter().enumerate() {
        let path = dir.path().join(format!("image-{i}"));
        let mut image = File::create_new(&path).unwrap();
        image.set_len(SIZE).unwrap();
        if !run(case, &path) {
            println!("not tried: {}: this machine has no such tool", case.tool);
            continue;
        }
        tried += 1;
        image = File::options().read(true).write(true).open(&path).unwrap();
        let (head, tail) = ends(&mut image);
        let found = detect(&head, &tail);
        let right = found.is_some_and(|f| f.contains(case.found));
        assert!(right, "{} made {}, found {found:?}", case.tool, case.found);
        if case.found == "GPT" {
            let backup = detect(&vec![0; HEAD], &tail);
            assert!(backup.is_some_and(|f| f.contains("backup")), "{backup:?}");
        }
    }
    println!("{tried} of {} images tried", CASES.len());
    assert!(tried > 0, "not one of the tools is there: make setup");
}
