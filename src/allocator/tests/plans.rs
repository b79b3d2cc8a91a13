//! Plans and refusals one by one.

#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests are tests

mod common;

use allocator::{
    DoneWhen, Grant, Options, Refusal, explain, plan_create, plan_delete, plan_extend, plan_grow,
    plan_replace, why_not,
};
use checker::{Context, Violation, check};
use common::*;
use layout::{Disk, DiskUid, Health, Intent, Inventory, Kind, Layout, Level, NodeName, ObjectPath};

const MIRROR: &str =
    "{mirror: {copies: 2, rules: [{separate: {by: enclosure}}], of: {extents: {}}}}";
/// The source's example: a stripe of two mirrors; each copy within one enclosure, the copies of a
/// mirror in different ones.
const SOURCE: &str = "{stripe: {columns: 2, unit: 1 MiB, of: {mirror: {copies: 2,
    rules: [{separate: {by: enclosure, strong: true}}],
    of: {extents: {rules: [{confine: {by: enclosure}}]}}}}}}";

fn create(intent: &Intent, inventory: &mut Inventory) -> Layout {
    let plan = plan_create(intent, V, inventory, &Options::default()).unwrap();
    carry_out(&plan, None, intent, &[], inventory)
        .unwrap()
        .unwrap()
}

fn refuse(intent: &Intent, inventory: &Inventory) -> String {
    plan_create(intent, V, inventory, &Options::default())
        .unwrap_err()
        .to_string()
}

fn fail(inventory: &mut Inventory, name: &str) -> DiskUid {
    let disk = inventory.disks.iter_mut().find(|d| d.name == name).unwrap();
    disk.health = Health::Failed;
    disk.uid
}

fn path(text: &str) -> ObjectPath {
    text.parse().unwrap()
}

#[test]
fn copies_lie_in_different_enclosures_where_most_is_free() {
    let mut i = inventory(vec![
        disk(1, "n1", "a", 10),
        disk(2, "n1", "a", 20),
        disk(3, "n2", "b", 20),
        disk(4, "n2", "b", 10),
    ]);
    let intent = intent(5, MIRROR);
    let layout = create(&intent, &mut i);
    assert_eq!(names(&layout, &i), ["d2", "d3"]);
    assert_eq!(
        (layout.root.level, layout.root.node.0.as_str()),
        (Level::Host, "n1")
    );
    assert_eq!(i.disks[1].free_units(), 15);
    // Gone without a trace.
    let before = i.clone();
    let plan = plan_delete(&layout);
    assert_eq!(
        carry_out(&plan, Some(&layout), &intent, &[], &mut i),
        Ok(None)
    );
    assert!(
        i.disks
            .iter()
            .all(|d| d.free_units() == d.units && d.promised_units() == 0)
    );
    assert_ne!(before, i);
}

#[test]
fn the_order_of_the_inventory_makes_no_difference() {
    let mut i = inventory(
        (1..9)
            .map(|n| disk(n, "n", ["a", "b", "c"][usize::from(n) % 3], 9))
            .collect(),
    );
    let intent = intent(8, SOURCE);
    let plan = plan_create(&intent, V, &i, &Options::default()).unwrap();
    i.disks.reverse();
    assert_eq!(
        plan_create(&intent, V, &i, &Options::default()).unwrap(),
        plan
    );
}

#[test]
fn soft_rules_order_and_hard_rules_decide() {
    let mut fast = disk(1, "n1", "a", 10);
    fast.attributes
        .insert("media".to_owned(), "nvme".to_owned());
    let mut i = inventory(vec![
        fast,
        disk(2, "n1", "a", 90),
        disk(3, "n2", "b", 50),
        disk(4, "n2", "b", 90),
    ]);
    i.disks[3].schedulable = false;
    let tree = "{extents: {rules: [{prefer: {weight: 3, match: {media: nvme}}}]}}";
    assert_eq!(names(&create(&intent(10, tree), &mut i), &i), ["d1"]);
    assert_eq!(
        names(&create(&intent(10, tree), &mut i), &i),
        ["d2"],
        "d1 is full"
    );
    let tree = "{extents: {rules: [{exclude: {enclosure: a}}]}}";
    assert_eq!(
        names(&create(&intent(10, tree), &mut i), &i),
        ["d3"],
        "d4 is not schedulable"
    );
}

