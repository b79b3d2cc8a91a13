//! The table's rules one by one; random operations against a naive table are in `model_tests`.

use super::chunks::CHUNK;
use super::*;
use crate::io::CommandId as Id;
use layout::{Epoch, ObjectPath, VolumeUid};

fn run(location: u32) -> Entry {
    Entry::run(location, Epoch(7))
}

fn go(table: &mut MapTable, access: Access, segment: u32) -> Ticket {
    match table.admit(0, access, segment, 0) {
        Ok(Admit::Go { ticket, .. }) => ticket,
        other => panic!("{access} of {segment}: {other:?}"),
    }
}

fn ready(table: &mut MapTable) -> Vec<(Token, Result<(), MapError>)> {
    table.take_ready().collect()
}

#[test]
fn every_cell_of_the_table_of_transitions() {
    use Verdict::{Error, Fault, Go};
    let bits = |e: Entry, s: States| {
        let on = |entry: Entry, on, state| if on { entry.with(state) } else { entry };
        let e = if s.invalid { e.with(State::Invalid) } else { e };
        let e = on(on(e, s.no_write, State::NoWrite), s.zero, State::Zero);
        on(e, s.error, State::Error)
    };
    let mut cells = 0;
    println!("{:<34} {:<6} becomes", "entry", "access");
    for (kind, access) in [run(9), Entry::paged(9)]
        .into_iter()
        .flat_map(|kind| [Access::Read, Access::Write].map(|access| (kind, access)))
    {
        for n in 0..16 {
            let [invalid, no_write, zero, error] = [1, 2, 4, 8].map(|bit| n & bit != 0);
            let entry = bits(
                kind,
                States {
                    invalid,
                    no_write,
                    zero,
                    error,
                },
            );
            assert_eq!(
                entry.states(),
                States {
                    invalid,
                    no_write,
                    zero,
                    error
                }
            );
            let wanted = match (error, invalid, zero, no_write, access) {
                (true, ..) => Error,
                (_, true, ..) => Fault(State::Invalid),
                (_, _, true, _, Access::Write) => Fault(State::Zero),
                (_, _, _, true, Access::Write) => Fault(State::NoWrite),
                _ => Go,
            };
            assert_eq!(entry.verdict(access), wanted, "{access} of {entry:?}");
            let mut table = MapTable::new(1);
            table.set_range(0..1, entry, None).unwrap();
            let got = table.admit(5, access, 0, 77);
            let faults: Vec<_> = table.take_faults().collect();
            match wanted {
                Go => assert!(matches!(got, Ok(Admit::Go { entry: e, .. }) if e == entry)),
                Error => assert_eq!(got, Err(MapError::ErrorState { segment: 0 })),
                Fault(state) => {
                    assert_eq!(got, Ok(Admit::Wait));
                    let id = faults[0].id;
                    assert_eq!(
                        faults,
                        [super::Fault {
                            id,
                            access,
                            segment: 0,
                            state
                        }]
                    );
                }
            }
            assert_eq!(faults.len(), usize::from(matches!(wanted, Fault(_))));
            println!("{:<34} {access:<6} {wanted:?}", format!("{entry:?}"));
            cells += 1;
        }
    }
    assert_eq!(cells, 64);
}

#[test]
fn every_cell_of_setting_a_state() {
    let mut cells = 0;
    for entry in [
        Entry::INVALID,
        run(3),
        Entry::paged(3),
        Entry::zero(Epoch(4)),
    ] {
        for state in State::ALL {
            for value in [true, false] {
                let mut table = MapTable::new(2);
                table.set_range(0..1, entry, None).unwrap();
                let got = table.set_state(0..1, state, value, None);
                let after = table.get(0);
                println!("{entry:?}: {state}={value}: {got:?} {after:?}");
                match (state, value) {
                    (State::NoWrite, false) => assert_eq!((got, after), (Ok(()), entry)),
                    (state, false) => {
                        assert_eq!(got, Err(MapError::ReplacementOnly { state }));
                        assert_eq!(after, entry, "a refused command changes nothing");
                    }
                    (State::Invalid, true) => assert_eq!((got, after), (Ok(()), Entry::INVALID)),
                    (State::Zero, true) => {
                        assert!(got.is_ok() && after.has(State::Zero));
                        assert_eq!((after.location(), after.is_paged()), (None, false));
                    }
                    (state, true) => {
                        assert!(got.is_ok() && after.has(state));
                        assert_eq!(after.location(), entry.location(), "earlier state is kept");
                        assert_eq!(after.birth(), entry.birth());
                    }
                }
                assert_eq!(table.get(1), Entry::INVALID, "nothing past the range");
                assert_eq!(Entry::from_bits(after.bits()), Some(after));
                cells += 1;
            }
        }
    }
    assert_eq!(cells, 32);
}

