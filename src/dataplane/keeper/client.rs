//! The other end of the keeper's socket.

use super::protocol::{Frame, FrameError, Kind, MAX_FRAME, Record, Verb};
use crate::fuse::Negotiated;
use crate::sys::seqpacket;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long an answer may take: a mount waits for the kernel's first request.
const LIMIT: Duration = Duration::from_secs(10);

/// Why the keeper did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("no keeper at {}: {cause}", path.display())]
    Absent {
        /// The socket.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// The conversation broke.
    #[error("the keeper does not answer: {0}")]
    Broken(io::Error),
    /// It answered what is no answer.
    #[error("the keeper's answer: {0}")]
    Frame(#[from] FrameError),
    /// It refused.
    #[error("the keeper refused {verb:?} of {kind:?}: {cause}")]
    Refused {
        /// What was asked.
        verb: Verb,
        /// Of what.
        kind: Kind,
        /// Why.
        cause: io::Error,
    },
}

/// A descriptor that came back, with its note.
#[derive(Debug)]
pub struct Held {
    /// What was said when it was handed in.
    pub note: Vec<u8>,
    /// A duplicate; with the keeper's it shares one open file description.
    pub fd: OwnedFd,
}

/// A connection to the keeper.
#[derive(Debug)]
pub struct Keeper {
    socket: OwnedFd,
}

impl Keeper {
    /// Connects.
    ///
    /// # Errors
    /// Where nobody listens.
    pub fn connect(path: &Path) -> Result<Self, ClientError> {
        let absent = |cause| ClientError::Absent {
            path: path.to_owned(),
            cause,
        };
        let socket = seqpacket::connect(path).map_err(absent)?;
        seqpacket::set_timeout(socket.as_fd(), LIMIT).map_err(absent)?;
        Ok(Keeper { socket })
    }

    /// Has the file of a volume mounted and the connection held.
    ///
    /// # Errors
    /// EEXIST where it is mounted already; whatever mounting answers.
    pub fn mount(&self, volume: [u8; 16], path: &Path) -> Result<Negotiated, ClientError> {
        let note = path.as_os_str().as_bytes().to_vec();
        let (answer, _) = self.ask(&Frame::new(Verb::Mount, Kind::Fuse, volume, note), None)?;
        negotiated(&answer.note).ok_or(ClientError::Frame(FrameError::Shape(answer.note.len())))
    }

    /// Hands in a descriptor.
    ///
    /// # Errors
    /// EEXIST where kind and key are taken.
    pub fn hold(
        &self,
        kind: Kind,
        key: [u8; 16],
        note: Vec<u8>,
        fd: BorrowedFd<'_>,
    ) -> Result<(), ClientError> {
        self.ask(&Frame::new(Verb::Hold, kind, key, note), Some(fd))
            .map(drop)
    }

    /// A duplicate of what is held; `None` where nothing is.
    ///
    /// # Errors
    /// Where the keeper does not answer.
    pub fn get(&self, kind: Kind, key: [u8; 16]) -> Result<Option<Held>, ClientError> {
        self.fetch(Verb::Get, kind, key)
    }

    /// Has the keeper let go of it, a mount taken out of the tree first; `None` where nothing was
    /// held. The last close is the caller's: that of a loop device may wait for the server.
    ///
    /// # Errors
    /// Where the keeper does not answer.
    pub fn release(&self, kind: Kind, key: [u8; 16]) -> Result<Option<Held>, ClientError> {
        self.fetch(Verb::Release, kind, key)
    }

    /// Everything that is held, in the order of kind and key.
    ///
    /// # Errors
    /// Where the keeper does not answer.
    pub fn list(&self) -> Result<Vec<Record>, ClientError> {
        let mut all: Vec<Record> = Vec::new();
        loop {
            let (kind, key) = all
                .last()
                .map_or((Kind::Fuse, [0; 16]), |r| (r.kind, r.key));
            let (answer, _) = self.ask(&Frame::new(Verb::List, kind, key, Vec::new()), None)?;
            let shape = FrameError::Shape(answer.note.len());
            let more = Record::read_all(&answer.note).ok_or(shape)?;
            if more.is_empty() {
                return Ok(all);
            }
            all.extend(more);
        }
    }

    fn fetch(&self, verb: Verb, kind: Kind, key: [u8; 16]) -> Result<Option<Held>, ClientError> {
        match self.ask(&Frame::new(verb, kind, key, Vec::new()), None) {
            Ok((answer, Some(fd))) => Ok(Some(Held {
                note: answer.note,
                fd,
            })),
            Ok((answer, None)) => Err(FrameError::Shape(answer.note.len()).into()),
            Err(ClientError::Refused { cause, .. })
                if cause.raw_os_error() == Some(libc::ENOENT) =>
            {
                Ok(None)
            }
            Err(e) => Err(e),
        }
    }

    fn ask(
        &self,
        frame: &Frame,
        fd: Option<BorrowedFd<'_>>,
    ) -> Result<(Frame, Option<OwnedFd>), ClientError> {
        let fds: Vec<BorrowedFd<'_>> = fd.into_iter().collect();
        let socket = self.socket.as_fd();
        seqpacket::send(socket, &frame.encode(), &fds).map_err(ClientError::Broken)?;
        let mut buf = [0; MAX_FRAME];
        let (len, mut fds) = seqpacket::receive(socket, &mut buf).map_err(ClientError::Broken)?;
        if len == 0 {
            return Err(ClientError::Broken(io::Error::from_raw_os_error(
                libc::EPIPE,
            )));
        }
        let answer = Frame::decode(&buf[..len])?;
        if answer.errno != 0 {
            let cause = io::Error::from_raw_os_error(answer.errno as i32);
            return Err(ClientError::Refused {
                verb: frame.verb,
                kind: frame.kind,
                cause,
            });
        }
        Ok((answer, fds.pop()))
    }
}

/// What INIT agreed on, from the note of a connection.
pub(crate) fn negotiated(note: &[u8]) -> Option<Negotiated> {
    note.first_chunk().map(Negotiated::from_bytes)
}
