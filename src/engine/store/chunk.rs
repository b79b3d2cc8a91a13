//! The life of a call: it is cut into chunks of one segment each, and ends when the last one does.
//!
//! ```text
//!            ┌── waits: fault, page, room for records ──┐
//!            ▼                                          │
//!  ready ─ Begin ──────────────▶ Running ─────▶ Finish ─┴─▶ ended
//!            │   (its I/O starts)   │ (last I/O of a write ended)
//!            └──────────────────────┴──────────────────────▶ ended
//! ```

use super::{Io, Object, Sink, Store};
use crate::format::MetaAddr;
use crate::format::page::{Page, PageHome};
use crate::io::{Buf, Effect, IoKind, Notice};
use crate::leaf::{BlockBits, LeafError, Outcome, Token};
use crate::map::{Access, Admit, Entry, State, Ticket};
use layout::{BLOCK, Epoch};
use std::ops::Range;

/// Names a chunk; also the token under which it waits at a mapping table.
pub type ChunkId = usize;

/// Discards are cut up as they go: at most so many chunks of one at a time.
const DISCARD_WINDOW: usize = 32;

/// What a chunk does.
#[derive(Clone, Copy)]
pub enum Kind {
    /// Reads into the buffer.
    Read(Buf),
    /// Writes from the buffer.
    Write(Buf),
    /// Sees to it that a write has space.
    Reserve,
    /// Forgets the blocks.
    Discard,
    /// Tells what is valid, and what changed after the epoch.
    Scan(Epoch),
}

/// How far a chunk is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Its I/O has not started.
    Begin,
    /// Its I/O runs.
    Running,
    /// The I/O of a write is done, the change of metadata is not.
    Finish,
}

/// A part of a call, inside one segment.
pub struct Chunk {
    pub piece: usize,
    pub slot: u16,
    /// The object's segment.
    pub segment: u32,
    /// The first block in it.
    pub first: u32,
    /// How many.
    pub count: u32,
    pub kind: Kind,
    pub stage: Stage,
    /// I/Os that run.
    pub ios: u32,
    /// Where a write went.
    pub physical: u32,
    /// Blocks that a write went to were discarded since: it is done again, or content that was there
    /// before it, and was replaced before the discard, might come back.
    pub again: bool,
    /// From the mapping table, while it has begun there.
    pub ticket: Option<Ticket>,
}

/// A call.
pub struct Piece {
    token: Token,
    slot: u16,
    chunks: usize,
    result: Result<Outcome, LeafError>,
    /// Blocks of a discard that have no chunk yet.
    rest: Range<u64>,
}

impl Store {
    pub(super) fn object(&self, slot: u16) -> &Object {
        let object = self.objects.get(usize::from(slot)).and_then(Option::as_ref);
        assert!(object.is_some(), "slot {slot} holds a live object");
        #[expect(clippy::expect_used, reason = "asserted in the line above")]
        object.expect("live")
    }
    pub(super) fn object_mut(&mut self, slot: u16) -> &mut Object {
        let object = self
            .objects
            .get_mut(usize::from(slot))
            .and_then(Option::as_mut);
        assert!(object.is_some(), "slot {slot} holds a live object");
        #[expect(clippy::expect_used, reason = "asserted in the line above")]
        object.expect("live")
    }

    /// Begins a call on blocks of an object. `kind` is given the blocks before its chunk.
    pub(super) fn call(
        &mut self,
        slot: u16,
        blocks: Range<u64>,
        token: Token,
        kind: impl Fn(u32) -> Kind,
    ) {
        let end = self.object_blocks(slot);
        assert!(
            blocks.end <= end,
            "blocks {blocks:?} of an object that has {end}"
        );
        let piece = Piece {
            token,
            slot,
            chunks: 0,
            result: Ok(Outcome::Ok),
            rest: 0..0,
        };
        let piece = self.pieces.insert(piece);
        let mut at = blocks.start;
        while at < blocks.end {
            let skipped = (at - blocks.start) as u32;
            at += u64::from(self.add_chunk(piece, at..blocks.end, kind(skipped)));
        }
    }

