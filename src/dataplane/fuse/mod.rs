//! The kernel's FUSE protocol (linux/fuse.h, 7.x), as far as one regular file that is a volume
//! needs it.
//!
//! Bytes in, values out and back: no descriptor, no memory of the kernel is touched here. Numbers
//! are in the machine's own byte order, as the kernel puts them.

pub mod init;
pub mod reply;
pub mod request;
#[cfg(test)]
mod tests;

pub use init::{InitRequest, Negotiated};
pub use request::{DecodeError, Header, Request, decode};

/// The node id of the one file there is: the root of the mount.
pub const ROOT: u64 = 1;
/// Bytes before the data of a WRITE: its header and its arguments. A request is read so that what
/// follows them is aligned for direct I/O.
pub const DATA_AT: usize = request::HEADER_LEN + request::RW_LEN;
/// Bytes before the data of an answer to a READ: the header of an answer.
pub const ANSWER_HEADER: usize = 16;

/// Reads little numbers out of bytes; what is not there is an error of the caller's choosing.
pub(crate) struct Fields<'a>(pub &'a [u8]);

impl Fields<'_> {
    pub(crate) fn u32(&self, at: usize) -> Option<u32> {
        let bytes = self.0.get(at..)?.first_chunk()?;
        Some(u32::from_ne_bytes(*bytes))
    }
    pub(crate) fn u64(&self, at: usize) -> Option<u64> {
        let bytes = self.0.get(at..)?.first_chunk()?;
        Some(u64::from_ne_bytes(*bytes))
    }
}
