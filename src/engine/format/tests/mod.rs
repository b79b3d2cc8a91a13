//! Tests of the disk format: one sample of every structure, and what is done to it.
//!
//! `golden`: today's code reads yesterday's bytes. `refusals`: every flipped bit, every wrong
//! identity, every impossible field. `features`: the feature words. `places`: the geometry.
//! `foreign`: other people's signatures. `random`: the fuzz entry points under seeded input.

mod features;
mod foreign;
mod golden;
mod places;
mod random;
mod refusals;

use super::header::{Descriptor, Grant, Header};
use super::journal::{Frame, FrameKind};
use super::object::{self, ObjectRecord, Regions};
use super::page::{Page, PageHome};
use super::record::{Mark, Record};
use super::superblock::Superblock;
use super::{BLOCK, Geometry, MetaAddr};
use crate::leaf::LegsRecord;
use layout::{DiskUid, Epoch, Generation, ObjectPath, VolumeUid};

const DISK: DiskUid = DiskUid(*b"0123456789abcdef");
const VOLUME: VolumeUid = VolumeUid(*b"fedcba9876543210");
const SLOT: u16 = 5;
const UNIT: u32 = 9;

fn path() -> ObjectPath {
    ObjectPath::ROOT.child(1).unwrap().child(2).unwrap()
}

fn superblock() -> Superblock {
    Superblock {
        disk: DISK,
        sequence: 0x0102_0304_0506_0708,
        compatible: 0x8000_0000_0000_0001,
        read_only: 0,
        incompatible: 0,
        geometry: Geometry {
            size: 1 << 30,
            segment_blocks: 256,
            unit_segments: 64,
            units: 15,
            slots: 64,
            journal_blocks: 1024,
        },
        tail: 12_345,
        first_record: 67_890,
        incarnation: 42,
        term: 7,
        clean: true,
        created: 1_790_000_000,
        label: "rack a, größte".to_owned(),
    }
}

fn object_record() -> ObjectRecord {
    let mut legs = LegsRecord {
        generation: 11,
        stale: 0b0110,
        blank: 0b0100,
        ..LegsRecord::default()
    };
    legs.since[1] = Epoch(4);
    let (mut dirty, mut resync) = (Regions::default(), Regions::default());
    dirty.set(0, true);
    dirty.set(object::REGIONS - 1, true);
    resync.set(100, true);
    ObjectRecord {
        volume: VOLUME,
        path: path(),
        generation: Generation(3),
        segments: 1000,
        region_segments: 4,
        epoch: Epoch(8),
        held: vec![Epoch(2), Epoch(5), Epoch(7)],
        legs,
        owner_len: 9000,
        owner_crc: 0xdead_beef,
        dirty,
        resync,
    }
}

fn owner_text() -> Vec<u8> {
    (0..9000u32).map(|i| b'a' + (i % 26) as u8).collect()
}

fn owner_parts() -> Vec<Vec<u8>> {
    object::encode_owner(&owner_text(), DISK, SLOT).unwrap()
}

fn header() -> Header {
    let mut header = Header::free(64);
    header.grant = Some(Grant {
        slot: SLOT,
        volume: VOLUME,
        path: path(),
        generation: Generation(3),
    });
    header.segments[0] = Descriptor::Run {
        logical: 17,
        birth: Epoch(6),
    };
    header.segments[63] = Descriptor::Page { logical: 18 };
    header
}

const HOME: PageHome = PageHome {
    disk: DISK,
    volume: VOLUME,
    path: ObjectPath::ROOT,
    segment: 77,
    first_block: 0x1234_5600,
};

fn page() -> Page {
    let mut page = Page::new(18, 256, false, Epoch(0));
    page.set(0, 3, true, Epoch(6));
    page.set(255, 1, true, Epoch(8));
    page.set(1, 1, false, Epoch(7));
    page
}

/// One record of every kind.
fn records() -> Vec<Record> {
    let block = header().encode(DISK, UNIT);
    vec![
        Record::Mark {
            slot: SLOT,
            mark: Mark::Resync,
            on: true,
            region: 99,
        },
        Record::Segment {
            segment: 640,
            descriptor: header().segments[0],
        },
        Record::Page {
            segment: 641,
            logical: 18,
            valid: true,
            birth: Epoch(6),
        },
        Record::Blocks {
            segment: 641,
            first: 250,
            count: 6,
            valid: false,
            birth: Epoch(7),
        },
        Record::Term(7),
        Record::Legs {
            slot: SLOT,
            legs: object_record().legs,
        },
        Record::Epochs {
            slot: SLOT,
            running: Epoch(8),
            held: object_record().held,
        },
        Record::Unequal { slot: SLOT },
        Record::Image {
            addr: MetaAddr::Header(UNIT),
            block,
        },
    ]
}

fn payload() -> Vec<u8> {
    let mut bytes = Vec::new();
    records().iter().for_each(|r| r.encode(&mut bytes));
    bytes
}

/// A frame around [`records`], as it is given to the encoder: that fills in bytes and checksum.
fn frame(kind: FrameKind) -> Frame {
    Frame {
        kind,
        disk: DISK,
        incarnation: 42,
        counter: 12_345,
        first_record: 67_890,
        records: records().len() as u32,
        bytes: 0,
        crc: 0,
    }
}

/// Every fixed-place structure by name, one block each.
fn blocks() -> Vec<(&'static str, Vec<u8>)> {
    let free = Header::free(64);
    let mut all = vec![
        ("superblock", superblock().encode()),
        ("object", object_record().encode(DISK, SLOT)),
        ("object-free", ObjectRecord::encode_free(DISK, SLOT)),
        ("header", header().encode(DISK, UNIT)),
        ("header-free", free.encode(DISK, UNIT)),
        ("page", page().encode(&HOME)),
    ];
    let names = ["owner-1", "owner-2", "owner-3"];
    all.extend(names.into_iter().zip(owner_parts()));
    assert!(all.iter().all(|(_, b)| b.len() == BLOCK));
    all
}
