//! Local sockets that keep message boundaries and carry file descriptors (`SOCK_SEQPACKET`).
//!
//! Invariant: every descriptor made or received here is close-on-exec.
#![allow(unsafe_code)]

use super::check;
use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

/// Descriptors that one message may carry.
pub const MAX_FDS: usize = 4;
const CONTROL_WORDS: usize = 8;

fn socket() -> io::Result<OwnedFd> {
    // SAFETY: no pointers are passed; the descriptor is new and nobody else's.
    unsafe {
        let fd = check(libc::socket(
            libc::AF_UNIX,
            libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC,
            0,
        ))?;
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

fn address(path: &Path) -> io::Result<libc::sockaddr_un> {
    let bytes = path.as_os_str().as_bytes();
    // SAFETY: all zeros is a valid sockaddr_un.
    let mut addr: libc::sockaddr_un = unsafe { zeroed() };
    addr.sun_family = libc::AF_UNIX as libc::sa_family_t;
    if bytes.len() >= addr.sun_path.len() || bytes.contains(&0) {
        let why = format!("socket path of {} bytes, at most 107 fit", bytes.len());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    for (to, from) in addr.sun_path.iter_mut().zip(bytes) {
        *to = *from as libc::c_char;
    }
    Ok(addr)
}

const ADDRESS_LEN: libc::socklen_t = size_of::<libc::sockaddr_un>() as libc::socklen_t;

/// Listens at `path`, which must not exist.
///
/// # Errors
/// As of socket(2), bind(2), listen(2).
pub fn listen(path: &Path) -> io::Result<OwnedFd> {
    let (fd, addr) = (socket()?, address(path)?);
    // SAFETY: `addr` lives through the call and the length is its size.
    unsafe {
        check(libc::bind(
            fd.as_raw_fd(),
            (&raw const addr).cast(),
            ADDRESS_LEN,
        ))?;
        check(libc::listen(fd.as_raw_fd(), 64))?;
    }
    Ok(fd)
}

/// Connects to whoever listens at `path`.
///
/// # Errors
/// As of socket(2), connect(2).
pub fn connect(path: &Path) -> io::Result<OwnedFd> {
    let (fd, addr) = (socket()?, address(path)?);
    // SAFETY: `addr` lives through the call and the length is its size.
    unsafe {
        check(libc::connect(
            fd.as_raw_fd(),
            (&raw const addr).cast(),
            ADDRESS_LEN,
        ))?
    };
    Ok(fd)
}

/// Takes one connection of a listening socket.
///
/// # Errors
/// As of accept4(2).
pub fn accept(listener: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let null = std::ptr::null_mut();
    // SAFETY: the address may be null; the descriptor is new and nobody else's.
    unsafe {
        let fd = libc::accept4(
            listener.as_raw_fd(),
            null,
            std::ptr::null_mut(),
            libc::SOCK_CLOEXEC,
        );
        Ok(OwnedFd::from_raw_fd(check(fd)?))
    }
}

/// Two connected ends.
///
/// # Errors
/// As of socketpair(2).
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut fds = [-1; 2];
    // SAFETY: the array holds two descriptors, which are new and nobody else's.
    unsafe {
        let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
        check(libc::socketpair(libc::AF_UNIX, kind, 0, fds.as_mut_ptr()))?;
        Ok((OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])))
    }
}

/// Bounds how long a send or receive on this socket may wait.
///
/// # Errors
/// As of setsockopt(2).
pub fn set_timeout(fd: BorrowedFd<'_>, limit: Duration) -> io::Result<()> {
    let tv = libc::timeval {
        tv_sec: limit.as_secs() as libc::time_t,
        tv_usec: libc::suseconds_t::from(limit.subsec_micros() as i32),
    };
    let len = size_of::<libc::timeval>() as libc::socklen_t;
    for option in [libc::SO_RCVTIMEO, libc::SO_SNDTIMEO] {
        let (fd, value) = (fd.as_raw_fd(), (&raw const tv).cast());
        // SAFETY: `tv` lives through the call and the length is its size.
        unsafe { check(libc::setsockopt(fd, libc::SOL_SOCKET, option, value, len))? };
    }
    Ok(())
}

