//! The demo with root: disks that are files, a block device, ext4, processes that are killed, and a
//! disk that fails.
//!
//! Whoever holds something that must not stay behind takes it away when dropped, in the order in
//! which locals go: application, mount, node, scratch disks. The mounts are in a mount table that
//! ends with these processes.

mod node;
mod scratch;
mod tools;
mod writer;

use super::place::{Placed, TEMPTING, leaves};
use super::tell::{Teller, ms};
use super::{Shown, say_replacement, sys};
use crate::commands::format::new_uid;
use crate::file_disk::{Access, FileDisk};
use anyhow::{Context, bail, ensure};
use control::{CopyState, Event, Request};
use engine::check::check;
use layout::{Bytes, DiskUid, VolumeUid};
use node::Node;
use scratch::{DISK_SIZE, Scratch, ScratchDisk};
use std::path::{Path, PathBuf};
use std::time::Instant;
use tools::{LIMIT, run as tool, run_last, until};
use writer::{Writer, Written};

/// How often the data plane is killed.
const KILLS: u64 = 10;
/// Writes that are answered between two kills.
const BETWEEN: usize = 150;

/// A mounted file system; unmounted when dropped.
struct Mount(PathBuf);

impl Mount {
    fn new(device: &Path, folder: PathBuf) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&folder)?;
        tool("mount", &[device, &folder])?;
        Ok(Mount(folder))
    }

    /// Unmounts in good order.
    fn end(self) -> anyhow::Result<()> {
        tool("umount", &[&self.0])?;
        std::mem::forget(self);
        Ok(())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let lazily = [Path::new("-l"), &self.0];
        let done = run_last("umount", &[&self.0]).or_else(|_| run_last("umount", &lazily));
        if let Err(error) = done {
            eprintln!("demo: {} stays mounted: {error:#}", self.0.display());
        }
    }
}

/// Runs it; the rows of the table.
pub fn run(tell: &mut Teller<'_>) -> anyhow::Result<Vec<Shown>> {
    sys::private_mounts().context("a mount table of its own")?;
    let mut shown = Vec::new();
    let mut scratch = Scratch::new()?;
    let (disks, mut placed) = place(tell, &mut scratch, &mut shown)?;

    let begin = Instant::now();
    let mut node = Node::start(scratch.path())?;
    let device = attach(tell, &mut node, &disks, &placed)?;
    tool("mkfs.ext4", &[Path::new("-q"), &device])?;
    let mount = Mount::new(&device, scratch.path().join("mounted"))?;
    tell.good(format!(
        "{} is formatted with ext4 and mounted",
        device.display()
    ));
    shown.push(Shown {
        done: "attached as a block device, ext4 on it",
        proves: "an ordinary disk to the application",
        figures: ms(begin.elapsed()),
    });

    let mut writer = Writer::start(&mount.0)?;
    kill(tell, &mut node, &mut writer, &mut shown)?;
    let failed = fail(tell, &mut node, &mut writer, &disks, &placed, &mut shown)?;
    repair(tell, &mut node, &mut placed, failed, &mut shown)?;
    writer.progress(BETWEEN)?;
    let written = writer.finish()?;

    let mount = compare(tell, mount, &device, &written, &mut shown)?;
    trim(tell, &mut node, &mount, &written, &mut shown)?;
    finish(tell, mount, &device, node, &mut shown)?;
    verify(tell, &disks, failed, &mut shown)?;
    let left = scratch.path().to_owned();
    drop(scratch);
    ensure!(!left.exists(), "{} is left behind", left.display());
    Ok(shown)
}

