//! The tests.

use crate::roles::uid;
use crate::world::{SIZE, World, descriptors, signal, until, wait};
use crate::writer::{Block, Seen, Writer, fill, open};
use dataplane::keeper::Kind;
use std::fs::OpenOptions;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

/// What to run, in this order.
pub const ALL: [(&str, fn()); 11] = [
    ("a_volume_is_a_block_device", a_volume_is_a_block_device),
    ("killed_with_9_under_load_straight", || {
        killed_under_load(false)
    }),
    ("killed_with_9_under_load_through_loop", || {
        killed_under_load(true)
    }),
    ("upgraded_under_load", upgraded_under_load),
    (
        "an_upgrade_that_cannot_start_changes_nothing",
        an_upgrade_that_cannot_start,
    ),
    ("stopped_and_started_again", stopped_and_started_again),
    ("a_hung_process_is_killed", a_hung_process_is_killed),
    (
        "without_a_resend_requests_stay_lost",
        without_a_resend_requests_stay_lost,
    ),
    ("a_second_process_is_refused", a_second_process_is_refused),
    (
        "descriptors_and_buffers_are_as_the_rules_ask",
        descriptors_and_buffers,
    ),
    ("a_hundred_idle_volumes_sleep", a_hundred_idle_volumes_sleep),
];

const SOON: Duration = Duration::from_secs(20);

pub fn assert_clean(seen: &Seen) {
    assert!(seen.wrong.is_empty(), "{:#?}", seen.wrong);
    assert!(
        seen.writes > 0 && seen.reads > 0 && seen.flushes > 0,
        "{} writes",
        seen.writes
    );
}

/// The longest time without any answer between each event and the next: how long applications
/// waited.
pub fn print_pauses(what: &str, events: &[Instant], seen: &Seen) {
    let mut pauses: Vec<f64> = events
        .iter()
        .enumerate()
        .filter_map(|(n, at)| {
            let next = events.get(n + 1);
            let mut ends = seen
                .ends
                .iter()
                .filter(|e| *e > at && next.is_none_or(|n| *e < n));
            let (mut longest, mut last) = (Duration::ZERO, *at);
            for end in &mut ends {
                longest = longest.max(*end - last);
                last = *end;
            }
            (longest > Duration::ZERO).then_some(longest.as_secs_f64() * 1e3)
        })
        .collect();
    pauses.sort_by(f64::total_cmp);
    let (Some(p50), Some(max)) = (pauses.get(pauses.len() / 2), pauses.last()) else {
        return;
    };
    let n = pauses.len();
    println!(
        "{what}: {n} times, pause p50 {p50:.1} ms, max {max:.1} ms, {} requests",
        seen.ends.len()
    );
}

fn a_volume_is_a_block_device() {
    let mut world = World::new(1);
    world.start_parent();
    let path = world.attach_loop(0);
    let sys = Path::new("/sys/block").join(path.file_name().unwrap());
    let read = |name: &str| {
        std::fs::read_to_string(sys.join(name))
            .unwrap()
            .trim()
            .to_owned()
    };
    assert_eq!(read("loop/dio"), "1");
    assert_eq!(read("loop/autoclear"), "1");
    assert_eq!(read("queue/logical_block_size"), "4096");
    assert_eq!(read("size").parse::<u64>().unwrap() * 512, SIZE);
    assert_eq!(
        world.attach_loop(0),
        path,
        "attaching twice gives the same device"
    );

    let file = open(&path).unwrap();
    let mut block = Block([0; 4096]);
    fill(&mut block, 5, 1);
    file.write_all_at(&block.0, 5 * 4096).unwrap();
    file.sync_data().unwrap();
    let mut back = Block([0; 4096]);
    open(&world.disk(0))
        .unwrap()
        .read_exact_at(&mut back.0, 5 * 4096)
        .unwrap();
    assert!(back.0 == block.0, "the write is on the disk");
    let discard = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
    for mode in [
        discard,
        libc::FALLOC_FL_ZERO_RANGE | libc::FALLOC_FL_KEEP_SIZE,
    ] {
        file.write_all_at(&block.0, 5 * 4096).unwrap();
        // SAFETY: no pointers.
        let done = unsafe { libc::fallocate(file.as_raw_fd(), mode, 5 * 4096, 4096) };
        assert_eq!(done, 0, "mode {mode}");
        file.read_exact_at(&mut back.0, 5 * 4096).unwrap();
        assert!(back.0 == [0; 4096], "mode {mode}");
    }

    // As a mount would.
    let exclusive = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_EXCL)
        .open(&path)
        .unwrap();
    assert!(
        world
            .loop_command(0, &["detach".into()])
            .unwrap_err()
            .contains("in use")
    );
    drop(exclusive);
    drop(file);
    assert!(world.loop_command(0, &["resize".into()]).is_ok());
    assert!(world.loop_command(0, &["detach".into()]).is_ok());
    assert!(
        world
            .loop_command(0, &["detach".into()])
            .unwrap_err()
            .contains("no loop device")
    );
    until("the device to be gone", || {
        std::fs::read(sys.join("loop/dio")).is_err().then_some(())
    });
}

