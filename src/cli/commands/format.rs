//! `format`: makes a disk of a device or a file that holds nothing.

use crate::file_disk::{Access, FileDisk};
use anyhow::{Context, anyhow, bail};
use engine::disk::Disk;
use engine::format::geometry::GeometryChoice;
use engine::store;
use layout::{Bytes, DiskUid};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Make a Stratovol disk of a block device or a file. Whatever holds anything is refused.
#[derive(clap::Args)]
pub struct Args {
    /// A block device, or a file; with --size, a file that does not exist yet
    path: PathBuf,
    /// Make the file with this size, e.g. "10 GiB"
    #[arg(long)]
    size: Option<Bytes>,
    /// What people call the disk, at most 64 bytes
    #[arg(long, default_value = "")]
    label: String,
    /// The disk's identity, 32 hexadecimal digits; by default a new one
    #[arg(long)]
    uid: Option<DiskUid>,
}

impl Args {
    /// Formats, and says what the disk is now.
    pub fn run(&self, out: &mut dyn Write) -> anyhow::Result<u8> {
        let most = engine::format::superblock::LABEL;
        if self.label.len() > most || self.label.contains('\0') {
            let len = self.label.len();
            bail!("the label has {len} bytes, it may have {most} and no zero byte");
        }
        if let Some(size) = self.size {
            let file = std::fs::File::create_new(&self.path).with_context(|| {
                let path = self.path.display();
                format!("{path} cannot be made (--size is for files that do not exist yet)")
            })?;
            let made = file
                .set_len(size.0)
                .with_context(|| format!("{} cannot have {size}", self.path.display()))
                .and_then(|()| self.format(out));
            if made.is_err() {
                // It was made a moment ago, here, and holds nothing.
                std::fs::remove_file(&self.path)?;
            }
            return made;
        }
        self.format(out)
    }

    fn format(&self, out: &mut dyn Write) -> anyhow::Result<u8> {
        let mut disk = FileDisk::open(&self.path, Access::Write)?;
        refuse_unknown(&mut disk, &self.path)?;
        let new = store::Format {
            disk: match self.uid {
                Some(uid) => uid,
                None => new_uid()?,
            },
            label: self.label.clone(),
            created: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .context("the clock is before 1970")?
                .as_secs(),
            choice: GeometryChoice::for_size(disk.size()),
        };
        let geometry = store::format(&mut disk, &new)
            .with_context(|| format!("{} was not formatted", self.path.display()))?;
        let unit = Bytes(geometry.unit_bytes());
        writeln!(
            out,
            "{}: disk {}, {} units of {unit}, room for {} objects",
            self.path.display(),
            new.disk,
            geometry.units,
            geometry.slots
        )?;
        Ok(0)
    }
}

/// A device that bears no signature that is known may hold something all the same: its first and
/// last bytes must be zeros. What a signature is, and whether it is our own, says `store::format`.
fn refuse_unknown(disk: &mut FileDisk, path: &Path) -> anyhow::Result<()> {
    use engine::format::foreign::{HEAD, TAIL, detect};
    let size = disk.size();
    let head_len = (HEAD as u64).min(size);
    let tail_len = (TAIL as u64).min(size);
    let (mut head, mut tail) = (vec![0; head_len as usize], vec![0; tail_len as usize]);
    let read = disk.read(0, &mut head);
    read.and_then(|()| disk.read(size - tail_len, &mut tail))
        .map_err(|fault| anyhow!("{}: {fault}", path.display()))?;
    let known = detect(&head, &tail).is_some() || head.starts_with(b"STRATOVL");
    let zero = |bytes: &[u8]| bytes.iter().all(|b| *b == 0);
    let empty = zero(&head) && zero(&tail);
    if !known && !empty {
        bail!(
            "{} was not formatted: it bears no signature that is known, but is not empty; clear \
             its first and last {} if nothing on it is needed",
            path.display(),
            Bytes(HEAD as u64)
        );
    }
    Ok(())
}

/// An identity that nobody has.
pub(crate) fn new_uid() -> anyhow::Result<DiskUid> {
    let mut uid = [0; 16];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(&mut uid))
        .context("/dev/urandom cannot be read")?;
    Ok(DiskUid(uid))
}
