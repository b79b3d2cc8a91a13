//! What there is to allocate from: the disks, their attributes, what is free and what is promised
//! (spec A3, A10).
//!
//! An input of the allocator and the checker, also as a file. It decides nothing; it only keeps its
//! own books: a unit is free or granted, never both, and what is promised is never less than what
//! is granted.

#[cfg(test)]
mod tests;

use crate::ids::{DiskUid, NodeName};
use crate::tree::UnitRange;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// All disks of a cluster, and how far they may be overcommitted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Inventory {
    /// How much may be promised per disk, in percent of its capacity. 100 promises nothing twice.
    #[serde(default = "one_hundred")]
    pub overcommit_percent: u32,
    /// The disks, in any order; what is decided depends on their names, not on the order.
    pub disks: Vec<Disk>,
}

fn one_hundred() -> u32 {
    100
}

fn yes() -> bool {
    true
}

/// One disk as its agent reports it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Disk {
    /// Which disk, as its superblock names it.
    pub uid: DiskUid,
    /// What people call it; unique in the inventory.
    pub name: String,
    /// The node that has it.
    pub node: NodeName,
    /// Attributes and user labels. `node` and `disk` are not among them: they are always known.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
    /// Capacity in allocation units.
    pub units: u32,
    /// Units that are granted to nobody: ordered, no overlaps.
    pub free: Vec<UnitRange>,
    /// Units promised to objects, granted ones included; the granted ones where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promised: Option<u32>,
    /// How it is.
    #[serde(default)]
    pub health: Health,
    /// Whether anything new may be placed on it.
    #[serde(default = "yes")]
    pub schedulable: bool,
}

/// How a disk is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    /// It serves.
    #[default]
    Ok,
    /// It cannot be reached; its content may come back.
    Absent,
    /// Its content is lost.
    Failed,
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Health::Ok => "ok",
            Health::Absent => "absent",
            Health::Failed => "failed",
        })
    }
}

/// An inventory that cannot be true, or books that would not add up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // the messages say what the fields are
pub enum InventoryError {
    #[error("disk uid {uid} is there twice: as '{first}' and as '{second}'")]
    DuplicateUid {
        uid: DiskUid,
        first: String,
        second: String,
    },
    #[error("two disks are called '{name}'")]
    DuplicateName { name: String },
    #[error("disk '{disk}' has an empty name or node")]
    Nameless { disk: DiskUid },
    #[error("disk '{disk}': attribute '{attribute}' is reserved (it is always known), or empty")]
    BadAttribute { disk: String, attribute: String },
    #[error("disk '{disk}': units {start}+{count} are empty or reach beyond its {units} units")]
    OutOfRange {
        disk: String,
        start: u32,
        count: u32,
        units: u32,
    },
    #[error("disk '{disk}': its free units overlap or are out of order at unit {start}")]
    Overlap { disk: String, start: u32 },
    #[error("disk '{disk}': {promised} units promised, but {granted} are granted")]
    PromisedTooFew {
        disk: String,
        promised: u32,
        granted: u32,
    },
    #[error("overcommitPercent is {percent}; 1 to 10000 are possible")]
    Overcommit { percent: u32 },
    #[error("no disk has the uid {uid}")]
    UnknownDisk { uid: DiskUid },
    #[error("disk '{disk}': unit {unit} is not free")]
    NotFree { disk: String, unit: u32 },
}

