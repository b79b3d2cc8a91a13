//! Mounting a FUSE file system on a file, and taking it away.
#![allow(unsafe_code)]

use super::check;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "path with a zero byte"))
}

/// Mounts the connection `fuse` on the regular file at `path`; its root is a regular file too. Does
/// not wait for whoever serves the connection.
///
/// # Errors
/// As of mount(2).
pub fn mount_file(path: &Path, fuse: BorrowedFd<'_>, max_read: u32) -> io::Result<()> {
    let options = format!(
        "fd={},rootmode=100600,user_id=0,group_id=0,allow_other,max_read={max_read}",
        fuse.as_raw_fd()
    );
    let (target, options) = (c_path(path)?, CString::new(options)?);
    let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    let (source, kind) = (c"stratovol", c"fuse.stratovol");
    // SAFETY: four C strings that live through the call.
    check(unsafe {
        libc::mount(
            source.as_ptr(),
            target.as_ptr(),
            kind.as_ptr(),
            flags,
            options.as_ptr().cast(),
        )
    })
    .map(drop)
}

/// Takes the mount at `path` out of the tree at once; what still uses it keeps it until it is done.
/// Never waits for whoever serves the file.
///
/// # Errors
/// As of umount2(2); EINVAL where nothing is mounted there.
pub fn detach(path: &Path) -> io::Result<()> {
    let target = c_path(path)?;
    // SAFETY: a C string that lives through the call.
    check(unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH | libc::UMOUNT_NOFOLLOW) })
        .map(drop)
}
