//! The rules, and who lies where: says of a leaf and a disk whether any hard rule forbids it, and
//! which.
//!
//! Knows nothing of room; that is [`crate::room`]'s part. Rules that look at one disk alone are
//! decided once, as all leaves of an intent stand below the same levels. Rules that look at several
//! are decided against the values that lie below each object, which the book keeps up to date as
//! the search places and takes back.

use crate::frame::Frame;
use layout::intent::{Labels, Node as Want, Rule};
use layout::{Bytes, Disk, Health, ObjectPath};
use std::collections::BTreeMap;
use std::fmt;

/// Why a disk cannot be used for a leaf.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the text of each says what the fields are
pub enum No {
    Health {
        health: Health,
    },
    NotSchedulable,
    NotSelected {
        labels: Labels,
    },
    Excluded {
        labels: Labels,
    },
    Lacks {
        attribute: String,
    },
    Confined {
        at: ObjectPath,
        attribute: String,
        to: String,
    },
    Separated {
        at: ObjectPath,
        attribute: String,
        value: String,
        holder: ObjectPath,
    },
    NoRoom {
        need: Bytes,
    },
}

impl fmt::Display for No {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            No::Health { health } => write!(f, "{health}"),
            No::NotSchedulable => f.write_str("not schedulable"),
            No::NotSelected { labels } => write!(f, "not {labels} (select)"),
            No::Excluded { labels } => write!(f, "{labels} (exclude)"),
            No::Lacks { attribute } => write!(f, "without a value for {attribute}"),
            No::Confined { at, attribute, to } => {
                write!(
                    f,
                    "outside {attribute}={to} (confine by {attribute} at {at})"
                )
            }
            No::Separated {
                at,
                attribute,
                value,
                holder,
            } => {
                write!(
                    f,
                    "in {attribute}={value}, used by {holder} (separate by {attribute} at {at})"
                )
            }
            No::NoRoom { need } => write!(f, "with less than {need} free"),
        }
    }
}

/// The rules of one object that look at several disks, by the index of the attribute.
#[derive(Clone, Default)]
struct Level {
    confine: Vec<usize>,
    /// With whether it is strong.
    separate: Vec<(usize, bool)>,
}

/// The rules, and who lies where.
pub(crate) struct Book<'a> {
    pub frame: &'a Frame<'a>,
    pub disks: &'a [&'a Disk],
    #[cfg(feature = "planted-bugs")]
    pub bug: Option<crate::Bug>,
    /// Attributes that rules confine or separate by.
    attributes: Vec<&'a str>,
    levels: Vec<Level>,
    /// Per disk, what forbids it whatever the others do.
    fixed: Vec<Vec<No>>,
    /// Per disk, the sum of the weights that prefer it.
    pub weight: Vec<u64>,
    /// Per disk a number, the same for disks that no hard rule tells apart by more than their
    /// names.
    pub class: Vec<usize>,
    /// Per object and attribute, the values below with how many pieces have them.
    below: Vec<Vec<BTreeMap<&'a str, u32>>>,
    /// Per object, the demands below that have no disk yet.
    pub pending: Vec<u32>,
}

