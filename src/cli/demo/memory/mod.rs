//! The demo without root: the same intent and the same rules, the engine over disks in memory. What
//! needs the kernel (block device, file system, processes that are killed) is not there; the engine
//! is stopped dead between two effects instead.

mod shell;

use super::place::{DISKS, INTENT, Placed, leaves};
use super::tell::Teller;
use super::{Shown, application, say_replacement, sys};
use anyhow::{Context, bail, ensure};
use engine::check::check;
use engine::disk::{Disk, MemDisk};
use engine::format::geometry::GeometryChoice;
use engine::io::{Notice, Op};
use engine::store;
use layout::{Bytes, DiskUid, VolumeUid};
use shell::Shell;
use std::collections::BTreeMap;

/// Bytes of a disk.
const DISK_SIZE: u64 = 1 << 30;
/// Bytes of a write.
const PIECE: u32 = 64 << 10;
/// Places that are written to, again and again.
const PLACES: u64 = 600;
/// Requests under way at once.
const DEPTH: usize = 8;
/// Writes in all while the engine dies.
const WRITES: u64 = 2000;
/// How often it dies.
const KILLS: u64 = 40;

/// What every place must hold: the number of the last write to it.
type Model = BTreeMap<u64, u64>;

/// Runs it; the rows of the table.
pub fn run(tell: &mut Teller<'_>) -> anyhow::Result<Vec<Shown>> {
    let mut shown = Vec::new();
    let (mut shell, mut placed) = place(tell, &mut shown)?;
    let owner = serde_json::to_string(&placed.intent)?;
    for leaf in leaves(&placed.layout) {
        shell.grant(&placed.layout, &leaf, &owner)?;
    }
    shell.attach(&placed.layout)?;
    let mut model = Model::new();
    kill(tell, &mut shell, &placed, &mut model, &mut shown)?;
    let failed = fail(tell, &mut shell, &placed, &mut model, &mut shown)?;
    repair(tell, &mut shell, &mut placed, failed, &mut shown)?;
    compare(tell, &mut shell, &model, &mut shown)?;
    discard(tell, &mut shell, &placed, &mut shown)?;
    verify(tell, shell, &placed, failed, &mut shown)?;
    Ok(shown)
}

fn place(tell: &mut Teller<'_>, shown: &mut Vec<Shown>) -> anyhow::Result<(Shell, Placed)> {
    tell.chapter("What is wanted: the intent");
    tell.say(INTENT);
    tell.chapter("Where it goes: six disks in memory, in two enclosures; the allocator decides");
    let (mut disks, mut formatted) = (Vec::new(), Vec::new());
    for (wanted, n) in DISKS.into_iter().zip(1u8..) {
        let mut disk = MemDisk::new(DISK_SIZE);
        let new = store::Format {
            disk: DiskUid([n; 16]),
            label: wanted.name.to_owned(),
            created: 0,
            choice: GeometryChoice::for_size(disk.size()),
        };
        let geometry = store::format(&mut disk, &new)?;
        formatted.push((wanted, new.disk, geometry));
        disks.push((new.disk, disk));
    }
    let (placed, explanation) = Placed::new(VolumeUid([0xde; 16]), &formatted)?;
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
    Ok((Shell::new(disks)?, placed))
}

/// Writes piece number `n`: to a place that no write under way goes to.
fn write(shell: &mut Shell, size: u64, model: &mut Model, n: u64) -> anyhow::Result<()> {
    if sys::stop_asked() {
        bail!("interrupted");
    }
    while shell.running() >= DEPTH {
        ensure!(shell.step()?, "requests are not answered");
    }
    // Strides that are prime to the number of places: no place comes again soon.
    let place = n * 7 % PLACES;
    let off = place * (size / PLACES / u64::from(PIECE)) * u64::from(PIECE);
    let mut data = vec![0; PIECE as usize];
    application::fill(&mut data, n);
    let (len, fua) = (PIECE, false);
    shell.submit(Op::Write { off, len, fua }, data);
    model.insert(off, n);
    Ok(())
}

fn kill(
    tell: &mut Teller<'_>,
    shell: &mut Shell,
    placed: &Placed,
    model: &mut Model,
    shown: &mut Vec<Shown>,
) -> anyhow::Result<()> {
    tell.chapter("The engine is stopped dead while requests are under way");
    let (size, mut unanswered) = (placed.layout.size.0, 0);
    for n in 0..WRITES {
        write(shell, size, model, n)?;
        if n % (WRITES / KILLS) == WRITES / KILLS - 1 {
            // Anywhere between two effects, another place each time.
            for _ in 0..n % 23 {
                shell.step()?;
            }
            unanswered += shell.running();
            shell.kill(&placed.layout)?;
        }
    }
    shell.submit(Op::Flush, Vec::new());
    shell.settle()?;
    ensure!(
        shell.running() == 0,
        "{} requests are not answered",
        shell.running()
    );
    tell.good(format!(
        "{KILLS} successors opened the disks; {unanswered} unanswered requests were sent again"
    ));
    shown.push(Shown {
        done: "engine stopped dead under load",
        proves: "a successor goes on where it was",
        figures: format!("{KILLS} times, {unanswered} requests sent again"),
    });
    Ok(())
}

