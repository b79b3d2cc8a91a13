//! Our own device, in the states that cost differently.

use super::{Contender, Workload, fill};
use crate::direct::Direct;
use crate::filesystem::{FileSystem, Mounted};
use crate::fio::Target;
use crate::node::{DiskFile, Node, Shape, Volume};
use crate::sys;
use anyhow::Result;
use layout::Epoch;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// The name of the main contender: one copy, every block written before.
pub const FILLED: &str = "stratovol";

/// How many times the size of the others the fresh device has, so that random writes rarely meet a
/// block again.
const FRESH_TIMES: u64 = 4;

/// In which state a device is before each measurement.
#[derive(Debug)]
enum State {
    Filled,
    /// Everything was discarded: each write is the first.
    Fresh(PathBuf, u64),
    /// An epoch is held: each first write goes to new space.
    Held(Option<Epoch>),
    /// A file of a file system on it is used.
    Mounted(Option<Mounted>),
}

/// A volume of the node.
#[derive(Debug)]
pub struct Ours {
    name: &'static str,
    node: Rc<Node>,
    volume: Volume,
    target: PathBuf,
    state: State,
}

/// All of them; `size` bytes each. Needs two disks, the first with room for [`room`] bytes.
///
/// # Errors
/// What the data plane refuses, or fio meets while filling.
pub fn all(
    node: &Rc<Node>,
    disks: &mut [DiskFile],
    size: u64,
    point: &Path,
) -> Result<Vec<Box<dyn Contender>>> {
    let plain = Shape::plain(size);
    let mut number = 0;
    let mut volume = |shape| -> Result<(Volume, PathBuf)> {
        number += 1;
        let volume = Volume::place(number, shape, disks);
        volume.grant(node)?;
        let device = volume.attach(node)?;
        fill(&device)?;
        Ok((volume, device))
    };
    let ours = |name, (volume, target): (Volume, PathBuf), state| {
        let node = Rc::clone(node);
        Box::new(Ours {
            name,
            node,
            volume,
            target,
            state,
        })
    };
    let mut all: Vec<Box<dyn Contender>> = vec![ours(FILLED, volume(plain)?, State::Filled)];
    let (fresh, device) = volume(Shape::plain(size * FRESH_TIMES))?;
    let state = State::Fresh(device.clone(), size * FRESH_TIMES);
    all.push(ours("stratovol, fresh", (fresh, device), state));
    let twice = Shape {
        granted: 2 * size,
        ..plain
    };
    all.push(ours(
        "stratovol, held epoch",
        volume(twice)?,
        State::Held(None),
    ));
    let copies = Shape { copies: 2, ..plain };
    all.push(ours(
        "stratovol, two copies",
        volume(copies)?,
        State::Filled,
    ));
    let (below, device) = volume(plain)?;
    FileSystem::Ext4.make(&device)?;
    let mounted = FileSystem::Ext4.mount(&device, point)?;
    let file = point.join("file");
    fs::write(&file, [])?;
    fs::File::options()
        .write(true)
        .open(&file)?
        .set_len(size / 4 * 3)?;
    fill(&file)?;
    all.push(ours(
        "stratovol, ext4",
        (below, file),
        State::Mounted(Some(mounted)),
    ));
    Ok(all)
}

/// Bytes that the first disk must have for all of them.
pub fn room(size: u64) -> u64 {
    // Filled, fresh, held (twice), a copy, ext4, and what the disk needs for itself.
    (1 + FRESH_TIMES + 2 + 1 + 1 + 1) * size + (1 << 30)
}

impl Contender for Ours {
    fn name(&self) -> &str {
        self.name
    }
    fn target(&self) -> Target<'_> {
        Target::Device(&self.target)
    }
    fn takes(&self, workload: &Workload) -> bool {
        match self.state {
            State::Fresh(..) | State::Held(_) => !workload.main_only && workload.writes(),
            State::Filled => self.name == FILLED || !workload.main_only,
            State::Mounted(_) => !workload.main_only,
        }
    }
    fn prepare(&mut self) -> Result<()> {
        match &mut self.state {
            State::Filled | State::Mounted(_) => {}
            State::Fresh(device, size) => sys::discard(Direct::open(device)?.file(), 0, *size)?,
            State::Held(held) => {
                if let Some(epoch) = held.take() {
                    self.volume.release_epoch(&self.node, epoch)?;
                }
                *held = Some(self.volume.cut_epoch(&self.node)?);
            }
        }
        Ok(())
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        if let State::Mounted(mounted) = &mut self.state
            && let Some(Err(e)) = mounted.take().map(Mounted::unmount)
        {
            eprintln!("{}: {e:#}", self.name);
        }
    }
}
