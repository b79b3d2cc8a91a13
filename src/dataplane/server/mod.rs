//! Requests of the control socket, carried out: one at a time each, none waits for another.
//!
//! What can be undone is done first; what a successor has to know is in the record of what is
//! attached before a request is answered. A request that is cut short by this process's death is
//! not answered; whoever asked asks again, and repeating does no harm.

mod adapter;
mod disks;
mod helper;
mod node;
mod volumes;

pub use node::{Identity, Node, Outcome};

use crate::attached::{Attached, AttachedError, AttachedStore};
use crate::disk::PowerCut;
use crate::ring::{Loop, Wake};
use crate::run::{Process, RunError};
use crate::socket::{Asked, Asker, ControlSocket};
use control::term::Checked;
use control::{Failure, FailureKind, Reply, Request, Response, Status, TermGate};
use engine::io::{CommandId, DiskIndex, VolumeId};
use helper::Helpers;
use layout::{DiskUid, Term, VolumeUid};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

/// The first name of the helpers' descriptors in the loop, and that of the control socket's.
const HELPERS: u32 = 0;
const SOCKET: u32 = 1 << 16;

/// How the server is set up.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the control socket shall be.
    pub control: PathBuf,
    /// The folder in which the volumes' files are mounted.
    pub volumes: PathBuf,
    /// The program, with its first arguments, that runs [`crate::looped::main`].
    pub helper: Vec<OsString>,
    /// Lose what was not flushed when this process dies. For tests.
    pub power_cut: Option<PowerCut>,
}

/// What follows when the machine has answered a command.
enum Pending {
    /// Tell who asked.
    Reply(Asker),
    /// The term is durable where it could be: carry out the request. So many answers are to come.
    Term(Term, Box<Asked>, usize),
    /// Forget the disk.
    CloseDisk(Asker, DiskUid),
    /// Let go of the volume's file.
    Detach(Asker, VolumeUid),
}

struct ServedVolume {
    id: VolumeId,
    device: Option<PathBuf>,
}

/// The server.
pub struct Server<'a> {
    process: &'a Process,
    config: Config,
    store: AttachedStore,
    attached: Attached,
    socket: ControlSocket,
    gate: TermGate,
    disks: BTreeMap<DiskUid, DiskIndex>,
    volumes: BTreeMap<VolumeUid, ServedVolume>,
    pending: BTreeMap<CommandId, Pending>,
    next_command: u64,
    helpers: Helpers,
    /// Volumes whose front end was told to stop, and who waits for that.
    stopping: Vec<(Asker, VolumeUid)>,
}

impl<'a> Server<'a> {
    /// Takes up what a predecessor served (steps 2 to 4 of [`crate::run`]), then listens.
    ///
    /// # Errors
    /// Where a disk is in use, or the record of what is attached cannot be had.
    pub fn start<N: Node>(
        process: &'a Process,
        config: Config,
        ring: &mut Loop<N>,
    ) -> Result<Self, RunError> {
        let (store, attached) = AttachedStore::load(process.keeper())?;
        let socket = ControlSocket::new(crate::run::OTHERS + SOCKET);
        let mut server = Server {
            process,
            config,
            store,
            attached,
            socket,
            gate: TermGate::new(Term(0)),
            disks: BTreeMap::new(),
            volumes: BTreeMap::new(),
            pending: BTreeMap::new(),
            next_command: 1,
            helpers: Helpers::default(),
            stopping: Vec::new(),
        };
        server.take_up_disks(ring)?;
        server.gate.raise(ring.machine().highest_term());
        server.take_up_volumes(ring)?;
        server.socket.listen(&server.config.control, ring)?;
        Ok(server)
    }

    /// Deals with what the loop reports.
    pub fn wake<N: Node>(&mut self, wake: &Wake, ring: &mut Loop<N>) {
        if let Wake::Ready(name) = wake {
            if *name >= SOCKET {
                let highest = self.gate.highest();
                let name = name + crate::run::OTHERS;
                for asked in self.socket.ready(name, highest, ring) {
                    self.admit(asked, ring);
                }
            } else {
                self.helper_ended(*name - HELPERS, ring);
            }
        }
        loop {
            self.remove_stopped(ring);
            let Some((id, result)) = ring.next_answer() else {
                break;
            };
            if let Some(pending) = self.pending.remove(&id) {
                self.answered(id, pending, result.map_err(Failure::from), ring);
            }
        }
        while let Some(notice) = ring.next_notice() {
            self.socket.publish(&notice.into(), ring);
        }
    }

    /// Refuses older leaders; a newer leader's term becomes durable before anything is done for it.
    fn admit<N: Node>(&mut self, asked: Asked, ring: &mut Loop<N>) {
        if !asked.request.needs_term() {
            return self.carry_out(asked, ring);
        }
        match self.gate.check(asked.term) {
            Ok(Checked::Known) => self.carry_out(asked, ring),
            Err(stale) => self.fail(asked.by, stale.into(), ring),
            Ok(Checked::Higher(term)) => {
                let id = self.new_command();
                let disks = ring.with_machine(|n, now, out| n.note_term(now, id, term, out));
                match disks {
                    // Without disks there is nothing yet that an older leader could harm.
                    0 => self.raise_and_admit(term, asked, ring),
                    _ => drop(
                        self.pending
                            .insert(id, Pending::Term(term, Box::new(asked), disks)),
                    ),
                }
            }
        }
    }

