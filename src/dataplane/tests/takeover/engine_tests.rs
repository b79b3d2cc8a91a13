//! The whole data plane with the real engine, driven over the control socket: a mirror on two
//! disks.

use crate::tests::{assert_clean, print_pauses};
use crate::world::{World, signal, until};
use crate::writer::{BlockState, Writer, open, survived};
use control::{Client, ClientError, CopyState, FailureKind, Request, Response, Status};
use dataplane::disk::{DiskFile, Patience};
use engine::disk::Disk;
use engine::format::geometry::GeometryChoice;
use engine::store::{Format, format};
use layout::{
    Bytes, DiskUid, Generation, Kind, Layout, Level, NodeName, Object, ObjectPath, Term, UnitRange,
    VolumeUid,
};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// What to run, in this order.
pub const ALL: [(&str, fn()); 4] = [
    ("engine_killed_with_9_under_load", killed_with_9),
    ("engine_upgraded_on_request", upgraded_on_request),
    (
        "engine_power_cuts_lose_only_what_was_not_flushed",
        power_cuts,
    ),
    ("engine_refuses_what_it_must", refuses_what_it_must),
];

const SOON: Duration = Duration::from_secs(20);
const VOLUME: VolumeUid = VolumeUid([0xaa; 16]);
const SIZE: u64 = 60 << 20;

fn disk_uid(n: usize) -> DiskUid {
    DiskUid([n as u8 + 1; 16])
}

/// Two formatted disks, a keeper, a parent and the I/O process.
fn world(power_cut: u64) -> World {
    let mut world = World::new(0);
    for n in 0..2 {
        let path = world.disk(n);
        std::fs::File::create(&path)
            .unwrap()
            .set_len(512 << 20)
            .unwrap();
        let mut disk = DiskFile::open(&path, Patience::AtOnce).unwrap();
        let choice = GeometryChoice::for_size(disk.size());
        let new = Format {
            disk: disk_uid(n),
            label: format!("disk {n}"),
            created: 0,
            choice,
        };
        format(&mut disk, &new).unwrap();
    }
    World::will_mount(&world.volumes().join(VOLUME.to_string()));
    world.start_engine(power_cut);
    world
}

fn client(world: &World) -> Client {
    let mut client = until("the control socket", || {
        Client::connect(&world.control(), "test", SOON).ok()
    });
    client.set_term(Term(1));
    client
}

fn object(kind: Kind) -> Object {
    Object {
        level: Level::Host,
        node: NodeName("here".to_owned()),
        generation: Generation(1),
        properties: Vec::new(),
        reasons: Vec::new(),
        kind,
    }
}

fn mirror() -> Layout {
    let leg = |n| {
        let units = vec![UnitRange { start: 0, count: 2 }];
        object(Kind::Extents {
            disk: disk_uid(n),
            size: Bytes(SIZE),
            units,
        })
    };
    let root = object(Kind::Mirror {
        copies: vec![leg(0), leg(1)],
    });
    let name = "test".to_owned();
    Layout {
        volume: VOLUME,
        name,
        generation: Generation(1),
        size: Bytes(SIZE),
        root,
    }
}

fn add_disks(world: &World, client: &mut Client) {
    for n in 0..2 {
        let path = world.disk(n).display().to_string();
        client
            .call(Request::AddDisk {
                path,
                expected: disk_uid(n),
            })
            .unwrap();
    }
}

fn grant(client: &mut Client) {
    for n in 0..2 {
        let object = ObjectPath::ROOT.child(n as u8).unwrap();
        let units = vec![UnitRange { start: 0, count: 2 }];
        let (volume, generation, disk) = (VOLUME, Generation(1), disk_uid(n));
        let owner = "{}".to_owned();
        let request = Request::Grant {
            volume,
            object,
            generation,
            disk,
            units,
            size: SIZE,
            owner,
        };
        client.call(request).unwrap();
    }
}

fn status(client: &mut Client) -> Status {
    match client.call(Request::Status).unwrap() {
        Response::Status(status) => *status,
        other => panic!("{other:?}"),
    }
}

fn attach(client: &mut Client) -> PathBuf {
    client
        .call(Request::AttachVolume { layout: mirror() })
        .unwrap();
    PathBuf::from(status(client).volumes[0].device.clone().unwrap())
}

fn ready(power_cut: u64) -> (World, PathBuf) {
    let world = world(power_cut);
    let mut client = client(&world);
    add_disks(&world, &mut client);
    grant(&mut client);
    let device = attach(&mut client);
    (world, device)
}

