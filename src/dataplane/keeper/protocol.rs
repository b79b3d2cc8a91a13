//! The keeper's frames. Frozen: a keeper serves data planes of every later version.
//!
//! One message is one frame; a descriptor travels beside it. Little-endian.
//! ```text
//! 0 "SVKP" | 4 version u16 = 1 | 6 verb u16 | 8 errno u32 (answers; 0: done) | 12 kind u8, 3 zeros
//! 16 key, 16 bytes | 32 note length u16, 2 zeros | 36 note | then crc32c u32 of all before
//! ```
//! | verb | asks | answer |
//! |---|---|---|
//! | 1 mount | key; note: path of the file | note: what INIT agreed on; held as kind 1 |
//! | 2 hold | kind, key, note, descriptor | EEXIST where kind and key are taken |
//! | 3 get | kind, key | note and a duplicate of the descriptor; ENOENT |
//! | 4 list | kind, key: those after it | note: {kind u8, key, length u16, note}, as many as fit |
//! | 5 release | kind, key | the descriptor, held no more; a mount is detached first; ENOENT |

/// Bytes of a frame at most.
pub const MAX_FRAME: usize = 4096;
/// Bytes of a note at most.
pub const MAX_NOTE: usize = MAX_FRAME - FIXED - 4;

const MAGIC: [u8; 4] = *b"SVKP";
const VERSION: u16 = 1;
const FIXED: usize = 36;

/// What a held descriptor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The FUSE connection of a volume; the note is what INIT agreed on (16 bytes), then the path
    /// of the file.
    Fuse = 1,
    /// The loop device of a volume.
    Loop = 2,
    /// The volatile log of a disk.
    Log = 3,
    /// The memory of the request slots, so that a successor need not fill it with zeros first.
    Slots = 4,
    /// What is attached: see [`crate::attached`].
    Attached = 5,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        let all = [
            Kind::Fuse,
            Kind::Loop,
            Kind::Log,
            Kind::Slots,
            Kind::Attached,
        ];
        all.into_iter().find(|k| *k as u8 == byte)
    }
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Mount the file of a volume and hold the connection.
    Mount = 1,
    /// Hold a descriptor.
    Hold = 2,
    /// Hand out a duplicate.
    Get = 3,
    /// Tell what is held.
    List = 4,
    /// Hand the descriptor back and hold it no more.
    Release = 5,
}

impl Verb {
    fn from_word(word: u16) -> Option<Self> {
        let all = [
            Verb::Mount,
            Verb::Hold,
            Verb::Get,
            Verb::List,
            Verb::Release,
        ];
        all.into_iter().find(|v| *v as u16 == word)
    }
}

/// One message, either way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What is asked, or was.
    pub verb: Verb,
    /// In an answer: 0, or why not.
    pub errno: u32,
    /// Which sort of thing.
    pub kind: Kind,
    /// Which volume or disk.
    pub key: [u8; 16],
    /// What goes with it.
    pub note: Vec<u8>,
}

/// Why bytes are not a frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Not of this protocol, or cut off, or longer than it says.
    #[error("a message of {0} bytes is not a keeper's frame")]
    Shape(usize),
    /// Of another version.
    #[error("frame version {0}, this keeper speaks 1")]
    Version(u16),
    /// The checksum is wrong.
    #[error("checksum {there:#010x}, the content has {computed:#010x}")]
    Checksum {
        /// In the frame.
        there: u32,
        /// Of the content.
        computed: u32,
    },
    /// A verb or kind that there is not.
    #[error("verb {verb}, kind {kind} is not known")]
    Unknown {
        /// The verb.
        verb: u16,
        /// The kind.
        kind: u8,
    },
}

impl Frame {
    /// A question.
    pub fn new(verb: Verb, kind: Kind, key: [u8; 16], note: Vec<u8>) -> Self {
        Frame {
            verb,
            errno: 0,
            kind,
            key,
            note,
        }
    }

    /// The answer to what could not be read.
    pub fn refusal(errno: i32) -> Self {
        let errno = errno.unsigned_abs();
        Frame {
            verb: Verb::List,
            errno,
            kind: Kind::Fuse,
            key: [0; 16],
            note: Vec::new(),
        }
    }

    /// The answer to this frame.
    #[must_use]
    pub fn answer(&self, result: Result<Vec<u8>, i32>) -> Self {
        let (errno, note) = match result {
            Ok(note) => (0, note),
            Err(errno) => (errno.unsigned_abs(), Vec::new()),
        };
        Frame {
            verb: self.verb,
            errno,
            kind: self.kind,
            key: self.key,
            note,
        }
    }

