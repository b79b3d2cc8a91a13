//! The few kernel interfaces that the standard library lacks: signals, and discard on a device.
//!
//! The only unsafe code of this crate.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicI32, Ordering};

/// `BLKDISCARD`: gives back a range of a block device.
const BLKDISCARD: libc::Ioctl = 0x1277;

/// The end of the pipe that the signal handler writes to.
static WAKE: AtomicI32 = AtomicI32::new(-1);

/// Sends a signal to a process, or to a group where `pid` is negative.
///
/// # Errors
/// Where there is no such process.
pub fn signal(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: no pointers.
    check(unsafe { libc::kill(pid, signal) })
}

/// Discards `len` bytes at `offset` of a block device.
///
/// # Errors
/// Where the device does not, or cannot.
pub fn discard(device: &File, offset: u64, len: u64) -> io::Result<()> {
    let range = [offset, len];
    // SAFETY: the ioctl reads two u64 at a pointer that lives through the call.
    check(unsafe { libc::ioctl(device.as_raw_fd(), BLKDISCARD, range.as_ptr()) })
}

extern "C" fn on_signal(_: i32) {
    let byte = 0u8;
    // SAFETY: write is allowed in a signal handler; one byte that lives through the call. The pipe
    // is never closed.
    unsafe { libc::write(WAKE.load(Ordering::Relaxed), (&raw const byte).cast(), 1) };
}

/// A pipe that becomes readable at the first SIGINT or SIGTERM. Children start with the default.
///
/// # Errors
/// Where the kernel refuses.
pub fn interrupts() -> io::Result<io::PipeReader> {
    let (reader, writer) = io::pipe()?;
    WAKE.store(writer.as_raw_fd(), Ordering::Relaxed);
    std::mem::forget(writer); // The handler's, as long as this process lives.
    let handler: extern "C" fn(i32) = on_signal;
    for number in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: the handler does only what a handler may.
        if unsafe { libc::signal(number, handler as libc::sighandler_t) } == libc::SIG_ERR {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(reader)
}

fn check(result: i32) -> io::Result<()> {
    match result {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}