#[test]
fn no_write_comes_and_goes() {
    let mut table = MapTable::new(4);
    table.set_range(0..4, run(10), None).unwrap();
    table.set_state(1..3, State::NoWrite, true, None).unwrap();
    assert_eq!(table.admit(0, Access::Write, 1, 1), Ok(Admit::Wait));
    go(&mut table, Access::Read, 1);
    table.set_state(0..4, State::NoWrite, false, None).unwrap();
    assert_eq!(ready(&mut table), [(1, Ok(()))]);
    assert_eq!(table.get_ranges(0..4), [(0..4, run(10))]);
}

#[test]
fn many_ios_make_one_fault_and_all_try_again() {
    let mut table = MapTable::new(8);
    for token in 0..100 {
        let access = if token % 2 == 0 {
            Access::Read
        } else {
            Access::Write
        };
        assert_eq!(table.admit(0, access, 3, token), Ok(Admit::Wait));
    }
    let faults: Vec<_> = table.take_faults().collect();
    assert_eq!(faults.len(), 1);
    assert_eq!((faults[0].segment, faults[0].access), (3, Access::Read));
    assert_eq!(table.take_faults().count(), 0);
    table.answer(faults[0].id, Answer::Wait).unwrap();
    assert_eq!(ready(&mut table), []);
    table
        .answer(faults[0].id, Answer::Replace(Entry::ZERO))
        .unwrap();
    assert_eq!(ready(&mut table).len(), 100);
    // The first write after it faults anew, and by its own name.
    go(&mut table, Access::Read, 3);
    assert_eq!(table.admit(0, Access::Write, 3, 1), Ok(Admit::Wait));
    let second: Vec<_> = table.take_faults().collect();
    assert_eq!((second.len(), second[0].state), (1, State::Zero));
    assert_ne!(second[0].id, faults[0].id);
    // An answer that comes twice changes nothing.
    let late = table.answer(faults[0].id, Answer::Replace(run(1)));
    assert_eq!(late, Err(MapError::NoSuchFault { id: faults[0].id }));
    assert_eq!(table.get(3), Entry::ZERO);
}

#[test]
fn an_error_in_answer_to_a_fault_outranks_invalid() {
    let mut table = MapTable::new(2);
    table.admit(0, Access::Read, 1, 4).unwrap();
    let fault = table.take_faults().next().unwrap();
    table.answer(fault.id, Answer::Error).unwrap();
    let error = MapError::ErrorState { segment: 1 };
    assert_eq!(ready(&mut table), [(4, Err(error))]);
    assert_eq!(table.admit(0, Access::Read, 1, 5), Err(error));
    assert_eq!(table.open_faults(), 0);
    // Only a replacement ends it, or forgetting the entry as a whole.
    assert!(table.set_state(0..2, State::Error, false, None).is_err());
    table.set_range(1..2, run(1), None).unwrap();
    go(&mut table, Access::Write, 1);
}

