//! Cutting a range of a volume, or of a mirror, into pieces. Pure arithmetic.

use super::{Node, Tree};

/// Where a piece lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// In a leaf that no mirror is above: its index among [`Tree::leaves`].
    Leaf(u32),
    /// In a mirror: its index among [`Tree::mirrors`].
    Mirror(u16),
}

/// A piece of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The leaf or mirror.
    pub part: Part,
    /// The first block there.
    pub start: u64,
    /// Blocks.
    pub count: u64,
    /// Blocks from the start of the range to the start of this piece; meaningless when merged.
    pub at: u64,
}

/// How a stripe cuts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// Piece by piece, in the order of the range.
    Ordered,
    /// One piece a column: for ranges without a buffer.
    Merged,
}

impl Tree {
    /// Visits the pieces of a range of the volume in order, down to leaves and mirrors.
    pub fn split(&self, start: u64, count: u64, f: &mut impl FnMut(Piece)) {
        self.walk(self.root, start, count, 0, Cut::Ordered, f);
    }

    /// Like [`Tree::split`], where order and `at` do not matter: as few pieces as possible.
    pub fn split_merged(&self, start: u64, count: u64, f: &mut impl FnMut(Piece)) {
        self.walk(self.root, start, count, 0, Cut::Merged, f);
    }

    /// Visits the pieces of a range of a mirror on one of its legs, in order; all are leaves.
    pub fn leg(
        &self,
        mirror: u16,
        leg: u8,
        start: u64,
        count: u64,
        f: &mut impl FnMut(u32, Piece),
    ) {
        let root = self.mirrors[mirror as usize].legs[leg as usize];
        self.walk(root, start, count, 0, Cut::Ordered, &mut leaf_only(f));
    }

    /// Like [`Tree::leg`], where order and `at` do not matter: as few pieces as possible.
    pub fn leg_merged(
        &self,
        mirror: u16,
        leg: u8,
        start: u64,
        count: u64,
        f: &mut impl FnMut(u32, Piece),
    ) {
        let root = self.mirrors[mirror as usize].legs[leg as usize];
        self.walk(root, start, count, 0, Cut::Merged, &mut leaf_only(f));
    }

    fn walk(
        &self,
        node: u32,
        start: u64,
        count: u64,
        at: u64,
        cut: Cut,
        f: &mut impl FnMut(Piece),
    ) {
        if count == 0 {
            return;
        }
        let piece = |part| Piece {
            part,
            start,
            count,
            at,
        };
        match &self.nodes[node as usize] {
            Node::Leaf(leaf) => f(piece(Part::Leaf(*leaf))),
            Node::Mirror(mirror) => f(piece(Part::Mirror(*mirror))),
            Node::Concat { ends, parts } => {
                let end = start + count;
                let mut from = start;
                let first = ends.partition_point(|e| *e <= start);
                for i in first..parts.len() {
                    if from == end {
                        break;
                    }
                    let begin = if i == 0 { 0 } else { ends[i - 1] };
                    let to = end.min(ends[i]);
                    let at = at + (from - start);
                    self.walk(parts[i], from - begin, to - from, at, cut, f);
                    from = to;
                }
                assert!(from == end, "a range past the end of a concat");
            }
            Node::Stripe { unit, columns } if cut == Cut::Merged => {
                let width = columns.len() as u64;
                for (i, column) in columns.iter().enumerate() {
                    let from = column_blocks(*unit, width, i as u64, start);
                    let to = column_blocks(*unit, width, i as u64, start + count);
                    self.walk(*column, from, to - from, at, cut, f);
                }
            }
            Node::Stripe { unit, columns } => {
                let width = columns.len() as u64;
                let (mut from, end) = (start, start + count);
                while from < end {
                    let index = from / unit;
                    let to = end.min((index + 1) * unit);
                    let inner = index / width * unit + from % unit;
                    let column = columns[(index % width) as usize];
                    self.walk(column, inner, to - from, at + (from - start), cut, f);
                    from = to;
                }
            }
        }
    }
}

/// How many of the first `blocks` blocks of a stripe lie in column `column`.
fn column_blocks(unit: u64, width: u64, column: u64, blocks: u64) -> u64 {
    let row = unit * width;
    blocks / row * unit + (blocks % row).saturating_sub(column * unit).min(unit)
}

fn leaf_only(f: &mut impl FnMut(u32, Piece)) -> impl FnMut(Piece) {
    move |p| match p.part {
        Part::Leaf(leaf) => f(leaf, p),
        Part::Mirror(_) => unreachable!("a mirror below a mirror was refused"),
    }
}
