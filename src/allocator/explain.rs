//! Why things lie where they lie, and why not elsewhere (spec A8).
//!
//! A reason is found the same way for every piece: with all others where they are, which disks does
//! each rule take away from this one, and what tells the rest apart.

use crate::book::{Book, No};
use crate::frame::{Frame, Piece};
use crate::plan::{Options, Work};
use crate::refusal::Refusal;
use crate::room::{Demand, Part, Room};
use crate::shortage::funnel;
use layout::{
    Bytes, Disk, DiskUid, Intent, Inventory, InventoryError, Kind, Layout, Level, NodeName, Object,
    ObjectPath, UNIT,
};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A volume with the rule that decided each placement. Prints as a tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// What people call the volume.
    pub name: String,
    /// Bytes that it shows.
    pub size: Bytes,
    /// The tree.
    pub root: Placement,
}

/// One object, explained.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Placement {
    /// Where it is in the tree.
    pub path: ObjectPath,
    /// What it is, in words.
    pub what: String,
    /// Bytes that it shows.
    pub size: Bytes,
    /// Where it is evaluated.
    pub level: Level,
    /// The node that evaluates it.
    pub node: NodeName,
    /// What rules above may rely on.
    pub properties: Vec<String>,
    /// What decided.
    pub reasons: Vec<String>,
    /// The objects below.
    pub children: Vec<Placement>,
}

/// Explains a layout. Reasons noted when an object was placed are kept; missing ones are found
/// against this inventory.
///
/// # Errors
/// When the intent or the inventory is not valid, or the layout has not got the intent's tree.
pub fn explain(
    layout: &Layout,
    intent: &Intent,
    inventory: &Inventory,
) -> Result<Explanation, Refusal> {
    let options = Options::default();
    let work = Work::new(intent, inventory, &options)?;
    let mut frame = Frame::of(layout, intent, &work.disks)?;
    give_reasons(&mut frame, &work.disks, &work.room());
    let whole = work.layout(&frame, layout.volume, layout.size, Some(layout))?;
    let root = placement(&whole.root, ObjectPath::ROOT, &work.disks);
    Ok(Explanation {
        name: layout.name.clone(),
        size: layout.size,
        root,
    })
}

/// Says what speaks against a disk for one leaf of a placed volume; nothing, if it could lie there
/// as well.
///
/// # Errors
/// When the intent or the inventory is not valid, the layout has not got the intent's tree, or
/// there is no such leaf or disk.
pub fn why_not(
    layout: &Layout,
    intent: &Intent,
    inventory: &Inventory,
    leaf: ObjectPath,
    disk: DiskUid,
) -> Result<Vec<No>, Refusal> {
    let options = Options::default();
    let work = Work::new(intent, inventory, &options)?;
    let frame = Frame::of(layout, intent, &work.disks)?;
    let id = frame.leaves().find(|l| frame.nodes[*l].path == leaf);
    let id = id.ok_or(Refusal::NoLeaf { at: leaf })?;
    let index = work.disks.iter().position(|d| d.uid == disk);
    let index = index.ok_or(Refusal::Inventory(InventoryError::UnknownDisk {
        uid: disk,
    }))?;
    let mut book = Book::new(&frame, &work.disks);
    let mut room = work.room();
    let node = &frame.nodes[id];
    let (mut units, mut now) = (0, 0);
    for piece in &node.pieces {
        book.erase(id, piece.disk);
        give_back(&mut room, piece);
        (units, now) = (units + piece.promised(), now + piece.granted());
    }
    let mut nos = book.nos(id, index);
    if !room.fits(index, units, now) {
        nos.push(No::NoRoom {
            need: Bytes(units * UNIT),
        });
    }
    Ok(nos)
}

/// Gives every piece that has none its reasons. The room is what all pieces leave.
pub(crate) fn give_reasons(frame: &mut Frame<'_>, disks: &[&Disk], room: &Room) {
    let mut found = Vec::new();
    let mut book = Book::new(frame, disks);
    for leaf in frame.leaves() {
        for (i, piece) in frame.nodes[leaf].pieces.iter().enumerate() {
            if piece.reasons.is_empty() {
                book.erase(leaf, piece.disk);
                found.push((leaf, i, reasons(&book, room, leaf, piece)));
                book.enter(leaf, piece.disk);
            }
        }
    }
    for (leaf, i, reasons) in found {
        frame.nodes[leaf].pieces[i].reasons = reasons;
    }
}

