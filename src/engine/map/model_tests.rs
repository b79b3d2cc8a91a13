//! Random operations on a table and on a naive one that shares no code with it; after each of them
//! both must agree on everything that can be asked.

use super::*;
use crate::io::CommandId;
use layout::Epoch;
use std::collections::{BTreeMap, BTreeSet};

/// The numbers of one seed (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    fn below(&mut self, n: u32) -> u32 {
        (self.next() % u64::from(n)) as u32
    }
}

/// What the model says of a segment; absent: invalid and nothing else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Naive {
    invalid: bool,
    no_write: bool,
    zero: bool,
    error: bool,
    place: Option<(u32, bool)>,
    birth: u32,
}

impl Naive {
    const INVALID: Naive = Naive {
        invalid: true,
        no_write: false,
        zero: false,
        error: false,
        place: None,
        birth: 0,
    };

    fn of(entry: Entry) -> Naive {
        let States {
            invalid,
            no_write,
            zero,
            error,
        } = entry.states();
        let place = entry.location().map(|at| (at, entry.is_paged()));
        Naive {
            invalid,
            no_write,
            zero,
            error,
            place,
            birth: entry.birth().0,
        }
    }
    fn entry(self) -> Entry {
        let mut entry = match self.place {
            _ if self.invalid => Entry::INVALID,
            _ if self.zero => Entry::zero(Epoch(self.birth)),
            Some((at, true)) => Entry::paged(at),
            Some((at, false)) => Entry::run(at, Epoch(self.birth)),
            None => panic!("{self:?} has no place"),
        };
        if self.no_write {
            entry = entry.with_no_write();
        }
        if self.error {
            entry = entry.with_error();
        }
        entry
    }
    fn moved(self, by: u32) -> Naive {
        Naive {
            place: self.place.map(|(at, paged)| (at + by, paged)),
            ..self
        }
    }
    fn set(&mut self, state: State, value: bool) {
        match state {
            State::Invalid => *self = Naive::INVALID,
            State::NoWrite => self.no_write = value,
            State::Zero => (self.zero, self.place) = (true, None),
            State::Error => self.error = true,
        }
    }
    fn stops(&self, access: Access) -> Option<State> {
        let write = access == Access::Write;
        let tests = [
            (self.error, State::Error),
            (self.invalid, State::Invalid),
            (self.zero && write, State::Zero),
            (self.no_write && write, State::NoWrite),
        ];
        tests
            .into_iter()
            .find(|(is, _)| *is)
            .map(|(_, state)| state)
    }
}

#[derive(Default)]
struct Model {
    segments: u32,
    entries: BTreeMap<u32, Naive>,
    waiting: BTreeMap<u32, Vec<Token>>,
    ready: BTreeSet<(Token, bool)>,
    running: BTreeMap<u64, Ticket>,
    blocked: Vec<(CommandId, BTreeSet<u64>)>,
    drained: Vec<CommandId>,
}

impl Model {
    fn get(&self, segment: u32) -> Naive {
        self.entries
            .get(&segment)
            .copied()
            .unwrap_or(Naive::INVALID)
    }
    fn put(&mut self, segment: u32, entry: Naive) {
        if self.get(segment) != entry {
            let freed = self.waiting.remove(&segment).unwrap_or_default();
            self.ready
                .extend(freed.into_iter().map(|token| (token, true)));
        }
        self.entries.insert(segment, entry);
    }
    fn block(&mut self, command: Option<CommandId>) {
        if let Some(id) = command {
            self.blocked
                .push((id, self.running.keys().copied().collect()));
        }
        self.drain();
    }
    fn drain(&mut self) {
        let running = &self.running;
        self.blocked.retain(|(id, older)| {
            let wait = older.iter().any(|io| running.contains_key(io));
            if !wait {
                self.drained.push(*id);
            }
            wait
        });
    }
    fn ranges(&self, range: Range<u32>) -> Vec<(Range<u32>, Naive)> {
        let mut out: Vec<(Range<u32>, Naive)> = Vec::new();
        for segment in range {
            let entry = self.get(segment);
            match out.last_mut() {
                Some((r, first)) if first.moved(segment - r.start) == entry => r.end += 1,
                _ => out.push((segment..segment + 1, entry)),
            }
        }
        out
    }
}

