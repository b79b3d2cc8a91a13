//! Mounts and loop devices as this process sees them, and the end of FUSE connections.
//!
//! Nothing here touches a mounted file: whoever stats the file of a dead server waits for ever.

use anyhow::{Context, Result};
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Where.
    pub point: PathBuf,
    /// The type of its file system.
    pub kind: String,
    /// What is mounted, e.g. a device.
    pub source: String,
    /// The minor number of its device: of a FUSE mount the number of its connection.
    pub minor: u32,
}

/// All mounts, in the order in which they were made.
///
/// # Errors
/// Where /proc cannot be read.
pub fn all() -> Result<Vec<Mount>> {
    let text = fs::read_to_string("/proc/self/mountinfo").context("/proc/self/mountinfo")?;
    Ok(text.lines().filter_map(parse).collect())
}

/// Those at or below a directory.
///
/// # Errors
/// As [`all`].
pub fn below(dir: &Path) -> Result<Vec<Mount>> {
    let mut mounts = all()?;
    mounts.retain(|m| m.point.starts_with(dir));
    Ok(mounts)
}

/// Ends the FUSE connection of a mount: whatever waits for its server gets an I/O error.
///
/// # Errors
/// Where there is no such connection, or fusectl is not mounted.
pub fn abort(mount: &Mount) -> Result<()> {
    let path = format!("/sys/fs/fuse/connections/{}/abort", mount.minor);
    fs::write(&path, "1").context(path)
}

/// The loop devices whose file is at or below a directory, e.g. `/dev/loop3`.
///
/// # Errors
/// Where /sys cannot be read.
pub fn loops_below(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/sys/block").context("/sys/block")? {
        let entry = entry?;
        let file = fs::read(entry.path().join("loop/backing_file")).unwrap_or_default();
        let file = PathBuf::from(std::ffi::OsString::from_vec(file));
        if file.starts_with(dir) {
            found.push(Path::new("/dev").join(entry.file_name()));
        }
    }
    found.sort();
    Ok(found)
}

/// id parent major:minor root point options... - type source superoptions
fn parse(line: &str) -> Option<Mount> {
    let (left, right) = line.split_once(" - ")?;
    let mut left = left.split(' ').skip(2);
    let (_, minor) = left.next()?.split_once(':')?;
    let point = left.nth(1)?;
    let mut right = right.split(' ');
    Some(Mount {
        point: PathBuf::from(unescape(point)),
        kind: right.next()?.to_owned(),
        source: unescape(right.next()?),
        minor: minor.parse().ok()?,
    })
}

/// The kernel writes blanks as `\040`.
fn unescape(text: &str) -> String {
    [
        ("\\040", " "),
        ("\\011", "\t"),
        ("\\012", "\n"),
        ("\\134", "\\"),
    ]
    .iter()
    .fold(text.to_owned(), |t, (code, plain)| t.replace(code, plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read() {
        let line = r"36 35 0:57 / /a\040b/file rw,nosuid shared:9 - fuse /dev/fuse rw,user_id=0";
        let mount = parse(line).unwrap();
        assert_eq!(mount.point, Path::new("/a b/file"));
        assert_eq!(
            (mount.kind.as_str(), mount.source.as_str()),
            ("fuse", "/dev/fuse")
        );
        assert_eq!(mount.minor, 57);
        assert!(all().unwrap().iter().any(|m| m.point == Path::new("/")));
    }
}
