//! Commands about the objects on the disks: grants, releases, answers to faults.

use super::Engine;
use crate::io::{CommandError, CommandId, Effect, Effects, Now};
use crate::leaf::{Done, Token};
use crate::map::Answer;
use crate::store::{Grant, Sink, Store};
use crate::tree::Leaf;
use crate::volume::Volume;
use layout::{DiskUid, ObjectPath, VolumeUid};

impl Engine {
    /// Grants units of a disk to a leaf; answers the command when that is durable.
    ///
    /// # Errors
    /// See [`Store::grant`].
    pub fn grant(
        &mut self,
        now: Now,
        disk: DiskUid,
        grant: Grant,
        command: CommandId,
        out: &mut Effects,
    ) -> Result<(), CommandError> {
        let volume = grant.volume;
        self.command(now, disk, command, |store, token, sink| {
            store.grant(grant, token, sink).map(|_| ())
        })?;
        // A larger object may have larger regions, from now on.
        if let Some(v) = self.volume_of(volume) {
            self.with(now, v, out, |volume, cx| volume.leaves_grew(cx));
        }
        self.run(now, out);
        Ok(())
    }

    /// Takes everything back that a leaf was granted; answers the command when that is durable.
    ///
    /// # Errors
    /// Its volume is attached, or it is not there; see [`Store::release`].
    pub fn release(
        &mut self,
        now: Now,
        disk: DiskUid,
        (volume, path): (VolumeUid, ObjectPath),
        command: CommandId,
        out: &mut Effects,
    ) -> Result<(), CommandError> {
        let in_use = |l: &Leaf| l.path == path && l.disk == disk;
        let attached = self
            .volume_of(volume)
            .and_then(|v| self.volumes[v].as_ref());
        if attached.is_some_and(|v| v.tree().leaves().iter().any(in_use)) {
            return Err(CommandError::Refused(format!(
                "volume {volume} is attached"
            )));
        }
        self.command(now, disk, command, |store, token, sink| {
            if store.failed().is_some() {
                // What it has in memory is not what the disk has: a removal may have been cut off.
                return Err(CommandError::DiskFailed(disk));
            }
            let slot = store.find(volume, path);
            let slot = slot.ok_or(CommandError::UnknownVolume(volume))?;
            store.release(slot, token, sink)
        })?;
        self.run(now, out);
        Ok(())
    }

    /// Notes a leader's term on a disk; answers the command when that is durable.
    ///
    /// # Errors
    /// No such disk.
    pub fn note_term(
        &mut self,
        now: Now,
        disk: DiskUid,
        term: u64,
        command: CommandId,
        out: &mut Effects,
    ) -> Result<(), CommandError> {
        self.command(now, disk, command, |store, token, sink| {
            store.note_term(term, token, sink);
            Ok(())
        })?;
        self.run(now, out);
        Ok(())
    }

    /// No units come for a leaf: who waits for them is refused.
    ///
    /// # Errors
    /// No such disk or leaf.
    pub fn refuse(
        &mut self,
        now: Now,
        disk: DiskUid,
        (volume, path): (VolumeUid, ObjectPath),
        out: &mut Effects,
    ) -> Result<(), CommandError> {
        self.at_leaf(now, disk, (volume, path), |store, slot, sink| {
            store.refuse(slot, sink)
        })?;
        self.run(now, out);
        Ok(())
    }

    /// Answers a map fault.
    ///
    /// # Errors
    /// No such disk or leaf.
    pub fn answer_fault(
        &mut self,
        now: Now,
        disk: DiskUid,
        leaf: (VolumeUid, ObjectPath),
        (fault, answer): (u64, Answer),
        out: &mut Effects,
    ) -> Result<(), CommandError> {
        self.at_leaf(now, disk, leaf, |store, slot, sink| {
            store.answer_fault(slot, fault, answer, sink);
        })?;
        self.run(now, out);
        Ok(())
    }

    /// Closes a disk in good order; answers the command when it is done.
    ///
    /// # Errors
    /// A volume uses it.
    pub fn close_disk(
        &mut self,
        now: Now,
        disk: DiskUid,
        command: CommandId,
        out: &mut Effects,
    ) -> Result<(), CommandError> {
        let uses = |v: &Volume| v.tree().leaves().iter().any(|l| l.disk == disk);
        if self.volumes.iter().flatten().any(uses) {
            return Err(CommandError::Refused(format!("disk {disk} is in use")));
        }
        self.command(now, disk, command, |store, token, sink| {
            store.close(token, sink);
            Ok(())
        })?;
        self.run(now, out);
        Ok(())
    }

    pub(super) fn command_done(&mut self, done: Done, out: &mut Effects) {
        if let Some((command, disk)) = self.commands.remove(&done.token) {
            let failed = |_| CommandError::DiskFailed(disk);
            let result = done.result.map(|_| ()).map_err(failed);
            out.push(Effect::Answer { command, result });
        }
    }

    /// Has a store carry out a command.
    fn command(
        &mut self,
        now: Now,
        disk: DiskUid,
        command: CommandId,
        f: impl FnOnce(&mut Store, Token, &mut Sink<'_>) -> Result<(), CommandError>,
    ) -> Result<(), CommandError> {
        let index = self.disk(disk)?;
        let Some(Some(store)) = self.stores.get_mut(usize::from(index.0)) else {
            return Err(CommandError::UnknownDisk(disk));
        };
        let (out, done) = (&mut self.store_out, &mut self.done);
        self.next_token += 1;
        f(store, self.next_token, &mut Sink { now, out, done })?;
        self.commands.insert(self.next_token, (command, disk));
        Ok(())
    }

    fn at_leaf(
        &mut self,
        now: Now,
        disk: DiskUid,
        (volume, path): (VolumeUid, ObjectPath),
        f: impl FnOnce(&mut Store, u16, &mut Sink<'_>),
    ) -> Result<(), CommandError> {
        let index = self.disk(disk)?;
        let Some(Some(store)) = self.stores.get_mut(usize::from(index.0)) else {
            return Err(CommandError::UnknownDisk(disk));
        };
        let slot = store.find(volume, path);
        let slot = slot.ok_or(CommandError::UnknownVolume(volume))?;
        let (out, done) = (&mut self.store_out, &mut self.done);
        f(store, slot, &mut Sink { now, out, done });
        Ok(())
    }
}
