//! `format`, `inspect` and `verify` as they are run: what they print, their exit codes, and that
//! nothing changes where they refuse or only look.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod common;

use common::*;
use engine::format::superblock::PLACES;
use engine::format::{BLOCK, MetaAddr};
use std::fs::File;

fn verify(path: &std::path::Path) -> Ran {
    unchanged(&["verify", text(path)], path)
}

#[test]
fn a_new_disk_is_clean_and_empty() {
    let (_folder, path) = formatted();
    let ran = verify(&path);
    assert_eq!(ran.code, 0, "{}", ran.out);
    assert!(ran.out.contains(": clean\n"), "{}", ran.out);
    assert!(ran.out.contains("units: 0 granted, 3 free"), "{}", ran.out);
    let ran = unchanged(&["inspect", text(&path)], &path);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert!(ran.out.contains(&format!("disk {DISK}")), "{}", ran.out);
    assert!(ran.out.contains("label     rack a"), "{}", ran.out);
    assert!(ran.out.contains("objects   0 of at most 64"), "{}", ran.out);
}

#[test]
fn an_object_is_shown_to_people_and_to_scripts() {
    let (_folder, path) = with_object();
    let ran = unchanged(&["inspect", text(&path)], &path);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    for part in [
        "3 of 64 MiB: 2 granted, 1 free",
        "1 in one piece, 1 with a page, 126 free",
        "/0.1",
        "0-1",
        "5 (2 held)",
        "1 dirty",
        "owner's text of slot 1",
        "    metadata: {name: orders}",
    ] {
        assert!(ran.out.contains(part), "{part} in\n{}", ran.out);
    }
    let ran = unchanged(&["inspect", text(&path), "--json"], &path);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let json: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(json["disk"], DISK.to_string());
    assert_eq!(json["dataBytes"], (256 + 10) * BLOCK);
    assert_eq!(json["objects"][0]["volume"], VOLUME.to_string());
    assert_eq!(json["objects"][0]["units"], serde_json::json!([[0, 2]]));
    assert_eq!(json["objects"][0]["sizeBytes"], 100 << 20);
    assert_eq!(json["objects"][0]["held"], serde_json::json!([2, 4]));
}

#[test]
fn verify_tells_damage_from_what_is_repaired() {
    let (_folder, path) = with_object();
    assert_eq!(verify(&path).code, 0);
    write(&path, PLACES[1] + 300, &[1]);
    let ran = verify(&path);
    assert_eq!(ran.code, 1);
    assert!(
        ran.out.contains("warning: the second superblock: "),
        "{}",
        ran.out
    );
    write(
        &path,
        geometry().meta_offset(MetaAddr::Header(2)) + 70,
        &[1],
    );
    write(&path, geometry().meta_offset(MetaAddr::Page(1)) + 70, &[1]);
    let ran = verify(&path);
    assert_eq!(ran.code, 2);
    assert!(ran.out.contains(": damaged\n"), "{}", ran.out);
    assert!(
        ran.out.contains("error: the header of unit 2: checksum 0x"),
        "{}",
        ran.out
    );
    assert!(
        ran.out
            .contains("error: the page of segment 1: checksum 0x"),
        "{}",
        ran.out
    );
    assert!(ran.out.contains("1 unknown"), "{}", ran.out);
    let ran = unchanged(&["inspect", text(&path)], &path);
    assert_eq!((ran.code, ran.out.as_str()), (1, ""));
    assert!(ran.err.contains("the header of unit 2"), "{}", ran.err);
    write(&path, PLACES[0], &[0; BLOCK]);
    write(&path, PLACES[1], &[0; BLOCK]);
    let ran = verify(&path);
    assert_eq!(ran.code, 3);
    assert!(
        ran.out.contains("no Stratovol superblock is there"),
        "{}",
        ran.out
    );
}

#[test]
fn verify_of_several_ends_with_the_worst() {
    let (_one, clean) = formatted();
    let (_two, other) = formatted();
    write(&other, geometry().meta_offset(MetaAddr::Object(0)), &[0]);
    let ran = stratovol(&["verify", text(&other), text(&clean)]);
    assert_eq!(ran.code, 2);
    assert!(ran.out.contains(&format!("{}: clean", text(&clean))));
    let ran = stratovol(&["verify", text(&clean), "/nowhere/at/all"]);
    assert_eq!(ran.code, 3);
    assert!(
        ran.out.contains("/nowhere/at/all: cannot be opened"),
        "{}",
        ran.out
    );
    let ran = stratovol(&["verify", "/dev/null"]);
    assert_eq!(ran.code, 3);
    assert!(
        ran.out
            .contains("neither a block device nor a regular file")
    );
    assert_eq!(stratovol(&["verify"]).code, 64);
}

