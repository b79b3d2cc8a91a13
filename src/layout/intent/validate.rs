//! Whether an intent makes sense by itself, before anybody looks at disks.
//!
//! Finds everything that is wrong, not only the first thing, and names the place in the text. What
//! it lets pass may still be more than the disks can give: that is the allocator's refusal.

use super::{API_VERSION, Intent, KIND, Labels, MAX_LEAVES, MAX_STRIPE_UNIT, Node, Rule};
use crate::ids::ObjectPath;
use crate::units::{BLOCK, Bytes, SEGMENT};
use std::collections::{BTreeMap, BTreeSet};

/// Levels below the root that an intent may have: one less than a layout, whose leaves may be split
/// over disks.
pub(super) const MAX_LEVELS: usize = ObjectPath::MAX_DEPTH - 1;

/// One thing that is wrong with an intent. `at` is the place in its text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // the messages say what the fields are
pub enum IntentError {
    #[error("apiVersion is '{found}', not '{API_VERSION}'")]
    ApiVersion { found: String },
    #[error("kind is '{found}', not '{KIND}'")]
    Kind { found: String },
    #[error("metadata.name is empty")]
    NoName,
    #[error("spec.size is zero")]
    ZeroSize,
    #[error("spec.size: {size} ({} bytes) is not a multiple of a block ({BLOCK} bytes)", size.0)]
    UnevenSize { size: Bytes },
    #[error("spec.size: {size}, rounded up to equal columns and parts, does not fit 64 bits")]
    SizeTooLarge { size: Bytes },
    #[error("{at}: {count} {what}, but 1 to 255 are possible")]
    Count {
        at: String,
        what: &'static str,
        count: u32,
    },
    #[error("{at}: unit {unit} is not a multiple of 1 MiB between 1 MiB and {MAX_STRIPE_UNIT}")]
    StripeUnit { at: String, unit: Bytes },
    #[error(
        "{at}: a mirror inside a mirror; the data path keeps copies at one level of a path, so ask for more copies in one mirror"
    )]
    NestedMirror { at: String },
    #[error("the tree has {levels} levels below its root; {MAX_LEVELS} are possible")]
    TooDeep { levels: usize },
    #[error("the tree has {leaves} leaves; {MAX_LEAVES} are possible")]
    TooManyLeaves { leaves: u64 },
    #[error("{at}: '{rule}' names no attribute or an empty value")]
    EmptyRule { at: String, rule: Rule },
    #[error("{at}: '{rule}' has a weight outside 1 to 1000")]
    Weight { at: String, rule: Rule },
    #[error("{at}: '{rule}' has no children to separate: it belongs to the level above")]
    NothingToSeparate { at: String, rule: Rule },
    #[error("{at}: '{rule}' contradicts '{other}' of {other_at}: {why}")]
    Contradiction {
        at: String,
        rule: Rule,
        other: Box<Rule>,
        other_at: String,
        why: &'static str,
    },
}

/// A rule with the place it was written at.
type Placed<'a> = (String, &'a Rule);

impl Intent {
    /// Says everything that is wrong with the intent.
    ///
    /// # Errors
    /// All of [`IntentError`] that apply, in the order of the text.
    pub fn validate(&self) -> Result<(), Vec<IntentError>> {
        let mut errors = Vec::new();
        if self.api_version != API_VERSION {
            errors.push(IntentError::ApiVersion {
                found: self.api_version.clone(),
            });
        }
        if self.kind != KIND {
            errors.push(IntentError::Kind {
                found: self.kind.clone(),
            });
        }
        if self.metadata.name.is_empty() {
            errors.push(IntentError::NoName);
        }
        let size = self.spec.size;
        if size.0 == 0 {
            errors.push(IntentError::ZeroSize);
        } else if !size.0.is_multiple_of(BLOCK) {
            errors.push(IntentError::UnevenSize { size });
        }
        let before = errors.len();
        bounds(&self.spec.tree, &mut errors);
        if errors.len() == before {
            let step = self.spec.tree.size_step(true);
            if step
                .and_then(|s| size.0.checked_next_multiple_of(s.0))
                .is_none()
            {
                errors.push(IntentError::SizeTooLarge { size });
            }
        }
        rules(&self.spec.tree, &mut errors);
        if errors.is_empty() {
            Ok(())
        } else {
            Err(errors)
        }
    }
}

/// The levels from the root down with their places in the text.
fn levels(tree: &Node) -> Vec<(String, &Node)> {
    let mut at = format!("spec.tree.{}", tree.word());
    let mut all = vec![(at.clone(), tree)];
    let mut node = tree;
    while let Some((_, below)) = node.below() {
        at = format!("{at}.of.{}", below.word());
        all.push((at.clone(), below));
        node = below;
    }
    all
}

/// Counts, units, depth, and how mirrors nest.
fn bounds(tree: &Node, errors: &mut Vec<IntentError>) {
    let levels = levels(tree);
    if levels.len() - 1 > MAX_LEVELS {
        errors.push(IntentError::TooDeep {
            levels: levels.len() - 1,
        });
    }
    let (mut leaves, mut mirrored) = (1u64, false);
    for (at, node) in &levels {
        let (what, count) = match node {
            Node::Stripe(n) => ("columns", n.columns),
            Node::Mirror(n) => ("copies", n.copies),
            Node::Concat(n) => ("parts", n.parts),
            Node::Extents(_) => continue,
        };
        leaves = leaves.saturating_mul(u64::from(count));
        if !(1..=255).contains(&count) {
            errors.push(IntentError::Count {
                at: at.clone(),
                what,
                count,
            });
        }
        if let Node::Stripe(n) = node
            && (!n.unit.0.is_multiple_of(SEGMENT) || n.unit.0 == 0 || n.unit > MAX_STRIPE_UNIT)
        {
            errors.push(IntentError::StripeUnit {
                at: at.clone(),
                unit: n.unit,
            });
        }
        if matches!(node, Node::Mirror(_)) && std::mem::replace(&mut mirrored, true) {
            errors.push(IntentError::NestedMirror { at: at.clone() });
        }
    }
    if leaves > MAX_LEAVES {
        errors.push(IntentError::TooManyLeaves { leaves });
    }
}

