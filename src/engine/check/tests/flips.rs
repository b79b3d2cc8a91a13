//! Every bit of every metadata block, flipped one at a time: opening the disk either refuses with a
//! specific error or gives exactly the same content, and `check` names the damage, unless the bit
//! is in a block that nobody reads.
//!
//! The one exception is the last group of the journal: damaged, it looks like one that a power cut
//! tore, so the disk opens as it was before that group, and `check` has a note.

use super::*;
use crate::format::journal::FRAME;
use crate::leaf::LeafError;
use crate::store::find::give_up;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// An image with one flipped bit; what is written goes to an overlay.
struct Flipped {
    base: Rc<Vec<u8>>,
    byte: usize,
    bit: u8,
    over: BTreeMap<u64, Vec<u8>>,
}

impl Disk for Flipped {
    fn size(&self) -> u64 {
        self.base.len() as u64
    }
    fn read(&mut self, offset: u64, buf: &mut [u8]) -> Result<(), IoFault> {
        let at = offset as usize;
        buf.copy_from_slice(&self.base[at..at + buf.len()]);
        if (at..at + buf.len()).contains(&self.byte) {
            buf[self.byte - at] ^= 1 << self.bit;
        }
        let first = offset / BLOCK as u64;
        for (n, block) in self.over.range(first..first + (buf.len() / BLOCK) as u64) {
            let to = (n - first) as usize * BLOCK;
            buf[to..to + BLOCK].copy_from_slice(block);
        }
        Ok(())
    }
    fn write(&mut self, offset: u64, data: &[u8]) -> Result<(), IoFault> {
        for (block, n) in data.chunks(BLOCK).zip(offset / BLOCK as u64..) {
            self.over.insert(n, block.to_vec());
        }
        Ok(())
    }
    fn flush(&mut self) -> Result<(), IoFault> {
        Ok(())
    }
}

/// What the records and the content of every object are; `Err` for a segment in error.
type State = Vec<(ObjectRecord, Vec<Result<Vec<u8>, LeafError>>)>;

fn state<D: Disk>(b: &mut Bench<D>) -> State {
    let objects: Vec<_> = b.store.records().map(|(s, r)| (s, r.clone())).collect();
    objects
        .into_iter()
        .map(|(slot, record)| {
            let segments = 0..u64::from(record.segments);
            let per = CHOICE.segment_blocks;
            let content = segments.map(|s| b.try_read(slot, s * u64::from(per), per));
            let content = content.collect();
            (record, content)
        })
        .collect()
}

struct World {
    base: Rc<Vec<u8>>,
    superblock: Superblock,
    state: State,
    /// Without the journal's last group.
    before: State,
}

impl World {
    fn new() -> Self {
        let mut b = flushed();
        let mut base = vec![0; SIZE as usize];
        b.disk.read(0, &mut base).unwrap();
        let superblock = read_superblock(&mut b.disk).unwrap();
        let mut world = World {
            base: Rc::new(base),
            superblock,
            state: Vec::new(),
            before: Vec::new(),
        };
        world.state = state(&mut world.open(SIZE as usize, 0).unwrap());
        let last = world.superblock.geometry.journal_offset(world.head() - 1);
        world.before = state(&mut world.open(last as usize, 0).unwrap());
        assert_ne!(world.state, world.before);
        world
    }

    /// All groups of the image are one block long.
    fn head(&self) -> u64 {
        self.superblock.tail + 3
    }

    fn disk(&self, byte: usize, bit: u8) -> Flipped {
        Flipped {
            base: self.base.clone(),
            byte,
            bit,
            over: BTreeMap::new(),
        }
    }

    fn open(&self, byte: usize, bit: u8) -> Result<Bench<Flipped>, OpenError> {
        Bench::open(self.disk(byte, bit), &[])
    }

    /// Whether opening refuses the disk or one of its segments; else the content is `expected`.
    fn refused(&self, byte: usize, bit: u8, expected: &State) -> bool {
        let Ok(mut b) = self.open(byte, bit) else {
            return true;
        };
        let found = state(&mut b);
        assert_eq!(found.len(), expected.len(), "byte {byte} bit {bit}");
        let mut refused = false;
        for (found, expected) in found.iter().zip(expected) {
            assert_eq!(found.0, expected.0, "byte {byte} bit {bit}");
            for (found, expected) in found.1.iter().zip(&expected.1) {
                refused |= found.is_err();
                assert!(found.is_err() || found == expected, "byte {byte} bit {bit}");
            }
        }
        refused
    }