#[test]
fn a_disk_cut_short_of_a_newer_version_or_with_anothers_superblock() {
    let (_folder, path) = formatted();
    let file = File::options().write(true).open(&path).unwrap();
    file.set_len(SIZE - 4096).unwrap();
    let ran = verify(&path);
    assert_eq!(ran.code, 2);
    let expected = "it has 268431360 bytes, its superblock says 268435456: it was cut short";
    assert!(ran.out.contains(expected), "{}", ran.out);
    file.set_len(SIZE).unwrap();
    let sound = block(&path, 0);
    let mut newer = sound.clone();
    newer[8] = 2;
    let crc = crc32c::crc32c(&newer[..BLOCK - 4]).to_le_bytes();
    newer[BLOCK - 4..].copy_from_slice(&crc);
    write(&path, 0, &newer);
    let ran = verify(&path);
    assert_eq!(ran.code, 3);
    assert!(
        ran.out
            .contains("format version 2, this program knows up to 1"),
        "{}",
        ran.out
    );
    let mut other = sound.clone();
    other[16] ^= 1;
    let crc = crc32c::crc32c(&other[..BLOCK - 4]).to_le_bytes();
    other[BLOCK - 4..].copy_from_slice(&crc);
    write(&path, 0, &other);
    let ran = verify(&path);
    assert_eq!(ran.code, 2);
    assert!(ran.out.contains("it belongs to disk d1d1"), "{}", ran.out);
}

#[test]
fn a_disk_in_use_is_not_looked_at() {
    let (_folder, path) = formatted();
    let claimed = File::open(&path).unwrap();
    claimed.lock().unwrap();
    let ran = verify(&path);
    assert_eq!(ran.code, 3);
    assert!(
        ran.out.contains(": in use by another process"),
        "{}",
        ran.out
    );
    let ran = unchanged(&["inspect", text(&path)], &path);
    assert_eq!(ran.code, 1);
    assert!(
        ran.err.contains(": in use by another process"),
        "{}",
        ran.err
    );
    let ran = unchanged(&["format", text(&path)], &path);
    assert_eq!(ran.code, 1);
    drop(claimed);
    let looking = File::open(&path).unwrap();
    looking.lock_shared().unwrap();
    assert_eq!(verify(&path).code, 0, "two may look at once");
    assert_eq!(unchanged(&["format", text(&path)], &path).code, 1);
}

#[test]
fn format_takes_only_what_holds_nothing() {
    let (folder, path) = formatted();
    let ran = unchanged(&["format", text(&path)], &path);
    assert_eq!(ran.code, 1);
    assert!(
        ran.err.contains(&format!("Stratovol disk {DISK} already")),
        "{}",
        ran.err
    );
    let ran = unchanged(&["format", text(&path), "--size", "1 GiB"], &path);
    assert_eq!(ran.code, 1);
    assert!(
        ran.err
            .contains("--size is for files that do not exist yet"),
        "{}",
        ran.err
    );
    let foreign: [(&str, usize, &[u8], &str); 4] = [
        (
            "ext4",
            0x438,
            &[0x53, 0xef],
            "an ext2, ext3 or ext4 file system",
        ),
        ("gpt", 512, b"EFI PART", "a GPT partition table"),
        ("lvm", 512, b"LABELONE", "an LVM physical volume"),
        ("unknown", 5000, b"something", "is not empty"),
    ];
    for (name, at, magic, what) in foreign {
        let path = folder.path().join(name);
        File::create(&path).unwrap().set_len(SIZE).unwrap();
        write(&path, at as u64, magic);
        let ran = unchanged(&["format", text(&path)], &path);
        assert_eq!(ran.code, 1);
        assert!(ran.err.contains(what), "{}", ran.err);
    }
    let empty = folder.path().join("empty");
    File::create(&empty).unwrap().set_len(SIZE + 1000).unwrap();
    let ran = stratovol(&["format", text(&empty)]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert!(
        ran.out.contains("3 units of 64 MiB, room for 64 objects"),
        "{}",
        ran.out
    );
    assert_eq!(verify(&empty).code, 0);
}

#[test]
fn what_cannot_be_formatted_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk");
    let label = "x".repeat(65);
    for (args, code, what) in [
        (vec!["--size", "1 MiB"], 1, "1048576 bytes are too few"),
        (vec!["--size=-5"], 64, "a size cannot be negative"),
        (vec!["--size", "9 XiB"], 64, "the unit is not one of"),
        (
            vec!["--size", "1 GiB", "--label", &label],
            1,
            "the label has 65 bytes",
        ),
        (
            vec!["--size", "1 GiB", "--uid", "12"],
            64,
            "is not a disk uid",
        ),
        (vec![], 1, "cannot be opened"),
    ] {
        let ran = stratovol(&[&["format", text(&path)], &args[..]].concat());
        assert_eq!(ran.code, code, "{args:?}: {}", ran.err);
        assert!(ran.err.contains(what), "{args:?}: {}", ran.err);
        assert!(!path.exists(), "{args:?}");
    }
}
