//! Where the objects of volumes lie: the stores' records, for looking leaves up.

use super::Engine;
use crate::io::{CommandError, DiskIndex};
use crate::leaf::LeafId;
use crate::planted::{Bug, Planted};
use crate::store::Store;
use crate::tree::Leaf;
use layout::{DiskUid, Generation, ObjectPath, VolumeUid};
use std::collections::BTreeMap;

impl Engine {
    /// Where everything lies, as of now.
    pub(super) fn places(&self) -> Places {
        let stores = (0u16..).zip(&self.stores);
        let disks = stores.filter_map(|(i, s)| Some((DiskIndex(i), s.as_ref()?)));
        Places {
            disks: disks
                .map(|(index, s)| (s.disk(), Place::new(index, s)))
                .collect(),
            planted: self.planted,
        }
    }
}

/// What a disk holds: for each object its slot and its generation.
struct Place {
    index: DiskIndex,
    segment_blocks: u32,
    objects: BTreeMap<(VolumeUid, ObjectPath), (u16, Generation)>,
}

impl Place {
    fn new(index: DiskIndex, store: &Store) -> Self {
        let object = |(slot, r): (u16, &crate::format::object::ObjectRecord)| {
            ((r.volume, r.path), (slot, r.generation))
        };
        Place {
            index,
            segment_blocks: store.geometry().segment_blocks,
            objects: store.records().map(object).collect(),
        }
    }
}

/// What all disks hold.
pub(super) struct Places {
    disks: BTreeMap<DiskUid, Place>,
    planted: Planted,
}

impl Places {
    pub(super) fn segment_blocks(&self, disk: DiskUid) -> Option<u32> {
        self.disks.get(&disk).map(|p| p.segment_blocks)
    }
    /// The object of a leaf; the layout may be newer than it, never older.
    pub(super) fn find(&self, volume: VolumeUid, leaf: &Leaf) -> Result<LeafId, CommandError> {
        let place = self
            .disks
            .get(&leaf.disk)
            .ok_or(CommandError::UnknownDisk(leaf.disk))?;
        let found = place.objects.get(&(volume, leaf.path));
        let (slot, seen) = *found.ok_or(CommandError::UnknownVolume(volume))?;
        if leaf.generation < seen && !self.planted.has(Bug::GenerationNotChecked) {
            return Err(CommandError::StaleGeneration {
                given: leaf.generation.0,
                seen: seen.0,
            });
        }
        Ok(LeafId {
            disk: place.index,
            slot,
        })
    }
}