/// The rules one by one, and then against each other. All leaves of a tree of intent lie below the
/// same levels, so rules meet wherever they stand.
fn rules(tree: &Node, errors: &mut Vec<IntentError>) {
    let levels = levels(tree);
    let mut confined: Vec<Placed<'_>> = Vec::new();
    let mut placed: Vec<Placed<'_>> = Vec::new();
    for (at, node) in &levels {
        for (i, rule) in node.rules().iter().enumerate() {
            let at = format!("{at}.rules[{i}]");
            single(&at, rule, node, errors);
            if matches!(rule, Rule::Confine(_)) {
                confined.push((at.clone(), rule));
            }
            placed.push((at, rule));
        }
        // Confined to one value above, or here, and to be separated by the same attribute here.
        let children = node.below().map_or(0, |(count, _)| count);
        for (confine_at, confine) in &confined {
            let Rule::Confine(by) = confine else { continue };
            let Some((rule_at, rule)) = separated_by(at, node, &by.by) else {
                continue;
            };
            if children > 1 {
                errors.push(IntentError::Contradiction {
                    at: rule_at,
                    rule,
                    other: Box::new((*confine).clone()),
                    other_at: confine_at.clone(),
                    why: "what shares one value cannot differ in it",
                });
            }
        }
    }
    selections(&placed, errors);
}

/// The rule of this level that separates by the attribute; a mirror separates by disk without being
/// asked.
fn separated_by(at: &str, node: &Node, by: &str) -> Option<(String, Rule)> {
    for (i, rule) in node.rules().iter().enumerate() {
        if matches!(rule, Rule::Separate(s) if s.by == by) {
            return Some((format!("{at}.rules[{i}]"), rule.clone()));
        }
    }
    let implied = super::Separate {
        by: "disk".to_owned(),
        strong: true,
    };
    (matches!(node, Node::Mirror(_)) && by == "disk")
        .then(|| (at.to_owned(), Rule::Separate(implied)))
}

/// One rule by itself.
fn single(at: &str, rule: &Rule, node: &Node, errors: &mut Vec<IntentError>) {
    let bad_labels = |l: &Labels| {
        l.0.is_empty()
            || l.0
                .iter()
                .any(|(a, v)| a.is_empty() || v.0.is_empty() || v.0.contains(""))
    };
    let empty = match rule {
        Rule::Confine(r) => r.by.is_empty(),
        Rule::Separate(r) => r.by.is_empty(),
        Rule::Select(l) | Rule::Exclude(l) => bad_labels(l),
        Rule::Prefer(p) => bad_labels(&p.labels),
    };
    if empty {
        errors.push(IntentError::EmptyRule {
            at: at.to_owned(),
            rule: rule.clone(),
        });
    }
    if matches!(rule, Rule::Prefer(p) if !(1..=1000).contains(&p.weight)) {
        errors.push(IntentError::Weight {
            at: at.to_owned(),
            rule: rule.clone(),
        });
    }
    if matches!((rule, node), (Rule::Separate(_), Node::Extents(_))) {
        errors.push(IntentError::NothingToSeparate {
            at: at.to_owned(),
            rule: rule.clone(),
        });
    }
}

/// Selections that leave nothing: two that have no value in common, or an exclusion of all that is
/// selected.
fn selections(placed: &[Placed<'_>], errors: &mut Vec<IntentError>) {
    let mut allowed: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut last: BTreeMap<&str, &Placed<'_>> = BTreeMap::new();
    let contradiction = |new: &Placed<'_>, old: &Placed<'_>, why| IntentError::Contradiction {
        at: new.0.clone(),
        rule: new.1.clone(),
        other: Box::new(old.1.clone()),
        other_at: old.0.clone(),
        why,
    };
    for here in placed {
        let Rule::Select(labels) = here.1 else {
            continue;
        };
        for (attribute, values) in labels.0.iter().filter(|(_, v)| !v.0.contains("*")) {
            let values: BTreeSet<&str> = values.0.iter().map(String::as_str).collect();
            if let (Some(old), Some(other)) = (
                allowed.get(attribute.as_str()),
                last.get(attribute.as_str()),
            ) {
                if old.is_disjoint(&values) {
                    errors.push(contradiction(here, other, "no value satisfies both"));
                    continue;
                }
                let both = old.intersection(&values).copied().collect();
                allowed.insert(attribute, both);
            } else {
                allowed.insert(attribute, values);
            }
            last.insert(attribute, here);
        }
    }
    for here in placed {
        let Rule::Exclude(labels) = here.1 else {
            continue;
        };
        // Every selected disk is excluded when each attribute of the exclusion covers all that is
        // selected of it.
        let covers = |(attribute, values): (&String, &super::Values)| {
            let selected = allowed.get(attribute.as_str())?;
            let any = values.0.contains("*");
            let covered = any || selected.iter().all(|s| values.0.contains(*s));
            if covered {
                last.get(attribute.as_str()).copied()
            } else {
                None
            }
        };
        let covered: Option<Vec<_>> = labels.0.iter().map(covers).collect();
        if let Some(other) = covered.as_ref().and_then(|c| c.first()) {
            errors.push(contradiction(
                here,
                other,
                "every disk that is selected is excluded",
            ));
        }
    }
}
