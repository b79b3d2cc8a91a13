//! Volumes: attached, grown, detached.
//!
//! Attaching: the machine takes the volume, its file is mounted and served, the record is written,
//! a helper sets up the loop device. Detaching is the same backwards, and begins with what may be
//! refused: the loop device is in use.

use super::helper::Task;
use super::{HELPERS, Node, Pending, ServedVolume, Server};
use crate::attached::AttachedVolume;
use crate::front::FuseFront;
use crate::keeper::{ClientError, Kind};
use crate::looped::{self, Action, LoopDevice};
use crate::ring::Loop;
use crate::run::{OTHERS, RunError};
use crate::socket::Asker;
use control::{Failure, FailureKind, Response};
use engine::io::VolumeId;
use layout::{Layout, VolumeUid};
use std::path::PathBuf;

impl Server<'_> {
    /// Serves the volumes of the record again. One that cannot be is let go: its applications get
    /// errors, not silence.
    pub(super) fn take_up_volumes<N: Node>(&mut self, ring: &mut Loop<N>) -> Result<(), RunError> {
        for volume in self.attached.volumes.clone() {
            let (uid, id) = (volume.layout.volume, self.free_volume());
            let attached = ring.with_machine(|n, now, out| n.attach(now, id, &volume.layout, out));
            let size = volume.layout.size.0;
            let front = match attached {
                Ok(()) => match self.process.take_front(id, uid, size) {
                    Err(e @ RunError::Resend { .. }) => {
                        eprintln!("dataplane: {e}");
                        None
                    }
                    front => front?,
                },
                Err(e) => {
                    eprintln!("dataplane: volume {uid}: {e}");
                    None
                }
            };
            let Some(front) = front else {
                drop(self.process.keeper().release(Kind::Fuse, uid.0)?);
                self.attached.volumes.retain(|v| v.layout.volume != uid);
                continue;
            };
            ring.add_fuse(front);
            self.volumes.insert(
                uid,
                ServedVolume {
                    id,
                    device: self.device_of(uid)?,
                },
            );
            if self.volumes.get(&uid).is_some_and(|v| v.device.is_none()) {
                // The predecessor died before the loop device was there.
                let action = Action::Attach(volume.file);
                self.help(action, Task::Find(uid), uid, ring);
            }
        }
        Ok(())
    }

    fn free_volume(&self) -> VolumeId {
        let taken: Vec<VolumeId> = self.volumes.values().map(|v| v.id).collect();
        (0..)
            .map(VolumeId)
            .find(|id| !taken.contains(id))
            .unwrap_or(VolumeId(u32::MAX))
    }

    fn device_of(&self, volume: VolumeUid) -> Result<Option<PathBuf>, ClientError> {
        let held = self.process.keeper().get(Kind::Loop, volume.0)?;
        Ok(held
            .and_then(|h| LoopDevice::from_note(&h.note))
            .map(|d| d.path()))
    }

    pub(super) fn attach<N: Node>(&mut self, by: Asker, layout: Layout, ring: &mut Loop<N>) {
        let uid = layout.volume;
        if let Some(served) = self.volumes.get(&uid) {
            let reply = match &served.device {
                Some(_) => Ok(Response::Done),
                None => Err(FailureKind::Busy.because("the volume is being attached or detached")),
            };
            return self.socket.reply(by, reply.into(), ring);
        }
        let id = self.free_volume();
        let attached = ring.with_machine(|n, now, out| n.attach(now, id, &layout, out));
        let file = self.config.volumes.join(uid.to_string());
        let shown = attached.and_then(|()| self.show(id, &layout, &file, ring));
        if let Err(failure) = shown {
            return self.fail(by, failure, ring);
        }
        let action = Action::Attach(file);
        self.help(action, Task::Attach(by, uid), uid, ring);
    }

    /// Mounts the volume's file and serves it.
    fn show<N: Node>(
        &mut self,
        id: VolumeId,
        layout: &Layout,
        file: &std::path::Path,
        ring: &mut Loop<N>,
    ) -> Result<(), Failure> {
        let uid = layout.volume;
        let refused = |e: &dyn std::fmt::Display| FailureKind::Refused.because(e.to_string());
        let keeper = self.process.keeper();
        let mounted = std::fs::create_dir_all(&self.config.volumes)
            .map_err(|e| refused(&e))
            .and_then(|()| keeper.mount(uid.0, file).map_err(|e| refused(&e)))
            .and_then(|_| keeper.get(Kind::Fuse, uid.0).map_err(|e| refused(&e)));
        let held = match mounted {
            Ok(Some(held)) => held,
            failed => {
                // Nothing was written: nobody waits for the answer.
                let command = self.new_command();
                let _ = ring.with_machine(|n, now, out| n.detach(now, command, id, out));
                return Err(failed
                    .err()
                    .unwrap_or_else(|| refused(&"the mount is gone")));
            }
        };
        ring.add_fuse(FuseFront::new(id, held.fd, layout.size.0));
        self.volumes.insert(uid, ServedVolume { id, device: None });
        let attached = AttachedVolume {
            layout: layout.clone(),
            file: file.to_owned(),
        };
        self.attached.volumes.push(attached);
        self.save()
    }

    pub(super) fn detach<N: Node>(&mut self, by: Asker, uid: VolumeUid, ring: &mut Loop<N>) {
        if !self.volumes.contains_key(&uid) {
            let why = format!("volume {uid} is not attached");
            return self.fail(
                by,
                FailureKind::UnknownVolume { volume: uid }.because(why),
                ring,
            );
        }
        let stopping = self.stopping.iter().any(|(_, v)| *v == uid);
        if stopping || self.helpers.any_of(uid) {
            let why = "the volume is being attached or detached";
            return self.fail(by, FailureKind::Busy.because(why), ring);
        }
        match self.device_of(uid) {
            Ok(Some(_)) => self.help(Action::Detach, Task::Detach(by, uid), uid, ring),
            Ok(None) => self.stop_front(by, uid, ring),
            Err(e) => self.fail(by, FailureKind::Refused.because(e.to_string()), ring),
        }
    }

    fn stop_front<N: Node>(&mut self, by: Asker, uid: VolumeUid, ring: &mut Loop<N>) {
        if let Some(served) = self.volumes.get_mut(&uid) {
            served.device = None;
            ring.stop_front(served.id);
            self.stopping.push((by, uid));
        }
    }

    /// Front ends that came to rest: the connection is let go, then the machine's side.
    pub(super) fn remove_stopped<N: Node>(&mut self, ring: &mut Loop<N>) {
        for (by, uid) in std::mem::take(&mut self.stopping) {
            let Some(volume) = self.volumes.get(&uid).map(|v| v.id) else {
                continue;
            };
            if !ring.remove_front(volume) {
                self.stopping.push((by, uid));
                continue;
            }
            if let Err(e) = self.process.keeper().release(Kind::Fuse, uid.0) {
                self.fail(by, FailureKind::Refused.because(e.to_string()), ring);
                continue;
            }
            let id = self.new_command();
            match ring.with_machine(|n, now, out| n.detach(now, id, volume, out)) {
                Ok(()) => drop(self.pending.insert(id, Pending::Detach(by, uid))),
                Err(failure) => self.fail(by, failure, ring),
            }
        }
    }

    /// The machine has let go of the volume.
    pub(super) fn detached<N: Node>(&mut self, by: Asker, uid: VolumeUid, ring: &mut Loop<N>) {
        self.volumes.remove(&uid);
        let file = self.config.volumes.join(uid.to_string());
        // An empty file that stays behind is mounted over the next time.
        let _ = std::fs::remove_file(file);
        self.attached.volumes.retain(|v| v.layout.volume != uid);
        let result = self.save();
        self.socket
            .reply(by, result.map(|()| Response::Done).into(), ring);
    }

    pub(super) fn relayout<N: Node>(&mut self, by: Asker, layout: Layout, ring: &mut Loop<N>) {
        let (uid, size) = (layout.volume, layout.size.0);
        let Some(id) = self.volumes.get(&uid).map(|v| v.id) else {
            let why = format!("volume {uid} is not attached");
            return self.fail(
                by,
                FailureKind::UnknownVolume { volume: uid }.because(why),
                ring,
            );
        };
        let mut grown = false;
        let result = ring.with_machine(|n, now, out| n.relayout(now, id, &layout, out));
        let result = result.and_then(|()| {
            if let Some(v) = self
                .attached
                .volumes
                .iter_mut()
                .find(|v| v.layout.volume == uid)
            {
                grown = v.layout.size.0 != size;
                v.layout = layout;
            }
            self.save()
        });
        match result {
            Err(failure) => self.fail(by, failure, ring),
            Ok(()) if grown => {
                ring.resize_front(id, size);
                self.help(Action::Resize, Task::Resize(by, uid), uid, ring);
            }
            Ok(()) => self.succeed(by, Response::Done, ring),
        }
    }

    fn help<N: Node>(&mut self, action: Action, task: Task, uid: VolumeUid, ring: &mut Loop<N>) {
        let keeper = self.process.keeper_path().to_owned();
        let args = looped::Args {
            keeper,
            volume: uid,
            action,
        };
        let first = OTHERS + HELPERS;
        if let Err(e) = self
            .helpers
            .start(&self.config.helper, &args, task, first, ring)
        {
            self.helped(task, Err(format!("the helper for loop devices: {e}")), ring);
        }
    }

    pub(super) fn helper_ended<N: Node>(&mut self, name: u32, ring: &mut Loop<N>) {
        if let Some((task, result)) = self.helpers.ended(name) {
            self.helped(task, result, ring);
        }
    }

    fn helped<N: Node>(&mut self, task: Task, result: Result<(), String>, ring: &mut Loop<N>) {
        let result = result.map_err(|why| FailureKind::Refused.because(why));
        match (task, result) {
            (Task::Attach(by, uid), Ok(())) => {
                let found = self.find_device(uid);
                self.socket
                    .reply(by, found.map(|()| Response::Done).into(), ring);
            }
            (Task::Find(uid), Ok(())) => {
                if let Err(e) = self.find_device(uid) {
                    eprintln!("dataplane: volume {uid}: {e}");
                }
            }
            (Task::Find(uid), Err(e)) => eprintln!("dataplane: volume {uid}: {e}"),
            (Task::Detach(by, uid), Ok(())) => self.stop_front(by, uid, ring),
            (Task::Resize(by, _), Ok(())) => self.succeed(by, Response::Done, ring),
            (Task::Attach(by, _) | Task::Detach(by, _) | Task::Resize(by, _), Err(failure)) => {
                self.fail(by, failure, ring);
            }
        }
    }

    fn find_device(&mut self, uid: VolumeUid) -> Result<(), Failure> {
        let device = self.device_of(uid);
        let device = device.map_err(|e| FailureKind::Refused.because(e.to_string()))?;
        if let Some(served) = self.volumes.get_mut(&uid) {
            served.device = device;
        }
        Ok(())
    }
}
