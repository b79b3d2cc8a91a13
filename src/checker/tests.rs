//! Every violation once: a layout that is right, and each way of making it wrong.

use super::*;
use layout::intent::Intent;
use layout::{Bytes, DiskUid, Generation, Health, Level, NodeName, UNIT, UnitRange, VolumeUid};

/// Disks d1 and d2 in enclosure a, d3 and d4 in b, of ten units each.
fn inventory() -> Inventory {
    let disk = |n: u8| Disk {
        uid: DiskUid([n; 16]),
        name: format!("d{n}"),
        node: NodeName(if n < 3 { "n1" } else { "n2" }.to_owned()),
        attributes: [
            ("enclosure", if n < 3 { "a" } else { "b" }),
            ("media", "ssd"),
        ]
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .into(),
        units: 10,
        free: vec![UnitRange {
            start: 0,
            count: 10,
        }],
        promised: None,
        health: Health::Ok,
        schedulable: true,
    };
    Inventory {
        overcommit_percent: 100,
        disks: (1..5).map(disk).collect(),
    }
}

fn intent() -> Intent {
    let text = r#"{"apiVersion": "stratovol.io/v1alpha1", "kind": "VolumeIntent", "metadata": {"name": "v"}, "spec": {"size": 268435456,
        "tree": {"stripe": {"columns": 2, "unit": 1048576, "of": {"mirror": {"copies": 2,
            "rules": [{"separate": {"by": "enclosure", "strong": true}}],
            "of": {"extents": {"rules": [{"confine": {"by": "enclosure"}}, {"select": {"media": "ssd"}}]}}}}}}}}"#;
    serde_json::from_str(text).unwrap()
}

fn object(level: Level, node: &str, kind: Kind) -> Object {
    let (properties, reasons) = (vec![], vec![]);
    let node = NodeName(node.to_owned());
    Object {
        level,
        node,
        generation: Generation(1),
        properties,
        reasons,
        kind,
    }
}

fn leaf(disk: u8, start: u32, count: u32) -> Object {
    let units = vec![UnitRange { start, count }];
    let size = Bytes(u64::from(count) * UNIT);
    let kind = Kind::Extents {
        disk: DiskUid([disk; 16]),
        size,
        units,
    };
    object(Level::Storage, if disk < 3 { "n1" } else { "n2" }, kind)
}

fn host(kind: Kind) -> Object {
    object(Level::Host, "n1", kind)
}

/// Two mirrors of two units: d1 and d3, d2 and d4.
fn right() -> Layout {
    let mirror = |x, y| {
        host(Kind::Mirror {
            copies: vec![leaf(x, 0, 2), leaf(y, 0, 2)],
        })
    };
    let columns = vec![mirror(1, 3), mirror(2, 4)];
    let root = host(Kind::Stripe {
        unit: Bytes::mib(1),
        columns,
    });
    let (volume, name) = (VolumeUid([7; 16]), "v".to_owned());
    Layout {
        volume,
        name,
        generation: Generation(1),
        size: Bytes(4 * UNIT),
        root,
    }
}

fn at<'a>(layout: &'a mut Layout, path: &[usize]) -> &'a mut Object {
    let mut here = &mut layout.root;
    for step in path {
        here = match &mut here.kind {
            Kind::Stripe { columns: c, .. }
            | Kind::Mirror { copies: c }
            | Kind::Concat { parts: c } => &mut c[*step],
            Kind::Extents { .. } => panic!("no such path"),
        };
    }
    here
}

fn units<'a>(layout: &'a mut Layout, path: &[usize]) -> &'a mut Vec<UnitRange> {
    match &mut at(layout, path).kind {
        Kind::Extents { units, .. } => units,
        _ => panic!("no leaf"),
    }
}

#[test]
fn a_right_layout_satisfies() {
    assert_eq!(check(&right(), &intent(), &Context::new(&inventory())), []);
}

