//! Short-lived processes for what may wait for ourselves: the loop devices.

use crate::looped;
use crate::machine::Machine;
use crate::ring::Loop;
use crate::socket::Asker;
use crate::sys::process;
use layout::VolumeUid;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};

/// What a helper does, and for whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// Set up a loop device; whoever asked for the volume waits.
    Attach(Asker, VolumeUid),
    /// Find the loop device of a volume that was taken up: nobody waits.
    Find(VolumeUid),
    /// Take a loop device away, then the volume.
    Detach(Asker, VolumeUid),
    /// Make a loop device as large as its file.
    Resize(Asker, VolumeUid),
}

struct Helper {
    child: Child,
    task: Task,
    _pidfd: OwnedFd,
}

/// The helpers that run.
#[derive(Default)]
pub(super) struct Helpers {
    running: BTreeMap<u32, Helper>,
    next: u32,
}

impl Helpers {
    /// How many names there are before the first is used again.
    const NAMES: u32 = super::SOCKET;

    /// Starts one; `first_name` is the loop's name of helper 0.
    pub(super) fn start<M: Machine>(
        &mut self,
        program: &[OsString],
        args: &looped::Args,
        task: Task,
        first_name: u32,
        ring: &mut Loop<M>,
    ) -> io::Result<()> {
        let (program, first) = program.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let mut command = Command::new(program);
        command
            .args(first)
            .args(args.to_words())
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        command.stderr(Stdio::piped());
        process::unblock_signals_in(&mut command);
        let mut child = command.spawn()?;
        let pidfd = match process::pidfd(child.id()) {
            Ok(pidfd) => pidfd,
            Err(e) => {
                // Unwatched it would be forgotten; it has done nothing yet that lasts without it.
                let _ = child.kill();
                let _ = child.wait();
                return Err(e);
            }
        };
        let name = self.next;
        self.next = (name + 1) % Self::NAMES;
        ring.watch(&pidfd, first_name + name);
        self.running.insert(
            name,
            Helper {
                child,
                task,
                _pidfd: pidfd,
            },
        );
        Ok(())
    }

    /// One has ended: what it was for, and what it complains about.
    pub(super) fn ended(&mut self, name: u32) -> Option<(Task, Result<(), String>)> {
        let mut helper = self.running.remove(&name)?;
        let mut words = String::new();
        let result = match helper.child.wait() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => {
                if let Some(pipe) = &mut helper.child.stderr {
                    // What it says is at most a line; that it cannot be had is no more than
                    // silence.
                    let _ = pipe.read_to_string(&mut words);
                }
                Err(format!("{} ({status})", words.trim()))
            }
            Err(e) => Err(e.to_string()),
        };
        Some((helper.task, result))
    }

    /// Whether one works on this volume.
    pub(super) fn any_of(&self, volume: VolumeUid) -> bool {
        self.running.values().any(|h| match h.task {
            Task::Attach(_, v) | Task::Find(v) | Task::Detach(_, v) | Task::Resize(_, v) => {
                v == volume
            }
        })
    }
}
