//! Volumes of a node: granted, attached, asked about.

use super::{DiskFile, Node};
use anyhow::{Context, Result, bail};
use control::{Request, Response};
use layout::{
    Bytes, Epoch, Generation, Kind, Layout, Level, NodeName, Object, ObjectPath, VolumeUid,
};
use std::path::PathBuf;

/// What a volume is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Bytes that it shows.
    pub size: u64,
    /// Bytes of each disk that are granted to it: more than its size where old content is to be
    /// held.
    pub granted: u64,
    /// Copies, each on a disk of its own.
    pub copies: usize,
}

impl Shape {
    /// One copy, all of it granted.
    pub fn plain(size: u64) -> Self {
        Shape {
            size,
            granted: size,
            copies: 1,
        }
    }
}

/// A volume, placed.
#[derive(Clone, Debug)]
pub struct Volume {
    layout: Layout,
}

impl Volume {
    /// Places a volume on the first disks; `number` names it.
    pub fn place(number: u16, shape: Shape, disks: &mut [DiskFile]) -> Self {
        let object = |kind| Object {
            level: Level::Storage,
            node: NodeName("e2e".to_owned()),
            generation: Generation(1),
            properties: Vec::new(),
            reasons: Vec::new(),
            kind,
        };
        let leaf = |disk: &mut DiskFile| {
            object(Kind::Extents {
                disk: disk.uid,
                size: Bytes(shape.size),
                units: disk.take(shape.granted),
            })
        };
        let mut copies: Vec<Object> = disks.iter_mut().take(shape.copies).map(leaf).collect();
        assert_eq!(copies.len(), shape.copies, "a disk for each copy");
        let root = match copies.len() {
            1 => copies.remove(0),
            _ => object(Kind::Mirror { copies }),
        };
        let mut uid = [0xe2; 16];
        uid[14..].copy_from_slice(&number.to_le_bytes());
        Volume {
            layout: Layout {
                volume: VolumeUid(uid),
                name: format!("volume{number}"),
                generation: Generation(1),
                size: Bytes(shape.size),
                root,
            },
        }
    }

    /// Its identity.
    pub fn uid(&self) -> VolumeUid {
        self.layout.volume
    }

    /// Its leaves: where in the tree, and on what.
    fn leaves(&self) -> Vec<(ObjectPath, &Kind)> {
        let mut leaves = Vec::new();
        self.layout.root.visit(ObjectPath::ROOT, &mut |path, o| {
            if matches!(o.kind, Kind::Extents { .. }) {
                leaves.push((path, &o.kind));
            }
        });
        leaves
    }

    /// Grants it what it lies on. Once; repeating does nothing.
    ///
    /// # Errors
    /// What the data plane refuses.
    pub fn grant(&self, node: &Node) -> Result<()> {
        for (object, kind) in self.leaves() {
            let Kind::Extents { disk, size, units } = kind else {
                continue;
            };
            node.ask(Request::Grant {
                volume: self.uid(),
                object,
                generation: self.layout.generation,
                disk: *disk,
                units: units.clone(),
                size: size.0,
                owner: format!("{}, made by e2e", self.layout.name),
            })
            .with_context(|| format!("granting {}", self.layout.name))?;
        }
        Ok(())
    }

    /// Attaches it; its block device.
    ///
    /// # Errors
    /// What the data plane refuses.
    pub fn attach(&self, node: &Node) -> Result<PathBuf> {
        let layout = self.layout.clone();
        node.ask(Request::AttachVolume { layout })
            .with_context(|| format!("attaching {}", self.layout.name))?;
        let status = node.status()?;
        let mine = status.volumes.iter().find(|v| v.volume == self.uid());
        let device = mine.and_then(|v| v.device.as_ref());
        let device = device.with_context(|| format!("{} has no device", self.layout.name))?;
        Ok(PathBuf::from(device))
    }

    /// Ends its epoch and holds what is there now: whatever is written goes to new space.
    ///
    /// # Errors
    /// What the data plane refuses.
    pub fn cut_epoch(&self, node: &Node) -> Result<Epoch> {
        let volume = self.uid();
        match node.ask(Request::CutEpoch { volume })? {
            Response::Epoch { epoch } => Ok(epoch),
            other => bail!("no epoch: {other:?}"),
        }
    }

    /// Lets an epoch go.
    ///
    /// # Errors
    /// What the data plane refuses.
    pub fn release_epoch(&self, node: &Node, epoch: Epoch) -> Result<()> {
        let volume = self.uid();
        node.ask(Request::ReleaseEpoch { volume, epoch })?;
        Ok(())
    }
}