#[test]
fn a_command_that_changes_the_entry_ends_its_fault() {
    let mut table = MapTable::new(4);
    table.admit(0, Access::Read, 1, 1).unwrap();
    table.admit(0, Access::Read, 2, 2).unwrap();
    table.set_range(0..3, Entry::INVALID, None).unwrap();
    assert_eq!(ready(&mut table), [], "nothing changed");
    table.set_range(2..4, run(9), None).unwrap();
    assert_eq!(ready(&mut table), [(2, Ok(()))]);
    let faults: Vec<_> = table.take_faults().map(|f| f.segment).collect();
    assert_eq!(faults, [1], "a fault that is over is not sent");
    table.set_state(1..2, State::Error, true, None).unwrap();
    assert_eq!(ready(&mut table), [(1, Ok(()))]);
    assert_eq!(
        table.admit(0, Access::Read, 1, 1),
        Err(MapError::ErrorState { segment: 1 })
    );
}

#[test]
fn an_unanswered_fault_is_sent_again() {
    let mut table = MapTable::new(2);
    assert_eq!(table.next_wake(), None);
    table.admit(100, Access::Write, 0, 1).unwrap();
    table.admit(200, Access::Write, 1, 2).unwrap();
    let first: Vec<_> = table.take_faults().collect();
    assert_eq!(table.next_wake(), Some(100 + RESEND_NS));
    table.resend_due(99 + RESEND_NS);
    assert_eq!(table.take_faults().count(), 0);
    table.resend_due(100 + RESEND_NS);
    assert_eq!(table.take_faults().collect::<Vec<_>>(), first[..1]);
    assert_eq!(table.next_wake(), Some(200 + RESEND_NS));
    // Due many times, taken once: sent once.
    for later in 2..9 {
        table.resend_due(later * 2 * RESEND_NS);
    }
    assert_eq!(table.take_faults().count(), 2);
    for fault in first {
        table.answer(fault.id, Answer::Replace(run(1))).unwrap();
    }
    assert_eq!(table.next_wake(), None);
    table.resend_due(u64::MAX);
    assert_eq!(table.take_faults().count(), 0);
}

#[test]
fn a_blocking_command_waits_for_older_ios_only() {
    let mut table = MapTable::new(4);
    let drained = |table: &mut MapTable| table.take_drained().map(|id| id.0).collect::<Vec<_>>();
    table.set_range(0..4, run(0), Some(Id(1))).unwrap();
    assert_eq!(drained(&mut table), [1], "nothing ran");
    let old = go(&mut table, Access::Write, 0);
    table.set_range(0..4, run(50), Some(Id(2))).unwrap();
    assert_eq!(table.get(0), run(50), "the table changes at once");
    let newer = go(&mut table, Access::Write, 0);
    table
        .set_state(0..4, State::NoWrite, true, Some(Id(3)))
        .unwrap();
    table.set_range(3..4, Entry::INVALID, None).unwrap();
    // An I/O that faulted has not begun.
    assert_eq!(table.admit(0, Access::Write, 0, 9), Ok(Admit::Wait));
    let newest = go(&mut table, Access::Read, 0);
    assert_eq!(drained(&mut table), []);
    table.end(newer);
    assert_eq!(drained(&mut table), [], "3 waits for the oldest too");
    table.end(old);
    assert_eq!(drained(&mut table), [2, 3]);
    assert_eq!(table.running(), 1);
    table.end(newest);
    assert_eq!(table.running(), 0);
}

#[test]
#[should_panic(expected = "given back twice")]
fn a_ticket_comes_back_once() {
    let mut table = MapTable::new(1);
    table.set_range(0..1, run(0), None).unwrap();
    let ticket = go(&mut table, Access::Read, 0);
    table.end(ticket);
    table.end(ticket);
}

#[test]
fn bad_ranges_have_their_own_errors() {
    let mut table = MapTable::new(10);
    let past = |start, end| {
        Err(MapError::OutOfRange {
            start,
            end,
            segments: 10,
        })
    };
    assert_eq!(table.set_range(9..11, Entry::ZERO, None), past(9, 11));
    #[allow(clippy::reversed_empty_ranges)]
    let backwards = 5..4;
    assert_eq!(table.set_range(backwards, Entry::ZERO, None), past(5, 4));
    assert_eq!(
        table.set_state(11..11, State::Zero, true, None),
        past(11, 11)
    );
    assert_eq!(
        table.admit(0, Access::Read, 10, 0).map(|_| ()),
        past(10, 11)
    );
    let location = MAX_LOCATION - 1;
    assert_eq!(
        table.set_range(0..3, run(location), Some(Id(1))),
        Err(MapError::LocationTooLarge { location, count: 3 })
    );
    assert_eq!(table.get_ranges(0..10), [(0..10, Entry::INVALID)]);
    assert_eq!(
        table.take_drained().count(),
        0,
        "what is refused blocks nothing"
    );
    table.set_range(0..2, run(location), None).unwrap();
    assert_eq!(table.get(1).location(), Some(MAX_LOCATION));
    assert_eq!(
        table.get_ranges(0..10),
        [(0..2, run(location)), (2..10, Entry::INVALID)]
    );
}