/// Changes something, and what the checker then says.
type Case = (fn(&mut Layout, &mut Inventory), &'static str);

/// Shapes, sizes, levels.
const SHAPES: &[Case] = &[
    (
        |l, _| *at(l, &[0]) = leaf(1, 0, 2),
        "/0 is extents, the intent asks for mirror",
    ),
    (
        |l, _| *at(l, &[0, 0]) = host(Kind::Concat { parts: vec![] }),
        "/0.0 is concat",
    ),
    (
        |l, _| {
            l.root.kind = Kind::Stripe {
                unit: Bytes::mib(2),
                columns: right().root.children().to_vec(),
            }
        },
        "stripe unit 2 MiB, the intent asks for 1 MiB",
    ),
    (
        |l, _| {
            l.root.kind = Kind::Stripe {
                unit: Bytes::mib(1),
                columns: right().root.children()[..1].to_vec(),
            }
        },
        "/ has 1 children, the intent asks for 2",
    ),
    (
        |l, _| {
            at(l, &[0]).kind = Kind::Mirror {
                copies: [1, 2, 3].map(|d| leaf(d, 4, 2)).to_vec(),
            }
        },
        "/0 has 3 children, the intent asks for 2",
    ),
    (
        |l, _| {
            at(l, &[0]).kind = Kind::Mirror {
                copies: vec![leaf(1, 0, 2), leaf(3, 0, 3)],
            }
        },
        "/0: its children are of different size",
    ),
    (
        |l, _| {
            if let Kind::Extents { size, .. } = &mut at(l, &[0, 0]).kind {
                size.0 -= 4096
            }
        },
        "/0.0 shows 128.0 MiB, which is no multiple of 1 MiB",
    ),
    (
        |l, _| {
            if let Kind::Extents { size, .. } = &mut at(l, &[0, 0]).kind {
                size.0 = !0xfffff
            }
        },
        "/0: its children are of different size",
    ),
    (
        |l, _| l.size = Bytes(8 * UNIT),
        "the volume shows 512 MiB, the intent asks for 256 MiB",
    ),
    (
        |l, _| at(l, &[0, 0]).node.0 = "n2".to_owned(),
        "/0.0 is evaluated by n2 at level Storage",
    ),
    (
        |l, _| at(l, &[0, 0]).level = Level::Host,
        "/0.0 is evaluated by n1 at level Host",
    ),
    (
        |l, _| at(l, &[1]).node.0 = "n2".to_owned(),
        "/1 is evaluated by n2 at level Host",
    ),
    (
        |l, _| l.root.level = Level::Interconnect,
        "/ is evaluated by n1 at level Interconnect",
    ),
    (
        |l, _| at(l, &[0]).generation = Generation(2),
        "/0 has generation 2, which must be 1",
    ),
];

/// The intent's rules.
const RULES: &[Case] = &[
    (
        |l, _| *at(l, &[0, 1]) = leaf(2, 4, 2),
        "/0: 'strong separate by enclosure' is broken by its children 0 and 1: enclosure=a",
    ),
    (
        |l, _| *at(l, &[0, 1]) = leaf(1, 4, 2),
        "'copies never share a disk'",
    ),
    (
        |l, _| {
            *at(l, &[0, 1]) = host(Kind::Concat {
                parts: vec![leaf(3, 0, 1), leaf(2, 4, 1)],
            })
        },
        "/0.1: 'confine by enclosure' is broken by disk 'd2'",
    ),
    (
        |_, i| {
            drop(
                i.disks[3]
                    .attributes
                    .insert("media".to_owned(), "hdd".to_owned()),
            )
        },
        "/1.1: 'select media=ssd' is broken by disk 'd4'",
    ),
    (
        |_, i| drop(i.disks[3].attributes.remove("enclosure")),
        "/1.1: 'confine by enclosure' is broken by disk 'd4'",
    ),
    (
        |_, i| drop(i.disks.pop()),
        "/1.1 lies on a disk that the inventory does not have",
    ),
];

/// Disks and units.
const SPACE: &[Case] = &[
    (
        |_, i| i.disks[0].health = Health::Absent,
        "/0.0 newly lies on disk 'd1', which is absent",
    ),
    (
        |_, i| i.disks[0].schedulable = false,
        "/0.0 newly lies on disk 'd1', which is ok and schedulable: false",
    ),
    (
        |l, _| units(l, &[0, 0])[0].count = 3,
        "/0.0 has 3 units granted, more than",
    ),
    (
        |l, _| units(l, &[0, 0])[0].count = 0,
        "are empty or out of order at 0",
    ),
    (
        |l, _| *units(l, &[0, 0]) = [1, 0].map(|start| UnitRange { start, count: 1 }).to_vec(),
        "out of order at 0",
    ),
    (
        |l, _| units(l, &[0, 0])[0].start = 9,
        "/0.0: unit 10 is beyond the end of disk 'd1'",
    ),
    (
        |l, _| units(l, &[0, 0])[0].start = u32::MAX,
        "beyond the end of disk 'd1'",
    ),
    (
        |_, i| i.disks[0].free[0] = UnitRange { start: 1, count: 9 },
        "/0.0: unit 0 of disk 'd1' is not free",
    ),
    (
        |l, _| *at(l, &[1, 0]) = leaf(1, 1, 2),
        "/1.0: unit 1 of disk 'd1' is granted twice",
    ),
    (
        |_, i| i.disks[0].promised = Some(9),
        "disk 'd1' would have 11 units promised; 10 may be",
    ),
    (|_, i| i.overcommit_percent = 0, "nothing can be judged"),
];

#[test]
fn each_mistake_is_found() {
    for (change, says) in SHAPES.iter().chain(RULES).chain(SPACE) {
        let (mut layout, mut inventory) = (right(), inventory());
        change(&mut layout, &mut inventory);
        let found = check(&layout, &intent(), &Context::new(&inventory));
        let text: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert!(text.iter().any(|t| t.contains(says)), "{says}: {text:?}");
    }
}

#[test]
fn other_volumes_units_are_theirs() {
    let other = Layout {
        volume: VolumeUid([8; 16]),
        name: "w".to_owned(),
        ..right()
    };
    let (i, others) = (inventory(), [other]);
    let found = check(
        &right(),
        &intent(),
        &Context {
            others: &others,
            ..Context::new(&i)
        },
    );
    assert_eq!(found.len(), 4);
    assert_eq!(
        found[0].to_string(),
        "/0.0: unit 0 of disk 'd1' is granted to volume 'w'"
    );
}

/// The inventory in which `right` has its units.
fn taken() -> Inventory {
    let mut inventory = inventory();
    inventory
        .disks
        .iter_mut()
        .for_each(|d| d.take(&[UnitRange { start: 0, count: 2 }]).unwrap());
    inventory
}

#[test]
fn a_layout_that_stands_is_judged_against_itself() {
    let (layout, mut inventory) = (right(), taken());
    inventory.disks[0].health = Health::Failed;
    let context = Context {
        before: Some(&layout),
        ..Context::new(&inventory)
    };
    assert_eq!(check(&layout, &intent(), &context), []);
}

#[test]
fn each_mistake_of_a_change_is_found() {
    let cases: &[Case] = &[
        (
            |l, _| (l.generation, l.name) = (Generation(1), "w".to_owned()),
            "the layout has generation 1, the one before has 1",
        ),
        (|l, _| l.volume = VolumeUid([9; 16]), "of another volume"),
        (
            |l, _| *at(l, &[0, 0]) = leaf(2, 4, 2),
            "/0.0 has generation 1, which must be 2",
        ),
        (
            |l, _| at(l, &[0, 0]).generation = Generation(2),
            "/0.0 has generation 2, which must be 1",
        ),
        // A copy goes though it serves.
        (
            |l, _| {
                *at(l, &[0, 0]) = leaf(2, 4, 2);
                at(l, &[0, 0]).generation = Generation(2);
            },
            "at byte 0 2 copies served before, 1 would after; 2 must",
        ),
        // The columns change places: all is there, but under other addresses.
        (
            |l, _| {
                if let Kind::Stripe { columns, .. } = &mut l.root.kind {
                    columns.swap(0, 1);
                    columns
                        .iter_mut()
                        .for_each(|c| c.generation = Generation(2));
                    if let Kind::Mirror { copies } = &mut columns[0].kind {
                        copies.iter_mut().for_each(|c| c.generation = Generation(2))
                    }
                    if let Kind::Mirror { copies } = &mut columns[1].kind {
                        copies.iter_mut().for_each(|c| c.generation = Generation(2))
                    }
                }
            },
            "at byte 0 2 copies served before, 0 would after; 2 must",
        ),
    ];
    for (change, says) in cases {
        let (before, mut layout, mut inventory) = (right(), right(), taken());
        layout.generation = Generation(2);
        change(&mut layout, &mut inventory);
        let context = Context {
            before: Some(&before),
            ..Context::new(&inventory)
        };
        let found = check(&layout, &intent(), &context);
        let text: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert!(text.iter().any(|t| t.contains(says)), "{says}: {text:?}");
    }
}

#[test]
fn a_lost_copy_may_be_replaced() {
    let (before, mut layout, mut inventory) = (right(), right(), taken());
    layout.generation = Generation(2);
    *at(&mut layout, &[0, 0]) = leaf(2, 4, 2);
    at(&mut layout, &[0, 0]).generation = Generation(2);
    inventory.disks[0].health = Health::Failed;
    let context = Context {
        before: Some(&before),
        ..Context::new(&inventory)
    };
    assert_eq!(check(&layout, &intent(), &context), []);
}

#[test]
fn a_layout_that_cannot_be_true_is_judged_without_a_panic() {
    let deep = (0..300).fold(leaf(1, 0, 1), |o, _| host(Kind::Concat { parts: vec![o] }));
    let wide = host(Kind::Concat {
        parts: vec![leaf(1, 0, 1); 300],
    });
    let huge = |_| {
        let kind = Kind::Extents {
            disk: DiskUid([1; 16]),
            size: Bytes(u64::MAX),
            units: vec![
                UnitRange {
                    start: u32::MAX,
                    count: u32::MAX
                };
                3
            ],
        };
        object(Level::Storage, "n1", kind)
    };
    let huge = host(Kind::Stripe {
        unit: Bytes(0),
        columns: (0..2).map(huge).collect(),
    });
    for root in [deep, wide, huge] {
        let layout = Layout { root, ..right() };
        let i = inventory();
        assert!(!check(&layout, &intent(), &Context::new(&i)).is_empty());
        let context = Context {
            before: Some(&layout),
            ..Context::new(&i)
        };
        check(&right(), &intent(), &context);
    }
}
