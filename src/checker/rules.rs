//! The intent's rules, on the disks that lie below each object.

use crate::{Violation, disks};
use layout::intent::{Labels, Node, Rule};
use layout::{Disk, Intent, Inventory, Kind, Layout, Object, ObjectPath};
use std::collections::BTreeSet;

pub(crate) fn check(
    layout: &Layout,
    intent: &Intent,
    inventory: &Inventory,
    found: &mut Vec<Violation>,
) {
    layout.root.visit(ObjectPath::ROOT, &mut |at, object| {
        if let Kind::Extents { disk, .. } = object.kind
            && inventory.disk(disk).is_none()
        {
            found.push(Violation::UnknownDisk { at });
        }
    });
    if found.is_empty() {
        object(
            &layout.root,
            &intent.spec.tree,
            ObjectPath::ROOT,
            inventory,
            found,
        );
    }
}

/// The rules of one level on one object, then those below. The shape is right.
fn object(
    object: &Object,
    want: &Node,
    at: ObjectPath,
    inventory: &Inventory,
    found: &mut Vec<Violation>,
) {
    let below = disks(object, inventory);
    for rule in want.rules() {
        let broken = |disk: &Disk| Violation::Rule {
            at,
            rule: rule.to_string(),
            disk: disk.name.clone(),
        };
        match rule {
            Rule::Select(l) => {
                found.extend(below.iter().filter(|d| !named(l, d)).map(|d| broken(d)))
            }
            Rule::Exclude(l) => {
                found.extend(below.iter().filter(|d| named(l, d)).map(|d| broken(d)))
            }
            Rule::Confine(r) => {
                let first = below.first().and_then(|d| d.attribute(&r.by));
                let outside = |d: &&&Disk| first.is_none() || d.attribute(&r.by) != first;
                found.extend(below.iter().find(outside).map(|d| broken(d)));
            }
            Rule::Separate(r) => {
                let lacking = below.iter().find(|d| d.attribute(&r.by).is_none());
                found.extend(lacking.map(|d| broken(d)));
                separate(
                    object,
                    at,
                    (&r.by, r.strong),
                    &rule.to_string(),
                    inventory,
                    found,
                );
            }
            Rule::Prefer(_) => {}
        }
    }
    if let Node::Mirror(_) = want {
        let rule = "copies never share a disk";
        separate(object, at, ("disk", true), rule, inventory, found);
    }
    let Some((_, want)) = want.below() else {
        return;
    };
    for (child, index) in object.children().iter().zip(0u8..) {
        if let Some(path) = at.child(index) {
            self::object(child, want, path, inventory, found);
        }
    }
}

/// Every two children: no value in common, or at least not the same set of values.
fn separate(
    object: &Object,
    at: ObjectPath,
    (by, strong): (&str, bool),
    rule: &str,
    inventory: &Inventory,
    found: &mut Vec<Violation>,
) {
    let values = |child: &Object| -> BTreeSet<String> {
        let disks = disks(child, inventory).into_iter();
        disks
            .filter_map(|d| d.attribute(by))
            .map(str::to_owned)
            .collect()
    };
    let sets: Vec<BTreeSet<String>> = object.children().iter().map(values).collect();
    for (other, theirs) in sets.iter().enumerate() {
        for (one, mine) in sets[..other].iter().enumerate() {
            let common: Vec<&str> = mine.intersection(theirs).map(String::as_str).collect();
            let broken = if strong {
                !common.is_empty()
            } else {
                mine == theirs
            };
            if broken {
                let (rule, values) = (rule.to_owned(), format!("{by}={}", common.join("+")));
                found.push(Violation::Separate {
                    at,
                    rule,
                    one,
                    other,
                    values,
                });
            }
        }
    }
}

/// Whether a label expression names a disk: it has a listed value for each attribute, `*` being
/// any.
fn named(labels: &Labels, disk: &Disk) -> bool {
    for (attribute, listed) in &labels.0 {
        match disk.attribute(attribute) {
            None => return false,
            Some(value) => {
                if !listed.0.iter().any(|l| l == "*" || l == value) {
                    return false;
                }
            }
        }
    }
    true
}
