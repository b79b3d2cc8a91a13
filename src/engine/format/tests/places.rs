//! The geometry: whatever the size and the choice, nothing overlaps, nothing lies beyond the end,
//! nothing overflows, and no room for another unit is left.

use super::random::rng;
use super::*;
use crate::format::geometry::{GeometryChoice, GeometryError, SLOT_BLOCKS};
use crate::format::superblock::PLACES;

/// Every region of a disk as (first byte, one past the last), in the order of the module's picture.
fn regions(g: &Geometry) -> Vec<(u64, u64)> {
    let block = BLOCK as u64;
    let last = g.segments() - 1;
    let after = |addr| g.meta_offset(addr) + block;
    vec![
        (PLACES[0], PLACES[1] + block),
        (
            g.meta_offset(MetaAddr::Object(0)),
            after(MetaAddr::Owner(g.slots - 1, object::OWNER_PARTS)),
        ),
        (
            g.journal_offset(0),
            g.journal_offset(u64::from(g.journal_blocks) - 1) + block,
        ),
        (
            g.meta_offset(MetaAddr::Header(0)),
            after(MetaAddr::Header(g.units - 1)),
        ),
        (
            g.meta_offset(MetaAddr::Page(0)),
            after(MetaAddr::Page(last)),
        ),
        (
            g.data_offset(0, 0),
            g.data_offset(last, g.segment_blocks - 1) + block,
        ),
    ]
}

fn assert_sound(g: &Geometry) {
    let block = BLOCK as u64;
    let regions = regions(g);
    for (first, end) in &regions {
        assert!(first < end && first.is_multiple_of(block) && end.is_multiple_of(block));
    }
    for pair in regions.windows(2) {
        assert!(pair[0].1 <= pair[1].0, "{pair:?} overlap in {g:?}");
    }
    assert!(
        regions[5].1 <= g.size,
        "the data ends behind the disk: {g:?}"
    );
    assert_eq!(g.data_offset(0, 0) % g.segment_bytes(), 0, "{g:?}");
    assert_eq!(g.validate(), Ok(*g));
}

fn choice(rng: &mut impl FnMut(u64) -> u64) -> GeometryChoice {
    GeometryChoice {
        segment_blocks: 2 << rng(8),
        unit_segments: 2 << rng(6),
        slots: 1 + rng(4096) as u16,
        journal_blocks: 64 + rng((1 << 20) - 63) as u32,
    }
}

#[test]
fn a_planned_disk_is_sound_and_full() {
    let mut rng = rng("a_planned_disk_is_sound_and_full", 1);
    let mut planned = 0;
    for _ in 0..20_000 {
        let choice = choice(&mut rng);
        let magnitude = 1 << (1 + rng(62));
        let size = rng(magnitude);
        match Geometry::plan(size, choice) {
            Ok(g) => {
                planned += 1;
                assert_sound(&g);
                let more = Geometry {
                    units: g.units + 1,
                    ..g
                };
                assert!(more.validate().is_err(), "{g:?} has room for a unit more");
            }
            Err(GeometryError::TooSmall { size: s, least }) => {
                assert!(s == size && least > size);
                let g = Geometry::plan(least, choice).unwrap();
                assert_eq!(g.units, 1);
                assert_sound(&g);
            }
            Err(e) => panic!("{choice:?} is inside its bounds: {e}"),
        }
    }
    assert!(planned > 1000, "only {planned} of the sizes were enough");
}

#[test]
fn what_suits_a_size_can_be_planned() {
    for size in [1 << 27, 1 << 30, 64 << 30, 1 << 40, 100 << 40, u64::MAX] {
        assert_sound(&Geometry::plan(size, GeometryChoice::for_size(size)).unwrap());
    }
}

#[test]
fn numbers_from_a_disk_are_sound_or_refused() {
    let mut rng = rng("numbers_from_a_disk_are_sound_or_refused", 2);
    let mut sound = 0;
    for _ in 0..50_000 {
        let mut word = || match rng(3) {
            0 => 1 << rng(32),
            1 => rng(1 << 32),
            _ => {
                let bits = rng(13);
                rng(1 << bits)
            }
        };
        let g = Geometry {
            segment_blocks: word() as u32,
            unit_segments: word() as u32,
            units: word() as u32,
            slots: word() as u16,
            journal_blocks: word() as u32,
            size: word() * word() / 4096 * 4096,
        };
        if let Ok(g) = g.validate() {
            assert_sound(&g);
            sound += 1;
        }
    }
    assert!(sound > 10, "only {sound} of the numbers were sound");
}

#[test]
fn places_inside_a_region_are_apart() {
    let choice = GeometryChoice {
        segment_blocks: 4,
        unit_segments: 2,
        slots: 3,
        journal_blocks: 64,
    };
    let g = Geometry::plan(1 << 20, choice).unwrap();
    let objects = (0..g.slots).flat_map(|s| {
        let parts = (1..=object::OWNER_PARTS).map(move |part| MetaAddr::Owner(s, part));
        std::iter::once(MetaAddr::Object(s)).chain(parts)
    });
    let places = objects
        .chain((0..g.units).map(MetaAddr::Header))
        .chain((0..g.segments()).map(MetaAddr::Page))
        .map(|addr| g.meta_offset(addr))
        .chain((0..u64::from(g.journal_blocks)).map(|counter| g.journal_offset(counter)))
        .chain(
            (0..g.segments())
                .flat_map(|s| (0..g.segment_blocks).map(move |b| (s, b)))
                .map(|(segment, block)| {
                    assert_eq!(g.unit_of(segment), segment / g.unit_segments);
                    assert_eq!(
                        g.data_block(segment, block),
                        g.data_offset(segment, block) / 4096
                    );
                    g.data_offset(segment, block)
                }),
        );
    let mut places: Vec<_> = places.collect();
    let count = places.len();
    places.sort_unstable();
    places.dedup();
    assert_eq!(places.len(), count, "two things have the same place");
    let slots = u64::from(g.slots) * SLOT_BLOCKS;
    let (units, segments) = (u64::from(g.units), u64::from(g.segments()));
    assert_eq!(count as u64, slots + units + segments + 64 + segments * 4);
    assert_eq!(g.journal_offset(64), g.journal_offset(0), "a ring");
    assert_eq!(g.unit_bytes(), 8 * 4096);
}
