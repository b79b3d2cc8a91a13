//! A layout's tree, evaluated: which blocks of which leaf a range of a volume is.
//!
//! Only computes; holds no state of a leg and starts no I/O. What a mirror does with its legs is
//! `volume`'s business, so that a range is cut in two steps: [`Tree::split`] down to leaves and
//! mirrors, [`Tree::leg`] from a mirror to the leaves of one leg.
//!
//! Invariants: at most one mirror lies on any way from the root to a leaf; every leaf, column and
//! stripe unit is a multiple of a segment, so that a segment of a mirror is one segment of one leaf
//! on every leg.

mod split;
#[cfg(test)]
mod tests;

pub use split::{Part, Piece};

use crate::leaf::LegsRecord;
use layout::{BLOCK, Bytes, DiskUid, Generation, Kind, Layout, Object, ObjectPath};

/// Why a layout cannot be evaluated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// A mirror below a mirror.
    #[error("object {path}: a mirror below a mirror")]
    NestedMirror {
        /// The lower mirror.
        path: ObjectPath,
    },
    /// An object that needs children has none, or a mirror has more than [`LegsRecord::LEGS`].
    #[error("object {path}: {count} children, of 1 to {most}")]
    Children {
        /// The object.
        path: ObjectPath,
        /// How many it has.
        count: usize,
        /// How many it may have.
        most: usize,
    },
    /// Deeper than [`ObjectPath::MAX_DEPTH`].
    #[error("object {path}: deeper than {} levels", ObjectPath::MAX_DEPTH)]
    TooDeep {
        /// The deepest object that can still be named.
        path: ObjectPath,
    },
    /// A size that is nought or not a multiple of what it has to be.
    #[error("object {path}: {size} is not a positive multiple of {of}")]
    Multiple {
        /// The object.
        path: ObjectPath,
        /// Its size, or a stripe's unit.
        size: Bytes,
        /// What it must be a multiple of.
        of: Bytes,
    },
    /// Copies or columns of different sizes.
    #[error("object {path}: child {child} has {size}, the first has {first}")]
    Unequal {
        /// The mirror or stripe.
        path: ObjectPath,
        /// Which child.
        child: usize,
        /// The child's size.
        size: Bytes,
        /// The first child's size.
        first: Bytes,
    },
    /// The volume shows more than its root holds.
    #[error("the volume shows {size}, its tree holds {holds}")]
    VolumeSize {
        /// What the volume shows.
        size: Bytes,
        /// What the root holds.
        holds: Bytes,
    },
    /// A layout that is to replace another has not the same objects at the same places.
    #[error("object {path}: the new layout would move what is stored: {why}")]
    Moved {
        /// The object.
        path: ObjectPath,
        /// What differs.
        why: &'static str,
    },
}

/// A leaf of the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// Where it is in the tree.
    pub path: ObjectPath,
    /// The disk it lies on.
    pub disk: DiskUid,
    /// The generation of its description.
    pub generation: Generation,
    /// Blocks it shows.
    pub blocks: u64,
    /// The mirror above it and the leg it belongs to.
    pub mirror: Option<(u16, u8)>,
}

/// A mirror of the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// Where it is in the tree.
    pub path: ObjectPath,
    /// Blocks it shows, which is what each leg shows.
    pub blocks: u64,
    /// The roots of its legs.
    legs: Vec<u32>,
}

impl Mirror {
    /// How many legs it has.
    pub fn legs(&self) -> u8 {
        self.legs.len() as u8
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    Leaf(u32),
    Mirror(u16),
    /// `unit` in blocks.
    Stripe {
        unit: u64,
        columns: Vec<u32>,
    },
    /// `ends[i]`: the block after the last of `parts[i]`.
    Concat {
        ends: Vec<u64>,
        parts: Vec<u32>,
    },
}

/// A layout's tree in the form that is evaluated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    nodes: Vec<Node>,
    root: u32,
    leaves: Vec<Leaf>,
    mirrors: Vec<Mirror>,
    blocks: u64,
}

impl Tree {
    /// Checks a layout and makes its tree; a segment has `segment_blocks` blocks.
    ///
    /// # Errors
    /// The first thing in the layout that cannot be.
    pub fn build(layout: &Layout, segment_blocks: u32) -> Result<Tree, TreeError> {
        let mut b = Builder {
            tree: Tree {
                nodes: Vec::new(),
                root: 0,
                leaves: Vec::new(),
                mirrors: Vec::new(),
                blocks: layout.size.0 / BLOCK,
            },
            segment: u64::from(segment_blocks) * BLOCK,
        };
        multiple(ObjectPath::ROOT, layout.size, BLOCK)?;
        b.tree.root = b.object(&layout.root, ObjectPath::ROOT, None)?;
        let holds = layout.root.size();
        if layout.size > holds {
            let size = layout.size;
            return Err(TreeError::VolumeSize { size, holds });
        }
        Ok(b.tree)
    }

    /// Blocks that the volume shows.
    pub fn blocks(&self) -> u64 {
        self.blocks
    }
    /// The leaves, in the order of their paths.
    pub fn leaves(&self) -> &[Leaf] {
        &self.leaves
    }
    /// The mirrors, in the order of their paths.
    pub fn mirrors(&self) -> &[Mirror] {
        &self.mirrors
    }

    /// Whether `self` may replace `old` while the volume is in use: the same objects, each block
    /// where it was; leaves may lie on other disks, and the volume may be larger.
    ///
    /// # Errors
    /// The first object that would move.
    pub fn check_extends(&self, old: &Tree) -> Result<(), TreeError> {
        if self.blocks < old.blocks {
            return Err(moved(ObjectPath::ROOT, "the volume would shrink"));
        }
        self.check_node(self.root, old, old.root, ObjectPath::ROOT)
    }

