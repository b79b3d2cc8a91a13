//! The rules one by one.

use super::*;
use crate::io::Notice;
use crate::volume::{Leg, regions};

const BLOCK: u32 = 4096;

fn write(block: u64) -> Op {
    Op::Write {
        off: block * u64::from(BLOCK),
        len: BLOCK,
        fua: false,
    }
}

fn legs(rig: &Rig) -> Vec<Leg> {
    let status = rig.volume.as_ref().unwrap().status();
    status.mirrors[0].legs.iter().map(|l| l.state).collect()
}

#[test]
fn a_bad_request_is_answered_at_once() {
    let mut rig = Rig::new(&pair(), 1);
    rig.settle();
    for (op, e) in [
        (Op::Read { off: 1, len: 4096 }, IoError::Unaligned),
        (
            Op::Write {
                off: 0,
                len: 100,
                fua: true,
            },
            IoError::Unaligned,
        ),
        (
            Op::Read {
                off: 16 * SEGMENT,
                len: 4096,
            },
            IoError::OutOfRange,
        ),
        (
            Op::Discard {
                off: u64::MAX - 4095,
                len: 4096,
            },
            IoError::OutOfRange,
        ),
        (
            Op::WriteZeroes {
                off: 4096,
                len: 16 * SEGMENT,
            },
            IoError::OutOfRange,
        ),
    ] {
        let req = rig.submit(op);
        assert_eq!(rig.replies.remove(&req), Some(Err(e)), "{op:?}");
    }
    assert!(rig.fake.pending.is_empty());
}

#[test]
fn no_space_on_one_copy_writes_none_and_drops_none() {
    let mut rig = Rig::new(&pair(), 1);
    rig.settle();
    rig.fake.full.insert(1);
    let req = rig.submit(write(3));
    assert_eq!(rig.run(req), Err(IoError::NoSpace));
    rig.settle();
    for leaf in rig.fake.leaves.values() {
        assert!(leaf.now.blocks.iter().all(Option::is_none));
    }
    assert_eq!(legs(&rig), [Leg::Live, Leg::Live]);
    rig.fake.full.clear();
    let req = rig.submit(write(3));
    assert_eq!(rig.run(req), Ok(()));
}

#[test]
fn no_write_is_acknowledged_before_the_loss_of_a_leg_is_on_record() {
    let mut rig = Rig::new(&pair(), 1);
    rig.settle();
    rig.fake.fail(1, &mut Rng(1));
    let req = rig.submit(write(0));
    let other = rig.submit(write(9));
    while rig.replies.is_empty() {
        rig.end(0);
    }
    assert_eq!(rig.fake.leaves[&(0, 0)].durable.legs.stale, 0b10);
    rig.settle();
    assert_eq!((rig.replies[&req], rig.replies[&other]), (Ok(()), Ok(())));
    assert_eq!(legs(&rig), [Leg::Live, Leg::Stale]);
    assert!(matches!(
        rig.notices[..],
        [Notice::LegDropped { leg: 1, .. }]
    ));
}

#[test]
fn a_leg_that_is_back_is_given_what_changed_and_no_more() {
    let mut rig = Rig::new(&pair(), 1);
    for block in 0..32 {
        let req = rig.submit(write(block));
        rig.run(req).unwrap();
    }
    let req = rig.submit(Op::Flush);
    rig.run(req).unwrap();
    // Marks go once regions were idle; the last ones stay, so that many are used.
    rig.now += 60_000_000_000;
    rig.with(|v, cx| v.tick(cx));
    rig.settle();
    let status = rig.volume.as_ref().unwrap().status();
    assert!(status.mirrors[0].dirty <= regions::KEEP);
    // All marks go with a detach.
    rig.with(|v, cx| v.detach(CommandId(7), cx));
    rig.settle();
    rig.attach().unwrap();
    rig.fake.fail(0, &mut Rng(2));
    let req = rig.submit(write(5));
    rig.run(req).unwrap();
    let req = rig.submit(Op::Discard {
        off: 9 * 4096,
        len: 4096,
    });
    rig.run(req).unwrap();
    rig.settle();
    rig.fake.failed.clear();
    rig.notices.clear();
    rig.with(|v, cx| v.disk_back(DiskUid([1; 16]), &mut lookup, cx));
    rig.settle();
    assert_eq!(legs(&rig), [Leg::Live, Leg::Live]);
    rig.check_legs();
    let Some(Notice::Rebuild {
        copied,
        complete,
        done,
        total,
        ..
    }) = rig.notices.last()
    else {
        panic!("not told: {:?}", rig.notices);
    };
    // The region of the write that failed is copied whole, for who knows what is there.
    assert!(
        *complete && done == total && copied.0 <= 2 * SEGMENT,
        "{copied} copied"
    );
    let held = |l: &FakeLeaf| l.now.held.is_empty();
    assert!(
        rig.fake.leaves.values().all(held),
        "epochs are held for nobody"
    );
}