#[test]
fn columns_come_out_equal() {
    let mut i = inventory((1..4).map(|n| disk(n, "n", "a", 10)).collect());
    let tree = "{stripe: {columns: 3, unit: 4 MiB, of: {extents: {}}}}";
    let layout = create(&sized(layout::Bytes::mib(100), tree), &mut i);
    let sizes: Vec<String> = layout
        .root
        .children()
        .iter()
        .map(|c| c.size().to_string())
        .collect();
    assert_eq!(sizes, ["36 MiB"; 3]);
    assert_eq!(
        (layout.size, layout.root.size()),
        (layout::Bytes::mib(100), layout::Bytes::mib(108))
    );
    assert_eq!(names(&layout, &i), ["d1", "d2", "d3"], "columns are spread");
}

#[test]
fn a_leaf_is_split_only_where_it_must_and_may_be() {
    let disks = || {
        vec![
            disk(1, "n1", "a", 4),
            disk(2, "n1", "a", 3),
            disk(3, "n2", "b", 6),
        ]
    };
    let mut i = inventory(disks());
    let tree = "{mirror: {copies: 2, rules: [{separate: {by: enclosure, strong: true}}], of: {extents: {rules: [{confine: {by: enclosure}}]}}}}";
    let layout = create(&intent(6, tree), &mut i);
    assert_eq!(names(&layout, &i), ["d3", "d1", "d2"]);
    let split = &layout.root.children()[1];
    assert!(matches!(&split.kind, Kind::Concat { parts } if parts.len() == 2));
    assert_eq!((split.level, split.node.0.as_str()), (Level::Storage, "n1"));
    let tree = tree.replace("{confine: {by: enclosure}}", "{confine: {by: disk}}");
    assert_eq!(
        refuse(&intent(6, &tree), &inventory(disks())),
        "volume 'demo': / needs 2 enclosures with 384 MiB free; only b has it. \
         Of 3 disks for /0: 2 with less than 384 MiB free (the most is 256 MiB, on d1); d3 remains"
    );
}

#[test]
fn a_search_goes_back_on_its_choices() {
    // The first column would best lie on d3, which is the only one large enough for a copy
    // elsewhere.
    let i = &mut inventory(vec![
        disk(1, "n", "a", 5),
        disk(2, "n", "a", 5),
        disk(3, "n", "b", 5),
        disk(4, "n", "b", 5),
    ]);
    let layout = create(&intent(10, SOURCE), i);
    assert_eq!(names(&layout, i).len(), 4);
    // Three parts of 4 units on disks of 6: only by splitting one of them.
    let i = &mut inventory(vec![disk(1, "n", "a", 6), disk(2, "n", "a", 6)]);
    let layout = create(&intent(12, "{concat: {parts: 3, of: {extents: {}}}}"), i);
    assert_eq!(names(&layout, i).len(), 4);
}

#[test]
fn a_refusal_says_what_is_missing_in_numbers() {
    let mut disks = vec![
        disk(1, "n1", "array-a", 900),
        disk(2, "n2", "array-b", 100),
        disk(3, "n2", "array-b", 900),
        disk(4, "n3", "array-c", 900),
    ];
    disks[2]
        .attributes
        .insert("media".to_owned(), "hdd".to_owned());
    disks[3].health = Health::Failed;
    let tree = "{mirror: {copies: 2, rules: [{separate: {by: enclosure}}], of: {extents: {rules: [{select: {media: ssd}}]}}}}";
    assert_eq!(
        refuse(&intent(800, tree), &inventory(disks)),
        "volume 'demo': / needs 2 enclosures with 50 GiB free on media=ssd; only array-a has it. \
         Of 4 disks for /0: 1 not media=ssd (select), 1 failed, 1 with less than 50 GiB free \
         (the most is 6.2 GiB, on d2); d1 remains"
    );
    let few = inventory(vec![disk(1, "n1", "a", 4), disk(2, "n1", "b", 4)]);
    assert_eq!(
        refuse(&intent(20, "{extents: {}}"), &few),
        "volume 'demo': / needs 1.2 GiB free; the disks it may use have 512 MiB in all. \
         Of 2 disks for /: 2 with less than 1.2 GiB free (the most is 256 MiB, on d1); none remains"
    );
    assert!(refuse(&intent(1, "{extents: {}}"), &inventory(vec![])).ends_with("There is no disk"));
    let zero = refuse(&intent(0, "{mirror: {copies: 0, of: {extents: {}}}}"), &few);
    assert_eq!(
        zero,
        "the intent is not valid: spec.size is zero; spec.tree.mirror: 0 copies, but 1 to 255 are possible"
    );
}

