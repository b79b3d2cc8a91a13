//! The objects of one volume as a list: the intent's levels multiplied out, with what lies there
//! already.
//!
//! A frame is what planning works on. It says what objects there are, of what size, and on which
//! disks; it does not say whether that is right. The list is in the order of the paths, and every
//! leaf of the intent is one node of the frame, however many disks it is split over: those are its
//! pieces.

use crate::refusal::{Refusal, Shape};
use layout::intent::Node as Want;
use layout::{Bytes, Disk, Intent, Kind, Layout, Object, ObjectPath, UnitRange};

/// The objects of one volume.
#[derive(Clone)]
pub(crate) struct Frame<'a> {
    pub nodes: Vec<Node<'a>>,
}

/// One object.
#[derive(Clone)]
pub(crate) struct Node<'a> {
    pub want: &'a Want,
    pub parent: Option<usize>,
    pub children: Vec<usize>,
    pub path: ObjectPath,
    pub size: Bytes,
    /// What it lies on; of leaves only.
    pub pieces: Vec<Piece>,
}

/// A part of a leaf that lies on one disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// The disk, by its index in the order of names.
    pub disk: usize,
    pub size: Bytes,
    /// What is granted to it.
    pub units: Vec<UnitRange>,
    /// Why it lies there; empty until somebody says.
    pub reasons: Vec<String>,
}

impl Piece {
    /// Units promised to it.
    pub fn promised(&self) -> u64 {
        self.size.units_up()
    }
    /// Units granted to it.
    pub fn granted(&self) -> u64 {
        self.units.iter().map(|r| u64::from(r.count)).sum()
    }
}

/// The size of the root: the volume's, rounded up so that columns and parts come out equal.
pub(crate) fn root_size(intent: &Intent, size: Bytes, equal_parts: bool) -> Result<Bytes, Refusal> {
    let step = intent.spec.tree.size_step(equal_parts);
    step.and_then(|s| size.0.checked_next_multiple_of(s.0).map(Bytes))
        .ok_or(Refusal::SizeTooLarge { size })
}

impl<'a> Frame<'a> {
    /// The frame of a volume that lies nowhere yet. The intent is valid.
    pub fn expand(intent: &'a Intent) -> Result<Self, Refusal> {
        let size = root_size(intent, intent.spec.size, true)?;
        let mut frame = Frame { nodes: Vec::new() };
        frame.add(None, &intent.spec.tree, ObjectPath::ROOT, size);
        Ok(frame)
    }

    /// Adds an object and all below it; the paths fit, since the intent's depth and counts do.
    fn add(
        &mut self,
        parent: Option<usize>,
        want: &'a Want,
        path: ObjectPath,
        size: Bytes,
    ) -> usize {
        let id = self.nodes.len();
        let node = Node {
            want,
            parent,
            children: vec![],
            path,
            size,
            pieces: vec![],
        };
        self.nodes.push(node);
        if let Some((count, below)) = want.below() {
            let share = match want {
                Want::Mirror(_) => size,
                _ => Bytes(size.0 / u64::from(count)),
            };
            for index in 0..count {
                let path = child_path(path, index as usize);
                let child = self.add(Some(id), below, path, share);
                self.nodes[id].children.push(child);
            }
        }
        id
    }

    /// The frame of a volume as it lies.
    pub fn of(layout: &Layout, intent: &'a Intent, disks: &[&Disk]) -> Result<Self, Refusal> {
        let mut frame = Frame { nodes: Vec::new() };
        frame.bind(
            None,
            &intent.spec.tree,
            ObjectPath::ROOT,
            &layout.root,
            disks,
        )?;
        Ok(frame)
    }

    fn bind(
        &mut self,
        parent: Option<usize>,
        want: &'a Want,
        path: ObjectPath,
        object: &Object,
        disks: &[&Disk],
    ) -> Result<usize, Refusal> {
        let id = self.nodes.len();
        let size = object.size();
        self.nodes.push(Node {
            want,
            parent,
            children: vec![],
            path,
            size,
            pieces: vec![],
        });
        let Some((count, below)) = want.below() else {
            self.nodes[id].pieces = pieces(path, object, disks)?;
            return Ok(id);
        };
        let fits = match (want, &object.kind) {
            (Want::Stripe(n), Kind::Stripe { unit, .. }) => n.unit == *unit,
            (Want::Mirror(_), Kind::Mirror { .. }) | (Want::Concat(_), Kind::Concat { .. }) => true,
            _ => false,
        };
        if !fits || object.children().len() != count as usize {
            let wanted = Shape {
                word: want.word(),
                children: count as usize,
            };
            return Err(Refusal::OtherTree {
                at: path,
                wanted,
                found: Shape::of(object),
            });
        }
        for (index, below_object) in object.children().iter().enumerate() {
            let child = self.bind(
                Some(id),
                below,
                child_path(path, index),
                below_object,
                disks,
            )?;
            self.nodes[id].children.push(child);
        }
        Ok(id)
    }