impl Disk {
    /// The value of an attribute, `node` and `disk` (its name) included.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        match name {
            "node" => Some(&self.node.0),
            "disk" => Some(&self.name),
            _ => self.attributes.get(name).map(String::as_str),
        }
    }

    /// How many units are free.
    pub fn free_units(&self) -> u32 {
        self.free.iter().map(|r| r.count).sum()
    }

    /// How many units are promised, granted ones included.
    pub fn promised_units(&self) -> u32 {
        self.promised.unwrap_or(self.units - self.free_units())
    }

    /// Takes units out of what is free. At least what is granted is promised then.
    ///
    /// # Errors
    /// When one of them is not free; then nothing has changed.
    pub fn take(&mut self, wanted: &[UnitRange]) -> Result<(), InventoryError> {
        let mut free = self.free.clone();
        for want in wanted {
            let end = u64::from(want.start) + u64::from(want.count);
            let holds = |r: &UnitRange| {
                r.start <= want.start && end <= u64::from(r.start) + u64::from(r.count)
            };
            let Some(i) = free.iter().position(holds) else {
                return Err(InventoryError::NotFree {
                    disk: self.name.clone(),
                    unit: want.start,
                });
            };
            let old = free.remove(i);
            let tail = UnitRange {
                start: want.end(),
                count: old.end() - want.end(),
            };
            let head = UnitRange {
                start: old.start,
                count: want.start - old.start,
            };
            for part in [tail, head].into_iter().filter(|p| p.count > 0) {
                free.insert(i, part);
            }
        }
        self.free = free;
        let granted = self.units - self.free_units();
        self.promised = self.promised.map(|promised| promised.max(granted));
        Ok(())
    }

    /// Puts units back to what is free. A promise that the inventory states stays.
    ///
    /// # Errors
    /// When one of them is free already or beyond the disk; then nothing has changed.
    pub fn put_back(&mut self, released: &[UnitRange]) -> Result<(), InventoryError> {
        let mut free = self.free.clone();
        free.extend_from_slice(released);
        free.sort_unstable();
        check_free(&self.name, self.units, &free)?;
        let mut merged: Vec<UnitRange> = Vec::with_capacity(free.len());
        for r in free {
            match merged.last_mut() {
                Some(last) if last.end() == r.start => last.count += r.count,
                _ => merged.push(r),
            }
        }
        self.free = merged;
        Ok(())
    }
}

impl Inventory {
    /// The disk with this uid.
    pub fn disk(&self, uid: DiskUid) -> Option<&Disk> {
        self.disks.iter().find(|d| d.uid == uid)
    }

    /// The disk with this uid, to keep its books.
    ///
    /// # Errors
    /// When there is none.
    pub fn disk_mut(&mut self, uid: DiskUid) -> Result<&mut Disk, InventoryError> {
        self.disks
            .iter_mut()
            .find(|d| d.uid == uid)
            .ok_or(InventoryError::UnknownDisk { uid })
    }

    /// Units that may be promised on this disk in all, those already promised included.
    pub fn promisable(&self, disk: &Disk) -> u64 {
        u64::from(disk.units) * u64::from(self.overcommit_percent) / 100
    }

    /// Whether the inventory can be true.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn validate(&self) -> Result<(), InventoryError> {
        if !(1..=10_000).contains(&self.overcommit_percent) {
            return Err(InventoryError::Overcommit {
                percent: self.overcommit_percent,
            });
        }
        let (mut uids, mut names) = (BTreeMap::new(), BTreeSet::new());
        for disk in &self.disks {
            let (uid, name) = (disk.uid, disk.name.clone());
            if name.is_empty() || disk.node.0.is_empty() {
                return Err(InventoryError::Nameless { disk: uid });
            }
            if let Some(first) = uids.insert(uid, name.clone()) {
                return Err(InventoryError::DuplicateUid {
                    uid,
                    first,
                    second: name,
                });
            }
            if !names.insert(name.clone()) {
                return Err(InventoryError::DuplicateName { name });
            }
            let reserved = |a: &str| a.is_empty() || a == "node" || a == "disk";
            let bad = |(a, v): &(&String, &String)| reserved(a) || v.is_empty();
            if let Some((attribute, _)) = disk.attributes.iter().find(bad) {
                return Err(InventoryError::BadAttribute {
                    disk: name,
                    attribute: attribute.clone(),
                });
            }
            check_free(&name, disk.units, &disk.free)?;
            let granted = disk.units - disk.free_units();
            let promised = disk.promised_units();
            if promised < granted {
                return Err(InventoryError::PromisedTooFew {
                    disk: name,
                    promised,
                    granted,
                });
            }
        }
        Ok(())
    }
}

/// Free ranges are within the disk, ordered, and do not overlap.
fn check_free(disk: &str, units: u32, free: &[UnitRange]) -> Result<(), InventoryError> {
    let mut next = 0u64;
    for r in free {
        let end = u64::from(r.start) + u64::from(r.count);
        if r.count == 0 || end > u64::from(units) {
            let (start, count) = (r.start, r.count);
            return Err(InventoryError::OutOfRange {
                disk: disk.to_owned(),
                start,
                count,
                units,
            });
        }
        if u64::from(r.start) < next {
            return Err(InventoryError::Overlap {
                disk: disk.to_owned(),
                start: r.start,
            });
        }
        next = end;
    }
    Ok(())
}
