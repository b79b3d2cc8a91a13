//! What the tests of the command line share: running it, and disk files to run it on.

#![allow(dead_code, clippy::unwrap_used)] // each test uses its part; helpers of tests are tests

use engine::format::geometry::GeometryChoice;
use engine::format::header::{Descriptor, Grant, Header};
use engine::format::object::{ObjectRecord, Regions, encode_owner};
use engine::format::page::{Page, PageHome};
use engine::format::{BLOCK, Geometry, MetaAddr};
use engine::leaf::LegsRecord;
use layout::{DiskUid, Epoch, Generation, ObjectPath, VolumeUid};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

pub const SIZE: u64 = 256 << 20;
pub const DISK: DiskUid = DiskUid([0xd1; 16]);
pub const VOLUME: VolumeUid = VolumeUid([0xab; 16]);

/// What a run said.
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

pub fn stratovol(args: &[&str]) -> Ran {
    let output = Command::new(env!("CARGO_BIN_EXE_stratovol"))
        .args(args)
        .output()
        .unwrap();
    Ran {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Runs it on a file that it must not change: not its length, not its time of change, not a byte of
/// its metadata, which ends before the first 8 MiB do.
pub fn unchanged(args: &[&str], path: &Path) -> Ran {
    let state = || {
        let metadata = std::fs::metadata(path).unwrap();
        let mut head = vec![0; metadata.len().min(8 << 20) as usize];
        File::open(path)
            .unwrap()
            .read_exact_at(&mut head, 0)
            .unwrap();
        (metadata.len(), metadata.modified().unwrap(), head)
    };
    let before = state();
    let ran = stratovol(args);
    let same = before == state();
    assert!(same, "{} was changed by {args:?}", path.display());
    ran
}

pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A folder with one empty disk in it.
pub fn formatted() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk");
    let args = [
        "format",
        text(&path),
        "--size",
        "256 MiB",
        "--label",
        "rack a",
        "--uid",
        &DISK.to_string(),
    ];
    let ran = stratovol(&args);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    (folder, path)
}

pub fn geometry() -> Geometry {
    Geometry::plan(SIZE, GeometryChoice::for_size(SIZE)).unwrap()
}

pub fn write(path: &Path, offset: u64, bytes: &[u8]) {
    let file = File::options().write(true).open(path).unwrap();
    file.write_all_at(bytes, offset).unwrap();
}

pub fn block(path: &Path, offset: u64) -> Vec<u8> {
    let mut block = vec![0; BLOCK];
    let file = File::open(path).unwrap();
    file.read_exact_at(&mut block, offset).unwrap();
    block
}

/// A disk with one object on it: 100 MiB of two units, one segment in one piece, one with a page.
pub fn with_object() -> (tempfile::TempDir, PathBuf) {
    let (folder, path) = formatted();
    let g = geometry();
    let owner = "kind: VolumeIntent\nmetadata: {name: orders}\n";
    let at = ObjectPath::ROOT.child(0).unwrap().child(1).unwrap();
    let mut record = ObjectRecord {
        volume: VOLUME,
        path: at,
        generation: Generation(3),
        segments: 100,
        region_segments: 1,
        epoch: Epoch(5),
        held: vec![Epoch(2), Epoch(4)],
        legs: LegsRecord::default(),
        owner_len: owner.len() as u32,
        owner_crc: crc32c::crc32c(owner.as_bytes()),
        dirty: Regions::default(),
        resync: Regions::default(),
    };
    record.dirty.set(7, true);
    let put = |addr, bytes: &[u8]| write(&path, g.meta_offset(addr), bytes);
    put(MetaAddr::Object(1), &record.encode(DISK, 1));
    let parts = encode_owner(owner.as_bytes(), DISK, 1).unwrap();
    put(MetaAddr::Owner(1, 1), &parts[0]);
    for unit in 0..2 {
        let mut header = Header::free(g.unit_segments);
        header.grant = Some(Grant {
            slot: 1,
            volume: VOLUME,
            path: at,
            generation: Generation(3),
        });
        if unit == 0 {
            let birth = Epoch(1);
            header.segments[0] = Descriptor::Run { logical: 0, birth };
            header.segments[1] = Descriptor::Page { logical: 9 };
        }
        put(MetaAddr::Header(unit), &header.encode(DISK, unit));
    }
    let mut page = Page::new(9, g.segment_blocks, false, Epoch(1));
    page.set(3, 10, true, Epoch(5));
    let home = PageHome {
        disk: DISK,
        volume: VOLUME,
        path: at,
        segment: 1,
        first_block: g.data_block(1, 0),
    };
    put(MetaAddr::Page(1), &page.encode(&home));
    (folder, path)
}
