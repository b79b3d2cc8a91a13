//! The tree: kinds, counts, sizes, levels, generations.

use crate::{Context, Violation, disks};
use layout::intent::Node;
use layout::{
    Bytes, Generation, Intent, Kind, Layout, Level, Object, ObjectPath, SEGMENT, units::BLOCK,
};

pub(crate) fn check(
    layout: &Layout,
    intent: &Intent,
    context: &Context<'_>,
    found: &mut Vec<Violation>,
) {
    if !fits(&layout.root, ObjectPath::ROOT, found) {
        return;
    }
    tree(
        &layout.root,
        &intent.spec.tree,
        ObjectPath::ROOT,
        context.in_transition,
        found,
    );
    let Some(root) = size(&layout.root) else {
        found.push(Violation::Overflow {
            at: ObjectPath::ROOT,
        });
        return;
    };
    if layout.size != intent.spec.size || !layout.size.0.is_multiple_of(BLOCK) {
        found.push(Violation::Size {
            wanted: intent.spec.size,
            found: layout.size,
        });
    }
    if root < layout.size.0 {
        found.push(Violation::RootTooSmall {
            size: layout.size,
            root: Bytes(root),
        });
    }
    let host = &layout.root.node;
    layout.root.visit(ObjectPath::ROOT, &mut |at, object| {
        let right = evaluated_right(object, context)
            && (object.level != Level::Host || object.node == *host)
            && object
                .children()
                .iter()
                .all(|c| order(c.level) <= order(object.level));
        if !right {
            let (level, node) = (object.level, object.node.clone());
            found.push(Violation::Evaluated { at, level, node });
        }
        if object.generation > layout.generation || object.generation == Generation(0) {
            let (wanted, is) = (layout.generation, object.generation);
            found.push(Violation::Generation {
                at,
                wanted,
                found: is,
            });
        }
    });
    if let Some(before) = context.before.filter(|b| *b != layout) {
        generations(layout, before, found);
    }
}

/// Whether every object has a path of its own; whatever comes later walks the tree by paths.
fn fits(object: &Object, at: ObjectPath, found: &mut Vec<Violation>) -> bool {
    let children = object.children();
    if children.len() > 255 {
        found.push(Violation::TooLarge { at });
        return false;
    }
    children
        .iter()
        .zip(0u8..)
        .all(|(child, index)| match at.child(index) {
            Some(path) => fits(child, path, found),
            None => {
                found.push(Violation::TooLarge { at });
                false
            }
        })
}

/// The size of an object; `None` where it does not fit.
fn size(object: &Object) -> Option<u64> {
    let mut sum = 0u64;
    match &object.kind {
        Kind::Extents { size, .. } => return Some(size.0),
        Kind::Mirror { copies } => {
            let sizes: Option<Vec<u64>> = copies.iter().map(size).collect();
            return sizes?.into_iter().min();
        }
        Kind::Stripe { columns: c, .. } | Kind::Concat { parts: c } => {
            for child in c {
                sum = sum.checked_add(size(child)?)?;
            }
        }
    }
    Some(sum)
}

fn word(kind: &Kind) -> &'static str {
    match kind {
        Kind::Stripe { .. } => "stripe",
        Kind::Mirror { .. } => "mirror",
        Kind::Concat { .. } => "concat",
        Kind::Extents { .. } => "extents",
    }
}

