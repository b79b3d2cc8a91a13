//! One message of each shape, filled from a seed: for the golden file and for random round trips.

use crate::map::{MapPlace, MapState};
use crate::*;
use layout::{
    Bytes, DiskUid, Epoch, Generation, Kind, Layout, Level, NodeName, Object, ObjectPath, Term,
    UnitRange, VolumeUid,
};

/// The numbers of one seed (splitmix64).
pub struct Random(pub u64);

impl Random {
    /// Any number; small ones are as likely as huge ones.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let z = z ^ (z >> 31);
        z >> (z % 64)
    }
    pub fn below(&mut self, n: u64) -> u64 {
        self.number() % n
    }
    fn bit(&mut self) -> bool {
        self.below(2) == 0
    }
    fn u32(&mut self) -> u32 {
        self.number() as u32
    }
    fn text(&mut self) -> String {
        let some = [
            "",
            "a",
            "söme \"text\"",
            "line\nline",
            "\u{0}\u{7f}",
            "/dev/sda",
        ];
        some[self.below(some.len() as u64) as usize].to_owned()
    }
    fn volume(&mut self) -> VolumeUid {
        VolumeUid(std::array::from_fn(|_| self.number() as u8))
    }
    fn disk(&mut self) -> DiskUid {
        DiskUid(std::array::from_fn(|_| self.number() as u8))
    }
    fn object(&mut self) -> ObjectPath {
        let depth = self.below(8);
        (0..depth).fold(ObjectPath::ROOT, |path, _| {
            path.child(self.number() as u8).unwrap()
        })
    }
    fn units(&mut self) -> Vec<UnitRange> {
        let unit = |r: &mut Self| UnitRange {
            start: r.u32(),
            count: r.u32(),
        };
        (0..self.below(4)).map(|_| unit(self)).collect()
    }
    fn tree(&mut self, depth: u64) -> Object {
        let below = |r: &mut Self| (0..=r.below(3)).map(|_| r.tree(depth - 1)).collect();
        let kind = match if depth == 0 { 3 } else { self.below(4) } {
            0 => Kind::Stripe {
                unit: Bytes(self.number()),
                columns: below(self),
            },
            1 => Kind::Mirror {
                copies: below(self),
            },
            2 => Kind::Concat { parts: below(self) },
            _ => {
                let (disk, size, units) = (self.disk(), Bytes(self.number()), self.units());
                Kind::Extents { disk, size, units }
            }
        };
        Object {
            level: [Level::Host, Level::Interconnect, Level::Storage][self.below(3) as usize],
            node: NodeName(self.text()),
            generation: Generation(self.number()),
            properties: (0..self.below(3)).map(|_| self.text()).collect(),
            reasons: (0..self.below(3)).map(|_| self.text()).collect(),
            kind,
        }
    }
    fn layout(&mut self) -> Layout {
        Layout {
            volume: self.volume(),
            name: self.text(),
            generation: Generation(self.number()),
            size: Bytes(self.number()),
            root: self.tree(3),
        }
    }
    fn state(&mut self) -> MapState {
        let all = [
            MapState::Invalid,
            MapState::NoWrite,
            MapState::Zero,
            MapState::Error,
        ];
        all[self.below(4) as usize]
    }
    fn range(&mut self) -> MapRange {
        let (location, birth) = (self.u32(), Epoch(self.u32()));
        let place = match self.below(4) {
            0 => MapPlace::Nowhere,
            1 => MapPlace::Zero { birth },
            2 => MapPlace::Paged { location },
            _ => MapPlace::Run { location, birth },
        };
        let first = MapEntry {
            place,
            no_write: self.bit(),
            error: self.bit(),
        };
        MapRange {
            start: self.u32(),
            end: self.u32(),
            first,
        }
    }
    fn ranges(&mut self) -> Vec<MapRange> {
        (0..self.below(4)).map(|_| self.range()).collect()
    }
    fn next(&mut self) -> Option<u32> {
        self.bit().then(|| self.u32())
    }
}

fn commands(r: &mut Random) -> Vec<MapCommand> {
    let (start, end, blocking, state) = (r.u32(), r.u32(), r.bit(), r.state());
    vec![
        MapCommand::Create { segments: r.u32() },
        MapCommand::Delete,
        MapCommand::Get { start, end },
        MapCommand::Set {
            ranges: r.ranges(),
            blocking,
        },
        MapCommand::GetState { start, end, state },
        MapCommand::SetState {
            start,
            end,
            state,
            value: r.bit(),
            blocking,
        },
    ]
}

fn about_disks(r: &mut Random) -> Vec<Request> {
    let (volume, object, disk) = (r.volume(), r.object(), r.disk());
    let (generation, size, owner) = (Generation(r.number()), r.number(), r.text());
    let grant = Request::Grant {
        volume,
        object,
        generation,
        disk,
        units: r.units(),
        size,
        owner,
    };
    vec![
        Request::AddDisk {
            path: r.text(),
            expected: disk,
        },
        Request::RemoveDisk { disk },
        grant,
        Request::Release {
            volume,
            object,
            generation,
            disk,
        },
    ]
}

fn about_volumes(r: &mut Random) -> Vec<Request> {
    let (volume, object, generation) = (r.volume(), r.object(), Generation(r.number()));
    let (holder, milliseconds) = (NodeName(r.text()), r.number());
    let mut all = vec![
        Request::AttachVolume { layout: r.layout() },
        Request::DetachVolume { volume },
        Request::ResizeVolume { layout: r.layout() },
        Request::ReplaceCopy {
            copy: object,
            layout: r.layout(),
        },
        Request::Lease {
            volume,
            holder,
            generation,
            milliseconds,
        },
        Request::CutEpoch { volume },
        Request::ReleaseEpoch {
            volume,
            epoch: Epoch(r.u32()),
        },
    ];
    let grant = FaultAnswer::Grant {
        generation,
        units: r.units(),
    };
    let answers = [grant, FaultAnswer::NoSpace, FaultAnswer::Wait];
    all.extend(answers.map(|answer| Request::AnswerFault {
        volume,
        object,
        answer,
    }));
    let map = |command| Request::Map {
        volume,
        object,
        command,
    };
    all.extend(commands(r).into_iter().map(map));
    all
}

