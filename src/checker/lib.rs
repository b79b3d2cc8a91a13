//! Does this layout satisfy this intent? (spec A7)
//!
//! Judges by its own logic: it knows the nouns of `layout`, and shares no code with the allocator,
//! so that a mistake in one is not a mistake in both. It runs on every step of every plan before
//! the step is carried out. It plans nothing, and repairs nothing. Any layout whatever may be given
//! to it, also one that cannot be true: it never panics.

mod keep;
mod rules;
mod shape;
mod space;
mod violation;

#[cfg(test)]
mod tests;

pub use violation::Violation;

use layout::{Disk, Intent, Inventory, Kind, Layout, Object, ObjectPath};

/// What a layout is judged against, besides its intent.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The disks as they are before the layout is carried out: what `before` holds is not free in
    /// it.
    pub inventory: &'a Inventory,
    /// The layout that this one replaces; the layout itself when one is judged that stands already.
    pub before: Option<&'a Layout>,
    /// The layouts of other volumes.
    pub others: &'a [Layout],
    /// Whether mirrors may have more copies than the intent asks for, as between the steps of a
    /// plan.
    pub in_transition: bool,
}

impl<'a> Context<'a> {
    /// For a new volume among no others.
    pub fn new(inventory: &'a Inventory) -> Self {
        Context {
            inventory,
            before: None,
            others: &[],
            in_transition: false,
        }
    }
}

/// All that is wrong with a layout; nothing, if it satisfies the intent.
pub fn check(layout: &Layout, intent: &Intent, context: &Context<'_>) -> Vec<Violation> {
    let mut found = Vec::new();
    if intent.validate().is_err() || context.inventory.validate().is_err() {
        found.push(Violation::Input);
        return found;
    }
    shape::check(layout, intent, context, &mut found);
    if !found.is_empty() {
        // The rest relies on a tree of the right shape with sizes that add up.
        return found;
    }
    rules::check(layout, intent, context.inventory, &mut found);
    space::check(layout, context, &mut found);
    if let Some(before) = context.before.filter(|b| *b != layout) {
        keep::check(layout, before, intent, context.inventory, &mut found);
    }
    found
}

/// The leaves below an object with their paths.
fn leaves(root: &Object) -> Vec<(ObjectPath, &Object)> {
    let mut all = Vec::new();
    root.visit(ObjectPath::ROOT, &mut |path, object| {
        if matches!(object.kind, Kind::Extents { .. }) {
            all.push((path, object));
        }
    });
    all
}

/// The disks below an object, as far as the inventory has them.
fn disks<'a>(object: &Object, inventory: &'a Inventory) -> Vec<&'a Disk> {
    let disk = |o: &Object| match &o.kind {
        Kind::Extents { disk, .. } => inventory.disk(*disk),
        _ => None,
    };
    leaves(object)
        .into_iter()
        .filter_map(|(_, o)| disk(o))
        .collect()
}