/// Sends one message with at most [`MAX_FDS`] descriptors.
///
/// # Errors
/// As of sendmsg(2); EPIPE where the other end is gone (never a signal).
pub fn send(fd: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    assert!(fds.len() <= MAX_FDS);
    let mut control = [0u64; CONTROL_WORDS];
    let mut iov = libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    // SAFETY: everything that `msg` points to lives through the call; the control buffer has room
    // for MAX_FDS descriptors (asserted below) and is aligned as a cmsghdr asks.
    let sent = unsafe {
        let mut msg: libc::msghdr = zeroed();
        msg.msg_iov = &raw mut iov;
        msg.msg_iovlen = 1;
        if !fds.is_empty() {
            let room = size_of::<[libc::c_int; 1]>() * fds.len();
            msg.msg_control = control.as_mut_ptr().cast();
            msg.msg_controllen = libc::CMSG_SPACE(room as u32) as usize;
            assert!(msg.msg_controllen <= size_of::<[u64; CONTROL_WORDS]>());
            let header = libc::CMSG_FIRSTHDR(&raw const msg);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(room as u32) as usize;
            let data = libc::CMSG_DATA(header).cast::<libc::c_int>();
            for (i, fd) in fds.iter().enumerate() {
                data.add(i).write_unaligned(fd.as_raw_fd());
            }
        }
        libc::sendmsg(fd.as_raw_fd(), &raw const msg, libc::MSG_NOSIGNAL)
    };
    if sent < 0 {
        return Err(io::Error::last_os_error());
    }
    assert_eq!(
        sent as usize,
        bytes.len(),
        "a message is sent whole or not at all"
    );
    Ok(())
}

/// Receives one message: how many bytes of `buf` it filled (0: the other end is gone) and the
/// descriptors that came with it.
///
/// # Errors
/// As of recvmsg(2); EMSGSIZE where the message was longer than `buf` or carried too many
/// descriptors.
pub fn receive(fd: BorrowedFd<'_>, buf: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut control = [0u64; CONTROL_WORDS];
    let mut iov = libc::iovec {
        iov_base: buf.as_mut_ptr().cast(),
        iov_len: buf.len(),
    };
    let mut fds = Vec::new();
    // SAFETY: everything that `msg` points to lives through the call; control messages are walked
    // with the kernel's own macros, and each received descriptor is taken exactly once.
    let (got, flags) = unsafe {
        let mut msg: libc::msghdr = zeroed();
        msg.msg_iov = &raw mut iov;
        msg.msg_iovlen = 1;
        msg.msg_control = control.as_mut_ptr().cast();
        msg.msg_controllen = size_of::<[u64; CONTROL_WORDS]>();
        let got = libc::recvmsg(fd.as_raw_fd(), &raw mut msg, libc::MSG_CMSG_CLOEXEC);
        if got < 0 {
            return Err(io::Error::last_os_error());
        }
        let mut header = libc::CMSG_FIRSTHDR(&raw const msg);
        while !header.is_null() {
            let is_rights =
                (*header).cmsg_level == libc::SOL_SOCKET && (*header).cmsg_type == libc::SCM_RIGHTS;
            if is_rights {
                let bytes = (*header).cmsg_len - libc::CMSG_LEN(0) as usize;
                let data = libc::CMSG_DATA(header).cast::<libc::c_int>();
                for i in 0..bytes / size_of::<libc::c_int>() {
                    fds.push(OwnedFd::from_raw_fd(data.add(i).read_unaligned()));
                }
            }
            header = libc::CMSG_NXTHDR(&raw const msg, header);
        }
        (got as usize, msg.msg_flags)
    };
    if flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0 {
        return Err(io::Error::from_raw_os_error(libc::EMSGSIZE));
    }
    Ok((got, fds))
}

/// Waits until one of the descriptors can be read, or the limit is over; says which can.
///
/// # Errors
/// As of poll(2); interruption by a signal is not an error (nothing can be read).
pub fn wait_readable(fds: &[BorrowedFd<'_>], limit: Option<Duration>) -> io::Result<Vec<bool>> {
    let ask = |fd: &BorrowedFd<'_>| libc::pollfd {
        fd: fd.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    let mut polls: Vec<libc::pollfd> = fds.iter().map(ask).collect();
    let ms = limit.map_or(-1, |l| l.as_millis().min(i32::MAX as u128) as libc::c_int);
    // SAFETY: the array lives through the call and its length is given.
    match check(unsafe { libc::poll(polls.as_mut_ptr(), polls.len() as libc::nfds_t, ms) }) {
        Ok(_) => Ok(polls.iter().map(|p| p.revents != 0).collect()),
        Err(e) if e.kind() == io::ErrorKind::Interrupted => Ok(vec![false; fds.len()]),
        Err(e) => Err(e),
    }
}
