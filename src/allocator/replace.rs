//! Replaces a disk that has failed or is absent.
//!
//! The naive way, any free disk nearby, breaks what the levels above rely on (spec A6). Here the
//! new place is found by the same search, under the same rules, as if the volume were placed anew
//! around what is left of it.
//!
//! First choice: each lost piece gets a new disk, and all else stays. Where the rules allow none
//! (the enclosure that a copy is confined to is full), the whole copy moves (spec A5). If the copy
//! has content on other disks, it stays in service until its successor, an additional copy, is
//! filled; the successor then takes its place in the tree and carries the new generation.

use crate::frame::{Frame, Piece};
use crate::plan::{DoneWhen, Options, Plan, Step, Transformation, Work};
use crate::refusal::Refusal;
use crate::room::{Demand, Part};
use layout::intent::Node as Want;
use layout::{DiskUid, Health, Intent, Inventory, InventoryError, Kind, Layout, ObjectPath};

/// The most copies for which all ways of moving some and mending others are tried.
const MAX_MIXED: usize = 8;

/// A copy of a mirror that has lost something.
struct Loss {
    mirror: usize,
    /// The copy.
    copy: usize,
    /// Whether nothing of it is left on a disk that serves.
    whole: bool,
}

/// Plans that nothing of the volume lies on a disk any more: one step, or two where a copy moves
/// that still has content. The disk itself keeps what it has; its units count as released when it
/// answers again or is gone for good.
///
/// # Errors
/// When the disk serves, the volume is not on it, what lay there has no other whole copy, or no
/// placement was found.
pub fn plan_replace(
    layout: &Layout,
    intent: &Intent,
    disk: DiskUid,
    inventory: &Inventory,
    options: &Options,
) -> Result<Plan, Refusal> {
    let mut intent = intent.clone();
    intent.spec.size = layout.size;
    let work = Work::new(&intent, inventory, options)?;
    let index = work.disks.iter().position(|d| d.uid == disk);
    let index = index.ok_or(Refusal::Inventory(InventoryError::UnknownDisk {
        uid: disk,
    }))?;
    let (name, health) = (work.disks[index].name.clone(), work.disks[index].health);
    if health == Health::Ok {
        return Err(Refusal::NotFailed { disk: name, health });
    }
    let frame = Frame::of(layout, &intent, &work.disks)?;
    let losses = losses(&work, &frame, index)?;
    if losses.is_empty() {
        return Err(Refusal::NotOnDisk { disk: name });
    }
    let mut first_refusal = None;
    for moves in ways(losses.len()) {
        match attempt(&work, layout, &frame, index, &losses, &moves) {
            Ok(steps) => {
                return Ok(Plan {
                    volume: layout.volume,
                    what: Transformation::Replace,
                    steps,
                });
            }
            Err(refusal) => first_refusal.get_or_insert(refusal),
        };
    }
    Err(first_refusal.unwrap_or(Refusal::NotOnDisk { disk: name }))
}

/// The copies that have lost something with the disk. Each needs another copy that is whole.
fn losses(work: &Work<'_>, frame: &Frame<'_>, disk: usize) -> Result<Vec<Loss>, Refusal> {
    let serves = |d: usize| work.disks[d].health == Health::Ok;
    let disks = |id: usize| -> Vec<usize> {
        let below = frame.below(id).into_iter();
        below
            .flat_map(|n| &frame.nodes[n].pieces)
            .map(|p| p.disk)
            .collect()
    };
    let mut losses: Vec<Loss> = Vec::new();
    for leaf in frame.leaves() {
        if frame.nodes[leaf].pieces.iter().all(|p| p.disk != disk) {
            continue;
        }
        let mirror = frame.upwards(leaf).find_map(|(id, child)| {
            matches!(frame.nodes[id].want, Want::Mirror(_)).then_some((id, child?))
        });
        let copies = mirror.map_or(&[][..], |(id, _)| &frame.nodes[id].children);
        let live = |c: &&usize| disks(**c).iter().all(|d| serves(*d));
        let Some((mirror, copy)) = mirror.filter(|_| copies.iter().any(|c| live(&c))) else {
            let name = |d: usize| format!("{}: {}", work.disks[d].name, work.disks[d].health);
            let others: Vec<String> = copies.iter().flat_map(|c| disks(*c)).map(name).collect();
            let others = if others.is_empty() {
                "no mirror".to_owned()
            } else {
                others.join(", ")
            };
            let (at, disk) = (frame.nodes[leaf].path, work.disks[disk].name.clone());
            return Err(Refusal::NoLiveCopy { at, disk, others });
        };
        if losses.iter().all(|l| l.copy != copy) {
            let whole = disks(copy).iter().all(|d| !serves(*d));
            losses.push(Loss {
                mirror,
                copy,
                whole,
            });
        }
    }
    Ok(losses)
}

