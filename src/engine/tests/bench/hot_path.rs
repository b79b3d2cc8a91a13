//! What a request costs in the engine itself, and what a mapped TiB costs in memory: the disk's
//! I/Os end at once, so that nothing but the engine runs.
//!
//! `cargo bench -p engine --bench hot_path`: nanoseconds a request, the median of rounds, from
//! submit to reply.

#![expect(clippy::unwrap_used, reason = "nothing but a wrong bench fails here")]

use engine::disk::{Disk, MemDisk};
use engine::format::geometry::GeometryChoice;
use engine::io::{CommandId, Completion, DiskIndex, Effect, Effects, IoKind, Op, ReqId, VolumeId};
use engine::leaf::LegsRecord;
use engine::node::{Config, Engine};
use engine::store::{Config as StoreConfig, Format, Grant, Store, format};
use layout::{
    Bytes, DiskUid, Generation, Kind, Layout, Level, NodeName, Object, ObjectPath, SEGMENT,
    VolumeUid,
};
use std::hint::black_box;
use std::time::Instant;

const VOLUME: VolumeId = VolumeId(1);
const UID: VolumeUid = VolumeUid([7; 16]);
/// Segments of a TiB.
const TIB: u32 = 1 << 20;
const ROUNDS: usize = 15;
const REQUESTS: u64 = 100_000;

struct Node {
    engine: Engine,
    disks: Vec<MemDisk>,
    out: Effects,
    more: Effects,
    next: u64,
    replies: u64,
}

fn uid(disk: usize) -> DiskUid {
    DiskUid([disk as u8 + 1; 16])
}

fn object(kind: Kind) -> Object {
    Object {
        level: Level::Host,
        node: NodeName::default(),
        generation: Generation(1),
        properties: Vec::new(),
        reasons: Vec::new(),
        kind,
    }
}

impl Node {
    /// A volume of so many segments on so many disks: a plain leaf, or a mirror.
    fn new(disks: usize, segments: u32, choice: GeometryChoice) -> Node {
        let mut node = Node {
            engine: Engine::new(Config::default()),
            disks: Vec::new(),
            out: Vec::new(),
            more: Vec::new(),
            next: 1,
            replies: 0,
        };
        let size = Bytes(u64::from(segments) * SEGMENT);
        let mut copies = Vec::new();
        for d in 0..disks {
            let leg = ObjectPath::ROOT.child(d as u8).unwrap();
            let path = if disks == 1 { ObjectPath::ROOT } else { leg };
            node.add_disk(d, size.0 + size.0 / 16 + (1 << 30), choice);
            node.grant(d, path, segments, choice);
            let (disk, units) = (uid(d), Vec::new());
            copies.push(object(Kind::Extents { disk, size, units }));
        }
        let root = match copies.len() {
            1 => copies.remove(0),
            _ => object(Kind::Mirror { copies }),
        };
        let layout = Layout {
            volume: UID,
            name: "v".into(),
            generation: Generation(1),
            size,
            root,
        };
        let attached = node.engine.attach_volume(1, VOLUME, &layout, &mut node.out);
        attached.unwrap();
        node.carry_out();
        node
    }

    fn add_disk(&mut self, d: usize, size: u64, choice: GeometryChoice) {
        let mut disk = MemDisk::new(size);
        let new = Format {
            disk: uid(d),
            label: "bench".into(),
            created: 0,
            choice,
        };
        format(&mut disk, &new).unwrap();
        let store = Store::open(&mut disk, Some(uid(d)), &[], StoreConfig::default()).unwrap();
        self.disks.push(disk);
        let index = DiskIndex(d as u16);
        self.engine.attach_disk(1, index, store, &mut self.out);
        self.carry_out();
    }

    fn grant(&mut self, d: usize, path: ObjectPath, segments: u32, choice: GeometryChoice) {
        let grant = Grant {
            volume: UID,
            path,
            generation: Generation(1),
            segments,
            units: (0..segments.div_ceil(choice.unit_segments)).collect(),
            owner: Vec::new(),
            legs: LegsRecord::default(),
        };
        let granted = self
            .engine
            .grant(1, uid(d), grant, CommandId(1), &mut self.out);
        granted.unwrap();
        self.carry_out();
    }

