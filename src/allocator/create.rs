//! Places a new volume.

use crate::frame::Frame;
use crate::plan::{Grant, Options, Plan, Step, Transformation, Work};
use crate::refusal::Refusal;
use crate::room::{Demand, Part};
use layout::{Intent, Inventory, VolumeUid};

/// Plans a volume that satisfies the intent: one step, generation 1 (spec A1, A2, A8).
///
/// # Errors
/// When the intent or the inventory is not valid, or no placement was found.
pub fn plan_create(
    intent: &Intent,
    volume: VolumeUid,
    inventory: &Inventory,
    options: &Options,
) -> Result<Plan, Refusal> {
    let work = Work::new(intent, inventory, options)?;
    let mut frame = Frame::expand(intent)?;
    let demand = |leaf: usize| {
        let size = frame.nodes[leaf].size;
        let units = size.units_up();
        let now = match options.grant {
            Grant::Full => units,
            Grant::Initial(initial) => units.min(initial.into()),
        };
        Demand {
            leaf,
            part: Part::All,
            size,
            units,
            now,
        }
    };
    let demands: Vec<Demand> = frame.leaves().map(demand).collect();
    work.place(&mut frame, &demands)?;
    let layout = work.layout(&frame, volume, intent.spec.size, None)?;
    let why = format!("place volume '{}', {}", layout.name, layout.size);
    let steps = vec![Step::between(None, Some(layout), why)];
    Ok(Plan {
        volume,
        what: Transformation::Create,
        steps,
    })
}
