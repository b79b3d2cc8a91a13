//! Units: within the disk, free, granted once; and promises within what the inventory allows (spec
//! A10).

use crate::{Context, Violation, leaves};
use layout::{Disk, DiskUid, Health, Inventory, Kind, Layout, ObjectPath, UnitRange};
use std::collections::BTreeMap;

/// A leaf's own part: its disk, how many units are promised to it, which are granted.
struct Leaf<'a> {
    at: ObjectPath,
    uid: DiskUid,
    promised: u64,
    units: &'a [UnitRange],
}

pub(crate) fn check(layout: &Layout, context: &Context<'_>, found: &mut Vec<Violation>) {
    let mine = all(layout);
    let before = context.before.map(all).unwrap_or_default();
    for leaf in &mine {
        let Some(disk) = context.inventory.disk(leaf.uid) else {
            continue;
        };
        if ranges(leaf, disk, layout, found) {
            free(leaf, disk, &before, found);
            usable(leaf, disk, &before, found);
        }
    }
    shared(&mine, layout, context, found);
    promises(&mine, &before, context.inventory, found);
}

fn all(layout: &Layout) -> Vec<Leaf<'_>> {
    let mut all = Vec::new();
    for (at, object) in leaves(&layout.root) {
        if let Kind::Extents { disk, size, units } = &object.kind {
            all.push(Leaf {
                at,
                uid: *disk,
                promised: size.units_up(),
                units,
            });
        }
    }
    all
}

fn end(range: &UnitRange) -> u64 {
    u64::from(range.start) + u64::from(range.count)
}

/// A disk that does not serve gets no units, one that is not schedulable no promises.
fn usable(leaf: &Leaf<'_>, disk: &Disk, before: &[Leaf<'_>], found: &mut Vec<Violation>) {
    let promised = |old: &&Leaf<'_>| {
        old.uid == leaf.uid && old.promised >= leaf.promised && contains(leaf.units, old.units)
    };
    let mut same = before.iter().filter(promised);
    let usable = match disk.health {
        Health::Ok => disk.schedulable || same.next().is_some(),
        Health::Absent | Health::Failed => same.any(|old| contains(old.units, leaf.units)),
    };
    if !usable {
        let Disk {
            health,
            schedulable,
            ..
        } = *disk;
        let name = disk.name.clone();
        found.push(Violation::UnusableDisk {
            at: leaf.at,
            disk: name,
            health,
            schedulable,
        });
    }
}

/// Whether ordered ranges contain all units of others.
pub(crate) fn contains(outer: &[UnitRange], inner: &[UnitRange]) -> bool {
    inner.iter().all(|i| {
        let mut next = u64::from(i.start);
        for o in outer {
            if u64::from(o.start) <= next && end(o) > next {
                next = end(o);
            }
        }
        next >= end(i)
    })
}

/// Ordered, not empty, within the disk, and no more than the leaf needs.
fn ranges(leaf: &Leaf<'_>, disk: &Disk, layout: &Layout, found: &mut Vec<Violation>) -> bool {
    let (at, name) = (leaf.at, || disk.name.clone());
    let (mut next, mut granted) = (0u64, 0u64);
    for range in leaf.units {
        if range.count == 0 || u64::from(range.start) < next {
            found.push(Violation::Ranges {
                at,
                disk: name(),
                start: range.start,
            });
            return false;
        }
        next = end(range);
        granted += u64::from(range.count);
    }
    if next > u64::from(disk.units) {
        found.push(Violation::BeyondDisk {
            at,
            disk: name(),
            unit: next - 1,
        });
        return false;
    }
    if granted > leaf.promised {
        found.push(Violation::TooMany {
            at,
            size: layout.size,
            granted,
        });
    }
    true
}

/// Every unit is free, or this volume had it.
fn free(leaf: &Leaf<'_>, disk: &Disk, before: &[Leaf<'_>], found: &mut Vec<Violation>) {
    let held: Vec<UnitRange> = before
        .iter()
        .filter(|l| l.uid == leaf.uid)
        .flat_map(|l| l.units)
        .copied()
        .collect();
    let within = |list: &[UnitRange], unit: u64| {
        list.iter()
            .find(|r| u64::from(r.start) <= unit && unit < end(r))
            .map(end)
    };
    for range in leaf.units {
        let mut unit = u64::from(range.start);
        while unit < end(range) {
            match within(&disk.free, unit).or_else(|| within(&held, unit)) {
                Some(next) => unit = next,
                None => {
                    let unit = u32::try_from(unit).unwrap_or(u32::MAX);
                    found.push(Violation::NotFree {
                        at: leaf.at,
                        disk: disk.name.clone(),
                        unit,
                    });
                    break;
                }
            }
        }
    }
}

/// No unit belongs to two leaves, of this volume or of another.
fn shared(mine: &[Leaf<'_>], layout: &Layout, context: &Context<'_>, found: &mut Vec<Violation>) {
    let others = context.others.iter().filter(|o| o.volume != layout.volume);
    let theirs: Vec<(&str, Leaf<'_>)> = others
        .flat_map(|o| all(o).into_iter().map(|l| (o.name.as_str(), l)))
        .collect();
    let name = |l: &Leaf<'_>| {
        context
            .inventory
            .disk(l.uid)
            .map_or(String::new(), |d| d.name.clone())
    };
    let common = |x: &Leaf<'_>, y: &Leaf<'_>| -> Option<u32> {
        let pairs = x
            .units
            .iter()
            .flat_map(|a| y.units.iter().map(move |b| (a, b)));
        let both = pairs.map(|(a, b)| (a.start.max(b.start), end(a).min(end(b))));
        let mut both = both.filter(|(start, end)| u64::from(*start) < *end);
        if x.uid == y.uid {
            both.next().map(|(start, _)| start)
        } else {
            None
        }
    };
    for (i, leaf) in mine.iter().enumerate() {
        let (at, disk) = (leaf.at, name(leaf));
        if let Some(unit) = mine[..i].iter().find_map(|l| common(l, leaf)) {
            found.push(Violation::Twice {
                at,
                disk: disk.clone(),
                unit,
            });
        }
        for (other, l) in &theirs {
            if let Some(unit) = common(l, leaf) {
                let (disk, other) = (disk.clone(), (*other).to_owned());
                found.push(Violation::OfAnother {
                    at,
                    disk,
                    unit,
                    other,
                });
            }
        }
    }
}

/// What is promised of each disk stays within what may be, unless it is no more than it was.
fn promises(
    mine: &[Leaf<'_>],
    before: &[Leaf<'_>],
    inventory: &Inventory,
    found: &mut Vec<Violation>,
) {
    let sums = |leaves: &[Leaf<'_>]| {
        let mut sums: BTreeMap<DiskUid, u64> = BTreeMap::new();
        for leaf in leaves {
            let sum = sums.entry(leaf.uid).or_default();
            *sum = sum.saturating_add(leaf.promised);
        }
        sums
    };
    let (new, old) = (sums(mine), sums(before));
    for (uid, new) in new {
        let Some(disk) = inventory.disk(uid) else {
            continue;
        };
        let old = old.get(&uid).copied().unwrap_or(0);
        let others = u64::from(disk.promised_units()).saturating_sub(old);
        let promised = others.saturating_add(new);
        let most = u64::from(disk.units) * u64::from(inventory.overcommit_percent) / 100;
        if new > old && promised > most {
            found.push(Violation::Overpromised {
                disk: disk.name.clone(),
                promised,
                most,
            });
        }
    }
}
