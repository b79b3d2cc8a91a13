//! A request of the front end from its check to its answer.

use super::slab::Key;
use super::{Call, Ctx, Volume, flush, reply, request_buf};
use crate::io::{Buf, IoError, Op, ReqId};
use crate::leaf::{Leaves, Span};
use crate::tree::{Part, Piece};
use layout::BLOCK;
use smallvec::SmallVec;

/// A discard goes on in steps of so many blocks (1 GiB), so that however long it is, it marks few
/// regions and bars few blocks at a time.
const STEP: u64 = 1 << 18;

pub(super) type Pieces<T> = SmallVec<[T; 8]>;

/// What a request does when its parts are done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// Answer.
    Reply,
    /// Flush, then answer.
    Flush,
    /// Go on with the blocks up to `end`.
    Discard { next: u64, end: u64 },
}

/// A request that was not answered.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) id: ReqId,
    /// Parts under way.
    left: u32,
    error: Option<IoError>,
    then: Then,
}

/// A range of blocks: the first and how many.
pub(super) type Range = (u64, u64);

/// The blocks that a request is about, once they are checked against the volume's.
pub(super) fn blocks(op: Op, volume: u64) -> Result<Range, IoError> {
    let (off, len) = match op {
        Op::Read { off, len } | Op::Write { off, len, .. } => (off, u64::from(len)),
        Op::Discard { off, len } | Op::WriteZeroes { off, len } => (off, len),
        Op::Flush => return Ok((0, 0)),
    };
    if !off.is_multiple_of(BLOCK) || !len.is_multiple_of(BLOCK) {
        return Err(IoError::Unaligned);
    }
    let (start, count) = (off / BLOCK, len / BLOCK);
    match start.checked_add(count) {
        Some(end) if end <= volume => Ok((start, count)),
        _ => Err(IoError::OutOfRange),
    }
}

impl Volume {
    pub(super) fn start_request<L: Leaves>(
        &mut self,
        req: ReqId,
        op: Op,
        (start, count): Range,
        cx: &mut Ctx<'_, L>,
    ) {
        let then = match op {
            Op::Flush | Op::Write { fua: true, .. } => Then::Flush,
            Op::Read { .. } | Op::Write { .. } => Then::Reply,
            Op::Discard { .. } | Op::WriteZeroes { .. } => Then::Discard {
                next: start,
                end: start + count,
            },
        };
        // One part more than there are, so that the request does not end while it is being cut.
        let key = self.requests.insert(Request {
            id: req,
            left: 1,
            error: None,
            then,
        });
        let mut pieces = Pieces::new();
        match op {
            Op::Read { .. } => {
                self.tree.split(start, count, &mut |p| pieces.push(p));
                pieces
                    .iter()
                    .for_each(|p| self.read_piece(key, *p, request_buf(req), cx));
            }
            Op::Write { .. } => {
                self.tree.split(start, count, &mut |p| pieces.push(p));
                pieces
                    .iter()
                    .for_each(|p| self.write_piece(key, *p, request_buf(req), cx));
            }
            Op::Flush | Op::Discard { .. } | Op::WriteZeroes { .. } => {}
        }
        self.part_done(key, Ok(()), cx);
    }

    fn read_piece<L: Leaves>(&mut self, key: Key, p: Piece, buf: Buf, cx: &mut Ctx<'_, L>) {
        let buf = buf.skip((p.at * BLOCK) as u32);
        let span = span(p.start, p.count);
        self.requests[key].left += 1;
        match p.part {
            Part::Mirror(m) => self.read_mirror(key, m, span, buf, 0, cx),
            Part::Leaf(leaf) => match self.leaves[leaf as usize] {
                None => self.part_done(key, Err(IoError::Io), cx),
                Some(leaf) => {
                    let (request, disk) = (key, leaf.disk);
                    let token = self.call(Call::Plain { request, disk });
                    cx.leaves.read(leaf, span, buf, token);
                }
            },
        }
    }

    fn write_piece<L: Leaves>(&mut self, key: Key, p: Piece, buf: Buf, cx: &mut Ctx<'_, L>) {
        let buf = buf.skip((p.at * BLOCK) as u32);
        self.requests[key].left += 1;
        match p.part {
            Part::Mirror(m) => self.start_change(key, m, (p.start, p.count), Some(buf), cx),
            Part::Leaf(leaf) => match self.leaves[leaf as usize] {
                None => self.part_done(key, Err(IoError::Io), cx),
                Some(leaf) => {
                    let (request, disk) = (key, leaf.disk);
                    let token = self.call(Call::Plain { request, disk });
                    cx.leaves.write(leaf, span(p.start, p.count), buf, token);
                }
            },
        }
    }

    fn discard_piece<L: Leaves>(&mut self, key: Key, p: Piece, cx: &mut Ctx<'_, L>) {
        self.requests[key].left += 1;
        match p.part {
            Part::Mirror(m) => self.start_change(key, m, (p.start, p.count), None, cx),
            Part::Leaf(leaf) => match self.leaves[leaf as usize] {
                None => self.part_done(key, Err(IoError::Io), cx),
                Some(leaf) => {
                    let (request, disk) = (key, leaf.disk);
                    let token = self.call(Call::Plain { request, disk });
                    cx.leaves.discard(leaf, p.start, p.count, token);
                }
            },
        }
    }

    /// One more part is under way.
    pub(super) fn add_part(&mut self, key: Key) {
        self.requests[key].left += 1;
    }

    /// A part ended; with the last one the request goes on or is answered.
    pub(super) fn part_done<L: Leaves>(
        &mut self,
        key: Key,
        result: Result<(), IoError>,
        cx: &mut Ctx<'_, L>,
    ) {
        let r = &mut self.requests[key];
        r.left -= 1;
        r.error = r.error.or(result.err());
        if r.left > 0 {
            return;
        }
        match r.then {
            _ if r.error.is_some() => self.answer(key, cx),
            Then::Reply => self.answer(key, cx),
            Then::Flush => {
                r.then = Then::Reply;
                r.left = 1;
                self.start_flush(flush::For::Request(key), cx);
            }
            Then::Discard { next, end } if next == end => self.answer(key, cx),
            Then::Discard { next, end } => {
                let to = end.min(next + STEP);
                r.then = Then::Discard { next: to, end };
                r.left = 1;
                let mut pieces = Pieces::new();
                self.tree
                    .split_merged(next, to - next, &mut |p| pieces.push(p));
                pieces.iter().for_each(|p| self.discard_piece(key, *p, cx));
                self.part_done(key, Ok(()), cx);
            }
        }
    }

    fn answer<L: Leaves>(&mut self, key: Key, cx: &mut Ctx<'_, L>) {
        if let Some(r) = self.requests.remove(key) {
            reply(r.id, r.error.map_or(Ok(()), Err), cx);
        }
    }
}

/// The blocks of a piece that has a buffer, so that their count fits.
pub(super) fn span(start: u64, count: u64) -> Span {
    Span {
        start,
        count: count as u32,
    }
}
