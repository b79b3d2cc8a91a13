//! The operator: it has the units of all disks to give and remembers every layout for ever.

use crate::rng::Rng;
use crate::swarm::Swarm;
use crate::system::Command;
use engine::format::{BLOCK, Geometry};
use layout::{
    Bytes, DiskUid, Generation, Kind, Layout, Level, NodeName, Object, ObjectPath, UnitRange,
    VolumeUid,
};
use std::collections::{BTreeMap, BTreeSet};

/// What the operator knows of a disk.
#[derive(Clone, Debug)]
struct Disk {
    uid: DiskUid,
    free: BTreeSet<u32>,
}

/// The operator's memory.
#[derive(Clone, Debug)]
pub(crate) struct Operator {
    disks: Vec<Disk>,
    pub layouts: BTreeMap<u16, Layout>,
    pub(super) segment: u64,
    next_volume: u16,
}

/// Blocks of a disk that has as many units as the swarm says.
pub(crate) fn disk_blocks(swarm: &Swarm) -> u64 {
    let g = &swarm.geometry;
    let unit = u64::from(g.unit_segments) * u64::from(g.segment_blocks + 1) + 1;
    let fixed = 16 + 4 * u64::from(g.slots) + u64::from(g.journal_blocks);
    fixed + u64::from(swarm.units + 1) * unit
}

impl Operator {
    pub fn new(swarm: &Swarm, disks: u16) -> Self {
        let size = disk_blocks(swarm) * BLOCK as u64;
        let units = Geometry::plan(size, swarm.geometry).map_or(0, |g| g.units);
        assert!(units >= swarm.units, "the disk holds its units");
        let disk = |i: u16| Disk {
            uid: DiskUid([i as u8 + 1; 16]),
            free: (0..units).collect(),
        };
        Operator {
            disks: (0..disks).map(disk).collect(),
            layouts: Default::default(),
            segment: u64::from(swarm.geometry.segment_blocks) * BLOCK as u64,
            next_volume: 1,
        }
    }

    pub fn disk_uid(&self, disk: u16) -> DiskUid {
        self.disks[usize::from(disk)].uid
    }

    fn take(&mut self, disk: DiskUid, count: u32, rng: &mut Rng) -> Vec<UnitRange> {
        let mut units = Vec::new();
        let Some(disk) = self.disks.iter_mut().find(|d| d.uid == disk) else {
            return units;
        };
        for _ in 0..count {
            let Some(from) = disk.free.last().copied() else {
                break;
            };
            let from = rng.below(u64::from(from) + 1) as u32;
            if let Some(unit) = disk.free.range(from..).next().copied() {
                disk.free.remove(&unit);
                units.push(UnitRange {
                    start: unit,
                    count: 1,
                });
            }
        }
        units
    }

    /// A layout for a new volume of so many segments.
    pub(super) fn place(&mut self, segments: u64, rng: &mut Rng) -> (u16, Layout) {
        let number = self.next_volume;
        self.next_volume += 1;
        let mut uid = [0; 16];
        uid[..2].copy_from_slice(&number.to_le_bytes());
        let root = self.shape(segments, rng);
        let layout = Layout {
            volume: VolumeUid(uid),
            name: format!("volume-{number}"),
            generation: Generation(1),
            size: root.size(),
            root,
        };
        self.layouts.insert(number, layout.clone());
        (number, layout)
    }

    /// A tree that shows at least so many segments: mostly mirrors, where there are disks for them.
    fn shape(&mut self, segments: u64, rng: &mut Rng) -> Object {
        let mut disks: Vec<usize> = (0..self.disks.len()).collect();
        rng.shuffle(&mut disks);
        if disks.len() == 1 {
            return self.leaf(disks[0], segments, rng);
        }
        let mut copies = |o: &mut Self, segments, rng: &mut Rng| {
            let legs = rng.range(2, disks.len().min(3) as u64) as usize;
            let copies = disks[..legs].iter().map(|d| o.leaf(*d, segments, rng));
            let copies = copies.collect();
            disks.rotate_left(1);
            object(Kind::Mirror { copies })
        };
        let unit = Bytes(self.segment);
        match rng.below(10) {
            0..6 => copies(self, segments, rng),
            6 => {
                let parts = vec![copies(self, segments, rng), copies(self, 2, rng)];
                object(Kind::Concat { parts })
            }
            7 => {
                let columns = (0..2)
                    .map(|_| copies(self, segments.div_ceil(2), rng))
                    .collect();
                object(Kind::Stripe { unit, columns })
            }
            8 => {
                let leaf = |d| self.leaf(d, segments.div_ceil(2), rng);
                let columns = disks.into_iter().take(2).map(leaf).collect();
                object(Kind::Stripe { unit, columns })
            }
            _ => {
                let first = vec![
                    self.leaf(disks[0], 2, rng),
                    self.leaf(disks[0], segments, rng),
                ];
                let second = vec![
                    self.leaf(disks[1], segments, rng),
                    self.leaf(disks[1], 2, rng),
                ];
                let copies = [first, second].map(|parts| object(Kind::Concat { parts }));
                object(Kind::Mirror {
                    copies: copies.into(),
                })
            }
        }
    }

