//! What is attached to this node: its disks and the layouts of its volumes. The keeper holds the
//! record, so that a successor asks nobody; it is gone with the node, and whoever attached
//! attaches again.
//!
//! ```text
//! memfd: 0 "SVATT\0" | 6 version u16 = 1 | 8 crc32c of the rest u32 | 12 JSON
//! ```
//! Each version of the record is a memfd of its own under a key that counts up; the one before goes
//! when the next one is held, so that one is whole at any instant.

use crate::keeper::{ClientError, Keeper, Kind};
use crate::sys::memory::{SharedMap, memfd};
use layout::{DiskUid, Layout};
use serde::{Deserialize, Serialize};
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;

const MAGIC: [u8; 6] = *b"SVATT\0";
const VERSION: u16 = 1;
const HEADER: usize = 12;

/// A disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct AttachedDisk {
    /// Where it is.
    pub path: PathBuf,
    /// What its superblock says.
    pub uid: DiskUid,
}

/// A volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct AttachedVolume {
    /// Its placement.
    pub layout: Layout,
    /// The file that is mounted for it.
    pub file: PathBuf,
}

/// Everything that is attached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Attached {
    /// The disks.
    pub disks: Vec<AttachedDisk>,
    /// The volumes.
    pub volumes: Vec<AttachedVolume>,
}

/// Why the record cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum AttachedError {
    /// The keeper.
    #[error(transparent)]
    Keeper(#[from] ClientError),
    /// Memory.
    #[error("the record of what is attached: {0}")]
    Memory(#[from] io::Error),
    /// The bytes are none, or of another version.
    #[error("the record of what is attached: version {0}, this program knows 1")]
    Version(u16),
    /// The bytes are none, or damaged.
    #[error("the record of what is attached is damaged ({0} bytes)")]
    Damaged(usize),
    /// The content is not what it should be.
    #[error("the record of what is attached: {0}")]
    Content(#[from] serde_json::Error),
}

impl Attached {
    /// The bytes of the record.
    ///
    /// # Errors
    /// Where the content has no JSON form (a path that is not UTF-8).
    pub fn encode(&self) -> Result<Vec<u8>, AttachedError> {
        let json = serde_json::to_vec(self)?;
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&crc32c::crc32c(&json).to_le_bytes());
        out.extend_from_slice(&json);
        Ok(out)
    }

    /// Reads a record.
    ///
    /// # Errors
    /// Where it is none, damaged, or of another version.
    pub fn decode(bytes: &[u8]) -> Result<Self, AttachedError> {
        let damaged = AttachedError::Damaged(bytes.len());
        let Some((header, json)) = bytes.split_first_chunk::<HEADER>() else {
            return Err(damaged);
        };
        let version = u16::from_le_bytes([header[6], header[7]]);
        let crc = u32::from_le_bytes([header[8], header[9], header[10], header[11]]);
        if !header.starts_with(&MAGIC) {
            return Err(damaged);
        }
        if version != VERSION {
            return Err(AttachedError::Version(version));
        }
        if crc != crc32c::crc32c(json) {
            return Err(damaged);
        }
        Ok(serde_json::from_slice(json)?)
    }
}

/// The record in the keeper.
#[derive(Debug, Default)]
pub struct AttachedStore {
    key: u128,
}

impl AttachedStore {
    /// Finds the newest record; nothing is attached where there is none.
    ///
    /// # Errors
    /// Where the keeper does not answer, or the record cannot be read.
    pub fn load(keeper: &Keeper) -> Result<(Self, Attached), AttachedError> {
        let records = keeper.list()?;
        let newest = records
            .iter()
            .filter(|r| r.kind == Kind::Attached)
            .map(|r| r.key)
            .max();
        let Some(held) = newest
            .map(|key| keeper.get(Kind::Attached, key))
            .transpose()?
            .flatten()
        else {
            return Ok((AttachedStore::default(), Attached::default()));
        };
        let len = std::fs::File::from(held.fd.try_clone()?).metadata()?.len() as usize;
        let mut bytes = vec![0; len];
        SharedMap::of_file(held.fd.as_fd(), len)?.read(0, &mut bytes);
        let key = newest.map_or(0, key_number);
        Ok((AttachedStore { key }, Attached::decode(&bytes)?))
    }

    /// Replaces the record. On return a successor finds the new one.
    ///
    /// # Errors
    /// Where the keeper does not answer; a successor then finds the old one or the new one.
    pub fn save(&mut self, keeper: &Keeper, attached: &Attached) -> Result<(), AttachedError> {
        let bytes = attached.encode()?;
        let fd = memfd(c"stratovol-attached", bytes.len())?;
        SharedMap::of_file(fd.as_fd(), bytes.len())?.write(0, &bytes);
        let old = self.key;
        let key = key_bytes(old + 1);
        keeper.hold(Kind::Attached, key, Vec::new(), fd.as_fd())?;
        self.key = old + 1;
        drop(keeper.release(Kind::Attached, key_bytes(old))?);
        Ok(())
    }
}

/// Keys sort as their numbers do: the most significant byte comes first.
fn key_bytes(number: u128) -> [u8; 16] {
    let mut key = number.to_le_bytes();
    key.reverse();
    key
}

fn key_number(mut key: [u8; 16]) -> u128 {
    key.reverse();
    u128::from_le_bytes(key)
}

/// For the fuzzer: whatever the bytes, reading them does not panic, and what was read is read again
/// from what we write.
pub fn fuzz_one(data: &[u8]) {
    if let Ok(attached) = Attached::decode(data)
        && let Ok(bytes) = attached.encode()
    {
        assert!(Attached::decode(&bytes).is_ok_and(|again| again == attached));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOLDEN: &str =
        r#"{"disks":[{"path":"/dev/sdb","uid":"07070707070707070707070707070707"}],"volumes":[]}"#;

    fn sample() -> Attached {
        let disk = AttachedDisk {
            path: "/dev/sdb".into(),
            uid: DiskUid([7; 16]),
        };
        Attached {
            disks: vec![disk],
            volumes: Vec::new(),
        }
    }

    #[test]
    fn yesterdays_record_is_read_today() {
        let bytes = sample().encode().unwrap();
        assert_eq!(bytes[..8], *b"SVATT\0\x01\0");
        assert_eq!(std::str::from_utf8(&bytes[HEADER..]).unwrap(), GOLDEN);
        assert_eq!(Attached::decode(&bytes).unwrap(), sample());
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let good = sample().encode().unwrap();
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Attached::decode(&bad).is_err(), "bit {bit}");
            fuzz_one(&bad);
        }
        assert!((0..good.len()).all(|cut| Attached::decode(&good[..cut]).is_err()));
    }

    #[test]
    fn keys_count_in_the_order_of_their_bytes() {
        assert!(key_bytes(255) < key_bytes(256));
        assert_eq!(key_number(key_bytes(77)), 77);
    }
}
