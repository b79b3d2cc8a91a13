//! `verify`: everything that is wrong with disks, without changing them.
//!
//! What only the volatile log of a node holds (writes that were answered and not flushed, after the
//! data plane died) is not on the disk and is not judged here.

use crate::file_disk::{Access, FileDisk};
use engine::check::{Report, check};
use layout::Bytes;
use std::io::Write;
use std::path::{Path, PathBuf};

/// It could not be looked at.
const CANNOT: u8 = 3;

/// Check disks without changing them.
///
/// Exit codes, the worst of all disks: 0 clean, 1 warnings (nothing is lost, opening the disk
/// repairs it), 2 damage, 3 not a disk of ours, of a newer version, or in use.
#[derive(clap::Args)]
pub struct Args {
    /// Block devices or files
    #[arg(required = true)]
    paths: Vec<PathBuf>,
}

impl Args {
    /// Checks one after the other.
    pub fn run(&self, out: &mut dyn Write) -> anyhow::Result<u8> {
        let mut worst = 0;
        for path in &self.paths {
            let code = match FileDisk::open(path, Access::Read) {
                Ok(mut disk) => {
                    let report = check(&mut disk, &[]);
                    print(path, &report, out)?;
                    report.exit_code()
                }
                Err(error) => {
                    writeln!(out, "{error}")?;
                    CANNOT
                }
            };
            worst = worst.max(code);
        }
        Ok(worst)
    }
}

fn print(path: &Path, report: &Report, out: &mut dyn Write) -> std::io::Result<()> {
    let path = path.display();
    let verdict = match report.exit_code() {
        0 => "clean",
        1 => "warnings, nothing is lost",
        2 => "damaged",
        _ => "cannot be judged",
    };
    writeln!(out, "{path}: {verdict}")?;
    for finding in &report.findings {
        writeln!(out, "  {finding}")?;
    }
    let Some(superblock) = &report.superblock else {
        return Ok(());
    };
    let s = &report.statistics;
    writeln!(out, "  disk {}, {} objects", superblock.disk, s.objects)?;
    write!(
        out,
        "  units: {} granted, {} free",
        s.units_granted, s.units_free
    )?;
    if s.units_unknown > 0 {
        write!(out, ", {} unknown", s.units_unknown)?;
    }
    writeln!(
        out,
        "; segments of them: {} in one piece, {} with a page, {} free",
        s.segments_run, s.segments_paged, s.segments_free
    )?;
    let j = &s.journal;
    writeln!(
        out,
        "  data: {}; journal: {} records in {} groups, {} of {} blocks",
        Bytes(s.blocks_valid * layout::BLOCK),
        j.records,
        j.groups,
        j.blocks,
        superblock.geometry.journal_blocks
    )
}
