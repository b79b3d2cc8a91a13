//! The parent: starts the I/O process again when it dies, kills it when it hangs, replaces it in an
//! upgrade.
//!
//! - SIGTERM, SIGINT: the I/O process finishes what it has read and ends, then the parent.
//! - SIGHUP: upgrade. A successor is started from the same command line, that is from whatever
//!   program is at that path by now. Once it could start it waits for the disks, and only then the
//!   predecessor is told to finish. A successor that cannot start changes nothing.
//!
//! A hung I/O process keeps its claim on the disks, so nobody else can help: that is why it is
//! killed here. A parent that dies takes its I/O process with it, in good order; whoever starts the
//! next one starts both.

mod line;

pub use line::Supervised;

use crate::sys::{process, seqpacket};
use line::Word;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// The exit code by which an I/O process says that it refuses to start, and that trying again is no
/// use.
pub const REFUSED: u8 = 3;

/// Between two questions whether the I/O process is alive.
const QUESTION: Duration = Duration::from_secs(1);
/// A process that served for a shorter time than this, as one does that dies of the same request
/// again and again, is started again only after a pause.
const SHORT_LIFE: Duration = Duration::from_millis(20);
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How to run a parent.
#[derive(Clone, Debug)]
pub struct Args {
    /// The command line of the I/O process, program first. It finds its parent at standard input
    /// ([`Supervised::from_stdin`]).
    pub command: Vec<OsString>,
    /// When to give up on a child.
    pub limits: Limits,
}

/// How long an I/O process may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// To start, before it claims the disks.
    pub start: Duration,
    /// To claim the disks and to recover what is on them.
    pub recover: Duration,
    /// To answer while it serves; to finish when it was told to.
    pub silence: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            start: Duration::from_secs(60),
            recover: Duration::from_secs(600),
            silence: Duration::from_secs(10),
        }
    }
}

/// Why the parent ended.
#[derive(Debug, thiserror::Error)]
pub enum ParentError {
    /// There is no program to run.
    #[error("no command line for the I/O process")]
    NoCommand,
    /// The I/O process cannot be started.
    #[error("starting {}: {cause}", program.display())]
    Start {
        /// What was to be started.
        program: OsString,
        /// Why not.
        cause: io::Error,
    },
    /// The first I/O process refused; it said why.
    #[error("the I/O process refuses to start ({0})")]
    Refused(ExitStatus),
    /// Waiting for signals and children failed.
    #[error("waiting: {0}")]
    Wait(io::Error),
    /// The socket between parent and I/O process.
    #[error("the socket to the parent at standard input: {0}")]
    Line(io::Error),
}

/// How far a child is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Starting,
    Recovering,
    Serving,
    Finishing,
}

struct Kid {
    child: Child,
    socket: OwnedFd,
    stage: Stage,
    /// When it was last heard, or entered its stage.
    heard: Instant,
    serving_since: Option<Instant>,
}

impl Kid {
    fn start(args: &Args, take_over: bool) -> Result<Self, ParentError> {
        let (program, rest) = args.command.split_first().ok_or(ParentError::NoCommand)?;
        let fail = |cause| ParentError::Start {
            program: program.clone(),
            cause,
        };
        let (ours, theirs) = seqpacket::pair().map_err(fail)?;
        let word = if take_over {
            Word::TakeOver
        } else {
            Word::Start
        };
        line::say(ours.as_fd(), word).map_err(fail)?;
        let mut command = Command::new(program);
        command.args(rest).stdin(Stdio::from(theirs));
        process::unblock_signals_in(&mut command);
        let child = command.spawn().map_err(fail)?;
        let now = Instant::now();
        let stage = Stage::Starting;
        Ok(Kid {
            child,
            socket: ours,
            stage,
            heard: now,
            serving_since: None,
        })
    }

    fn enter(&mut self, stage: Stage) {
        self.stage = stage;
        self.heard = Instant::now();
    }

    fn is_overdue(&self, limits: &Limits) -> bool {
        let limit = match self.stage {
            Stage::Starting => limits.start,
            Stage::Recovering => limits.recover,
            Stage::Serving | Stage::Finishing => limits.silence,
        };
        self.heard.elapsed() > limit
    }

    fn signal(&self, signal: libc::c_int) {
        // A child that is gone already is reaped in the next turn.
        let _ = process::kill(self.child.id(), signal);
    }

    /// Takes one word that waits; what it wants of the parent, if it wants something.
    fn listen(&mut self) -> Option<Word> {
        match line::hear(self.socket.as_fd()) {
            Ok(Some(Word::Prepared)) if self.stage == Stage::Starting => {
                self.enter(Stage::Recovering);
            }
            Ok(Some(Word::Serving)) if self.stage != Stage::Finishing => {
                self.serving_since = Some(Instant::now());
                self.enter(Stage::Serving);
            }
            Ok(Some(Word::Alive)) if self.stage == Stage::Serving => self.heard = Instant::now(),
            Ok(Some(word @ (Word::Upgrade | Word::End))) => return Some(word),
            // The end of the socket is followed by the end of the child, or by its limit.
            _ => {}
        }
        None
    }
}

/// Runs until it is told to stop, or the first I/O process refuses to start.
///
/// # Errors
/// Where there is nothing to run, or it refuses.
pub fn main(args: &Args) -> Result<(), ParentError> {
    let which = [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGCHLD];
    let signals = process::signals(&which).map_err(ParentError::Wait)?;
    if let Err(e) = process::spare_from_oom() {
        eprintln!("parent: the out-of-memory killer may choose this process: {e}");
    }
    let kid = Kid::start(args, false)?;
    let pause = FIRST_PAUSE;
    Parent {
        args,
        kid: Some(kid),
        successor: None,
        restart_at: None,
        pause,
        stopping: false,
    }
    .run(&signals)
}

