//! What a volume says of itself.

use super::job::What;
use super::leg::{Counts, Leg};
use super::mirror::Mirror;
use super::{Volume, leg::TRANSITIONS};
use layout::{BLOCK, Bytes, DiskUid, ObjectPath};

/// A volume's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeStatus {
    /// Requests that were not answered.
    pub requests: usize,
    /// Whether a leaf without copies failed.
    pub lost: bool,
    /// Its mirrors, in the order of their paths.
    pub mirrors: Vec<MirrorStatus>,
}

/// A mirror's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MirrorStatus {
    /// Where it is in the tree.
    pub path: ObjectPath,
    /// Its legs.
    pub legs: Vec<LegStatus>,
    /// Regions marked as being written.
    pub dirty: usize,
    /// Regions in which live legs may differ.
    pub differ: usize,
    /// Whether the last live leg failed.
    pub lost: bool,
    /// The rebuild under way.
    pub rebuild: Option<RebuildStatus>,
}

/// A leg's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegStatus {
    /// Its state.
    pub state: Leg,
    /// The disks it lies on.
    pub disks: Vec<DiskUid>,
}

/// How far a rebuild is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RebuildStatus {
    /// Which leg.
    pub leg: u8,
    /// Bytes looked at so far.
    pub done: Bytes,
    /// Bytes to look at.
    pub total: Bytes,
    /// Bytes copied so far.
    pub copied: Bytes,
}

impl Volume {
    /// The volume's state.
    pub fn status(&self) -> VolumeStatus {
        VolumeStatus {
            requests: self.requests.len(),
            lost: self.lost,
            mirrors: (self.mirrors.iter().zip(self.tree.mirrors()))
                .map(|(m, t)| self.mirror_status(m, t.path))
                .collect(),
        }
    }

    fn mirror_status(&self, m: &Mirror, path: ObjectPath) -> MirrorStatus {
        let segment = self.segment_blocks * BLOCK;
        let legs = m.legs.iter().map(|slot| LegStatus {
            state: slot.state,
            disks: (self.tree.leaves()[slot.leaves.start as usize..slot.leaves.end as usize]
                .iter())
            .map(|l| l.disk)
            .collect(),
        });
        let rebuild = m.job.as_ref().and_then(|j| match j.what {
            What::Resync(_) => None,
            What::Rebuild(leg, _) => Some(RebuildStatus {
                leg,
                done: Bytes(j.done * segment),
                total: Bytes(j.total * segment),
                copied: Bytes(j.copied * BLOCK),
            }),
        });
        MirrorStatus {
            path,
            legs: legs.collect(),
            dirty: m.regions.len(),
            differ: m.regions.differ.len(),
            lost: m.lost,
            rebuild,
        }
    }

    /// How often each transition of [`TRANSITIONS`] was taken since the volume was attached.
    pub fn transitions(&self) -> Counts {
        let mut sum = [0; TRANSITIONS.len()];
        for m in &self.mirrors {
            sum.iter_mut().zip(m.counts).for_each(|(s, n)| *s += n);
        }
        sum
    }
}