/// Chapters 1 and 2: the intent, the disks, the placement.
fn place(
    tell: &mut Teller<'_>,
    scratch: &mut Scratch,
    shown: &mut Vec<Shown>,
) -> anyhow::Result<(Vec<ScratchDisk>, Placed)> {
    tell.chapter("What is wanted: the intent");
    tell.say(super::place::INTENT);
    tell.chapter("Where it goes: six scratch disks in two enclosures, the allocator decides");
    let disks = scratch.disks()?;
    for disk in &disks {
        let (wanted, units) = (disk.wanted, disk.geometry.units);
        tell.say(format!(
            "{} in {}, {:4}, {} in {units} units of {}",
            wanted.name,
            wanted.enclosure,
            wanted.media,
            Bytes(DISK_SIZE),
            Bytes(disk.geometry.unit_bytes()),
        ));
    }
    let formatted: Vec<_> = disks
        .iter()
        .map(|d| (d.wanted, d.uid, d.geometry))
        .collect();
    let (placed, explanation) = Placed::new(VolumeUid(new_uid()?.0), &formatted)?;
    tell.say("");
    tell.say(explanation.to_string());
    tell.good("the checker, which shares no code with the allocator, finds nothing wrong");
    shown.push(Shown {
        done: "placed by rules",
        proves: "copies never share an enclosure",
        figures: format!(
            "{} extents, each on its own disk",
            leaves(&placed.layout).len()
        ),
    });
    Ok((disks, placed))
}

/// Chapter 3: granted and attached; the block device.
fn attach(
    tell: &mut Teller<'_>,
    node: &mut Node,
    disks: &[ScratchDisk],
    placed: &Placed,
) -> anyhow::Result<PathBuf> {
    tell.chapter("A block device: keeper and data plane start, the volume is attached");
    for disk in disks {
        node.add_disk(&disk.path(), disk.uid)?;
    }
    for leaf in leaves(&placed.layout) {
        node.grant(placed, &leaf)?;
    }
    node.attach(&placed.layout)
}

/// Chapter 4: killed again and again while an application writes.
fn kill(
    tell: &mut Teller<'_>,
    node: &mut Node,
    writer: &mut Writer,
    shown: &mut Vec<Shown>,
) -> anyhow::Result<()> {
    tell.chapter("The data plane is killed with -9 while an application writes files");
    let bar = tell.bar(KILLS, "killed");
    let mut pauses = Vec::new();
    for n in 1..=KILLS {
        writer.progress(BETWEEN)?;
        let at = Instant::now();
        let killed = node.kill()?;
        let next = until("another data plane", LIMIT, || {
            let pid = node.status()?.pid;
            Ok((pid != killed).then_some(pid))
        })?;
        writer.progress(BETWEEN)?;
        let pause = writer.longest_pause(at, Instant::now());
        pauses.push(pause);
        bar.inc(1);
        bar.suspend(|| {
            tell.say(format!(
                "kill {n}: process {killed} gone, {next} took over; no write was answered for {}",
                ms(pause)
            ));
        });
    }
    bar.finish_and_clear();
    pauses.sort_unstable();
    let (middle, most) = (pauses[pauses.len() / 2], pauses[pauses.len() - 1]);
    tell.good("the application saw pauses, and no error");
    shown.push(Shown {
        done: "data plane killed with -9 under load",
        proves: "a crash is a pause, not an error",
        figures: format!(
            "{KILLS} kills; pause {} median, {} most",
            ms(middle),
            ms(most)
        ),
    });
    Ok(())
}