/// One seed: the table, its model, and what is known from outside.
struct Run {
    random: Random,
    table: MapTable,
    model: Model,
    open: BTreeMap<FaultId, u32>,
    now: u64,
    next: u64,
    seen: BTreeMap<String, u64>,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let segments = 1 + random.below(3 * chunks::CHUNK);
        let model = Model {
            segments,
            ..Model::default()
        };
        let table = MapTable::new(segments);
        let (open, seen) = (BTreeMap::new(), BTreeMap::new());
        Run {
            random,
            table,
            model,
            open,
            now: 0,
            next: 0,
            seen,
        }
    }

    /// Mostly short ranges around few places, so that operations meet; sometimes whole chunks.
    fn range(&mut self) -> Range<u32> {
        let segments = self.model.segments;
        let start = match self.random.below(4) {
            0 => self.random.below(segments),
            1 => self.random.below(segments / chunks::CHUNK + 1) * chunks::CHUNK,
            _ => self.random.below(segments.min(24)),
        };
        let len = match self.random.below(8) {
            0 => segments,
            1 => chunks::CHUNK,
            2 => 0,
            _ => 1 + self.random.below(12),
        };
        let start = start.min(segments - 1);
        start..(start + len).min(segments)
    }

    fn entry(&mut self) -> Naive {
        let r = &mut self.random;
        let (at, birth) = (r.below(1000), r.below(3));
        let place = Some((at, false));
        let mut entry = match r.below(5) {
            0 => Naive::INVALID,
            1 => Naive {
                zero: true,
                birth,
                ..Naive::default()
            },
            2 => Naive {
                place: Some((at, true)),
                ..Naive::default()
            },
            _ => Naive {
                place,
                birth,
                ..Naive::default()
            },
        };
        entry.no_write = r.below(4) == 0;
        entry.error = r.below(12) == 0;
        entry
    }

    fn blocking(&mut self) -> Option<CommandId> {
        self.next += 1;
        (self.random.below(2) == 0).then_some(CommandId(self.next))
    }

    fn saw(&mut self, what: impl Into<String>) {
        *self.seen.entry(what.into()).or_default() += 1;
    }

    fn step(&mut self) {
        self.now += u64::from(self.random.below(1 << 28));
        match self.random.below(20) {
            0..8 => self.admit(),
            8..11 => self.end(),
            11..13 => self.set_range(),
            13..15 => self.set_state(),
            15..18 => self.answer(),
            18 => self.resend(),
            _ => self.resize(),
        }
        self.agree();
    }

    fn admit(&mut self) {
        let segment = self.range().start;
        let access = if self.random.below(2) == 0 {
            Access::Read
        } else {
            Access::Write
        };
        self.next += 1;
        let (token, before) = (self.next, self.model.get(segment));
        let got = self.table.admit(self.now, access, segment, token);
        let stopped = before.stops(access);
        match stopped {
            None => match got {
                Ok(Admit::Go { entry, ticket }) => {
                    assert_eq!(Naive::of(entry), before);
                    self.model.running.insert(token, ticket);
                }
                other => panic!("{access} of {before:?}: {other:?}"),
            },
            Some(State::Error) => assert_eq!(got, Err(MapError::ErrorState { segment })),
            Some(state) => {
                assert_eq!(got, Ok(Admit::Wait));
                let waiting = self.model.waiting.entry(segment).or_default();
                waiting.push(token);
                let news: Vec<_> = self.table.take_faults().collect();
                assert_eq!(
                    news.len(),
                    usize::from(waiting.len() == 1),
                    "one fault a segment"
                );
                for fault in news {
                    assert_eq!(
                        (fault.segment, fault.state, fault.access),
                        (segment, state, access)
                    );
                    assert_eq!(self.open.insert(fault.id, segment), None, "a new name");
                }
            }
        }
        self.saw(format!(
            "{access} stopped by {}",
            stopped.map_or("none".into(), |s| s.to_string())
        ));
    }

    fn end(&mut self) {
        let n = self.random.below(8) as usize;
        let io = self.model.running.keys().copied().nth(n);
        if let Some(ticket) = io.and_then(|io| self.model.running.remove(&io)) {
            self.table.end(ticket);
            self.model.drain();
            self.saw("end");
        }
    }

    fn set_range(&mut self) {
        let (range, first, blocking) = (self.range(), self.entry(), self.blocking());
        self.table
            .set_range(range.clone(), first.entry(), blocking)
            .unwrap();
        for segment in range.clone() {
            self.model.put(segment, first.moved(segment - range.start));
        }
        self.model.block(blocking);
        self.saw("set range");
    }

    fn set_state(&mut self) {
        let (range, blocking) = (self.range(), self.blocking());
        let state = State::ALL[self.random.below(4) as usize];
        let value = self.random.below(3) != 0;
        let got = self.table.set_state(range.clone(), state, value, blocking);
        if !value && state != State::NoWrite {
            assert_eq!(got, Err(MapError::ReplacementOnly { state }));
            return self.saw(format!("{state} not cleared"));
        }
        got.unwrap();
        for segment in range {
            let mut entry = self.model.get(segment);
            entry.set(state, value);
            self.model.put(segment, entry);
        }
        self.model.block(blocking);
        self.saw(format!("{state} = {value}"));
    }

    fn answer(&mut self) {
        let n = self.random.below(6) as usize;
        let Some((id, segment)) = self.open.iter().map(|(id, s)| (*id, *s)).nth(n) else {
            return;
        };
        let answer = match self.random.below(6) {
            0 => Answer::Wait,
            1 => Answer::Error,
            _ => Answer::Replace(self.entry().entry()),
        };
        let got = self.table.answer(id, answer);
        if !self.model.waiting.contains_key(&segment) || self.newest(segment) != Some(id) {
            assert_eq!(got, Err(MapError::NoSuchFault { id }));
            self.open.remove(&id);
            return self.saw("late answer");
        }
        got.unwrap();
        let mut entry = self.model.get(segment);
        let retried = match answer {
            Answer::Wait => return self.saw("answer wait"),
            Answer::Error => {
                entry.error = true;
                false
            }
            Answer::Replace(new) => {
                entry = Naive::of(new);
                true
            }
        };
        let freed = self.model.waiting.remove(&segment).unwrap();
        self.model
            .ready
            .extend(freed.into_iter().map(|token| (token, retried)));
        self.model.put(segment, entry);
        self.open.remove(&id);
        self.saw(if retried {
            "answer replace"
        } else {
            "answer error"
        });
    }

    fn newest(&self, segment: u32) -> Option<FaultId> {
        self.open
            .iter()
            .filter(|(_, s)| **s == segment)
            .map(|(id, _)| *id)
            .max()
    }

    fn resend(&mut self) {
        let due = self.table.next_wake().filter(|due| *due <= self.now);
        self.table.resend_due(self.now);
        let again: Vec<_> = self.table.take_faults().collect();
        assert_eq!(due.is_some(), !again.is_empty());
        for fault in again {
            assert_eq!(
                self.open.get(&fault.id),
                Some(&fault.segment),
                "the same name"
            );
            assert!(self.model.waiting.contains_key(&fault.segment));
            self.saw("sent again");
        }
        assert!(self.table.next_wake().is_none_or(|due| due > self.now));
    }

    fn resize(&mut self) {
        let old = self.model.segments;
        let new = match self.random.below(3) {
            0 => old + self.random.below(200),
            1 => old - self.random.below(old.min(50)),
            _ => 1 + self.random.below(3 * chunks::CHUNK),
        };
        let mapped = (new..old).find(|segment| !self.model.get(*segment).invalid);
        let got = self.table.resize(new);
        if let Some(segment) = mapped {
            assert_eq!(got, Err(MapError::StillMapped { segment }));
            return self.saw("not shrunk");
        }
        got.unwrap();
        self.model.segments = new;
        self.model.entries.split_off(&new);
        for token in self.model.waiting.split_off(&new).into_values().flatten() {
            self.model.ready.insert((token, false));
        }
        self.saw(if new > old { "grown" } else { "shrunk" });
    }

    fn agree(&mut self) {
        let model = &mut self.model;
        assert_eq!(self.table.segments(), model.segments);
        assert_eq!(self.table.open_faults(), model.waiting.len());
        assert_eq!(self.table.next_wake().is_some(), !model.waiting.is_empty());
        assert_eq!(self.table.running(), model.running.len() as u64);
        let ready: BTreeSet<_> = self
            .table
            .take_ready()
            .map(|(t, r)| (t, r.is_ok()))
            .collect();
        assert_eq!(ready, std::mem::take(&mut model.ready));
        let drained: Vec<_> = self.table.take_drained().collect();
        assert_eq!(drained, std::mem::take(&mut model.drained));
        let segment = self.random.below(model.segments);
        assert_eq!(Naive::of(self.table.get(segment)), model.get(segment));
        let wide = if self.random.below(50) == 0 {
            0..self.model.segments
        } else {
            self.range()
        };
        let got: Vec<_> = self.table.get_ranges(wide.clone()).into_iter().collect();
        let got: Vec<_> = got.into_iter().map(|(r, e)| (r, Naive::of(e))).collect();
        assert_eq!(got, self.model.ranges(wide));
    }
}

#[test]
fn agrees_with_a_naive_table() {
    let one = std::env::var("MAP_SEED")
        .ok()
        .map(|seed| seed.parse::<u64>().unwrap());
    let seeds = one.map_or(0..50, |seed| seed..seed + 1);
    let mut seen: BTreeMap<String, u64> = BTreeMap::new();
    for seed in seeds.clone() {
        println!("seed {seed}; again: MAP_SEED={seed} cargo test --release -p engine naive_table");
        let mut run = Run::new(seed);
        (0..1000).for_each(|_| run.step());
        run.seen
            .into_iter()
            .for_each(|(what, n)| *seen.entry(what).or_default() += n);
    }
    println!("{seen:#?}");
    // Every way that an operation can go must have come up.
    assert!(one.is_some() || seen.len() == 26, "{} ways", seen.len());
}