    /// Begins a discard, which may be of any length.
    pub(super) fn call_discard(&mut self, slot: u16, blocks: Range<u64>, token: Token) {
        let end = self.object_blocks(slot);
        assert!(
            blocks.end <= end,
            "blocks {blocks:?} of an object that has {end}"
        );
        let piece = Piece {
            token,
            slot,
            chunks: 1,
            result: Ok(Outcome::Ok),
            rest: blocks,
        };
        let piece = self.pieces.insert(piece);
        self.refill_discard(piece);
        // One more was counted, so that the call cannot end before the first chunk is made.
        self.pieces[piece].chunks -= 1;
    }

    /// Whether a discard whose chunks are all done ended without any.
    pub(super) fn end_empty(&mut self, sink: &mut Sink<'_>) {
        let empty = |p: &Piece| p.chunks == 0 && p.rest.is_empty();
        let ended: Vec<_> = self
            .pieces
            .iter()
            .filter(|(_, p)| empty(p))
            .map(|(i, _)| i)
            .collect();
        for piece in ended {
            let piece = self.pieces.remove(piece);
            sink.end(piece.token, piece.result);
        }
    }

    fn object_blocks(&self, slot: u16) -> u64 {
        let blocks = u64::from(self.geometry().segment_blocks);
        u64::from(self.object(slot).record.segments) * blocks
    }

    /// Makes chunks for the next blocks of a discard, skipping segments that hold nothing.
    fn refill_discard(&mut self, piece: usize) {
        let blocks = u64::from(self.geometry().segment_blocks);
        while self.pieces[piece].chunks < DISCARD_WINDOW {
            let Piece { slot, rest, .. } = &self.pieces[piece];
            let (slot, rest) = (*slot, rest.clone());
            if rest.is_empty() {
                return;
            }
            let segment = (rest.start / blocks) as u32;
            let next = (u64::from(segment) + 1) * blocks;
            let done = if self.object(slot).table.get(segment).has(State::Zero) {
                next.min(rest.end)
            } else {
                rest.start + u64::from(self.add_chunk(piece, rest.clone(), Kind::Discard))
            };
            self.pieces[piece].rest.start = done;
        }
    }

    /// Makes the chunk at the start of `blocks`; how many blocks it took.
    fn add_chunk(&mut self, piece: usize, blocks: Range<u64>, kind: Kind) -> u32 {
        let per_segment = u64::from(self.geometry().segment_blocks);
        let first = blocks.start % per_segment;
        let count = (per_segment - first).min(blocks.end - blocks.start);
        self.pieces[piece].chunks += 1;
        let chunk = self.chunks.insert(Chunk {
            piece,
            slot: self.pieces[piece].slot,
            segment: (blocks.start / per_segment) as u32,
            first: first as u32,
            count: count as u32,
            kind,
            stage: Stage::Begin,
            ios: 0,
            physical: 0,
            again: false,
            ticket: None,
        });
        self.ready.push_back(chunk);
        count as u32
    }

    /// Takes a chunk as far as it goes now.
    pub(super) fn run(&mut self, id: ChunkId, sink: &mut Sink<'_>) {
        // A chunk can be woken twice, by the failure of the disk and by what it waited for.
        let Some(chunk) = self.chunks.get(id) else {
            return;
        };
        if self.failed.is_some() {
            if chunk.ios == 0 {
                self.end_chunk(id, Err(LeafError::DiskFailed), sink);
            }
            return;
        }
        match (chunk.stage, chunk.kind) {
            (Stage::Begin, Kind::Read(buf)) => self.run_read(id, buf, sink),
            (Stage::Begin, Kind::Write(buf)) => self.run_write(id, buf, sink),
            (Stage::Begin, Kind::Reserve) => self.run_reserve(id, sink),
            (Stage::Begin, Kind::Discard) => self.run_discard(id, sink),
            (Stage::Begin, Kind::Scan(since)) => self.run_scan(id, since, sink),
            (Stage::Finish, _) => self.finish_write(id, sink),
            (Stage::Running, _) => {}
        }
    }

