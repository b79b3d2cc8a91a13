//! The two superblocks, each by itself and both together, and the size of the device.

use super::gentle::Gentle;
use super::{Place, Problem, Report, Severity};
use crate::disk::Disk;
use crate::format::BLOCK;
use crate::format::superblock::{PLACES, Superblock, SuperblockError};
use crate::store::{OpenError, read_superblock};

/// Judges both; gives the one that counts, if the rest of the disk can be judged by it.
pub fn check(disk: &mut Gentle<'_>, report: &mut Report) -> Option<Superblock> {
    let copies = PLACES.map(|place| read(disk, place));
    let chosen = match read_superblock(disk) {
        Ok(superblock) => Some(superblock),
        Err(OpenError::Truncated { found, expected }) => {
            report.error(Place::Disk, Problem::Truncated { found, expected });
            let usable = copies.iter().flatten().max_by_key(|s| s.sequence).cloned();
            // Damage behind the metadata leaves the metadata to be judged.
            usable.filter(|s| s.geometry.data_offset(0, 0) <= found)
        }
        Err(_) => None,
    };
    let readable = chosen.is_some() || report.has_errors();
    for (place, copy) in (0..).zip(&copies) {
        if let Err(error) = copy {
            let severity = match error {
                _ if readable => Severity::Warning,
                SuperblockError::Block(_) | SuperblockError::Geometry(_) => Severity::Error,
                _ => Severity::Unreadable,
            };
            let problem = Problem::Superblock(error.clone());
            report.add(severity, Place::Superblock(place), problem);
        }
    }
    if let [Ok(first), Ok(second)] = &copies {
        compare(first, second, report);
    }
    let superblock = chosen?;
    if let Err(error) = superblock.writable() {
        report.add(Severity::Warning, Place::Disk, Problem::Superblock(error));
    }
    Some(superblock)
}

fn read(disk: &mut Gentle<'_>, place: u64) -> Result<Superblock, SuperblockError> {
    let mut block = vec![0; BLOCK];
    if disk.size() < place + BLOCK as u64 || disk.read(place, &mut block).is_err() {
        return Err(SuperblockError::Absent);
    }
    Superblock::decode(&block)
}

/// Both are sound. They are written one after the other, so a power cut leaves them one apart.
fn compare(first: &Superblock, second: &Superblock, report: &mut Report) {
    let (old, new, behind) = if first.sequence < second.sequence {
        (first, second, 0)
    } else {
        (second, first, 1)
    };
    let place = Place::Superblock(behind);
    if old.disk != new.disk {
        let (found, expected) = (old.disk, new.disk);
        return report.error(place, Problem::OtherDisk { found, expected });
    }
    if old.geometry != new.geometry {
        return report.error(place, Problem::OtherGeometry);
    }
    let (sequence, newest) = (old.sequence, new.sequence);
    let severity = match newest - sequence {
        0 if old == new => return,
        0 => Severity::Error,
        1 => Severity::Note,
        _ => Severity::Warning,
    };
    report.add(severity, place, Problem::Behind { sequence, newest });
}