fn killed_with_9() {
    let (world, device) = ready(0);
    let writer = Writer::start(&device, 8, 0x5eed_1001);
    let mut kills = Vec::new();
    for n in 0..12 {
        assert!(
            writer.progress(300 + n * 37, SOON),
            "no progress before kill {n}"
        );
        let pid = until("the I/O process", || world.plane_pid());
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
    print_pauses(
        "engine, a mirror, killed with -9, through loop",
        &kills,
        &seen,
    );
    assert_clean(&seen);
    let mut client = client(&world);
    let now = status(&mut client);
    assert_eq!((now.disks.len(), now.volumes.len()), (2, 1));
    assert_eq!(now.volumes[0].device.as_deref(), device.to_str());
    let live = |c: &control::CopyStatus| c.state == CopyState::Live;
    assert!(
        now.volumes[0].copies.iter().all(live),
        "{:?}",
        now.volumes[0].copies
    );
    client
        .call(Request::DetachVolume { volume: VOLUME })
        .unwrap();
    for n in 0..2 {
        client
            .call(Request::RemoveDisk { disk: disk_uid(n) })
            .unwrap();
    }
    assert_eq!(
        world.keeper().list().unwrap().len(),
        2,
        "the slots, and the empty record"
    );
    client.call(Request::Shutdown).unwrap();
}

fn upgraded_on_request() {
    let (world, device) = ready(0);
    let writer = Writer::start(&device, 8, 0x5eed_1002);
    let mut upgrades = Vec::new();
    for n in 0..6 {
        assert!(writer.progress(400, SOON), "no progress before upgrade {n}");
        let mut client = client(&world);
        let pid = status(&mut client).pid;
        upgrades.push(Instant::now());
        client.call(Request::Upgrade).unwrap();
        until("the successor", || world.plane_pid().filter(|p| *p != pid));
    }
    assert!(writer.progress(500, SOON));
    let seen = writer.finish(SOON);
    print_pauses("engine, a mirror, upgraded, through loop", &upgrades, &seen);
    assert_clean(&seen);
}

fn power_cuts() {
    let (mut world, mut device) = ready(0x5eed_2000);
    let mut blocks: Vec<BlockState> = Vec::new();
    for n in 0..6 {
        let writer = Writer::start_at(&device, 8 * n, 8, 0x5eed_2001 + n);
        assert!(
            writer.progress(600 + n * 217, SOON),
            "no progress before cut {n}"
        );
        world.cut_power();
        let seen = writer.finish(SOON);
        let hangs = seen.wrong.iter().filter(|w| w.contains("hangs")).count();
        assert_eq!(hangs, 0, "every request ends with the connection");
        world.start_engine(0x5eed_2000 + n);
        World::will_mount(&world.volumes().join(VOLUME.to_string()));
        let mut client = client(&world);
        add_disks(&world, &mut client);
        device = attach(&mut client);
        let file = open(&device).unwrap();
        blocks.extend(&seen.blocks);
        let wrong: Vec<String> = blocks
            .iter()
            .filter_map(|b| survived(&file, b).err())
            .collect();
        assert!(wrong.is_empty(), "after cut {n}: {wrong:#?}");
        let flushed = seen.blocks.iter().filter(|b| b.flushed > 0).count();
        let lost = seen
            .blocks
            .iter()
            .map(|b| b.answered - b.flushed)
            .sum::<u64>();
        println!("cut {n}: {flushed} flushed blocks are there; {lost} writes had not been flushed");
    }
}

fn refuses_what_it_must() {
    let (world, _) = ready(0);
    let mut client = client(&world);
    let mut kind_of = |request| match client.call(request) {
        Err(ClientError::Failed(failure)) => failure.kind,
        other => panic!("{other:?}"),
    };
    let path = world.disk(0).display().to_string();
    let other = DiskUid([9; 16]);
    assert_eq!(
        kind_of(Request::AddDisk {
            path,
            expected: other
        }),
        FailureKind::BadDisk
    );
    assert_eq!(
        kind_of(Request::RemoveDisk { disk: disk_uid(0) }),
        FailureKind::Busy
    );
    assert_eq!(kind_of(Request::Shutdown), FailureKind::Busy);
    let unknown = VolumeUid([1; 16]);
    let wanted = FailureKind::UnknownVolume { volume: unknown };
    assert_eq!(kind_of(Request::DetachVolume { volume: unknown }), wanted);
    client.set_term(Term(7));
    client
        .call(Request::DetachVolume { volume: VOLUME })
        .unwrap();
    client.set_term(Term(6));
    let stale = client.call(Request::AttachVolume { layout: mirror() });
    assert!(matches!(stale, Err(ClientError::Failed(f))
        if f.kind == FailureKind::StaleTerm { highest: Term(7) }));
    // The term is durable: a successor knows it.
    let pid = until("the I/O process", || world.plane_pid());
    signal(pid, libc::SIGKILL);
    let mut client = self::client(&world);
    until("the successor", || {
        (status_of(&world, &mut client)?.pid != pid).then_some(())
    });
    assert_eq!(status(&mut client).highest, Term(7));
}

/// The status, over a new connection where the old one ended.
fn status_of(world: &World, client: &mut Client) -> Option<Status> {
    if let Ok(Response::Status(status)) = client.call(Request::Status) {
        return Some(*status);
    }
    *client = Client::connect(&world.control(), "test", SOON).ok()?;
    None
}
