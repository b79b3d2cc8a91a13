//! Bytes that version 1 wrote, kept as text in `golden/`: today's code must read them and write the
//! same. A line is an offset and sixteen bytes, lines of zeros are left out, the last names the
//! end.
//!
//! A golden file is never changed, only added to: another format has another version and new files.

use super::*;
use crate::format::journal;
use std::fmt::Write;

macro_rules! golden {
    ($name:literal) => {
        ($name, include_str!(concat!("golden/", $name, ".hex")))
    };
}

const GOLDEN: [(&str, &str); 11] = [
    golden!("superblock"),
    golden!("object"),
    golden!("object-free"),
    golden!("header"),
    golden!("header-free"),
    golden!("page"),
    golden!("owner-1"),
    golden!("owner-2"),
    golden!("owner-3"),
    golden!("group"),
    golden!("entry"),
];

fn to_text(bytes: &[u8]) -> String {
    let mut text = String::new();
    for (line, row) in bytes.chunks(16).enumerate() {
        if row.iter().any(|b| *b != 0) {
            write!(text, "{:04x}", line * 16).unwrap();
            row.iter().for_each(|b| write!(text, " {b:02x}").unwrap());
            text.push('\n');
        }
    }
    writeln!(text, "{:04x}", bytes.len()).unwrap();
    text
}

fn from_text(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in text.lines() {
        let mut words = line.split(' ');
        let at = usize::from_str_radix(words.next().unwrap(), 16).unwrap();
        bytes.resize(at, 0);
        bytes.extend(words.map(|w| u8::from_str_radix(w, 16).unwrap()));
    }
    bytes
}

fn yesterday(name: &str) -> Vec<u8> {
    let found = GOLDEN.iter().find(|(n, _)| *n == name);
    from_text(
        found
            .unwrap_or_else(|| panic!("no golden bytes of {name}"))
            .1,
    )
}

fn groups() -> [(&'static str, Vec<u8>); 2] {
    [("group", FrameKind::Group), ("entry", FrameKind::Entry)]
        .map(|(name, kind)| (name, journal::encode(frame(kind), &payload())))
}

#[test]
fn todays_code_writes_yesterdays_bytes() {
    let today: Vec<_> = blocks().into_iter().chain(groups()).collect();
    assert_eq!(today.len(), GOLDEN.len());
    for (name, bytes) in today {
        assert!(
            yesterday(name) == bytes,
            "{name} is written otherwise today; golden/{name}.hex would have to be\n{}",
            to_text(&bytes)
        );
    }
}

#[test]
fn todays_code_reads_yesterdays_bytes() {
    assert_eq!(
        Superblock::decode(&yesterday("superblock")),
        Ok(superblock())
    );
    assert_eq!(
        ObjectRecord::decode(&yesterday("object"), DISK, SLOT),
        Ok(Some(object_record()))
    );
    assert_eq!(
        ObjectRecord::decode(&yesterday("object-free"), DISK, SLOT),
        Ok(None)
    );
    assert_eq!(
        Header::decode(&yesterday("header"), DISK, UNIT, 64),
        Ok(header())
    );
    assert_eq!(
        Header::decode(&yesterday("header-free"), DISK, UNIT, 64),
        Ok(Header::free(64))
    );
    assert_eq!(Page::decode(&yesterday("page"), &HOME, 256), Ok(page()));
    let text: Vec<u8> = [("owner-1", 1), ("owner-2", 2), ("owner-3", 3)]
        .into_iter()
        .flat_map(|(name, part)| {
            let block = yesterday(name);
            object::decode_owner_part(&block, DISK, SLOT, part)
                .unwrap()
                .to_vec()
        })
        .collect();
    assert_eq!(text, owner_text());
}

#[test]
fn todays_code_reads_yesterdays_journal() {
    for (name, kind) in [("group", FrameKind::Group), ("entry", FrameKind::Entry)] {
        let bytes = yesterday(name);
        let read = Frame::decode(&bytes, DISK).unwrap();
        let asked = frame(kind);
        assert_eq!(
            read,
            Frame {
                bytes: payload().len() as u32,
                crc: crc32c::crc32c(&payload()),
                ..asked
            }
        );
        assert_eq!(read.records(&bytes[journal::FRAME..]), Some(Ok(records())));
        assert_eq!(read.blocks(), 2);
    }
    assert_eq!(yesterday("group").len(), 2 * BLOCK);
    assert_eq!(yesterday("entry").len(), journal::FRAME + payload().len());
}
