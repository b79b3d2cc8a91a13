//! Where the demo's volume goes: the allocator plans, the checker judges, both are shown.
//!
//! Invariant: no layout leaves here that the checker has not found to satisfy the intent.

use allocator::{Explanation, Options, Step, explain, plan_create, plan_replace, why_not};
use anyhow::{Context as _, bail, ensure};
use checker::Context;
use engine::format::Geometry;
use layout::{
    Disk, DiskUid, Health, Intent, Inventory, Kind, Layout, NodeName, ObjectPath, UnitRange,
    VolumeUid,
};
use std::collections::BTreeMap;

/// What the volume must be, as it is printed.
pub const INTENT: &str = include_str!("intent.yaml");

/// A disk of the demo: its name, and what rules can say of it.
#[derive(Clone, Copy)]
pub struct Wanted {
    /// What people call it.
    pub name: &'static str,
    /// Where it is.
    pub enclosure: &'static str,
    /// What it is.
    pub media: &'static str,
}

const fn wanted(name: &'static str, enclosure: &'static str, media: &'static str) -> Wanted {
    Wanted {
        name,
        enclosure,
        media,
    }
}

/// Two enclosures. `b3` is the trap: empty and of the preferred kind, but in the wrong place to
/// stand in for a disk of `array-a`.
pub const DISKS: [Wanted; 6] = [
    wanted("a1", "array-a", "nvme"),
    wanted("a2", "array-a", "nvme"),
    wanted("a3", "array-a", "ssd"),
    wanted("b1", "array-b", "nvme"),
    wanted("b2", "array-b", "nvme"),
    wanted("b3", "array-b", "nvme"),
];

/// The trap's name.
pub const TEMPTING: &str = "b3";

/// A leaf of a layout: what a data plane is granted.
pub struct Leaf {
    /// Its place in the tree.
    pub path: ObjectPath,
    /// The disk it lies on.
    pub disk: DiskUid,
    /// Bytes that it shows.
    pub size: u64,
    /// What is granted.
    pub units: Vec<UnitRange>,
}

/// The leaves of a layout, in order.
pub fn leaves(layout: &Layout) -> Vec<Leaf> {
    let mut all = Vec::new();
    layout.root.visit(ObjectPath::ROOT, &mut |path, object| {
        if let Kind::Extents { disk, size, units } = &object.kind {
            let (disk, size, units) = (*disk, size.0, units.clone());
            all.push(Leaf {
                path,
                disk,
                size,
                units,
            });
        }
    });
    all
}

/// The volume, the disks, and the books that are kept of them.
pub struct Placed {
    /// What it must be.
    pub intent: Intent,
    /// The disks, with what is granted of them.
    pub inventory: Inventory,
    /// Where it is.
    pub layout: Layout,
}

/// What was found for a failed disk.
pub struct Replacement {
    /// The leaf that lay on it.
    pub leaf: ObjectPath,
    /// Who takes its place.
    pub by: DiskUid,
    /// What speaks against the tempting disk, in words.
    pub not_the_tempting: String,
    /// The allocator's words for what is done.
    pub why: String,
}

impl Placed {
    /// Places a new volume on freshly formatted disks.
    pub fn new(
        volume: VolumeUid,
        disks: &[(Wanted, DiskUid, Geometry)],
    ) -> anyhow::Result<(Self, Explanation)> {
        let intent: Intent = serde_yaml::from_str(INTENT).context("the demo's intent")?;
        let mut inventory = Inventory {
            overcommit_percent: 100,
            disks: disks.iter().map(entry).collect(),
        };
        let plan = plan_create(&intent, volume, &inventory, &Options::default())?;
        let [step] = plan.steps.as_slice() else {
            bail!(
                "a new volume is placed in one step, not {}",
                plan.steps.len()
            );
        };
        let layout = judged(step, &intent, &inventory, None)?;
        let explanation = explain(&layout, &intent, &inventory)?;
        step.apply(&mut inventory)?;
        let placed = Placed {
            intent,
            inventory,
            layout,
        };
        Ok((placed, explanation))
    }

    /// What people call a disk.
    pub fn name(&self, disk: DiskUid) -> &str {
        self.inventory.disk(disk).map_or("?", |d| d.name.as_str())
    }

    /// The enclosure of a disk.
    pub fn enclosure(&self, disk: DiskUid) -> &str {
        let found = self.inventory.disk(disk);
        found.and_then(|d| d.attribute("enclosure")).unwrap_or("?")
    }

    /// Plans around a disk that has failed; the layout is the new one from then on.
    pub fn replace(&mut self, failed: DiskUid) -> anyhow::Result<Replacement> {
        self.inventory.disk_mut(failed)?.health = Health::Failed;
        let (intent, options) = (&self.intent, Options::default());
        let plan = plan_replace(&self.layout, intent, failed, &self.inventory, &options)?;
        let [step] = plan.steps.as_slice() else {
            bail!(
                "the copy lost its only disk, yet the plan has {} steps",
                plan.steps.len()
            );
        };
        let lost = leaves(&self.layout).into_iter().find(|l| l.disk == failed);
        let leaf = lost.context("nothing lay on the failed disk")?.path;
        let after = judged(step, intent, &self.inventory, Some(&self.layout))?;
        let new = leaves(&after).into_iter().find(|l| l.path == leaf);
        let by = new.context("the plan takes the copy away")?.disk;
        ensure!(by != failed, "the plan leaves the copy on the failed disk");
        let tempting = self.inventory.disks.iter().find(|d| d.name == TEMPTING);
        let tempting = tempting.context("the demo's disks")?.uid;
        ensure!(by != tempting, "the plan puts both copies in one enclosure");
        step.apply(&mut self.inventory)?;
        let nos = why_not(&after, intent, &self.inventory, leaf, tempting)?;
        ensure!(!nos.is_empty(), "nothing speaks against disk {TEMPTING}");
        let nos: Vec<String> = nos.iter().map(ToString::to_string).collect();
        self.layout = after;
        Ok(Replacement {
            leaf,
            by,
            not_the_tempting: nos.join(", "),
            why: step.why.clone(),
        })
    }
}

/// What an agent would report of a disk that was just formatted.
fn entry((wanted, uid, geometry): &(Wanted, DiskUid, Geometry)) -> Disk {
    let attributes = [("enclosure", wanted.enclosure), ("media", wanted.media)];
    let text = |(k, v): (&str, &str)| (k.to_owned(), v.to_owned());
    Disk {
        uid: *uid,
        name: wanted.name.to_owned(),
        node: NodeName("this-node".to_owned()),
        attributes: BTreeMap::from(attributes.map(text)),
        units: geometry.units,
        free: vec![UnitRange {
            start: 0,
            count: geometry.units,
        }],
        promised: None,
        health: Health::Ok,
        schedulable: true,
    }
}

/// The layout after a step, which the checker finds nothing wrong with.
fn judged(
    step: &Step,
    intent: &Intent,
    inventory: &Inventory,
    before: Option<&Layout>,
) -> anyhow::Result<Layout> {
    let layout = step
        .layout
        .as_ref()
        .context("the plan ends without a layout")?;
    let context = Context {
        before,
        in_transition: step.in_transition,
        ..Context::new(inventory)
    };
    let violations = checker::check(layout, intent, &context);
    let words: Vec<String> = violations.iter().map(ToString::to_string).collect();
    ensure!(
        words.is_empty(),
        "the checker refuses the plan: {}",
        words.join("; ")
    );
    Ok(layout.clone())
}
