//! The scratch disks: sparse files, each in a small file system of its own, so that one can be made
//! to fail for real. A folder stands for an enclosure.
//!
//! When this is dropped, nothing of it is left.

use super::tools::{run, run_last};
use crate::commands::format::new_uid;
use crate::demo::place::{DISKS, Wanted};
use crate::demo::sys;
use crate::file_disk::{Access, FileDisk};
use anyhow::Context;
use engine::disk::Disk;
use engine::format::Geometry;
use engine::format::geometry::GeometryChoice;
use engine::store;
use layout::DiskUid;
use std::fs::File;
use std::path::{Path, PathBuf};

/// Bytes of a disk.
pub const DISK_SIZE: u64 = 1 << 30;
/// Bytes of the file system around it.
const AROUND: u64 = DISK_SIZE + (256 << 20);

/// A formatted disk.
pub struct ScratchDisk {
    /// What it is called, and where it is.
    pub wanted: Wanted,
    /// What its superblock says.
    pub uid: DiskUid,
    /// Its parts.
    pub geometry: Geometry,
    /// Where its file system is mounted.
    mount: PathBuf,
}

impl ScratchDisk {
    /// The disk file.
    pub fn path(&self) -> PathBuf {
        self.mount.join("disk")
    }

    /// Every I/O on the disk is an error from now on.
    pub fn fail(&self) -> anyhow::Result<()> {
        sys::shut_down(&self.mount)
            .with_context(|| format!("disk {} cannot be made to fail", self.wanted.name))
    }
}

/// The folder of the demo.
pub struct Scratch {
    mounted: Vec<PathBuf>,
    /// There until this is dropped.
    dir: PathBuf,
}

impl Scratch {
    /// An empty folder.
    pub fn new() -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("stratovol-demo-").tempdir();
        Ok(Scratch {
            mounted: Vec::new(),
            // Removed by our own hand, which tells where that fails.
            dir: dir.context("no temporary folder")?.keep(),
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// Makes and formats every disk.
    pub fn disks(&mut self) -> anyhow::Result<Vec<ScratchDisk>> {
        DISKS.iter().map(|wanted| self.disk(*wanted)).collect()
    }

    fn disk(&mut self, wanted: Wanted) -> anyhow::Result<ScratchDisk> {
        let mount = self.path().join(wanted.enclosure).join(wanted.name);
        std::fs::create_dir_all(&mount)?;
        let image = mount.with_extension("img");
        File::create_new(&image)?.set_len(AROUND)?;
        let quick = "lazy_itable_init=1,nodiscard";
        let options = ["-q", "-F", "-m", "0", "-O", "^has_journal", "-E", quick];
        let words = options.iter().map(Path::new).chain([image.as_path()]);
        run("mkfs.ext4", &words.collect::<Vec<_>>())?;
        let words = [Path::new("-o"), Path::new("loop"), &image, &mount];
        run("mount", &words)?;
        self.mounted.push(mount.clone());
        let path = mount.join("disk");
        File::create_new(&path)?.set_len(DISK_SIZE)?;
        let mut disk = FileDisk::open(&path, Access::Write)?;
        let new = store::Format {
            disk: new_uid()?,
            label: wanted.name.to_owned(),
            created: 0,
            choice: GeometryChoice::for_size(disk.size()),
        };
        let geometry = store::format(&mut disk, &new)
            .with_context(|| format!("disk {} was not formatted", wanted.name))?;
        Ok(ScratchDisk {
            wanted,
            uid: new.disk,
            geometry,
            mount,
        })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        for mount in self.mounted.drain(..).rev() {
            let lazily = [Path::new("-l"), &mount];
            let done = run_last("umount", &[&mount]).or_else(|_| run_last("umount", &lazily));
            if let Err(error) = done {
                eprintln!("demo: {} stays mounted: {error:#}", mount.display());
            }
        }
        if let Err(error) = std::fs::remove_dir_all(&self.dir) {
            eprintln!("demo: {} stays behind: {error}", self.dir.display());
        }
    }
}