#[test]
fn a_search_that_gives_up_says_so() {
    // Ten copies of five units each, on disks that are all different: no single disk suffices, and
    // pairs are many.
    let i = inventory(
        (1..40)
            .map(|n| disk(n, "n", &n.to_string(), 40 + u32::from(n)))
            .collect(),
    );
    let tree = "{mirror: {copies: 20, rules: [{separate: {by: enclosure}}], of: {extents: {}}}}";
    let options = Options {
        tries: 500,
        ..Options::default()
    };
    let refusal = plan_create(&intent(90, tree), V, &i, &options).unwrap_err();
    assert!(
        matches!(&refusal, Refusal::NoPlacement(no) if !no.exhaustive),
        "{refusal}"
    );
    assert!(
        refusal
            .to_string()
            .ends_with("gave up after 500 tries: a placement may exist"),
        "{refusal}"
    );
}

/// The source's own example: disks d1-d4 in arrays 74, 76, 78 and 74, spares d5 in 74 and d6 in 76.
fn source_example() -> (Inventory, Intent, Layout) {
    let arrays = ["74", "76", "78", "74", "74", "76"];
    let disks = (1u8..)
        .zip(arrays)
        .map(|(n, array)| disk(n, array, array, 4))
        .collect::<Vec<Disk>>();
    let mut i = inventory(disks);
    let spares = [4, 5].map(|d: usize| std::mem::replace(&mut i.disks[d].schedulable, false));
    // The search would put the second mirror's copies elsewhere; the example has them on d3 and d4.
    let intent = intent(8, SOURCE);
    let layout = create(&intent, &mut i);
    assert_eq!(names(&layout, &i), ["d1", "d2", "d3", "d4"]);
    (i.disks[4].schedulable, i.disks[5].schedulable) = (spares[0], spares[1]);
    (i, intent, layout)
}

#[test]
fn the_naive_replacement_is_caught_and_the_right_one_found() {
    let (mut i, intent, layout) = source_example();
    let lost = fail(&mut i, "d1");
    // Naive: the free disk next to the copy that is left.
    let mut naive = layout.clone();
    naive.generation = naive.generation.next();
    let Kind::Stripe { columns, .. } = &mut naive.root.kind else {
        panic!()
    };
    let Kind::Mirror { copies } = &mut columns[0].kind else {
        panic!()
    };
    copies[0].node = NodeName("76".to_owned());
    copies[0].generation = naive.generation;
    let Kind::Extents { disk, .. } = &mut copies[0].kind else {
        panic!()
    };
    *disk = DiskUid([6; 16]);
    let context = Context {
        before: Some(&layout),
        ..Context::new(&i)
    };
    let violations = check(&naive, &intent, &context);
    assert!(
        matches!(&violations[..], [Violation::Separate { rule, .. }] if rule.contains("enclosure")),
        "{violations:?}"
    );

    let nos = why_not(&layout, &intent, &i, path("/0.0"), DiskUid([6; 16])).unwrap();
    assert_eq!(
        nos[0].to_string(),
        "in enclosure=76, used by /0.1 (separate by enclosure at /0)"
    );

    let plan = plan_replace(&layout, &intent, lost, &i, &Options::default()).unwrap();
    assert_eq!(
        plan.steps[0].done_when,
        DoneWhen::Filled(vec![path("/0.0")])
    );
    let after = carry_out(&plan, Some(&layout), &intent, &[], &mut i)
        .unwrap()
        .unwrap();
    assert_eq!(names(&after, &i), ["d5", "d2", "d3", "d4"]);
    let copies = &after.root.children()[0].children();
    assert_eq!(
        (copies[0].generation, copies[1].generation),
        (after.generation, layout.generation)
    );
}