impl<'a> Book<'a> {
    /// The book of a frame, with all its pieces entered.
    pub fn new(frame: &'a Frame<'a>, disks: &'a [&'a Disk]) -> Self {
        let mut attributes = Vec::new();
        let levels: Vec<Level> = frame
            .nodes
            .iter()
            .map(|n| level(n.want, &mut attributes))
            .collect();
        let chain = chain(frame);
        let fixed = disks
            .iter()
            .map(|d| fixed(&chain, &attributes, d))
            .collect();
        let weight = disks.iter().map(|d| weight(&chain, d)).collect();
        let class = classes(&chain, &attributes, disks);
        let below = vec![vec![BTreeMap::new(); attributes.len()]; frame.nodes.len()];
        let pending = vec![0; frame.nodes.len()];
        let mut book = Book {
            frame,
            disks,
            #[cfg(feature = "planted-bugs")]
            bug: None,
            attributes,
            levels,
            fixed,
            weight,
            class,
            below,
            pending,
        };
        for leaf in frame.leaves() {
            frame.nodes[leaf]
                .pieces
                .iter()
                .for_each(|p| book.enter(leaf, p.disk));
        }
        book
    }

    /// Enters that a leaf lies on a disk.
    pub fn enter(&mut self, leaf: usize, disk: usize) {
        for (a, attribute) in self.attributes.iter().enumerate() {
            if let Some(value) = self.disks[disk].attribute(attribute) {
                for (id, _) in self.frame.upwards(leaf) {
                    *self.below[id][a].entry(value).or_default() += 1;
                }
            }
        }
    }

    /// Takes an entry back.
    pub fn erase(&mut self, leaf: usize, disk: usize) {
        for (a, attribute) in self.attributes.iter().enumerate() {
            if let Some(value) = self.disks[disk].attribute(attribute) {
                for (id, _) in self.frame.upwards(leaf) {
                    let values = &mut self.below[id][a];
                    if let Some(count) = values.get_mut(value) {
                        *count -= 1;
                        if *count == 0 {
                            values.remove(value);
                        }
                    }
                }
            }
        }
    }

    /// The first thing that forbids the disk. With `whole`, the leaf will lie on this disk and no
    /// further one.
    pub fn no(&self, leaf: usize, disk: usize, whole: bool) -> Option<No> {
        self.fixed_nos(disk).next().cloned().or_else(|| {
            let mut first = None;
            self.moving(leaf, disk, whole, &mut |no| {
                first.get_or_insert(no);
            });
            first
        })
    }

    /// All that forbids the disk.
    pub fn nos(&self, leaf: usize, disk: usize) -> Vec<No> {
        let mut all: Vec<No> = self.fixed_nos(disk).cloned().collect();
        self.moving(leaf, disk, true, &mut |no| all.push(no));
        all
    }

    /// What forbids the disk whatever the others do.
    fn fixed_nos(&self, disk: usize) -> impl Iterator<Item = &No> {
        self.fixed[disk].iter().filter(|no| !self.planted(no))
    }

    #[cfg(not(feature = "planted-bugs"))]
    #[allow(clippy::unused_self)] // the other build looks at itself
    fn planted(&self, _: &No) -> bool {
        false
    }

    #[cfg(feature = "planted-bugs")]
    fn planted(&self, no: &No) -> bool {
        self.bug.is_some_and(|bug| bug.forgets(no))
    }

    /// What forbids the disk because of where others lie.
    fn moving(&self, leaf: usize, disk: usize, whole: bool, say: &mut impl FnMut(No)) {
        let mut say = |no: No| {
            if !self.planted(&no) {
                say(no);
            }
        };
        for (id, child) in self.frame.upwards(leaf) {
            let at = self.frame.nodes[id].path;
            for a in &self.levels[id].confine {
                let value = self.value(disk, *a);
                if let Some(to) = self.below[id][*a].keys().find(|v| Some(**v) != value) {
                    let attribute = self.attributes[*a].to_owned();
                    say(No::Confined {
                        at,
                        attribute,
                        to: (*to).to_owned(),
                    });
                }
            }
            let Some(child) = child else { continue };
            for (a, strong) in &self.levels[id].separate {
                let Some(value) = self.value(disk, *a) else {
                    continue;
                };
                let taken =
                    |s: &&usize| **s != child && self.clash(child, **s, *a, value, *strong, whole);
                if let Some(holder) = self.frame.nodes[id].children.iter().find(taken) {
                    let holder = self.frame.nodes[*holder].path;
                    let (attribute, value) = (self.attributes[*a].to_owned(), value.to_owned());
                    say(No::Separated {
                        at,
                        attribute,
                        value,
                        holder,
                    });
                }
            }
        }
    }

    /// Whether two siblings would no longer be separate if one got this value too.
    fn clash(
        &self,
        c: usize,
        sibling: usize,
        a: usize,
        v: &str,
        strong: bool,
        whole: bool,
    ) -> bool {
        let (mine, theirs) = (&self.below[c][a], &self.below[sibling][a]);
        if strong {
            return theirs.contains_key(v);
        }
        // Not strong: only complete sets can be the same.
        let complete = whole && self.pending[c] <= 1 && self.pending[sibling] == 0;
        let with_v = mine.len() + usize::from(!mine.contains_key(v));
        complete
            && theirs.contains_key(v)
            && theirs.len() == with_v
            && mine.keys().all(|k| theirs.contains_key(k))
    }

    /// Whether every object above the leaf that has just become complete differs from its complete
    /// siblings where it must. Strong rules are kept at every step; this is for the others.
    pub fn complete_ones_differ(&self, leaf: usize) -> bool {
        self.frame.upwards(leaf).all(|(id, child)| {
            let Some(child) = child.filter(|c| self.pending[*c] == 0) else {
                return true;
            };
            let weak = self.levels[id]
                .separate
                .iter()
                .filter(|(_, strong)| !strong);
            let differs = |a: usize| {
                let mine = &self.below[child][a];
                self.frame.nodes[id].children.iter().all(|s| {
                    let theirs = &self.below[*s][a];
                    *s == child || self.pending[*s] > 0 || !mine.keys().eq(theirs.keys())
                })
            };
            weak.into_iter().all(|(a, _)| differs(*a))
        })
    }

    fn value(&self, disk: usize, attribute: usize) -> Option<&'a str> {
        self.disks[disk].attribute(self.attributes[attribute])
    }

    /// How many values of an attribute lie below an object.
    pub fn entered(&self, id: usize, attribute: &str) -> usize {
        let index = self.attributes.iter().position(|a| *a == attribute);
        index.map_or(0, |a| self.below[id][a].len())
    }

    /// How many pieces of the volume lie on a disk.
    pub fn pieces_on(&self, disk: usize) -> u32 {
        let Some(a) = self.attributes.iter().position(|a| *a == "disk") else {
            return 0;
        };
        let name = self.disks[disk].name.as_str();
        self.below[0][a].get(name).copied().unwrap_or(0)
    }
}