    fn severity(&self, byte: usize, bit: u8) -> Option<Severity> {
        let report = check(&mut self.disk(byte, bit), &[]);
        report.findings.iter().map(|f| f.severity).max()
    }

    /// Flips every bit of a block that somebody reads: `check` names each.
    fn flip_block(&self, offset: u64) -> Counts {
        let mut counts = Counts::default();
        let start = offset as usize;
        for byte in start..start + BLOCK {
            for bit in 0..8 {
                match self.refused(byte, bit, &self.state) {
                    true => counts.refused += 1,
                    false => counts.recovered += 1,
                }
                let severity = self.severity(byte, bit);
                assert!(
                    severity >= Some(Severity::Warning),
                    "byte {byte} bit {bit}: {severity:?}"
                );
            }
        }
        counts
    }
}

#[derive(Default)]
struct Counts {
    refused: u32,
    recovered: u32,
}

impl Counts {
    fn print(&self, what: impl std::fmt::Display) {
        let Counts { refused, recovered } = self;
        println!("{what}: {refused} flips refused, {recovered} without effect, all named");
    }
}

#[test]
fn every_bit_of_the_superblocks() {
    let world = World::new();
    for (n, offset) in PLACES.into_iter().enumerate() {
        let counts = world.flip_block(offset);
        counts.print(format_args!("superblock {n}"));
        assert_eq!(counts.refused, 0, "the other superblock is there");
    }
}

#[test]
fn every_bit_of_objects_and_owner_texts() {
    let world = World::new();
    let mut dead = 0;
    for slot in 0..CHOICE.slots {
        let counts = world.flip(MetaAddr::Object(slot));
        assert_eq!(counts.recovered, 0);
        for part in 1..=3 {
            let addr = MetaAddr::Owner(slot, part);
            let live = [2, 1, 0][usize::from(slot)] >= part;
            assert!(!world.is_opened(addr), "opening reads no owner text");
            match live {
                true => world.flip_unopened(addr),
                false => {
                    world.silent(addr);
                    dead += 1;
                }
            }
        }
    }
    println!("{dead} owner text blocks hold no text");
    assert_eq!(dead, 6);
}

#[test]
fn every_bit_of_headers() {
    let world = World::new();
    for unit in 0..world.superblock.geometry.units {
        assert_eq!(world.flip(MetaAddr::Header(unit)).recovered, 0);
    }
}

#[test]
fn every_bit_of_pages() {
    let world = World::new();
    let ring = Ring::read(&mut world.disk(0, 0), &world.superblock).unwrap();
    let found = ring.find(&[], Planted::default(), &mut give_up).unwrap();
    let mut disk = world.disk(SIZE as usize, 0);
    let planted = Planted::default();
    let records = &found.records;
    let metadata =
        Metadata::rebuild(&mut disk, &world.superblock, records, planted, &mut give_up).unwrap();
    let (mut live, mut dead) = (0, 0);
    for segment in 0..world.superblock.geometry.segments() {
        let descriptor = metadata.descriptor(&world.superblock, segment).unwrap().1;
        if matches!(descriptor, Descriptor::Page { .. }) {
            assert_eq!(world.flip(MetaAddr::Page(segment)).recovered, 0);
            live += 1;
        } else {
            world.silent(MetaAddr::Page(segment));
            dead += 1;
        }
    }
    println!("{dead} pages are of segments that have none");
    assert_eq!((live, dead), (3, 17));
}

impl World {
    fn flip(&self, addr: MetaAddr) -> Counts {
        let counts = self.flip_block(self.superblock.geometry.meta_offset(addr));
        counts.print(addr);
        counts
    }

