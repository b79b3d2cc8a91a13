//! The border of the engine: requests in, effects out.
//!
//! The shell runs effects in the order given. Two rules make an answer safe:
//! - an [`Effect::Append`] is done (the bytes are in the volatile log) before a later effect of the
//!   same list starts;
//! - everything else may run at once; the engine waits for a completion where it needs one.

use layout::{Bytes, DiskUid, ObjectPath, VolumeUid};

/// Nanoseconds on a clock that never goes back and counts suspend.
pub type Now = u64;

/// A volume attached to this node, as the shell names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VolumeId(pub u32);

/// A request of the front end, chosen by the shell; unique among those not yet answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReqId(pub u64);

/// An I/O of the engine, chosen by the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IoId(pub u64);

impl IoId {
    /// The name of a disk's I/O number `n`.
    pub(crate) fn new(disk: DiskIndex, n: usize) -> Self {
        IoId(u64::from(disk.0) << 48 | n as u64)
    }
    /// The disk on which it runs.
    pub fn disk(self) -> DiskIndex {
        DiskIndex((self.0 >> 48) as u16)
    }
    /// Its number there.
    pub(crate) fn number(self) -> usize {
        (self.0 & ((1 << 48) - 1)) as usize
    }
}

/// A disk attached to this node: an index that is used again only after the disk was detached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DiskIndex(pub u16);

/// What a request asks. Offsets and lengths in bytes, multiples of a block, within the volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Fill the request's buffer.
    Read {
        /// Byte offset in the volume.
        off: u64,
        /// Bytes.
        len: u32,
    },
    /// Store the request's buffer; with `fua`, durable before the answer.
    Write {
        /// Byte offset in the volume.
        off: u64,
        /// Bytes.
        len: u32,
        /// Durable before the answer.
        fua: bool,
    },
    /// Make durable everything answered before this was submitted.
    Flush,
    /// The range holds no data any more: it reads as zeros and its space may be given back.
    Discard {
        /// Byte offset in the volume.
        off: u64,
        /// Bytes.
        len: u64,
    },
    /// The range reads as zeros. Here the same as a discard, which is exact, never a hint.
    WriteZeroes {
        /// Byte offset in the volume.
        off: u64,
        /// Bytes.
        len: u64,
    },
}

/// Where the bytes of an I/O are: the shell owns every buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Buf {
    /// In the buffer of a request, from byte `at`.
    Request {
        /// The request.
        req: ReqId,
        /// Byte offset in its buffer.
        at: u32,
    },
    /// In a scratch buffer for copies, from byte `at`. The engine names slots from zero and uses a
    /// slot for one copy at a time; each holds [`Buf::SCRATCH`] bytes.
    Scratch {
        /// Which buffer.
        slot: u16,
        /// Byte offset in it.
        at: u32,
    },
}

impl Buf {
    /// Bytes in a scratch buffer: one segment.
    pub const SCRATCH: u32 = layout::SEGMENT as u32;

    /// The same buffer, `n` bytes further.
    #[must_use]
    pub fn skip(self, n: u32) -> Self {
        match self {
            Buf::Request { req, at } => Buf::Request { req, at: at + n },
            Buf::Scratch { slot, at } => Buf::Scratch { slot, at: at + n },
        }
    }
}

/// What to do with a disk. All offsets and lengths are multiples of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IoKind {
    /// Data from disk into a buffer, `len` bytes.
    Read {
        /// Where to.
        buf: Buf,
        /// Bytes.
        len: u32,
    },
    /// Data from a buffer to disk, `len` bytes.
    Write {
        /// Where from.
        buf: Buf,
        /// Bytes.
        len: u32,
    },
    /// Metadata from disk; the bytes come back in [`Completion::Bytes`].
    ReadMeta {
        /// Bytes.
        len: u32,
    },
    /// Metadata to disk; with `fua`, durable before the completion.
    WriteMeta {
        /// The content.
        bytes: Vec<u8>,
        /// Durable before the completion.
        fua: bool,
    },
    /// Everything completed before this was issued becomes durable.
    Flush,
}

/// How an I/O ended.
#[derive(Clone, Copy, Debug)]
pub enum Completion<'a> {
    /// Done, whole.
    Done,
    /// A [`IoKind::ReadMeta`] is done; these are the bytes.
    Bytes(&'a [u8]),
    /// It failed; part of it may have been done.
    Failed(IoFault),
}

/// Why an I/O on a disk failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("I/O error (errno {errno})")]
pub struct IoFault {
    /// The operating system's error number.
    pub errno: i32,
}

