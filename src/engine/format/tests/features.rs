//! The three feature words: ignored, only read, refused; and what else the superblock promises.

use super::*;
use crate::format::superblock::{LABEL, SuperblockError};

#[test]
fn an_unknown_compatible_feature_is_ignored_and_kept() {
    for bit in 0..64 {
        let s = Superblock {
            compatible: 1 << bit,
            ..superblock()
        };
        let read = Superblock::decode(&s.encode()).unwrap();
        assert_eq!(read.writable(), Ok(()));
        assert_eq!(read, s);
    }
}

#[test]
fn an_unknown_read_only_compatible_feature_allows_reading_only() {
    for bit in 0..64 {
        let s = Superblock {
            read_only: 1 << bit,
            ..superblock()
        };
        let read = Superblock::decode(&s.encode()).unwrap();
        let unknown = 1 << bit;
        assert_eq!(read.writable(), Err(SuperblockError::ReadOnly { unknown }));
    }
}

#[test]
fn an_unknown_incompatible_feature_is_refused() {
    for bit in 0..64 {
        let s = Superblock {
            incompatible: 1 << bit,
            ..superblock()
        };
        let unknown = 1 << bit;
        assert_eq!(
            Superblock::decode(&s.encode()),
            Err(SuperblockError::Incompatible { unknown })
        );
    }
}

#[test]
fn a_device_of_somebody_else_is_absent_not_damaged() {
    for b in [vec![0; BLOCK], vec![0xff; BLOCK]] {
        assert_eq!(Superblock::decode(&b), Err(SuperblockError::Absent));
    }
}

#[test]
fn a_long_label_is_cut_between_characters() {
    for (label, kept) in [
        ("x".repeat(LABEL), LABEL),
        ("x".repeat(LABEL + 1), LABEL),
        ("é".repeat(LABEL), LABEL),
        (format!("x{}", "é".repeat(LABEL)), LABEL - 1),
    ] {
        let s = Superblock {
            label: label.clone(),
            ..superblock()
        };
        let read = Superblock::decode(&s.encode()).unwrap().label;
        assert_eq!(read.len(), kept);
        assert!(label.starts_with(&read));
    }
}

#[test]
fn an_owner_text_of_any_length_round_trips_up_to_the_most() {
    for len in [0, 1, 4059, 4060, 4061, 8120, object::OWNER_TEXT] {
        let text = vec![b't'; len];
        let parts = object::encode_owner(&text, DISK, SLOT).unwrap();
        assert!(parts.len() <= object::OWNER_PARTS.into());
        let mut read: Vec<u8> = Vec::new();
        for (part, number) in parts.iter().zip(1..) {
            read.extend(object::decode_owner_part(part, DISK, SLOT, number).unwrap());
        }
        assert_eq!(read, text);
    }
    let long = vec![0; object::OWNER_TEXT + 1];
    assert_eq!(object::encode_owner(&long, DISK, SLOT), None);
}

#[test]
fn marks_of_regions_are_kept_apart_united_and_halved() {
    let (mut a, mut b) = (Regions::default(), Regions::default());
    a.set(7, true);
    a.set(8, true);
    a.set(7, false);
    b.set(object::REGIONS - 1, true);
    a.union(&b);
    assert!(a.iter().eq([8, object::REGIONS - 1]));
    assert!(a.halved().iter().eq([4, (object::REGIONS - 1) / 2]));
}