fn killed_under_load(through_loop: bool) {
    let mut world = World::new(1);
    world.start_parent();
    let path = if through_loop {
        world.attach_loop(0)
    } else {
        world.file(0)
    };
    let seed = 0x5eed_0001;
    println!("seed {seed:#x}");
    let writer = Writer::start(&path, 8, seed);
    let mut kills = Vec::new();
    for n in 0..12 {
        assert!(
            writer.progress(300 + n * 37, SOON),
            "no progress before kill {n}"
        );
        let pid = world.plane_pid().unwrap();
        kills.push(Instant::now());
        signal(pid, libc::SIGKILL);
        until("another process", || {
            world.plane_pid().filter(|p| *p != pid)
        });
    }
    assert!(
        writer.progress(500, SOON),
        "no progress after the last kill"
    );
    let seen = writer.finish(SOON);
    let way = if through_loop {
        "through loop"
    } else {
        "straight"
    };
    print_pauses(&format!("killed with -9, {way}"), &kills, &seen);
    assert_clean(&seen);
}

fn upgraded_under_load() {
    let mut world = World::new(1);
    world.start_parent();
    let path = world.attach_loop(0);
    let writer = Writer::start(&path, 8, 0x5eed_0002);
    let parent = world.parent.as_ref().unwrap().id();
    let mut upgrades = Vec::new();
    for n in 0..12 {
        assert!(writer.progress(400, SOON), "no progress before upgrade {n}");
        let pid = world.plane_pid().unwrap();
        upgrades.push(Instant::now());
        signal(parent, libc::SIGHUP);
        until("the successor", || world.plane_pid().filter(|p| *p != pid));
    }
    assert!(writer.progress(500, SOON));
    let seen = writer.finish(SOON);
    print_pauses("upgraded, through loop", &upgrades, &seen);
    assert_clean(&seen);
}

fn an_upgrade_that_cannot_start() {
    let mut world = World::new(1);
    world.start_parent();
    let writer = Writer::start(&world.file(0), 2, 0x5eed_0003);
    assert!(writer.progress(100, SOON));
    let pid = world.plane_pid().unwrap();
    std::fs::remove_file(world.program()).unwrap();
    std::os::unix::fs::symlink("/bin/false", world.program()).unwrap();
    signal(world.parent.as_ref().unwrap().id(), libc::SIGHUP);
    assert!(writer.progress(1000, SOON));
    assert_eq!(world.plane_pid(), Some(pid), "the old process serves on");
    assert_clean(&writer.finish(SOON));
}