/// Kinds, counts and sizes of an object and all below it.
fn tree(object: &Object, want: &Node, at: ObjectPath, surplus: bool, found: &mut Vec<Violation>) {
    let kind = Violation::Kind {
        at,
        wanted: want.word(),
        found: word(&object.kind),
    };
    let children = object.children();
    let sizes: Vec<Option<u64>> = children.iter().map(size).collect();
    match (want, &object.kind) {
        (Node::Extents(_), Kind::Extents { .. }) => return leaf(object, at, found),
        (Node::Extents(_), Kind::Concat { parts }) => {
            // A leaf that is split over disks.
            if parts.is_empty() || parts.iter().any(|p| !p.children().is_empty()) {
                return found.push(kind);
            }
            return parts.iter().for_each(|part| leaf(part, at, found));
        }
        (Node::Stripe(n), Kind::Stripe { unit, .. }) => {
            if n.unit != *unit {
                found.push(Violation::Unit {
                    at,
                    wanted: n.unit,
                    found: *unit,
                });
            } else if let Some(Some(column)) = sizes
                .first()
                .filter(|s| s.is_some_and(|s| !s.is_multiple_of(unit.0)))
            {
                found.push(Violation::Uneven {
                    at,
                    size: Bytes(*column),
                    step: *unit,
                });
            }
        }
        (Node::Mirror(_), Kind::Mirror { .. }) | (Node::Concat(_), Kind::Concat { .. }) => {}
        _ => return found.push(kind),
    }
    let Some((count, below)) = want.below() else {
        return;
    };
    let wanted = count as usize;
    let more = surplus && matches!(want, Node::Mirror(_)) && children.len() > wanted;
    if children.len() != wanted && !more {
        found.push(Violation::Count {
            at,
            wanted,
            found: children.len(),
        });
    }
    if !matches!(want, Node::Concat(_)) && sizes.windows(2).any(|pair| pair[0] != pair[1]) {
        found.push(Violation::Unequal { at });
    }
    for (child, index) in children.iter().zip(0u8..) {
        if let Some(path) = at.child(index) {
            tree(child, below, path, surplus, found);
        }
    }
}

fn leaf(object: &Object, at: ObjectPath, found: &mut Vec<Violation>) {
    if let Kind::Extents { size, .. } = object.kind
        && (size.0 == 0 || !size.0.is_multiple_of(SEGMENT))
    {
        found.push(Violation::Uneven {
            at,
            size,
            step: Bytes(SEGMENT),
        });
    }
}

/// A leaf is evaluated where its disk is, an object at storage level where all its disks are.
fn evaluated_right(object: &Object, context: &Context<'_>) -> bool {
    let is_leaf = matches!(object.kind, Kind::Extents { .. });
    match object.level {
        Level::Storage => disks(object, context.inventory)
            .iter()
            .all(|d| d.node == object.node),
        Level::Interconnect | Level::Host => !is_leaf,
    }
}

/// Levels go down from the root.
fn order(level: Level) -> u8 {
    match level {
        Level::Storage => 0,
        Level::Interconnect => 1,
        Level::Host => 2,
    }
}

/// Generations: that of the layout rises; an object has it if its map changed, and a leaf that did
/// not change keeps its own.
fn generations(layout: &Layout, before: &Layout, found: &mut Vec<Violation>) {
    if layout.volume != before.volume {
        found.push(Violation::OtherVolume);
    }
    if layout.generation <= before.generation {
        let (old, new) = (before.generation, layout.generation);
        found.push(Violation::OldGeneration {
            before: old,
            found: new,
        });
    }
    if layout.size < before.size {
        found.push(Violation::Shrunk {
            before: before.size,
            after: layout.size,
        });
    }
    layout.root.visit(ObjectPath::ROOT, &mut |at, object| {
        let mut old = Some(&before.root);
        for step in at.steps() {
            old = old.and_then(|o| o.children().get(usize::from(*step)));
        }
        let wanted = match old {
            Some(old) if !changed(object, old) => old.generation,
            Some(_) | None => layout.generation,
        };
        let is_leaf = object.children().is_empty();
        // The map of an object above also says where its children are reached, so it may change
        // when it looks the same.
        let stale = object.generation < wanted || (is_leaf && object.generation != wanted);
        if stale {
            found.push(Violation::Generation {
                at,
                wanted,
                found: object.generation,
            });
        }
    });
}

fn changed(new: &Object, old: &Object) -> bool {
    let sizes = |o: &Object| o.children().iter().map(size).collect::<Vec<_>>();
    let own = match (&new.kind, &old.kind) {
        (Kind::Extents { .. }, Kind::Extents { .. }) => new.kind == old.kind,
        _ => word(&new.kind) == word(&old.kind),
    };
    !own || sizes(new) != sizes(old)
}
