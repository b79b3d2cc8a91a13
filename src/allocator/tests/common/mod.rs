//! What the allocator's tests share: clusters and intents from text, and a judge of plans.

#![allow(dead_code)] // each test uses its part

pub mod random;

use allocator::{Plan, Step};
use checker::{Context, Violation, check};
use layout::intent::Intent;
use layout::{
    Bytes, Disk, DiskUid, Health, Inventory, Kind, Layout, NodeName, ObjectPath, UNIT, UnitRange,
    VolumeUid,
};

pub const V: VolumeUid = VolumeUid([1; 16]);

/// A disk with so many units, all free.
pub fn disk(n: u8, node: &str, enclosure: &str, units: u32) -> Disk {
    let attributes = [("enclosure", enclosure), ("media", "ssd")];
    Disk {
        uid: DiskUid([n; 16]),
        name: format!("d{n}"),
        node: NodeName(node.to_owned()),
        attributes: attributes.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
        units,
        free: if units == 0 {
            vec![]
        } else {
            vec![UnitRange {
                start: 0,
                count: units,
            }]
        },
        promised: None,
        health: Health::Ok,
        schedulable: true,
    }
}

pub fn inventory(disks: Vec<Disk>) -> Inventory {
    Inventory {
        overcommit_percent: 100,
        disks,
    }
}

/// So many units as a size.
pub fn units(n: u64) -> Bytes {
    Bytes(n * UNIT)
}

pub fn intent(units: u64, tree: &str) -> Intent {
    sized(Bytes(units * UNIT), tree)
}

pub fn sized(size: Bytes, tree: &str) -> Intent {
    let head = "apiVersion: stratovol.io/v1alpha1\nkind: VolumeIntent\nmetadata: {name: demo}\n";
    serde_yaml::from_str(&format!("{head}spec: {{size: {}, tree: {tree}}}", size.0)).unwrap()
}

/// Judges every step of a plan, and enters it in the books. The layout at the end.
pub fn carry_out(
    plan: &Plan,
    before: Option<&Layout>,
    intent: &Intent,
    others: &[Layout],
    inventory: &mut Inventory,
) -> Result<Option<Layout>, String> {
    let mut last = before.cloned();
    for (i, step) in plan.steps.iter().enumerate() {
        if let Some(layout) = &step.layout {
            let violations = judge(step, layout, last.as_ref(), intent, others, inventory);
            if !violations.is_empty() {
                let all: Vec<String> = violations.iter().map(ToString::to_string).collect();
                return Err(format!(
                    "{} step {i} ({}): {}",
                    plan.what,
                    step.why,
                    all.join("; ")
                ));
            }
        }
        step.apply(inventory)
            .map_err(|e| format!("{} step {i}: {e}", plan.what))?;
        inventory.validate().map_err(|e| e.to_string())?;
        last = step.layout.clone();
    }
    Ok(last)
}

fn judge(
    step: &Step,
    layout: &Layout,
    before: Option<&Layout>,
    intent: &Intent,
    others: &[Layout],
    inventory: &Inventory,
) -> Vec<Violation> {
    let in_transition = step.in_transition;
    check(
        layout,
        intent,
        &Context {
            inventory,
            before,
            others,
            in_transition,
        },
    )
}

/// The names of the disks of a layout's leaves, in the order of the paths.
pub fn names(layout: &Layout, inventory: &Inventory) -> Vec<String> {
    let mut names = Vec::new();
    layout.root.visit(ObjectPath::ROOT, &mut |_, o| {
        if let Kind::Extents { disk, .. } = &o.kind {
            names.push(inventory.disk(*disk).unwrap().name.clone());
        }
    });
    names
}
