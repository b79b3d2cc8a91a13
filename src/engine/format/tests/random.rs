//! The fuzz entry points in an ordinary test: structures that are sound, damaged, cut, and noise.
//! `fuzz/` runs the same functions for as long as one likes.

use super::*;
use crate::format::{header, journal, page, record, superblock};

/// Numbers below a bound, from the environment's `SEED` or else from `seed`, which is printed with
/// the command that gives the same numbers again.
pub fn rng(test: &str, seed: u64) -> impl FnMut(u64) -> u64 {
    let seed = std::env::var("SEED").map_or(seed, |s| s.parse().expect("SEED is a number"));
    println!("SEED={seed} cargo test --release -p engine {test}");
    let mut state = seed;
    move |bound: u64| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ z >> 31) % bound.max(1)
    }
}

/// What the entry points are fed from: real structures from their first byte and from behind the
/// common head, where those entry points that seal what they are given begin.
fn sources() -> Vec<Vec<u8>> {
    let mut all: Vec<_> = blocks().into_iter().map(|(_, b)| b).collect();
    let bodies: Vec<_> = all.iter().map(|b| b[28..].to_vec()).collect();
    all.extend(bodies);
    let counted = (records().len() as u32).to_le_bytes();
    all.extend([
        payload(),
        [&counted[..], &payload()].concat(),
        journal::encode(frame(FrameKind::Group), &payload()),
        Vec::new(),
        vec![0; BLOCK],
        vec![0xff; BLOCK],
    ]);
    all
}

fn damage(rng: &mut impl FnMut(u64) -> u64, data: &mut Vec<u8>) {
    for _ in 0..rng(6) {
        if data.is_empty() {
            return;
        }
        let at = rng(data.len() as u64) as usize;
        match rng(4) {
            0 => data[at] ^= 1 << rng(8),
            1 => data[at] = rng(256) as u8,
            2 => data.truncate(at),
            _ => {
                let end = data.len().min(at + rng(64) as usize);
                data[at..end].iter_mut().for_each(|b| *b = rng(256) as u8);
            }
        }
    }
}

#[test]
fn no_decoder_panics_and_what_is_accepted_keeps_its_meaning() {
    let name = "no_decoder_panics_and_what_is_accepted_keeps_its_meaning";
    let mut rng = rng(name, 3);
    let sources = sources();
    for _ in 0..4_000 {
        let mut data = sources[rng(sources.len() as u64) as usize].clone();
        damage(&mut rng, &mut data);
        superblock::fuzz_one(&data);
        object::fuzz_one(&data);
        header::fuzz_one(&data);
        page::fuzz_one(&data);
        record::fuzz_one(&data);
        journal::fuzz_one(&data);
    }
}

#[test]
fn whatever_is_encoded_is_read_back() {
    let mut rng = rng("whatever_is_encoded_is_read_back", 4);
    for _ in 0..2_000 {
        let mut header = header();
        for d in &mut header.segments {
            let logical = rng(1 << 32) as u32;
            *d = match rng(3) {
                0 => Descriptor::Free,
                1 => Descriptor::Page { logical },
                _ => Descriptor::Run {
                    logical,
                    birth: Epoch(rng(1 << 32) as u32),
                },
            };
        }
        let unit = rng(1 << 32) as u32;
        let read = Header::decode(&header.encode(DISK, unit), DISK, unit, 64);
        assert_eq!(read, Ok(header));

        let blocks = 2 << rng(8);
        let mut page = Page::new(rng(1 << 32) as u32, blocks, rng(2) == 1, Epoch(1));
        for _ in 0..rng(8) {
            let first = rng(blocks.into()) as u32;
            let count = rng(u64::from(blocks - first) + 1) as u32;
            page.set(first, count, rng(2) == 1, Epoch(rng(1 << 32) as u32));
        }
        let counted = (0..blocks).filter(|b| page.is_valid(*b)).count();
        assert_eq!(page.count() as usize, counted);
        assert_eq!(page.births.iter().max(), Some(&page.newest()));
        assert_eq!(Page::decode(&page.encode(&HOME), &HOME, blocks), Ok(page));

        let mut record = object_record();
        let held: std::collections::BTreeSet<_> =
            (0..rng(17)).map(|_| Epoch(rng(1 << 32) as u32)).collect();
        record.held = held.into_iter().collect();
        record.dirty.set(rng(object::REGIONS.into()) as u32, true);
        let slot = rng(1 << 16) as u16;
        let read = ObjectRecord::decode(&record.encode(DISK, slot), DISK, slot);
        assert_eq!(read, Ok(Some(record)));
    }
}
