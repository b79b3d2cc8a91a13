//! What `check` says of sound disks, and of every way in which a disk can be wrong, one at a time.

mod flips;
mod forged;

use super::*;
use crate::disk::MemDisk;
use crate::format::geometry::GeometryChoice;
use crate::format::header::{Descriptor, Header};
use crate::format::object::ObjectRecord;
use crate::format::page::Page;
use crate::format::superblock::{PLACES, SuperblockError};
use crate::format::{BLOCK, BlockError};
use crate::io::IoFault;
use crate::store::replay::{page_home, read_page};
use crate::store::tests::bench::{Bench, DISK};
use crate::store::{Config, Format, Store, format, read_superblock};
use layout::{DiskUid, Epoch, Generation};

const CHOICE: GeometryChoice = GeometryChoice {
    segment_blocks: 8,
    unit_segments: 4,
    slots: 3,
    journal_blocks: 64,
};
/// Room for five units.
const SIZE: u64 = 280 * BLOCK as u64;

/// A disk with two objects, runs, pages and a held epoch; the journal is empty.
fn settled() -> Bench {
    let mut b = Bench::with(SIZE, CHOICE);
    let first = b.grant_with(1, 6, &[0, 1], 5000);
    let second = b.grant_with(2, 4, &[3], 100);
    b.write(first, 0, &[1; 16]).unwrap().unwrap();
    b.write(first, 18, &[2; 3]).unwrap().unwrap();
    b.write(first, 33, &[3; 2]).unwrap().unwrap();
    b.write(second, 0, &[4; 8]).unwrap().unwrap();
    b.flush();
    b.call(|s, _, k| s.cut_epoch(second, k));
    b.write(second, 2, &[5; 2]).unwrap().unwrap();
    b.crash();
    b
}

/// The same with groups in the journal: changes of pages, of a header and of an object, no more
/// than leave the checkpoint for later.
fn flushed() -> Bench {
    let mut b = settled();
    b.write(0, 19, &[6; 4]).unwrap().unwrap();
    b.flush();
    b.write(0, 40, &[7; 8]).unwrap().unwrap();
    b.flush();
    b.write(0, 16, &[8; 3]).unwrap().unwrap();
    b.flush();
    assert_eq!(b.volatile, [0; 0]);
    b
}

fn closed() -> MemDisk {
    let mut b = flushed();
    b.close();
    b.disk
}

fn problems(disk: &mut MemDisk) -> Vec<Problem> {
    let report = check(disk, &[]);
    report.findings.into_iter().map(|f| f.problem).collect()
}

fn change_object(disk: &mut MemDisk, slot: u16, change: impl FnOnce(&mut ObjectRecord)) {
    let superblock = read_superblock(disk).unwrap();
    let at = superblock.geometry.meta_offset(MetaAddr::Object(slot));
    let mut block = vec![0; BLOCK];
    disk.read(at, &mut block).unwrap();
    let mut record = ObjectRecord::decode(&block, DISK, slot).unwrap().unwrap();
    change(&mut record);
    disk.write(at, &record.encode(DISK, slot)).unwrap();
}

fn change_header(disk: &mut MemDisk, unit: u32, change: impl FnOnce(&mut Header)) {
    let superblock = read_superblock(disk).unwrap();
    let at = superblock.geometry.meta_offset(MetaAddr::Header(unit));
    let mut block = vec![0; BLOCK];
    disk.read(at, &mut block).unwrap();
    let mut header = Header::decode(&block, DISK, unit, CHOICE.unit_segments).unwrap();
    change(&mut header);
    disk.write(at, &header.encode(DISK, unit)).unwrap();
}

fn change_page(disk: &mut MemDisk, segment: u32, change: impl FnOnce(&mut Page)) {
    let superblock = read_superblock(disk).unwrap();
    let geometry = &superblock.geometry;
    let mut block = vec![0; BLOCK];
    let unit = geometry.unit_of(segment);
    disk.read(geometry.meta_offset(MetaAddr::Header(unit)), &mut block)
        .unwrap();
    let header = Header::decode(&block, DISK, unit, CHOICE.unit_segments).unwrap();
    let home = page_home(&superblock, &header, segment).unwrap();
    let mut page = read_page(disk, &superblock, &home).unwrap();
    change(&mut page);
    let at = geometry.meta_offset(MetaAddr::Page(segment));
    disk.write(at, &page.encode(&home)).unwrap();
}

