//! Random clusters, intents and transformations: every step is judged by the checker. Tiny ones besides by brute force: what the
//! planner refuses, no placement satisfies.

#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests are tests

mod common;

use allocator::{
    Grant, Options, Plan, Refusal, explain, plan_create, plan_delete, plan_extend, plan_grow,
    plan_replace,
};
use checker::{Context, check};
use common::random::{Rng, cluster, intent, seed_and_cases};
use common::{V, carry_out, sized};
use layout::intent::Node;
use layout::{
    Bytes, DiskUid, Generation, Health, Intent, Inventory, Kind, Layout, Level, NodeName, Object,
    ObjectPath, UNIT, UnitRange, VolumeUid,
};
use std::collections::BTreeMap;

/// Copies that lie each in an enclosure of its own, so that one may have to move whole.
const LEGS: &str = "{mirror: {copies: 2, rules: [{separate: {by: enclosure, strong: true}}], of: {extents: {rules: [{confine: {by: enclosure}}]}}}}";

/// A cluster with volumes on it.
struct World {
    rng: Rng,
    inventory: Inventory,
    volumes: Vec<(Intent, Layout)>,
    made: u8,
    /// Plans carried out, by what they do, and refusals.
    counts: BTreeMap<String, u64>,
}

impl World {
    fn others(&self, volume: usize) -> Vec<Layout> {
        let others = self
            .volumes
            .iter()
            .enumerate()
            .filter(|(i, _)| *i != volume);
        others.map(|(_, (_, layout))| layout.clone()).collect()
    }

    fn options(&mut self) -> Options {
        let grant = *self
            .rng
            .pick(&[Grant::Full, Grant::Initial(1), Grant::Initial(0)]);
        Options {
            grant,
            tries: 2_000,
            ..Options::default()
        }
    }

    /// Carries a plan out, or counts the refusal. The new layout of the volume.
    fn settle(
        &mut self,
        plan: Result<Plan, Refusal>,
        volume: usize,
        intent: &Intent,
    ) -> Result<Option<Layout>, String> {
        let plan = match plan {
            Ok(plan) => plan,
            Err(refusal) => {
                assert!(!refusal.to_string().is_empty());
                *self.counts.entry("refuse".to_owned()).or_default() += 1;
                return Ok(None);
            }
        };
        let others = self.others(volume);
        let before = self.volumes.get(volume).map(|(_, l)| l.clone());
        let layout = carry_out(&plan, before.as_ref(), intent, &others, &mut self.inventory)?;
        let what = format!("{} in {}", plan.what, plan.steps.len());
        *self.counts.entry(what).or_default() += 1;
        Ok(layout)
    }

    fn step(&mut self) -> Result<(), String> {
        let options = self.options();
        if self.volumes.is_empty() || self.rng.one_in(4) {
            let mut intent = intent(&mut self.rng, 3, 3, 8);
            if self.rng.one_in(2) {
                intent = sized(intent.spec.size, LEGS);
            }
            self.made += 1;
            let plan = plan_create(
                &intent,
                VolumeUid([self.made; 16]),
                &self.inventory,
                &options,
            );
            let volume = self.volumes.len();
            if let Some(layout) = self.settle(plan, volume, &intent)? {
                explain(&layout, &intent, &self.inventory).map_err(|e| e.to_string())?;
                self.volumes.push((intent, layout));
            }
            return Ok(());
        }
        let volume = usize::try_from(self.rng.below(self.volumes.len() as u64)).unwrap();
        let (mut intent, layout) = self.volumes[volume].clone();
        let plan = match self.rng.below(8) {
            0 => {
                let plan = Ok(plan_delete(&layout));
                let gone = self.settle(plan, volume, &intent)?;
                assert!(gone.is_none());
                self.volumes.swap_remove(volume);
                return Ok(());
            }
            1..4 => {
                let size = Bytes(layout.size.0 + (1 + self.rng.below(64)) * UNIT / 16);
                let plan = plan_grow(&layout, &intent, size, &self.inventory, &options);
                intent.spec.size = size;
                plan
            }
            4 | 5 => self.extend(&layout),
            _ => {
                let disk = self.fail_a_disk(&layout);
                plan_replace(&layout, &intent, disk, &self.inventory, &options)
            }
        };
        if let Some(layout) = self.settle(plan, volume, &intent)? {
            self.volumes[volume] = (intent, layout);
        }
        Ok(())
    }