#[test]
fn a_copy_of_which_something_is_left_moves_whole_when_its_enclosure_is_full() {
    // The second copy is split over d1 and d2 of enclosure a, which has no further disk.
    let mut i = inventory(vec![
        disk(1, "n1", "a", 3),
        disk(2, "n1", "a", 3),
        disk(3, "n2", "b", 6),
        disk(4, "n3", "c", 6),
    ]);
    i.disks[3].schedulable = false;
    let tree = "{mirror: {copies: 2, rules: [{separate: {by: enclosure, strong: true}}], of: {extents: {rules: [{confine: {by: enclosure}}]}}}}";
    let intent = intent(6, tree);
    let layout = create(&intent, &mut i);
    assert_eq!(names(&layout, &i), ["d3", "d1", "d2"]);
    let lost = fail(&mut i, "d1");
    let refusal = plan_replace(&layout, &intent, lost, &i, &Options::default()).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "volume 'demo': /1 needs 192 MiB free; the disks it may use have 0 B in all. Of 4 disks for /1: 1 failed, \
         1 outside enclosure=a (confine by enclosure at /1), 1 not schedulable, 1 with less than 192 MiB free; none remains"
    );
    i.disks[3].schedulable = true;
    let plan = plan_replace(&layout, &intent, lost, &i, &Options::default()).unwrap();
    assert_eq!(plan.steps.len(), 2);
    assert!(plan.steps[0].in_transition && !plan.steps[1].in_transition);
    assert!(
        plan.steps[0].why.contains("the whole copy moves"),
        "{}",
        plan.steps[0].why
    );
    assert_eq!(plan.steps[0].done_when, DoneWhen::Filled(vec![path("/2")]));
    let between = plan.steps[0].layout.clone().unwrap();
    assert_eq!(
        names(&between, &i),
        ["d3", "d1", "d2", "d4"],
        "what is left of it serves until then"
    );
    let after = carry_out(&plan, Some(&layout), &intent, &[], &mut i)
        .unwrap()
        .unwrap();
    assert_eq!(names(&after, &i), ["d3", "d4"]);
    // At once would lose the copy on d2 while d4 is filled.
    let mut hasty = after.clone();
    hasty.generation = layout.generation.next();
    let mut fresh = i.clone();
    fresh.disks[1].free.clear();
    fresh.disks[1].promised = Some(3);
    fresh.disks[3].promised = Some(0);
    fresh.disks[3].free = vec![layout::UnitRange { start: 0, count: 6 }];
    let Kind::Mirror { copies } = &mut hasty.root.kind else {
        panic!()
    };
    copies[1].generation = hasty.generation;
    hasty.root.generation = hasty.generation;
    let context = Context {
        before: Some(&layout),
        ..Context::new(&fresh)
    };
    let violations = check(&hasty, &intent, &context);
    assert!(
        matches!(
            violations[..],
            [Violation::CopyLost {
                live: 2,
                kept: 1,
                wanted: 2,
                ..
            }]
        ),
        "{violations:?}"
    );
}

#[test]
fn a_copy_that_is_lost_whole_moves_in_one_step() {
    let (mut i, intent, layout) = source_example();
    let lost = fail(&mut i, "d1");
    // Enclosure 74 is full.
    i.disks[4].schedulable = false;
    let extra = disk(7, "78", "78", 4);
    i.disks.push(extra);
    let plan = plan_replace(&layout, &intent, lost, &i, &Options::default()).unwrap();
    let after = carry_out(&plan, Some(&layout), &intent, &[], &mut i)
        .unwrap()
        .unwrap();
    assert_eq!(names(&after, &i), ["d7", "d2", "d3", "d4"]);
}

