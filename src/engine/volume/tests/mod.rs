//! The volume against leaves in memory: random requests, failures and crashes, and a model.

mod fake;
mod model;
mod random;
mod rules;

use super::{Ctx, MirrorStatus, Scratch, Volume, VolumeStatus};
use crate::io::{CommandError, CommandId, DiskIndex, Effect, Effects, IoError, Op, ReqId};
use crate::leaf::LeafId;
use crate::planted::Planted;
use crate::tree;
use fake::{Fake, FakeLeaf, Rng, SEGMENT_BLOCKS};
use layout::{Bytes, DiskUid, Generation, Kind, Layout, Level, NodeName, Object, VolumeUid};
use std::collections::BTreeMap;

pub(super) const SEGMENT: u64 = SEGMENT_BLOCKS as u64 * 4096;

/// Shapes of trees, written as data; disks count from 0 in the order of the leaves.
#[derive(Clone, Debug)]
pub(super) enum Shape {
    /// So many segments.
    Leaf(u64),
    Mirror(Vec<Shape>),
    Stripe(Vec<Shape>),
    Concat(Vec<Shape>),
}

pub(super) fn object(shape: &Shape, disk: &mut u8) -> Object {
    let mut all = |s: &[Shape]| s.iter().map(|s| object(s, disk)).collect();
    let kind = match shape {
        Shape::Mirror(s) => Kind::Mirror { copies: all(s) },
        Shape::Concat(s) => Kind::Concat { parts: all(s) },
        Shape::Stripe(s) => Kind::Stripe {
            unit: Bytes(SEGMENT),
            columns: all(s),
        },
        Shape::Leaf(segments) => {
            *disk += 1;
            Kind::Extents {
                disk: DiskUid([*disk; 16]),
                size: Bytes(segments * SEGMENT),
                units: Vec::new(),
            }
        }
    };
    Object {
        level: Level::Host,
        node: NodeName::default(),
        generation: Generation(1),
        properties: Vec::new(),
        reasons: Vec::new(),
        kind,
    }
}

pub(super) fn layout(shape: &Shape) -> Layout {
    let root = object(shape, &mut 0);
    Layout {
        volume: VolumeUid([9; 16]),
        name: "v".into(),
        generation: Generation(1),
        size: root.size(),
        root,
    }
}

/// A volume with its fake disks; disk `n` of a shape is index `n - 1`.
pub(super) struct Rig {
    pub(super) layout: Layout,
    pub(super) fake: Fake,
    pub(super) volume: Option<Volume>,
    pub(super) out: Effects,
    scratch: Scratch,
    pub(super) planted: Planted,
    pub(super) now: u64,
    /// Answers that were not looked at.
    pub(super) replies: BTreeMap<ReqId, Result<(), IoError>>,
    pub(super) notices: Vec<crate::io::Notice>,
    pub(super) answers: Vec<CommandId>,
    next_req: u64,
    next_disk: u8,
}

impl Rig {
    pub(super) fn new(shape: &Shape, region_segments: u32) -> Rig {
        let mut rig = Rig {
            layout: layout(shape),
            fake: Fake::default(),
            volume: None,
            out: Vec::new(),
            scratch: Scratch::new(3),
            planted: Planted::default(),
            now: 1,
            replies: BTreeMap::new(),
            notices: Vec::new(),
            answers: Vec::new(),
            next_req: 1,
            next_disk: 100,
        };
        rig.make_leaves(region_segments);
        rig.attach().unwrap();
        rig
    }

    /// Makes the objects of the layout that are not there.
    pub(super) fn make_leaves(&mut self, region_segments: u32) {
        let tree = tree::Tree::build(&self.layout, SEGMENT_BLOCKS).unwrap();
        for leaf in tree.leaves() {
            let at = u16::from(leaf.disk.0[0]) - 1;
            let segments = (leaf.blocks / u64::from(SEGMENT_BLOCKS)) as u32;
            let new = || FakeLeaf::new(segments, region_segments);
            self.fake.leaves.entry((at, 0)).or_insert_with(new);
        }
    }

