//! What the demo asks of the kernel itself: signals, mounts that nobody else sees, children that
//! do not outlive it, and a file system that fails on request.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

/// `FS_IOC_SHUTDOWN` of linux/fs.h (`_IOR('X', 125, __u32)`); the libc crate does not have it.
const SHUTDOWN: libc::Ioctl = 0x8004_587d_u32 as libc::Ioctl;
/// Do not write the log out before: as a device that is gone.
const NO_LOG_FLUSH: u32 = 2;

static STOP: AtomicBool = AtomicBool::new(false);

extern "C" fn note_stop(_: libc::c_int) {
    STOP.store(true, Ordering::Relaxed);
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// From now on Ctrl-C and its like only set what [`stop_asked`] tells.
pub fn watch_signals() {
    let handler = note_stop as extern "C" fn(libc::c_int);
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: the handler stores to an atomic and does nothing else.
        unsafe { libc::signal(signal, handler as libc::sighandler_t) };
    }
}

/// Whether somebody wants the demo to end.
pub fn stop_asked() -> bool {
    STOP.load(Ordering::Relaxed)
}

/// Whether this process is root.
pub fn is_root() -> bool {
    // SAFETY: no pointers.
    unsafe { libc::geteuid() == 0 }
}

/// Gives this process and its children a mount table of their own: whatever happens, its mounts end
/// with them.
///
/// # Errors
/// As of unshare(2) and mount(2).
pub fn private_mounts() -> io::Result<()> {
    let none = std::ptr::null();
    let flags = libc::MS_REC | libc::MS_PRIVATE;
    // SAFETY: the strings live through the calls, the others may be null.
    unsafe {
        check(libc::unshare(libc::CLONE_NEWNS))?;
        check(libc::mount(none, c"/".as_ptr(), none, flags, none.cast()))?;
    }
    Ok(())
}

/// Has the child get this signal when this process dies, however it dies. It is in a process group
/// of its own: Ctrl-C at a terminal is the demo's, which ends its children in order.
pub fn tie(command: &mut Command, signal: libc::c_int) {
    command.process_group(0);
    // SAFETY: between fork and exec the closure makes one system call and allocates nothing.
    unsafe {
        command.pre_exec(move || check(libc::prctl(libc::PR_SET_PDEATHSIG, signal)).map(drop));
    }
}

/// Sends a signal.
///
/// # Errors
/// As of kill(2).
pub fn kill(pid: u32, signal: libc::c_int) -> io::Result<()> {
    // SAFETY: no pointers.
    check(unsafe { libc::kill(pid as libc::pid_t, signal) }).map(drop)
}

/// Makes the file system that holds `path` fail: from now on every I/O on its files is an error, as
/// on a disk that is gone.
///
/// # Errors
/// As of ioctl(2).
pub fn shut_down(path: &Path) -> io::Result<()> {
    let folder = File::open(path)?;
    let how = NO_LOG_FLUSH;
    // SAFETY: the call reads one u32, which lives through it.
    check(unsafe { libc::ioctl(folder.as_raw_fd(), SHUTDOWN, &raw const how) }).map(drop)
}
