//! The text form of levels and rules: a map with exactly one key, in any format that serde reads.
//!
//! Not derived as an enum, because formats differ in how they write one (YAML would want tags).

use super::{By, Concat, Extents, Labels, Mirror, Node, Prefer, Rule, Separate, Stripe, Values};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A map that does not name exactly one kind of level, or one rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TextError {
    #[error("a level of the tree names one of stripe, mirror, concat, extents; this names {0}")]
    Level(usize),
    #[error("a rule names one of confine, separate, select, exclude, prefer; this names {0}")]
    Rule(usize),
    #[error("'{0}' is not supported by this version")]
    NotYet(&'static str),
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct RawNode {
    #[serde(skip_serializing_if = "Option::is_none")]
    stripe: Option<Stripe>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mirror: Option<Mirror>,
    #[serde(skip_serializing_if = "Option::is_none")]
    concat: Option<Concat>,
    #[serde(skip_serializing_if = "Option::is_none")]
    extents: Option<Extents>,
    #[serde(skip_serializing)]
    parity: Option<IgnoredAny>,
}

impl TryFrom<RawNode> for Node {
    type Error = TextError;
    fn try_from(raw: RawNode) -> Result<Node, TextError> {
        let RawNode {
            stripe,
            mirror,
            concat,
            extents,
            parity,
        } = raw;
        if parity.is_some() {
            return Err(TextError::NotYet("parity"));
        }
        let mut named: Vec<Node> = stripe.map(Node::Stripe).into_iter().collect();
        named.extend(mirror.map(Node::Mirror));
        named.extend(concat.map(Node::Concat));
        named.extend(extents.map(Node::Extents));
        match named.pop() {
            Some(node) if named.is_empty() => Ok(node),
            Some(_) => Err(TextError::Level(named.len() + 1)),
            None => Err(TextError::Level(0)),
        }
    }
}

impl From<Node> for RawNode {
    fn from(node: Node) -> RawNode {
        let mut raw = RawNode::default();
        match node {
            Node::Stripe(n) => raw.stripe = Some(n),
            Node::Mirror(n) => raw.mirror = Some(n),
            Node::Concat(n) => raw.concat = Some(n),
            Node::Extents(n) => raw.extents = Some(n),
        }
        raw
    }
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct RawRule {
    #[serde(skip_serializing_if = "Option::is_none")]
    confine: Option<By>,
    #[serde(skip_serializing_if = "Option::is_none")]
    separate: Option<Separate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    select: Option<Labels>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exclude: Option<Labels>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prefer: Option<Prefer>,
    #[serde(skip_serializing)]
    spread: Option<IgnoredAny>,
}

impl TryFrom<RawRule> for Rule {
    type Error = TextError;
    fn try_from(raw: RawRule) -> Result<Rule, TextError> {
        let RawRule {
            confine,
            separate,
            select,
            exclude,
            prefer,
            spread,
        } = raw;
        if spread.is_some() {
            return Err(TextError::NotYet("spread"));
        }
        let mut named: Vec<Rule> = confine.map(Rule::Confine).into_iter().collect();
        named.extend(separate.map(Rule::Separate));
        named.extend(select.map(Rule::Select));
        named.extend(exclude.map(Rule::Exclude));
        named.extend(prefer.map(Rule::Prefer));
        match named.pop() {
            Some(rule) if named.is_empty() => Ok(rule),
            Some(_) => Err(TextError::Rule(named.len() + 1)),
            None => Err(TextError::Rule(0)),
        }
    }
}

impl From<Rule> for RawRule {
    fn from(rule: Rule) -> RawRule {
        let mut raw = RawRule::default();
        match rule {
            Rule::Confine(r) => raw.confine = Some(r),
            Rule::Separate(r) => raw.separate = Some(r),
            Rule::Select(r) => raw.select = Some(r),
            Rule::Exclude(r) => raw.exclude = Some(r),
            Rule::Prefer(r) => raw.prefer = Some(r),
        }
        raw
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "a value (as text) or a list of values")]
pub(super) enum OneOrMany {
    One(String),
    Many(BTreeSet<String>),
}

impl From<OneOrMany> for Values {
    fn from(raw: OneOrMany) -> Values {
        match raw {
            OneOrMany::One(value) => Values([value].into()),
            OneOrMany::Many(values) => Values(values),
        }
    }
}

impl From<Values> for OneOrMany {
    fn from(Values(mut values): Values) -> OneOrMany {
        match values.pop_first() {
            Some(value) if values.is_empty() => OneOrMany::One(value),
            first => OneOrMany::Many(first.into_iter().chain(values).collect()),
        }
    }
}
