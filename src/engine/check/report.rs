//! What a check found: findings to match on and to read, and numbers.

use crate::format::record::RecordError;
use crate::format::superblock::{Superblock, SuperblockError};
use crate::format::{BlockError, MetaAddr};
use crate::io::IoFault;
use crate::store::OpenError;
use layout::{DiskUid, Epoch, Generation, ObjectPath, VolumeUid};
use std::fmt;

/// How bad it is. The order is the order of badness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// What a power cut leaves behind in good order.
    Note,
    /// Something is not as it was written, and nothing is lost: opening the disk repairs it.
    Warning,
    /// Something is lost or contradicts itself.
    Error,
    /// It is no disk of ours, or one of a newer version: it cannot be judged.
    Unreadable,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Error => "error",
            Severity::Unreadable => "unreadable",
        })
    }
}

/// Where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The disk as a whole.
    Disk,
    /// The first (0) or the second (1) superblock.
    Superblock(u8),
    /// The journal ring.
    Journal,
    /// The volatile log, which is not on the disk.
    VolatileLog,
    /// A metadata block.
    Block(MetaAddr),
    /// The block at this byte offset.
    Byte(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Disk => write!(f, "the disk"),
            Place::Superblock(0) => write!(f, "the first superblock"),
            Place::Superblock(_) => write!(f, "the second superblock"),
            Place::Journal => write!(f, "the journal"),
            Place::VolatileLog => write!(f, "the volatile log"),
            Place::Block(addr) => write!(f, "{addr}"),
            Place::Byte(offset) => write!(f, "the block at byte {offset}"),
        }
    }
}

/// What is wrong: the kind to match on; its message has the numbers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The device failed to read it.
    #[error("cannot be read: {0}")]
    Io(IoFault),
    /// A superblock that cannot be believed, or whose features are not known.
    #[error("{0}")]
    Superblock(SuperblockError),
    /// The two superblocks are of different disks: one was copied over.
    #[error("it belongs to disk {found}, the other one to disk {expected}")]
    OtherDisk {
        /// The disk that the older one names.
        found: DiskUid,
        /// The disk that the one that counts names.
        expected: DiskUid,
    },
    /// The two superblocks lay out the disk differently.
    #[error("it lays out the disk differently from the other one")]
    OtherGeometry,
    /// The two superblocks were not written together.
    #[error("its sequence number is {sequence}, the other one's {newest}")]
    Behind {
        /// The sequence number of the older one.
        sequence: u64,
        /// The sequence number of the one that counts.
        newest: u64,
    },
    /// The device ends before the format does.
    #[error("it has {found} bytes, its superblock says {expected}: it was cut short")]
    Truncated {
        /// Bytes there are.
        found: u64,
        /// Bytes there ought to be.
        expected: u64,
    },
    /// A group is damaged: a good one is behind it.
    #[error("no group at block {at}, but a good one at block {behind}")]
    Hole {
        /// Running number of the ring block where a group ought to be.
        at: u64,
        /// Running number of the good one.
        behind: u64,
    },
    /// A group whose checksum is right holds a record that cannot be.
    #[error("the group at block {counter} cannot be read: {error}")]
    Record {
        /// Running number of its first block.
        counter: u64,
        /// What is wrong.
        error: RecordError,
    },
    /// A group was begun behind the last whole one: power went while it was written.
    #[error("a group at block {at} is not whole; it counts as never written")]
    TornTail {
        /// Running number of its first block.
        at: u64,
    },
    /// Bytes behind a group's records that ought to be zero.
    #[error("byte {byte} of block {counter}, behind a group's records, is not zero")]
    Padding {
        /// Running number of the ring block.
        counter: u64,
        /// Byte in it.
        byte: u32,
    },
    /// The disk says that it was closed in good order, and yet the journal is not empty.
    #[error("{groups} groups are in it, though the disk was closed in good order")]
    NotEmpty {
        /// Groups in it.
        groups: u64,
    },
    /// The volatile log does not fit the disk.
    #[error("at byte {at}: {why}")]
    Volatile {
        /// Where.
        at: u64,
        /// Why.
        why: &'static str,
    },
    /// A metadata block cannot be believed.
    #[error("{0}")]
    Block(BlockError),
    /// A metadata block cannot be believed, and the journal has its content.
    #[error("{0}; the journal has its content")]
    Repairable(BlockError),
    /// Records and blocks contradict one another.
    #[error("{0}")]
    Contradiction(&'static str),
    /// The owner's text has another length than recorded.
    #[error("the owner's text has {found} bytes, recorded are {expected}")]
    OwnerLength {
        /// Bytes there are.
        found: u32,
        /// Bytes there ought to be.
        expected: u32,
    },
    /// The owner's text is another than recorded.
    #[error("the owner's text has checksum {found:#010x}, recorded is {expected:#010x}")]
    OwnerChecksum {
        /// The text's.
        found: u32,
        /// The recorded one.
        expected: u32,
    },
    /// The same object lies in two slots.
    #[error("object {path} of volume {volume} is in slot {other} too")]
    ObjectTwice {
        /// The volume.
        volume: VolumeUid,
        /// The object's place in the volume's tree.
        path: ObjectPath,
        /// The other slot.
        other: u16,
    },
    /// An epoch is held that has not ended.
    #[error("epoch {held} is held, but epoch {running} is running")]
    HeldAhead {
        /// The held one.
        held: Epoch,
        /// The running one.
        running: Epoch,
    },
    /// Held epochs are not in ascending order.
    #[error("epoch {held} is held after epoch {before}")]
    HeldOrder {
        /// The one before.
        before: Epoch,
        /// The one that ought to be later.
        held: Epoch,
    },
    /// A region is marked that the object does not have.
    #[error("region {region} is marked {mark}, the object has {regions} regions")]
    MarkOutside {
        /// Which mark.
        mark: &'static str,
        /// The region.
        region: u32,
        /// Regions that the object has.
        regions: u32,
    },
    /// A leg is stale that cannot exist.
    #[error("stale legs {stale:#06x} are more than a mirror may have")]
    StaleOutside {
        /// One bit a leg.
        stale: u16,
    },
    /// A leg holds nothing and yet is not stale.
    #[error("blank legs {blank:#06x} are not all among the stale ones {stale:#06x}")]
    BlankNotStale {
        /// One bit a leg.
        blank: u16,
        /// One bit a leg.
        stale: u16,
    },
    /// A unit is granted to an object that is not there.
    #[error("granted to object {path} of volume {volume}, but slot {slot} holds no object")]
    Orphan {
        /// The slot.
        slot: u16,
        /// The volume.
        volume: VolumeUid,
        /// The object's place in the volume's tree.
        path: ObjectPath,
    },
    /// A unit is granted to another object than its slot's.
    #[error("granted to object {path} of volume {volume}, but slot {slot} holds another")]
    OtherOwner {
        /// The slot.
        slot: u16,
        /// The volume.
        volume: VolumeUid,
        /// The object's place in the volume's tree.
        path: ObjectPath,
    },
    /// A unit was granted at a generation that its object has not reached.
    #[error("granted at generation {unit}, its object is at generation {object}")]
    GenerationAhead {
        /// The unit's.
        unit: Generation,
        /// The object's.
        object: Generation,
    },
    /// A segment of an object lies in two places.
    #[error("segment {logical} of the object lies in segments {first} and {second} of the disk")]
    SegmentTwice {
        /// The object's segment.
        logical: u32,
        /// A segment of the disk.
        first: u32,
        /// Another.
        second: u32,
    },
    /// A segment of the disk holds a segment that its object does not have.
    #[error("segment {segment} of the disk holds segment {logical} of an object of {segments}")]
    PastEnd {
        /// The segment of the disk.
        segment: u32,
        /// The object's.
        logical: u32,
        /// Segments that the object has.
        segments: u32,
    },
    /// Something changed in an epoch that has not begun.
    #[error("segment {segment} of the disk changed in epoch {birth}, running is epoch {running}")]
    BirthAhead {
        /// The segment of the disk.
        segment: u32,
        /// The epoch of its latest change.
        birth: Epoch,
        /// The running epoch of its object.
        running: Epoch,
    },
    /// A page of another segment of the object.
    #[error("it is of segment {found} of the object, expected segment {expected}")]
    OtherPage {
        /// The segment that the page names.
        found: u32,
        /// The segment that its descriptor names.
        expected: u32,
    },
    /// Two ways of counting differ.
    #[error("{counted} {what} are counted, {expected} are expected")]
    Space {
        /// What was counted.
        what: &'static str,
        /// One way.
        counted: u64,
        /// The other way.
        expected: u64,
    },
    /// The disk would not be opened, for a reason that has no finding of its own.
    #[error("it would not be opened: {0}")]
    Refused(OpenError),
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Where it is.
    pub place: Place,
    /// What it is.
    pub problem: Problem,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.severity, self.place, self.problem)
    }
}