    /// Asks the mapping table; `None` where the chunk waits or was ended.
    pub(super) fn admit(
        &mut self,
        id: ChunkId,
        access: Access,
        sink: &mut Sink<'_>,
    ) -> Option<Entry> {
        let (slot, segment) = (self.chunks[id].slot, self.chunks[id].segment);
        let table = &mut self.object_mut(slot).table;
        match table.admit(sink.now, access, segment, id as u64) {
            Ok(Admit::Go { entry, ticket }) => {
                self.chunks[id].ticket = Some(ticket);
                Some(entry)
            }
            Ok(Admit::Wait) => {
                self.serve_faults(slot, sink);
                None
            }
            Err(_) => {
                self.end_chunk(id, Err(LeafError::Segment), sink);
                None
            }
        }
    }

    /// The chunk steps back from the table: it will ask again.
    pub(super) fn step_back(&mut self, id: ChunkId) {
        if let Some(ticket) = self.chunks[id].ticket.take() {
            let slot = self.chunks[id].slot;
            self.object_mut(slot).table.end(ticket);
            if !self.freed.is_empty() {
                self.note_drained(slot);
            }
        }
    }

    /// The chunk ended; so does its call, if it was the last.
    pub(super) fn end_chunk(
        &mut self,
        id: ChunkId,
        result: Result<Outcome, LeafError>,
        sink: &mut Sink<'_>,
    ) {
        self.step_back(id);
        let index = self.chunks.remove(id).piece;
        let piece = &mut self.pieces[index];
        match (&piece.result, result) {
            (Err(_), _) | (_, Ok(Outcome::Ok)) => {}
            (Ok(_), other) => piece.result = other,
        }
        piece.chunks -= 1;
        if piece.chunks > 0 {
            return;
        }
        if piece.result.is_ok() && self.failed.is_none() {
            self.refill_discard(index);
        }
        if self.pieces[index].chunks == 0 {
            let piece = self.pieces.remove(index);
            sink.end(piece.token, piece.result);
        }
        if self.freed_now {
            self.release_freed(self.durable(), sink);
        }
    }

    fn run_read(&mut self, id: ChunkId, buf: Buf, sink: &mut Sink<'_>) {
        let Some(entry) = self.admit(id, Access::Read, sink) else {
            return;
        };
        let Chunk { first, count, .. } = self.chunks[id];
        let Some(physical) = entry.location() else {
            sink.out.push(Effect::Zero {
                buf,
                len: count * BLOCK as u32,
            });
            self.end_chunk(id, Ok(Outcome::Ok), sink);
            return;
        };
        if entry.is_run() {
            self.read_blocks(id, physical, first, count, buf, sink);
            return;
        }
        let Some(page) = self.page_for(id, physical, sink) else {
            return;
        };
        let valid = page.valid;
        let mut at = first;
        while at < first + count {
            let (end, data) = run_of_bits(&valid, at, first + count);
            let part = buf.skip((at - first) * BLOCK as u32);
            if data {
                self.read_blocks(id, physical, at, end - at, part, sink);
            } else {
                sink.out.push(Effect::Zero {
                    buf: part,
                    len: (end - at) * BLOCK as u32,
                });
            }
            at = end;
        }
        if self.chunks[id].ios == 0 {
            self.end_chunk(id, Ok(Outcome::Ok), sink);
        }
    }

    fn read_blocks(
        &mut self,
        id: ChunkId,
        physical: u32,
        first: u32,
        count: u32,
        buf: Buf,
        sink: &mut Sink<'_>,
    ) {
        let offset = self.geometry().data_offset(physical, first);
        self.chunks[id].stage = Stage::Running;
        self.chunks[id].ios += 1;
        self.start(
            Io::Data(id),
            offset,
            IoKind::Read {
                buf,
                len: count * BLOCK as u32,
            },
            sink,
        );
    }