#[test]
fn sound_disks_are_clean_and_counted() {
    let mut b = flushed();
    let report = check(&mut b.disk, &b.volatile);
    assert_eq!(report.findings, []);
    assert_eq!((report.is_clean(), report.exit_code()), (true, 0));
    let expected = Statistics {
        objects: 2,
        units: 5,
        units_free: 2,
        units_granted: 3,
        units_unknown: 0,
        segments_run: 3,
        segments_paged: 3,
        segments_free: 6,
        segments_mapped: 6,
        blocks_valid: 3 * 8 + 7 + 2 + 8,
        journal: JournalUse {
            groups: 3,
            blocks: 3,
            records: 3,
            volatile_records: 0,
        },
    };
    assert_eq!(report.statistics, expected);
    b.write(0, 21, &[9; 3]).unwrap().unwrap();
    let report = check(&mut b.disk, &b.volatile);
    assert_eq!(report.findings, []);
    assert_eq!(report.statistics.journal.volatile_records, 2);
    assert_eq!(report.statistics.segments_run, 4, "its last block came");
    b.close();
    let report = check(&mut b.disk, &b.volatile);
    assert_eq!(report.findings, []);
    assert_eq!(report.statistics.journal, JournalUse::default());
    assert!(report.superblock.unwrap().clean);
}

#[test]
fn checking_never_writes() {
    let mut b = flushed();
    let before = b.disk.clone();
    change_object(&mut b.disk, 0, |o| o.epoch = Epoch(0));
    let changed = b.disk.clone();
    check(&mut b.disk, &b.volatile);
    let all: Vec<_> = b.disk.written().collect();
    assert_eq!(all, before.written().collect::<Vec<_>>());
    for block in all {
        let (mut now, mut then) = (vec![0; BLOCK], vec![0; BLOCK]);
        b.disk.read(block * BLOCK as u64, &mut now).unwrap();
        changed
            .clone()
            .read(block * BLOCK as u64, &mut then)
            .unwrap();
        assert_eq!(now, then, "block {block}");
    }
}

#[test]
fn objects_that_contradict_themselves() {
    let mut disk = closed();
    change_object(&mut disk, 0, |o| {
        o.dirty.set(6, true);
        o.resync.set(7, true);
        o.legs.stale = 0x101;
        o.legs.blank = 0b10;
        o.owner_crc ^= 1;
    });
    change_object(&mut disk, 1, |o| o.held = vec![Epoch(1), Epoch(9)]);
    let found = problems(&mut disk);
    let outside = |mark, region| Problem::MarkOutside {
        mark,
        region,
        regions: 6,
    };
    let (blank, stale) = (0b10, 0x101);
    assert_eq!(found[0], outside("dirty", 6));
    assert_eq!(found[1], outside("resync", 7));
    assert_eq!(found[2], Problem::StaleOutside { stale });
    assert_eq!(found[3], Problem::BlankNotStale { blank, stale });
    assert!(matches!(found[4], Problem::OwnerChecksum { .. }));
    let (held, running) = (Epoch(9), Epoch(2));
    assert_eq!(found[5..], [Problem::HeldAhead { held, running }]);
}

#[test]
fn owner_texts() {
    let mut disk = closed();
    change_object(&mut disk, 0, |o| o.owner_len = 5001);
    let superblock = read_superblock(&mut disk).unwrap();
    let part = superblock.geometry.meta_offset(MetaAddr::Owner(0, 2));
    disk.write(part, &[0; BLOCK]).unwrap();
    let report = check(&mut disk, &[]);
    assert!(matches!(
        report.findings[..],
        [Finding {
            place: Place::Block(MetaAddr::Owner(0, 2)),
            problem: Problem::Block(BlockError::Magic { .. } | BlockError::Checksum { .. }),
            ..
        }]
    ));
    change_object(&mut disk, 0, |o| o.owner_len = 4000);
    let (found, expected) = (4060, 4000);
    assert_eq!(
        problems(&mut disk),
        [Problem::OwnerLength { found, expected }]
    );
}

