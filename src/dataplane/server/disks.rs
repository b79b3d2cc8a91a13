//! Disks: claimed, opened, closed.

use super::{Node, Outcome, Pending, Server};
use crate::attached::AttachedDisk;
use crate::disk::{ClaimError, DiskFile, Patience};
use crate::keeper::Kind;
use crate::ring::Loop;
use crate::run::RunError;
use crate::socket::Asker;
use control::{Failure, FailureKind, Response};
use engine::disk::Disk;
use engine::io::DiskIndex;
use layout::{DiskUid, Object, ObjectPath};
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
    /// Takes in the disks of the record. One that is in use is an error: somebody else writes to
    /// it. One that is gone or damaged is reported; its volumes go on without it where they can.
    pub(super) fn take_up_disks<N: Node>(&mut self, ring: &mut Loop<N>) -> Result<(), RunError> {
        let patience = self.process.patience();
        for disk in self.attached.disks.clone() {
            match self.open(&disk.path, disk.uid, patience, ring) {
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
        let result = match self.disks.get(&expected) {
            // Asked again: it is there.
            Some(index) if !ring.machine().has_failed(*index) => Ok(()),
            Some(index) if ring.is_busy(*index) => {
                let why = "I/O that was under way when the disk failed has not ended yet";
                Err(FailureKind::Busy.because(why))
            }
            _ => {
                let opened = self.let_go(expected, ring).map_err(DiskError::Node);
                let opened =
                    opened.and_then(|()| self.open(&path, expected, Patience::AtOnce, ring));
                opened.map_err(|e| match e {
                    DiskError::Node(failure) => failure,
                    e => FailureKind::BadDisk.because(e.to_string()),
                })
            }
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
        expected: DiskUid,
        patience: Patience,
        ring: &mut Loop<N>,
    ) -> Result<(), DiskError> {
        let mut file = DiskFile::open(path, patience)?;
        if let Some(how) = self.config.power_cut {
            file = file.with_power_cut(how);
        }
        let found = ring.machine().identify(&mut file)?;
        if found.uid != expected {
            let why = format!("this is disk {}, expected disk {expected}", found.uid);
            return Err(FailureKind::BadDisk.because(why).into());
        }
        let mut log = self.process.log(expected, found.log_bytes)?;
        let index = self.free_index();
        let held = log.read_all();
        let disk: &mut dyn Disk = &mut file;
        ring.with_machine(|n, now, out| n.open_disk(now, index, disk, expected, &held, out))?;
        log.trim(held.len() as u64);
        ring.add_disk(index, file, log);
        self.disks.insert(expected, index);
        Ok(())
    }

    fn free_index(&self) -> DiskIndex {
        let taken: Vec<DiskIndex> = self.disks.values().copied().collect();
        let free = (0..).map(DiskIndex).find(|i| !taken.contains(i));
        free.unwrap_or(DiskIndex(u16::MAX))
    }

    pub(super) fn close_disk<N: Node>(&mut self, by: Asker, disk: DiskUid, ring: &mut Loop<N>) {
        let used = self
            .attached
            .volumes
            .iter()
            .find(|v| lies_on(&v.layout.root, disk));
        if let Some(volume) = used.map(|v| v.layout.volume) {
            let why = format!("volume {volume} lies on disk {disk}");
            return self.fail(by, FailureKind::Busy.because(why), ring);
        }
        match self.disks.get(&disk) {
            None => {
                let why = format!("disk {disk} is not attached here");
                self.fail(by, FailureKind::UnknownDisk { disk }.because(why), ring);
            }
            Some(index) if ring.machine().has_failed(*index) => self.disk_closed(by, disk, ring),
            Some(_) => {
                let id = self.new_command();
                let outcome = ring.with_machine(|n, now, out| n.close_disk(now, id, disk, out));
                match outcome {
                    Outcome::Later => drop(self.pending.insert(id, Pending::CloseDisk(by, disk))),
                    Outcome::Now(Ok(_)) => self.disk_closed(by, disk, ring),
                    Outcome::Now(Err(failure)) => self.fail(by, failure, ring),
                }
            }
        }
    }

    /// The machine has closed the disk, or given it up: its claim ends, and its log is no more.
    pub(super) fn disk_closed<N: Node>(&mut self, by: Asker, disk: DiskUid, ring: &mut Loop<N>) {
        if self
            .disks
            .get(&disk)
            .is_some_and(|index| ring.is_busy(*index))
        {
            let why = "I/O on the disk has not ended yet";
            return self.fail(by, FailureKind::Busy.because(why), ring);
        }
        if let Err(failure) = self.let_go(disk, ring) {
            return self.fail(by, failure, ring);
        }
        self.attached.disks.retain(|d| d.uid != disk);
        let result = self.save().and_then(|()| {
            let released = self.process.keeper().release(Kind::Log, disk.0);
            released.map_err(|e| FailureKind::Refused.because(e.to_string()))
        });
        self.socket
            .reply(by, result.map(|_| Response::Done).into(), ring);
    }

    /// Lets go of a disk without I/O, here and in the machine.
    fn let_go<N: Node>(&mut self, disk: DiskUid, ring: &mut Loop<N>) -> Result<(), Failure> {
        let Some(index) = self.disks.get(&disk).copied() else {
            return Ok(());
        };
        ring.with_machine(|n, now, out| n.forget_disk(now, index, out))?;
        self.disks.remove(&disk);
        drop(ring.remove_disk(index));
        Ok(())
    }
}

fn lies_on(object: &Object, disk: DiskUid) -> bool {
    let mut found = false;
    object.visit(ObjectPath::ROOT, &mut |_, o| {
        found |= matches!(&o.kind, layout::Kind::Extents { disk: d, .. } if *d == disk);
    });
    found
}
