use super::*;
use crate::content::Stamp;

fn data(version: u32, blocks: usize) -> Data {
    (0..blocks as u64)
        .map(|b| Content::from(Stamp::new(1, b, version)))
        .collect()
}

fn version(disk: &SimDisk, block: u64) -> u32 {
    let stamps = disk.peek(block).stamps().unwrap();
    assert_eq!(stamps, [stamps[0]; SECTORS]);
    stamps[0].version()
}

fn disk(kept: u64, torn: u64) -> SimDisk {
    let habits = Habits {
        kept,
        torn,
        ..Habits::default()
    };
    SimDisk::new(100, habits)
}

#[test]
fn a_flush_covers_what_had_completed_when_it_was_issued() {
    let mut d = disk(0, 0);
    let a = d.start_write(0, data(1, 1), false);
    let b = d.start_write(1, data(1, 1), false);
    d.end_write(a).unwrap();
    let flush = d.start_flush();
    d.end_write(b).unwrap();
    d.end_flush(flush).unwrap();
    assert_eq!((version(&d, 0), version(&d, 1)), (1, 1));
    d.power_cut(&mut Rng::new(1));
    assert_eq!((version(&d, 0), version(&d, 1)), (1, 0));
}

#[test]
fn a_fua_write_is_durable_alone() {
    let mut d = disk(0, 0);
    for (block, fua) in [(0, false), (1, true)] {
        let id = d.start_write(block, data(1, 1), fua);
        d.end_write(id).unwrap();
    }
    d.power_cut(&mut Rng::new(1));
    assert_eq!((version(&d, 0), version(&d, 1)), (0, 1));
}

#[test]
fn what_is_durable_is_not_overtaken_by_what_is_older() {
    let mut d = disk(100, 0);
    let old = d.start_write(0, data(1, 1), false);
    d.end_write(old).unwrap();
    let new = d.start_write(0, data(2, 1), true);
    d.end_write(new).unwrap();
    d.power_cut(&mut Rng::new(1));
    assert_eq!(version(&d, 0), 2);
}

#[test]
fn a_cut_keeps_drops_and_tears() {
    let mut seen = BTreeSet::new();
    for seed in 0..200 {
        let mut d = disk(30, 40);
        let id = d.start_write(0, data(1, 1), false);
        d.end_write(id).unwrap();
        d.flush().unwrap();
        let id = d.start_write(0, data(2, 1), false);
        d.end_write(id).unwrap();
        d.power_cut(&mut Rng::new(seed));
        let stamps = d.peek(0).stamps().unwrap();
        assert!(stamps.iter().all(|s| [1, 2].contains(&s.version())));
        let new = stamps.iter().filter(|s| s.version() == 2).count();
        seen.insert(match new {
            0 => "dropped",
            SECTORS => "kept",
            _ => "torn",
        });
        assert!(!d.is_dirty());
    }
    assert_eq!(seen.len(), 3);
}

#[test]
fn a_failed_flush_loses_what_it_covered_and_the_next_succeeds() {
    let mut d = disk(0, 0);
    let id = d.start_write(0, data(1, 2), false);
    d.end_write(id).unwrap();
    let covered = d.start_flush();
    let id = d.start_write(1, data(2, 1), false);
    d.end_write(id).unwrap();
    d.fail_next_flush();
    assert_eq!(d.end_flush(covered), Err(EIO));
    assert_eq!((version(&d, 0), version(&d, 1)), (0, 2));
    d.flush().unwrap();
    d.power_cut(&mut Rng::new(1));
    assert_eq!((version(&d, 0), version(&d, 1)), (0, 2));
}

#[test]
fn a_process_crash_does_each_block_in_flight_or_not_and_keeps_what_completed() {
    let mut outcomes = BTreeSet::new();
    for seed in 0..100 {
        for seen_late in [false, true] {
            let mut d = SimDisk::new(
                100,
                Habits {
                    seen_late,
                    ..Habits::default()
                },
            );
            let id = d.start_write(0, data(1, 2), false);
            d.end_write(id).unwrap();
            d.start_write(0, data(2, 2), false);
            d.process_crash(&mut Rng::new(seed));
            outcomes.insert((version(&d, 0), version(&d, 1)));
        }
    }
    assert_eq!(outcomes, BTreeSet::from([(1, 1), (1, 2), (2, 1), (2, 2)]));
}

#[test]
fn a_late_write_is_seen_from_its_completion() {
    let mut d = SimDisk::new(
        8,
        Habits {
            seen_late: true,
            ..Habits::default()
        },
    );
    let id = d.start_write(0, data(1, 1), false);
    assert_eq!(version(&d, 0), 0);
    d.end_write(id).unwrap();
    assert_eq!(version(&d, 0), 1);
}

#[test]
fn faults_answer_errors_until_healed() {
    let mut d = disk(0, 0);
    d.spoil(3);
    assert!(d.read_blocks(2, 1).is_ok());
    assert_eq!(d.read_blocks(2, 2).err(), Some(EIO));
    let id = d.start_write(3, data(1, 1), false);
    d.end_write(id).unwrap();
    assert!(d.read_blocks(2, 2).is_ok());
    d.die();
    assert_eq!(d.read_blocks(2, 1).err(), Some(EIO));
    assert_eq!(d.flush(), Err(EIO));
    d.heal();
    d.cut_after(1);
    assert!(d.flush().is_ok());
    assert_eq!(d.read(0, &mut [0; BLOCK]), Err(EIO));
}