#[test]
fn units_that_contradict_their_objects() {
    let mut disk = closed();
    let (volume, path) = {
        let mut grant = None;
        change_header(&mut disk, 3, |h| {
            let g = h.grant.as_mut().unwrap();
            g.generation = Generation(2);
            grant = Some((g.volume, g.path));
        });
        grant.unwrap()
    };
    change_header(&mut disk, 4, |h| {
        h.grant = Some(crate::format::header::Grant {
            slot: 2,
            volume,
            path,
            generation: Generation(1),
        });
    });
    change_header(&mut disk, 2, |h| {
        h.grant = Some(crate::format::header::Grant {
            slot: 0,
            volume,
            path,
            generation: Generation(1),
        });
    });
    let (unit, object) = (Generation(2), Generation(1));
    assert_eq!(
        problems(&mut disk),
        [
            Problem::OtherOwner {
                slot: 0,
                volume,
                path
            },
            Problem::GenerationAhead { unit, object },
            Problem::Orphan {
                slot: 2,
                volume,
                path
            },
        ]
    );
}

#[test]
fn segments_and_births() {
    let mut disk = closed();
    change_header(&mut disk, 1, |h| {
        h.segments[2] = Descriptor::Run {
            logical: 0,
            birth: Epoch(1),
        };
        h.segments[3] = Descriptor::Run {
            logical: 6,
            birth: Epoch(3),
        };
    });
    let paged = {
        let mut paged = None;
        change_header(&mut disk, 3, |h| {
            let page = |d: &Descriptor| matches!(d, Descriptor::Page { .. });
            paged = h.segments.iter().position(page);
        });
        12 + paged.unwrap() as u32
    };
    change_page(&mut disk, paged, |p| {
        p.logical = 3;
        p.births[1] = Epoch(7);
    });
    let found = problems(&mut disk);
    let expected = [
        Problem::SegmentTwice {
            logical: 0,
            first: 0,
            second: 6,
        },
        Problem::PastEnd {
            segment: 7,
            logical: 6,
            segments: 6,
        },
        Problem::BirthAhead {
            segment: 7,
            birth: Epoch(3),
            running: Epoch(1),
        },
        Problem::OtherPage {
            found: 3,
            expected: 0,
        },
        Problem::BirthAhead {
            segment: paged,
            birth: Epoch(7),
            running: Epoch(2),
        },
    ];
    assert_eq!(found, expected);
}

#[test]
fn one_object_in_two_slots() {
    let mut disk = closed();
    let mut copy = None;
    change_object(&mut disk, 0, |o| copy = Some(o.clone()));
    let mut copy = copy.unwrap();
    copy.owner_len = 0;
    copy.owner_crc = 0;
    let superblock = read_superblock(&mut disk).unwrap();
    let at = superblock.geometry.meta_offset(MetaAddr::Object(2));
    disk.write(at, &copy.encode(DISK, 2)).unwrap();
    let (volume, path) = (copy.volume, copy.path);
    let twice = Problem::ObjectTwice {
        volume,
        path,
        other: 0,
    };
    assert_eq!(problems(&mut disk), [twice]);
}

#[test]
fn everything_wrong_is_collected() {
    let mut disk = closed();
    let superblock = read_superblock(&mut disk).unwrap();
    let addrs = [
        MetaAddr::Object(0),
        MetaAddr::Header(1),
        MetaAddr::Header(4),
        MetaAddr::Page(12),
    ];
    for addr in addrs {
        let at = superblock.geometry.meta_offset(addr);
        disk.write(at, &[0xa5; BLOCK]).unwrap();
    }
    let report = check(&mut disk, &[]);
    let places: Vec<_> = report.findings.iter().map(|f| f.place).collect();
    assert_eq!(places, addrs.map(Place::Block));
    assert_eq!(
        (report.exit_code(), report.statistics.units_unknown),
        (2, 2)
    );
}

