//! I/Os that an entry stopped: one fault a segment however many wait, sent again until answered
//! (spec M3).
//!
//! Not here: the entries. Invariants: every token given in comes out of `take_ready` once; a
//! segment has at most one fault; every fault is in `due`.

use super::MapError;
use super::entry::{Access, State};
use smallvec::SmallVec;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;

/// After so many nanoseconds without an end, a fault is sent again.
pub const RESEND_NS: u64 = 2_000_000_000;

/// Names one waiting I/O; the caller chooses it.
pub type Token = u64;

/// Names a fault of one table; the same when the fault is sent again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FaultId(pub u64);

impl FaultId {
    /// The number repeats after 2^32 faults: an answer would have to be that late, and for the
    /// same segment, to be taken for another's.
    fn new(number: u32, segment: u32) -> Self {
        FaultId(u64::from(number) << 32 | u64::from(segment))
    }
    fn segment(self) -> u32 {
        self.0 as u32
    }
}

impl fmt::Display for FaultId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}
impl fmt::Debug for FaultId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// What the controller is told: the operation, the segment and the state that stopped it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// To be named in the answer.
    pub id: FaultId,
    /// What the first I/O wanted.
    pub access: Access,
    /// Of what segment.
    pub segment: u32,
    /// What stopped it.
    pub state: State,
}

struct Waiting {
    fault: Fault,
    due: u64,
    /// Already among those to send.
    queued: bool,
    tokens: SmallVec<[Token; 4]>,
}

/// The waiting I/Os of one table.
#[derive(Default)]
pub struct Faults {
    number: u32,
    waiting: BTreeMap<u32, Waiting>,
    due: BTreeSet<(u64, u32)>,
    unsent: Vec<FaultId>,
    ready: Vec<(Token, Result<(), MapError>)>,
}

impl Faults {
    /// An I/O waits, behind the segment's fault or a new one. `now` in nanoseconds.
    pub fn wait(&mut self, now: u64, access: Access, segment: u32, state: State, token: Token) {
        if let Some(waiting) = self.waiting.get_mut(&segment) {
            return waiting.tokens.push(token);
        }
        self.number = self.number.wrapping_add(1);
        let id = FaultId::new(self.number, segment);
        let due = now.saturating_add(RESEND_NS);
        let fault = Fault {
            id,
            access,
            segment,
            state,
        };
        let tokens = SmallVec::from_slice(&[token]);
        self.waiting.insert(
            segment,
            Waiting {
                fault,
                due,
                queued: true,
                tokens,
            },
        );
        self.due.insert((due, segment));
        self.unsent.push(id);
    }

    /// The fault of this name, while nobody answered it.
    pub fn find(&self, id: FaultId) -> Option<&Fault> {
        self.waiting
            .get(&id.segment())
            .map(|w| &w.fault)
            .filter(|f| f.id == id)
    }

    /// The segments in `range` that have a fault.
    pub fn segments(&self, range: Range<u32>) -> impl Iterator<Item = u32> {
        self.waiting.range(range).map(|(segment, _)| *segment)
    }

    /// The fault is over: those who wait try again, or fail.
    pub fn release(&mut self, segment: u32, outcome: Result<(), MapError>) {
        if let Some(over) = self.waiting.remove(&segment) {
            self.due.remove(&(over.due, segment));
            self.ready
                .extend(over.tokens.into_iter().map(|token| (token, outcome)));
        }
    }

    /// Puts what is due by `now` among the faults to send.
    pub fn resend_due(&mut self, now: u64) {
        let due: Vec<_> = self.due.range(..=(now, u32::MAX)).copied().collect();
        for (old, segment) in due {
            let Some(waiting) = self.waiting.get_mut(&segment) else {
                unreachable!("segment {segment} is due at {old} without a fault");
            };
            waiting.due = now.saturating_add(RESEND_NS);
            self.due.remove(&(old, segment));
            self.due.insert((waiting.due, segment));
            if !waiting.queued {
                waiting.queued = true;
                self.unsent.push(waiting.fault.id);
            }
        }
    }

    /// When the next fault is due.
    pub fn next_wake(&self) -> Option<u64> {
        self.due.first().map(|(due, _)| *due)
    }

    /// Faults to send, new ones and ones to be sent again; none that is over by now.
    pub fn take_unsent(&mut self) -> impl Iterator<Item = Fault> {
        let waiting = &mut self.waiting;
        self.unsent.drain(..).filter_map(move |id| {
            let waiting = waiting
                .get_mut(&id.segment())
                .filter(|w| w.fault.id == id)?;
            waiting.queued = false;
            Some(waiting.fault)
        })
    }

    /// I/Os that no longer wait.
    pub fn take_ready(&mut self) -> impl Iterator<Item = (Token, Result<(), MapError>)> {
        self.ready.drain(..)
    }

    /// How many faults are open.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Bytes held beside this struct, nodes of the trees estimated by their entries.
    pub fn memory(&self) -> usize {
        self.waiting.len() * size_of::<(u32, Waiting, u64, u32)>()
            + self.unsent.capacity() * size_of::<FaultId>()
            + self.ready.capacity() * size_of::<(Token, Result<(), MapError>)>()
    }
}
