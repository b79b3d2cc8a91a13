//! What is missing when there is no placement: found by counting, not by searching.
//!
//! Used twice. Before the search, as a proof that it would be in vain: then only what is necessary
//! for any placement counts. After it, for the words of the refusal: then also what is usual, such
//! as that a copy lies within one value of the attribute that copies are separated by.

use crate::book::{Book, No};
use crate::room::{Demand, Room};
use layout::intent::{Node as Want, Rule};
use layout::{Bytes, ObjectPath, UNIT};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the text of each says what the fields are
pub enum Shortage {
    /// Values of an attribute with enough room.
    Values {
        at: ObjectPath,
        attribute: String,
        needed: usize,
        each: Bytes,
        on: String,
        have: Vec<String>,
    },
    /// Room, wherever it is.
    Room {
        at: ObjectPath,
        needed: Bytes,
        free: Bytes,
        on: String,
        one_disk: bool,
    },
    /// Nothing by itself: the rules do not go together on these disks.
    Together { on: String },
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Shortage::Values {
                at,
                attribute,
                needed,
                each,
                on,
                have,
            } => {
                let s = if *needed == 1 { "" } else { "s" };
                write!(
                    f,
                    "{at} needs {needed} {attribute}{s} with {each} free{on}; "
                )?;
                match have.as_slice() {
                    [] => f.write_str("none has it"),
                    [one] => write!(f, "only {one} has it"),
                    many => write!(f, "only {} have it", many.join(", ")),
                }
            }
            Shortage::Room {
                at,
                needed,
                free,
                on,
                one_disk: true,
            } => {
                write!(
                    f,
                    "{at} needs {needed} free on one disk{on}; the most is {free}"
                )
            }
            Shortage::Room {
                at,
                needed,
                free,
                on,
                one_disk: false,
            } => {
                write!(
                    f,
                    "{at} needs {needed} free{on}; the disks it may use have {free} in all"
                )
            }
            Shortage::Together { on } => {
                write!(f, "no choice of disks{on} satisfies all rules together")
            }
        }
    }
}

/// For one demand, how many disks each rule takes away, and which remain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Funnel {
    /// The leaf.
    pub at: ObjectPath,
    /// How many disks there are.
    pub disks: usize,
    /// The reason, and how many disks fell to it; each disk is counted once, at the first reason.
    pub fell: Vec<(String, usize)>,
    /// The names of those that remain.
    pub remain: Vec<String>,
    /// The disk with the most room of those that have some but not enough.
    pub roomiest: Option<(String, Bytes)>,
}

impl fmt::Display for Funnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.disks == 0 {
            return f.write_str(" There is no disk");
        }
        write!(f, " Of {} disks for {}", self.disks, self.at)?;
        for (i, (reason, count)) in self.fell.iter().enumerate() {
            write!(f, "{} {count} {reason}", if i == 0 { ":" } else { "," })?;
        }
        if let Some((disk, free)) = &self.roomiest {
            write!(f, " (the most is {free}, on {disk})")?;
        }
        match self.remain.as_slice() {
            [] => f.write_str("; none remains"),
            [one] => write!(f, "; {one} remains"),
            some if some.len() <= 8 => write!(f, "; {} remain", some.join(", ")),
            many => write!(f, "; {} remain", many.len()),
        }
    }
}

/// How disks fall away for one demand, given what the book says of the others.
pub(crate) fn funnel(book: &Book<'_>, room: &Room, demand: &Demand) -> Funnel {
    let at = book.frame.nodes[demand.leaf].path;
    let mut funnel = Funnel {
        at,
        disks: book.disks.len(),
        ..Funnel::default()
    };
    let need = Bytes(demand.units * UNIT);
    for (index, disk) in book.disks.iter().enumerate() {
        let mut no = book.no(demand.leaf, index, true);
        if no.is_none() && !room.fits(index, demand.units, demand.now) {
            no = Some(No::NoRoom { need });
            let free = Bytes(room.promise[index] * UNIT);
            if funnel.roomiest.as_ref().map_or(Bytes(0), |(_, most)| *most) < free {
                funnel.roomiest = Some((disk.name.clone(), free));
            }
        }
        let Some(no) = no else {
            funnel.remain.push(disk.name.clone());
            continue;
        };
        let reason = no.to_string();
        match funnel.fell.iter_mut().find(|(r, _)| *r == reason) {
            Some((_, count)) => *count += 1,
            None => funnel.fell.push((reason, 1)),
        }
    }
    // The reason that `roomiest` belongs to stands last.
    funnel
        .fell
        .sort_by_key(|(r, _)| *r == No::NoRoom { need }.to_string());
    funnel
}

