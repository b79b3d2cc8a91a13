//! A placed volume: the tree of storage objects that the allocator made, with the description of
//! each object (spec A4).

use crate::ids::{DiskUid, NodeName, ObjectPath, VolumeUid};
use crate::units::{Bytes, Generation, UNIT};
use serde::{Deserialize, Serialize};

/// One volume's placement, whole. The allocator alone makes and changes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Layout {
    /// Which volume.
    pub volume: VolumeUid,
    /// What people call it.
    pub name: String,
    /// Counts the versions of this layout; storage refuses older ones.
    pub generation: Generation,
    /// Bytes that the volume shows; a multiple of a block, at most what the root holds.
    pub size: Bytes,
    /// The tree.
    pub root: Object,
}

/// Where in the storage stack an object is evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// On the node that uses the volume.
    Host,
    /// On a node in between.
    Interconnect,
    /// On the node that has the disk.
    Storage,
}

/// One object with its description.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Object {
    /// Where it is evaluated.
    pub level: Level,
    /// The node that evaluates it.
    pub node: NodeName,
    /// The layout's generation at which this object's own map last changed.
    pub generation: Generation,
    /// What the rules above it may rely on, e.g. `rack=a` or `separate(enclosure)`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub properties: Vec<String>,
    /// The rule that decided, in words, for `explain`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    /// What it is.
    #[serde(flatten)]
    pub kind: Kind,
}

/// The kinds of object. A leaf lies on one disk; a leg on several disks is a concat of leaves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Round robin over equal columns, `unit` bytes at a time.
    Stripe {
        /// Bytes a column takes before the next one's turn; a multiple of a segment.
        unit: Bytes,
        /// The columns, of equal size, each a multiple of `unit`.
        columns: Vec<Object>,
    },
    /// The same content in every copy.
    Mirror {
        /// The copies (legs), of equal size.
        copies: Vec<Object>,
    },
    /// One after the other.
    Concat {
        /// The parts in order.
        parts: Vec<Object>,
    },
    /// Extents of one disk, mapped thinly.
    Extents {
        /// The disk.
        disk: DiskUid,
        /// Bytes that the object shows; what is granted may be less (thin).
        size: Bytes,
        /// What is granted to it, in allocation units of the disk, ordered, no overlaps.
        units: Vec<UnitRange>,
    },
}

/// A run of allocation units of one disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct UnitRange {
    /// The first unit.
    pub start: u32,
    /// How many.
    pub count: u32,
}

impl UnitRange {
    /// The unit after the last.
    pub fn end(&self) -> u32 {
        self.start + self.count
    }
    /// The units one by one.
    pub fn iter(&self) -> impl Iterator<Item = u32> + use<> {
        self.start..self.start + self.count
    }
}

impl Object {
    /// The objects directly below, in order; none below a leaf.
    pub fn children(&self) -> &[Object] {
        match &self.kind {
            Kind::Stripe { columns: c, .. }
            | Kind::Mirror { copies: c }
            | Kind::Concat { parts: c } => c,
            Kind::Extents { .. } => &[],
        }
    }

    /// Bytes that the object shows to the level above.
    pub fn size(&self) -> Bytes {
        match &self.kind {
            Kind::Stripe { columns, .. } => Bytes(columns.iter().map(|c| c.size().0).sum()),
            Kind::Concat { parts } => Bytes(parts.iter().map(|c| c.size().0).sum()),
            Kind::Mirror { copies } => copies.first().map_or(Bytes(0), Object::size),
            Kind::Extents { size, .. } => *size,
        }
    }

    /// Visits this object and all below it, parents first, each with its path from `at`.
    pub fn visit<'a>(&'a self, at: ObjectPath, f: &mut impl FnMut(ObjectPath, &'a Object)) {
        f(at, self);
        for (i, child) in self.children().iter().enumerate() {
            if let Some(path) = u8::try_from(i).ok().and_then(|i| at.child(i)) {
                child.visit(path, f);
            }
        }
    }

    /// Bytes granted to all leaves below, in whole units.
    pub fn granted(&self) -> Bytes {
        let mut sum = 0;
        self.visit(ObjectPath::ROOT, &mut |_, o| {
            if let Kind::Extents { units, .. } = &o.kind {
                sum += units.iter().map(|u| u64::from(u.count) * UNIT).sum::<u64>();
            }
        });
        Bytes(sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layout_is_read_and_written_in_any_format() {
        let leaf = |n: u8| Object {
            level: Level::Storage,
            node: NodeName("n1".to_owned()),
            generation: Generation(1),
            properties: vec![],
            reasons: vec!["select media=ssd".to_owned()],
            kind: Kind::Extents {
                disk: DiskUid([n; 16]),
                size: Bytes::mib(64),
                units: vec![UnitRange { start: 3, count: 1 }],
            },
        };
        let copies = vec![leaf(1), leaf(2)];
        let root = Object {
            level: Level::Host,
            kind: Kind::Mirror { copies },
            ..leaf(0)
        };
        let layout = Layout {
            volume: VolumeUid([9; 16]),
            name: "v".to_owned(),
            generation: Generation(1),
            size: Bytes::mib(64),
            root,
        };
        let json = serde_json::to_string(&layout).unwrap();
        assert_eq!(serde_json::from_str::<Layout>(&json).unwrap(), layout);
        assert!(serde_json::from_str::<Layout>(&json.replace("\"level\"", "\"colour\"")).is_err());
        let yaml = serde_yaml::to_string(&layout).unwrap();
        assert_eq!(serde_yaml::from_str::<Layout>(&yaml).unwrap(), layout);
    }
}
