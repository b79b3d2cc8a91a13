//! Blocks with random bytes under a checksum that is right, as a mistake in the code or a forger
//! would leave them: checking ends and never panics, and where it finds no error the disk opens.

use super::*;
use crate::format::seal;

#[test]
fn forged_blocks() {
    let seed = std::env::var("STRATOVOL_SEED")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or(1u64);
    println!("seed {seed}; replay with STRATOVOL_SEED={seed} cargo test -p engine forged_blocks");
    let mut state = seed;
    let mut random = move |n: u64| {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 33) % n
    };
    let base = flushed();
    let geometry = *base.store.geometry();
    let offsets: Vec<u64> = PLACES
        .into_iter()
        .chain((0..3).map(|slot| geometry.meta_offset(MetaAddr::Object(slot))))
        .chain((0..5).map(|unit| geometry.meta_offset(MetaAddr::Header(unit))))
        .chain([2, 3, 12].map(|segment| geometry.meta_offset(MetaAddr::Page(segment))))
        .collect();
    let (mut clean, mut wrong) = (0, 0);
    for _ in 0..30_000 {
        let mut disk = base.disk.clone();
        for _ in 0..1 + random(2) {
            let offset = offsets[random(offsets.len() as u64) as usize];
            let mut block = vec![0; BLOCK];
            disk.read(offset, &mut block).unwrap();
            // Most of what means anything is at the start.
            let most = [160, 320, BLOCK as u64 - 4][random(3) as usize];
            for _ in 0..1 + random(3) {
                let value = [0, 1, 0x7f, 0x80, 0xff, random(256) as u8][random(6) as usize];
                let at = random(most) as usize;
                let run = [1, 2, 4, 8][random(4) as usize];
                block[at..(at + run).min(BLOCK - 4)].fill(value);
            }
            seal(&mut block);
            disk.write(offset, &block).unwrap();
        }
        let report = check(&mut disk, &[]);
        if report.has_errors() {
            wrong += 1;
        } else {
            let opened = Store::open(&mut disk, None, &[], Config::default());
            assert!(
                opened.is_ok() || report.exit_code() == 1,
                "{:?}",
                opened.err()
            );
            clean += 1;
        }
    }
    println!("{wrong} disks with errors, {clean} without");
    assert!(wrong > 1000 && clean > 1000);
}
