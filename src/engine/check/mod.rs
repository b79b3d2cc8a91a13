//! Everything that can be said of a disk without changing it: all that is wrong, and what is there.
//!
//! Opening a disk ends at the first thing wrong; this goes on and collects. It reads the journal
//! and the volatile log with the very code that opens a disk, then judges what they give by its own
//! logic, and at the end holds the store that opening would make against its own counts.
//!
//! # What cannot be seen
//! - A journal whose last group is damaged looks like one whose last write was torn by a power
//!   cut: both count as never written. It is a note ([`Problem::TornTail`]), not an error.
//! - Data blocks carry no checksum: their content is not judged.
//! - A unit that is granted to two objects: its one header can name only one, so what is seen is
//!   an object that does not have what its layout says, which only the layout's owner knows.
//! - Metadata blocks that nobody reads (owner texts of free slots, pages of segments that have
//!   none, ring blocks outside the live groups) may hold anything.

mod gentle;
mod identity;
mod journal;
mod objects;
mod pages;
mod report;
mod space;
mod superblocks;
mod units;

pub use report::{Finding, JournalUse, Place, Problem, Report, Severity, Statistics};

use crate::disk::Disk;
use crate::format::MetaAddr;
use crate::format::superblock::Superblock;
use crate::planted::Planted;
use crate::store::OpenError;
use crate::store::find::{Found, Ring};
use crate::store::replay::Metadata;
use gentle::Gentle;
use std::collections::BTreeSet;

/// Checks a disk, with the volatile log that belongs to it if there is one. Never writes.
pub fn check(disk: &mut dyn Disk, volatile: &[u8]) -> Report {
    let mut gentle = Gentle::new(disk);
    let mut report = Report::default();
    if let Some(superblock) = superblocks::check(&mut gentle, &mut report) {
        check_behind(&mut gentle, &superblock, volatile, &mut report);
        report.superblock = Some(superblock);
    }
    for (offset, fault) in gentle.faults() {
        report.error(Place::Byte(offset), Problem::Io(fault));
    }
    report.sort();
    report
}

/// The metadata under judgement.
struct Subject<'a> {
    superblock: &'a Superblock,
    metadata: Metadata,
    /// Blocks whose content is not known: nothing that follows from them is judged.
    unknown: BTreeSet<MetaAddr>,
}

fn check_behind(
    disk: &mut Gentle<'_>,
    superblock: &Superblock,
    volatile: &[u8],
    report: &mut Report,
) {
    let recovered = recover(disk, superblock, volatile, report);
    // The device's faults are noted and read as zeros, so nothing else ends the work early.
    let (found, subject) = match recovered {
        Ok(recovered) => recovered,
        Err(error) => return report.error(Place::Disk, Problem::Refused(error)),
    };
    objects::check(disk, &subject, report);
    identity::check(&subject, report);
    units::check(&subject, report);
    pages::check(disk, &subject, report);
    space::check(subject, &found, report);
}

/// What opening the disk would find, damage written down and passed over.
fn recover<'a>(
    disk: &mut Gentle<'_>,
    superblock: &'a Superblock,
    volatile: &[u8],
    report: &mut Report,
) -> Result<(Found, Subject<'a>), OpenError> {
    let ring = Ring::read(disk, superblock)?;
    let mut wrong = Vec::new();
    let mut note = |addr, error| {
        wrong.push((addr, error));
        Ok(())
    };
    let planted = Planted::default();
    let found = ring.find(volatile, planted, &mut note)?;
    let metadata = Metadata::rebuild(disk, superblock, &found.records, planted, &mut note)?;
    let mut unknown = BTreeSet::new();
    for (addr, error) in wrong {
        note_wrong(addr, error, &mut unknown, report);
    }
    journal::check(&ring, superblock, &found, report);
    journal::check_places(disk, superblock, &found, report);
    let subject = Subject {
        superblock,
        metadata,
        unknown,
    };
    Ok((found, subject))
}

fn note_wrong(
    addr: Option<MetaAddr>,
    error: OpenError,
    unknown: &mut BTreeSet<MetaAddr>,
    report: &mut Report,
) {
    let (place, problem) = match error {
        OpenError::JournalHole { at, behind } => (Place::Journal, Problem::Hole { at, behind }),
        OpenError::JournalRecord { counter, error } => {
            (Place::Journal, Problem::Record { counter, error })
        }
        OpenError::VolatileLog { at, why } => (Place::VolatileLog, Problem::Volatile { at, why }),
        OpenError::Damaged { addr, error } => {
            unknown.insert(addr);
            (Place::Block(addr), Problem::Block(error))
        }
        // What follows from a block that is not known says nothing new.
        OpenError::Impossible { .. } if addr.is_some_and(|a| unknown.contains(&a)) => return,
        OpenError::Impossible { what } => {
            unknown.extend(addr);
            let place = addr.map_or(Place::Disk, Place::Block);
            (place, Problem::Contradiction(what))
        }
        other => (Place::Disk, Problem::Refused(other)),
    };
    report.error(place, problem);
}

#[cfg(test)]
mod tests;