/// What is in the journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JournalUse {
    /// Whole groups.
    pub groups: u64,
    /// Ring blocks that they take.
    pub blocks: u64,
    /// Records in them, images included.
    pub records: u64,
    /// Records that are only in the volatile log.
    pub volatile_records: u64,
}

/// What was counted, as far as it could be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Objects.
    pub objects: u64,
    /// Units of the disk.
    pub units: u64,
    /// Units that are nobody's.
    pub units_free: u64,
    /// Units granted to objects.
    pub units_granted: u64,
    /// Units whose header cannot be believed.
    pub units_unknown: u64,
    /// Segments in one piece.
    pub segments_run: u64,
    /// Segments with a page.
    pub segments_paged: u64,
    /// Free segments in granted units.
    pub segments_free: u64,
    /// Different segments of objects that lie somewhere.
    pub segments_mapped: u64,
    /// Blocks that hold data.
    pub blocks_valid: u64,
    /// The journal.
    pub journal: JournalUse,
}

/// All that was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The superblock that counts, if any can be believed.
    pub superblock: Option<Superblock>,
    /// What is wrong, the worst first.
    pub findings: Vec<Finding>,
    /// What is there.
    pub statistics: Statistics,
}

impl Report {
    /// Nothing is wrong; notes of a power cut do not count.
    pub fn is_clean(&self) -> bool {
        self.exit_code() == 0
    }

    /// What `stratovol verify` ends with: 0 clean, 1 warnings, 2 damage, 3 cannot be judged.
    pub fn exit_code(&self) -> u8 {
        match self.findings.iter().map(|f| f.severity).max() {
            None | Some(Severity::Note) => 0,
            Some(Severity::Warning) => 1,
            Some(Severity::Error) => 2,
            Some(Severity::Unreadable) => 3,
        }
    }

    /// Whether anything is an error or worse.
    pub fn has_errors(&self) -> bool {
        self.exit_code() >= 2
    }

    pub(super) fn add(&mut self, severity: Severity, place: Place, problem: Problem) {
        self.findings.push(Finding {
            severity,
            place,
            problem,
        });
    }

    pub(super) fn error(&mut self, place: Place, problem: Problem) {
        self.add(Severity::Error, place, problem);
    }

    pub(super) fn sort(&mut self) {
        self.findings
            .sort_by_key(|f| (std::cmp::Reverse(f.severity), f.place));
    }
}
