//! Identities: volumes, disks, nodes, and places in a volume's tree.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// An identity that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not {what}")]
pub struct IdError {
    /// What was given.
    pub text: String,
    /// What was expected.
    pub what: &'static str,
}

macro_rules! uid {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 16]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{self}")
            }
        }
        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                let bad = || IdError { text: text.to_owned(), what: $what };
                if text.len() != 32 || !text.is_ascii() {
                    return Err(bad());
                }
                let mut uid = [0; 16];
                for (i, byte) in uid.iter_mut().enumerate() {
                    *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).map_err(|_| bad())?;
                }
                Ok($name(uid))
            }
        }
        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

uid!(
    /// A volume, for ever: ours, never a Kubernetes UID, never used twice.
    VolumeUid,
    "a volume uid (32 hexadecimal digits)"
);
uid!(
    /// A disk, as its superblock names it.
    DiskUid,
    "a disk uid (32 hexadecimal digits)"
);

/// The name of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeName(pub String);

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A place in a volume's tree: the index of a child at each level from the root. Prints `/`, `/0`,
/// `/0.1`. At most [`ObjectPath::MAX_DEPTH`] levels and 255 children a level, so that it fits 8
/// bytes on disk.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectPath {
    depth: u8,
    steps: [u8; ObjectPath::MAX_DEPTH],
}

impl ObjectPath {
    /// The deepest tree there may be, in levels below the root.
    pub const MAX_DEPTH: usize = 7;
    /// The root of the tree.
    pub const ROOT: ObjectPath = ObjectPath {
        depth: 0,
        steps: [0; Self::MAX_DEPTH],
    };

    /// The child with this index; `None` below the deepest level.
    #[must_use]
    pub fn child(mut self, index: u8) -> Option<Self> {
        *self.steps.get_mut(self.depth as usize)? = index;
        self.depth += 1;
        Some(self)
    }
    /// The indices from the root downwards.
    pub fn steps(&self) -> &[u8] {
        &self.steps[..self.depth as usize]
    }
    /// The eight bytes that stand for it on disk: the depth, then the steps, unused ones zero.
    pub fn to_bytes(self) -> [u8; 8] {
        let mut b = [0; 8];
        b[0] = self.depth;
        b[1..].copy_from_slice(&self.steps);
        b
    }
    /// Reads what [`Self::to_bytes`] wrote; `None` where it wrote no such thing.
    pub fn from_bytes(b: [u8; 8]) -> Option<Self> {
        let depth = b[0];
        let mut steps = [0; Self::MAX_DEPTH];
        steps.copy_from_slice(&b[1..]);
        let unused = steps.get(depth as usize..)?;
        unused
            .iter()
            .all(|s| *s == 0)
            .then_some(ObjectPath { depth, steps })
    }
}

impl fmt::Display for ObjectPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("/")?;
        for (i, s) in self.steps().iter().enumerate() {
            write!(f, "{}{s}", if i == 0 { "" } else { "." })?;
        }
        Ok(())
    }
}

impl fmt::Debug for ObjectPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for ObjectPath {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let bad = || IdError {
            text: text.to_owned(),
            what: "a path in a tree (/, /0, /0.1)",
        };
        let steps = text.strip_prefix('/').ok_or_else(bad)?;
        let mut path = ObjectPath::ROOT;
        for step in steps.split('.').filter(|_| !steps.is_empty()) {
            path = path
                .child(step.parse().map_err(|_| bad())?)
                .ok_or_else(bad)?;
        }
        Ok(path)
    }
}

impl Serialize for ObjectPath {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ObjectPath {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_round_trip() {
        let p = ObjectPath::ROOT.child(0).unwrap().child(12).unwrap();
        assert_eq!(p.to_string(), "/0.12");
        assert_eq!("/0.12".parse::<ObjectPath>().unwrap(), p);
        assert_eq!("/".parse::<ObjectPath>().unwrap(), ObjectPath::ROOT);
        assert_eq!(ObjectPath::from_bytes(p.to_bytes()), Some(p));
        assert_eq!(ObjectPath::from_bytes([8, 0, 0, 0, 0, 0, 0, 0]), None);
        assert_eq!(ObjectPath::from_bytes([0, 1, 0, 0, 0, 0, 0, 0]), None);
        assert!("0.1".parse::<ObjectPath>().is_err());
    }

    #[test]
    fn uids_round_trip() {
        let u = VolumeUid([7; 16]);
        assert_eq!(u.to_string().parse::<VolumeUid>().unwrap(), u);
        assert!("é".repeat(16).parse::<VolumeUid>().is_err());
    }
}
