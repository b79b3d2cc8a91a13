//! The node under demonstration: keeper and data plane as children, and the control socket.
//!
//! When this is dropped, the volume is detached and the processes are gone.

use super::tools::{LIMIT, PAUSE, heed_stop, run_last, until, wait};
use crate::demo::place::{Leaf, Placed};
use crate::demo::sys;
use anyhow::{Context, bail};
use control::{Client, ClientError, Event, FailureKind, Request, Response, Status};
use layout::{Generation, Layout, Term, VolumeUid};
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long one call may take: a disk is opened in the meantime.
const CALL: Duration = Duration::from_secs(10);

/// The processes.
pub struct Node {
    folder: PathBuf,
    keeper: Option<Child>,
    parent: Option<Child>,
    client: Option<Client>,
    attached: Option<VolumeUid>,
}

impl Node {
    /// Starts keeper and data plane; what they complain about goes to a file.
    pub fn start(folder: &Path) -> anyhow::Result<Self> {
        let mut node = Node {
            folder: folder.to_owned(),
            keeper: None,
            parent: None,
            client: None,
            attached: None,
        };
        node.keeper = Some(node.spawn("keeper", libc::SIGKILL)?);
        let socket = folder.join("keeper.sock");
        until("the keeper", LIMIT, || Ok(socket.exists().then_some(())))?;
        node.parent = Some(node.spawn("dataplane", libc::SIGTERM)?);
        node.status()?;
        Ok(node)
    }

    fn spawn(&self, role: &str, last_signal: libc::c_int) -> anyhow::Result<Child> {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log())?;
        let program = std::env::current_exe()?;
        let mut command = Command::new(&program);
        command
            .args([role.as_ref(), "--dir".as_ref(), self.folder.as_os_str()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        sys::tie(&mut command, last_signal);
        command
            .spawn()
            .with_context(|| format!("{} cannot be started", program.display()))
    }

    /// Where the processes write what is to be said.
    fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// What they said.
    pub fn said(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }

    /// Asks, over a new connection where the last one ended with the process that was killed:
    /// repeating a request does no harm.
    pub fn call(&mut self, request: &Request) -> anyhow::Result<Response> {
        let start = Instant::now();
        loop {
            heed_stop()?;
            let error = match self.try_call(request.clone()) {
                Ok(response) => return Ok(response),
                Err(ClientError::Failed(f)) if f.kind != FailureKind::Busy => {
                    return Err(f.into());
                }
                Err(error) => error,
            };
            if let Some(status) = self.parent.as_mut().and_then(|p| p.try_wait().transpose()) {
                bail!("the data plane ended ({}): {}", status?, self.said());
            }
            if start.elapsed() > LIMIT {
                return Err(error).context("the data plane does not answer");
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn try_call(&mut self, request: Request) -> Result<Response, ClientError> {
        let mut client = match self.client.take() {
            Some(client) => client,
            None => {
                let mut client = Client::connect(&self.folder.join("control.sock"), "demo", CALL)?;
                client.set_term(Term(1));
                client.call(Request::Subscribe)?;
                client
            }
        };
        let result = client.call(request);
        if matches!(result, Ok(_) | Err(ClientError::Failed(_))) {
            self.client = Some(client);
        }
        result
    }

    /// The next event within a short time.
    pub fn event(&mut self) -> Option<Event> {
        let event = self.client.as_mut()?.event(Duration::from_millis(20));
        event.unwrap_or_else(|_| {
            self.client = None;
            None
        })
    }

    /// How things are.
    pub fn status(&mut self) -> anyhow::Result<Status> {
        match self.call(&Request::Status)? {
            Response::Status(status) => Ok(*status),
            other => bail!("not a status: {other:?}"),
        }
    }

    /// Serves a disk from now on.
    pub fn add_disk(&mut self, path: &Path, uid: layout::DiskUid) -> anyhow::Result<()> {
        let (path, expected) = (path.display().to_string(), uid);
        self.call(&Request::AddDisk { path, expected }).map(drop)
    }

    /// Grants a leaf its units.
    pub fn grant(&mut self, placed: &Placed, leaf: &Leaf) -> anyhow::Result<()> {
        let generation: Generation = placed.layout.generation;
        self.call(&Request::Grant {
            volume: placed.layout.volume,
            object: leaf.path,
            generation,
            disk: leaf.disk,
            units: leaf.units.clone(),
            size: leaf.size,
            owner: serde_json::to_string(&placed.intent)?,
        })
        .map(drop)
    }

    /// Attaches the volume; its block device.
    pub fn attach(&mut self, layout: &Layout) -> anyhow::Result<PathBuf> {
        self.attached = Some(layout.volume);
        let layout = layout.clone();
        self.call(&Request::AttachVolume { layout })?;
        let status = self.status()?;
        let device = status.volumes.iter().find_map(|v| v.device.as_ref());
        Ok(PathBuf::from(device.context("the volume has no device")?))
    }

    /// Kills the I/O process, as a bug or the kernel would; the process that was killed.
    pub fn kill(&mut self) -> anyhow::Result<u32> {
        let pid = self.status()?.pid;
        sys::kill(pid, libc::SIGKILL).with_context(|| format!("process {pid}"))?;
        Ok(pid)
    }

    /// Detaches the volume and ends the processes in good order.
    pub fn end(&mut self) -> anyhow::Result<()> {
        if let Some(volume) = self.attached {
            self.call(&Request::DetachVolume { volume })?;
            self.attached = None;
        }
        self.call(&Request::Shutdown)?;
        if let Some(mut parent) = self.parent.take() {
            let status = wait(&mut parent, LIMIT).context("the data plane")?;
            if !status.success() {
                bail!("the data plane ended with {status}: {}", self.said());
            }
        }
        self.stop_keeper();
        Ok(())
    }

    fn stop_keeper(&mut self) {
        if let Some(mut keeper) = self.keeper.take() {
            let _ = keeper.kill();
            if let Err(error) = wait(&mut keeper, LIMIT) {
                eprintln!("demo: the keeper: {error:#}");
            }
        }
    }

    /// Takes the volume away and ends the processes, whatever state they are in.
    fn give_up(&mut self) {
        let attached = self.attached.take();
        if let Some(volume) = attached {
            // Without it the loop device goes with the keeper; with errors for who still uses it.
            let _ = self.try_call(Request::DetachVolume { volume });
        }
        if let Some(mut parent) = self.parent.take() {
            let _ = sys::kill(parent.id(), libc::SIGTERM);
            if let Err(error) = wait(&mut parent, LIMIT) {
                eprintln!("demo: the data plane: {error:#}");
            }
        }
        self.stop_keeper();
        if let Some(volume) = attached {
            // Gone by now, unless the keeper died before it could.
            let file = self.folder.join("volumes").join(volume.to_string());
            let _ = run_last("umount", &[Path::new("-l"), &file]);
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.give_up();
    }
}
