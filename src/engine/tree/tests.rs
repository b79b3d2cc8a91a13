//! Cutting against the plainest evaluation there is, block by block; and what is refused.

use super::*;
use layout::{Level, NodeName, VolumeUid};

const S: u64 = 4;

fn make(kind: Kind) -> Object {
    Object {
        level: Level::Host,
        node: NodeName::default(),
        generation: Generation(1),
        properties: Vec::new(),
        reasons: Vec::new(),
        kind,
    }
}
fn leaf(segments: u64) -> Object {
    let size = Bytes(segments * S * BLOCK);
    let (disk, units) = (DiskUid([1; 16]), Vec::new());
    make(Kind::Extents { disk, size, units })
}
fn mirror(copies: Vec<Object>) -> Object {
    make(Kind::Mirror { copies })
}
fn concat(parts: Vec<Object>) -> Object {
    make(Kind::Concat { parts })
}
fn stripe(segments: u64, columns: Vec<Object>) -> Object {
    let unit = Bytes(segments * S * BLOCK);
    make(Kind::Stripe { unit, columns })
}
fn build(root: Object) -> Result<Tree, TreeError> {
    let layout = Layout {
        volume: VolumeUid([1; 16]),
        name: "t".into(),
        generation: Generation(1),
        size: root.size(),
        root,
    };
    Tree::build(&layout, S as u32)
}

/// Where one block is: down to leaves and mirrors.
fn plain(o: &Object, block: u64, at: ObjectPath) -> (ObjectPath, u64) {
    let child = |i: usize| at.child(i as u8).unwrap();
    match &o.kind {
        Kind::Extents { .. } | Kind::Mirror { .. } => (at, block),
        Kind::Concat { parts } => {
            let mut block = block;
            for (i, p) in parts.iter().enumerate() {
                let blocks = p.size().0 / BLOCK;
                if block < blocks {
                    return plain(p, block, child(i));
                }
                block -= blocks;
            }
            panic!("past the end");
        }
        Kind::Stripe { unit, columns } => {
            let (unit, n) = (unit.0 / BLOCK, columns.len() as u64);
            let (row, in_row) = (block / (unit * n), block % (unit * n));
            let column = (in_row / unit) as usize;
            plain(&columns[column], row * unit + in_row % unit, child(column))
        }
    }
}

#[test]
fn pieces_are_where_the_plain_evaluation_says() {
    let roots = [
        leaf(5),
        stripe(1, vec![leaf(3), leaf(3)]),
        stripe(2, vec![leaf(4), leaf(4), leaf(4)]),
        concat(vec![leaf(1), leaf(3), stripe(1, vec![leaf(2), leaf(2)])]),
        stripe(
            1,
            vec![
                mirror(vec![leaf(3), leaf(3)]),
                concat(vec![leaf(2), leaf(1)]),
            ],
        ),
    ];
    for root in roots {
        let tree = build(root.clone()).unwrap();
        let path = |p: Part| match p {
            Part::Leaf(l) => tree.leaves()[l as usize].path,
            Part::Mirror(m) => tree.mirrors()[m as usize].path,
        };
        for start in 0..tree.blocks() {
            for count in 1..=tree.blocks() - start {
                let expected: Vec<_> = (start..start + count)
                    .map(|b| plain(&root, b, ObjectPath::ROOT))
                    .collect();
                let mut got = Vec::new();
                tree.split(start, count, &mut |p| {
                    assert_eq!(p.at, got.len() as u64);
                    got.extend((p.start..p.start + p.count).map(|b| (path(p.part), b)));
                });
                assert_eq!(got, expected);
                let mut merged = Vec::new();
                let (mut pieces, mut seen) = (0, std::collections::BTreeSet::new());
                tree.split_merged(start, count, &mut |p| {
                    pieces += 1;
                    seen.insert(path(p.part));
                    merged.extend((p.start..p.start + p.count).map(|b| (path(p.part), b)));
                });
                let mut expected = expected;
                expected.sort_unstable();
                merged.sort_unstable();
                assert_eq!(merged, expected);
                assert_eq!(pieces, seen.len(), "one piece for each part");
            }
        }
    }
}

#[test]
fn legs_of_a_mirror_are_cut_each_its_own_way() {
    let root = mirror(vec![
        leaf(4),
        concat(vec![leaf(1), leaf(3)]),
        stripe(1, vec![leaf(2), leaf(2)]),
    ]);
    let tree = build(root).unwrap();
    let pieces = |leg| {
        let mut all = Vec::new();
        tree.leg(0, leg, 2, 6, &mut |leaf, p| {
            all.push((leaf, p.start, p.count, p.at))
        });
        all
    };
    assert_eq!(pieces(0), [(0, 2, 6, 0)]);
    assert_eq!(pieces(1), [(1, 2, 2, 0), (2, 0, 4, 2)]);
    assert_eq!(pieces(2), [(3, 2, 2, 0), (4, 0, 4, 2)]);
}

#[test]
fn what_cannot_be_is_refused_by_name() {
    let pair = || mirror(vec![leaf(1), leaf(1)]);
    let path = |t: &str| t.parse::<ObjectPath>().unwrap();
    assert_eq!(
        build(mirror(vec![pair(), pair()])).unwrap_err(),
        TreeError::NestedMirror { path: path("/0") }
    );
    assert!(matches!(
        build(mirror(vec![leaf(1), leaf(2)])).unwrap_err(),
        TreeError::Unequal { child: 1, .. }
    ));
    assert!(matches!(
        build(concat(vec![])).unwrap_err(),
        TreeError::Multiple { .. }
    ));
    assert!(matches!(
        build(mirror((0..9).map(|_| leaf(1)).collect())).unwrap_err(),
        TreeError::Children {
            count: 9,
            most: 8,
            ..
        }
    ));
    assert!(matches!(
        build(stripe(2, vec![leaf(3), leaf(3)])).unwrap_err(),
        TreeError::Multiple { .. }
    ));
    let mut small = leaf(1);
    small.kind = Kind::Extents {
        disk: DiskUid([1; 16]),
        size: Bytes(BLOCK),
        units: Vec::new(),
    };
    assert!(matches!(
        build(small).unwrap_err(),
        TreeError::Multiple { .. }
    ));
    let mut deep = leaf(1);
    for _ in 0..8 {
        deep = concat(vec![deep]);
    }
    assert!(matches!(
        build(deep).unwrap_err(),
        TreeError::TooDeep { .. }
    ));
    let mut layout = Layout {
        volume: VolumeUid([1; 16]),
        name: "t".into(),
        generation: Generation(1),
        size: Bytes(2 * S * BLOCK),
        root: leaf(1),
    };
    assert!(matches!(
        Tree::build(&layout, S as u32).unwrap_err(),
        TreeError::VolumeSize { .. }
    ));
    layout.size = Bytes(5000);
    assert!(matches!(
        Tree::build(&layout, S as u32).unwrap_err(),
        TreeError::Multiple { .. }
    ));
}

#[test]
fn a_new_layout_moves_nothing() {
    let old = build(concat(vec![leaf(2), leaf(2)])).unwrap();
    for (root, fits) in [
        (concat(vec![leaf(2), leaf(3)]), true),
        (concat(vec![leaf(2), leaf(2), leaf(1)]), true),
        (concat(vec![leaf(3), leaf(2)]), false),
        (concat(vec![leaf(2), leaf(3), leaf(1)]), true),
        (leaf(4), false),
        (concat(vec![leaf(2), leaf(1)]), false),
    ] {
        let new = build(root.clone()).unwrap();
        assert_eq!(new.check_extends(&old).is_ok(), fits, "{root:?}");
    }
}
