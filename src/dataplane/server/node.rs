//! What the server asks of the engine besides I/O.

use crate::machine::Machine;
use control::{Failure, Request, Response, Status};
use engine::disk::Disk;
use engine::io::{CommandId, DiskIndex, Effects, Now, VolumeId};
use layout::{DiskUid, Layout, Term, VolumeUid};

/// What comes of a command.
#[derive(Debug)]
pub enum Outcome {
    /// This, at once.
    Now(Result<Response, Failure>),
    /// It is under way; [`Effect::Answer`](engine::io::Effect::Answer) tells how it ended.
    Later,
}

/// An engine that takes commands. Whatever is refused has changed nothing.
pub trait Node: Machine {
    /// Opens a claimed disk, with what its volatile log holds, and takes it in under this index. On
    /// return what the log held is durable on the disk. Waits for the disk.
    ///
    /// # Errors
    /// What is wrong with the disk.
    fn open_disk(
        &mut self,
        now: Now,
        index: DiskIndex,
        disk: &mut dyn Disk,
        expected: Option<DiskUid>,
        volatile: &[u8],
        out: &mut Effects,
    ) -> Result<DiskUid, Failure>;

    /// Which disk it is, without opening it.
    ///
    /// # Errors
    /// Where it is none of ours.
    fn identify(&self, disk: &mut dyn Disk) -> Result<DiskUid, Failure>;

    /// Closes a disk that no volume uses.
    fn close_disk(&mut self, now: Now, id: CommandId, disk: DiskUid, out: &mut Effects) -> Outcome;

    /// Takes requests for a volume from now on.
    ///
    /// # Errors
    /// Where its disks say that it cannot be.
    fn attach(
        &mut self,
        now: Now,
        volume: VolumeId,
        layout: &Layout,
        out: &mut Effects,
    ) -> Result<(), Failure>;

    /// Takes no more requests for a volume; the answer comes when all is durable.
    fn detach(&mut self, now: Now, id: CommandId, volume: VolumeUid, out: &mut Effects) -> Outcome;

    /// Goes over to another layout of an attached volume: a larger one, or with another copy.
    fn relayout(&mut self, now: Now, id: CommandId, layout: &Layout, out: &mut Effects) -> Outcome;

    /// Makes a leader's term durable on every disk.
    fn note_term(&mut self, now: Now, id: CommandId, term: Term, out: &mut Effects) -> Outcome;

    /// The highest term that a disk has seen.
    fn highest_term(&self) -> Term;

    /// Carries out one of the requests that concern only the engine: grants, releases, maps, answers
    /// to faults, epochs.
    fn carry_out(
        &mut self,
        now: Now,
        id: CommandId,
        request: &Request,
        out: &mut Effects,
    ) -> Outcome;

    /// How disks and volumes are, as far as the engine knows: paths and devices are filled in later.
    fn status(&self) -> Status;
}