    /// Flips every bit of a block that only `check` reads.
    fn flip_unopened(&self, addr: MetaAddr) {
        let start = self.superblock.geometry.meta_offset(addr) as usize;
        for (byte, bit) in (start..start + BLOCK).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
            let severity = self.severity(byte, bit);
            assert_eq!(severity, Some(Severity::Error), "byte {byte} bit {bit}");
        }
        println!("{addr}: all named, opening does not read it");
    }

    fn reads(&self) -> Reads {
        Reads(self.disk(SIZE as usize, 0), BTreeSet::new())
    }

    /// Whether opening the disk, or reading everything back, reads the block.
    fn is_opened(&self, addr: MetaAddr) -> bool {
        let mut opened = Bench::open(self.reads(), &[]).unwrap();
        assert_eq!(state(&mut opened), self.state);
        let block = self.superblock.geometry.meta_offset(addr) / BLOCK as u64;
        opened.disk.1.contains(&block)
    }

    /// Nobody reads the block: neither opening, nor reading everything back, nor checking. So no
    /// bit of it matters.
    fn silent(&self, addr: MetaAddr) {
        assert!(!self.is_opened(addr), "{addr} is read by opening");
        let mut checked = self.reads();
        assert_eq!(check(&mut checked, &[]).findings, []);
        let block = self.superblock.geometry.meta_offset(addr) / BLOCK as u64;
        assert!(!checked.1.contains(&block), "{addr} is read by checking");
    }
}

/// Notes which blocks are read.
struct Reads(Flipped, BTreeSet<u64>);

impl Disk for Reads {
    fn size(&self) -> u64 {
        self.0.size()
    }
    fn read(&mut self, offset: u64, buf: &mut [u8]) -> Result<(), IoFault> {
        let first = offset / BLOCK as u64;
        self.1.extend(first..first + (buf.len() / BLOCK) as u64);
        self.0.read(offset, buf)
    }
    fn write(&mut self, offset: u64, data: &[u8]) -> Result<(), IoFault> {
        self.0.write(offset, data)
    }
    fn flush(&mut self) -> Result<(), IoFault> {
        Ok(())
    }
}

/// What opening does with the ring is `find`, and then only what that found counts. So a flip after
/// which it finds the same leaves the same state, and opening is tried only where it does not.
#[test]
fn every_bit_of_the_journal() {
    let world = World::new();
    let superblock = &world.superblock;
    let mut ring = Ring::read(&mut world.disk(SIZE as usize, 0), superblock).unwrap();
    let planted = Planted::default();
    let base = ring.find(&[], planted, &mut give_up).unwrap();
    assert_eq!(base.head, world.head());
    let blocks = u64::from(superblock.geometry.journal_blocks);
    let (mut dead, mut refused, mut torn, mut padding) = (0, 0, 0, 0);
    for counter in superblock.tail..superblock.tail + blocks {
        let at = (counter % blocks) as usize * BLOCK;
        let offset = superblock.geometry.journal_offset(counter) as usize;
        for (byte, bit) in (0..BLOCK).flat_map(|byte| (0..8).map(move |bit| (byte, bit))) {
            ring.bytes[at + byte] ^= 1 << bit;
            let same = ring.find(&[], planted, &mut give_up).as_ref() == Ok(&base);
            let mut report = Report::default();
            journal::check(&ring, superblock, &base, &mut report);
            ring.bytes[at + byte] ^= 1 << bit;
            let live = counter < base.head;
            match (live, same) {
                (false, same) => {
                    assert!(same && report.findings.is_empty(), "{counter} {byte} {bit}");
                    dead += 1;
                }
                (true, true) => {
                    assert!(
                        byte >= FRAME && report.exit_code() == 1,
                        "{counter} {byte} {bit}"
                    );
                    padding += 1;
                }
                (true, false) if counter + 1 < base.head => {
                    assert!(world.refused(offset + byte, bit, &world.state));
                    assert_eq!(world.severity(offset + byte, bit), Some(Severity::Error));
                    refused += 1;
                }
                (true, false) => {
                    assert!(!world.refused(offset + byte, bit, &world.before));
                    assert_eq!(world.severity(offset + byte, bit), Some(Severity::Note));
                    torn += 1;
                }
            }
        }
    }
    println!(
        "journal: {dead} flips outside the live groups without effect; of the live ones {refused} \
         refused, {padding} in padding without effect and named, {torn} in the last group look torn"
    );
    assert!(refused > 0 && torn > 0 && padding > 0);
}
