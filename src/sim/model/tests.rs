use super::*;

const B: Range<u64> = 0..1;

fn write(v: &mut Volume) -> u32 {
    let version = v.version();
    let at = v.start_write(B, version);
    v.end_write(B, at, false);
    version
}

fn flush(v: &mut Volume) {
    let at = v.start_flush();
    v.end_flush(at);
}

/// Whether a read now may see the version (0: zeros), without settling anything.
fn may(v: &Volume, version: u32) -> bool {
    let mut v = v.clone();
    read(&mut v, version).is_ok()
}

fn read(v: &mut Volume, version: u32) -> Result<(), Wrong> {
    let at = v.start_read(B);
    check(v, at, version)
}

fn check(v: &mut Volume, at: Moment, version: u32) -> Result<(), Wrong> {
    let stamp = match version {
        0 => Stamp::ZERO,
        n => v.stamp(0, n),
    };
    v.check_read(at, &[Content::from(stamp)])
}

#[test]
fn a_read_sees_the_last_write_or_one_in_flight() {
    let mut v = Volume::new(1, 1);
    assert!(may(&v, 0));
    let a = write(&mut v);
    assert!(!may(&v, 0) && may(&v, a));
    let b = v.version();
    let at = v.start_write(B, b);
    assert!(may(&v, a) && may(&v, b));
    let early = v.start_read(B);
    v.end_write(B, at, false);
    assert!(!may(&v, a) && may(&v, b));
    assert_eq!(check(&mut v, early, a), Ok(()), "issued before the answer");
}

#[test]
fn wrong_content_is_told_apart() {
    let mut v = Volume::new(1, 1);
    let a = write(&mut v);
    let b = write(&mut v);
    assert_eq!(read(&mut v, a).unwrap_err().kind, WrongKind::Stale);
    assert_eq!(read(&mut v, 0).unwrap_err().kind, WrongKind::Lost);
    let at = v.start_read(B);
    let foreign = Content::from(Stamp::new(2, 0, b));
    assert_eq!(
        v.check_read(at, &[foreign]).unwrap_err().kind,
        WrongKind::Foreign
    );
}

#[test]
fn a_cut_brings_back_what_was_not_flushed_and_nothing_older() {
    let mut v = Volume::new(1, 1);
    let a = write(&mut v);
    let b = write(&mut v);
    flush(&mut v);
    let c = write(&mut v);
    let in_flight = v.start_flush();
    let d = write(&mut v);
    v.end_flush(in_flight);
    v.power_cut(false);
    assert!(!may(&v, a) && !may(&v, b), "replaced before the flush");
    assert!(may(&v, c) && may(&v, d));
    assert_eq!(read(&mut v, c), Ok(()));
    assert!(!may(&v, d), "what was seen stays");
}

#[test]
fn overlapping_writes_end_in_either_and_stay_there() {
    let mut v = Volume::new(1, 1);
    let (a, b) = (v.version(), v.version());
    let (at_a, at_b) = (v.start_write(B, a), v.start_write(B, b));
    v.end_write(B, at_b, false);
    v.end_write(B, at_a, false);
    assert!(may(&v, a) && may(&v, b) && !may(&v, 0));
    assert_eq!(read(&mut v, a), Ok(()));
    assert!(!may(&v, b));
}

#[test]
fn a_process_crash_keeps_what_was_answered() {
    let mut v = Volume::new(1, 1);
    let a = write(&mut v);
    let b = v.version();
    v.start_write(B, b);
    v.process_crash(|_| false);
    assert!(may(&v, a) && may(&v, b) && !may(&v, 0));
    assert_eq!(read(&mut v, b), Ok(()));
    assert!(!may(&v, a));
}

#[test]
fn fua_survives_a_cut_alone() {
    let mut v = Volume::new(1, 1);
    write(&mut v);
    let b = v.version();
    let at = v.start_write(B, b);
    v.end_write(B, at, true);
    v.power_cut(false);
    assert!(may(&v, b) && !may(&v, 0) && !may(&v, 1));
}

#[test]
fn a_torn_block_is_legal_only_where_each_sector_is() {
    let mut v = Volume::new(1, 1);
    let a = write(&mut v);
    flush(&mut v);
    let b = write(&mut v);
    v.power_cut(false);
    let torn = |x: Stamp, y: Stamp| {
        let mut stamps = [x; SECTORS];
        stamps[3] = y;
        Content::Torn(stamps.into())
    };
    let (a, b) = (v.stamp(0, a), v.stamp(0, b));
    let at = v.start_read(B);
    assert_eq!(v.check_read(at, &[torn(a, b)]), Ok(()));
    let at = v.start_read(B);
    assert_eq!(v.check_read(at, &[torn(a, b)]), Ok(()));
    for other in [Content::from(a), Content::from(b), torn(b, a)] {
        let mut v = v.clone();
        let at = v.start_read(B);
        assert!(v.check_read(at, &[other]).is_err(), "the tear was seen");
    }
}

#[test]
fn a_write_refused_whole_leaves_no_trace_one_that_failed_may() {
    let mut v = Volume::new(1, 1);
    for (nothing, seen) in [(true, false), (false, true)] {
        let version = v.version();
        let at = v.start_write(B, version);
        v.fail_write(B, at, nothing);
        assert_eq!(may(&v, version), seen);
        assert!(may(&v, 0));
    }
}

#[test]
fn growth_and_discard_read_as_zeros() {
    let mut v = Volume::new(1, 1);
    write(&mut v);
    let at = v.start_write(B, 0);
    v.end_write(B, at, false);
    assert_eq!(v.settled_value(0), Some(Stamp::ZERO));
    v.grow(3);
    assert_eq!(v.len(), 3);
    assert_eq!(v.settled_value(2), Some(Stamp::ZERO));
}
