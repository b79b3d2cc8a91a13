//! How things are: the answer to [`Status`](crate::Request::Status). Sizes are in bytes.

use layout::{DiskUid, Epoch, Generation, NodeName, ObjectPath, Term, VolumeUid};
use serde::{Deserialize, Serialize};

/// Of the whole data plane.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Status {
    /// The highest term seen.
    pub highest: Term,
    /// Process id of the data plane: another one after a takeover.
    pub pid: u32,
    /// The disks it serves.
    pub disks: Vec<DiskStatus>,
    /// The volumes it serves.
    pub volumes: Vec<VolumeStatus>,
    /// Bytes that map entries take.
    pub map_bytes: u64,
    /// Bytes that cached pages take.
    pub page_bytes: u64,
}

/// Of a disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct DiskStatus {
    /// Which one.
    pub disk: DiskUid,
    /// Where it was opened.
    pub path: String,
    /// Allocation units in all.
    pub units: u32,
    /// Of them granted to nobody.
    pub free_units: u32,
    /// Bytes of the segments in granted units that are in use: what writing takes and discarding
    /// gives back. The first data planes did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<u64>,
    /// The error number that it failed with, where it did.
    pub failed: Option<i32>,
}

/// Of a volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct VolumeStatus {
    /// Which one.
    pub volume: VolumeUid,
    /// What people call it.
    pub name: String,
    /// Bytes that it shows.
    pub size: u64,
    /// The layout's generation that is served.
    pub generation: Generation,
    /// The current epoch.
    pub epoch: Epoch,
    /// The block device, once there is one.
    pub device: Option<String>,
    /// Every copy of every mirror; none where nothing is mirrored.
    pub copies: Vec<CopyStatus>,
    /// Requests under way.
    pub running: u64,
    /// Requests that wait for placement.
    pub waiting: u64,
    /// The right to serve it, where it is leased.
    pub lease: Option<LeaseStatus>,
}

/// Of a copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct CopyStatus {
    /// Its place in the tree.
    pub object: ObjectPath,
    /// How it is.
    pub state: CopyState,
}

/// How a copy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum CopyState {
    /// Equal to the others.
    Live,
    /// It missed writes, and nothing is done about it now.
    Stale,
    /// It is being made equal.
    Rebuilding {
        /// Bytes looked at so far.
        done: u64,
        /// Bytes to look at.
        total: u64,
    },
    /// Its disk is not here.
    Missing,
}

/// Of the right to serve a volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LeaseStatus {
    /// Who has it.
    pub holder: NodeName,
    /// Under which generation of the layout.
    pub generation: Generation,
    /// How long it lasts from now on.
    pub milliseconds: u64,
}