/// Per disk a number, the same for disks that are the same to every hard rule, their names apart.
fn classes(chain: &[&Want], attributes: &[&str], disks: &[&Disk]) -> Vec<usize> {
    let mut named: Vec<&str> = attributes
        .iter()
        .copied()
        .filter(|a| *a != "disk")
        .collect();
    for rule in chain.iter().flat_map(|w| w.rules()) {
        if let Rule::Select(l) | Rule::Exclude(l) = rule {
            named.extend(l.0.keys().map(String::as_str));
        }
    }
    let mut seen = BTreeMap::new();
    let mut class = |d: &&Disk| {
        let values: Vec<Option<&str>> = named.iter().map(|a| d.attribute(a)).collect();
        let next = seen.len();
        *seen
            .entry(
                values
                    .into_iter()
                    .map(|v| v.map(str::to_owned))
                    .collect::<Vec<_>>(),
            )
            .or_insert(next)
    };
    disks.iter().map(&mut class).collect()
}

/// The levels of the intent from the root down.
fn chain<'a>(frame: &Frame<'a>) -> Vec<&'a Want> {
    let mut chain = vec![frame.nodes[0].want];
    while let Some((_, below)) = chain.last().and_then(|w| w.below()) {
        chain.push(below);
    }
    chain
}

/// The rules of one level that look at several disks. Copies of a mirror never share a disk.
fn level<'a>(want: &'a Want, attributes: &mut Vec<&'a str>) -> Level {
    let mut index = |name: &'a str| {
        attributes
            .iter()
            .position(|a| *a == name)
            .unwrap_or_else(|| {
                attributes.push(name);
                attributes.len() - 1
            })
    };
    // Always counted: whether a disk is used by the volume at all.
    let disk = index("disk");
    let mut level = Level::default();
    for rule in want.rules() {
        match rule {
            Rule::Confine(r) => level.confine.push(index(&r.by)),
            Rule::Separate(r) => level.separate.push((index(&r.by), r.strong)),
            Rule::Select(_) | Rule::Exclude(_) | Rule::Prefer(_) => {}
        }
    }
    if matches!(want, Want::Mirror(_)) {
        level.separate.push((disk, true));
    }
    level
}

/// What forbids a disk whatever the others do.
fn fixed(chain: &[&Want], attributes: &[&str], disk: &Disk) -> Vec<No> {
    let mut nos = Vec::new();
    if disk.health != Health::Ok {
        nos.push(No::Health {
            health: disk.health,
        });
    }
    if !disk.schedulable {
        nos.push(No::NotSchedulable);
    }
    for rule in chain.iter().flat_map(|w| w.rules()) {
        match rule {
            Rule::Select(l) if !matches(l, disk) => {
                nos.push(No::NotSelected { labels: l.clone() });
            }
            Rule::Exclude(l) if matches(l, disk) => nos.push(No::Excluded { labels: l.clone() }),
            _ => {}
        }
    }
    let lacks = attributes.iter().filter(|a| disk.attribute(a).is_none());
    nos.extend(lacks.map(|a| No::Lacks {
        attribute: (*a).to_owned(),
    }));
    nos
}

fn weight(chain: &[&Want], disk: &Disk) -> u64 {
    let weigh = |rule: &Rule| match rule {
        Rule::Prefer(p) if matches(&p.labels, disk) => u64::from(p.weight),
        _ => 0,
    };
    chain.iter().flat_map(|w| w.rules()).map(weigh).sum()
}

/// Whether a disk matches a label expression.
fn matches(labels: &Labels, disk: &Disk) -> bool {
    labels.0.iter().all(|(attribute, values)| {
        let value = disk.attribute(attribute);
        value.is_some_and(|v| values.0.contains("*") || values.0.contains(v))
    })
}