fn fail(
    tell: &mut Teller<'_>,
    shell: &mut Shell,
    placed: &Placed,
    model: &mut Model,
    shown: &mut Vec<Shown>,
) -> anyhow::Result<DiskUid> {
    let leaf = leaves(&placed.layout).into_iter().next();
    let victim = leaf.context("a volume without leaves")?.disk;
    let name = placed.name(victim);
    tell.chapter(&format!(
        "Disk {name} in {} fails",
        placed.enclosure(victim)
    ));
    shell.fail(victim);
    for n in WRITES..WRITES + 500 {
        write(shell, placed.layout.size.0, model, n)?;
    }
    shell.settle()?;
    let told = |n: &Notice| matches!(n, Notice::DiskFailed { disk, .. } if *disk == victim);
    ensure!(shell.notices.iter().any(told), "the failure was not told");
    let dropped = |n: &Notice| matches!(n, Notice::LegDropped { .. });
    ensure!(
        shell.notices.iter().any(dropped),
        "the lost copy was not told"
    );
    tell.good("told, the copy dropped, and every write answered without an error");
    shown.push(Shown {
        done: "a disk made to fail under load",
        proves: "a lost copy is noticed, told, survived",
        figures: "500 writes, 0 errors".to_owned(),
    });
    Ok(victim)
}

fn repair(
    tell: &mut Teller<'_>,
    shell: &mut Shell,
    placed: &mut Placed,
    failed: DiskUid,
    shown: &mut Vec<Shown>,
) -> anyhow::Result<()> {
    tell.chapter("The allocator finds a replacement, the copy is rebuilt");
    let found = placed.replace(failed)?;
    say_replacement(tell, placed, &found);
    let new = leaves(&placed.layout)
        .into_iter()
        .find(|l| l.path == found.leaf);
    let new = new.context("the plan takes the copy away")?;
    let owner = serde_json::to_string(&placed.intent)?;
    shell.grant(&placed.layout, &new, &owner)?;
    shell.relayout(&placed.layout)?;
    shell.settle()?;
    ensure!(shell.all_live(), "not every copy is live after the rebuild");
    let copied = shell.notices.iter().filter_map(|n| match n {
        Notice::Rebuild { copied, .. } => Some(copied.0),
        _ => None,
    });
    let copied = Bytes(copied.max().unwrap_or_default());
    tell.good(format!("all copies are live; {copied} copied"));
    shown.push(Shown {
        done: "replaced and rebuilt",
        proves: "repair keeps every rule of the intent",
        figures: format!(
            "{} for {}, not {}; {copied}",
            placed.name(found.by),
            placed.name(failed),
            super::place::TEMPTING
        ),
    });
    Ok(())
}

fn compare(
    tell: &mut Teller<'_>,
    shell: &mut Shell,
    model: &Model,
    shown: &mut Vec<Shown>,
) -> anyhow::Result<()> {
    tell.chapter("Everything is read back and compared");
    for (off, n) in model {
        let mut expected = vec![0; PIECE as usize];
        application::fill(&mut expected, *n);
        let found = shell.read(*off, PIECE)?;
        ensure!(
            found == expected,
            "byte {off} and on is not what write {n} put there"
        );
    }
    let bytes = Bytes(model.len() as u64 * u64::from(PIECE));
    tell.good(format!("{bytes}, every byte as it was last written"));
    shown.push(Shown {
        done: "all compared",
        proves: "nothing was lost or mixed up",
        figures: bytes.to_string(),
    });
    Ok(())
}

fn discard(
    tell: &mut Teller<'_>,
    shell: &mut Shell,
    placed: &Placed,
    shown: &mut Vec<Shown>,
) -> anyhow::Result<()> {
    tell.chapter("The volume is discarded, its space comes back");
    let had = Bytes(shell.used());
    let (off, len) = (0, placed.layout.size.0);
    shell.submit(Op::Discard { off, len }, Vec::new());
    shell.settle()?;
    shell.submit(Op::Flush, Vec::new());
    shell.settle()?;
    let has = Bytes(shell.used());
    ensure!(has.0 < had.0, "{had} in use before, {has} after");
    tell.good(format!("{had} in use on the disks before, {has} after"));
    shown.push(Shown {
        done: "discarded",
        proves: "thin: space comes back",
        figures: format!("{had} -> {has}"),
    });
    Ok(())
}

fn verify(
    tell: &mut Teller<'_>,
    mut shell: Shell,
    placed: &Placed,
    failed: DiskUid,
    shown: &mut Vec<Shown>,
) -> anyhow::Result<()> {
    tell.chapter("The end: detach, every disk verified");
    shell.close(placed.layout.volume)?;
    let mut clean = 0;
    for kept in shell.disks.iter_mut().filter(|d| d.uid != failed) {
        let report = check(&mut kept.disk, &[]);
        let findings: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
        let name = placed.name(kept.uid);
        ensure!(
            report.is_clean(),
            "disk {name} is not clean: {}",
            findings.join("; ")
        );
        clean += 1;
    }
    tell.good(format!("verify: {clean} disks are clean"));
    shown.push(Shown {
        done: "every metadata block of every disk verified",
        proves: "nothing is damaged, nothing leaks",
        figures: format!("{clean} disks clean"),
    });
    Ok(())
}
