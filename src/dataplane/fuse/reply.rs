//! What we answer.
//!
//! ```text
//! header, 16 bytes:  0 len u32 | 4 error i32 (0 or minus errno) | 8 unique u64
//! ```

use super::ROOT;
use super::init::MAX_WRITE;

/// The file is not cached by the kernel.
const FOPEN_DIRECT_IO: u32 = 1;
/// Closing the file asks nothing of us.
const FOPEN_NOFLUSH: u32 = 1 << 5;
/// Writes to different places may run at once.
const FOPEN_PARALLEL_DIRECT_WRITES: u32 = 1 << 6;
/// Regular file, for its owner only.
const MODE: u32 = 0o100_600;
/// Asks the kernel to send again what a dead server had read.
const NOTIFY_RESEND: i32 = 7;

/// The header of an answer with `payload` bytes behind it; `error` is 0 or a positive errno.
pub fn header(unique: u64, error: i32, payload: usize) -> [u8; 16] {
    assert!(error >= 0 && (error == 0 || payload == 0) && payload <= MAX_WRITE as usize);
    let mut out = [0; 16];
    out[..4].copy_from_slice(&(16 + payload as u32).to_ne_bytes());
    out[4..8].copy_from_slice(&(-error).to_ne_bytes());
    out[8..].copy_from_slice(&unique.to_ne_bytes());
    out
}

/// A whole answer: what the request asked for, or a positive errno.
pub fn answer(unique: u64, result: Result<&[u8], i32>) -> Vec<u8> {
    let (error, payload) = result.map_or_else(|e| (e, [].as_slice()), |p| (0, p));
    let mut out = header(unique, error, payload.len()).to_vec();
    out.extend_from_slice(payload);
    out
}

/// The message that brings back every request that was read and not answered. It is safe only after
/// the disks are claimed.
pub fn resend() -> [u8; 16] {
    let mut out = header(0, 0, 0);
    out[4..8].copy_from_slice(&NOTIFY_RESEND.to_ne_bytes());
    out
}

/// The payload that answers a WRITE: bytes written.
pub fn written(bytes: u32) -> [u8; 8] {
    u64::from(bytes).to_ne_bytes()
}

/// The payload that answers an OPEN. The file handle is a fixed number: a successor knows it too.
pub fn opened() -> [u8; 16] {
    let flags = FOPEN_DIRECT_IO | FOPEN_NOFLUSH | FOPEN_PARALLEL_DIRECT_WRITES;
    let mut out = [0; 16];
    out[..8].copy_from_slice(&1u64.to_ne_bytes());
    out[8..12].copy_from_slice(&flags.to_ne_bytes());
    out
}

/// The payload that answers GETATTR and SETATTR. It is valid for no time at all, so that growth is
/// seen at once.
pub fn attributes(size: u64) -> [u8; 104] {
    let mut out = [0; 104];
    out[16..24].copy_from_slice(&ROOT.to_ne_bytes());
    out[24..32].copy_from_slice(&size.to_ne_bytes());
    out[32..40].copy_from_slice(&(size / 512).to_ne_bytes());
    out[76..80].copy_from_slice(&MODE.to_ne_bytes());
    out[80..84].copy_from_slice(&1u32.to_ne_bytes());
    out[96..100].copy_from_slice(&4096u32.to_ne_bytes());
    out
}

/// The payload that answers STATFS.
pub fn statfs(size: u64) -> [u8; 80] {
    let mut out = [0; 80];
    out[..8].copy_from_slice(&(size / 4096).to_ne_bytes());
    out[40..44].copy_from_slice(&4096u32.to_ne_bytes());
    out[44..48].copy_from_slice(&255u32.to_ne_bytes());
    out[48..52].copy_from_slice(&4096u32.to_ne_bytes());
    out
}