    /// An I/O of a chunk ended.
    pub(super) fn data_done(&mut self, id: ChunkId, ok: bool, sink: &mut Sink<'_>) {
        let chunk = &mut self.chunks[id];
        chunk.ios -= 1;
        if chunk.ios > 0 {
            return;
        }
        match chunk.kind {
            _ if !ok || self.failed.is_some() => {
                self.end_chunk(id, Err(LeafError::DiskFailed), sink);
            }
            Kind::Write(_) => {
                chunk.stage = Stage::Finish;
                self.finish_write(id, sink);
            }
            _ => self.end_chunk(id, Ok(Outcome::Ok), sink),
        }
    }

    /// The page of a segment of the disk; `None` where the chunk waits for it to be read. A chunk
    /// that has not started its I/O then steps back from the table and starts afresh.
    pub(super) fn page_for(
        &mut self,
        id: ChunkId,
        physical: u32,
        sink: &mut Sink<'_>,
    ) -> Option<&mut Page> {
        if self.pages.get(physical).is_none() {
            if self.chunks[id].stage == Stage::Begin {
                self.step_back(id);
            }
            if self.pages.wait(physical, id) {
                let offset = self.geometry().meta_offset(MetaAddr::Page(physical));
                self.start(
                    Io::Page(physical),
                    offset,
                    IoKind::ReadMeta { len: BLOCK as u32 },
                    sink,
                );
            }
            return None;
        }
        self.pages.get(physical).map(|c| &mut c.page)
    }

    /// A page was read. One that cannot be believed puts its segment in error.
    pub(super) fn page_read(&mut self, physical: u32, block: &[u8], sink: &mut Sink<'_>) {
        for chunk in self.pages.woken(physical) {
            self.ready.push_back(chunk);
        }
        if self.pages.peek(physical).is_some() {
            return;
        }
        let Some((slot, logical)) = self.logical(physical) else {
            return;
        };
        let current = self.objects[usize::from(slot)].as_ref().is_some_and(|o| {
            let entry = o.table.get(logical);
            entry.is_paged() && entry.location() == Some(physical)
        });
        if !current {
            return;
        }
        let blocks = self.geometry().segment_blocks;
        let wrong = match Page::decode(block, &self.page_home(slot, physical), blocks) {
            Ok(page) if page.logical == logical => {
                self.pages.insert(physical, page, true);
                self.shrink_pages();
                return;
            }
            Ok(page) => format!("it is of segment {}, expected {logical}", page.logical),
            Err(e) => e.to_string(),
        };
        let what = format!("{}: {wrong}", MetaAddr::Page(physical));
        sink.out.push(Effect::Notice(Notice::Damaged {
            disk: self.disk(),
            what,
        }));
        let table = &mut self.object_mut(slot).table;
        let set = table.set_state(logical..logical + 1, State::Error, true, None);
        assert!(set.is_ok(), "the segment is the table's own");
        self.take_ready(slot, sink);
    }

    pub(super) fn page_home(&self, slot: u16, physical: u32) -> PageHome {
        let record = &self.object(slot).record;
        PageHome {
            disk: self.disk(),
            volume: record.volume,
            path: record.path,
            segment: physical,
            first_block: self.geometry().data_block(physical, 0),
        }
    }

    pub(super) fn shrink_pages(&mut self) {
        if self.pages.len() > self.config.pages {
            let dirty = &self.dirty;
            self.pages
                .shrink(self.config.pages, |s| dirty.contains(&MetaAddr::Page(s)));
        }
    }
}

/// Where the run of like bits that starts at `at` ends, at `end` at the latest, and what they are.
fn run_of_bits(bits: &BlockBits, at: u32, end: u32) -> (u32, bool) {
    let bit = |i: u32| bits[i as usize / 64] >> (i % 64) & 1 == 1;
    let first = bit(at);
    let next = (at + 1..end).find(|i| bit(*i) != first);
    (next.unwrap_or(end), first)
}