#[test]
fn what_cannot_be_replaced_is_refused() {
    let mut i = inventory(vec![
        disk(1, "n1", "a", 4),
        disk(2, "n2", "b", 4),
        disk(3, "n3", "c", 4),
    ]);
    let two = intent(4, MIRROR);
    let layout = create(&two, &mut i);
    let options = Options::default();
    let replace = |i: &Inventory, d: u8| plan_replace(&layout, &two, DiskUid([d; 16]), i, &options);
    assert!(matches!(replace(&i, 1), Err(Refusal::NotFailed { .. })));
    fail(&mut i, "d3");
    assert!(matches!(replace(&i, 3), Err(Refusal::NotOnDisk { .. })));
    fail(&mut i, "d1");
    assert_eq!(
        replace(&i, 1).unwrap_err().to_string(),
        "volume 'demo': / needs 1 enclosure with 256 MiB free; none has it. Of 3 disks for /0: 2 failed, \
         1 in enclosure=b, used by /1 (separate by enclosure at /); none remains"
    );
    fail(&mut i, "d2");
    assert_eq!(
        replace(&i, 1).unwrap_err().to_string(),
        "/0 lay on disk 'd1' and has no other whole copy (d1: failed, d2: failed): its content must come from a backup"
    );
}

#[test]
fn growth_stays_on_its_disks_or_goes_on_elsewhere() {
    let mut i = inventory(vec![
        disk(1, "n1", "a", 6),
        disk(2, "n2", "b", 4),
        disk(3, "n2", "b", 9),
    ]);
    i.disks[2].schedulable = false;
    let small = sized(layout::Bytes::mib(200), MIRROR);
    let layout = create(&small, &mut i);
    assert_eq!(names(&layout, &i), ["d1", "d2"]);
    i.disks[2].schedulable = true;
    let options = Options::default();
    // Within the units that it has: nothing is granted.
    let size = layout::Bytes::mib(250);
    let plan = plan_grow(&layout, &small, size, &i, &options).unwrap();
    assert!(plan.steps[0].granted.is_empty());
    let layout = carry_out(&plan, Some(&layout), &sized(size, MIRROR), &[], &mut i)
        .unwrap()
        .unwrap();
    // d2 has no room for the rest: the copy goes on on d3.
    let size = layout::Bytes::mib(330);
    let plan = plan_grow(&layout, &small, size, &i, &options).unwrap();
    let grown = carry_out(&plan, Some(&layout), &sized(size, MIRROR), &[], &mut i)
        .unwrap()
        .unwrap();
    assert_eq!(names(&grown, &i), ["d1", "d2", "d3"]);
    assert!(matches!(
        plan_grow(&grown, &small, units(1), &i, &options),
        Err(Refusal::Shrink { .. })
    ));
    let refusal = plan_grow(&grown, &small, units(50), &i, &options).unwrap_err();
    assert!(refusal.to_string().contains("free"), "{refusal}");
    let other = intent(9, SOURCE);
    assert!(matches!(
        plan_grow(&grown, &other, units(9), &i, &options),
        Err(Refusal::OtherTree { .. })
    ));
}

#[test]
fn stripes_and_concats_grow_without_moving_content() {
    let mut i = inventory((1..7).map(|n| disk(n, "n", "a", 20)).collect());
    for tree in [
        "{stripe: {columns: 3, unit: 2 MiB, of: {extents: {}}}}",
        "{concat: {parts: 2, of: {stripe: {columns: 2, unit: 1 MiB, of: {extents: {}}}}}}",
    ] {
        let small = sized(layout::Bytes::mib(500), tree);
        let mut layout = create(&small, &mut i);
        for mib in [700, 701, 1500] {
            let size = layout::Bytes::mib(mib);
            let plan = plan_grow(&layout, &small, size, &i, &Options::default()).unwrap();
            layout = carry_out(&plan, Some(&layout), &sized(size, tree), &[], &mut i)
                .unwrap()
                .unwrap();
        }
    }
}