    pub(super) fn with<T>(&mut self, f: impl FnOnce(&mut Volume, &mut Ctx<'_, Fake>) -> T) -> T {
        let mut volume = self.volume.take().unwrap();
        let result = f(
            &mut volume,
            &mut Ctx {
                now: self.now,
                leaves: &mut self.fake,
                out: &mut self.out,
                scratch: &mut self.scratch,
                planted: self.planted,
            },
        );
        if self.scratch.turn().is_some() {
            volume.resume(&mut Ctx {
                now: self.now,
                leaves: &mut self.fake,
                out: &mut self.out,
                scratch: &mut self.scratch,
                planted: self.planted,
            });
        }
        self.volume = Some(volume);
        for effect in self.out.drain(..) {
            match effect {
                Effect::Reply { req, result } => {
                    assert!(self.replies.insert(req, result).is_none(), "answered twice");
                }
                Effect::Notice(n) => self.notices.push(n),
                Effect::Answer { command, result } => {
                    result.unwrap();
                    self.answers.push(command);
                }
                other => panic!("a volume does not do {other:?}"),
            }
        }
        result
    }

    pub(super) fn layout_disks(&self) -> Vec<u16> {
        let tree = tree::Tree::build(&self.layout, SEGMENT_BLOCKS).unwrap();
        tree.leaves()
            .iter()
            .map(|l| u16::from(l.disk.0[0]) - 1)
            .collect()
    }

    pub(super) fn attach(&mut self) -> Result<(), CommandError> {
        self.scratch = Scratch::new(3);
        let mut cx = Ctx {
            now: self.now,
            leaves: &mut self.fake,
            out: &mut self.out,
            scratch: &mut self.scratch,
            planted: self.planted,
        };
        let v = Volume::attach(&self.layout, SEGMENT_BLOCKS, 5 << 48, &mut lookup, &mut cx)?;
        self.volume = Some(v);
        self.with(|_, _| ());
        Ok(())
    }

    /// Puts the leg's disk away for a new, empty one, and tells the volume unless it is detached.
    pub(super) fn replace(
        &mut self,
        leaf: usize,
        region_segments: u32,
    ) -> Result<(), CommandError> {
        let before = self.layout.clone();
        self.next_disk += 1;
        let new = DiskUid([self.next_disk; 16]);
        set_disk(&mut self.layout.root, &mut (leaf as i64), new);
        self.make_leaves(region_segments);
        let layout = self.layout.clone();
        let done = self.with(|v, cx| v.relayout(&layout, &mut lookup, cx));
        if done.is_err() {
            self.layout = before;
        }
        done
    }

    pub(super) fn submit(&mut self, op: Op) -> ReqId {
        let req = ReqId(self.next_req);
        self.next_req += 1;
        if let Op::Read { len, .. } = op {
            // What is not overwritten is seen.
            self.fake
                .buffers
                .insert(req, vec![Some(u64::MAX); (len / 4096) as usize]);
        }
        self.with(|v, cx| v.submit(req, op, cx));
        req
    }

    /// Ends a call that is under way.
    pub(super) fn end(&mut self, index: usize) {
        let done = self.fake.end(index);
        self.with(|v, cx| v.done(done, cx));
    }

    /// Ends calls, oldest first, until the request is answered.
    pub(super) fn run(&mut self, req: ReqId) -> Result<(), IoError> {
        while !self.replies.contains_key(&req) {
            assert!(!self.fake.pending.is_empty(), "{req:?} hangs");
            self.end(0);
        }
        self.replies.remove(&req).unwrap()
    }

    /// Ends calls until there are none.
    pub(super) fn settle(&mut self) {
        let mut left = 200_000;
        while !self.fake.pending.is_empty() {
            self.end(0);
            left -= 1;
            assert!(left > 0, "never at rest");
        }
    }

    /// Every copy holds the same, where the volume says so.
    pub(super) fn check_legs(&self) {
        let v = self.volume.as_ref().unwrap();
        for (index, m) in v.mirrors.iter().enumerate() {
            let index = index as u16;
            if m.lost || !m.regions.differ.is_empty() {
                continue;
            }
            let live: Vec<u8> = super::mirror::each(m.live()).collect();
            for block in 0..v.tree.mirrors()[index as usize].blocks {
                let mut seen = None;
                for leg in &live {
                    let content = self.on_leg(index, *leg, block);
                    let first = *seen.get_or_insert(content);
                    assert!(
                        content == first,
                        "mirror {index} leg {leg} block {block} differs"
                    );
                }
            }
        }
    }

    fn on_leg(&self, mirror: u16, leg: u8, block: u64) -> Option<u64> {
        let v = self.volume.as_ref().unwrap();
        let mut content = None;
        v.tree.leg(mirror, leg, block, 1, &mut |leaf, p| {
            let leaf = v.leaves[leaf as usize].unwrap();
            content = self.fake.leaves[&(leaf.disk.0, leaf.slot)].now.blocks[p.start as usize];
        });
        content
    }
}

pub(super) fn lookup(leaf: &tree::Leaf) -> Result<LeafId, CommandError> {
    Ok(LeafId {
        disk: DiskIndex(u16::from(leaf.disk.0[0]) - 1),
        slot: 0,
    })
}

fn set_disk(object: &mut Object, skip: &mut i64, new: DiskUid) {
    match &mut object.kind {
        Kind::Extents { disk, .. } => {
            if *skip == 0 {
                *disk = new;
            }
            *skip -= 1;
        }
        Kind::Mirror { copies: c }
        | Kind::Concat { parts: c }
        | Kind::Stripe { columns: c, .. } => {
            c.iter_mut().for_each(|c| set_disk(c, skip, new));
        }
    }
}

pub(super) fn pair() -> Shape {
    Shape::Mirror(vec![Shape::Leaf(16), Shape::Leaf(16)])
}