#[test]
fn resizing_takes_an_invalid_tail_only() {
    for size in [1, 10, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK] {
        let mut table = MapTable::new(size);
        table.set_range(0..size, run(5), None).unwrap();
        let bigger = size + CHUNK + 7;
        table.resize(bigger).unwrap();
        assert_eq!(
            table.get_ranges(0..bigger),
            [(0..size, run(5)), (size..bigger, Entry::INVALID)]
        );
        table.admit(0, Access::Read, bigger - 1, 6).unwrap();
        table.admit(0, Access::Read, size, 7).unwrap();
        let refused = MapError::StillMapped { segment: size - 1 };
        assert_eq!(table.resize(size - 1), Err(refused));
        table.resize(size + 1).unwrap();
        assert_eq!(table.segments(), size + 1);
        let (start, end, segments) = (bigger - 1, bigger, size + 1);
        assert_eq!(
            ready(&mut table),
            [(
                6,
                Err(MapError::OutOfRange {
                    start,
                    end,
                    segments
                })
            )]
        );
        assert_eq!(table.open_faults(), 1);
    }
}

#[test]
fn memory_is_what_the_ranges_cost() {
    let tib = 1 << 20;
    let mut table = MapTable::new(tib);
    assert!(table.memory() < 8 << 10, "fresh: {} bytes", table.memory());
    table.set_range(0..tib, run(0), None).unwrap();
    table.set_state(0..tib, State::NoWrite, true, None).unwrap();
    assert!(
        table.memory() < 8 << 10,
        "one range: {} bytes",
        table.memory()
    );
    for segment in (0..tib).step_by(2) {
        table
            .set_range(segment..segment + 1, run(tib + segment), None)
            .unwrap();
    }
    let (bytes, bound) = (table.memory(), (8 << 20) + (8 << 10));
    println!("1 TiB in the worst order: {bytes} bytes");
    assert!(
        bytes <= bound,
        "{bytes} bytes, more than 8 a segment and the directory"
    );
    table.set_range(0..tib, Entry::ZERO, None).unwrap();
    assert!(
        table.memory() < 8 << 10,
        "again one range: {} bytes",
        table.memory()
    );
}

#[test]
fn bits_of_an_entry_are_checked() {
    for (entry, bits) in [
        (Entry::INVALID, 0x0000_0000_0000_0001),
        (Entry::ZERO, 0x0000_0000_0000_0004),
        (Entry::zero(Epoch(2)), 0x0000_0002_0000_0004),
        (Entry::run(1, Epoch(3)), 0x0000_0003_0000_0020),
        (
            Entry::run(MAX_LOCATION, Epoch(u32::MAX)),
            0xffff_ffff_ffff_ffe0,
        ),
        (Entry::paged(5).with_no_write(), 0x0000_0000_0000_00b2),
        (Entry::INVALID.with_error(), 0x0000_0000_0000_0009),
    ] {
        assert_eq!(entry.bits(), bits, "{entry:?}");
        assert_eq!(Entry::from_bits(bits), Some(entry));
    }
    for bits in [0x21, 0x1_0000_0001, 0x11, 0x24, 0x14, 0x1_0000_0030] {
        assert_eq!(Entry::from_bits(bits), None, "{bits:#x}");
    }
}