#[test]
fn a_thin_volume_is_promised_all_and_granted_little() {
    let mut i = inventory(vec![disk(1, "n1", "a", 10), disk(2, "n2", "b", 10)]);
    let thin = Options {
        grant: Grant::Initial(2),
        ..Options::default()
    };
    let big = intent(8, MIRROR);
    let plan = plan_create(&big, V, &i, &thin).unwrap();
    let layout = carry_out(&plan, None, &big, &[], &mut i).unwrap().unwrap();
    assert_eq!(
        (i.disks[0].free_units(), i.disks[0].promised_units()),
        (8, 8)
    );
    // Eight units are free, but only two are not promised.
    assert!(plan_create(&intent(3, MIRROR), V, &i, &thin).is_err());
    let mut over = i.clone();
    over.overcommit_percent = 150;
    assert!(plan_create(&intent(3, MIRROR), V, &over, &thin).is_ok());
    // All copies get the same, or none does.
    let both = [(path("/0"), 3), (path("/1"), 3)];
    let plan = plan_extend(&layout, &both, &i).unwrap();
    let layout = carry_out(&plan, Some(&layout), &big, &[], &mut i)
        .unwrap()
        .unwrap();
    assert_eq!(
        (
            i.disks[0].free_units(),
            i.disks[1].free_units(),
            i.disks[0].promised_units()
        ),
        (5, 5, 8)
    );
    assert!(matches!(
        plan_extend(&layout, &[(path("/0"), 4)], &i),
        Err(Refusal::GrantedTooMuch { .. })
    ));
    assert!(matches!(
        plan_extend(&layout, &[(path("/"), 1)], &i),
        Err(Refusal::NoLeaf { .. })
    ));
    assert!(matches!(
        plan_extend(&layout, &[(path("/7"), 1)], &i),
        Err(Refusal::NoLeaf { .. })
    ));
    i.disks[1].health = Health::Absent;
    let one_is_away = plan_extend(&layout, &[(path("/0"), 1), (path("/1"), 1)], &i).unwrap_err();
    assert_eq!(
        one_is_away.to_string(),
        "/1 lies on disk 'd2', which is absent: nothing is granted there"
    );
    i.disks[1].health = Health::Ok;
    i.disks[1].free.clear();
    i.disks[1].promised = None;
    assert!(matches!(
        plan_extend(&layout, &[(path("/0"), 1), (path("/1"), 1)], &i),
        Err(Refusal::DiskFull { .. })
    ));
}

#[test]
fn an_explanation_names_disks_and_rules() {
    let mut i = inventory(vec![
        disk(1, "n1", "a", 10),
        disk(2, "n1", "a", 20),
        disk(3, "n2", "b", 20),
        disk(4, "n2", "b", 10),
    ]);
    i.disks[3]
        .attributes
        .insert("media".to_owned(), "hdd".to_owned());
    let tree = "{mirror: {copies: 2, rules: [{separate: {by: enclosure}}], of: {extents: {rules: [{select: {media: ssd}}]}}}}";
    let intent = intent(5, tree);
    let layout = create(&intent, &mut i);
    let text = explain(&layout, &intent, &i).unwrap().to_string();
    assert_eq!(
        text,
        "\
demo, 320 MiB
/ mirror of 2, 320 MiB, on n1 [media=ssd, separate(enclosure)]
│   · separate by enclosure: a | b
├── /0 extents on d2, 320 MiB granted, 320 MiB, on n1 [enclosure=a, media=ssd]
│       · Of 4 disks for /0: 1 in enclosure=b, used by /1 (separate by enclosure at /), 1 not media=ssd (select); d1, d2 remain
│       · d2: the best balance, 960 MiB of 1.2 GiB stay free
└── /1 extents on d3, 320 MiB granted, 320 MiB, on n2 [enclosure=b, media=ssd]
        · Of 4 disks for /1: 2 in enclosure=a, used by /0 (separate by enclosure at /), 1 not media=ssd (select); d3 remains
        · d3: the only disk for it
"
    );
}

#[test]
fn large_clusters_are_planned_within_the_budget() {
    // 16 enclosures of 64 disks, all of different room.
    let disks = (0..1024u32).map(|n| {
        let mut d = disk(
            0,
            &format!("n{}", n / 64),
            &format!("e{}", n / 64),
            15_000 + n * 7 % 500,
        );
        d.uid.0[..4].copy_from_slice(&n.to_le_bytes());
        d.name = format!("d{n:04}");
        d
    });
    let mut i = inventory(disks.collect());
    let tree = "{stripe: {columns: 16, unit: 1 MiB, of: {mirror: {copies: 3, rules: [{separate: {by: enclosure, strong: true}}], of: {extents: {rules: [{confine: {by: enclosure}}]}}}}}}";
    let layout = create(&intent(16 * 40_000, tree), &mut i);
    assert_eq!(
        names(&layout, &i).len(),
        16 * 3 * 3,
        "each copy on three disks"
    );
}
