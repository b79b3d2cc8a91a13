//! The keeper: the process that holds what must outlive the data plane.
//!
//! It mounts a volume's file, answers the kernel's INIT once, and from then on only holds
//! descriptors: the FUSE connections, the loop devices, the volatile logs of the disks. Whoever
//! asks over its socket is handed a duplicate. It reads no request of the kernel, decides nothing,
//! and its protocol is frozen, so it has no reason to stop: where it dies, every volume of the node
//! is gone until it is attached anew.
//!
//! Invariants:
//! - It never opens, stats or closes anything whose end depends on a server: a FUSE file, the last
//!   descriptor of a loop device.
//! - It holds no descriptor of a disk: the claim of a dead data plane would never end.

mod client;
mod held;
pub mod protocol;
#[cfg(test)]
mod tests;

pub use client::{ClientError, Held, Keeper};
pub use protocol::{Kind, Record};

use crate::sys::{process, seqpacket};
use held::Holdings;
use protocol::{Frame, MAX_FRAME};
use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Connections that the keeper serves at once; the oldest goes when one more comes.
const MAX_CLIENTS: usize = 64;
/// A client that does not take its answer within this time is dropped.
const ANSWER_LIMIT: Duration = Duration::from_secs(1);

/// How to run a keeper.
#[derive(Clone, Debug)]
pub struct Args {
    /// Where its socket shall be; at most 107 bytes long.
    pub socket: PathBuf,
}

/// Why a keeper did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum KeeperError {
    /// Another keeper has the socket.
    #[error("another keeper is running at {}", .0.display())]
    Running(PathBuf),
    /// The socket cannot be made.
    #[error("socket {}: {cause}", path.display())]
    Socket {
        /// Where.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// Waiting for messages or signals failed.
    #[error("waiting for requests: {0}")]
    Wait(io::Error),
}

/// Runs a keeper until SIGTERM comes while it holds no volume. While it holds one, SIGTERM is
/// refused: its end would be an I/O error for everything above.
///
/// # Errors
/// Where it cannot start, or the kernel refuses to let it wait.
pub fn main(args: &Args) -> Result<(), KeeperError> {
    let ignored = [libc::SIGHUP, libc::SIGINT, libc::SIGPIPE, libc::SIGTERM];
    let signals = process::signals(&ignored).map_err(KeeperError::Wait)?;
    if let Err(e) = process::spare_from_oom() {
        eprintln!("keeper: the out-of-memory killer may choose this process: {e}");
    }
    if let Err(e) = process::lock_memory() {
        eprintln!("keeper: memory is not locked: {e}");
    }
    let (listener, _lock) = listen(&args.socket)?;
    let mut server = Server {
        holdings: Holdings::default(),
        clients: Vec::new(),
    };
    loop {
        server
            .turn(&listener, &signals)
            .map_err(KeeperError::Wait)?;
        while let Some(signal) = process::next_signal(signals.as_fd()) {
            if signal != libc::SIGTERM {
                continue;
            }
            match server.holdings.volumes() {
                0 => {
                    let _ = std::fs::remove_file(&args.socket);
                    return Ok(());
                }
                n => eprintln!("keeper: SIGTERM refused: {n} volumes are served through it"),
            }
        }
    }
}

/// Takes the socket's place: at most one keeper has it, and the lock says who.
fn listen(path: &Path) -> Result<(OwnedFd, File), KeeperError> {
    let fail = |cause| KeeperError::Socket {
        path: path.to_owned(),
        cause,
    };
    let mut lock_path = path.as_os_str().to_owned();
    lock_path.push(".lock");
    let lock = OpenOptions::new()
        .create(true)
        .append(true)
        .open(lock_path)
        .map_err(fail)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(std::fs::TryLockError::WouldBlock) => {
            return Err(KeeperError::Running(path.to_owned()));
        }
        Err(std::fs::TryLockError::Error(e)) => return Err(fail(e)),
    }
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(fail(e)),
        _ => {}
    }
    let listener = seqpacket::listen(path).map_err(fail)?;
    std::fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(fail)?;
    Ok((listener, lock))
}

struct Server {
    holdings: Holdings,
    clients: Vec<OwnedFd>,
}

impl Server {
    /// Waits for something to happen and deals with it.
    fn turn(&mut self, listener: &OwnedFd, signals: &OwnedFd) -> io::Result<()> {
        let fixed = [listener.as_fd(), signals.as_fd()];
        let all: Vec<BorrowedFd<'_>> = fixed
            .into_iter()
            .chain(self.clients.iter().map(AsFd::as_fd))
            .collect();
        let ready = seqpacket::wait_readable(&all, None)?;
        let mut ready_clients = ready[fixed.len()..].iter();
        let holdings = &mut self.holdings;
        self.clients
            .retain(|client| !ready_clients.next().is_some_and(|r| *r) || serve(client, holdings));
        if ready[0] {
            match seqpacket::accept(listener.as_fd()) {
                Ok(client) => self.admit(client),
                Err(e) => eprintln!("keeper: a connection was lost: {e}"),
            }
        }
        Ok(())
    }

    fn admit(&mut self, client: OwnedFd) {
        if let Err(e) = seqpacket::set_timeout(client.as_fd(), ANSWER_LIMIT) {
            eprintln!(
                "keeper: connection {} is without a time limit: {e}",
                client.as_raw_fd()
            );
        }
        if self.clients.len() == MAX_CLIENTS {
            self.clients.remove(0);
        }
        self.clients.push(client);
    }
}

/// Answers one message; whether the client stays.
fn serve(client: &OwnedFd, holdings: &mut Holdings) -> bool {
    let mut buf = [0; MAX_FRAME];
    let (len, fds) = match seqpacket::receive(client.as_fd(), &mut buf) {
        Ok((0, _)) | Err(_) => return false,
        Ok(got) => got,
    };
    let frame = match Frame::decode(&buf[..len]) {
        Ok(frame) => frame,
        Err(e) => {
            eprintln!("keeper: {e}");
            let refusal = Frame::refusal(libc::EPROTO);
            return seqpacket::send(client.as_fd(), &refusal.encode(), &[]).is_ok();
        }
    };
    let answer = holdings.apply(&frame, fds);
    let fds: Vec<BorrowedFd<'_>> = answer.fd.iter().map(AsFd::as_fd).collect();
    let sent = seqpacket::send(client.as_fd(), &answer.frame.encode(), &fds).is_ok();
    if let (Some(key), true) = (answer.release, sent) {
        holdings.forget(key);
    }
    sent
}
