//! That a step loses nothing: at every address as many copies go on serving as the intent asks for,
//! or as there were (spec A6).
//!
//! Follows addresses through both trees, so that it does not matter how a transformation was made:
//! content that lies elsewhere afterwards, or is found under another address, counts as lost.

use crate::Violation;
use crate::space::contains;
use layout::intent::Node;
use layout::{Bytes, DiskUid, Health, Intent, Inventory, Kind, Layout, Object, SEGMENT, UnitRange};

/// How many addresses are followed at most, evenly spread.
const SAMPLES: u64 = 2048;

/// Where a copy of an address lies: in which leaf, and where in that.
struct Place<'a> {
    disk: DiskUid,
    units: &'a [UnitRange],
    offset: u64,
}

pub(crate) fn check(
    layout: &Layout,
    before: &Layout,
    intent: &Intent,
    inventory: &Inventory,
    found: &mut Vec<Violation>,
) {
    let segments = before.size.0.div_ceil(SEGMENT);
    // An odd step does not always hit the same column.
    let step = (segments / SAMPLES) | 1;
    let serves = |p: &Place<'_>| {
        !p.units.is_empty()
            && inventory
                .disk(p.disk)
                .is_some_and(|d| d.health == Health::Ok)
    };
    let copies = copies(&intent.spec.tree);
    for segment in (0..segments).step_by(usize::try_from(step).unwrap_or(usize::MAX)) {
        let offset = segment * SEGMENT;
        let (mut old, mut new) = (Vec::new(), Vec::new());
        locate(&before.root, offset, &mut old);
        locate(&layout.root, offset, &mut new);
        old.retain(serves);
        let kept = |o: &&Place<'_>| {
            let same = |n: &Place<'_>| {
                n.disk == o.disk && n.offset == o.offset && contains(n.units, o.units)
            };
            new.iter().any(same)
        };
        let (live, kept) = (old.len(), old.iter().filter(kept).count());
        let wanted = live.min(copies);
        if kept < wanted {
            found.push(Violation::CopyLost {
                offset,
                live,
                kept,
                wanted,
            });
            return;
        }
    }
}

/// How many copies of every address the intent asks for.
fn copies(want: &Node) -> usize {
    match want {
        Node::Mirror(m) => m.copies as usize,
        _ => want.below().map_or(1, |(_, below)| copies(below)),
    }
}

/// Every place of an address. Nothing for one beyond the end.
fn locate<'a>(object: &'a Object, offset: u64, places: &mut Vec<Place<'a>>) {
    match &object.kind {
        Kind::Extents { disk, size, units } => {
            if offset < size.0 {
                places.push(Place {
                    disk: *disk,
                    units,
                    offset,
                });
            }
        }
        Kind::Mirror { copies } => copies.iter().for_each(|c| locate(c, offset, places)),
        Kind::Stripe {
            unit: Bytes(unit),
            columns,
        } => {
            let count = columns.len() as u64;
            let Some(row) = offset.checked_div(*unit) else {
                return;
            };
            let Some(column) = row.checked_rem(count) else {
                return;
            };
            let within = row / count * unit + offset % unit;
            if let Some(child) = usize::try_from(column).ok().and_then(|c| columns.get(c)) {
                locate(child, within, places);
            }
        }
        Kind::Concat { parts } => {
            let mut rest = offset;
            for part in parts {
                let size = extent(part);
                if rest < size {
                    return locate(part, rest, places);
                }
                rest -= size;
            }
        }
    }
}

/// The size of an object; of one whose size does not fit 64 bits the most there is.
fn extent(object: &Object) -> u64 {
    let sum = |c: &[Object]| c.iter().fold(0u64, |sum, o| sum.saturating_add(extent(o)));
    match &object.kind {
        Kind::Extents { size, .. } => size.0,
        Kind::Mirror { copies } => copies.iter().map(extent).min().unwrap_or(0),
        Kind::Stripe { columns: c, .. } | Kind::Concat { parts: c } => sum(c),
    }
}
