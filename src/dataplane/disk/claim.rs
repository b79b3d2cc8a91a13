//! Opening a disk and locking it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a successor tries to get a disk: the I/O of a dead process ends within seconds.
pub const TAKEOVER_LIMIT: Duration = Duration::from_secs(30);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(1);

/// What to do where the disk is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Refuse at once: whoever has it is meant to have it.
    AtOnce,
    /// Try again for [`TAKEOVER_LIMIT`]: our predecessor's last I/O is on its way.
    Takeover,
}

/// Why a disk is not ours.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// It cannot be opened.
    #[error("{}: {cause}", path.display())]
    Open {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// It is neither a block device nor a regular file.
    #[error("{}: neither a block device nor a regular file", .0.display())]
    Kind(PathBuf),
    /// Another process has it.
    #[error("{}: in use by another process", .0.display())]
    InUse(PathBuf),
    /// Another process still has it.
    #[error(
        "{}: still in use by another process after {waited:?}; one that hangs must be killed",
        path.display()
    )]
    StillInUse {
        /// Which.
        path: PathBuf,
        /// How long we tried.
        waited: Duration,
    },
}

/// An open disk that nobody else writes to.
#[derive(Debug)]
pub struct Claimed {
    file: File,
    path: PathBuf,
    size: u64,
}

impl Claimed {
    /// Opens and locks.
    ///
    /// # Errors
    /// Where it cannot be opened for direct I/O, or is in use.
    pub fn open(path: &Path, patience: Patience) -> Result<Self, ClaimError> {
        let fail = |cause| ClaimError::Open {
            path: path.to_owned(),
            cause,
        };
        let kind = std::fs::metadata(path).map_err(fail)?.file_type();
        let exclusive = if kind.is_block_device() {
            libc::O_EXCL
        } else if kind.is_file() {
            0
        } else {
            return Err(ClaimError::Kind(path.to_owned()));
        };
        let start = Instant::now();
        loop {
            if let Some(mut file) = try_claim(path, exclusive).map_err(fail)? {
                let size = file.seek(SeekFrom::End(0)).map_err(fail)?;
                let size = size - size % layout::BLOCK;
                return Ok(Claimed {
                    file,
                    path: path.to_owned(),
                    size,
                });
            }
            let (path, waited) = (path.to_owned(), start.elapsed());
            match patience {
                Patience::AtOnce => return Err(ClaimError::InUse(path)),
                Patience::Takeover if waited >= TAKEOVER_LIMIT => {
                    return Err(ClaimError::StillInUse { path, waited });
                }
                Patience::Takeover => std::thread::sleep(PAUSE),
            }
        }
    }

    /// The file; its descriptor must not be duplicated.
    pub(super) fn file(&self) -> &File {
        &self.file
    }
    /// Where it was found.
    pub fn path(&self) -> &Path {
        &self.path
    }
    /// Whole blocks on it, in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }
}

/// One try; `None` where somebody else has it.
fn try_claim(path: &Path, exclusive: i32) -> io::Result<Option<File>> {
    let flags = libc::O_DIRECT | exclusive;
    let file = match OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(flags)
        .open(path)
    {
        Ok(file) => file,
        Err(e) if exclusive != 0 && e.raw_os_error() == Some(libc::EBUSY) => return Ok(None),
        Err(e) => return Err(e),
    };
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(e)) => Err(e),
    }
}