/// A proof that no placement exists, if counting finds one.
pub(crate) fn proof(book: &Book<'_>, room: &Room, demands: &[Demand]) -> Option<Shortage> {
    Count {
        book,
        room,
        demands,
        strict: true,
    }
    .shortage()
}

/// What is missing, in the words that help most.
pub(crate) fn words(book: &Book<'_>, room: &Room, demands: &[Demand]) -> Shortage {
    let loose = Count {
        book,
        room,
        demands,
        strict: false,
    };
    let on = loose.on();
    loose.shortage().unwrap_or(Shortage::Together { on })
}

struct Count<'c, 'a> {
    book: &'c Book<'a>,
    room: &'c Room,
    demands: &'c [Demand],
    /// Whether only what is necessary counts.
    strict: bool,
}

impl Count<'_, '_> {
    fn shortage(&self) -> Option<Shortage> {
        let nodes = 0..self.book.frame.nodes.len();
        nodes
            .clone()
            .find_map(|id| self.values(id))
            .or_else(|| self.room())
    }

    /// " on media=ssd", from all select rules.
    fn on(&self) -> String {
        let mut labels: Vec<String> = Vec::new();
        let mut want = Some(self.book.frame.nodes[0].want);
        while let Some(level) = want {
            labels.extend(level.rules().iter().filter_map(|r| match r {
                Rule::Select(l) => Some(l.to_string()),
                _ => None,
            }));
            want = level.below().map(|(_, below)| below);
        }
        if labels.is_empty() {
            String::new()
        } else {
            format!(" on {}", labels.join(","))
        }
    }

    fn usable(&self, demand: &Demand, disk: usize) -> bool {
        self.book.no(demand.leaf, disk, !self.strict).is_none()
    }

    fn demands_below(&self, id: usize) -> Vec<&Demand> {
        let below = self.book.frame.below(id);
        self.demands
            .iter()
            .filter(|d| below.contains(&d.leaf))
            .collect()
    }

    /// Whether leaves may be split over disks.
    fn splits(&self, from: &Want) -> bool {
        let by_disk = |r: &Rule| matches!(r, Rule::Confine(by) if by.by == "disk");
        let below = from.below().is_none_or(|(_, below)| self.splits(below));
        below && !from.rules().iter().any(by_disk)
    }

    /// Too few values of an attribute that the object's children are separated by, or that it is
    /// confined by.
    fn values(&self, id: usize) -> Option<Shortage> {
        let node = &self.book.frame.nodes[id];
        let mut rules: Vec<(&str, Option<bool>)> = Vec::new();
        for rule in node.want.rules() {
            match rule {
                Rule::Separate(r) => rules.push((&r.by, Some(r.strong))),
                Rule::Confine(r) => rules.push((&r.by, None)),
                Rule::Select(_) | Rule::Exclude(_) | Rule::Prefer(_) => {}
            }
        }
        if matches!(node.want, Want::Mirror(_)) {
            rules.push(("disk", Some(true)));
        }
        rules
            .into_iter()
            .find_map(|(attribute, strong)| match strong {
                None => self.too_few(id, &[id], attribute, 1),
                Some(strong) => {
                    let fresh = |c: &usize| {
                        self.book.entered(*c, attribute) == 0 && !self.demands_below(*c).is_empty()
                    };
                    let fresh: Vec<usize> = node.children.iter().copied().filter(fresh).collect();
                    let (_, below) = node.want.below()?;
                    if confines(below, attribute) || !self.strict {
                        self.too_few(id, &fresh, attribute, fresh.len())
                    } else if strong {
                        self.too_few_at_all(id, &fresh, attribute)
                    } else {
                        None
                    }
                }
            })
    }