struct Parent<'a> {
    args: &'a Args,
    kid: Option<Kid>,
    /// In an upgrade, until the predecessor is gone.
    successor: Option<Kid>,
    restart_at: Option<Instant>,
    pause: Duration,
    stopping: bool,
}

impl Parent<'_> {
    fn run(mut self, signals: &OwnedFd) -> Result<(), ParentError> {
        let mut asked = Instant::now();
        loop {
            self.wait(signals)?;
            while let Some(signal) = process::next_signal(signals.as_fd()) {
                match signal {
                    libc::SIGCHLD => {}
                    libc::SIGHUP => self.upgrade(),
                    _ => self.stop(),
                }
            }
            self.reap()?;
            if self.stopping && self.kid.is_none() {
                return Ok(());
            }
            if self.restart_at.is_some_and(|at| at <= Instant::now()) {
                self.restart_at = None;
                match Kid::start(self.args, true) {
                    Ok(kid) => self.kid = Some(kid),
                    Err(e) => {
                        eprintln!("parent: {e}");
                        self.restart_later();
                    }
                }
            }
            self.kill_the_hung();
            if asked.elapsed() >= QUESTION {
                asked = Instant::now();
                for kid in self.kids().filter(|k| k.stage == Stage::Serving) {
                    // One that does not take the question does not answer it either.
                    let _ = line::say(kid.socket.as_fd(), Word::Alive);
                }
            }
        }
    }

    fn kids(&mut self) -> impl Iterator<Item = &mut Kid> {
        self.kid.iter_mut().chain(&mut self.successor)
    }

    fn wait(&mut self, signals: &OwnedFd) -> Result<(), ParentError> {
        let until = self
            .restart_at
            .map(|at| at.saturating_duration_since(Instant::now()));
        let limit = until.unwrap_or(QUESTION).min(QUESTION);
        let sockets = self
            .kid
            .iter()
            .chain(&self.successor)
            .map(|k| k.socket.as_fd());
        let all: Vec<BorrowedFd<'_>> = std::iter::once(signals.as_fd()).chain(sockets).collect();
        // poll counts milliseconds: rounded up, or it would spin through the last one.
        let limit = limit + Duration::from_millis(1);
        let ready = seqpacket::wait_readable(&all, Some(limit)).map_err(ParentError::Wait)?;
        let kids = self.kids().zip(&ready[1..]).filter(|(_, ready)| **ready);
        let wishes: Vec<Word> = kids.filter_map(|(kid, _)| kid.listen()).collect();
        for wish in wishes {
            match wish {
                Word::Upgrade => self.upgrade(),
                _ => self.stopping = true,
            }
        }
        if self
            .successor
            .as_ref()
            .is_some_and(|s| s.stage != Stage::Starting)
            && let Some(kid) = self.kid.as_mut().filter(|k| k.stage != Stage::Finishing)
        {
            kid.signal(libc::SIGTERM);
            kid.enter(Stage::Finishing);
        }
        Ok(())
    }

    fn upgrade(&mut self) {
        if self.stopping || self.successor.is_some() {
            eprintln!("parent: upgrade refused: another one, or the end, is under way");
            return;
        }
        match Kid::start(self.args, true) {
            Ok(successor) if self.kid.is_some() => self.successor = Some(successor),
            Ok(kid) => {
                self.restart_at = None;
                self.kid = Some(kid);
            }
            Err(e) => eprintln!("parent: upgrade: {e}"),
        }
    }

    fn stop(&mut self) {
        self.stopping = true;
        self.restart_at = None;
        for kid in self.kids() {
            kid.signal(libc::SIGTERM);
            kid.enter(Stage::Finishing);
        }
    }

    fn kill_the_hung(&mut self) {
        let limits = self.args.limits;
        for kid in self.kids().filter(|k| k.is_overdue(&limits)) {
            let (pid, stage) = (kid.child.id(), kid.stage);
            eprintln!("parent: process {pid} hangs ({stage:?}): killed");
            kid.signal(libc::SIGKILL);
            kid.heard = Instant::now();
        }
    }

    fn reap(&mut self) -> Result<(), ParentError> {
        if let Some(successor) = &mut self.successor
            && let Some(status) = successor.child.try_wait().map_err(ParentError::Wait)?
        {
            eprintln!("parent: the successor ended before its turn ({status})");
            self.successor = None;
        }
        let Some(kid) = &mut self.kid else {
            return Ok(());
        };
        let Some(status) = kid.child.try_wait().map_err(ParentError::Wait)? else {
            return Ok(());
        };
        let served = kid.serving_since.map(|since| since.elapsed());
        self.kid = self.successor.take();
        if self.kid.is_some() || self.stopping {
            return Ok(());
        }
        eprintln!("parent: the I/O process ended ({status})");
        if served.is_none() && status.code() == Some(i32::from(REFUSED)) {
            return Err(ParentError::Refused(status));
        }
        if served.is_some_and(|age| age >= SHORT_LIFE) {
            self.pause = FIRST_PAUSE;
            self.restart_at = Some(Instant::now());
        } else {
            self.restart_later();
        }
        Ok(())
    }

    fn restart_later(&mut self) {
        self.restart_at = Some(Instant::now() + self.pause);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }
}
