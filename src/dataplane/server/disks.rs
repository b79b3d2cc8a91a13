//! Disks: claimed, opened, closed.

use super::{Node, Pending, Server};
use crate::attached::AttachedDisk;
use crate::disk::{ClaimError, DiskFile, Patience};
use crate::ring::Loop;
use crate::run::RunError;
use crate::socket::Asker;
use control::{Failure, FailureKind, Response};
use engine::disk::Disk;
use engine::io::DiskIndex;
use layout::DiskUid;
use std::path::{Path, PathBuf};

/// Why a disk was not taken in.
#[derive(Debug, thiserror::Error)]
enum DiskError {
    #[error(transparent)]
    Claim(#[from] ClaimError),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    Node(#[from] Failure),
}

impl Server<'_> {
    /// Takes in the disks of the record. One that is in use is an error: somebody else writes to it. One that
    /// is gone or damaged is reported; its volumes go on without it where they can.
    pub(super) fn take_up_disks<N: Node>(&mut self, ring: &mut Loop<N>) -> Result<(), RunError> {
        let patience = self.process.patience();
        for disk in self.attached.disks.clone() {
            match self.open(&disk.path, Some(disk.uid), patience, ring) {
                Ok(_) => {}
                Err(DiskError::Claim(
                    e @ (ClaimError::InUse(_) | ClaimError::StillInUse { .. }),
                )) => {
                    return Err(RunError::Claim(e));
                }
                Err(DiskError::Run(e)) => return Err(e),
                Err(e) => eprintln!("dataplane: disk {}: {e}", disk.uid),
            }
        }
        Ok(())
    }

    pub(super) fn add_disk<N: Node>(
        &mut self,
        by: Asker,
        path: PathBuf,
        expected: DiskUid,
        ring: &mut Loop<N>,
    ) {
        let result = match self.disks.contains_key(&expected) {
            // Asked again: it is there.
            true => Ok(()),
            false => self
                .open(&path, Some(expected), Patience::AtOnce, ring)
                .map_err(|e| match e {
                    DiskError::Node(failure) => failure,
                    e => FailureKind::BadDisk.because(e.to_string()),
                }),
        };
        let result = result.and_then(|()| {
            if self.attached.disks.iter().all(|d| d.uid != expected) {
                self.attached.disks.push(AttachedDisk {
                    path,
                    uid: expected,
                });
            }
            self.save()
        });
        let highest = ring.machine().highest_term();
        if highest > self.gate.highest() {
            self.gate.raise(highest);
        }
        self.socket
            .reply(by, result.map(|()| Response::Done).into(), ring);
    }

    /// Claims and opens a disk. Waits for its I/O: recovery reads and writes it.
    fn open<N: Node>(
        &mut self,
        path: &Path,
        expected: Option<DiskUid>,
        patience: Patience,
        ring: &mut Loop<N>,
    ) -> Result<(), DiskError> {
        let mut file = DiskFile::open(path, patience)?;
        if let Some(how) = self.config.power_cut {
            file = file.with_power_cut(how);
        }
        let uid = ring.machine().identify(&mut file)?;
        let mut log = self.process.log(uid)?;
        let index = self.free_index();
        let held = log.read_all();
        let disk: &mut dyn Disk = &mut file;
        let uid =
            ring.with_machine(|n, now, out| n.open_disk(now, index, disk, expected, &held, out))?;
        log.trim(held.len() as u64);
        ring.add_disk(index, file, log);
        self.disks.insert(uid, index);
        Ok(())
    }

    fn free_index(&self) -> DiskIndex {
        let taken: Vec<DiskIndex> = self.disks.values().copied().collect();
        let free = (0..).map(DiskIndex).find(|i| !taken.contains(i));
        free.unwrap_or(DiskIndex(u16::MAX))
    }

    pub(super) fn close_disk<N: Node>(&mut self, by: Asker, disk: DiskUid, ring: &mut Loop<N>) {
        let id = self.new_command();
        let outcome = ring.with_machine(|n, now, out| n.close_disk(now, id, disk, out));
        self.follow(outcome, id, Pending::CloseDisk(by, disk), ring);
    }

    /// The machine has let go of the disk: so do we, and its log is no more.
    pub(super) fn disk_closed<N: Node>(&mut self, by: Asker, disk: DiskUid, ring: &mut Loop<N>) {
        if let Some(index) = self.disks.remove(&disk) {
            drop(ring.remove_disk(index));
        }
        self.attached.disks.retain(|d| d.uid != disk);
        let result = self.save().and_then(|()| {
            let released = self
                .process
                .keeper()
                .release(crate::keeper::Kind::Log, disk.0);
            released.map_err(|e| FailureKind::Refused.because(e.to_string()))
        });
        self.socket
            .reply(by, result.map(|_| Response::Done).into(), ring);
    }
}
