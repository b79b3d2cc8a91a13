//! Disk files: formatted, handed out unit by unit, verified.

use crate::command;
use anyhow::{Context, Result};
use layout::{Bytes, DiskUid, UnitRange};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// For formatting or verifying one.
const LIMIT: Duration = Duration::from_secs(120);

/// A disk file, and which of its units nobody has.
#[derive(Clone, Debug)]
pub struct DiskFile {
    /// Where it is.
    pub path: PathBuf,
    /// What its superblock says.
    pub uid: DiskUid,
    next: u32,
}

impl DiskFile {
    /// Makes and formats a file of about `size` bytes, thin; `number` names it.
    ///
    /// # Errors
    /// What `stratovol format` complains about.
    pub fn format(program: &Path, dir: &Path, number: u8, size: u64) -> Result<Self> {
        let (path, uid) = (dir.join(format!("disk{number}")), DiskUid([number + 1; 16]));
        let mut format = command::words(&[program, Path::new("format"), &path]);
        format.arg("--size").arg(size.to_string());
        format.arg("--uid").arg(uid.to_string());
        command::succeed(&mut format, LIMIT)?;
        Ok(DiskFile { path, uid, next: 0 })
    }

    /// Units for `bytes`, which nobody had before.
    pub fn take(&mut self, bytes: u64) -> Vec<UnitRange> {
        let count = Bytes(bytes).units_up() as u32;
        let start = self.next;
        self.next += count;
        vec![UnitRange { start, count }]
    }

    /// Looks at everything on it without changing it. What opening it repairs is no damage.
    ///
    /// # Errors
    /// Damage, with what `stratovol verify` says.
    pub fn verify(&self, program: &Path) -> Result<()> {
        let mut verify = command::words(&[program, Path::new("verify"), &self.path]);
        let output = command::run(&mut verify, LIMIT)?;
        let code = output
            .status
            .code()
            .context("stratovol verify was killed")?;
        let (out, err) = (output.out.trim(), output.err.trim());
        anyhow::ensure!(
            code <= 1,
            "stratovol verify ended with {code}\n{out}\n{err}"
        );
        Ok(())
    }

    /// Bytes that have storage, in whole segments. Nobody may use the disk meanwhile.
    ///
    /// # Errors
    /// What `stratovol inspect` complains about.
    pub fn used(&self, program: &Path) -> Result<u64> {
        let mut inspect = command::words(&[program, Path::new("inspect"), &self.path]);
        let said = command::succeed(inspect.arg("--json"), LIMIT)?;
        let inspected: Inspected = serde_json::from_str(&said)?;
        Ok((inspected.segments.run + inspected.segments.paged) * inspected.segment_bytes)
    }
}

/// What `stratovol inspect` says, as far as it is used here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Inspected {
    segment_bytes: u64,
    segments: Segments,
}

/// Segments that have storage.
#[derive(Deserialize)]
struct Segments {
    run: u64,
    paged: u64,
}