fn give_back(room: &mut Room, piece: &Piece) {
    room.promise[piece.disk] += piece.promised();
    room.free[piece.disk] += piece.granted();
}

/// What decided for a piece that is not entered in the book: which disks fell, and what told the
/// others apart.
fn reasons(book: &Book<'_>, room: &Room, leaf: usize, piece: &Piece) -> Vec<String> {
    let mut room = room.clone();
    give_back(&mut room, piece);
    let (size, units, now) = (piece.size, piece.promised(), piece.granted());
    let demand = Demand {
        leaf,
        part: Part::All,
        size,
        units,
        now,
    };
    let funnel = funnel(book, &room, &demand);
    let name = &book.disks[piece.disk].name;
    let left = |d: usize| room.promise[d].saturating_sub(units);
    let balance = |d: usize| u128::from(left(d)) * u128::from(room.units[piece.disk]);
    let mine = |d: usize| u128::from(left(piece.disk)) * u128::from(room.units[d]);
    let rivals: Vec<usize> = (0..book.disks.len())
        .filter(|d| *d != piece.disk && funnel.remain.contains(&book.disks[*d].name))
        .collect();
    let weight = |d: &usize| book.weight[*d];
    let choice = if rivals.is_empty() {
        "the only disk for it".to_owned()
    } else if rivals.iter().all(|d| weight(d) < weight(&piece.disk)) {
        format!("preferred most (weight {})", weight(&piece.disk))
    } else if rivals
        .iter()
        .filter(|d| weight(d) == weight(&piece.disk))
        .all(|d| balance(*d) <= mine(*d))
        && rivals.iter().all(|d| weight(d) <= weight(&piece.disk))
    {
        let (free, of) = (
            Bytes(left(piece.disk) * UNIT),
            Bytes(room.units[piece.disk] * UNIT),
        );
        format!("the best balance, {free} of {of} stay free")
    } else {
        "the first in the order of the search with which all rules hold".to_owned()
    };
    vec![
        funnel.to_string().trim_start().to_owned(),
        format!("{name}: {choice}"),
    ]
}

fn placement(object: &Object, path: ObjectPath, disks: &[&Disk]) -> Placement {
    let what = match &object.kind {
        Kind::Stripe { unit, columns } => format!("stripe of {}, unit {unit}", columns.len()),
        Kind::Mirror { copies } => format!("mirror of {}", copies.len()),
        Kind::Concat { parts } => format!("concat of {}", parts.len()),
        Kind::Extents { disk, units, .. } => {
            let name = disks
                .iter()
                .find(|d| d.uid == *disk)
                .map_or("?", |d| &d.name);
            let granted: u64 = units.iter().map(|r| u64::from(r.count)).sum();
            format!("extents on {name}, {} granted", Bytes(granted * UNIT))
        }
    };
    let mut children = Vec::with_capacity(object.children().len());
    for (index, child) in object.children().iter().enumerate() {
        children.push(placement(
            child,
            crate::frame::child_path(path, index),
            disks,
        ));
    }
    Placement {
        path,
        what,
        size: object.size(),
        level: object.level,
        node: object.node.clone(),
        properties: object.properties.clone(),
        reasons: object.reasons.clone(),
        children,
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}, {}", self.name, self.size)?;
        draw(&self.root, "", "", f)
    }
}

/// Draws an object and all below it. `first` stands before its line, `rest` before all lines below.
fn draw(p: &Placement, first: &str, rest: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "{first}{} {}, {}, on {}", p.path, p.what, p.size, p.node)?;
    if !p.properties.is_empty() {
        write!(f, " [{}]", p.properties.join(", "))?;
    }
    writeln!(f)?;
    let bar = if p.children.is_empty() {
        "    "
    } else {
        "│   "
    };
    for reason in &p.reasons {
        writeln!(f, "{rest}{bar}· {reason}")?;
    }
    for (i, child) in p.children.iter().enumerate() {
        let (branch, below) = if i + 1 == p.children.len() {
            ("└── ", "    ")
        } else {
            ("├── ", "│   ")
        };
        draw(
            child,
            &format!("{rest}{branch}"),
            &format!("{rest}{below}"),
            f,
        )?;
    }
    Ok(())
}
