//! The journal ring as bytes: whole groups, what follows the last one, and the blocks in place that
//! the journal repairs. What the records mean is judged with the blocks that they change.

use super::gentle::Gentle;
use super::{JournalUse, Place, Problem, Report, Severity};
use crate::disk::Disk;
use crate::format::header::Header;
use crate::format::journal::{FRAME, Frame};
use crate::format::object::ObjectRecord;
use crate::format::record::Record;
use crate::format::superblock::Superblock;
use crate::format::{BLOCK, MetaAddr};
use crate::store::find::{Found, Ring};
use std::collections::BTreeSet;

/// Walks the live groups once more, and looks at what comes after them.
pub fn check(ring: &Ring<'_>, superblock: &Superblock, found: &Found, report: &mut Report) {
    let mut groups = 0;
    let mut at = superblock.tail;
    while at < found.head {
        let Some((frame, _)) = ring.group(at) else {
            break;
        };
        check_padding(ring, &frame, report);
        groups += 1;
        at += frame.blocks();
    }
    let blocks = u64::from(superblock.geometry.journal_blocks);
    let full = found.head - superblock.tail >= blocks;
    let hole = report.findings.iter().any(|f| f.place == Place::Journal);
    if !full
        && !hole
        && Frame::resembles(
            ring.block(found.head),
            superblock.disk,
            found.head,
            found.next,
        )
    {
        let problem = Problem::TornTail { at: found.head };
        report.add(Severity::Note, Place::Journal, problem);
    }
    if superblock.clean && groups > 0 {
        report.error(Place::Journal, Problem::NotEmpty { groups });
    }
    report.statistics.journal = JournalUse {
        groups,
        blocks: found.head - superblock.tail,
        records: found.durable as u64,
        volatile_records: (found.records.len() - found.durable) as u64,
    };
}

/// The rest of a group's last block, which its checksums do not cover, is zeros.
fn check_padding(ring: &Ring<'_>, frame: &Frame, report: &mut Report) {
    let used = (FRAME + frame.bytes as usize) % BLOCK;
    if used == 0 {
        return;
    }
    let last = frame.counter + frame.blocks() - 1;
    let padding = &ring.block(last)[used..];
    if let Some(at) = padding.iter().position(|b| *b != 0) {
        let problem = Problem::Padding {
            counter: last,
            byte: (used + at) as u32,
        };
        report.add(Severity::Warning, Place::Journal, problem);
    }
}

/// Looks at the places of objects and headers of which the journal has an image: they were being
/// written, and may be torn. (A page's place may hold anything before its first image is written.)
pub fn check_places(
    disk: &mut Gentle<'_>,
    superblock: &Superblock,
    found: &Found,
    report: &mut Report,
) {
    let geometry = &superblock.geometry;
    let images = found.records.iter().filter_map(|r| match r {
        Record::Image { addr, .. } => Some(*addr),
        _ => None,
    });
    for addr in images.collect::<BTreeSet<_>>() {
        let mut block = vec![0; BLOCK];
        let wrong = match addr {
            MetaAddr::Object(slot) if slot < geometry.slots => {
                let _ = disk.read(geometry.meta_offset(addr), &mut block);
                ObjectRecord::decode(&block, superblock.disk, slot).err()
            }
            MetaAddr::Header(unit) if unit < geometry.units => {
                let _ = disk.read(geometry.meta_offset(addr), &mut block);
                Header::decode(&block, superblock.disk, unit, geometry.unit_segments).err()
            }
            _ => None,
        };
        if let Some(error) = wrong {
            let problem = Problem::Repairable(error);
            report.add(Severity::Warning, Place::Block(addr), problem);
        }
    }
}
