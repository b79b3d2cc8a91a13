//! Makes a volume larger.
//!
//! Columns and copies grow alike, of a concat the last part. A leaf grows on its last disk if that
//! may be and has room, else it goes on on others; a leaf that becomes a concat of leaves moves
//! down one level in the tree, so its path changes and it carries the new generation.

use crate::frame::{Frame, root_size};
use crate::plan::{Grant, Options, Plan, Step, Transformation, Work};
use crate::refusal::Refusal;
use crate::room::{Demand, Part};
use layout::{Bytes, Intent, Inventory, Layout, UNIT};

/// Plans that a volume shows `size` bytes: one step. The content stays where it is. With
/// [`Grant::Full`] all that is new is granted, with [`Grant::Initial`] so much that every leaf has
/// so many units.
///
/// # Errors
/// When the volume is larger already, the layout has not got the intent's tree, or no placement was
/// found.
pub fn plan_grow(
    layout: &Layout,
    intent: &Intent,
    size: Bytes,
    inventory: &Inventory,
    options: &Options,
) -> Result<Plan, Refusal> {
    let mut intent = intent.clone();
    intent.spec.size = size;
    let work = Work::new(&intent, inventory, options)?;
    if size < layout.size {
        return Err(Refusal::Shrink {
            from: layout.size,
            to: size,
        });
    }
    let mut frame = Frame::of(layout, &intent, &work.disks)?;
    let root = root_size(&intent, size, false)?.max(layout.root.size());
    frame.resize(0, root);
    let leaves: Vec<usize> = frame.leaves().collect();
    let grown = |leaf| demand(&mut frame, leaf, options.grant);
    let demands: Vec<Demand> = leaves.into_iter().filter_map(grown).collect();
    work.place(&mut frame, &demands)?;
    let after = work.layout(&frame, layout.volume, size, Some(layout))?;
    let why = format!(
        "grow volume '{}' from {} to {size}",
        layout.name, layout.size
    );
    let steps = vec![Step::between(Some(layout), Some(after), why)];
    Ok(Plan {
        volume: layout.volume,
        what: Transformation::Grow,
        steps,
    })
}

/// What a leaf lacks of its size. The units that its last piece has anyway are used up first.
fn demand(frame: &mut Frame<'_>, leaf: usize, grant: Grant) -> Option<Demand> {
    let node = &mut frame.nodes[leaf];
    let have: u64 = node.pieces.iter().map(|p| p.size.0).sum();
    let mut missing = node.size.0 - have;
    let granted: u64 = node.pieces.iter().map(super::frame::Piece::granted).sum();
    if let Some(last) = node.pieces.last_mut() {
        let slack = missing.min(last.promised() * UNIT - last.size.0);
        last.size = Bytes(last.size.0 + slack);
        missing -= slack;
    }
    let size = Bytes(missing);
    let units = size.units_up();
    let now = match grant {
        Grant::Full => units,
        Grant::Initial(initial) => u64::from(initial).saturating_sub(granted).min(units),
    };
    (units > 0).then_some(Demand {
        leaf,
        part: Part::More,
        size,
        units,
        now,
    })
}
