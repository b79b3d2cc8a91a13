//! What the kernel asks: decoded with every length checked.
//!
//! ```text
//! header, 40:  0 len u32 | 4 opcode u32 | 8 unique u64 | 16 nodeid u64 | 24 uid | 28 gid | 32 pid
//! READ, WRITE: 0 fh u64 | 8 offset u64 | 16 size u32 | 20 flags u32 | 24 owner u64 | 32 flags
//! FALLOCATE:   0 fh u64 | 8 offset u64 | 16 length u64 | 24 mode u32 | 28
//! SETATTR:     0 valid u32 | 4 | 8 fh u64 | 16 size u64 | ... 88 bytes
//! ```

use super::Fields;
use super::init::InitRequest;

/// Bytes in a request's header.
pub const HEADER_LEN: usize = 40;
/// Bytes of arguments of a READ or WRITE.
pub const RW_LEN: usize = 40;
/// Bytes of a request that [`decode`] may look at; the rest is data.
pub const HEAD_MAX: usize = HEADER_LEN + 88;

const FORGET: u32 = 2;
const GETATTR: u32 = 3;
const SETATTR: u32 = 4;
const OPEN: u32 = 14;
const READ: u32 = 15;
const WRITE: u32 = 16;
const STATFS: u32 = 17;
const RELEASE: u32 = 18;
const FSYNC: u32 = 20;
const FLUSH: u32 = 25;
const INIT: u32 = 26;
const INTERRUPT: u32 = 36;
const DESTROY: u32 = 38;
const BATCH_FORGET: u32 = 42;
const FALLOCATE: u32 = 43;

/// SETATTR changes the size.
const FATTR_SIZE: u32 = 1 << 3;
/// FALLOCATE leaves the file's size alone.
pub const KEEP_SIZE: u32 = 1;
/// FALLOCATE gives the range back.
pub const PUNCH_HOLE: u32 = 2;
/// FALLOCATE makes the range zeros.
pub const ZERO_RANGE: u32 = 16;

/// What every request begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Bytes of the whole request.
    pub len: u32,
    /// Names the request; the answer repeats it bit by bit. Bit 63: sent again after a RESEND.
    pub unique: u64,
    /// Which file.
    pub node: u64,
}

/// One request. Offsets and lengths in bytes, not yet checked against the volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// The first request of a connection.
    Init(InitRequest),
    /// Bytes of the file.
    Read {
        /// From here.
        offset: u64,
        /// At most so many.
        size: u32,
    },
    /// New content, which follows the arguments.
    Write {
        /// To here.
        offset: u64,
        /// So many, all there.
        size: u32,
    },
    /// Make durable what was answered.
    Fsync,
    /// Give back, or make zero, a range.
    Fallocate {
        /// From here.
        offset: u64,
        /// So many.
        length: u64,
        /// [`KEEP_SIZE`], [`PUNCH_HOLE`], [`ZERO_RANGE`].
        mode: u32,
    },
    /// Size and the like.
    Getattr,
    /// Change size (where given) and the like.
    Setattr {
        /// The new size.
        size: Option<u64>,
    },
    /// Somebody opens the file.
    Open,
    /// The last user of an open file is gone.
    Release,
    /// Somebody closes the file.
    Flush,
    /// Sizes of the file system.
    Statfs,
    /// The file system goes away.
    Destroy,
    /// A note that takes no answer (FORGET, BATCH_FORGET, INTERRUPT).
    Note,
    /// Anything else.
    Other {
        /// The number of the operation.
        opcode: u32,
    },
}

/// Why bytes are not a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Shorter than its header or its arguments.
    #[error("a request of {len} bytes, opcode {opcode}, is shorter than its arguments")]
    Short {
        /// Bytes there.
        len: usize,
        /// The operation, 0 where not even the header is there.
        opcode: u32,
    },
    /// Its own length is not the number of bytes read.
    #[error("a request says it has {said} bytes, {read} were read")]
    Length {
        /// In the header.
        said: u32,
        /// Read.
        read: usize,
    },
    /// The data of a WRITE is not as long as its arguments say.
    #[error("a write of {said} bytes came with {there}")]
    Data {
        /// In the arguments.
        said: u32,
        /// There.
        there: usize,
    },
}

/// Reads a request of `total` bytes of which `head` is the beginning: all of it, or [`HEAD_MAX`]
/// bytes.
///
/// # Errors
/// Where lengths contradict each other; nothing else is judged here.
pub fn decode(head: &[u8], total: usize) -> Result<(Header, Request), DecodeError> {
    assert!(head.len() == total || head.len() == HEAD_MAX && total > HEAD_MAX);
    let fields = Fields(head);
    let none = DecodeError::Short {
        len: total,
        opcode: 0,
    };
    let header = Header {
        len: fields.u32(0).ok_or(none)?,
        unique: fields.u64(8).ok_or(none)?,
        node: fields.u64(16).ok_or(none)?,
    };
    let opcode = fields.u32(4).ok_or(none)?;
    let args = Fields(head.get(HEADER_LEN..).ok_or(none)?);
    if header.len as usize != total {
        return Err(DecodeError::Length {
            said: header.len,
            read: total,
        });
    }
    let request =
        arguments(opcode, &args, total).ok_or(DecodeError::Short { len: total, opcode })?;
    if let Request::Write { size, .. } = request {
        let there = total - HEADER_LEN - RW_LEN;
        if there != size as usize {
            return Err(DecodeError::Data { said: size, there });
        }
    }
    Ok((header, request))
}