    fn check_node(&self, n: u32, old: &Tree, o: u32, at: ObjectPath) -> Result<(), TreeError> {
        let child = |i: usize| at.child(i as u8).unwrap_or(at);
        let all = |new: &[u32], was: &[u32]| {
            (new.iter().zip(was).enumerate())
                .try_for_each(|(i, (n, o))| self.check_node(*n, old, *o, child(i)))
        };
        match (&self.nodes[n as usize], &old.nodes[o as usize]) {
            (Node::Leaf(n), Node::Leaf(o)) => {
                if self.leaves[*n as usize].blocks < old.leaves[*o as usize].blocks {
                    return Err(moved(at, "a leaf would shrink"));
                }
                Ok(())
            }
            (Node::Mirror(n), Node::Mirror(o)) => {
                let (n, o) = (&self.mirrors[*n as usize], &old.mirrors[*o as usize]);
                if n.legs.len() != o.legs.len() {
                    return Err(moved(at, "another number of copies"));
                }
                all(&n.legs, &o.legs)
            }
            (
                Node::Stripe { unit, columns },
                Node::Stripe {
                    unit: u,
                    columns: c,
                },
            ) => {
                if unit != u || columns.len() != c.len() {
                    return Err(moved(at, "another unit or number of columns"));
                }
                all(columns, c)
            }
            (Node::Concat { ends, parts }, Node::Concat { ends: e, parts: p }) => {
                let fixed = e.len() - 1;
                if ends.len() < e.len() || ends[..fixed] != e[..fixed] {
                    return Err(moved(at, "a part that is not the last changes its size"));
                }
                all(parts, p)
            }
            _ => Err(moved(at, "another kind of object")),
        }
    }
}

fn moved(path: ObjectPath, why: &'static str) -> TreeError {
    TreeError::Moved { path, why }
}

fn multiple(path: ObjectPath, size: Bytes, of: u64) -> Result<u64, TreeError> {
    if size.0 > 0 && size.0.is_multiple_of(of) {
        Ok(size.0 / BLOCK)
    } else {
        let of = Bytes(of);
        Err(TreeError::Multiple { path, size, of })
    }
}

struct Builder {
    tree: Tree,
    /// Bytes in a segment.
    segment: u64,
}

impl Builder {
    fn object(
        &mut self,
        object: &Object,
        path: ObjectPath,
        mirror: Option<(u16, u8)>,
    ) -> Result<u32, TreeError> {
        let node = match &object.kind {
            Kind::Extents { disk, size, .. } => {
                let blocks = multiple(path, *size, self.segment)?;
                self.tree.leaves.push(Leaf {
                    path,
                    disk: *disk,
                    generation: object.generation,
                    blocks,
                    mirror,
                });
                Node::Leaf(self.tree.leaves.len() as u32 - 1)
            }
            Kind::Mirror { copies } => {
                if mirror.is_some() {
                    return Err(TreeError::NestedMirror { path });
                }
                equal(path, copies)?;
                let index = self.tree.mirrors.len() as u16;
                self.tree.mirrors.push(Mirror {
                    path,
                    blocks: object.size().0 / BLOCK,
                    legs: Vec::new(),
                });
                let legs =
                    self.children(copies, path, LegsRecord::LEGS, |leg| Some((index, leg)))?;
                self.tree.mirrors[index as usize].legs = legs;
                Node::Mirror(index)
            }
            Kind::Stripe { unit, columns } => {
                let unit_blocks = multiple(path, *unit, self.segment)?;
                equal(path, columns)?;
                let columns_ = self.children(columns, path, CHILDREN, |_| mirror)?;
                for c in columns {
                    multiple(path, c.size(), unit.0)?;
                }
                Node::Stripe {
                    unit: unit_blocks,
                    columns: columns_,
                }
            }
            Kind::Concat { parts } => {
                let nodes = self.children(parts, path, CHILDREN, |_| mirror)?;
                let mut end = 0;
                let ends = parts.iter().map(|p| {
                    end += p.size().0 / BLOCK;
                    end
                });
                Node::Concat {
                    ends: ends.collect(),
                    parts: nodes,
                }
            }
        };
        self.tree.nodes.push(node);
        Ok(self.tree.nodes.len() as u32 - 1)
    }

    fn children(
        &mut self,
        children: &[Object],
        path: ObjectPath,
        most: usize,
        mirror: impl Fn(u8) -> Option<(u16, u8)>,
    ) -> Result<Vec<u32>, TreeError> {
        let count = children.len();
        if count == 0 || count > most {
            return Err(TreeError::Children { path, count, most });
        }
        let mut nodes = Vec::with_capacity(count);
        for (i, c) in children.iter().enumerate() {
            let i = i as u8;
            let below = path.child(i).ok_or(TreeError::TooDeep { path })?;
            nodes.push(self.object(c, below, mirror(i))?);
        }
        Ok(nodes)
    }
}

/// The most children an [`ObjectPath`] can name.
const CHILDREN: usize = u8::MAX as usize;

fn equal(path: ObjectPath, children: &[Object]) -> Result<(), TreeError> {
    let first = children.first().map_or(Bytes(0), Object::size);
    let differs = |c: &Object| c.size() != first;
    match children.iter().position(differs) {
        None => Ok(()),
        Some(child) => Err(TreeError::Unequal {
            path,
            child,
            size: children[child].size(),
            first,
        }),
    }
}
