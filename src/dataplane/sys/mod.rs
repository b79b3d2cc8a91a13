//! The kernel, wrapped: every call that Rust's standard library does not offer, safe to use from
//! the rest of the crate. Nothing here decides anything.

pub mod loop_ioctl;
pub mod memory;
pub mod mounts;
pub mod process;
pub mod seqpacket;

use std::io;

/// Turns the C convention (-1 and `errno`) into a result.
///
/// # Errors
/// `errno`, where the call answered with a negative number.
pub fn check(ret: libc::c_int) -> io::Result<libc::c_int> {
    if ret < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(ret)
    }
}

/// The error number of an I/O error, EIO where it has none.
pub fn errno(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(libc::EIO)
}