fn arguments(opcode: u32, args: &Fields<'_>, total: usize) -> Option<Request> {
    let at_least = |len: usize| (total >= HEADER_LEN + len).then_some(());
    Some(match opcode {
        INIT => Request::Init(InitRequest::decode(args)?),
        READ => {
            at_least(RW_LEN)?;
            Request::Read {
                offset: args.u64(8)?,
                size: args.u32(16)?,
            }
        }
        WRITE => {
            at_least(RW_LEN)?;
            Request::Write {
                offset: args.u64(8)?,
                size: args.u32(16)?,
            }
        }
        FALLOCATE => {
            at_least(32)?;
            Request::Fallocate {
                offset: args.u64(8)?,
                length: args.u64(16)?,
                mode: args.u32(24)?,
            }
        }
        SETATTR => {
            at_least(88)?;
            let size = args.u64(16)?;
            Request::Setattr {
                size: (args.u32(0)? & FATTR_SIZE != 0).then_some(size),
            }
        }
        FSYNC => Request::Fsync,
        GETATTR => Request::Getattr,
        OPEN => Request::Open,
        RELEASE => Request::Release,
        FLUSH => Request::Flush,
        STATFS => Request::Statfs,
        DESTROY => Request::Destroy,
        FORGET | BATCH_FORGET | INTERRUPT => Request::Note,
        opcode => Request::Other { opcode },
    })
}

/// The bytes that the kernel would send for this request, for tests and for the fuzz target. The
/// data of a WRITE is zeros.
pub fn encode(unique: u64, node: u64, request: &Request) -> Vec<u8> {
    let mut out = vec![0; HEADER_LEN];
    let opcode = match *request {
        Request::Init(init) => {
            out.extend(init.encode());
            INIT
        }
        Request::Read { offset, size } | Request::Write { offset, size } => {
            out.resize(HEADER_LEN + RW_LEN, 0);
            out[48..56].copy_from_slice(&offset.to_ne_bytes());
            out[56..60].copy_from_slice(&size.to_ne_bytes());
            if matches!(request, Request::Read { .. }) {
                READ
            } else {
                out.resize(HEADER_LEN + RW_LEN + size as usize, 0);
                WRITE
            }
        }
        Request::Fallocate {
            offset,
            length,
            mode,
        } => {
            out.resize(HEADER_LEN + 32, 0);
            out[48..56].copy_from_slice(&offset.to_ne_bytes());
            out[56..64].copy_from_slice(&length.to_ne_bytes());
            out[64..68].copy_from_slice(&mode.to_ne_bytes());
            FALLOCATE
        }
        Request::Setattr { size } => {
            out.resize(HEADER_LEN + 88, 0);
            let valid = if size.is_some() { FATTR_SIZE } else { 0 };
            out[40..44].copy_from_slice(&valid.to_ne_bytes());
            out[56..64].copy_from_slice(&size.unwrap_or(0).to_ne_bytes());
            SETATTR
        }
        Request::Fsync => FSYNC,
        Request::Getattr => GETATTR,
        Request::Open => OPEN,
        Request::Release => RELEASE,
        Request::Flush => FLUSH,
        Request::Statfs => STATFS,
        Request::Destroy => DESTROY,
        Request::Note => FORGET,
        Request::Other { opcode } => opcode,
    };
    let len = out.len() as u32;
    out[0..4].copy_from_slice(&len.to_ne_bytes());
    out[4..8].copy_from_slice(&opcode.to_ne_bytes());
    out[8..16].copy_from_slice(&unique.to_ne_bytes());
    out[16..24].copy_from_slice(&node.to_ne_bytes());
    out
}

/// For the fuzzer: whatever the bytes, decoding neither panics nor believes a length, and what was
/// read is read again from what we would send.
pub fn fuzz_one(data: &[u8]) {
    let head = &data[..data.len().min(HEAD_MAX)];
    let Ok((header, request)) = decode(head, data.len()) else {
        return;
    };
    let again = encode(header.unique, header.node, &request);
    let head = &again[..again.len().min(HEAD_MAX)];
    let Ok((header2, request2)) = decode(head, again.len()) else {
        unreachable!("{request:?} does not decode from its own encoding")
    };
    assert_eq!(
        (header.unique, header.node, request),
        (header2.unique, header2.node, request2)
    );
}