fn stopped_and_started_again() {
    let mut world = World::new(1);
    world.start_parent();
    let writer = Writer::start(&world.file(0), 4, 0x5eed_0004);
    for n in 0..3 {
        assert!(writer.progress(300, SOON), "no progress before stop {n}");
        let mut parent = world.parent.take().unwrap();
        signal(parent.id(), libc::SIGTERM);
        assert!(
            wait(&mut parent, SOON).unwrap().success(),
            "it ends in good order"
        );
        assert!(
            !writer.progress(1, Duration::from_millis(50)),
            "nobody serves"
        );
        world.start_parent();
    }
    assert!(writer.progress(300, SOON));
    // A parent that is killed takes its I/O process with it; another pair takes over.
    let mut parent = world.parent.take().unwrap();
    parent.kill().unwrap();
    parent.wait().unwrap();
    world.start_parent();
    assert!(writer.progress(300, SOON));
    assert_clean(&writer.finish(SOON));
}

fn a_hung_process_is_killed() {
    let mut world = World::new(1);
    world.start_parent();
    let writer = Writer::start(&world.file(0), 2, 0x5eed_0005);
    assert!(writer.progress(100, SOON));
    let pid = world.plane_pid().unwrap();
    signal(pid, libc::SIGSTOP);
    assert!(writer.progress(300, SOON), "another process serves");
    assert_ne!(world.plane_pid(), Some(pid));
    assert_clean(&writer.finish(SOON));
}

fn without_a_resend_requests_stay_lost() {
    let world = World::new(1);
    let mut first = world.start_alone(&[]);
    let writer = Writer::start(&world.file(0), 4, 0x5eed_0006);
    assert!(writer.progress(500, SOON));
    // Stopped in the middle of whatever it does, so that it has read requests when it dies.
    signal(first.id(), libc::SIGSTOP);
    std::thread::sleep(Duration::from_millis(20));
    first.kill().unwrap();
    first.wait().unwrap();
    let mut silent = world.start_alone(&["STRATOVOL_TEST_NO_RESEND"]);
    std::thread::sleep(Duration::from_millis(300));
    let lost = until("requests to be waited for", || waiting(&world));
    let after = waiting(&world);
    silent.kill().unwrap();
    silent.wait().unwrap();
    let mut resending = world.start_alone(&[]);
    assert!(writer.progress(500, SOON));
    let seen = writer.finish(SOON);
    resending.kill().unwrap();
    resending.wait().unwrap();
    assert_clean(&seen);
    assert!(
        lost > 0 && after.is_some(),
        "nothing was lost without the resend"
    );
}

/// Requests that the kernel waits for, as fusectl counts them; `None` where there are none.
fn waiting(world: &World) -> Option<u32> {
    let mountinfo = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let file = world.file(0);
    let line = mountinfo
        .lines()
        .find(|l| l.split(' ').nth(4) == file.to_str())
        .unwrap();
    let minor = line.split(' ').nth(2).unwrap().split_once(':').unwrap().1;
    let path = format!("/sys/fs/fuse/connections/{minor}/waiting");
    let count: u32 = std::fs::read_to_string(path)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    (count > 0).then_some(count)
}

fn a_second_process_is_refused() {
    let world = World::new(1);
    let mut first = world.start_alone(&[]);
    let writer = Writer::start(&world.file(0), 2, 0x5eed_0007);
    assert!(writer.progress(100, SOON));
    // To the second one this is a takeover, since the keeper holds connections: it waits, and
    // serves nothing.
    let mut second = world.start_alone(&[]);
    std::thread::sleep(Duration::from_millis(200));
    assert!(
        second.try_wait().unwrap().is_none(),
        "it waits for the disk"
    );
    assert!(writer.progress(300, SOON), "the first one serves");
    first.kill().unwrap();
    first.wait().unwrap();
    assert!(
        writer.progress(300, SOON),
        "the second one has the disk now"
    );
    assert_clean(&writer.finish(SOON));
    second.kill().unwrap();
    second.wait().unwrap();
}

