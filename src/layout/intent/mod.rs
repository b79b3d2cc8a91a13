//! What a volume must be, not where it goes: the tree that a person asks for, and the rules on it
//! (spec A1, A2).
//!
//! Types and their text form only. Whether an intent makes sense is [`Intent::validate`]'s
//! business, where it goes is the allocator's, whether a layout satisfies it the checker's.
//! Unknown fields, kinds and rules are errors of the parser: an intent never says more than what is
//! obeyed.

mod text;
mod validate;

#[cfg(test)]
mod tests;

pub use validate::IntentError;

use crate::units::{Bytes, SEGMENT};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The version of the text form that this code reads and writes.
pub const API_VERSION: &str = "stratovol.io/v1alpha1";
/// The kind of object that an intent is.
pub const KIND: &str = "VolumeIntent";
/// The most leaves that a tree may have, so that a layout and a search over it stay bounded.
pub const MAX_LEAVES: u64 = 1024;
/// The largest stripe unit.
pub const MAX_STRIPE_UNIT: Bytes = Bytes::gib(1);

/// What one volume must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Intent {
    /// [`API_VERSION`].
    pub api_version: String,
    /// [`KIND`].
    pub kind: String,
    /// What people call it.
    pub metadata: Metadata,
    /// What it must be.
    pub spec: Spec,
}

/// The name of an intent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Metadata {
    /// What people call the volume; not empty.
    pub name: String,
}

/// The size and the tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Spec {
    /// Bytes that the volume shows; a multiple of a block, more than zero.
    pub size: Bytes,
    /// What it is made of.
    pub tree: Node,
}

/// A level of the tree. Written as a map with one key, `mirror: {copies: 2, of: …}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "text::RawNode", into = "text::RawNode")]
pub enum Node {
    /// Round robin over equal columns.
    Stripe(Stripe),
    /// The same content in every copy.
    Mirror(Mirror),
    /// One after the other.
    Concat(Concat),
    /// Extents of disks: where the tree ends.
    Extents(Extents),
}

/// Round robin over equal columns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Stripe {
    /// How many columns, 1 to 255. One is allowed: columns can be added to it later.
    pub columns: u32,
    /// Bytes that a column takes before the next one's turn; a multiple of a segment.
    pub unit: Bytes,
    /// The rules of this level.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
    /// What each column is.
    pub of: Box<Node>,
}

/// The same content in every copy. Two copies never share a disk; no rule is needed for that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Mirror {
    /// How many copies, 1 to 255. One is allowed: a copy can be added to it later without changing
    /// the tree.
    pub copies: u32,
    /// The rules of this level.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
    /// What each copy is.
    pub of: Box<Node>,
}

/// One after the other. Parts are of equal size when the volume is made; growth goes to the last
/// one, since growing another would move the content behind it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Concat {
    /// How many parts, 1 to 255.
    pub parts: u32,
    /// The rules of this level.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
    /// What each part is.
    pub of: Box<Node>,
}

/// Extents of one disk; of several, one after the other, where no single disk has room and no rule
/// forbids it (`confine: {by: disk}` does).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Extents {
    /// The rules of this level.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
}

/// A rule over attributes of disks (spec A2). Written as a map with one key, `separate: {by:
/// rack}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "text::RawRule", into = "text::RawRule")]
pub enum Rule {
    /// All disks below share one value of the attribute. A disk without it is not used.
    Confine(By),
    /// The children differ in the value. A disk without the attribute is not used.
    Separate(Separate),
    /// Only disks that match are used.
    Select(Labels),
    /// Disks that match are not used.
    Exclude(Labels),
    /// Among the disks that may be used, those that match come first; the weights of all that match
    /// add up.
    Prefer(Prefer),
}

/// Names an attribute: `node`, `disk`, or a key of the disk's attributes (`enclosure`, `rack`,
/// `zone`, `media`, user labels).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct By {
    /// The attribute.
    pub by: String,
}

/// How children differ. Each child has the set of the values of its disks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Separate {
    /// The attribute.
    pub by: String,
    /// Whether the sets of two children must have nothing in common. Without it they must not be
    /// the same set, which is the same thing as long as each child lies within one value.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub strong: bool,
}

/// A soft rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Prefer {
    /// 1 to 1000.
    pub weight: u32,
    /// Which disks.
    #[serde(rename = "match")]
    pub labels: Labels,
}

/// A label expression: for each attribute the values that match, `"*"` for any. A disk matches when
/// it matches for every attribute named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Labels(pub BTreeMap<String, Values>);

/// One value or a list of values, any of which matches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "text::OneOrMany", into = "text::OneOrMany")]
pub struct Values(pub BTreeSet<String>);

impl Node {
    /// The rules of this level.
    pub fn rules(&self) -> &[Rule] {
        match self {
            Node::Stripe(n) => &n.rules,
            Node::Mirror(n) => &n.rules,
            Node::Concat(n) => &n.rules,
            Node::Extents(n) => &n.rules,
        }
    }

    /// How many children each object of this level has, and what each is; `None` where the tree
    /// ends.
    pub fn below(&self) -> Option<(u32, &Node)> {
        match self {
            Node::Stripe(n) => Some((n.columns, &n.of)),
            Node::Mirror(n) => Some((n.copies, &n.of)),
            Node::Concat(n) => Some((n.parts, &n.of)),
            Node::Extents(_) => None,
        }
    }

    /// The word for this kind of level, as it is written in an intent.
    pub fn word(&self) -> &'static str {
        match self {
            Node::Stripe(_) => "stripe",
            Node::Mirror(_) => "mirror",
            Node::Concat(_) => "concat",
            Node::Extents(_) => "extents",
        }
    }

    /// The step in which the size of an object of this level can grow: sizes are multiples of it.
    /// `None` if it does not fit 64 bits. With equal parts (when a volume is made) a concat is a
    /// multiple of its parts' steps together.
    pub fn size_step(&self, equal_parts: bool) -> Option<Bytes> {
        match self {
            Node::Extents(_) => Some(Bytes(SEGMENT)),
            Node::Mirror(n) => n.of.size_step(equal_parts),
            Node::Concat(n) => {
                let parts = if equal_parts { u64::from(n.parts) } else { 1 };
                n.of.size_step(equal_parts)?.0.checked_mul(parts).map(Bytes)
            }
            Node::Stripe(n) => {
                let column = common_multiple(n.unit.0, n.of.size_step(equal_parts)?.0)?;
                column.checked_mul(u64::from(n.columns)).map(Bytes)
            }
        }
    }
}

/// The least common multiple; `None` for zeros and where it does not fit.
fn common_multiple(a: u64, b: u64) -> Option<u64> {
    let (mut x, mut y) = (a, b);
    while y != 0 {
        (x, y) = (y, x % y);
    }
    a.checked_div(x)?.checked_mul(b).filter(|m| *m > 0)
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rule::Confine(r) => write!(f, "confine by {}", r.by),
            Rule::Separate(r) if r.strong => write!(f, "strong separate by {}", r.by),
            Rule::Separate(r) => write!(f, "separate by {}", r.by),
            Rule::Select(l) => write!(f, "select {l}"),
            Rule::Exclude(l) => write!(f, "exclude {l}"),
            Rule::Prefer(p) => write!(f, "prefer {} (weight {})", p.labels, p.weight),
        }
    }
}

impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (attribute, values)) in self.0.iter().enumerate() {
            let values: Vec<&str> = values.0.iter().map(String::as_str).collect();
            write!(
                f,
                "{}{attribute}={}",
                if i == 0 { "" } else { "," },
                values.join("|")
            )?;
        }
        Ok(())
    }
}
