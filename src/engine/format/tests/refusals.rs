//! What must not be believed, each with its own error: every single flipped bit of every structure,
//! a newer version, another disk, another place, a field that holds what it cannot hold.

use super::*;
use crate::format::superblock::SuperblockError;
use crate::format::{BlockError, VERSION, journal, put, seal};

/// Decodes a block of [`blocks`] in its own place.
fn decode(name: &str, b: &[u8]) -> Result<(), BlockError> {
    decode_at(name, b, DISK, 0)
}

/// Decodes a block of [`blocks`] as if it were on `disk`, `shift` places further on.
fn decode_at(name: &str, b: &[u8], disk: DiskUid, shift: u16) -> Result<(), BlockError> {
    let (slot, unit) = (SLOT + shift, UNIT + u32::from(shift));
    let home = PageHome {
        disk,
        segment: HOME.segment + u32::from(shift),
        ..HOME
    };
    match name {
        "object" | "object-free" => ObjectRecord::decode(b, disk, slot).map(drop),
        "header" | "header-free" => Header::decode(b, disk, unit, 64).map(drop),
        "page" => Page::decode(b, &home, 256).map(drop),
        "owner-1" => object::decode_owner_part(b, disk, slot, 1).map(drop),
        "owner-2" => object::decode_owner_part(b, disk, slot, 2).map(drop),
        "owner-3" => object::decode_owner_part(b, disk, slot, 3).map(drop),
        _ => panic!("{name} has no place of its own"),
    }
}

/// The blocks that begin as `begin_block` says: all but the superblock.
fn placed() -> impl Iterator<Item = (&'static str, Vec<u8>)> {
    blocks().into_iter().filter(|(n, _)| *n != "superblock")
}

fn flip(b: &mut [u8], bit: usize) {
    b[bit / 8] ^= 1 << (bit % 8);
}

#[test]
fn every_flipped_bit_of_every_block_is_refused() {
    let mut flips = 0;
    for (name, good) in placed() {
        assert_eq!(decode(name, &good), Ok(()), "{name}");
        let mut b = good.clone();
        for bit in 0..BLOCK * 8 {
            flip(&mut b, bit);
            let result = decode(name, &b);
            assert!(
                matches!(result, Err(BlockError::Checksum { .. })),
                "{name} with bit {bit} flipped: {result:?}"
            );
            flip(&mut b, bit);
            flips += 1;
        }
        assert_eq!(b, good);
    }
    assert_eq!(flips, 8 * 32_768);
}

#[test]
fn every_flipped_bit_of_the_superblock_is_refused() {
    let mut b = superblock().encode();
    for bit in 0..BLOCK * 8 {
        flip(&mut b, bit);
        match Superblock::decode(&b) {
            Err(SuperblockError::Absent) => assert!(bit < 64, "bit {bit} is not of the magic"),
            Err(SuperblockError::Block(BlockError::Checksum { .. })) => assert!(bit >= 64),
            other => panic!("bit {bit} flipped: {other:?}"),
        }
        flip(&mut b, bit);
    }
}

#[test]
fn every_flipped_bit_of_a_group_is_refused_but_those_of_its_padding() {
    let good = journal::encode(frame(FrameKind::Group), &payload());
    let end = journal::FRAME + payload().len();
    let whole = |b: &[u8]| {
        let frame = Frame::decode(b, DISK)?;
        frame.records(&b[journal::FRAME..])
    };
    let mut b = good.clone();
    let mut ignored = 0;
    for bit in 0..good.len() * 8 {
        flip(&mut b, bit);
        if bit < end * 8 {
            assert_eq!(whole(&b), None, "bit {bit} flipped");
        } else {
            assert_eq!(whole(&b), Some(Ok(records())), "bit {bit} is padding");
            ignored += 1;
        }
        flip(&mut b, bit);
    }
    // No field ends beyond the payload: what is ignored is the rest of the last block.
    assert_eq!(ignored, (2 * BLOCK - end) * 8);
}