fn descriptors_and_buffers() {
    let mut world = World::new(1);
    world.start_parent();
    let device = world.attach_loop(0);
    let (keeper, plane) = (world.keeper_pid(), world.plane_pid().unwrap());
    let fuse = Path::new("/dev/fuse");
    let (theirs, ours) = (descriptors(keeper, fuse), descriptors(plane, fuse));
    assert_eq!((theirs.len(), ours.len()), (1, 1));
    // KCMP_FILE = 0: the same open file description, not a clone, whose last close would fail its
    // requests. SAFETY: no pointers.
    let differ = unsafe { libc::syscall(libc::SYS_kcmp, keeper, plane, 0, theirs[0], ours[0]) };
    assert_eq!(differ, 0, "the connection is shared, not cloned");

    let disk = world.disk(0);
    assert_eq!(
        descriptors(plane, &disk).len(),
        1,
        "one description carries claim and I/O"
    );
    let parent = world.parent.as_ref().unwrap().id();
    for pid in [keeper, parent] {
        assert!(
            descriptors(pid, &disk).is_empty(),
            "nobody else holds the claim"
        );
    }
    assert!(
        descriptors(plane, &device).is_empty(),
        "the loop device is the keeper's alone"
    );
    assert_eq!(descriptors(keeper, &device).len(), 1);

    let flags = std::fs::read_to_string(format!(
        "/proc/{plane}/fdinfo/{}",
        descriptors(plane, &disk)[0]
    ));
    let flags = flags.unwrap();
    let octal = flags
        .lines()
        .find_map(|l| l.strip_prefix("flags:"))
        .unwrap()
        .trim()
        .to_owned();
    let flags = i32::from_str_radix(&octal, 8).unwrap();
    assert_eq!(flags & libc::O_DIRECT, libc::O_DIRECT);
    assert_eq!(flags & libc::O_CLOEXEC, libc::O_CLOEXEC);

    // The slots: shared, and every page there before the first request.
    let smaps = std::fs::read_to_string(format!("/proc/{plane}/smaps")).unwrap();
    let kib = |line: &str| {
        line.split_whitespace()
            .nth(1)
            .unwrap()
            .parse::<u64>()
            .unwrap()
    };
    let size = 64 * (1024 + 4);
    let mut lines = smaps
        .lines()
        .skip_while(|l| !(l.starts_with("Size:") && kib(l) == size));
    let rss = lines.find(|l| l.starts_with("Rss:")).map(kib);
    assert_eq!(rss, Some(size), "populated");
    let vm_flags = lines.find(|l| l.starts_with("VmFlags:")).unwrap();
    assert!(vm_flags.split(' ').any(|f| f == "sh"), "shared: {vm_flags}");
    assert!(vm_flags.split(' ').any(|f| f == "lo"), "locked: {vm_flags}");
}

fn a_hundred_idle_volumes_sleep() {
    let mut world = World::new(100);
    world.start_parent();
    let pid = until("the I/O process", || world.plane_pid());
    for n in 0..100 {
        // One request each, from a thread: it waits where nobody serves.
        let path = world.file(n);
        std::thread::spawn(move || open(&path).unwrap().metadata().unwrap())
            .join()
            .unwrap();
    }
    let status = || std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let number = |name: &str| -> u64 {
        let status = status();
        let line = status.lines().find_map(|l| l.strip_prefix(name)).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    };
    let before = number("voluntary_ctxt_switches:");
    let used = cpu_ticks(pid);
    std::thread::sleep(Duration::from_secs(5));
    let woken = number("voluntary_ctxt_switches:") - before;
    let ticks = cpu_ticks(pid) - used;
    let (rss, logs) = (
        number("VmRSS:") / 1024,
        world.keeper().list().unwrap().len(),
    );
    println!(
        "100 idle volumes: woken {woken} times and {ticks} ticks of CPU in 5 s, {rss} MiB resident"
    );
    assert!(
        woken <= 15,
        "only the parent's heartbeat wakes an idle process: woken {woken} times"
    );
    assert_eq!(
        logs, 201,
        "a connection and a log each, and the memory of the slots"
    );
    assert!(world.keeper().get(Kind::Fuse, uid(99)).unwrap().is_some());
}

/// CPU time of a process in ticks of 10 ms.
fn cpu_ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat
        .rsplit_once(')')
        .unwrap()
        .1
        .split_whitespace()
        .collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}
