//! Recognises what somebody else put on a device, so that it is never overwritten (spec K6).
//!
//! Facts from the formats' own descriptions: where each keeps its magic number. A device whose
//! first and last bytes show none of these may still hold something; the caller decides whether it
//! must be all zeros.

/// Bytes from the start of the device that [`detect`] wants.
pub const HEAD: usize = 128 << 10;
/// Bytes from the end of the device that [`detect`] wants.
pub const TAIL: usize = 128 << 10;

/// (offset, magic, what it is) in the head.
const IN_HEAD: &[(usize, &[u8], &str)] = &[
    (0x438, &[0x53, 0xef], "an ext2, ext3 or ext4 file system"),
    (0, b"XFSB", "an XFS file system"),
    (0x10040, b"_BHRfS_M", "a Btrfs file system"),
    (0, b"LUKS\xba\xbe", "a LUKS encrypted volume"),
    (512, b"EFI PART", "a GPT partition table"),
    (4096, b"EFI PART", "a GPT partition table"),
    (512, b"LABELONE", "an LVM physical volume"),
    (0, b"LABELONE", "an LVM physical volume"),
    (1024, b"LABELONE", "an LVM physical volume"),
    (1536, b"LABELONE", "an LVM physical volume"),
    (
        0,
        &[0xfc, 0x4e, 0x2b, 0xa9],
        "a member of a Linux RAID (metadata 1.1)",
    ),
    (
        4096,
        &[0xfc, 0x4e, 0x2b, 0xa9],
        "a member of a Linux RAID (metadata 1.2)",
    ),
    (4086, b"SWAPSPACE2", "Linux swap space"),
    (4086, b"SWAP-SPACE", "Linux swap space"),
    (0x10034, b"ReIsEr", "a ReiserFS file system"),
    (0x8001, b"CD001", "an ISO 9660 file system"),
    (0x8001, b"BEA01", "a UDF file system"),
    (0x8000, b"JFS1", "a JFS file system"),
    (3, b"NTFS    ", "an NTFS file system"),
    (3, b"EXFAT   ", "an exFAT file system"),
    (0x36, b"FAT1", "a FAT file system"),
    (0x52, b"FAT32", "a FAT file system"),
    (0x400, &[0x10, 0x20, 0xf5, 0xf2], "an F2FS file system"),
    (0, b"hsqs", "a SquashFS file system"),
    (
        0x1018,
        &[0xc6, 0x85, 0x73, 0xf6, 0x4e, 0x1a, 0x45, 0xca],
        "a bcache or bcachefs device",
    ),
    (
        0x1018,
        &[0xc6, 0x85, 0x73, 0xf6, 0x66, 0xce, 0x90, 0xa9],
        "a bcachefs device",
    ),
    (0, b"bluestore block device", "a Ceph BlueStore device"),
    (0, b"BITLOCK0", "a BitLocker volume"),
];

/// (bytes before the end, magic, what it is) in the tail.
const IN_TAIL: &[(usize, &[u8], &str)] = &[
    (512, b"EFI PART", "a GPT partition table (backup copy)"),
    (4096, b"EFI PART", "a GPT partition table (backup copy)"),
];

/// What the first and the last bytes of a device show, in words; `None` where they show nothing.
/// `head` and `tail` may be shorter than asked for where the device is.
pub fn detect(head: &[u8], tail: &[u8]) -> Option<&'static str> {
    let in_head = IN_HEAD
        .iter()
        .find(|(at, magic, _)| head.get(*at..).is_some_and(|rest| rest.starts_with(magic)));
    let in_tail = || {
        IN_TAIL.iter().find(|(before, magic, _)| {
            let at = tail.len().checked_sub(*before);
            at.is_some_and(|at| tail[at..].starts_with(magic))
        })
    };
    in_head
        .or_else(in_tail)
        .map(|(_, _, what)| *what)
        .or_else(|| raid_at_end(tail))
        .or_else(|| zfs(head))
        .or_else(|| mbr(head))
}

/// Linux RAID at the end: metadata 1.0 lies 8 to 12 KiB before it, metadata 0.90 in the last 64 KiB
/// that are whole and aligned. How far that is from the end depends on the size of the device, so
/// every sector of the tail is looked at.
fn raid_at_end(tail: &[u8]) -> Option<&'static str> {
    tail.rchunks_exact(512)
        .find(|sector| sector.starts_with(&[0xfc, 0x4e, 0x2b, 0xa9]))
        .map(|sector| match sector[4] {
            0 => "a member of a Linux RAID (metadata 0.90)",
            _ => "a member of a Linux RAID (metadata 1.0)",
        })
}

/// A ZFS label keeps its uberblocks from 128 KiB on; its name-value list starts at 16 KiB.
fn zfs(head: &[u8]) -> Option<&'static str> {
    let list = head.get(0x4000..0x4000 + 4096)?;
    let named =
        list.windows(7).any(|w| w == b"version") && list.windows(9).any(|w| w == b"pool_guid");
    named.then_some("a member of a ZFS pool")
}

/// The boot signature: a partition table of the old kind, or boot code.
fn mbr(head: &[u8]) -> Option<&'static str> {
    let sector = head.get(..512)?;
    (sector[510..] == [0x55, 0xaa]).then_some("a partition table or boot sector (MBR)")
}
