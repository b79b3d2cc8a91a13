//! What a process asks of the kernel for itself: signals as descriptors, locks in memory,
//! priorities.
#![allow(unsafe_code)]

use super::check;
use std::io;
use std::mem::zeroed;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// linux/prctl.h; the libc crate does not have it.
const PR_SET_IO_FLUSHER: libc::c_int = 57;

/// Blocks these signals for the process and gives a descriptor from which they are read. To be
/// called before any thread is started. The descriptor does not block.
///
/// # Errors
/// As of sigprocmask(2), signalfd(2).
pub fn signals(which: &[libc::c_int]) -> io::Result<OwnedFd> {
    // SAFETY: the set is initialised by sigemptyset and lives through the calls; the descriptor is
    // new.
    unsafe {
        let mut set: libc::sigset_t = zeroed();
        libc::sigemptyset(&raw mut set);
        for signal in which {
            libc::sigaddset(&raw mut set, *signal);
        }
        let old = std::ptr::null_mut();
        check(libc::sigprocmask(libc::SIG_BLOCK, &raw const set, old))?;
        let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
        Ok(OwnedFd::from_raw_fd(check(libc::signalfd(
            -1,
            &raw const set,
            flags,
        ))?))
    }
}

/// Lets every signal that [`signals`] blocked through to a child.
pub fn unblock_signals_in(command: &mut Command) {
    let unblock = || {
        // SAFETY: the set is initialised by sigemptyset and lives through the call.
        unsafe {
            let mut set: libc::sigset_t = zeroed();
            libc::sigemptyset(&raw mut set);
            let old = std::ptr::null_mut();
            check(libc::sigprocmask(libc::SIG_SETMASK, &raw const set, old)).map(drop)
        }
    };
    // SAFETY: between fork and exec the closure makes one system call and allocates nothing.
    unsafe { command.pre_exec(unblock) };
}

/// The next signal that waits at a descriptor of [`signals`], if one does.
pub fn next_signal(fd: BorrowedFd<'_>) -> Option<libc::c_int> {
    // SAFETY: all zeros is a valid signalfd_siginfo, and the length is its size.
    unsafe {
        let mut info: libc::signalfd_siginfo = zeroed();
        let len = size_of::<libc::signalfd_siginfo>();
        let got = libc::read(fd.as_raw_fd(), (&raw mut info).cast(), len);
        (got == len as isize).then_some(info.ssi_signo as libc::c_int)
    }
}

/// A descriptor that can be read when the process, a child of ours, has ended.
///
/// # Errors
/// As of pidfd_open(2).
pub fn pidfd(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: no pointers; the descriptor is new, close-on-exec, and nobody else's.
    unsafe {
        let fd = libc::syscall(libc::SYS_pidfd_open, pid as libc::pid_t, 0);
        Ok(OwnedFd::from_raw_fd(check(fd as libc::c_int)?))
    }
}

/// Sends a signal to a process.
///
/// # Errors
/// As of kill(2).
pub fn kill(pid: u32, signal: libc::c_int) -> io::Result<()> {
    // SAFETY: no pointers.
    check(unsafe { libc::kill(pid as libc::pid_t, signal) }).map(drop)
}

/// Sets or clears O_NONBLOCK, a property of the open file description that all its holders share.
///
/// # Errors
/// As of fcntl(2).
pub fn set_nonblocking(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    // SAFETY: no pointers.
    unsafe {
        let flags = check(libc::fcntl(fd.as_raw_fd(), libc::F_GETFL))?;
        let wanted = if on {
            flags | libc::O_NONBLOCK
        } else {
            flags & !libc::O_NONBLOCK
        };
        check(libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, wanted)).map(drop)
    }
}

/// Nothing of this process is paged out from now on: a file system above may wait for us while
/// memory is short.
///
/// # Errors
/// As of mlockall(2): not allowed without CAP_IPC_LOCK.
pub fn lock_memory() -> io::Result<()> {
    // SAFETY: no pointers.
    check(unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE | libc::MCL_ONFAULT) })
        .map(drop)
}

/// Marks this process as one that writes back others' memory: its own allocations never wait for
/// such writes.
///
/// # Errors
/// As of prctl(2): not allowed without CAP_SYS_RESOURCE.
pub fn set_io_flusher() -> io::Result<()> {
    // SAFETY: no pointers.
    check(unsafe { libc::prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0) }).map(drop)
}

/// Asks the out-of-memory killer to take anybody else first.
///
/// # Errors
/// As of writing to /proc: not allowed without CAP_SYS_RESOURCE.
pub fn spare_from_oom() -> io::Result<()> {
    std::fs::write("/proc/self/oom_score_adj", "-1000")
}

/// Nanoseconds on the clock that never goes back and counts suspend.
pub fn now() -> u64 {
    // SAFETY: the timespec lives through the call; CLOCK_BOOTTIME exists on every kernel we run on.
    let time = unsafe {
        let mut time: libc::timespec = zeroed();
        libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut time);
        time
    };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
