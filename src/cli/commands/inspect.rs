//! `inspect`: what is on a disk, for people or as JSON. It does not judge: that is `verify`.

use crate::date::utc;
use crate::file_disk::{Access, FileDisk};
use crate::table::Table;
use anyhow::{Context, anyhow, bail};
use engine::check::{Report, check};
use engine::store::{Store, owner_text};
use layout::{Bytes, DiskUid, ObjectPath, VolumeUid};
use serde::Serialize;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Show what is on a disk: its superblock, its objects with their owners' texts, its space.
#[derive(clap::Args)]
pub struct Args {
    /// A block device or a file
    path: PathBuf,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// What is on a disk. Its JSON form is for scripts: fields are added, not renamed.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Inspection {
    disk: DiskUid,
    label: String,
    /// Seconds since 1970.
    created: u64,
    size_bytes: u64,
    clean: bool,
    sequence: u64,
    incarnation: u64,
    term: u64,
    segment_bytes: u64,
    unit_segments: u32,
    slots: u16,
    units: Units,
    segments: Segments,
    data_bytes: u64,
    journal: Journal,
    objects: Vec<Object>,
}

#[derive(Serialize)]
struct Units {
    all: u64,
    granted: u64,
    free: u64,
}

/// The segments of the granted units.
#[derive(Serialize)]
struct Segments {
    run: u64,
    paged: u64,
    free: u64,
}