    /// Ends every I/O at once. Of the content only metadata is kept.
    fn carry_out(&mut self) {
        while !self.out.is_empty() {
            for effect in self.out.drain(..) {
                match effect {
                    Effect::Io {
                        id,
                        disk,
                        offset,
                        kind,
                    } => {
                        let disk = &mut self.disks[usize::from(disk.0)];
                        let mut block = Vec::new();
                        let end = match kind {
                            IoKind::ReadMeta { len } => {
                                block.resize(len as usize, 0);
                                disk.read(offset, &mut block).unwrap();
                                Completion::Bytes(&block)
                            }
                            IoKind::WriteMeta { bytes, .. } => {
                                disk.write(offset, &bytes).unwrap();
                                Completion::Done
                            }
                            IoKind::Read { .. } | IoKind::Write { .. } | IoKind::Flush => {
                                Completion::Done
                            }
                        };
                        self.engine.complete(1, id, end, &mut self.more);
                    }
                    Effect::Reply { result, .. } => {
                        result.unwrap();
                        self.replies += 1;
                    }
                    Effect::Answer { result, .. } => result.unwrap(),
                    other => drop(black_box(other)),
                }
            }
            std::mem::swap(&mut self.out, &mut self.more);
        }
    }

    fn ask(&mut self, op: Op) {
        let req = ReqId(self.next);
        self.next += 1;
        self.engine.submit(1, VOLUME, req, op, &mut self.out);
        self.carry_out();
    }

    /// Maps every segment by a whole write, in an order that leaves no two neighbours side by side
    /// on the disk, so that no range of entries can stand for another.
    fn map_all(&mut self, segments: u32) {
        for i in 0..u64::from(segments) {
            let segment = i * 7919 % u64::from(segments);
            let (off, len, fua) = (segment * SEGMENT, SEGMENT as u32, false);
            self.ask(Op::Write { off, len, fua });
        }
        self.ask(Op::Flush);
        self.ask(Op::Flush);
    }

    /// Nanoseconds a request: the median of the rounds.
    fn measure(&mut self, segments: u32, op: impl Fn(u64) -> Op) -> u64 {
        let blocks = u64::from(segments) * SEGMENT / layout::BLOCK;
        let mut rounds = [0; ROUNDS];
        for round in &mut rounds {
            let (start, before) = (Instant::now(), self.replies);
            for i in 0..REQUESTS {
                self.ask(op(
                    i.wrapping_mul(0x9e37_79b9_7f4a_7c15) % blocks * layout::BLOCK
                ));
            }
            *round = start.elapsed().as_nanos() as u64 / REQUESTS;
            assert_eq!(self.replies - before, REQUESTS);
        }
        rounds.sort_unstable();
        rounds[ROUNDS / 2]
    }
}

fn main() {
    let choice = GeometryChoice::for_size(u64::from(TIB) * SEGMENT);
    let len = layout::BLOCK as u32;
    let read = |off| Op::Read { off, len };
    let write = |off| Op::Write {
        off,
        len,
        fua: false,
    };
    for (disks, what) in [(1, "plain leaf"), (2, "mirror of two legs")] {
        let segments = 4096;
        let mut node = Node::new(disks, segments, choice);
        node.map_all(segments);
        let (r, w) = (node.measure(segments, read), node.measure(segments, write));
        println!("{what}, on runs: 4 KiB read {r} ns, 4 KiB overwrite {w} ns");
    }
    let mut node = Node::new(1, TIB, choice);
    let empty = node.engine.store(DiskIndex(0)).unwrap().memory();
    node.map_all(TIB);
    let full = node.engine.store(DiskIndex(0)).unwrap().memory();
    for (what, m) in [("nothing", empty), ("all", full)] {
        println!(
            "1 TiB of which {what} is mapped: table {} KiB, way back {} KiB, pages {} KiB",
            m.tables >> 10,
            m.reverse >> 10,
            m.pages >> 10
        );
    }
}
