//! Grants a thin volume more of what it was promised, ahead of need (spec A10).

use crate::plan::{Plan, Step, Transformation, by_name};
use crate::refusal::Refusal;
use crate::room::{Room, join};
use layout::{Generation, Health, Inventory, Kind, Layout, Object, ObjectPath};

/// Plans that leaves get so many more units each, in one step: all of them or none, so that no copy of a mirror has room that
/// another lacks; a copy that is out of service is not named. The promise stands already, so a disk that serves can refuse only if
/// it is overcommitted. A disk that takes nothing new still keeps its promises.
///
/// # Errors
/// When a path is no leaf, a leaf would get more than it shows, or a disk does not serve or
/// has not got so many free units.
pub fn plan_extend(
    layout: &Layout,
    wanted: &[(ObjectPath, u32)],
    inventory: &Inventory,
) -> Result<Plan, Refusal> {
    inventory.validate()?;
    let disks = by_name(inventory);
    let mut room = Room::new(inventory, &disks);
    let next = layout
        .generation
        .0
        .checked_add(1)
        .ok_or(Refusal::Generations)?;
    let mut after = Layout {
        generation: Generation(next),
        ..layout.clone()
    };
    let mut why = Vec::new();
    for (at, more) in wanted {
        let (at, count) = (*at, u64::from(*more));
        let object = find(&mut after.root, at).ok_or(Refusal::NoLeaf { at })?;
        let Kind::Extents { disk, size, units } = &mut object.kind else {
            return Err(Refusal::NoLeaf { at });
        };
        let granted: u64 = units.iter().map(|r| u64::from(r.count)).sum();
        let (size, most) = (*size, size.units_up());
        if granted + count > most {
            return Err(Refusal::GrantedTooMuch {
                at,
                size,
                granted,
                most,
                more: count,
            });
        }
        let index = disks.iter().position(|d| d.uid == *disk);
        let index = index.ok_or(Refusal::UnknownDisk { at, disk: *disk })?;
        let name = disks[index].name.clone();
        let health = disks[index].health;
        if health != Health::Ok {
            return Err(Refusal::DiskDown {
                at,
                disk: name,
                health,
            });
        }
        let free = room.free[index];
        let full = Refusal::DiskFull {
            at,
            disk: name.clone(),
            units: count,
            free,
        };
        *units = join(std::mem::take(units), room.carve(index, count).ok_or(full)?);
        object.generation = after.generation;
        why.push(format!("{at} gets {count} more units on {name}"));
    }
    let steps = vec![Step::between(Some(layout), Some(after), why.join(", "))];
    Ok(Plan {
        volume: layout.volume,
        what: Transformation::Extend,
        steps,
    })
}

fn find(object: &mut Object, at: ObjectPath) -> Option<&mut Object> {
    let mut here = object;
    for step in at.steps() {
        here = match &mut here.kind {
            Kind::Stripe { columns: c, .. }
            | Kind::Mirror { copies: c }
            | Kind::Concat { parts: c } => c.get_mut(usize::from(*step))?,
            Kind::Extents { .. } => return None,
        };
    }
    Some(here)
}
