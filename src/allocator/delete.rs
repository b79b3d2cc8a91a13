//! Releases all of a volume.

use crate::plan::{Plan, Step, Transformation};
use layout::Layout;

/// Plans that a volume goes: one step, which releases everything. Whoever carries it out counts a
/// unit as free only when its disk has answered.
pub fn plan_delete(layout: &Layout) -> Plan {
    let why = format!("delete volume '{}', {}", layout.name, layout.size);
    let steps = vec![Step::between(Some(layout), None, why)];
    Plan {
        volume: layout.volume,
        what: Transformation::Delete,
        steps,
    }
}
