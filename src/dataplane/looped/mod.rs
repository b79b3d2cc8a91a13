//! The loop device on a volume's file: set up, grown, taken away.
//!
//! Everything here may wait for whoever serves the file: opening it, asking its size, the last
//! close of the device. So it runs in a short-lived process of its own ([`main`]): not in the
//! keeper, which must never wait, and not in the data plane, whose own end would wait for itself.
//!
//! A device is identified by the descriptor that the keeper holds, and towards others by the device
//! and inode number of its file; never by a path, which another mount namespace may have too.

use crate::keeper::{ClientError, Keeper, Kind};
use crate::sys::loop_ioctl;
use layout::VolumeUid;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Free device numbers that others may take before us.
const TRIES: u32 = 64;

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Put a loop device on this file, unless the keeper holds one for the volume.
    Attach(PathBuf),
    /// Make the device as large as its file.
    Resize,
    /// Take the device away; refused while somebody uses it.
    Detach,
}

/// How to run the short-lived process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Args {
    /// The keeper's socket.
    pub keeper: PathBuf,
    /// Whose device.
    pub volume: VolumeUid,
    /// What to do.
    pub action: Action,
}

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub enum LoopError {
    /// The keeper could not be asked.
    #[error(transparent)]
    Keeper(#[from] ClientError),
    /// A call failed.
    #[error("{what}: {cause}")]
    Call {
        /// Which.
        what: String,
        /// Why.
        cause: io::Error,
    },
    /// Others took every free number first.
    #[error("{TRIES} free loop devices were taken by others")]
    Taken,
    /// Somebody uses the device.
    #[error("/dev/loop{0} is in use")]
    InUse(u32),
    /// The keeper holds none for this volume.
    #[error("volume {0} has no loop device")]
    None(VolumeUid),
    /// The device does not go past the page cache: every block would be cached twice.
    #[error("/dev/loop{0} does not use direct I/O")]
    Cached(u32),
    /// The words are no command of this process.
    #[error("expected: KEEPER VOLUME attach FILE | KEEPER VOLUME resize | KEEPER VOLUME detach")]
    Words,
}

/// A loop device, as the keeper's note has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoopDevice {
    /// N in /dev/loopN.
    pub number: u32,
    /// The device number of its file.
    pub device: u64,
    /// The inode number of its file.
    pub inode: u64,
}

impl LoopDevice {
    /// The keeper's note, little-endian: number u32, device u64, inode u64.
    fn to_note(self) -> Vec<u8> {
        let mut note = self.number.to_le_bytes().to_vec();
        note.extend_from_slice(&self.device.to_le_bytes());
        note.extend_from_slice(&self.inode.to_le_bytes());
        note
    }

    /// Reads the keeper's note; `None` where it is none.
    pub fn from_note(note: &[u8]) -> Option<Self> {
        let note: &[u8; 20] = note.try_into().ok()?;
        let (number, rest) = note.split_first_chunk()?;
        let (device, inode) = rest.split_first_chunk()?;
        Some(LoopDevice {
            number: u32::from_le_bytes(*number),
            device: u64::from_le_bytes(*device),
            inode: u64::from_le_bytes(*inode.first_chunk()?),
        })
    }

    /// Where its node is.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("/dev/loop{}", self.number))
    }
}

impl Args {
    /// The words that [`Args::from_words`] reads, for starting the process.
    pub fn to_words(&self) -> Vec<OsString> {
        let mut words = vec![
            self.keeper.clone().into_os_string(),
            self.volume.to_string().into(),
        ];
        match &self.action {
            Action::Attach(file) => words.extend(["attach".into(), file.clone().into_os_string()]),
            Action::Resize => words.push("resize".into()),
            Action::Detach => words.push("detach".into()),
        }
        words
    }

    /// Reads a command line.
    ///
    /// # Errors
    /// Where it is none of the three.
    pub fn from_words(words: &[OsString]) -> Result<Self, LoopError> {
        let [keeper, volume, action, rest @ ..] = words else {
            return Err(LoopError::Words);
        };
        let action = match (action.to_str(), rest) {
            (Some("attach"), [file]) => Action::Attach(file.into()),
            (Some("resize"), []) => Action::Resize,
            (Some("detach"), []) => Action::Detach,
            _ => return Err(LoopError::Words),
        };
        let volume = volume
            .to_str()
            .and_then(|v| v.parse().ok())
            .ok_or(LoopError::Words)?;
        Ok(Args {
            keeper: keeper.into(),
            volume,
            action,
        })
    }
}

