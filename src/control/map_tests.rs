//! Map commands from the wire to a table and back.

use crate::map::{MAX_RANGES, MapPlace, MapState};
use crate::*;
use engine::io::CommandId;
use engine::map as table;
use engine::map::Entry;
use layout::{Epoch, ObjectPath, VolumeUid};

/// Tables with the names that the tests use, and one answer for each command.
#[derive(Default)]
struct Asked {
    tables: table::MapTables,
    id: u64,
}

impl Asked {
    fn ask(&mut self, volume: u8, wire: MapCommand) -> Result<Response, Failure> {
        self.id += 1;
        let volume = VolumeUid([volume; 16]);
        let name = table::TableName {
            volume,
            object: ObjectPath::ROOT,
        };
        self.tables
            .apply(CommandId(self.id), name, wire.try_into()?);
        let (answered, outcome) = self.tables.take_answers().next().unwrap();
        assert_eq!(answered, CommandId(self.id));
        Ok(map::response(outcome?))
    }
    fn refused(&mut self, volume: u8, wire: MapCommand) -> FailureKind {
        self.ask(volume, wire).unwrap_err().kind
    }
}

fn range(start: u32, end: u32, place: MapPlace) -> MapRange {
    let first = MapEntry {
        place,
        no_write: true,
        error: false,
    };
    MapRange { start, end, first }
}

#[test]
fn commands_reach_the_table_and_come_back() {
    let mut asked = Asked::default();
    let (birth, location) = (Epoch(5), 40);
    let ranges = vec![
        range(0, 3, MapPlace::Run { location, birth }),
        range(3, 5, MapPlace::Zero { birth }),
        range(5, 6, MapPlace::Paged { location }),
        range(6, 9, MapPlace::Nowhere),
    ];
    let done = Ok(Response::Done);
    assert_eq!(asked.ask(1, MapCommand::Create { segments: 9 }), done);
    let set = MapCommand::Set {
        ranges: ranges.clone(),
        blocking: true,
    };
    assert_eq!(asked.ask(1, set), done);
    let got = asked.ask(1, MapCommand::Get { start: 0, end: 9 });
    assert_eq!(got, Ok(Response::Entries { ranges, next: None }));
    let state = MapState::Invalid;
    let got = asked.ask(
        1,
        MapCommand::GetState {
            start: 0,
            end: 9,
            state,
        },
    );
    let ranges = vec![(6, 9)];
    assert_eq!(got, Ok(Response::StateSet { ranges, next: None }));
    assert_eq!(asked.ask(1, MapCommand::Delete), done);
    assert_eq!(
        asked.refused(1, MapCommand::Delete),
        FailureKind::UnknownTable
    );
}

#[test]
fn bad_commands_have_their_own_kinds() {
    let mut asked = Asked::default();
    asked.ask(1, MapCommand::Create { segments: 9 }).unwrap();
    let get = |start, end| MapCommand::Get { start, end };
    assert_eq!(asked.refused(2, get(0, 1)), FailureKind::UnknownTable);
    assert_eq!(asked.refused(1, get(3, 10)), FailureKind::OutOfRange);
    assert_eq!(asked.refused(1, get(3, 2)), FailureKind::OutOfRange);
    let again = MapCommand::Create { segments: 9 };
    assert_eq!(asked.refused(1, again), FailureKind::TableExists);
    let (start, end, value, blocking) = (0, 9, false, false);
    let clear = |state| MapCommand::SetState {
        start,
        end,
        state,
        value,
        blocking,
    };
    for state in [MapState::Invalid, MapState::Zero, MapState::Error] {
        let wanted = FailureKind::ReplacementOnly { state };
        assert_eq!(asked.refused(1, clear(state)), wanted);
    }
    assert_eq!(asked.ask(1, clear(MapState::NoWrite)), Ok(Response::Done));
    let (location, birth) = (table::MAX_LOCATION, Epoch(0));
    for (end, location) in [(1, location + 1), (2, location)] {
        let ranges = vec![range(0, end, MapPlace::Run { location, birth })];
        let too_far = MapCommand::Set { ranges, blocking };
        assert_eq!(asked.refused(1, too_far), FailureKind::OutOfRange);
    }
}

#[test]
fn long_answers_are_cut_and_say_where_to_go_on() {
    let many = MAX_RANGES as u32 + 5;
    let first = Entry::run(table::MAX_LOCATION, Epoch(u32::MAX))
        .with_no_write()
        .with_error();
    let all = (0..many).map(|i| (u32::MAX - many + i..u32::MAX - many + i + 1, first));
    let answer = map::response(table::Response::Entries(all.clone().collect()));
    let Response::Entries { ranges, next } = &answer else {
        panic!("{answer:?}")
    };
    assert_eq!((ranges.len(), *next), (MAX_RANGES, Some(u32::MAX - 5)));
    assert_eq!(ranges.last().map(|r| r.end), *next);
    Message::reply(u64::MAX, Reply::Ok(answer.clone()))
        .encode()
        .unwrap();
    let answer = map::response(table::Response::Set(all.map(|(range, _)| range).collect()));
    let Response::StateSet { ranges, next } = &answer else {
        panic!("{answer:?}")
    };
    assert_eq!((ranges.len(), *next), (MAX_RANGES, Some(u32::MAX - 5)));
}
