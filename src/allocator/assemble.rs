//! From a frame to a layout: the tree with its descriptions (spec A4).
//!
//! Every transformation builds the whole tree anew; an object keeps its generation when its own map
//! is what it was.

use crate::frame::{Frame, Piece};
use layout::intent::{Node as Want, Rule};
use layout::{
    Bytes, Disk, Generation, Kind, Layout, Level, NodeName, Object, ObjectPath, VolumeUid,
};

/// What a layout says of the whole volume.
pub(crate) struct Head {
    pub volume: VolumeUid,
    pub name: String,
    pub generation: Generation,
    pub size: Bytes,
    pub host: NodeName,
}

/// The layout of a frame all of whose leaves have pieces.
pub(crate) fn layout(
    frame: &Frame<'_>,
    disks: &[&Disk],
    head: Head,
    before: Option<&Layout>,
) -> Layout {
    let Head {
        volume,
        name,
        generation,
        size,
        host,
    } = head;
    let attributes = attributes(frame.nodes[0].want);
    let mut root = Builder {
        frame,
        disks,
        generation,
        host,
        attributes,
    }
    .object(0);
    if let Some(before) = before {
        keep_generations(&mut root, &before.root);
    }
    assert!(
        root.size() >= size,
        "a volume shows no more than its root holds"
    );
    Layout {
        volume,
        name,
        generation,
        size,
        root,
    }
}

struct Builder<'b, 'a> {
    frame: &'b Frame<'a>,
    disks: &'b [&'b Disk],
    generation: Generation,
    host: NodeName,
    /// Those that any rule relies on.
    attributes: Vec<&'a str>,
}

impl Builder<'_, '_> {
    fn object(&self, id: usize) -> Object {
        let node = &self.frame.nodes[id];
        let children = || {
            node.children
                .iter()
                .map(|c| self.object(*c))
                .collect::<Vec<_>>()
        };
        let kind = match node.want {
            Want::Stripe(n) => Kind::Stripe {
                unit: n.unit,
                columns: children(),
            },
            Want::Mirror(_) => Kind::Mirror { copies: children() },
            Want::Concat(_) => Kind::Concat { parts: children() },
            Want::Extents(_) => match node.pieces.as_slice() {
                [one] => return self.leaf(one),
                many => Kind::Concat {
                    parts: many.iter().map(|p| self.leaf(p)).collect(),
                },
            },
        };
        let (level, at) = self.evaluated(&kind);
        let mut object = Object {
            level,
            node: at,
            generation: self.generation,
            properties: self.shared(id),
            reasons: Vec::new(),
            kind,
        };
        for rule in node.want.rules() {
            match rule {
                Rule::Separate(r) => {
                    let each = object
                        .children()
                        .iter()
                        .map(|c| self.values(c, &r.by).join("+"));
                    let values = each.collect::<Vec<_>>().join(" | ");
                    object.properties.push(format!("separate({})", r.by));
                    object.reasons.push(format!("{rule}: {values}"));
                }
                Rule::Confine(r) => {
                    object
                        .reasons
                        .push(format!("{rule}: {}", self.values(&object, &r.by).join("+")));
                }
                Rule::Select(_) | Rule::Exclude(_) | Rule::Prefer(_) => {}
            }
        }
        if object.children().len() > 1 && node.want.below().is_none() {
            object
                .reasons
                .push("no single disk has room for all of it".to_owned());
        }
        object
    }

    fn leaf(&self, piece: &Piece) -> Object {
        let disk = self.disks[piece.disk];
        let property = |a: &&str| disk.attribute(a).map(|v| format!("{a}={v}"));
        Object {
            level: Level::Storage,
            node: disk.node.clone(),
            generation: self.generation,
            properties: self.attributes.iter().filter_map(property).collect(),
            reasons: piece.reasons.clone(),
            kind: Kind::Extents {
                disk: disk.uid,
                size: piece.size,
                units: piece.units.clone(),
            },
        }
    }

    /// Where an object with children is evaluated: a concat that lies on one node there, everything
    /// else on the host.
    fn evaluated(&self, kind: &Kind) -> (Level, NodeName) {
        if let Kind::Concat { parts } = kind
            && let Some(first) = parts.first()
            && parts
                .iter()
                .all(|p| p.level == Level::Storage && p.node == first.node)
        {
            return (Level::Storage, first.node.clone());
        }
        (Level::Host, self.host.clone())
    }

    /// What all disks below share, of the attributes that rules rely on.
    fn shared(&self, id: usize) -> Vec<String> {
        let pieces = || {
            let below = self.frame.below(id).into_iter();
            below
                .flat_map(|n| &self.frame.nodes[n].pieces)
                .map(|p| self.disks[p.disk])
        };
        let shared = |a: &&str| {
            let value = pieces().next()?.attribute(a)?;
            pieces()
                .all(|d| d.attribute(a) == Some(value))
                .then(|| format!("{a}={value}"))
        };
        self.attributes.iter().filter_map(shared).collect()
    }

    /// The values of an attribute below an object, each once.
    fn values(&self, object: &Object, attribute: &str) -> Vec<String> {
        let mut values = Vec::new();
        object.visit(ObjectPath::ROOT, &mut |_, o| {
            if let Kind::Extents { disk, .. } = &o.kind {
                let disk = self.disks.iter().find(|d| d.uid == *disk);
                values.extend(disk.and_then(|d| d.attribute(attribute)).map(str::to_owned));
            }
        });
        values.sort_unstable();
        values.dedup();
        values
    }
}

/// The attributes that rules of these levels rely on, each once.
fn attributes(root: &Want) -> Vec<&str> {
    let (mut all, mut next): (Vec<&str>, _) = (Vec::new(), Some(root));
    while let Some(want) = next {
        for rule in want.rules() {
            match rule {
                Rule::Confine(r) => all.push(&r.by),
                Rule::Separate(r) => all.push(&r.by),
                Rule::Select(l) => all.extend(l.0.keys().map(String::as_str)),
                Rule::Exclude(_) | Rule::Prefer(_) => {}
            }
        }
        next = want.below().map(|(_, below)| below);
    }
    all.sort_unstable();
    all.dedup();
    all
}

/// Gives objects whose own map is what it was their old generation back.
fn keep_generations(new: &mut Object, old: &Object) {
    if same_map(new, old) {
        new.generation = old.generation;
    }
    let (Kind::Stripe {
        columns: children, ..
    }
    | Kind::Mirror { copies: children }
    | Kind::Concat { parts: children }) = &mut new.kind
    else {
        return;
    };
    for (new, old) in children.iter_mut().zip(old.children()) {
        keep_generations(new, old);
    }
}

/// Whether the map of an object is what it was: for a leaf what it lies on, else where its children
/// are and how large.
fn same_map(new: &Object, old: &Object) -> bool {
    let place = |o: &Object| (o.level, o.node.clone());
    let children =
        |o: &Object| -> Vec<_> { o.children().iter().map(|c| (place(c), c.size())).collect() };
    let own = match (&new.kind, &old.kind) {
        (Kind::Extents { .. }, Kind::Extents { .. }) => new.kind == old.kind,
        (Kind::Stripe { unit: n, .. }, Kind::Stripe { unit: o, .. }) => n == o,
        _ => std::mem::discriminant(&new.kind) == std::mem::discriminant(&old.kind),
    };
    own && place(new) == place(old) && children(new) == children(old)
}