    fn extend(&mut self, layout: &Layout) -> Result<Plan, Refusal> {
        let mut wanted = Vec::new();
        layout.root.visit(ObjectPath::ROOT, &mut |at, o| {
            if let Kind::Extents { size, units, .. } = &o.kind {
                let granted: u64 = units.iter().map(|u| u64::from(u.count)).sum();
                if size.units_up() > granted {
                    wanted.push((at, 1));
                }
            }
        });
        plan_extend(layout, &wanted, &self.inventory)
    }

    /// A disk of the volume fails, sometimes another one too; all others come back, so that there is something to plan with.
    fn fail_a_disk(&mut self, layout: &Layout) -> DiskUid {
        let mut disks = Vec::new();
        layout.root.visit(ObjectPath::ROOT, &mut |_, o| {
            if let Kind::Extents { disk, .. } = o.kind {
                disks.push(disk);
            }
        });
        let failed = *self.rng.pick(&disks);
        let another = self.rng.one_in(4);
        for (i, disk) in self.inventory.disks.iter_mut().enumerate() {
            let down = disk.uid == failed || (another && i == 0);
            disk.health = if down { Health::Failed } else { Health::Ok };
        }
        failed
    }
}

#[test]
fn every_step_of_every_plan_satisfies_its_intent() {
    let (seed, cases) = seed_and_cases("every_step_of_every_plan_satisfies_its_intent", 400);
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for case in 0..cases {
        let mut rng = Rng(seed.wrapping_mul(1_000_003) + case);
        let inventory = cluster(&mut rng, 16, 16);
        let (volumes, counts_of_case) = (vec![], std::mem::take(&mut counts));
        let mut world = World {
            rng,
            inventory,
            volumes,
            made: 0,
            counts: counts_of_case,
        };
        for step in 0..20 {
            if let Err(error) = world.step() {
                panic!("seed {seed}, case {case}, step {step}: {error}");
            }
        }
        counts = world.counts;
    }
    println!("{counts:?}");
    for what in [
        "create in 1",
        "delete in 1",
        "grow in 1",
        "extend in 1",
        "replace in 1",
        "replace in 2",
        "refuse",
    ] {
        assert!(
            cases < 400 || counts.contains_key(what),
            "no case of: {what}; {counts:?}"
        );
    }
}

/// All ways to take so many units from disks that have so many left.
fn ways(left: &[u32], units: u32) -> Vec<Vec<u32>> {
    let Some((first, rest)) = left.split_first() else {
        return if units == 0 { vec![vec![]] } else { vec![] };
    };
    let mut all = Vec::new();
    for take in 0..=units.min(*first) {
        for mut way in ways(rest, units - take) {
            way.insert(0, take);
            all.push(way);
        }
    }
    all
}

/// Whether any distribution of units satisfies the intent, in the eyes of the checker.
struct Brute<'a> {
    intent: &'a Intent,
    inventory: &'a Inventory,
    leaves: Vec<u32>,
    chosen: Vec<Vec<u32>>,
}

