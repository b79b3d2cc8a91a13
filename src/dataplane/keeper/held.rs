//! What the keeper holds, and the five things that can be asked of it.

use super::protocol::{Frame, Kind, MAX_NOTE, Record, Verb};
use crate::fuse::{self, Negotiated, Request, init, request};
use crate::sys::{errno, mounts, process, seqpacket};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long the kernel may take to send the first request of a new mount.
const INIT_LIMIT: Duration = Duration::from_secs(5);

type Key = (Kind, [u8; 16]);

struct Holding {
    note: Vec<u8>,
    fd: OwnedFd,
}

/// Everything held, by kind and key.
#[derive(Default)]
pub(super) struct Holdings(BTreeMap<Key, Holding>);

/// What to send back.
pub(super) struct Answer {
    pub frame: Frame,
    /// A duplicate to send beside it.
    pub fd: Option<OwnedFd>,
    /// What is held no more once the answer is on its way: the last close must be the asker's.
    pub release: Option<Key>,
}

impl Holdings {
    /// How many volumes' connections are held: what must not be lost. Logs, memory and the record
    /// of what is attached are worth nothing without them: a detach leaves everything on the disks.
    pub(super) fn volumes(&self) -> usize {
        self.0
            .keys()
            .filter(|(kind, _)| *kind == Kind::Fuse)
            .count()
    }

    pub(super) fn forget(&mut self, key: Key) {
        self.0.remove(&key);
    }

    /// Does what the frame asks.
    pub(super) fn apply(&mut self, frame: &Frame, fds: Vec<OwnedFd>) -> Answer {
        let key = (frame.kind, frame.key);
        let mut answer = Answer {
            frame: frame.clone(),
            fd: None,
            release: None,
        };
        let result = match frame.verb {
            Verb::Mount => self.mount(frame),
            Verb::Hold => self.hold(key, frame.note.clone(), fds),
            Verb::List => Ok(self.list(key)),
            Verb::Get | Verb::Release => self.duplicate(key).map(|(note, fd)| {
                answer.fd = Some(fd);
                note
            }),
        };
        if frame.verb == Verb::Release && result.is_ok() {
            self.detach(key);
            answer.release = Some(key);
        }
        answer.frame = frame.answer(result.map_err(|e| errno(&e)));
        answer
    }

