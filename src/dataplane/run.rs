//! The I/O process: wires disks, logs and front ends to one machine and lets the loop run.
//!
//! The order of a start is the order in which it is safe:
//! 1. everything that can fail without touching a disk: memory, the ring, the keeper;
//! 2. claim every disk: from here on no write of a predecessor can land;
//! 3. open the volatile logs, recover;
//! 4. have the kernel send again what the predecessor had read;
//! 5. serve.

use crate::attached::AttachedError;
use crate::disk::{ClaimError, Patience};
use crate::front::FuseFront;
use crate::keeper::{ClientError, Keeper, Kind};
use crate::machine::Machine;
use crate::parent::{ParentError, Supervised};
use crate::ring::{Loop, Size, Wake};
use crate::server::{self, Server};
use crate::sys::memory::{SharedMap, memfd};
use crate::sys::process;
use crate::volatile_log::{LogError, VolatileLog};
use engine::io::VolumeId;
use engine::node::Engine;
use layout::{DiskUid, VolumeUid};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

const SIGNALS: u32 = 0;
const PARENT: u32 = 1;
/// The first name for descriptors that others watch.
pub(crate) const OTHERS: u32 = 2;

/// Why the I/O process did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The parent.
    #[error(transparent)]
    Parent(#[from] ParentError),
    /// The keeper.
    #[error(transparent)]
    Keeper(#[from] ClientError),
    /// A volatile log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The ring, its memory, or the signals.
    #[error("the event loop: {0}")]
    Loop(#[from] io::Error),
    /// A disk is in use.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// What is attached.
    #[error(transparent)]
    Attached(#[from] AttachedError),
    /// The kernel cannot send requests again: what the predecessor had read is lost to the
    /// application.
    #[error("volume {volume}: requests of the predecessor cannot be had again: {cause}")]
    Resend {
        /// Whose.
        volume: VolumeUid,
        /// Why.
        cause: io::Error,
    },
}

/// The process around the loop: parent, keeper, signals.
pub struct Process {
    parent: Option<Supervised>,
    keeper: Keeper,
    keeper_path: PathBuf,
    signals: OwnedFd,
    takeover: bool,
}

impl Process {
    /// Prepares what does not depend on any disk. To be called first, before any thread is started.
    ///
    /// # Errors
    /// Where there is no keeper, or no parent although one was promised.
    pub fn start(keeper: &Path, supervised: bool) -> Result<Self, RunError> {
        let signals = process::signals(&[libc::SIGTERM, libc::SIGINT])?;
        let parent = supervised.then(Supervised::from_stdin).transpose()?;
        let keeper_path = keeper.to_owned();
        let keeper = Keeper::connect(&keeper_path)?;
        if let Err(e) = process::set_io_flusher() {
            eprintln!("dataplane: not marked as an I/O flusher: {e}");
        }
        let served = keeper.list()?.iter().any(|r| r.kind == Kind::Fuse);
        let takeover = served || parent.as_ref().is_some_and(Supervised::is_takeover);
        Ok(Process {
            parent,
            keeper,
            keeper_path,
            signals,
            takeover,
        })
    }

    /// The loop around `machine`. Its memory is locked, and the parent is told that the start
    /// succeeded.
    ///
    /// # Errors
    /// Where the kernel refuses memory or the ring.
    pub fn prepare<M: Machine>(&self, machine: M, size: Size) -> Result<Loop<M>, RunError> {
        let ring = Loop::new(machine, size, self.slot_memory(size)?)?;
        if let Err(e) = process::lock_memory() {
            eprintln!("dataplane: memory is not locked: {e}");
        }
        if let Some(parent) = &self.parent {
            parent.prepared();
        }
        Ok(ring)
    }

    /// The memory of the slots. The keeper holds it, for filling it with zeros takes longer than
    /// all else in a takeover. What a dead predecessor's I/O still puts there ends before the
    /// claim.
    fn slot_memory(&self, size: Size) -> Result<SharedMap, RunError> {
        const KEY: [u8; 16] = [0; 16];
        let len = size.bytes();
        let note = (len as u64).to_le_bytes();
        if let Some(held) = self.keeper.get(Kind::Slots, KEY)? {
            if held.note == note {
                return Ok(SharedMap::of_file(held.fd.as_fd(), len)?);
            }
            drop(self.keeper.release(Kind::Slots, KEY)?);
        }
        let fd = memfd(c"stratovol-slots", len)?;
        let memory = SharedMap::of_file(fd.as_fd(), len)?;
        self.keeper
            .hold(Kind::Slots, KEY, note.to_vec(), fd.as_fd())?;
        Ok(memory)
    }

    /// The keeper.
    pub fn keeper(&self) -> &Keeper {
        &self.keeper
    }

    /// Where the keeper listens.
    pub fn keeper_path(&self) -> &Path {
        &self.keeper_path
    }

    /// Has the parent start a successor, for which we make way when it is ready. Without a parent,
    /// whoever started us starts the next one.
    pub(crate) fn ask_for_successor<M: Machine>(&self, ring: &mut Loop<M>) {
        match &self.parent {
            Some(parent) => parent.ask_for_successor(),
            None => ring.stop(),
        }
    }

    /// Ends, and the parent with us.
    pub(crate) fn end_for_good<M: Machine>(&self, ring: &mut Loop<M>) {
        if let Some(parent) = &self.parent {
            parent.end();
        }
        ring.stop();
    }

    /// How to claim disks: patiently where a predecessor is going or gone.
    pub fn patience(&self) -> Patience {
        if self.takeover {
            Patience::Takeover
        } else {
            Patience::AtOnce
        }
    }

    /// The volatile log of a disk that is claimed: the predecessor's, or a new one that the keeper
    /// holds from now on.
    /// `capacity` in bytes.
    ///
    /// # Errors
    /// Where it is damaged, or memory or the keeper fail.
    pub fn log(&self, disk: DiskUid, capacity: usize) -> Result<VolatileLog, RunError> {
        if let Some(held) = self.keeper.get(Kind::Log, disk.0)? {
            return Ok(VolatileLog::open(held.fd.as_fd())?);
        }
        let (log, fd) = VolatileLog::create(capacity)?;
        self.keeper
            .hold(Kind::Log, disk.0, Vec::new(), fd.as_fd())?;
        Ok(log)
    }

    /// Takes over the FUSE connection of a volume, if the keeper holds one; what a predecessor had
    /// read comes again. Only after every disk of the volume was claimed and recovered.
    ///
    /// # Errors
    /// Where the keeper does not answer, or the kernel cannot send requests again.
    pub fn take_front(
        &self,
        volume: VolumeId,
        uid: VolumeUid,
        size: u64,
    ) -> Result<Option<FuseFront>, RunError> {
        let Some(held) = self.keeper.get(Kind::Fuse, uid.0)? else {
            return Ok(None);
        };
        let front = FuseFront::new(volume, held.fd, size);
        match front.resend() {
            // Nothing can be lost where nobody had read anything.
            Err(_) if !self.takeover => {}
            Err(cause) => return Err(RunError::Resend { volume: uid, cause }),
            Ok(()) => {}
        }
        Ok(Some(front))
    }

    /// Serves until SIGTERM, or until the parent is gone; then finishes what was read.
    ///
    /// # Errors
    /// Where the ring fails.
    pub fn serve<M: Machine>(
        &self,
        ring: &mut Loop<M>,
        mut other: impl FnMut(&mut Loop<M>, Wake) -> io::Result<()>,
    ) -> Result<(), RunError> {
        ring.watch(&self.signals, SIGNALS);
        if let Some(parent) = &self.parent {
            ring.watch(parent, PARENT);
            parent.serving();
        }
        loop {
            match ring.turn(None)? {
                Wake::Drained => return Ok(()),
                Wake::Ready(SIGNALS) => {
                    while process::next_signal(self.signals.as_fd()).is_some() {
                        ring.stop();
                    }
                    ring.watch(&self.signals, SIGNALS);
                }
                Wake::Ready(PARENT) => match self.parent.as_ref().filter(|p| p.answer()) {
                    Some(parent) => ring.watch(parent, PARENT),
                    // Whoever starts the next parent starts another of us: make way.
                    None => ring.stop(),
                },
                Wake::Ready(name) => other(ring, Wake::Ready(name - OTHERS))?,
                Wake::Io => other(ring, Wake::Io)?,
            }
        }
    }
}

/// How to run the I/O process.
#[derive(Clone, Debug)]
pub struct Args {
    /// The keeper's socket.
    pub keeper: PathBuf,
    /// Whether a parent is at standard input.
    pub supervised: bool,
    /// Requests under way at once.
    pub size: Size,
    /// The control socket and what it needs.
    pub server: server::Config,
}

/// Runs the I/O process until it is told to stop.
///
/// # Errors
/// Where it cannot start, for example because another process has a disk, or the ring fails.
pub fn main(args: Args) -> Result<(), RunError> {
    let process = Process::start(&args.keeper, args.supervised)?;
    let engine = Engine::new(engine::node::Config::default());
    let mut ring = process.prepare(engine, args.size)?;
    let mut server = Server::start(&process, args.server, &mut ring)?;
    process.serve(&mut ring, |ring, wake| {
        server.wake(&wake, ring);
        Ok(())
    })
}