/// Why a request was not done. What the front end turns into an error number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IoError {
    /// Not a multiple of a block.
    #[error("offset or length is not a multiple of 4096")]
    Unaligned,
    /// Past the end of the volume.
    #[error("past the end of the volume")]
    OutOfRange,
    /// No space left for a first write; nothing was written on any copy.
    #[error("no space left in what was granted to the volume")]
    NoSpace,
    /// No copy can serve it, or its map entry is in the error state.
    #[error("I/O error")]
    Io,
    /// The volume is read-only or was fenced.
    #[error("the volume may not be written")]
    ReadOnly,
    /// The volume is being detached.
    #[error("the volume is not attached")]
    Detached,
}

/// What the shell has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Start an I/O; answer with the engine's `complete`.
    Io {
        /// Its name.
        id: IoId,
        /// Where.
        disk: DiskIndex,
        /// Byte offset on the disk; 0 for a flush.
        offset: u64,
        /// What.
        kind: IoKind,
    },
    /// Fill part of a buffer with zeros.
    Zero {
        /// From where.
        buf: Buf,
        /// Bytes.
        len: u32,
    },
    /// Append to the disk's volatile log, which outlives this process but not the node.
    Append {
        /// The disk.
        disk: DiskIndex,
        /// Self-validating entries.
        bytes: Vec<u8>,
    },
    /// The first `bytes` bytes of the disk's volatile log are durable on the disk: drop them.
    Trim {
        /// The disk.
        disk: DiskIndex,
        /// How many, from the front.
        bytes: u64,
    },
    /// Answer a request.
    Reply {
        /// The request.
        req: ReqId,
        /// How it ended.
        result: Result<(), IoError>,
    },
    /// Answer a command.
    Answer {
        /// The command's name, chosen by the shell.
        command: CommandId,
        /// How it ended.
        result: Result<(), CommandError>,
    },
    /// Tell whoever listens on the control socket.
    Notice(Notice),
}

/// A command of the control socket, chosen by the shell; unique among those not yet answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId(pub u64);

/// Why a command was refused. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// No such volume here.
    #[error("volume {0} is not known here")]
    UnknownVolume(VolumeUid),
    /// No such disk here.
    #[error("disk {0} is not attached here")]
    UnknownDisk(DiskUid),
    /// The disk failed and was not reopened.
    #[error("disk {0} had an I/O error and was not reopened")]
    DiskFailed(DiskUid),
    /// What is asked contradicts what the disk says of itself (spec A4).
    #[error("disk {disk}: {why}")]
    Contradiction {
        /// The disk.
        disk: DiskUid,
        /// What contradicts what.
        why: String,
    },
    /// The layout or grant is older than what the disk has seen.
    #[error("generation {given} is older than {seen}, which the disk has seen")]
    StaleGeneration {
        /// What was given.
        given: u64,
        /// What the disk has.
        seen: u64,
    },
    /// It cannot be done now, and why.
    #[error("{0}")]
    Refused(String),
}

/// What the engine tells the outside by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A leaf needs more units to take first writes; its writers wait. Sent again until answered by
    /// a grant or a refusal (spec M3).
    PlacementFault {
        /// The volume.
        volume: VolumeUid,
        /// The leaf.
        path: ObjectPath,
        /// The disk on which it lies.
        disk: DiskUid,
        /// Units that would be enough for those who wait.
        units: u32,
    },
    /// A disk had an I/O error; nothing is sent to it until it is reopened.
    DiskFailed {
        /// The disk.
        disk: DiskUid,
        /// What it answered.
        fault: IoFault,
    },
    /// A metadata block cannot be believed; what it maps is answered with errors.
    Damaged {
        /// The disk.
        disk: DiskUid,
        /// Which block, and what is wrong with it.
        what: String,
    },
    /// An I/O met a state of its map entry that the store did not make (spec M3); it waits.
    MapFault {
        /// The volume.
        volume: VolumeUid,
        /// The leaf.
        path: ObjectPath,
        /// The name of the fault, for the answer.
        fault: u64,
        /// The segment of the leaf.
        segment: u32,
        /// Whether it is a write.
        write: bool,
        /// The state that stopped it.
        state: crate::map::State,
    },
    /// A copy missed a write; the others know, durably.
    LegDropped {
        /// The volume.
        volume: VolumeUid,
        /// The mirror.
        mirror: ObjectPath,
        /// Which of its copies.
        leg: u8,
    },
    /// A copy is being made equal again.
    Rebuild {
        /// The volume.
        volume: VolumeUid,
        /// The mirror.
        mirror: ObjectPath,
        /// Which of its copies.
        leg: u8,
        /// Bytes looked at so far.
        done: Bytes,
        /// Bytes to look at.
        total: Bytes,
        /// Bytes copied so far.
        copied: Bytes,
        /// Whether it is finished and the copy counts again.
        complete: bool,
    },
}

/// Effects in the order in which they are to be started.
pub type Effects = Vec<Effect>;