/// Chapter 5: a disk fails under load.
fn fail(
    tell: &mut Teller<'_>,
    node: &mut Node,
    writer: &mut Writer,
    disks: &[ScratchDisk],
    placed: &Placed,
    shown: &mut Vec<Shown>,
) -> anyhow::Result<DiskUid> {
    let leaves = leaves(&placed.layout);
    let victim = leaves.first().context("a volume without leaves")?.disk;
    let disk = disks
        .iter()
        .find(|d| d.uid == victim)
        .context("an unknown disk")?;
    let name = disk.wanted.name;
    tell.chapter(&format!("Disk {name} in {} fails", disk.wanted.enclosure));
    tell.say("The file system below the disk is shut down: the kernel fails every I/O on it.");
    let at = Instant::now();
    disk.fail()?;
    let (mut errno, mut dropped) = (None, None);
    until("the failure to be reported", LIMIT, || {
        match node.event() {
            Some(Event::DiskFailed { disk, errno: e }) if disk == victim => errno = Some(e),
            Some(Event::LegDropped { mirror, leg, .. }) => dropped = Some((mirror, leg)),
            _ => {}
        }
        Ok(errno.zip(dropped).map(drop))
    })?;
    let reported = at.elapsed();
    if let (Some(errno), Some((mirror, leg))) = (errno, dropped) {
        let error = std::io::Error::from_raw_os_error(errno);
        tell.say(format!("reported: disk {name} failed: {error}"));
        tell.say(format!(
            "reported: copy {leg} of mirror {mirror} is dropped, the others know"
        ));
    }
    writer.progress(BETWEEN)?;
    let pause = writer.longest_pause(at, Instant::now());
    tell.good(format!(
        "the application writes on; longest pause {}",
        ms(pause)
    ));
    shown.push(Shown {
        done: "a disk made to fail under load",
        proves: "a lost copy is noticed, told, survived",
        figures: format!("told after {}, pause {}", ms(reported), ms(pause)),
    });
    Ok(victim)
}

/// Chapter 6: another disk takes its place.
fn repair(
    tell: &mut Teller<'_>,
    node: &mut Node,
    placed: &mut Placed,
    failed: DiskUid,
    shown: &mut Vec<Shown>,
) -> anyhow::Result<()> {
    tell.chapter("The allocator finds a replacement, the copy is rebuilt in use");
    let found = placed.replace(failed)?;
    say_replacement(tell, placed, &found);
    let begin = Instant::now();
    let new = leaves(&placed.layout)
        .into_iter()
        .find(|l| l.path == found.leaf);
    node.grant(placed, &new.context("the plan takes the copy away")?)?;
    let (copy, layout) = (found.leaf, placed.layout.clone());
    node.call(&Request::ReplaceCopy { copy, layout })?;
    let copied = rebuilt(tell, node)?;
    tell.good(format!(
        "all copies are live; {} copied in {}",
        Bytes(copied),
        ms(begin.elapsed())
    ));
    shown.push(Shown {
        done: "replaced and rebuilt while in use",
        proves: "repair keeps every rule of the intent",
        figures: format!(
            "{} for {}, not {TEMPTING}; {} in {}",
            placed.name(found.by),
            placed.name(failed),
            Bytes(copied),
            ms(begin.elapsed())
        ),
    });
    Ok(())
}

/// Waits until every copy counts again; bytes copied.
fn rebuilt(tell: &mut Teller<'_>, node: &mut Node) -> anyhow::Result<u64> {
    let bar = tell.bar(1, "rebuilding");
    let (mut most, mut quarter) = (0, 0);
    until("the rebuild", LIMIT, || {
        if let Some(Event::RebuildProgress {
            done,
            total,
            copied,
            ..
        }) = node.event()
        {
            bar.set_length(total);
            bar.set_position(done);
            most = copied.max(most);
            let now = (done * 4).checked_div(total).unwrap_or(4);
            if now > quarter {
                quarter = now;
                let (done, total) = (Bytes(done), Bytes(total));
                bar.suspend(|| {
                    tell.say(format!(
                        "{done} of {total} looked at, {} copied",
                        Bytes(copied)
                    ));
                });
            }
            return Ok(None);
        }
        let status = node.status()?;
        let mut copies = status.volumes.iter().flat_map(|v| &v.copies);
        Ok(copies.all(|c| c.state == CopyState::Live).then_some(()))
    })?;
    bar.finish_and_clear();
    Ok(most)
}