    fn leaf(&mut self, disk: usize, segments: u64, rng: &mut Rng) -> Object {
        let disk = self.disks[disk].uid;
        let mut units = self.take(disk, rng.below(3) as u32, rng);
        units.sort_unstable();
        let size = Bytes(segments * self.segment);
        object(Kind::Extents { disk, size, units })
    }

    /// Whether the disk of this name is among those that `which` marks.
    pub fn is_among(&self, uid: DiskUid, which: &[bool]) -> bool {
        self.disks
            .iter()
            .zip(which)
            .any(|(d, marked)| *marked && d.uid == uid)
    }

    /// Whether any part of the volume lies on such a disk.
    pub fn touches(&self, volume: u16, on: impl Fn(DiskUid) -> bool) -> bool {
        let mut touches = false;
        if let Some(layout) = self.layouts.get(&volume) {
            layout.root.visit(ObjectPath::ROOT, &mut |_, object| {
                if let Kind::Extents { disk, .. } = &object.kind {
                    touches |= on(*disk);
                }
            });
        }
        touches
    }

    /// Whether a disk has no more units to give.
    pub fn is_full(&self) -> bool {
        self.disks.iter().any(|d| d.free.is_empty())
    }

    /// Whether a request may be cut in parts that have nothing to do with one another: one may have
    /// been done when another finds no space.
    pub fn is_cut(&self, volume: u16) -> bool {
        let cut = |o: &Object| matches!(o.kind, Kind::Stripe { .. } | Kind::Concat { .. });
        self.layouts.get(&volume).is_some_and(|l| cut(&l.root))
    }

    /// Whether the volume cannot do without such disks: no other copy has the same content.
    pub fn depends(&self, volume: u16, on: impl Fn(DiskUid) -> bool + Copy) -> bool {
        fn of(object: &Object, on: impl Fn(DiskUid) -> bool + Copy) -> bool {
            match &object.kind {
                Kind::Extents { disk, .. } => on(*disk),
                Kind::Mirror { copies } => copies.iter().all(|o| of(o, on)),
                Kind::Stripe { columns: below, .. } | Kind::Concat { parts: below } => {
                    below.iter().any(|o| of(o, on))
                }
            }
        }
        self.layouts.get(&volume).is_some_and(|l| of(&l.root, on))
    }

    pub(super) fn number(&self, uid: VolumeUid) -> Option<u16> {
        let found = self.layouts.iter().find(|(_, l)| l.volume == uid);
        found.map(|(number, _)| *number)
    }

    /// Grants units to a leaf; `None` where the disk is full.
    pub(super) fn grant(
        &mut self,
        volume: u16,
        path: ObjectPath,
        count: u32,
        rng: &mut Rng,
    ) -> Option<Command> {
        let mut layout = self.layouts.get(&volume)?.clone();
        let generation = layout.generation.next();
        let leaf = leaf_at(&mut layout.root, path)?;
        leaf.generation = generation;
        let Kind::Extents { disk, units, .. } = &mut leaf.kind else {
            return None;
        };
        let new = self.take(*disk, count, rng);
        if new.is_empty() {
            return None;
        }
        units.extend(&new);
        units.sort_unstable();
        layout.generation = generation;
        self.layouts.insert(volume, layout.clone());
        let volume = layout.volume;
        Some(Command::Grant {
            volume,
            path,
            layout,
            units: new,
        })
    }

    /// Makes a volume larger by some segments.
    pub(super) fn grow(&mut self, volume: u16, segments: u64) {
        let more = segments * self.segment;
        if let Some(layout) = self.layouts.get_mut(&volume) {
            layout.generation = layout.generation.next();
            enlarge(&mut layout.root, more, layout.generation);
            layout.size = layout.root.size();
        }
    }

    /// Takes back what a deleted volume had.
    pub(super) fn forget(&mut self, volume: u16) {
        let Some(layout) = self.layouts.remove(&volume) else {
            return;
        };
        layout.root.visit(ObjectPath::ROOT, &mut |_, object| {
            if let Kind::Extents { disk, units, .. } = &object.kind
                && let Some(disk) = self.disks.iter_mut().find(|d| d.uid == *disk)
            {
                disk.free.extend(units.iter().flat_map(UnitRange::iter));
            }
        });
    }
}

fn object(kind: Kind) -> Object {
    Object {
        level: Level::Host,
        node: NodeName("node-1".to_owned()),
        generation: Generation(1),
        properties: Vec::new(),
        reasons: Vec::new(),
        kind,
    }
}

/// Each leg and column grows by so much, of parts the last.
fn enlarge(object: &mut Object, more: u64, generation: Generation) {
    object.generation = generation;
    match &mut object.kind {
        Kind::Extents { size, .. } => size.0 += more,
        Kind::Stripe { columns: below, .. } | Kind::Mirror { copies: below } => {
            below.iter_mut().for_each(|o| enlarge(o, more, generation));
        }
        Kind::Concat { parts } => parts.iter_mut().rev().take(1).for_each(|o| {
            enlarge(o, more, generation);
        }),
    }
}

fn leaf_at(root: &mut Object, path: ObjectPath) -> Option<&mut Object> {
    let mut at = root;
    for step in path.steps() {
        let (Kind::Stripe { columns: below, .. }
        | Kind::Mirror { copies: below }
        | Kind::Concat { parts: below }) = &mut at.kind
        else {
            return None;
        };
        at = below.get_mut(usize::from(*step))?;
    }
    Some(at)
}
