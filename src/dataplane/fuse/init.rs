//! The first exchange of a connection: what the kernel offers, what we take. It happens once in the
//! life of a mount, in the keeper; every server after that works with what was [`Negotiated`].

use super::Fields;
use super::reply::answer;

/// Bytes of data in one request at most: what the kernel offers by default.
pub const MAX_WRITE: u32 = 1 << 20;
/// Requests that the kernel keeps under way in the background, well above the depth of a loop
/// device.
const MAX_BACKGROUND: u16 = 512;
/// The newest minor version that we speak (RESEND came with it).
const MINOR: u32 = 40;

const ASYNC_READ: u64 = 1;
const BIG_WRITES: u64 = 1 << 5;
const ASYNC_DIO: u64 = 1 << 15;
const MAX_PAGES: u64 = 1 << 22;
const INIT_EXT: u64 = 1 << 30;
const HAS_RESEND: u64 = 1 << 39;
const WANTED: u64 = ASYNC_READ | BIG_WRITES | ASYNC_DIO | MAX_PAGES | INIT_EXT | HAS_RESEND;

/// What the kernel offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InitRequest {
    /// 7, the only one there is.
    pub major: u32,
    /// The kernel's minor version.
    pub minor: u32,
    /// Bytes that it would read ahead.
    pub max_readahead: u32,
    /// What it can do; the upper half only where it knows INIT_EXT.
    pub flags: u64,
}

/// What was agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Negotiated {
    /// The minor version spoken.
    pub minor: u32,
    /// What both can do.
    pub flags: u64,
    /// Bytes of data in one request at most.
    pub max_write: u32,
}

/// Why a kernel cannot be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the kernel speaks FUSE {major}.{minor} with flags {flags:#x}; 7.28 with large writes is needed"
)]
pub struct TooOld {
    /// Its major version.
    pub major: u32,
    /// Its minor version.
    pub minor: u32,
    /// What it offers.
    pub flags: u64,
}

impl InitRequest {
    pub(super) fn decode(args: &Fields<'_>) -> Option<Self> {
        let low = args.u32(12)?;
        // Kernels that do not know INIT_EXT end here; what a shorter message lacks is not offered.
        let high = if u64::from(low) & INIT_EXT != 0 {
            args.u32(16)?
        } else {
            0
        };
        Some(InitRequest {
            major: args.u32(0)?,
            minor: args.u32(4)?,
            max_readahead: args.u32(8)?,
            flags: u64::from(low) | u64::from(high) << 32,
        })
    }

    pub(super) fn encode(&self) -> [u8; 64] {
        let mut out = [0; 64];
        out[0..4].copy_from_slice(&self.major.to_ne_bytes());
        out[4..8].copy_from_slice(&self.minor.to_ne_bytes());
        out[8..12].copy_from_slice(&self.max_readahead.to_ne_bytes());
        out[12..20].copy_from_slice(&join(self.flags));
        out
    }

    /// What to agree on, and the bytes that answer request `unique`.
    ///
    /// # Errors
    /// Where the kernel cannot do what serving a volume needs.
    pub fn negotiate(&self, unique: u64) -> Result<(Negotiated, Vec<u8>), TooOld> {
        let flags = self.flags & WANTED;
        let needed = BIG_WRITES | MAX_PAGES;
        if self.major != 7 || self.minor < 28 || flags & needed != needed {
            return Err(TooOld {
                major: self.major,
                minor: self.minor,
                flags: self.flags,
            });
        }
        let agreed = Negotiated {
            minor: self.minor.min(MINOR),
            flags,
            max_write: MAX_WRITE,
        };
        let mut out = [0; 64];
        out[0..4].copy_from_slice(&7u32.to_ne_bytes());
        out[4..8].copy_from_slice(&agreed.minor.to_ne_bytes());
        out[8..12].copy_from_slice(&self.max_readahead.to_ne_bytes());
        let flags = join(flags);
        out[12..16].copy_from_slice(&flags[..4]);
        out[16..18].copy_from_slice(&MAX_BACKGROUND.to_ne_bytes());
        out[18..20].copy_from_slice(&MAX_BACKGROUND.to_ne_bytes());
        out[20..24].copy_from_slice(&MAX_WRITE.to_ne_bytes());
        out[24..28].copy_from_slice(&1u32.to_ne_bytes());
        out[28..30].copy_from_slice(&((MAX_WRITE / 4096) as u16).to_ne_bytes());
        out[32..36].copy_from_slice(&flags[4..]);
        Ok((agreed, answer(unique, Ok(&out))))
    }
}

/// The two words of the flags, low then high, in the machine's byte order.
fn join(flags: u64) -> [u8; 8] {
    let mut out = [0; 8];
    out[..4].copy_from_slice(&(flags as u32).to_ne_bytes());
    out[4..].copy_from_slice(&((flags >> 32) as u32).to_ne_bytes());
    out
}

impl Negotiated {
    /// Bytes of its record in the keeper.
    pub const LEN: usize = 16;

    /// Whether requests read by a server that died come again on demand (kernel 6.9 and later).
    /// Without it a restart means I/O errors.
    pub fn can_resend(&self) -> bool {
        self.flags & HAS_RESEND != 0
    }

    /// The record, little-endian: minor u32, max_write u32, flags u64.
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        out[..4].copy_from_slice(&self.minor.to_le_bytes());
        out[4..8].copy_from_slice(&self.max_write.to_le_bytes());
        out[8..].copy_from_slice(&self.flags.to_le_bytes());
        out
    }

    /// Reads what [`Self::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8; Self::LEN]) -> Self {
        let value = u128::from_le_bytes(*bytes);
        Negotiated {
            minor: value as u32,
            max_write: (value >> 32) as u32,
            flags: (value >> 64) as u64,
        }
    }
}