#[test]
fn commands_by_name_are_each_answered_once() {
    let name = |n| TableName {
        volume: VolumeUid([n; 16]),
        object: ObjectPath::ROOT,
    };
    let mut tables = MapTables::default();
    let answers = |tables: &mut MapTables| {
        tables
            .take_answers()
            .map(|(id, o)| (id.0, o))
            .collect::<Vec<_>>()
    };
    let (state, blocking) = (State::Zero, true);
    let clear = Command::SetState {
        range: 0..4,
        state,
        value: false,
        blocking,
    };
    for (id, command) in [
        (1, Command::Delete),
        (2, Command::Get { range: 0..4 }),
        (3, Command::GetState { range: 0..4, state }),
        (
            4,
            Command::Set {
                ranges: vec![],
                blocking,
            },
        ),
        (5, clear.clone()),
    ] {
        tables.apply(Id(id), name(1), command);
        assert_eq!(
            answers(&mut tables),
            [(id, Err(MapError::UnknownTable(name(1))))]
        );
    }
    tables.apply(Id(6), name(1), Command::Create { segments: 4 });
    tables.apply(Id(7), name(1), Command::Create { segments: 9 });
    tables.apply(Id(8), name(1), clear);
    let past = (2..5, Entry::ZERO);
    let ranges = vec![(0..1, run(1)), past];
    tables.apply(Id(9), name(1), Command::Set { ranges, blocking });
    tables.apply(Id(10), name(1), Command::Get { range: 0..4 });
    assert_eq!(
        answers(&mut tables),
        [
            (6, Ok(Response::Done)),
            (7, Err(MapError::TableExists(name(1)))),
            (8, Err(MapError::ReplacementOnly { state })),
            (
                9,
                Err(MapError::OutOfRange {
                    start: 2,
                    end: 5,
                    segments: 4
                })
            ),
            (10, Ok(Response::Entries(vec![(0..4, Entry::INVALID)]))),
        ],
        "and the refused ones changed nothing"
    );
}

#[test]
fn blocking_commands_by_name_and_deletion() {
    let [a, b] = [1, 2].map(|n| TableName {
        volume: VolumeUid([n; 16]),
        object: ObjectPath::ROOT,
    });
    let mut tables = MapTables::default();
    let answers = |tables: &mut MapTables| {
        tables
            .take_answers()
            .map(|(id, o)| (id.0, o))
            .collect::<Vec<_>>()
    };
    for (id, name) in [(1, a), (2, b)] {
        tables.apply(Id(id), name, Command::Create { segments: 4 });
        let ranges = vec![(0..2, run(1)), (2..4, Entry::ZERO)];
        tables.apply(
            Id(id + 2),
            name,
            Command::Set {
                ranges,
                blocking: false,
            },
        );
    }
    assert_eq!(
        answers(&mut tables),
        [1, 3, 2, 4].map(|id| (id, Ok(Response::Done)))
    );
    let ticket = go(tables.get_mut(a).unwrap(), Access::Write, 0);
    let invalid = Command::SetState {
        range: 0..4,
        state: State::Invalid,
        value: true,
        blocking: true,
    };
    tables.apply(Id(5), a, invalid.clone());
    tables.apply(Id(6), b, invalid);
    tables.apply(
        Id(7),
        a,
        Command::GetState {
            range: 0..4,
            state: State::Invalid,
        },
    );
    tables.apply(Id(8), a, Command::Delete);
    let now_due = [
        (7, Ok(Response::Set(std::iter::once(0..4).collect()))),
        (8, Err(MapError::Busy { running: 1 })),
        (6, Ok(Response::Done)),
    ];
    assert_eq!(answers(&mut tables), now_due, "5 holds no other command up");
    let table = tables.get_mut(a).unwrap();
    table.admit(0, Access::Read, 2, 55).unwrap();
    table.end(ticket);
    tables.apply(Id(9), a, Command::Delete);
    assert_eq!(
        answers(&mut tables),
        [5, 9].map(|id| (id, Ok(Response::Done)))
    );
    assert_eq!(
        tables.take_failed().collect::<Vec<_>>(),
        [(55, MapError::UnknownTable(a))]
    );
    assert_eq!(tables.names().collect::<Vec<_>>(), [b]);
}