    /// The bytes to send.
    pub fn encode(&self) -> Vec<u8> {
        assert!(
            self.note.len() <= MAX_NOTE,
            "a note of {} bytes",
            self.note.len()
        );
        let mut out = Vec::with_capacity(FIXED + self.note.len() + 4);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&(self.verb as u16).to_le_bytes());
        out.extend_from_slice(&self.errno.to_le_bytes());
        out.extend_from_slice(&[self.kind as u8, 0, 0, 0]);
        out.extend_from_slice(&self.key);
        out.extend_from_slice(&(self.note.len() as u16).to_le_bytes());
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(&self.note);
        let crc = crc32c::crc32c(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads one message.
    ///
    /// # Errors
    /// Where it is not exactly one frame that we know.
    pub fn decode(bytes: &[u8]) -> Result<Self, FrameError> {
        let shape = FrameError::Shape(bytes.len());
        let (content, crc) = bytes.split_last_chunk::<4>().ok_or_else(|| shape.clone())?;
        if content.len() < FIXED || bytes.len() > MAX_FRAME || !content.starts_with(&MAGIC) {
            return Err(shape);
        }
        let word = |at: usize| u16::from_le_bytes([content[at], content[at + 1]]);
        if word(4) != VERSION {
            return Err(FrameError::Version(word(4)));
        }
        let (there, computed) = (u32::from_le_bytes(*crc), crc32c::crc32c(content));
        if there != computed {
            return Err(FrameError::Checksum { there, computed });
        }
        let (fixed, note) = content.split_at(FIXED);
        let zeros = fixed[13..16] == [0; 3] && fixed[34..36] == [0; 2];
        if note.len() != word(32) as usize || !zeros {
            return Err(shape);
        }
        let unknown = FrameError::Unknown {
            verb: word(6),
            kind: fixed[12],
        };
        let verb = Verb::from_word(word(6)).ok_or_else(|| unknown.clone())?;
        let kind = Kind::from_byte(fixed[12]).ok_or(unknown)?;
        let errno = u32::from(word(8)) | u32::from(word(10)) << 16;
        let mut key = [0; 16];
        key.copy_from_slice(&fixed[16..32]);
        Ok(Frame {
            verb,
            errno,
            kind,
            key,
            note: note.to_vec(),
        })
    }
}

/// One thing that the keeper holds, as a list tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Which sort of thing.
    pub kind: Kind,
    /// Which volume or disk.
    pub key: [u8; 16],
    /// What was said when it was handed in.
    pub note: Vec<u8>,
}

impl Record {
    const FIXED: usize = 19;

    /// Appends the record, if it still fits a note.
    pub(super) fn put(&self, out: &mut Vec<u8>) -> bool {
        if out.len() + Self::FIXED + self.note.len() > MAX_NOTE {
            return false;
        }
        out.push(self.kind as u8);
        out.extend_from_slice(&self.key);
        out.extend_from_slice(&(self.note.len() as u16).to_le_bytes());
        out.extend_from_slice(&self.note);
        true
    }

    /// Reads the records of a list; `None` where the bytes are none.
    pub fn read_all(mut bytes: &[u8]) -> Option<Vec<Record>> {
        let mut all = Vec::new();
        while !bytes.is_empty() {
            let (fixed, rest) = bytes.split_first_chunk::<{ Self::FIXED }>()?;
            let len = usize::from(u16::from_le_bytes([fixed[17], fixed[18]]));
            let note = rest.get(..len)?.to_vec();
            let mut key = [0; 16];
            key.copy_from_slice(&fixed[1..17]);
            all.push(Record {
                kind: Kind::from_byte(fixed[0])?,
                key,
                note,
            });
            bytes = &rest[len..];
        }
        Some(all)
    }
}

/// For the fuzzer: whatever the bytes, decoding does not panic, and what was read is written back
/// byte by byte.
pub fn fuzz_one(data: &[u8]) {
    if let Ok(frame) = Frame::decode(data) {
        assert_eq!(frame.encode(), data);
    }
    if let Some(records) = Record::read_all(data)
        && data.len() <= MAX_NOTE
    {
        let mut out = Vec::new();
        assert!(records.iter().all(|r| r.put(&mut out)));
        assert_eq!(out, data);
    }
}