#[test]
fn a_group_cut_short_is_as_if_never_written() {
    let good = journal::encode(frame(FrameKind::Group), &payload());
    let end = journal::FRAME + payload().len();
    for len in 0..end {
        let whole = Frame::decode(&good[..len], DISK)
            .and_then(|frame| frame.records(&good[journal::FRAME..len]));
        assert_eq!(whole, None, "{len} bytes");
    }
    for sector in 1..good.len() / 512 {
        let mut torn = good.clone();
        torn[sector * 512..].fill(0xa5);
        let frame = Frame::decode(&torn, DISK).unwrap();
        let expected = (sector * 512 >= end).then(|| Ok(records()));
        assert_eq!(frame.records(&torn[journal::FRAME..]), expected);
    }
}

#[test]
fn a_newer_version_is_refused_by_its_number() {
    for (name, mut b) in placed() {
        put(&mut b, 4, &(VERSION + 1).to_le_bytes());
        seal(&mut b);
        let refused = Err(BlockError::Version(VERSION + 1));
        assert_eq!(decode(name, &b), refused, "{name}");
    }
    let mut b = superblock().encode();
    put(&mut b, 8, &(VERSION + 1).to_le_bytes());
    seal(&mut b);
    let found = VERSION + 1;
    assert_eq!(
        Superblock::decode(&b),
        Err(SuperblockError::Version { found })
    );

    let mut b = journal::encode(frame(FrameKind::Group), &payload());
    put(&mut b, 4, &(VERSION + 1).to_le_bytes());
    let crc = crc32c::crc32c(&b[..60]);
    put(&mut b, 60, &crc.to_le_bytes());
    assert_eq!(Frame::decode(&b, DISK), None);
}

#[test]
fn a_block_of_another_disk_is_refused_by_its_name() {
    let other = DiskUid([1; 16]);
    for (name, b) in placed() {
        let refused = Err(BlockError::ForeignDisk(DISK));
        assert_eq!(decode_at(name, &b, other, 0), refused, "{name}");
    }
    let b = journal::encode(frame(FrameKind::Group), &payload());
    assert_eq!(Frame::decode(&b, other), None);
}

#[test]
fn a_block_from_another_place_is_refused_by_its_number() {
    for (name, b) in placed() {
        let found = match name {
            "page" => HOME.segment,
            "header" | "header-free" => UNIT,
            _ => SLOT.into(),
        };
        let expected = found + 1;
        let refused = Err(BlockError::Misplaced { found, expected });
        assert_eq!(decode_at(name, &b, DISK, 1), refused, "{name}");
    }
}

#[test]
fn a_block_of_another_kind_is_refused_by_its_magic() {
    let all: Vec<_> = placed().collect();
    for (name, _) in &all {
        for (other, b) in &all {
            let kind = |n: &str| n.split('-').next().map(str::to_owned);
            if kind(name) != kind(other) {
                let result = decode(name, b);
                let refused = matches!(result, Err(BlockError::Magic { .. }));
                assert!(refused, "{other} read as {name}: {result:?}");
            }
        }
    }
    let parts = owner_parts();
    assert_eq!(
        decode("owner-1", &parts[1]),
        Err(BlockError::Field {
            field: "part",
            value: 2
        })
    );
}

#[test]
fn a_field_that_cannot_be_is_refused_by_its_name() {
    // Which block, where in it, which bytes; the field that is named, the value.
    let cases: &[(&str, usize, &[u8], &str, u64)] = &[
        ("object", 6, &[2, 0], "state", 2),
        ("object", 76, &[17, 0, 0, 0], "held count", 17),
        ("object", 84, &[2, 0, 0, 0], "held epochs", 2),
        ("object", 68, &[3, 0, 0, 0], "region segments", 3),
        ("object", 68, &[0, 0, 0, 0], "region segments", 0),
        ("object", 64, &[0, 0, 1, 0], "region segments", 4),
        (
            "object",
            28,
            &[0xff, 0xff, 0, 0],
            "owner text bytes",
            65_535,
        ),
        ("object", 48, &[9], "path", 0x0002_0109),
        ("header", 6, &[2, 0], "state", 2),
        ("header", 6, &[0, 0], "state", 0),
        ("header", 30, &[63, 0], "segments", 63),
        ("header", 48, &[0], "path", 0x0002_0100),
        ("header", 64, &[3], "kind of segment", 3),
        ("page", 28, &[8, 0], "blocks", 8),
        ("page", 32, &[0; 8], "volume", 0),
        ("page", 48, &[1], "path", 1),
        ("page", 64, &[1], "location", 1 << 63 | 0x1234_5601),
        (
            "page",
            70,
            &[1],
            "location",
            1 << 63 | 1 << 48 | 0x1234_5600,
        ),
        ("owner-2", 28, &[0xff, 0xff], "bytes", 65_535),
    ];
    for (name, at, bytes, field, value) in cases {
        let (_, mut b) = placed().find(|(n, _)| n == name).unwrap();
        put(&mut b, *at, bytes);
        seal(&mut b);
        let (field, value) = (*field, *value);
        let refused = Err(BlockError::Field { field, value });
        assert_eq!(decode(name, &b), refused, "{name} at {at}");
    }
}