#[derive(Serialize)]
struct Journal {
    blocks: u32,
    used: u64,
    groups: u64,
    records: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Object {
    slot: u16,
    volume: VolumeUid,
    path: ObjectPath,
    generation: u64,
    size_bytes: u64,
    /// Runs of units, first and count.
    units: Vec<(u32, u32)>,
    used_segments: u32,
    epoch: u32,
    held: Vec<u32>,
    dirty_regions: usize,
    resync_regions: usize,
    /// One bit a leg.
    stale_legs: u16,
    owner: String,
}

impl Args {
    /// Reads and prints.
    pub fn run(&self, out: &mut dyn Write) -> anyhow::Result<u8> {
        let mut disk = FileDisk::open(&self.path, Access::Read)?;
        let inspection = inspect(&mut disk, &self.path)?;
        if self.json {
            serde_json::to_writer_pretty(&mut *out, &inspection)?;
            writeln!(out)?;
        } else {
            print(&inspection, &self.path, out)?;
        }
        Ok(0)
    }
}

fn inspect(disk: &mut FileDisk, path: &Path) -> anyhow::Result<Inspection> {
    let report = check(disk, &[]);
    if report.has_errors() {
        let first = report.findings.first().map(ToString::to_string);
        let (path, n) = (path.display(), report.findings.len());
        bail!(
            "{path}: {}; `verify` tells all ({n})",
            first.unwrap_or_default()
        );
    }
    let store =
        Store::inspect(disk, &[]).with_context(|| format!("{} cannot be read", path.display()))?;
    let mut objects = Vec::new();
    let records: Vec<_> = store.records().map(|(s, r)| (s, r.clone())).collect();
    for (slot, record) in records {
        let text = owner_text(disk, store.superblock(), slot, &record)
            .map_err(|e| anyhow!("{}: {e}", path.display()))?;
        let (units, used_segments) = store.usage(slot);
        objects.push(Object {
            slot,
            volume: record.volume,
            path: record.path,
            generation: record.generation.0,
            size_bytes: u64::from(record.segments) * store.geometry().segment_bytes(),
            units: runs(&units),
            used_segments,
            epoch: record.epoch.0,
            held: record.held.iter().map(|e| e.0).collect(),
            dirty_regions: record.dirty.iter().count(),
            resync_regions: record.resync.iter().count(),
            stale_legs: record.legs.stale,
            owner: String::from_utf8_lossy(&text).into_owned(),
        });
    }
    Ok(describe(&store, &report, objects))
}

fn describe(store: &Store, report: &Report, objects: Vec<Object>) -> Inspection {
    let (superblock, s) = (store.superblock(), &report.statistics);
    let geometry = store.geometry();
    Inspection {
        disk: superblock.disk,
        label: superblock.label.clone(),
        created: superblock.created,
        size_bytes: geometry.size,
        clean: superblock.clean,
        sequence: superblock.sequence,
        incarnation: superblock.incarnation,
        term: superblock.term,
        segment_bytes: geometry.segment_bytes(),
        unit_segments: geometry.unit_segments,
        slots: geometry.slots,
        units: Units {
            all: s.units,
            granted: s.units_granted,
            free: s.units_free,
        },
        segments: Segments {
            run: s.segments_run,
            paged: s.segments_paged,
            free: s.segments_free,
        },
        data_bytes: s.blocks_valid * layout::BLOCK,
        journal: Journal {
            blocks: geometry.journal_blocks,
            used: s.journal.blocks,
            groups: s.journal.groups,
            records: s.journal.records,
        },
        objects,
    }
}

/// Ascending numbers as runs: first and count.
fn runs(units: &[u32]) -> Vec<(u32, u32)> {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for &unit in units {
        match runs.last_mut() {
            Some((first, count)) if *first + *count == unit => *count += 1,
            _ => runs.push((unit, 1)),
        }
    }
    runs
}

fn print(i: &Inspection, path: &Path, out: &mut dyn Write) -> std::io::Result<()> {
    let unit = Bytes(i.segment_bytes * u64::from(i.unit_segments));
    let closed = if i.clean {
        "closed in good order"
    } else {
        "not closed: in use, or its last user died"
    };
    writeln!(out, "{}: disk {}", path.display(), i.disk)?;
    if !i.label.is_empty() {
        writeln!(out, "  label     {}", i.label)?;
    }
    writeln!(
        out,
        "  size      {}, formatted {}",
        Bytes(i.size_bytes),
        utc(i.created)
    )?;
    writeln!(
        out,
        "  state     {closed}; opened {} times, superblock {}, term {}",
        i.incarnation, i.sequence, i.term
    )?;
    writeln!(
        out,
        "  units     {} of {unit}: {} granted, {} free",
        i.units.all, i.units.granted, i.units.free
    )?;
    writeln!(
        out,
        "  segments  of granted units: {} in one piece, {} with a page, {} free; {} of data",
        i.segments.run,
        i.segments.paged,
        i.segments.free,
        Bytes(i.data_bytes)
    )?;
    writeln!(
        out,
        "  journal   {} records in {} groups, {} of {} blocks",
        i.journal.records, i.journal.groups, i.journal.used, i.journal.blocks
    )?;
    writeln!(
        out,
        "  objects   {} of at most {}",
        i.objects.len(),
        i.slots
    )?;
    print_objects(i, out)
}

fn print_objects(i: &Inspection, out: &mut dyn Write) -> std::io::Result<()> {
    if i.objects.is_empty() {
        return Ok(());
    }
    let head = [
        "slot ", "volume", "path", "gen ", "size ", "units", "used ", "epoch ", "marks",
    ];
    let mut table = Table::new(&head);
    for o in &i.objects {
        let units: Vec<String> = o
            .units
            .iter()
            .map(|(first, count)| match count {
                1 => first.to_string(),
                _ => format!("{first}-{}", first + count - 1),
            })
            .collect();
        let epoch = match o.held.len() {
            0 => o.epoch.to_string(),
            n => format!("{} ({n} held)", o.epoch),
        };
        let mut marks = vec![
            (o.dirty_regions, "dirty"),
            (o.resync_regions, "to resync"),
            (o.stale_legs.count_ones() as usize, "stale legs"),
        ];
        marks.retain(|(n, _)| *n > 0);
        let marks: Vec<_> = marks
            .iter()
            .map(|(n, what)| format!("{n} {what}"))
            .collect();
        table.row(vec![
            o.slot.to_string(),
            o.volume.to_string(),
            o.path.to_string(),
            o.generation.to_string(),
            Bytes(o.size_bytes).to_string(),
            units.join(" "),
            Bytes(u64::from(o.used_segments) * i.segment_bytes).to_string(),
            epoch,
            marks.join(", "),
        ]);
    }
    write!(out, "\n{table}")?;
    for o in i.objects.iter().filter(|o| !o.owner.is_empty()) {
        writeln!(out, "\n  owner's text of slot {}:", o.slot)?;
        for line in o.owner.lines() {
            // It is somebody's text: nothing in it may steer the terminal.
            let line: String = line.chars().map(printable).collect();
            writeln!(out, "    {line}")?;
        }
    }
    Ok(())
}

fn printable(c: char) -> char {
    if c.is_control() && c != '\t' {
        '\u{fffd}'
    } else {
        c
    }
}

#[cfg(test)]
mod tests {
    use super::runs;

    #[test]
    fn runs_of_units() {
        assert_eq!(runs(&[]), []);
        assert_eq!(runs(&[1, 2, 3, 7, 9, 10]), [(1, 3), (7, 1), (9, 2)]);
    }
}
