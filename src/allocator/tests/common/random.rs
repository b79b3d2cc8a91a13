//! Random clusters and intents from a seed.

use super::{disk, sized};
use layout::intent::Intent;
use layout::{Bytes, Inventory, UNIT};

/// SplitMix64.
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
    pub fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[usize::try_from(self.below(list.len() as u64)).unwrap()]
    }
}

/// The seed and the count of cases, from the environment; printed with how to run the same again.
pub fn seed_and_cases(test: &str, cases: u64) -> (u64, u64) {
    let number = |name: &str| std::env::var(name).ok().map(|v| v.parse::<u64>().unwrap());
    let seed = number("STRATOVOL_SEED").unwrap_or(1);
    let cases = number("STRATOVOL_CASES").unwrap_or(cases);
    println!(
        "{test}: seed {seed}, {cases} cases; again: STRATOVOL_SEED={seed} STRATOVOL_CASES={cases} cargo test --release -p allocator --all-features {test}"
    );
    (seed, cases)
}

/// A cluster of up to so many disks of up to so many units.
pub fn cluster(rng: &mut Rng, disks: u64, units: u64) -> Inventory {
    let enclosures = 1 + rng.below(4);
    let count = 1 + rng.below(disks);
    let overcommit_percent = *rng.pick(&[100, 100, 150]);
    let make = |n: u64| {
        let enclosure = rng.below(enclosures);
        let node = format!("n{}", enclosure % 3);
        let size = u32::try_from(1 + rng.below(units)).unwrap();
        let mut d = disk(
            u8::try_from(n + 1).unwrap(),
            &node,
            &format!("e{enclosure}"),
            size,
        );
        d.attributes
            .insert("rack".to_owned(), format!("r{}", rng.below(3)));
        if rng.one_in(3) {
            d.attributes.insert("media".to_owned(), "hdd".to_owned());
        }
        if rng.one_in(12) {
            d.attributes.remove("rack");
        }
        d.schedulable = !rng.one_in(12);
        d
    };
    Inventory {
        overcommit_percent,
        disks: (0..count).map(make).collect(),
    }
}

fn rules(rng: &mut Rng, leaf: bool) -> String {
    let mut rules = Vec::new();
    for _ in 0..rng.below(3) {
        let by = *rng.pick(&["enclosure", "rack", "node", "disk"]);
        let media = *rng.pick(&["ssd", "hdd"]);
        rules.push(match rng.below(8) {
            0 | 1 => format!("{{confine: {{by: {by}}}}}"),
            2 if !leaf => format!("{{separate: {{by: {by}}}}}"),
            3 | 4 if !leaf => format!("{{separate: {{by: {by}, strong: true}}}}"),
            5 => format!("{{select: {{media: {media}}}}}"),
            6 => format!("{{exclude: {{media: {media}, rack: [r0, r1]}}}}"),
            _ => format!("{{prefer: {{weight: 2, match: {{media: {media}}}}}}}"),
        });
    }
    format!("rules: [{}]", rules.join(", "))
}

/// A tree with at most so many children a level.
pub fn tree(rng: &mut Rng, depth: u64, children: u64) -> String {
    let kind = if depth == 0 { 0 } else { rng.below(4) };
    if kind == 0 {
        return format!("{{extents: {{{}}}}}", rules(rng, true));
    }
    let (rules, below) = (rules(rng, false), tree(rng, depth - 1, children));
    let count = 1 + rng.below(children);
    match kind {
        1 => format!(
            "{{stripe: {{columns: {count}, unit: {} MiB, {rules}, of: {below}}}}}",
            1 + rng.below(3)
        ),
        2 => format!("{{concat: {{parts: {count}, {rules}, of: {below}}}}}"),
        _ => format!("{{mirror: {{copies: {count}, {rules}, of: {below}}}}}"),
    }
}

/// A valid intent of up to so many units.
pub fn intent(rng: &mut Rng, depth: u64, children: u64, units: u64) -> Intent {
    loop {
        let tree = tree(rng, depth, children);
        let mut size = (1 + rng.below(units)) * UNIT;
        if rng.one_in(3) {
            size -= rng.below(UNIT / 4096) * 4096;
        }
        let intent = sized(Bytes(size), &tree);
        if intent.validate().is_ok() {
            return intent;
        }
    }
}
