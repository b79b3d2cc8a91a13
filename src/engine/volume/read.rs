//! Reads of a mirror: one live leg serves each, another one where it fails.

use super::request::{Pieces, span};
use super::slab::Key;
use super::{Call, Ctx, LegRef, Volume};
use crate::io::{Buf, IoError};
use crate::leaf::{LeafError, Leaves, Span};
use crate::planted::Bug;
use layout::BLOCK;

/// A part of a request being read from one leg.
#[derive(Clone, Copy, Debug)]
pub(super) struct LegRead {
    request: Key,
    leg: LegRef,
    /// Blocks of the mirror.
    span: Span,
    buf: Buf,
    /// Legs that could not serve it, this one included.
    tried: u16,
}

impl Volume {
    /// Reads one part of a request, from a live leg that was not `tried`.
    pub(super) fn read_mirror<L: Leaves>(
        &mut self,
        request: Key,
        mirror: u16,
        at: Span,
        buf: Buf,
        tried: u16,
        cx: &mut Ctx<'_, L>,
    ) {
        let turn = self.requests[request].id.0 + at.start / self.segment_blocks;
        let m = &self.mirrors[mirror as usize];
        let good = if cx.planted.has(Bug::StaleLegRead) {
            m.targets()
        } else {
            m.live()
        };
        let legs = if m.lost { 0 } else { good & !tried };
        if legs == 0 {
            self.part_done(request, Err(IoError::Io), cx);
            return;
        }
        // Where legs may differ all reads go to the same one, so that they never flip.
        let turn = if m.differs(at) { 0 } else { turn };
        let leg = pick(legs, turn);
        let leg_ref = self.leg_ref(mirror, leg);
        let mut pieces = Pieces::new();
        let f = &mut |leaf, p| pieces.push((leaf, p));
        self.tree.leg(mirror, leg, at.start, u64::from(at.count), f);
        for (leaf, p) in &pieces {
            self.add_part(request);
            let buf = buf.skip((p.at * BLOCK) as u32);
            let token = self.call(Call::Read(LegRead {
                request,
                leg: leg_ref,
                span: span(at.start + p.at, p.count),
                buf,
                tried: tried | 1 << leg,
            }));
            let leaf = self.leaf(*leaf);
            cx.leaves.read(leaf, span(p.start, p.count), buf, token);
        }
        self.part_done(request, Ok(()), cx);
    }

    pub(super) fn read_done<L: Leaves>(
        &mut self,
        read: LegRead,
        end: Result<(), LeafError>,
        cx: &mut Ctx<'_, L>,
    ) {
        let Err(e) = end else {
            self.part_done(read.request, Ok(()), cx);
            return;
        };
        if e == LeafError::DiskFailed {
            self.call_failed(read.leg, cx);
        }
        let (mirror, tried) = (read.leg.mirror, read.tried);
        self.read_mirror(read.request, mirror, read.span, read.buf, tried, cx);
    }
}

/// The leg whose turn it is among some.
fn pick(legs: u16, turn: u64) -> u8 {
    let mut left = turn % u64::from(legs.count_ones());
    let mut legs = legs;
    while left > 0 {
        legs &= legs - 1;
        left -= 1;
    }
    legs.trailing_zeros() as u8
}

#[cfg(test)]
mod tests {
    #[test]
    fn turns_go_round() {
        let legs: Vec<u8> = (0..4).map(|t| super::pick(0b1101, t)).collect();
        assert_eq!(legs, [0, 2, 3, 0]);
    }
}
