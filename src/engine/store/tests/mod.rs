//! The store on a disk in memory, every effect carried out at once, against a model of the content.
//! Crashes of the process are played by opening the disk anew with the volatile log; what power
//! cuts leave is the simulator's subject.

pub(crate) mod bench;

use super::*;
use crate::leaf::LegsRecord;
use bench::Bench;
use layout::{Epoch, Generation, ObjectPath, VolumeUid};

#[test]
fn content_and_space_come_and_go() {
    let mut b = Bench::new(4 << 20);
    let slot = b.grant(7, 6, &[0, 1]);
    assert_eq!(b.read(slot, 0, 48), vec![0; 48]);
    b.write(slot, 5, &[1, 2, 3, 4, 5]).unwrap().unwrap();
    assert_eq!(b.read(slot, 4, 7), vec![0, 1, 2, 3, 4, 5, 0]);
    assert_eq!(b.store.usage(slot), (vec![0, 1], 2));
    b.discard(slot, 6, 40);
    b.flush();
    assert_eq!(b.read(slot, 4, 7), vec![0, 1, 0, 0, 0, 0, 0]);
    assert_eq!(b.store.usage(slot), (vec![0, 1], 1));
    b.crash();
    assert_eq!(b.read(slot, 4, 7), vec![0, 1, 0, 0, 0, 0, 0]);
    let text = owner_text(
        &mut b.disk,
        b.store.superblock(),
        slot,
        &b.store.object(slot).record,
    );
    assert_eq!(text.unwrap(), vec![7; 5000]);
}

#[test]
fn a_writer_without_space_waits_and_is_served_or_refused() {
    let mut b = Bench::new(4 << 20);
    let slot = b.grant(7, 8, &[2]);
    b.write(slot, 0, &[1; 32]).unwrap().unwrap();
    assert_eq!(b.write(slot, 32, &[2; 8]), None);
    assert!(matches!(
        b.notices.last(),
        Some(Notice::PlacementFault { units: 1, .. })
    ));
    b.call(|s, _, k| s.refuse(slot, k));
    let last = b.next - 2;
    assert_eq!(b.ended[&last], Err(LeafError::NoSpace));
    assert_eq!(b.read(slot, 32, 8), vec![0; 8]);
    assert_eq!(b.write(slot, 32, &[3; 8]), None);
    let waiting = b.next - 1;
    assert_eq!(b.grant(7, 8, &[2, 3]), slot);
    assert_eq!(b.ended[&waiting], Ok(Outcome::Ok));
    assert_eq!(b.read(slot, 32, 8), vec![3; 8]);
    b.discard(slot, 0, 32);
    b.flush();
    b.write(slot, 40, &[4; 24]).unwrap().unwrap();
    assert_eq!(b.store.usage(slot).1, 4);
}

#[test]
fn units_are_free_again_after_a_release_and_show_nothing_of_the_old_owner() {
    let mut b = Bench::new(4 << 20);
    let old = b.grant(7, 8, &[0, 1]);
    b.write(old, 0, &[9; 64]).unwrap().unwrap();
    let contradiction = Grant {
        volume: VolumeUid([8; 16]),
        path: ObjectPath::ROOT,
        generation: Generation(1),
        segments: 4,
        units: vec![1],
        owner: Vec::new(),
        legs: LegsRecord::default(),
    };
    let (_, refused) = b.call(|s, t, k| s.grant(contradiction.clone(), t, k));
    assert!(
        refused
            .unwrap_err()
            .to_string()
            .contains("unit 1 belongs to volume 0707")
    );
    let (token, released) = b.call(|s, t, k| s.release(old, t, k));
    released.unwrap();
    assert_eq!(b.ended[&token], Ok(Outcome::Ok));
    let new = b.grant(8, 8, &[0, 1]);
    b.write(new, 3, &[5]).unwrap().unwrap();
    b.crash();
    assert_eq!(b.read(new, 0, 8), vec![0, 0, 0, 5, 0, 0, 0, 0]);
    assert_eq!(b.store.find(VolumeUid([7; 16]), ObjectPath::ROOT), None);
}

#[test]
fn a_held_epoch_tells_what_changed() {
    let mut b = Bench::new(4 << 20);
    let slot = b.grant(7, 4, &[0]);
    b.write(slot, 0, &[1; 16]).unwrap().unwrap();
    let (_, epoch) = b.call(|s, _, k| s.cut_epoch(slot, k));
    assert_eq!(epoch, Epoch(1));
    b.write(slot, 3, &[2; 2]).unwrap().unwrap();
    b.discard(slot, 8, 8);
    b.flush();
    b.crash();
    let mut scan = |segment, since| {
        let (token, ()) = b.call(|s, t, k| s.scan(slot, segment, since, t, k));
        let Ok(Outcome::Scan(scan)) = b.ended[&token].clone() else {
            panic!("no scan")
        };
        (scan.valid[0], scan.changed[0])
    };
    assert_eq!(scan(0, epoch), (0xff, 0b11000));
    assert_eq!(scan(1, epoch), (0, 0xff));
    assert_eq!(scan(2, epoch), (0, 0));
    b.call(|s, _, k| s.release_epoch(slot, epoch, k));
    b.crash();
    assert_eq!(b.read(slot, 0, 8), vec![1, 1, 1, 2, 2, 1, 1, 1]);
}

#[test]
fn random_operations_against_a_model() {
    let seed = std::env::var("STRATOVOL_SEED")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or(1u64);
    println!(
        "seed {seed}; replay with STRATOVOL_SEED={seed} cargo test -p engine random_operations"
    );
    let mut state = seed;
    let mut random = move |n: u64| {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 33) % n
    };
    let mut b = Bench::new(4 << 20);
    let slots = [b.grant(1, 12, &[0, 1, 2]), b.grant(2, 12, &[3, 4, 5])];
    let mut model = [vec![0u8; 96], vec![0u8; 96]];
    let mut held = [None, None];
    for step in 0..20_000u64 {
        let v = random(2) as usize;
        let (start, most) = (random(96), 1 + random(20));
        let count = most.min(96 - start);
        let range = start as usize..(start + count) as usize;
        match random(100) {
            0..45 => {
                let data: Vec<u8> = (0..count).map(|i| (1 + (step + i) % 255) as u8).collect();
                b.write(slots[v], start, &data).unwrap().unwrap();
                model[v][range].copy_from_slice(&data);
            }
            45..75 => assert_eq!(
                b.read(slots[v], start, count as u32),
                model[v][range],
                "{step}"
            ),
            75..90 => {
                b.discard(slots[v], start, count);
                model[v][range].fill(0);
            }
            90..96 => b.flush(),
            96..97 => match held[v].take() {
                Some(e) => drop(b.call(|s, _, k| s.release_epoch(slots[v], e, k))),
                None => held[v] = Some(b.call(|s, _, k| s.cut_epoch(slots[v], k)).1),
            },
            _ => b.crash(),
        }
    }
    for v in 0..2 {
        assert_eq!(b.read(slots[v], 0, 96), model[v]);
    }
    b.close();
    assert!(read_superblock(&mut b.disk).unwrap().clean);
}