    /// Values that have room for all that one of these objects needs are fewer than needed.
    fn too_few(
        &self,
        id: usize,
        objects: &[usize],
        attribute: &str,
        needed: usize,
    ) -> Option<Shortage> {
        let need = |o: &usize| self.demands_below(*o).iter().map(|d| d.units).sum::<u64>();
        let object = objects.iter().copied().min_by_key(need)?;
        let (demands, units) = (self.demands_below(object), need(&object));
        if units == 0 || self.book.entered(object, attribute) > 0 {
            return None;
        }
        let mut room: BTreeMap<&str, u64> = BTreeMap::new();
        for (disk, value) in self.usable_values(&demands, attribute) {
            let sum = room.entry(value).or_default();
            let one = demands.len() == 1;
            let can = if one {
                self.for_one(demands[0], disk)
            } else {
                self.room.promise[disk]
            };
            let single = one && !self.splits(self.book.frame.nodes[object].want);
            *sum = if single { can.max(*sum) } else { *sum + can };
        }
        let have: Vec<String> = room
            .iter()
            .filter(|(_, u)| **u >= units)
            .map(|(v, _)| (*v).to_owned())
            .collect();
        (have.len() < needed).then(|| Shortage::Values {
            at: self.book.frame.nodes[id].path,
            attribute: attribute.to_owned(),
            needed,
            each: Bytes(units * UNIT),
            on: self.on(),
            have,
        })
    }

    /// Values that have any room are fewer than the children that need one each.
    fn too_few_at_all(&self, id: usize, fresh: &[usize], attribute: &str) -> Option<Shortage> {
        let demands: Vec<&Demand> = fresh.iter().flat_map(|c| self.demands_below(*c)).collect();
        let values = self.usable_values(&demands, attribute).into_iter();
        let values: BTreeSet<&str> = values
            .filter(|(d, _)| self.room.promise[*d] > 0)
            .map(|(_, v)| v)
            .collect();
        (values.len() < fresh.len()).then(|| Shortage::Values {
            at: self.book.frame.nodes[id].path,
            attribute: attribute.to_owned(),
            needed: fresh.len(),
            each: Bytes(UNIT),
            on: self.on(),
            have: values.into_iter().map(str::to_owned).collect(),
        })
    }

    /// Disks that any of the demands may use, each with its value.
    fn usable_values(&self, demands: &[&Demand], attribute: &str) -> Vec<(usize, &str)> {
        let value = |disk: usize| Some((disk, self.book.disks[disk].attribute(attribute)?));
        let usable = |disk: &usize| demands.iter().any(|d| self.usable(d, *disk));
        (0..self.book.disks.len())
            .filter(usable)
            .filter_map(value)
            .collect()
    }

    /// Units of one demand that a disk can take: all of it, or a part.
    fn for_one(&self, demand: &Demand, disk: usize) -> u64 {
        let whole = self.room.fits(disk, demand.units, demand.now);
        if whole {
            demand.units
        } else {
            self.room.for_a_part(disk)
        }
    }

    /// Too little room for one demand, or for all of them.
    fn room(&self) -> Option<Shortage> {
        let root = &self.book.frame.nodes[0];
        let shortage = |at, needed, free, one_disk| {
            let (needed, free) = (Bytes(needed * UNIT), Bytes(free * UNIT));
            Some(Shortage::Room {
                at,
                needed,
                free,
                on: self.on(),
                one_disk,
            })
        };
        let disks = || 0..self.book.disks.len();
        for demand in self.demands {
            let at = self.book.frame.nodes[demand.leaf].path;
            let usable = || disks().filter(|d| self.usable(demand, *d));
            if usable().any(|d| self.room.fits(d, demand.units, demand.now)) {
                continue;
            }
            if !self.splits(root.want) {
                let most = usable().map(|d| self.room.for_a_part(d)).max().unwrap_or(0);
                return shortage(at, demand.units, most, true);
            }
            let all = usable().map(|d| self.room.for_a_part(d)).sum();
            if all < demand.units {
                return shortage(at, demand.units, all, false);
            }
        }
        let needed = self.demands.iter().map(|d| d.units).sum::<u64>();
        let any = |disk: &usize| self.demands.iter().any(|d| self.usable(d, *disk));
        let all = disks()
            .filter(any)
            .map(|d| self.room.promise[d])
            .sum::<u64>();
        if all < needed {
            shortage(root.path, needed, all, false)
        } else {
            None
        }
    }
}

/// Whether every object of this level lies within one value of the attribute.
fn confines(want: &Want, attribute: &str) -> bool {
    want.rules()
        .iter()
        .any(|r| matches!(r, Rule::Confine(by) if by.by == attribute))
}
