//! The life of a call: it is cut into chunks of one segment each, and ends when the last one does.
//!
//! ```text
//!            ┌── waits: fault, page, room for records ──┐
//!            ▼                                          │
//!  ready ─ Begin ──────────────▶ Running ─────▶ Finish ─┴─▶ ended
//!            │   (its I/O starts)   │ (last I/O of a write ended)
//!            └──────────────────────┴──────────────────────▶ ended
//! ```

use super::{Object, Sink, Store};
use crate::io::Buf;
use crate::leaf::{LeafError, Outcome, Token};
use crate::map::{Access, Admit, Entry, State, Ticket};
use layout::Epoch;
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
    /// Blocks that a write went to were discarded since: it is done again, or content that was
    /// there before it, and was replaced before the discard, might come back.
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
}
