//! Frames on a byte stream.
//!
//! ```text
//!  0        4         6      8            12       16            24     32
//! +--------+---------+------+------------+--------+-------------+------+---------
//! | "SVCP" | version | kind | body bytes | CRC32C | request     | term | body ...
//! | u32    | u16     | u16  | u32        | u32    | u64         | u64  |
//! +--------+---------+------+------------+--------+-------------+------+---------
//! ```
//! Little-endian. The checksum is of all other bytes of the frame. The first six bytes stay as they
//! are in all versions, so that what is newer is told from what is no frame.
//!
//! Not here: what a body says. Invariant: a reader holds no more than it was given, and after an
//! error gives nothing but that error.

use crate::{OLDEST, VERSION};

/// Bytes of a body at most: a layout of a volume of 100 TiB fits.
pub const MAX_BODY: usize = 1 << 20;
/// Bytes before the body.
pub const HEADER: usize = 32;

const MAGIC: [u8; 4] = *b"SVCP";
const CRC_AT: usize = 12;

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A request, to the data plane.
    Request = 1,
    /// The one reply to a request.
    Reply = 2,
    /// What the data plane says by itself.
    Event = 3,
}

impl Kind {
    fn from_word(word: u16) -> Option<Kind> {
        [Kind::Request, Kind::Reply, Kind::Event]
            .into_iter()
            .find(|kind| *kind as u16 == word)
    }
}

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What it carries.
    pub kind: Kind,
    /// The number of the request; a reply repeats it, an event has 0.
    pub request: u64,
    /// The term of the leader that asks; 0 in replies and events.
    pub term: u64,
    /// What [`crate::message`] reads.
    pub body: Vec<u8>,
}

/// Why bytes are not frames. The stream cannot be read on: the connection is closed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Not this protocol.
    #[error("these bytes are no frame of this protocol")]
    NotAFrame,
    /// A version that is not understood here.
    #[error("frame version {theirs}, understood are {OLDEST} to {VERSION}")]
    Version {
        /// In the frame.
        theirs: u16,
    },
    /// No kind has this number.
    #[error("frame kind {kind} is not known")]
    UnknownKind {
        /// In the frame.
        kind: u16,
    },
    /// More than a frame may carry.
    #[error("a body of {bytes} bytes, more than {MAX_BODY}")]
    TooLong {
        /// What the frame says, or what was to be sent.
        bytes: u64,
    },
    /// The bytes are not those that were sent.
    #[error("checksum {there:#010x}, the content has {computed:#010x}")]
    Checksum {
        /// In the frame.
        there: u32,
        /// Of the content.
        computed: u32,
    },
    /// The stream ended within a frame.
    #[error("the stream ended {bytes} bytes into a frame")]
    CutOff {
        /// How far it came.
        bytes: usize,
    },
}

impl Frame {
    /// The bytes to send.
    ///
    /// # Errors
    /// [`FrameError::TooLong`].
    pub fn encode(&self) -> Result<Vec<u8>, FrameError> {
        let bytes = self.body.len();
        if bytes > MAX_BODY {
            return Err(FrameError::TooLong {
                bytes: bytes as u64,
            });
        }
        let mut out = Vec::with_capacity(HEADER + bytes);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&(self.kind as u16).to_le_bytes());
        out.extend_from_slice(&(bytes as u32).to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.request.to_le_bytes());
        out.extend_from_slice(&self.term.to_le_bytes());
        out.extend_from_slice(&self.body);
        let crc = checksum(&out);
        out[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
        Ok(out)
    }
}

/// Of a whole frame, without the field that holds it.
fn checksum(frame: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&frame[..CRC_AT]), &frame[CRC_AT + 4..])
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

/// What the header says of a frame whose body may still be under way.
struct Header {
    kind: Kind,
    body: usize,
    crc: u32,
    request: u64,
    term: u64,
}

