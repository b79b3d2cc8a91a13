//! Formatting a device: the first bytes of a disk. It takes only a device on which nobody has left
//! anything, and writes the superblocks last, so that a cut before the end leaves no disk.

use crate::disk::Disk;
use crate::format::geometry::{Geometry, GeometryChoice, GeometryError};
use crate::format::header::Header;
use crate::format::object::ObjectRecord;
use crate::format::superblock::{PLACES, Superblock, SuperblockError};
use crate::format::{BLOCK, MetaAddr, foreign};
use crate::io::IoFault;
use layout::DiskUid;

/// Why a disk was not formatted. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// The device failed.
    #[error("failed to read or write the disk: {0}")]
    Io(IoFault),
    /// The device is too small, or a choice impossible.
    #[error("{0}")]
    Geometry(#[from] GeometryError),
    /// Somebody else's data is there (spec K6).
    #[error("the device holds {0}; it is not touched")]
    Foreign(&'static str),
    /// It is formatted already.
    #[error("the device is Stratovol disk {0} already; it is not touched")]
    Ours(DiskUid),
}

/// What a new disk is to be.
#[derive(Clone, Debug)]
pub struct Format {
    /// Its identity, never used before.
    pub disk: DiskUid,
    /// What people call it.
    pub label: String,
    /// Seconds since 1970.
    pub created: u64,
    /// Sizes of its parts; [`GeometryChoice::for_size`] where there is no reason for others.
    pub choice: GeometryChoice,
}

/// Formats a device that holds nothing.
///
/// # Errors
/// Whatever is on the device already is left alone.
pub fn format(disk: &mut dyn Disk, new: &Format) -> Result<Geometry, FormatError> {
    let size = disk.size();
    let geometry = Geometry::plan(size, new.choice)?;
    let mut head = vec![0; foreign::HEAD.min(size as usize)];
    let mut tail = vec![0; foreign::TAIL.min(size as usize)];
    disk.read(0, &mut head).map_err(FormatError::Io)?;
    let last = (size - size % BLOCK as u64).saturating_sub(tail.len() as u64);
    disk.read(last, &mut tail).map_err(FormatError::Io)?;
    match Superblock::decode(&head[..BLOCK]) {
        Ok(superblock) => return Err(FormatError::Ours(superblock.disk)),
        Err(SuperblockError::Absent) => {}
        Err(_) => {
            return Err(FormatError::Foreign(
                "a damaged or newer Stratovol superblock",
            ));
        }
    }
    if let Some(what) = foreign::detect(&head, &tail) {
        return Err(FormatError::Foreign(what));
    }
    let mut write = |offset, bytes: &[u8]| disk.write(offset, bytes).map_err(FormatError::Io);
    for slot in 0..geometry.slots {
        let block = ObjectRecord::encode_free(new.disk, slot);
        write(geometry.meta_offset(MetaAddr::Object(slot)), &block)?;
    }
    let header = Header::free(geometry.unit_segments);
    for unit in 0..geometry.units {
        write(
            geometry.meta_offset(MetaAddr::Header(unit)),
            &header.encode(new.disk, unit),
        )?;
    }
    // The ring must hold no group of an earlier life of the device.
    let zeros = vec![0; BLOCK];
    for counter in 0..u64::from(geometry.journal_blocks) {
        write(geometry.journal_offset(counter), &zeros)?;
    }
    disk.flush().map_err(FormatError::Io)?;
    let superblock = Superblock {
        disk: new.disk,
        sequence: 1,
        compatible: 0,
        read_only: 0,
        incompatible: 0,
        geometry,
        tail: 0,
        first_record: 0,
        incarnation: 0,
        term: 0,
        clean: true,
        created: new.created,
        label: new.label.clone(),
    };
    for place in PLACES {
        disk.write(place, &superblock.encode())
            .map_err(FormatError::Io)?;
    }
    disk.flush().map_err(FormatError::Io)?;
    Ok(geometry)
}