    fn hold(&mut self, key: Key, note: Vec<u8>, mut fds: Vec<OwnedFd>) -> io::Result<Vec<u8>> {
        let (Some(fd), true) = (fds.pop(), fds.is_empty()) else {
            return Err(io::Error::from_raw_os_error(libc::EBADF));
        };
        if key.0 == Kind::Fuse || note.len() > MAX_NOTE / 2 {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        if self.0.contains_key(&key) {
            return Err(io::Error::from_raw_os_error(libc::EEXIST));
        }
        self.0.insert(key, Holding { note, fd });
        Ok(Vec::new())
    }

    fn duplicate(&self, key: Key) -> io::Result<(Vec<u8>, OwnedFd)> {
        let held = self
            .0
            .get(&key)
            .ok_or_else(|| io::Error::from_raw_os_error(libc::ENOENT))?;
        Ok((held.note.clone(), held.fd.try_clone()?))
    }

    fn list(&self, after: Key) -> Vec<u8> {
        let mut out = Vec::new();
        let later = (std::ops::Bound::Excluded(after), std::ops::Bound::Unbounded);
        for ((kind, key), held) in self.0.range(later) {
            let record = Record {
                kind: *kind,
                key: *key,
                note: held.note.clone(),
            };
            if !record.put(&mut out) {
                break;
            }
        }
        out
    }

    fn mount(&mut self, frame: &Frame) -> io::Result<Vec<u8>> {
        let key = (Kind::Fuse, frame.key);
        if self.0.contains_key(&key) {
            return Err(io::Error::from_raw_os_error(libc::EEXIST));
        }
        if frame.note.len() > MAX_NOTE / 2 {
            return Err(io::Error::from_raw_os_error(libc::ENAMETOOLONG));
        }
        let path = PathBuf::from(std::ffi::OsString::from_vec(frame.note.clone()));
        let (agreed, fuse) = mount(&path)?;
        let mut note = agreed.to_bytes().to_vec();
        note.extend_from_slice(path.as_os_str().as_bytes());
        self.0.insert(
            key,
            Holding {
                note: note.clone(),
                fd: fuse,
            },
        );
        Ok(note)
    }

    /// Takes a mount out of the tree before its connection is let go.
    fn detach(&self, key: Key) {
        let (Kind::Fuse, Some(held)) = (key.0, self.0.get(&key)) else {
            return;
        };
        let path = held.note.get(Negotiated::LEN..).unwrap_or_default();
        let path = Path::new(std::ffi::OsStr::from_bytes(path));
        if let Err(e) = mounts::detach(path) {
            eprintln!("keeper: unmounting {}: {e}", path.display());
        }
    }
}

/// Mounts a new connection on the file at `path` (made where it is not there) and answers its INIT.
fn mount(path: &Path) -> io::Result<(Negotiated, OwnedFd)> {
    if !path.is_absolute() {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    detach_stale(path)?;
    OpenOptions::new().create(true).append(true).open(path)?;
    let mut fuse = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/fuse")?;
    mounts::mount_file(path, fuse.as_fd(), init::MAX_WRITE)?;
    match answer_init(&mut fuse) {
        Ok(agreed) => Ok((agreed, fuse.into())),
        Err(e) => {
            // The first error is the one to tell; without the connection the mount is dead anyway.
            let _ = mounts::detach(path);
            Err(e)
        }
    }
}

fn answer_init(fuse: &mut File) -> io::Result<Negotiated> {
    if seqpacket::wait_readable(&[fuse.as_fd()], Some(INIT_LIMIT))? != [true] {
        return Err(io::Error::from_raw_os_error(libc::ETIMEDOUT));
    }
    let mut buf = vec![0; init::MAX_WRITE as usize + 4096];
    let len = fuse.read(&mut buf)?;
    let head = &buf[..len.min(request::HEAD_MAX)];
    let (header, request) = fuse::decode(head, len).map_err(io::Error::other)?;
    let Request::Init(offer) = request else {
        return Err(io::Error::from_raw_os_error(libc::EPROTO));
    };
    let (agreed, answer) = offer.negotiate(header.unique).map_err(io::Error::other)?;
    fuse.write_all(&answer)?;
    process::set_nonblocking(fuse.as_fd(), true)?;
    Ok(agreed)
}

/// Takes away mounts that an earlier keeper, now dead, left at `path`: nobody can serve them any
/// more.
fn detach_stale(path: &Path) -> io::Result<()> {
    let table = std::fs::read("/proc/self/mountinfo")?;
    let stale = stale_mounts(&table, path.as_os_str().as_bytes());
    (0..stale).try_for_each(|_| mounts::detach(path))
}

/// How many mounts of ours a mount table has at `path`.
fn stale_mounts(table: &[u8], path: &[u8]) -> usize {
    let escaped: Vec<u8> = path
        .iter()
        .flat_map(|b| match b {
            b' ' | b'\t' | b'\n' | b'\\' => format!("\\{b:03o}").into_bytes(),
            b => vec![*b],
        })
        .collect();
    let ours = |line: &[u8]| {
        let mut fields = line.split(|b| *b == b' ');
        fields.nth(4) == Some(escaped.as_slice())
            && fields.skip_while(|f| *f != b"-").nth(1) == Some(b"fuse.stratovol".as_slice())
    };
    table
        .split(|b| *b == b'\n')
        .filter(|line| ours(line))
        .count()
}

#[cfg(test)]
#[test]
fn only_our_own_mounts_at_the_very_path_are_stale() {
    let table = b"22 27 0:21 / /a\\040b rw - fuse.stratovol stratovol rw\n\
        23 27 0:22 / /a\\040b rw shared:1 - fuse.stratovol stratovol rw\n\
        24 27 0:23 / /a\\040b rw - ext4 /dev/sda rw\n\
        25 27 0:24 / /a rw - fuse.stratovol stratovol rw\n";
    assert_eq!(stale_mounts(table, b"/a b"), 2);
    assert_eq!(stale_mounts(table, b"/c"), 0);
}