    fn carry_out<N: Node>(&mut self, asked: Asked, ring: &mut Loop<N>) {
        let Asked { by, request, .. } = asked;
        match request {
            Request::AddDisk { path, expected } => self.add_disk(by, path.into(), expected, ring),
            Request::RemoveDisk { disk } => self.close_disk(by, disk, ring),
            Request::AttachVolume { layout } => self.attach(by, layout, ring),
            Request::DetachVolume { volume } => self.detach(by, volume, ring),
            Request::ResizeVolume { layout } | Request::ReplaceCopy { layout, .. } => {
                self.relayout(by, layout, ring);
            }
            Request::Status => {
                let status = Box::new(self.status(ring.machine()));
                self.succeed(by, Response::Status(status), ring);
            }
            Request::Subscribe => {
                self.socket.subscribe(by);
                self.succeed(by, Response::Done, ring);
            }
            Request::Upgrade => {
                self.succeed(by, Response::Done, ring);
                self.process.ask_for_successor(ring);
            }
            Request::Shutdown if !self.volumes.is_empty() => {
                let why = format!("{} volumes are attached", self.volumes.len());
                self.fail(by, FailureKind::Busy.because(why), ring);
            }
            Request::Shutdown => {
                self.succeed(by, Response::Done, ring);
                self.process.end_for_good(ring);
            }
            Request::Lease { .. } => {
                let why = "all copies of a volume are on this node: there is nobody to ask";
                self.fail(by, FailureKind::Refused.because(why), ring);
            }
            request => {
                let id = self.new_command();
                let volume = named_volume(&request).and_then(|v| self.volumes.get(&v));
                let volume = volume.map(|v| v.id);
                let outcome =
                    ring.with_machine(|n, now, out| n.carry_out(now, id, &request, volume, out));
                match outcome {
                    Outcome::Now(result) => self.socket.reply(by, result.into(), ring),
                    Outcome::Later => drop(self.pending.insert(id, Pending::Reply(by))),
                }
            }
        }
    }

    fn answered<N: Node>(
        &mut self,
        id: CommandId,
        pending: Pending,
        result: Result<(), Failure>,
        ring: &mut Loop<N>,
    ) {
        match (pending, result) {
            (Pending::Term(term, asked, left), _) if left > 1 => {
                self.pending
                    .insert(id, Pending::Term(term, asked, left - 1));
            }
            // A disk that failed meanwhile is none that an older leader could use.
            (Pending::Term(term, asked, _), _) => self.raise_and_admit(term, *asked, ring),
            (Pending::Reply(by), Ok(())) => self.succeed(by, Response::Done, ring),
            (Pending::CloseDisk(by, disk), Ok(())) => self.disk_closed(by, disk, ring),
            (Pending::Detach(by, volume), _) => self.detached(by, volume, ring),
            (Pending::Reply(by) | Pending::CloseDisk(by, _), Err(failure)) => {
                self.fail(by, failure, ring);
            }
        }
    }

    fn raise_and_admit<N: Node>(&mut self, term: Term, asked: Asked, ring: &mut Loop<N>) {
        // A later term may have become durable meanwhile.
        if term > self.gate.highest() {
            self.gate.raise(term);
        }
        self.admit(asked, ring);
    }

    /// Writes down what is attached.
    fn save(&mut self) -> Result<(), Failure> {
        let saved = self.store.save(self.process.keeper(), &self.attached);
        saved.map_err(|e: AttachedError| FailureKind::Refused.because(e.to_string()))
    }

    fn new_command(&mut self) -> CommandId {
        self.next_command += 1;
        CommandId(self.next_command)
    }

    fn succeed<N: Node>(&mut self, by: Asker, response: Response, ring: &mut Loop<N>) {
        self.socket.reply(by, Reply::Ok(response), ring);
    }
    fn fail<N: Node>(&mut self, by: Asker, failure: Failure, ring: &mut Loop<N>) {
        self.socket.reply(by, Reply::Failed(failure), ring);
    }

    /// What the engine knows, and what only the shell knows.
    fn status<N: Node>(&self, node: &N) -> Status {
        let layouts = self.attached.volumes.iter().map(|v| v.layout.clone());
        let mut volumes = layouts.filter_map(|l| Some((self.volumes.get(&l.volume)?.id, l)));
        let mut status = node.status(&mut volumes);
        status.highest = self.gate.highest();
        status.pid = std::process::id();
        for disk in &mut status.disks {
            if let Some(attached) = self.attached.disks.iter().find(|d| d.uid == disk.disk) {
                disk.path = attached.path.display().to_string();
            }
        }
        for volume in &mut status.volumes {
            let device = self
                .volumes
                .get(&volume.volume)
                .and_then(|v| v.device.as_ref());
            volume.device = device.map(|d| d.display().to_string());
        }
        status
    }
}

/// The volume that a request names, of those that the engine carries out.
fn named_volume(request: &Request) -> Option<VolumeUid> {
    match request {
        Request::CutEpoch { volume }
        | Request::ReleaseEpoch { volume, .. }
        | Request::Map { volume, .. }
        | Request::AnswerFault { volume, .. } => Some(*volume),
        _ => None,
    }
}