/// Does one thing; waits as long as nobody serves the volume's file.
///
/// # Errors
/// Where it could not be done; then nothing is left behind.
pub fn main(args: &Args) -> Result<LoopDevice, LoopError> {
    let keeper = Keeper::connect(&args.keeper)?;
    let held = keeper.get(Kind::Loop, args.volume.0)?;
    let known = held.as_ref().and_then(|h| LoopDevice::from_note(&h.note));
    match (&args.action, held, known) {
        (Action::Attach(_), Some(_), Some(device)) => Ok(device),
        (Action::Attach(file), _, _) => attach(&keeper, args.volume, file),
        (_, None, _) | (_, _, None) => Err(LoopError::None(args.volume)),
        (Action::Resize, Some(held), Some(device)) => {
            let done = loop_ioctl::set_capacity(held.fd.as_fd());
            done.map_err(call("LOOP_SET_CAPACITY"))?;
            Ok(device)
        }
        (Action::Detach, Some(held), Some(device)) => {
            drop(held);
            refuse_if_used(device)?;
            // The last close is the drop of what comes back: here it may wait for the server.
            drop(keeper.release(Kind::Loop, args.volume.0)?);
            Ok(device)
        }
    }
}

fn attach(keeper: &Keeper, volume: VolumeUid, file: &Path) -> Result<LoopDevice, LoopError> {
    let (device, fd) = configure(file)?;
    keeper.hold(Kind::Loop, volume.0, device.to_note(), fd.as_fd())?;
    Ok(device)
}

/// Puts a free loop device on the file. It clears itself when its last descriptor is closed.
///
/// # Errors
/// Where there is none, or the file cannot be opened, or the device would cache.
pub fn configure(file: &Path) -> Result<(LoopDevice, File), LoopError> {
    let open = |path: &Path| OpenOptions::new().read(true).write(true).open(path);
    let backing = open(file).map_err(call(file.display()))?;
    let control = open(Path::new("/dev/loop-control")).map_err(call("/dev/loop-control"))?;
    for _ in 0..TRIES {
        let number = loop_ioctl::get_free(control.as_fd()).map_err(call("LOOP_CTL_GET_FREE"))?;
        let path = PathBuf::from(format!("/dev/loop{number}"));
        let device = open(&path).map_err(call(path.display()))?;
        match loop_ioctl::configure(device.as_fd(), backing.as_fd(), layout::BLOCK as u32) {
            Ok(()) => {}
            Err(e) if e.raw_os_error() == Some(libc::EBUSY) => continue,
            Err(e) => return Err(call("LOOP_CONFIGURE")(e)),
        }
        let status = loop_ioctl::status(device.as_fd()).map_err(call("LOOP_GET_STATUS64"))?;
        if !status.direct_io {
            return Err(LoopError::Cached(number));
        }
        return Ok((
            LoopDevice {
                number,
                device: status.device,
                inode: status.inode,
            },
            device,
        ));
    }
    Err(LoopError::Taken)
}

/// A mounted or otherwise exclusively used device cannot be opened exclusively.
fn refuse_if_used(device: LoopDevice) -> Result<(), LoopError> {
    let path = device.path();
    match OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_EXCL)
        .open(&path)
    {
        Ok(_) => Ok(()),
        Err(e) if e.raw_os_error() == Some(libc::EBUSY) => Err(LoopError::InUse(device.number)),
        Err(e) => Err(call(path.display())(e)),
    }
}

fn call(what: impl ToString) -> impl FnOnce(io::Error) -> LoopError {
    move |cause| LoopError::Call {
        what: what.to_string(),
        cause,
    }
}

#[cfg(test)]
#[test]
fn command_lines_and_notes_read_back() {
    for action in [
        Action::Attach("/a b".into()),
        Action::Resize,
        Action::Detach,
    ] {
        let args = Args {
            keeper: "/k".into(),
            volume: VolumeUid([7; 16]),
            action,
        };
        assert_eq!(Args::from_words(&args.to_words()).unwrap(), args);
    }
    assert!(Args::from_words(&["/k".into(), "x".into(), "resize".into()]).is_err());
    let device = LoopDevice {
        number: 3,
        device: 0x1_0000_0002,
        inode: 1,
    };
    assert_eq!(LoopDevice::from_note(&device.to_note()), Some(device));
    assert_eq!(LoopDevice::from_note(&[0; 19]), None);
}