/// One of each request.
pub fn requests(r: &mut Random) -> Vec<Request> {
    let (oldest, newest, who) = (r.number() as u16, r.number() as u16, r.text());
    let mut all = vec![Request::Hello {
        oldest,
        newest,
        who,
    }];
    all.extend(about_disks(r));
    all.extend(about_volumes(r));
    all.extend([
        Request::Status,
        Request::Subscribe,
        Request::Upgrade,
        Request::Shutdown,
    ]);
    all
}

fn failures(r: &mut Random) -> Vec<Failure> {
    let (volume, disk) = (r.volume(), r.disk());
    let kinds = [
        FailureKind::BadFrame,
        FailureKind::Version {
            oldest: r.number() as u16,
            newest: r.number() as u16,
        },
        FailureKind::BadRequest,
        FailureKind::StaleTerm {
            highest: Term(r.number()),
        },
        FailureKind::StaleGeneration {
            given: r.number(),
            seen: r.number(),
        },
        FailureKind::UnknownVolume { volume },
        FailureKind::UnknownDisk { disk },
        FailureKind::DiskFailed { disk },
        FailureKind::Contradiction { disk },
        FailureKind::BadDisk,
        FailureKind::UnknownTable,
        FailureKind::TableExists,
        FailureKind::OutOfRange,
        FailureKind::ReplacementOnly { state: r.state() },
        FailureKind::NoSuchFault,
        FailureKind::Busy,
        FailureKind::Refused,
    ];
    kinds.map(|kind| kind.because(r.text())).into()
}

fn status(r: &mut Random) -> Status {
    let disk = |r: &mut Random| DiskStatus {
        disk: r.disk(),
        path: r.text(),
        units: r.u32(),
        free_units: r.u32(),
        used: Some(r.number()),
        failed: r.bit().then(|| r.u32() as i32),
    };
    let copy = |r: &mut Random| {
        let rebuilding = CopyState::Rebuilding {
            done: r.number(),
            total: r.number(),
        };
        let states = [
            CopyState::Live,
            CopyState::Stale,
            rebuilding,
            CopyState::Missing,
        ];
        CopyStatus {
            object: r.object(),
            state: states[r.below(4) as usize],
        }
    };
    let lease = |r: &mut Random| LeaseStatus {
        holder: NodeName(r.text()),
        generation: Generation(r.number()),
        milliseconds: r.number(),
    };
    let volume = |r: &mut Random| VolumeStatus {
        volume: r.volume(),
        name: r.text(),
        size: r.number(),
        generation: Generation(r.number()),
        epoch: Epoch(r.u32()),
        device: r.bit().then(|| r.text()),
        copies: (0..r.below(5)).map(|_| copy(r)).collect(),
        running: r.number(),
        waiting: r.number(),
        lease: r.bit().then(|| lease(r)),
    };
    Status {
        highest: Term(r.number()),
        pid: r.u32(),
        disks: (0..1 + r.below(3)).map(|_| disk(r)).collect(),
        volumes: (0..1 + r.below(3)).map(|_| volume(r)).collect(),
        map_bytes: r.number(),
        page_bytes: r.number(),
    }
}

/// One of each reply.
pub fn replies(r: &mut Random) -> Vec<Reply> {
    let (version, highest, who) = (r.number() as u16, Term(r.number()), r.text());
    let set = (0..r.below(4)).map(|_| (r.u32(), r.u32())).collect();
    let responses = [
        Response::Done,
        Response::Hello {
            version,
            highest,
            who,
        },
        Response::Entries {
            ranges: r.ranges(),
            next: r.next(),
        },
        Response::StateSet {
            ranges: set,
            next: r.next(),
        },
        Response::Epoch {
            epoch: Epoch(r.u32()),
        },
        Response::Status(Box::new(status(r))),
    ];
    let failed = failures(r).into_iter().map(Reply::Failed);
    responses.into_iter().map(Reply::Ok).chain(failed).collect()
}

/// One of each event.
pub fn events(r: &mut Random) -> Vec<Event> {
    let (volume, object, disk, leg) = (r.volume(), r.object(), r.disk(), r.number() as u8);
    let (done, total, copied) = (r.number(), r.number(), r.number());
    vec![
        Event::PlacementFault {
            volume,
            object,
            disk,
            units: r.u32(),
        },
        Event::DiskFailed {
            disk,
            errno: r.u32() as i32,
        },
        Event::Damaged {
            disk,
            what: r.text(),
        },
        Event::LegDropped {
            volume,
            mirror: object,
            leg,
        },
        Event::RebuildProgress {
            volume,
            mirror: object,
            leg,
            done,
            total,
            copied,
            complete: r.bit(),
        },
        Event::MapFault {
            volume,
            object,
            segment: r.u32(),
            write: r.bit(),
            state: r.text(),
        },
    ]
}

/// One of each message.
pub fn messages(r: &mut Random) -> Vec<Message> {
    let mut all = Vec::new();
    for request in requests(r) {
        all.push(Message::request(r.number(), Term(r.number()), request));
    }
    for reply in replies(r) {
        all.push(Message::reply(r.number(), reply));
    }
    all.extend(events(r).into_iter().map(Message::event));
    all
}