    /// The leaves of the intent, in the order of the paths.
    pub fn leaves(&self) -> impl Iterator<Item = usize> + use<'_, 'a> {
        self.below(0)
            .into_iter()
            .filter(|id| self.nodes[*id].want.below().is_none())
    }

    /// This object and all below it, parents first, in the order of the paths.
    pub fn below(&self, id: usize) -> Vec<usize> {
        let mut all = vec![id];
        for child in &self.nodes[id].children {
            all.extend(self.below(*child));
        }
        all
    }

    /// This object and those above it, upwards, each with the child on the way (the object itself
    /// has none).
    pub fn upwards(&self, id: usize) -> impl Iterator<Item = (usize, Option<usize>)> + use<'_, 'a> {
        let mut next = Some((id, None));
        std::iter::from_fn(move || {
            let here = next?;
            next = self.nodes[here.0].parent.map(|p| (p, Some(here.0)));
            Some(here)
        })
    }

    /// Gives an object a new size, and all below it theirs: columns and copies alike, of a concat
    /// the last part what is more. The size is a multiple of the level's step and not less than it
    /// was.
    pub fn resize(&mut self, id: usize, size: Bytes) {
        let old = self.nodes[id].size;
        assert!(size >= old, "an object never shrinks here");
        self.nodes[id].size = size;
        let children = self.nodes[id].children.clone();
        match self.nodes[id].want {
            Want::Mirror(_) => children.iter().for_each(|c| self.resize(*c, size)),
            Want::Stripe(_) => {
                let column = Bytes(size.0 / children.len() as u64);
                children.iter().for_each(|c| self.resize(*c, column));
            }
            Want::Concat(_) => {
                if let Some(last) = children.last() {
                    let part = Bytes(self.nodes[*last].size.0 + (size.0 - old.0));
                    self.resize(*last, part);
                }
            }
            Want::Extents(_) => {}
        }
    }

    /// Adds to a mirror an empty copy of the same shape as `like`, one of its copies. Returns it.
    pub fn add_copy(&mut self, mirror: usize, like: usize) -> usize {
        let index = self.nodes[mirror].children.len();
        let new = self.copy_shape(mirror, like, child_path(self.nodes[mirror].path, index));
        self.nodes[mirror].children.push(new);
        new
    }

    fn copy_shape(&mut self, parent: usize, like: usize, path: ObjectPath) -> usize {
        let id = self.nodes.len();
        let Node { want, size, .. } = self.nodes[like];
        let parent = Some(parent);
        self.nodes.push(Node {
            want,
            parent,
            children: vec![],
            path,
            size,
            pieces: vec![],
        });
        for (index, child) in self.nodes[like].children.clone().into_iter().enumerate() {
            let new = self.copy_shape(id, child, child_path(path, index));
            self.nodes[id].children.push(new);
        }
        id
    }

    /// Puts the last copy of a mirror into the place of another, which leaves the volume.
    pub fn replace_copy(&mut self, mirror: usize, copy: usize) {
        let last = self.nodes[mirror].children.pop();
        for child in &mut self.nodes[mirror].children {
            if *child == copy {
                *child = last.unwrap_or(copy);
            }
        }
        self.repath(mirror, self.nodes[mirror].path);
    }

    fn repath(&mut self, id: usize, path: ObjectPath) {
        self.nodes[id].path = path;
        for (index, child) in self.nodes[id].children.clone().into_iter().enumerate() {
            self.repath(child, child_path(path, index));
        }
    }
}

/// The path of a child.
///
/// # Panics
/// Beyond the deepest level or 255 children, which a valid intent excludes.
pub(crate) fn child_path(path: ObjectPath, index: usize) -> ObjectPath {
    let child = u8::try_from(index).ok().and_then(|i| path.child(i));
    assert!(
        child.is_some(),
        "the intent bounds depth and counts: {path} has no child {index}"
    );
    child.unwrap_or(path)
}

/// What a leaf of the intent lies on: one leaf, or a concat of leaves.
fn pieces(path: ObjectPath, object: &Object, disks: &[&Disk]) -> Result<Vec<Piece>, Refusal> {
    let parts = match &object.kind {
        Kind::Concat { parts } => parts.as_slice(),
        _ => std::slice::from_ref(object),
    };
    let piece = |part: &Object| {
        let Kind::Extents { disk, size, units } = &part.kind else {
            let wanted = Shape {
                word: "extents",
                children: 0,
            };
            return Err(Refusal::OtherTree {
                at: path,
                wanted,
                found: Shape::of(object),
            });
        };
        let index = disks.iter().position(|d| d.uid == *disk);
        let index = index.ok_or(Refusal::UnknownDisk {
            at: path,
            disk: *disk,
        })?;
        let (size, units, reasons) = (*size, units.clone(), part.reasons.clone());
        Ok(Piece {
            disk: index,
            size,
            units,
            reasons,
        })
    };
    parts.iter().map(piece).collect()
}