#[test]
fn a_device_that_fails_in_places() {
    struct Bad(MemDisk, Vec<u64>);
    impl Disk for Bad {
        fn size(&self) -> u64 {
            self.0.size()
        }
        fn read(&mut self, offset: u64, buf: &mut [u8]) -> Result<(), IoFault> {
            let range = offset..offset + buf.len() as u64;
            match self.1.iter().any(|at| range.contains(at)) {
                true => Err(IoFault { errno: 5 }),
                false => self.0.read(offset, buf),
            }
        }
        fn write(&mut self, _: u64, _: &[u8]) -> Result<(), IoFault> {
            unreachable!("a check never writes")
        }
        fn flush(&mut self) -> Result<(), IoFault> {
            unreachable!("a check never flushes")
        }
    }
    let b = flushed();
    let geometry = *b.store.geometry();
    let header = geometry.meta_offset(MetaAddr::Header(0));
    let mut bad = Bad(b.disk, vec![0, header]);
    let report = check(&mut bad, &[]);
    let io = |at| (Place::Byte(at), Problem::Io(IoFault { errno: 5 }));
    let found: Vec<_> = report
        .findings
        .iter()
        .map(|f| (f.place, f.problem.clone()))
        .collect();
    assert!(
        found.contains(&io(0)) && found.contains(&io(header)),
        "{found:?}"
    );
    assert!(
        found
            .iter()
            .any(|f| f.0 == Place::Block(MetaAddr::Header(0)))
    );
    assert_eq!(report.exit_code(), 2);
}

#[test]
fn superblocks_one_by_one_and_together() {
    let sound = closed();
    for (place, offset) in (0..).zip(PLACES) {
        let mut disk = sound.clone();
        disk.write(offset, &[0; BLOCK]).unwrap();
        let report = check(&mut disk, &[]);
        let expected = Finding {
            severity: Severity::Warning,
            place: Place::Superblock(place),
            problem: Problem::Superblock(SuperblockError::Absent),
        };
        assert_eq!(
            (&report.findings[..], report.exit_code()),
            (&[expected][..], 1)
        );
        disk.write(PLACES[1 - usize::from(place)], &[1; BLOCK])
            .unwrap();
        assert_eq!(check(&mut disk, &[]).exit_code(), 3);
    }
    let mut disk = sound.clone();
    let mut superblock = read_superblock(&mut disk).unwrap();
    let newest = superblock.sequence;
    for (behind, code) in [(1, 0), (2, 1)] {
        superblock.sequence = newest - behind;
        disk.write(PLACES[1], &superblock.encode()).unwrap();
        let report = check(&mut disk, &[]);
        let sequence = superblock.sequence;
        assert_eq!(
            report.findings[0].problem,
            Problem::Behind { sequence, newest }
        );
        assert_eq!(report.exit_code(), code);
    }
    superblock.geometry.units -= 1;
    disk.write(PLACES[1], &superblock.encode()).unwrap();
    assert_eq!(problems(&mut disk), [Problem::OtherGeometry]);
}

#[test]
fn a_superblock_of_another_disk() {
    let other = DiskUid([9; 16]);
    let mut foreign = MemDisk::new(SIZE);
    let new = Format {
        disk: other,
        label: String::new(),
        created: 0,
        choice: CHOICE,
    };
    format(&mut foreign, &new).unwrap();
    let mut block = vec![0; BLOCK];
    foreign.read(0, &mut block).unwrap();
    for offset in PLACES {
        let mut disk = closed();
        disk.write(offset, &block).unwrap();
        let (found, expected) = (other, DISK);
        assert_eq!(
            problems(&mut disk),
            [Problem::OtherDisk { found, expected }]
        );
    }
    // With a higher sequence number it counts, and nothing behind it can be believed.
    let mut superblock = Superblock::decode(&block).unwrap();
    superblock.sequence = 1000;
    let mut disk = closed();
    disk.write(0, &superblock.encode()).unwrap();
    let found = problems(&mut disk);
    assert!(found.contains(&Problem::Block(BlockError::ForeignDisk(DISK))));
    assert!(Store::open(&mut disk, Some(DISK), &[], Config::default()).is_err());
}

