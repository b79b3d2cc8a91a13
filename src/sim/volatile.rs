//! The volatile log of a disk: it outlives the process that appends to it, not the power.
//!
//! An append is there as soon as it returns. A process that dies in the middle of one leaves a
//! prefix of it.

use crate::rng::Rng;

/// The bytes appended and not yet trimmed.
#[derive(Clone, Debug, Default)]
pub struct VolatileLog {
    bytes: Vec<u8>,
}

impl VolatileLog {
    /// What a successor finds.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Appends, whole.
    pub fn append(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The process dies while it appends these.
    pub fn append_torn(&mut self, bytes: &[u8], rng: &mut Rng) {
        let kept = rng.index(bytes.len() + 1);
        self.append(&bytes[..kept]);
    }

    /// Drops the first bytes; false where there are fewer.
    #[must_use]
    pub fn trim(&mut self, bytes: u64) -> bool {
        let enough = bytes <= self.bytes.len() as u64;
        if enough {
            self.bytes.drain(..bytes as usize);
        }
        enough
    }

    /// Nothing of it is needed any more, or the power failed.
    pub fn clear(&mut self) {
        self.bytes.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_leaves_a_prefix_and_a_power_cut_nothing() {
        let mut log = VolatileLog::default();
        log.append(b"abc");
        log.append_torn(b"defgh", &mut Rng::new(3));
        assert!(b"abcdefgh".starts_with(log.bytes()) && log.bytes().len() >= 3);
        assert!(log.trim(2));
        assert!(log.bytes().starts_with(b"c"));
        assert!(!log.trim(100));
        log.clear();
        assert!(log.bytes().is_empty());
    }
}
