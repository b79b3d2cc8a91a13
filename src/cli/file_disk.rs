//! A disk as the tools see it: a block device or a file, read and written through the page cache.
//! The data plane has its own way to a disk; both respect the same lock.
//!
//! Invariant: while a disk is open here, no data plane can claim it, and where one has, it is not
//! opened: nobody looks at a moving target, and nobody writes below a running volume.

use engine::disk::Disk;
use engine::io::IoFault;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Why a disk was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenDiskError {
    /// The operating system refused.
    #[error("{}: cannot be opened: {cause}", path.display())]
    Open {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// It is neither a block device nor a regular file.
    #[error("{}: neither a block device nor a regular file", .0.display())]
    Kind(PathBuf),
    /// A data plane or another tool has it.
    #[error("{}: in use by another process", .0.display())]
    InUse(PathBuf),
}

/// What is going to be done.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Only reading; others may read at the same time.
    Read,
    /// Writing.
    Write,
}

/// An open disk, locked.
pub struct FileDisk {
    file: File,
    size: u64,
}

impl FileDisk {
    /// Opens and locks the disk at `path`.
    ///
    /// # Errors
    /// Where it cannot be opened, is no disk, or is in use.
    pub fn open(path: &Path, access: Access) -> Result<Self, OpenDiskError> {
        let fail = |cause| OpenDiskError::Open {
            path: path.to_owned(),
            cause,
        };
        let kind = std::fs::metadata(path).map_err(fail)?.file_type();
        let device = kind.is_block_device();
        if !device && !kind.is_file() {
            return Err(OpenDiskError::Kind(path.to_owned()));
        }
        let write = access == Access::Write;
        let mut options = OpenOptions::new();
        options.read(true).write(write);
        if device && write {
            // The kernel then refuses a device that is mounted or part of something else.
            options.custom_flags(libc::O_EXCL);
        }
        let mut file = match options.open(path) {
            Err(e) if e.raw_os_error() == Some(libc::EBUSY) => {
                return Err(OpenDiskError::InUse(path.to_owned()));
            }
            opened => opened.map_err(fail)?,
        };
        let locked = if write {
            file.try_lock()
        } else {
            file.try_lock_shared()
        };
        match locked {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenDiskError::InUse(path.to_owned())),
            Err(TryLockError::Error(cause)) => return Err(fail(cause)),
        }
        let size = file.seek(SeekFrom::End(0)).map_err(fail)?;
        let size = size - size % layout::BLOCK;
        Ok(FileDisk { file, size })
    }
}

fn fault(error: &io::Error) -> IoFault {
    // An error without a number is a file that became shorter while it was read.
    let errno = error.raw_os_error().unwrap_or(libc::EIO);
    IoFault { errno }
}

impl Disk for FileDisk {
    fn size(&self) -> u64 {
        self.size
    }
    fn read(&mut self, offset: u64, buf: &mut [u8]) -> Result<(), IoFault> {
        self.file.read_exact_at(buf, offset).map_err(|e| fault(&e))
    }
    fn write(&mut self, offset: u64, data: &[u8]) -> Result<(), IoFault> {
        self.file.write_all_at(data, offset).map_err(|e| fault(&e))
    }
    fn flush(&mut self) -> Result<(), IoFault> {
        self.file.sync_data().map_err(|e| fault(&e))
    }
}
