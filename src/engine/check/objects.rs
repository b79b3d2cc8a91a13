//! Each object's record by itself, and its owner's text.

use super::gentle::Gentle;
use super::{Place, Problem, Report, Severity, Subject};
use crate::disk::Disk;
use crate::format::object::{OWNER_PARTS, ObjectRecord, decode_owner_part};
use crate::format::{BLOCK, MetaAddr};
use crate::leaf::LegsRecord;

/// Judges every object that is there.
pub fn check(disk: &mut Gentle<'_>, subject: &Subject<'_>, report: &mut Report) {
    for (slot, record) in (0..).zip(&subject.metadata.objects) {
        let Some(record) = record else {
            continue;
        };
        report.statistics.objects += 1;
        let place = Place::Block(MetaAddr::Object(slot));
        check_epochs(record, place, report);
        check_marks(record, place, report);
        check_legs(&record.legs, place, report);
        check_owner(disk, subject, slot, record, report);
    }
}

fn check_epochs(record: &ObjectRecord, place: Place, report: &mut Report) {
    let running = record.epoch;
    if let Some(&held) = record.held.iter().find(|held| **held >= running) {
        report.error(place, Problem::HeldAhead { held, running });
    }
    if let Some(pair) = record.held.windows(2).find(|pair| pair[0] >= pair[1]) {
        let (before, held) = (pair[0], pair[1]);
        report.error(place, Problem::HeldOrder { before, held });
    }
}

fn check_marks(record: &ObjectRecord, place: Place, report: &mut Report) {
    let regions = record.segments.div_ceil(record.region_segments);
    for (mark, marks) in [("dirty", &record.dirty), ("resync", &record.resync)] {
        if let Some(region) = marks.iter().find(|r| *r >= regions) {
            let problem = Problem::MarkOutside {
                mark,
                region,
                regions,
            };
            report.error(place, problem);
        }
    }
}

fn check_legs(legs: &LegsRecord, place: Place, report: &mut Report) {
    if legs.stale >> LegsRecord::LEGS != 0 {
        let stale = legs.stale;
        report.error(place, Problem::StaleOutside { stale });
    }
    if legs.blank & !legs.stale != 0 {
        let (blank, stale) = (legs.blank, legs.stale);
        report.error(place, Problem::BlankNotStale { blank, stale });
    }
}

/// Reads every part of the owner's text; the whole is judged only where each part is sound.
fn check_owner(
    disk: &mut Gentle<'_>,
    subject: &Subject<'_>,
    slot: u16,
    record: &ObjectRecord,
    report: &mut Report,
) {
    let superblock = subject.superblock;
    let expected = record.owner_len as usize;
    let mut text = Vec::new();
    for part in 1..=OWNER_PARTS {
        if text.len() >= expected {
            break;
        }
        let addr = MetaAddr::Owner(slot, part);
        let mut block = vec![0; BLOCK];
        // A fault is noted by the disk itself; its zeros are no owner's text.
        let _ = disk.read(superblock.geometry.meta_offset(addr), &mut block);
        match decode_owner_part(&block, superblock.disk, slot, part) {
            Ok(bytes) => text.extend_from_slice(bytes),
            Err(error) => {
                report.add(Severity::Error, Place::Block(addr), Problem::Block(error));
                return;
            }
        }
    }
    let place = Place::Block(MetaAddr::Object(slot));
    if text.len() != expected {
        let (found, expected) = (text.len() as u32, record.owner_len);
        report.error(place, Problem::OwnerLength { found, expected });
    } else if crc32c::crc32c(&text) != record.owner_crc {
        let (found, expected) = (crc32c::crc32c(&text), record.owner_crc);
        report.error(place, Problem::OwnerChecksum { found, expected });
    }
}
