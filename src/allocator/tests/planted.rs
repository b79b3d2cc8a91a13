//! Planners that forget one thing: each is caught by the checker, or by the books.

#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests are tests

mod common;

use allocator::{Bug, Grant, Options, plan_create};
use common::carry_out;
use common::random::{Rng, cluster, intent, seed_and_cases};
use layout::{Inventory, Layout, VolumeUid};

/// Makes volumes on random clusters with a planner that forgets something, until somebody notices.
fn cases_until_caught(bug: Option<Bug>, seed: u64, cases: u64) -> Option<(u64, String)> {
    for case in 0..cases {
        let mut rng = Rng(seed.wrapping_mul(3_000_017) + case);
        let mut inventory: Inventory = cluster(&mut rng, 8, 8);
        let mut others: Vec<Layout> = Vec::new();
        for volume in 1..4 {
            let intent = intent(&mut rng, 3, 3, 6);
            let grant = *rng.pick(&[Grant::Full, Grant::Initial(1)]);
            let options = Options {
                grant,
                tries: 2_000,
                bug,
                ..Options::default()
            };
            let Ok(plan) = plan_create(&intent, VolumeUid([volume; 16]), &inventory, &options)
            else {
                continue;
            };
            match carry_out(&plan, None, &intent, &others, &mut inventory) {
                Err(caught) => return Some((case + 1, caught)),
                Ok(layout) => others.extend(layout),
            }
        }
    }
    None
}

#[test]
fn every_planted_bug_is_caught() {
    let (seed, cases) = seed_and_cases("every_planted_bug_is_caught", 300);
    assert_eq!(
        cases_until_caught(None, seed, cases),
        None,
        "without a bug nothing is caught"
    );
    for bug in Bug::ALL {
        let caught = cases_until_caught(Some(bug), seed, 1_000);
        let (after, what) = caught.unwrap_or_else(|| panic!("seed {seed}: {bug:?} was not caught"));
        println!("{bug:?}: caught in case {after}: {what}");
    }
}