impl Header {
    /// `None` while it is not all there; what is wrong is told by the first byte that shows it.
    fn read(bytes: &[u8]) -> Result<Option<Header>, FrameError> {
        let magic = bytes.len().min(MAGIC.len());
        if bytes[..magic] != MAGIC[..magic] {
            return Err(FrameError::NotAFrame);
        }
        let Some(theirs) = field(bytes, 4).map(u16::from_le_bytes) else {
            return Ok(None);
        };
        if !(OLDEST..=VERSION).contains(&theirs) {
            return Err(FrameError::Version { theirs });
        }
        let Some(kind) = field(bytes, 6).map(u16::from_le_bytes) else {
            return Ok(None);
        };
        let kind = Kind::from_word(kind).ok_or(FrameError::UnknownKind { kind })?;
        let Some(body) = field(bytes, 8).map(u32::from_le_bytes) else {
            return Ok(None);
        };
        if body as usize > MAX_BODY {
            return Err(FrameError::TooLong { bytes: body.into() });
        }
        let rest = (field(bytes, CRC_AT), field(bytes, 16), field(bytes, 24));
        let (Some(crc), Some(request), Some(term)) = rest else {
            return Ok(None);
        };
        Ok(Some(Header {
            kind,
            body: body as usize,
            crc: u32::from_le_bytes(crc),
            request: u64::from_le_bytes(request),
            term: u64::from_le_bytes(term),
        }))
    }
}

/// Makes frames of bytes as they come in, in pieces of any size.
#[derive(Default)]
pub struct FrameReader {
    bytes: Vec<u8>,
    /// Where the next frame starts in `bytes`.
    at: usize,
    failed: Option<FrameError>,
}

impl FrameReader {
    /// Takes what came in.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.failed.is_none() {
            self.bytes.drain(..std::mem::take(&mut self.at));
            self.bytes.extend_from_slice(bytes);
        }
    }

    /// The next whole frame; `None` until more is pushed.
    ///
    /// # Errors
    /// The first thing that is wrong, and the same for ever after.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let frame = self.read();
        if let Err(error) = &frame {
            self.failed = Some(error.clone());
            self.bytes = Vec::new();
        }
        frame
    }

    fn read(&mut self) -> Result<Option<Frame>, FrameError> {
        let bytes = &self.bytes[self.at..];
        let Some(header) = Header::read(bytes)? else {
            return Ok(None);
        };
        let Some(frame) = bytes.get(..HEADER + header.body) else {
            return Ok(None);
        };
        let (there, computed) = (header.crc, checksum(frame));
        if there != computed {
            return Err(FrameError::Checksum { there, computed });
        }
        self.at += frame.len();
        let Header {
            kind,
            request,
            term,
            ..
        } = header;
        let body = frame[HEADER..].to_vec();
        Ok(Some(Frame {
            kind,
            request,
            term,
            body,
        }))
    }

    /// Whether the stream may end here.
    ///
    /// # Errors
    /// What was wrong before, or [`FrameError::CutOff`] within a frame.
    pub fn finish(&self) -> Result<(), FrameError> {
        match (
            &self.failed,
            self.bytes.len() - self.at.min(self.bytes.len()),
        ) {
            (Some(error), _) => Err(error.clone()),
            (None, 0) => Ok(()),
            (None, bytes) => Err(FrameError::CutOff { bytes }),
        }
    }
}

/// For the fuzzer: whatever the bytes and however they are cut, reading does not panic, and what
/// was read is written back byte by byte. The first byte says how the rest is cut.
pub fn fuzz_one(data: &[u8]) {
    let Some((cut, data)) = data.split_first() else {
        return;
    };
    let mut reader = FrameReader::default();
    let mut again = Vec::new();
    for piece in data.chunks(usize::from(*cut) + 1) {
        reader.push(piece);
        while let Ok(Some(frame)) = reader.next_frame() {
            crate::message::fuzz_frame(&frame);
            again.extend(frame.encode().unwrap_or_default());
        }
    }
    assert!(
        data.starts_with(&again),
        "a frame was not written as it was read"
    );
}