/// Which of the copies move, fewest moves first.
fn ways(losses: usize) -> Vec<Vec<bool>> {
    if losses > MAX_MIXED {
        return vec![vec![false; losses], vec![true; losses]];
    }
    let way = |mask: u32| {
        (0..losses)
            .map(|i| mask >> i & 1 == 1)
            .collect::<Vec<bool>>()
    };
    let mut ways: Vec<Vec<bool>> = (0..1u32 << losses).map(way).collect();
    ways.sort_by_key(|way| way.iter().filter(|m| **m).count());
    ways
}

/// Plans with these copies moving and the others mended.
fn attempt(
    work: &Work<'_>,
    layout: &Layout,
    frame: &Frame<'_>,
    disk: usize,
    losses: &[Loss],
    moves: &[bool],
) -> Result<Vec<Step>, Refusal> {
    let mut frame = frame.clone();
    let (mut demands, mut successors) = (Vec::new(), Vec::new());
    for (loss, moved) in losses.iter().zip(moves) {
        if !*moved {
            demands.extend(mend(&mut frame, loss.copy, disk));
        } else if loss.whole {
            demands.extend(anew(&frame, loss.copy, loss.copy));
            for id in frame.below(loss.copy) {
                frame.nodes[id].pieces.clear();
            }
        } else {
            let new = frame.add_copy(loss.mirror, loss.copy);
            demands.extend(anew(&frame, loss.copy, new));
            successors.push((loss.mirror, loss.copy));
        }
    }
    demands.sort_by_key(|d| frame.nodes[d.leaf].path);
    work.place(&mut frame, &demands)?;

    let after = work.layout(&frame, layout.volume, layout.size, Some(layout))?;
    let (name, health) = (&work.disks[disk].name, work.disks[disk].health);
    let why = if moves.contains(&true) {
        format!("disk {name} is {health}, and no disk can take its place: the whole copy moves")
    } else {
        format!("disk {name} is {health}: what lay there gets another disk")
    };
    let mut step = Step::between(Some(layout), Some(after.clone()), why);
    step.done_when = DoneWhen::Filled(fresh(layout, &after));
    step.in_transition = !successors.is_empty();
    let mut steps = vec![step];
    if !successors.is_empty() {
        for (mirror, copy) in successors {
            frame.replace_copy(mirror, copy);
        }
        let last = work.layout(&frame, layout.volume, layout.size, Some(&after))?;
        let why = format!("the new copy is filled and replaces the one that lost disk {name}");
        steps.push(Step::between(Some(&after), Some(last), why));
    }
    Ok(steps)
}

/// Takes the pieces on a disk away from a copy, and demands a place for each.
fn mend(frame: &mut Frame<'_>, copy: usize, disk: usize) -> Vec<Demand> {
    let mut demands = Vec::new();
    for leaf in frame.below(copy) {
        let mut kept = Vec::new();
        for piece in std::mem::take(&mut frame.nodes[leaf].pieces) {
            if piece.disk != disk {
                kept.push(piece);
                continue;
            }
            let (size, units, now) = (piece.size, piece.promised(), piece.granted());
            demands.push(Demand {
                leaf,
                part: Part::Piece(kept.len()),
                size,
                units,
                now,
            });
        }
        frame.nodes[leaf].pieces = kept;
    }
    demands
}

/// Demands a place for all of a copy that has the shape of `old`, and as many granted units.
fn anew(frame: &Frame<'_>, old: usize, new: usize) -> Vec<Demand> {
    let pairs = frame.below(old).into_iter().zip(frame.below(new));
    let leaves = pairs.filter(|(_, new)| frame.nodes[*new].want.below().is_none());
    let demand = |(old, leaf): (usize, usize)| {
        let size = frame.nodes[old].size;
        let granted: u64 = frame.nodes[old].pieces.iter().map(Piece::granted).sum();
        let units = size.units_up();
        Demand {
            leaf,
            part: Part::All,
            size,
            units,
            now: granted.min(units),
        }
    };
    leaves.map(demand).collect()
}

/// The leaves of a layout that another does not have.
fn fresh(before: &Layout, after: &Layout) -> Vec<ObjectPath> {
    let mut old: Vec<&Kind> = Vec::new();
    before
        .root
        .visit(ObjectPath::ROOT, &mut |_, o| old.push(&o.kind));
    let mut paths = Vec::new();
    after.root.visit(ObjectPath::ROOT, &mut |path, o| {
        if matches!(o.kind, Kind::Extents { .. }) && !old.contains(&&o.kind) {
            paths.push(path);
        }
    });
    paths
}
