//! What the server asks of the engine besides I/O.

use crate::machine::Machine;
use control::{Failure, Request, Response, Status};
use engine::disk::Disk;
use engine::io::{CommandId, DiskIndex, Effects, Now, VolumeId};
use layout::{DiskUid, Layout, Term};

/// What comes of a command.
#[derive(Debug)]
pub enum Outcome {
    /// This, at once.
    Now(Result<Response, Failure>),
    /// It is under way; [`Effect::Answer`](engine::io::Effect::Answer) tells how it ended.
    Later,
}

/// Which disk it is, before it is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its name.
    pub uid: DiskUid,
    /// Bytes that its volatile log has to hold at most.
    pub log_bytes: usize,
}

/// An engine that takes commands. Whatever is refused has changed nothing.
pub trait Node: Machine {
    /// Which disk it is, without opening it.
    ///
    /// # Errors
    /// Where it is none of ours.
    fn identify(&self, disk: &mut dyn Disk) -> Result<Identity, Failure>;

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
        expected: DiskUid,
        volatile: &[u8],
        out: &mut Effects,
    ) -> Result<(), Failure>;

    /// Closes a disk that no volume uses; [`Node::forget_disk`] comes after.
    fn close_disk(&mut self, now: Now, id: CommandId, disk: DiskUid, out: &mut Effects) -> Outcome;

    /// Lets go of a disk that was closed, or failed.
    ///
    /// # Errors
    /// Where it is in use.
    fn forget_disk(&mut self, now: Now, index: DiskIndex, out: &mut Effects)
    -> Result<(), Failure>;

    /// Whether the disk takes nothing until it is opened anew.
    fn has_failed(&self, index: DiskIndex) -> bool;

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
    ///
    /// # Errors
    /// Where it is not attached.
    fn detach(
        &mut self,
        now: Now,
        id: CommandId,
        volume: VolumeId,
        out: &mut Effects,
    ) -> Result<(), Failure>;

    /// Goes over to another layout of an attached volume: a larger one, or with another copy.
    ///
    /// # Errors
    /// What cannot be changed that way.
    fn relayout(
        &mut self,
        now: Now,
        volume: VolumeId,
        layout: &Layout,
        out: &mut Effects,
    ) -> Result<(), Failure>;

    /// Makes a leader's term durable on every disk: how many answers will come.
    fn note_term(&mut self, now: Now, id: CommandId, term: Term, out: &mut Effects) -> usize;

    /// The highest term that a disk has seen.
    fn highest_term(&self) -> Term;

    /// Carries out one of the requests that concern only the engine: grants, releases, maps,
    /// answers to faults, epochs. `attached`: the volume that it names, where that is attached.
    fn carry_out(
        &mut self,
        now: Now,
        id: CommandId,
        request: &Request,
        attached: Option<VolumeId>,
        out: &mut Effects,
    ) -> Outcome;

    /// How disks and volumes are, as far as the engine knows; paths and devices are filled in
    /// later.
    fn status(&self, volumes: &mut dyn Iterator<Item = (VolumeId, Layout)>) -> Status;
}