impl Brute<'_> {
    fn any(&mut self, left: &mut Vec<u32>) -> bool {
        let Some(units) = self.leaves.get(self.chosen.len()) else {
            return self.right();
        };
        for way in ways(left, *units) {
            left.iter_mut().zip(&way).for_each(|(l, w)| *l -= w);
            self.chosen.push(way.clone());
            let found = self.any(left);
            self.chosen.pop();
            left.iter_mut().zip(&way).for_each(|(l, w)| *l += w);
            if found {
                return true;
            }
        }
        false
    }

    fn right(&self) -> bool {
        let mut next: Vec<u32> = self
            .inventory
            .disks
            .iter()
            .map(|d| d.free[0].start)
            .collect();
        let size = self.intent.spec.tree.size_step(true).unwrap().0;
        let size = self.intent.spec.size.0.next_multiple_of(size);
        let mut leaf = 0;
        let root = self.object(&self.intent.spec.tree, size, &mut leaf, &mut next);
        let (volume, name) = (V, "demo".to_owned());
        let size = self.intent.spec.size;
        let layout = Layout {
            volume,
            name,
            generation: Generation(1),
            size,
            root,
        };
        check(&layout, self.intent, &Context::new(self.inventory)).is_empty()
    }

    fn object(&self, want: &Node, size: u64, leaf: &mut usize, next: &mut [u32]) -> Object {
        let host = |kind| Object {
            level: Level::Host,
            node: NodeName("host".to_owned()),
            generation: Generation(1),
            properties: vec![],
            reasons: vec![],
            kind,
        };
        if let Some((count, below)) = want.below() {
            let copies = matches!(want, Node::Mirror(_));
            let share = if copies {
                size
            } else {
                size / u64::from(count)
            };
            let children = (0..count)
                .map(|_| self.object(below, share, leaf, next))
                .collect();
            return host(match want {
                Node::Stripe(n) => Kind::Stripe {
                    unit: n.unit,
                    columns: children,
                },
                Node::Mirror(_) => Kind::Mirror { copies: children },
                _ => Kind::Concat { parts: children },
            });
        }
        let (way, mut rest, mut parts) = (&self.chosen[*leaf], size, Vec::new());
        *leaf += 1;
        for (d, count) in way.iter().enumerate().filter(|(_, count)| **count > 0) {
            let disk = &self.inventory.disks[d];
            let size = rest.min(u64::from(*count) * UNIT);
            rest -= size;
            let units = vec![UnitRange {
                start: next[d],
                count: *count,
            }];
            next[d] += count;
            let kind = Kind::Extents {
                disk: disk.uid,
                size: Bytes(size),
                units,
            };
            parts.push(Object {
                level: Level::Storage,
                node: disk.node.clone(),
                ..host(kind)
            });
        }
        if parts.len() == 1 {
            parts.remove(0)
        } else {
            host(Kind::Concat { parts })
        }
    }
}

/// The units of each leaf, in the order of the paths.
fn leaf_units(want: &Node, size: u64) -> Vec<u32> {
    match want.below() {
        None => vec![u32::try_from(size.div_ceil(UNIT)).unwrap()],
        Some((count, below)) => {
            let copies = matches!(want, Node::Mirror(_));
            let share = if copies {
                size
            } else {
                size / u64::from(count)
            };
            (0..count).flat_map(|_| leaf_units(below, share)).collect()
        }
    }
}

#[test]
fn what_is_refused_is_impossible() {
    let (seed, cases) = seed_and_cases("what_is_refused_is_impossible", 600);
    let (mut placed, mut refused, mut skipped) = (0, 0, 0);
    for case in 0..cases {
        let mut rng = Rng(seed.wrapping_mul(7_000_003) + case);
        let mut inventory = cluster(&mut rng, 4, 4);
        inventory.overcommit_percent = 100;
        let intent = intent(&mut rng, 2, 3, 5);
        let step = intent.spec.tree.size_step(true).unwrap().0;
        let leaves = leaf_units(&intent.spec.tree, intent.spec.size.0.next_multiple_of(step));
        match plan_create(&intent, V, &inventory, &Options::default()) {
            Ok(plan) => {
                placed += 1;
                if let Err(error) = carry_out(&plan, None, &intent, &[], &mut inventory) {
                    panic!("seed {seed}, case {case}: {error}");
                }
            }
            // Too many distributions to look at them all.
            Err(_) if leaves.iter().sum::<u32>() > 9 => skipped += 1,
            Err(refusal) => {
                refused += 1;
                let exhaustive = matches!(&refusal, Refusal::NoPlacement(no) if no.exhaustive);
                assert!(exhaustive, "seed {seed}, case {case}: {refusal}");
                let mut left = inventory.disks.iter().map(|d| d.free_units()).collect();
                let (intent, inventory) = (&intent, &inventory);
                let mut brute = Brute {
                    intent,
                    inventory,
                    leaves,
                    chosen: vec![],
                };
                assert!(
                    !brute.any(&mut left),
                    "seed {seed}, case {case}: refused ({refusal}) though {:?} would do for {intent:?} on {inventory:?}",
                    brute.chosen
                );
            }
        }
    }
    println!(
        "{placed} placed, {refused} refused and impossible, {skipped} refused and too large to know"
    );
    assert!(cases < 600 || (placed > 50 && refused > 50));
}
