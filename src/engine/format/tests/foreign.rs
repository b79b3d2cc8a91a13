//! Each signature where it belongs is recognised, and nothing else is. Images that the real tools
//! make are tried in `engine/tests/foreign_images.rs`.

use crate::format::foreign::{HEAD, TAIL, detect};

fn blank() -> (Vec<u8>, Vec<u8>) {
    (vec![0; HEAD], vec![0; TAIL])
}

#[test]
fn nothing_is_found_where_nothing_is() {
    let (head, tail) = blank();
    assert_eq!(detect(&head, &tail), None);
    assert_eq!(detect(&[], &[]), None);
    assert_eq!(detect(&head[..100], &tail[..100]), None);
    let ours = super::superblock().encode();
    assert_eq!(detect(&ours, &tail), None);
}

#[test]
fn signatures_in_the_head_are_found() {
    let cases: &[(usize, &[u8], &str)] = &[
        (0x438, &[0x53, 0xef], "ext4"),
        (0, b"XFSB", "XFS"),
        (0x10040, b"_BHRfS_M", "Btrfs"),
        (0, b"LUKS\xba\xbe", "LUKS"),
        (512, b"EFI PART", "GPT"),
        (4096, b"EFI PART", "GPT"),
        (0, b"LABELONE", "LVM"),
        (512, b"LABELONE", "LVM"),
        (1024, b"LABELONE", "LVM"),
        (1536, b"LABELONE", "LVM"),
        (0, &[0xfc, 0x4e, 0x2b, 0xa9], "metadata 1.1"),
        (4096, &[0xfc, 0x4e, 0x2b, 0xa9], "metadata 1.2"),
        (4086, b"SWAPSPACE2", "swap"),
        (0x10034, b"ReIsEr2Fs", "ReiserFS"),
        (0x8001, b"CD001", "ISO 9660"),
        (0x8001, b"BEA01", "UDF"),
        (0x8000, b"JFS1", "JFS"),
        (3, b"NTFS    ", "NTFS"),
        (3, b"EXFAT   ", "exFAT"),
        (0x36, b"FAT16   ", "FAT"),
        (0x52, b"FAT32   ", "FAT"),
        (0x400, &[0x10, 0x20, 0xf5, 0xf2], "F2FS"),
        (0, b"hsqs", "SquashFS"),
        (
            0x1018,
            b"\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f",
            "bcache",
        ),
        (
            0x1018,
            b"\xc6\x85\x73\xf6\x66\xce\x90\xa9\xd9\x6a\x60\xcf",
            "bcachefs",
        ),
        (0, b"bluestore block device\n", "BlueStore"),
        (0, b"BITLOCK0", "BitLocker"),
        (510, &[0x55, 0xaa], "MBR"),
    ];
    for (at, magic, what) in cases {
        let (mut head, tail) = blank();
        head[*at..at + magic.len()].copy_from_slice(magic);
        let found = detect(&head, &tail);
        assert!(found.is_some_and(|f| f.contains(what)), "{what}: {found:?}");
        // Where the device ends before the magic does, there is none.
        assert_eq!(detect(&head[..at + 1], &tail), None, "{what}, cut");
        head[*at] ^= 1;
        assert_eq!(detect(&head, &tail), None, "{what}, one bit off");
    }
}

#[test]
fn a_zfs_label_is_found_by_its_names() {
    let (mut head, tail) = blank();
    head[0x4010..0x4017].copy_from_slice(b"version");
    assert_eq!(detect(&head, &tail), None);
    head[0x4100..0x4109].copy_from_slice(b"pool_guid");
    assert!(detect(&head, &tail).unwrap().contains("ZFS"));
}

#[test]
fn signatures_in_the_tail_are_found() {
    const RAID: [u8; 4] = [0xfc, 0x4e, 0x2b, 0xa9];
    for before in [512, 4096] {
        let (head, mut tail) = blank();
        let at = TAIL - before;
        tail[at..at + 8].copy_from_slice(b"EFI PART");
        assert!(detect(&head, &tail).unwrap().contains("backup"));
    }
    // Sizes that are no multiple of 64 KiB included: the place moves against the end.
    for sectors in 0..128u64 {
        let size = (10 << 20) + sectors * 512;
        let places = [
            (0, "0.90", (size & !0xffff) - 0x10000),
            (1, "1.0", ((size / 512 - 16) & !7) * 512),
        ];
        for (major, name, place) in places {
            let (head, mut tail) = blank();
            let at = TAIL - (size - place) as usize;
            tail[at..at + 4].copy_from_slice(&RAID);
            tail[at + 4] = major;
            let found = detect(&head, &tail);
            assert!(found.is_some_and(|f| f.contains(name)), "{found:?} {size}");
        }
    }
}
