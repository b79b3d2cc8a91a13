//! What a disk promises, on files: the claim, direct I/O, and a power cut.

use super::*;
use std::fs::File;

/// A folder beside this program: where direct I/O works, which temporary folders do not promise.
fn scratch() -> tempfile::TempDir {
    let program = std::env::current_exe().unwrap();
    tempfile::tempdir_in(program.parent().unwrap()).unwrap()
}

fn file_of(dir: &tempfile::TempDir, blocks: u64) -> std::path::PathBuf {
    let path = dir.path().join("disk");
    File::create(&path).unwrap().set_len(blocks * 4096).unwrap();
    path
}

#[test]
fn a_second_claim_is_refused_at_once_by_name() {
    let dir = scratch();
    let path = file_of(&dir, 16);
    let first = DiskFile::open(&path, Patience::AtOnce).unwrap();
    let second = DiskFile::open(&path, Patience::AtOnce);
    assert!(matches!(second, Err(ClaimError::InUse(p)) if p == path));
    drop(first);
    assert!(DiskFile::open(&path, Patience::AtOnce).is_ok());
}

#[test]
fn a_successor_waits_until_the_claim_is_free() {
    let dir = scratch();
    let path = file_of(&dir, 16);
    let first = DiskFile::open(&path, Patience::AtOnce).unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    let successor = std::thread::spawn({
        let path = path.clone();
        move || {
            let claimed = DiskFile::open(&path, Patience::Takeover);
            tell.send(()).unwrap();
            claimed
        }
    });
    let early = told.recv_timeout(std::time::Duration::from_millis(100));
    assert!(early.is_err(), "claimed while another process had it");
    drop(first);
    assert!(successor.join().unwrap().is_ok());
}

#[test]
fn what_cannot_be_a_disk_is_refused() {
    let dir = scratch();
    let folder = DiskFile::open(dir.path(), Patience::AtOnce);
    assert!(matches!(folder, Err(ClaimError::Kind(_))));
    let absent = DiskFile::open(&dir.path().join("no"), Patience::AtOnce);
    assert!(matches!(absent, Err(ClaimError::Open { .. })));
}

#[test]
fn unaligned_memory_is_read_and_written() {
    let dir = scratch();
    let mut disk = DiskFile::open(&file_of(&dir, 1024), Patience::AtOnce).unwrap();
    assert_eq!(disk.size(), 4 << 20);
    let data: Vec<u8> = (0..3 * PIECE + 4096 + 1)
        .map(|i| i as u8 ^ (i >> 12) as u8)
        .collect();
    disk.write(4096, &data[1..3 * PIECE + 1]).unwrap();
    disk.flush().unwrap();
    let mut back = vec![0; 3 * PIECE + 1];
    disk.read(4096, &mut back[1..]).unwrap();
    assert_eq!(back[1..], data[1..3 * PIECE + 1]);
    assert!(
        disk.read(4 << 20, &mut back[..4096]).is_err(),
        "past the end"
    );
}

#[test]
fn a_power_cut_takes_what_was_not_flushed_and_nothing_else() {
    let dir = scratch();
    let path = file_of(&dir, 512);
    let mut lost = 0;
    for seed in 1..=8 {
        let open = || DiskFile::open(&path, Patience::AtOnce).unwrap();
        let mut disk = open().with_power_cut(PowerCut { seed });
        let old = vec![seed as u8; 512 * 4096];
        disk.write(0, &old).unwrap();
        disk.flush().unwrap();
        for block in 0..512 {
            disk.write(block * 4096, &[0xff; 4096]).unwrap();
        }
        disk.write_aligned(
            7 * 4096,
            AlignedBuf::from_bytes(&[0xee; 4096]).bytes(),
            true,
        )
        .unwrap();
        let mut seen = vec![0; 512 * 4096];
        disk.read(0, &mut seen).unwrap();
        assert!(
            seen.chunks(4096)
                .enumerate()
                .all(|(i, b)| b[0] == if i == 7 { 0xee } else { 0xff })
        );
        drop(disk);
        open().read(0, &mut seen).unwrap();
        assert_eq!(seen[7 * 4096], 0xee, "durable means durable");
        lost += seen.chunks(4096).filter(|b| b[0] == seed as u8).count();
        let alien = |b: &&[u8]| ![seed as u8, 0xff, 0xee].contains(&b[0]);
        assert_eq!(seen.chunks(4096).filter(alien).count(), 0);
    }
    assert!(
        (8 * 256..8 * 500).contains(&lost),
        "{lost} of 4096 unflushed blocks were lost"
    );
}