/// Chapter 7: what was written is there; mounted anew, so that it comes from the disks.
fn compare(
    tell: &mut Teller<'_>,
    mount: Mount,
    device: &Path,
    written: &Written,
    shown: &mut Vec<Shown>,
) -> anyhow::Result<Mount> {
    tell.chapter("Everything is read back and compared");
    let folder = mount.0.clone();
    mount.end().context("unmounting")?;
    let mount = Mount::new(device, folder)?;
    let right = written.check(&mount.0)?;
    let bytes = Bytes(super::application::FILE_SIZE * right as u64);
    tell.good(format!("{right} files, {bytes}, every checksum as written"));
    shown.push(Shown {
        done: "mounted anew, all files compared",
        proves: "nothing was lost or mixed up",
        figures: format!("{} writes, {right} files, {bytes}", written.writes),
    });
    Ok(mount)
}

/// Chapter 8: deleted files give their space back.
fn trim(
    tell: &mut Teller<'_>,
    node: &mut Node,
    mount: &Mount,
    written: &Written,
    shown: &mut Vec<Shown>,
) -> anyhow::Result<()> {
    tell.chapter("Files are deleted, fstrim gives the space back");
    let before = used(node)?;
    for name in written.files.keys() {
        tool("rm", &[mount.0.join(name)])?;
    }
    tool("sync", &[Path::new("-f"), &mount.0])?;
    tool("fstrim", &[&mount.0])?;
    // What was discarded may be used again once that is durable.
    tool("sync", &[Path::new("-f"), &mount.0])?;
    let after = used(node)?;
    let (had, has) = (Bytes(before), Bytes(after));
    ensure!(after < before, "{had} in use before fstrim, {has} after it");
    tell.good(format!("{had} in use on the disks before, {has} after"));
    shown.push(Shown {
        done: "files deleted, fstrim",
        proves: "thin: space comes back",
        figures: format!("{had} -> {has}"),
    });
    Ok(())
}

/// Bytes in use on all disks that serve.
fn used(node: &mut Node) -> anyhow::Result<u64> {
    let status = node.status()?;
    let serving = status.disks.iter().filter(|d| d.failed.is_none());
    Ok(serving.filter_map(|d| d.used).sum())
}

/// Chapter 9: the file system is checked, the volume detached, the processes end.
fn finish(
    tell: &mut Teller<'_>,
    mount: Mount,
    device: &Path,
    mut node: Node,
    shown: &mut Vec<Shown>,
) -> anyhow::Result<()> {
    tell.chapter("The end: file system check, detach, every disk verified");
    mount.end().context("unmounting")?;
    let words = [Path::new("-f"), Path::new("-n"), device];
    tool("e2fsck", &words).context("the file system is damaged")?;
    tell.good("e2fsck finds nothing wrong with the file system");
    node.end()?;
    shown.push(Shown {
        done: "e2fsck after all that",
        proves: "the file system never noticed",
        figures: "clean".to_owned(),
    });
    Ok(())
}

/// All of every disk, as `stratovol verify` does.
fn verify(
    tell: &mut Teller<'_>,
    disks: &[ScratchDisk],
    failed: DiskUid,
    shown: &mut Vec<Shown>,
) -> anyhow::Result<()> {
    for disk in disks {
        let name = disk.wanted.name;
        let opened = FileDisk::open(&disk.path(), Access::Read);
        if disk.uid == failed {
            ensure!(opened.is_err(), "the failed disk {name} can be opened");
            continue;
        }
        let report = check(&mut opened?, &[]);
        if !report.is_clean() {
            let findings: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
            bail!("disk {name} is not clean: {}", findings.join("; "));
        }
    }
    let clean = disks.len() - 1;
    tell.good(format!(
        "verify: {clean} disks are clean, the failed one cannot be read"
    ));
    shown.push(Shown {
        done: "every metadata block of every disk verified",
        proves: "nothing is damaged, nothing leaks",
        figures: format!("{clean} disks clean"),
    });
    Ok(())
}