#[test]
fn versions_and_feature_words() {
    let mut disk = closed();
    let sound = read_superblock(&mut disk).unwrap();
    let mut write = |superblock: &Superblock| {
        for offset in PLACES {
            disk.write(offset, &superblock.encode()).unwrap();
        }
        let report = check(&mut disk, &[]);
        (report.exit_code(), report.findings)
    };
    let mut s = sound.clone();
    s.compatible = 1 << 40;
    assert_eq!(write(&s), (0, vec![]));
    s.read_only = 1 << 3;
    let (code, findings) = write(&s);
    let unknown = 1 << 3;
    let read_only = Problem::Superblock(SuperblockError::ReadOnly { unknown });
    assert_eq!((code, &findings[0].problem), (1, &read_only));
    s.incompatible = 1 << 5;
    let (code, findings) = write(&s);
    let unknown = 1 << 5;
    let incompatible = Problem::Superblock(SuperblockError::Incompatible { unknown });
    assert_eq!((code, findings.len()), (3, 2));
    assert_eq!(findings[0].problem, incompatible);
    let mut newer = sound.encode();
    newer[8..10].copy_from_slice(&2u16.to_le_bytes());
    crate::format::seal(&mut newer);
    disk.write(PLACES[1], &newer).unwrap();
    disk.write(PLACES[0], &sound.encode()).unwrap();
    let report = check(&mut disk, &[]);
    let version = Problem::Superblock(SuperblockError::Version { found: 2 });
    assert_eq!((report.exit_code(), report.findings.len()), (3, 1));
    assert_eq!(report.findings[0].problem, version);
}

#[test]
fn a_file_that_was_cut_short() {
    let whole = closed();
    let superblock = read_superblock(&mut whole.clone()).unwrap();
    let data = superblock.geometry.data_offset(0, 0);
    let expected = superblock.geometry.size;
    for found in [
        expected - BLOCK as u64,
        data,
        data - BLOCK as u64,
        8192,
        4096,
        0,
    ] {
        let mut disk = MemDisk::new(found);
        for block in whole.written().filter(|b| (b + 1) * BLOCK as u64 <= found) {
            let mut bytes = vec![0; BLOCK];
            whole
                .clone()
                .read(block * BLOCK as u64, &mut bytes)
                .unwrap();
            disk.write(block * BLOCK as u64, &bytes).unwrap();
        }
        let report = check(&mut disk, &[]);
        let truncated = Problem::Truncated { found, expected };
        match found {
            0 => assert_eq!(report.exit_code(), 3),
            _ => {
                assert_eq!(report.findings[0].problem, truncated);
                assert_eq!(report.exit_code(), 2);
            }
        }
        assert_eq!(report.statistics.objects, if found >= data { 2 } else { 0 });
    }
}

#[test]
fn the_journal() {
    let mut b = flushed();
    let superblock = read_superblock(&mut b.disk).unwrap();
    let geometry = superblock.geometry;
    let head = superblock.tail + 3;
    let flip = |disk: &mut MemDisk, counter: u64, byte: usize| {
        let mut block = vec![0; BLOCK];
        disk.read(geometry.journal_offset(counter), &mut block)
            .unwrap();
        block[byte] ^= 0x10;
        disk.write(geometry.journal_offset(counter), &block)
            .unwrap();
    };
    let mut disk = b.disk.clone();
    flip(&mut disk, head - 2, 70);
    let (at, behind) = (head - 2, head - 1);
    assert_eq!(problems(&mut disk), [Problem::Hole { at, behind }]);
    let mut disk = b.disk.clone();
    flip(&mut disk, head - 1, 70);
    let report = check(&mut disk, &[]);
    let at = head - 1;
    assert_eq!(report.findings[0].problem, Problem::TornTail { at });
    assert!(report.is_clean(), "a power cut leaves such a group");
    let mut disk = b.disk.clone();
    flip(&mut disk, head - 1, BLOCK - 1);
    let padding = Problem::Padding {
        counter: head - 1,
        byte: BLOCK as u32 - 1,
    };
    assert_eq!(problems(&mut disk), [padding]);
    let mut disk = b.disk.clone();
    let mut closed = superblock.clone();
    closed.clean = true;
    for offset in PLACES {
        disk.write(offset, &closed.encode()).unwrap();
    }
    assert_eq!(problems(&mut disk), [Problem::NotEmpty { groups: 3 }]);
    b.write(0, 23, &[9; 1]).unwrap().unwrap();
    b.volatile[70] ^= 1;
    let report = check(&mut b.disk, &b.volatile);
    let why = "an entry is damaged";
    assert_eq!(report.findings[0].problem, Problem::Volatile { at: 0, why });
}