#[test]
fn a_superblock_field_that_cannot_be_is_refused_by_its_name() {
    let cases: &[(usize, &[u8], &str)] = &[
        (84, &[0, 0, 1, 0], "field slots holds 65536"),
        (128, &[2], "field clean holds 2"),
        (150, &[0xff], "field label holds 6"),
        (
            64,
            &[1],
            "size is 1073741825, it must be a multiple of 4,096",
        ),
        (72, &[3, 0, 0, 0], "blocks in a segment is 3"),
        (76, &[128, 0, 0, 0], "segments in a unit is 128"),
        (80, &[0, 0, 0, 0], "units is 0"),
        (80, &[0xff; 4], "units is 4294967295"),
        (80, &[16, 0, 0, 0], "1073741824 bytes are too few"),
        (84, &[0, 0, 0, 0], "object slots is 0"),
        (88, &[63, 0, 0, 0], "journal blocks is 63"),
    ];
    for (at, bytes, message) in cases {
        let mut b = superblock().encode();
        put(&mut b, *at, bytes);
        seal(&mut b);
        let refused = Superblock::decode(&b).unwrap_err().to_string();
        assert!(refused.contains(message), "at {at}: {refused}");
    }
}

#[test]
fn a_record_that_cannot_be_is_refused_by_its_field() {
    let owner = |part: u32| [&[1, 2][..], &(5 | part << 16).to_le_bytes()].concat();
    let cases: &[(Vec<u8>, &str)] = &[
        (vec![0], "kind holds 0"),
        (vec![10], "kind holds 10"),
        (vec![2, 5, 0, 2, 1, 0, 0, 0, 0], "mark holds 2"),
        (vec![2, 5, 0, 1, 2, 0, 0, 0, 0], "mark's state holds 2"),
        ([&[3][..], &[9; 20]].concat(), "kind of segment holds 9"),
        ([&[4][..], &[2; 13]].concat(), "validity holds 2"),
        ([&[5][..], &[1; 13]].concat(), "block count holds 257"),
        (vec![8, 5, 0, 9, 0, 0, 0, 17], "held count holds 17"),
        (
            vec![8, 5, 0, 9, 0, 0, 0, 2, 4, 0, 0, 0, 4, 0, 0, 0],
            "held epochs holds 4",
        ),
        (owner(0), "address holds 5"),
        (owner(4), "address holds 262149"),
        (vec![1, 1, 0, 0, 1, 0], "address holds 65536"),
        (vec![1, 5, 0, 0, 0, 0], "address holds 5"),
        (vec![1, 3, 0, 0, 0, 0, 7], "cut short"),
    ];
    for (bytes, message) in cases {
        let refused = Record::decode(&mut bytes.as_slice()).unwrap_err();
        assert!(refused.to_string().contains(message), "{refused}");
    }
    let all = payload();
    for record in records() {
        let mut bytes = Vec::new();
        record.encode(&mut bytes);
        for len in 0..bytes.len() {
            let refused = Record::decode(&mut &bytes[..len]).unwrap_err();
            assert!(refused.to_string().contains("cut short"), "{refused}");
        }
    }
    // Only images, the last of the sample, may stand there uncounted.
    for (counted, sound) in [(7, false), (8, true), (9, true), (10, false)] {
        let frame = Frame {
            records: counted,
            ..frame(FrameKind::Entry)
        };
        let b = journal::encode(frame, &all);
        let read = Frame::decode(&b, DISK).unwrap().records(&all).unwrap();
        if sound {
            assert_eq!(read, Ok(records()));
        } else {
            let message = format!("a record's count in its frame holds {counted}");
            assert_eq!(read.unwrap_err().to_string(), message);
        }
    }
}