#[test]
fn a_new_leg_is_given_all_and_survives_as_the_only_one() {
    let mut rig = Rig::new(&pair(), 2);
    for block in [0, 1, 7, 40] {
        let req = rig.submit(write(block));
        rig.run(req).unwrap();
    }
    rig.fake.fail(1, &mut Rng(3));
    let req = rig.submit(write(2));
    rig.run(req).unwrap();
    rig.settle();
    rig.replace(1, 2).unwrap();
    rig.settle();
    assert_eq!(legs(&rig), [Leg::Live, Leg::Live]);
    rig.check_legs();
    rig.fake.fail(0, &mut Rng(4));
    let req = rig.submit(Op::Read {
        off: 0,
        len: 4096 * 64,
    });
    rig.run(req).unwrap();
    let got = rig.fake.buffers.remove(&req).unwrap();
    let held: Vec<usize> = (0..64).filter(|i| got[*i].is_some()).collect();
    assert_eq!(held, [0, 1, 2, 7, 40]);
}

#[test]
fn the_last_leg_is_never_dropped_and_no_flush_succeeds_after_it_failed() {
    let mut rig = Rig::new(&pair(), 1);
    rig.settle();
    rig.fake.fail(0, &mut Rng(5));
    rig.fake.fail(1, &mut Rng(6));
    for op in [write(0), Op::Flush, Op::Read { off: 0, len: 4096 }] {
        let req = rig.submit(op);
        assert_eq!(rig.run(req), Err(IoError::Io), "{op:?}");
    }
    rig.settle();
    let records = rig.fake.leaves.values().map(|l| l.durable.legs.stale);
    assert!(records.into_iter().all(|stale| stale == 0));
}

#[test]
fn a_segment_in_error_is_read_from_the_other_leg_and_written_only_by_dropping() {
    let mut rig = Rig::new(&pair(), 1);
    let req = rig.submit(write(0));
    rig.run(req).unwrap();
    rig.settle();
    rig.fake.damaged.insert((0, 0, 0));
    for _ in 0..4 {
        let req = rig.submit(Op::Read { off: 0, len: 4096 });
        rig.run(req).unwrap();
    }
    assert_eq!(legs(&rig), [Leg::Live, Leg::Live]);
    let req = rig.submit(write(1));
    rig.run(req).unwrap();
    rig.settle();
    assert_eq!(legs(&rig), [Leg::Stale, Leg::Live]);
    rig.fake.damaged.insert((1, 0, 0));
    let req = rig.submit(write(1));
    assert_eq!(rig.run(req), Err(IoError::Io));
    assert_eq!(legs(&rig), [Leg::Stale, Leg::Live]);
}

#[test]
fn a_leg_that_is_missing_must_be_on_record() {
    let mut rig = Rig::new(&pair(), 1);
    rig.settle();
    rig.volume = None;
    rig.fake.failed.insert(1);
    let disk = DiskUid([2; 16]);
    assert_eq!(rig.attach().unwrap_err(), CommandError::DiskFailed(disk));
    rig.fake.failed.clear();
    rig.attach().unwrap();
    rig.fake.fail(1, &mut Rng(7));
    let req = rig.submit(write(0));
    rig.run(req).unwrap();
    rig.volume = None;
    rig.fake.pending.clear();
    rig.attach().unwrap();
    assert_eq!(legs(&rig), [Leg::Live, Leg::Stale]);
    let req = rig.submit(write(1));
    assert_eq!(rig.run(req), Ok(()));
}

#[test]
fn nothing_to_do_wakes_nobody() {
    let mut rig = Rig::new(&pair(), 1);
    rig.settle();
    let wake = |rig: &Rig| rig.volume.as_ref().unwrap().next_wake();
    assert_eq!(wake(&rig), None);
    let req = rig.submit(write(0));
    rig.run(req).unwrap();
    assert_eq!(wake(&rig), None, "one region may stay marked");
}

#[test]
fn a_volume_grows_while_it_is_used() {
    let grown = |n| Shape::Mirror(vec![Shape::Concat(vec![Shape::Leaf(4)]), Shape::Leaf(n)]);
    let mut rig = Rig::new(&grown(4), 1);
    let req = rig.submit(write(3));
    rig.run(req).unwrap();
    // The second disk's object is larger, the first leg gets a leaf more.
    let larger = Shape::Mirror(vec![
        Shape::Concat(vec![Shape::Leaf(4), Shape::Leaf(4)]),
        Shape::Leaf(8),
    ]);
    let mut new = layout(&larger);
    let Kind::Mirror { copies } = &mut new.root.kind else {
        unreachable!()
    };
    super::set_disk(&mut copies[0], &mut 1, DiskUid([77; 16]));
    super::set_disk(&mut copies[1], &mut 0, DiskUid([2; 16]));
    rig.layout = new.clone();
    rig.fake.leaves.get_mut(&(1, 0)).unwrap().grow(4);
    rig.make_leaves(1);
    rig.with(|v, cx| v.relayout(&new, &mut lookup, cx)).unwrap();
    rig.settle();
    let req = rig.submit(write(30));
    rig.run(req).unwrap();
    rig.check_legs();
    rig.fake.crash(&mut Rng(8));
    rig.attach().unwrap();
    rig.settle();
    assert_eq!(legs(&rig), [Leg::Live, Leg::Live]);
    let req = rig.submit(Op::Read {
        off: 30 * 4096,
        len: 4096,
    });
    rig.run(req).unwrap();
    assert!(rig.fake.buffers[&req][0].is_some());
    let smaller = layout(&grown(4));
    let refused = rig.with(|v, cx| v.relayout(&smaller, &mut lookup, cx));
    assert!(matches!(refused, Err(CommandError::Refused(_))));
}
