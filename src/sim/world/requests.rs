//! The front end: requests, and what their answers must say.

use super::{Volume, World};
use crate::checkers::errors_have_causes::{self, Causes};
use crate::checkers::{Violation, blame, io_is_sane};
use crate::content::Content;
use crate::disk::Data;
use crate::model::Moment;
use crate::system::System;
use crate::world::io::POISON;
use engine::io::{IoError, Now, Op, ReqId};
use std::ops::Range;

/// What the front end asks of a volume; blocks count from its start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Read blocks.
    Read(u16, Range<u64>),
    /// Write blocks; with `true`, durable when answered.
    Write(u16, Range<u64>, bool),
    /// Make durable.
    Flush(u16),
    /// Drop blocks.
    Discard(u16, Range<u64>),
    /// Zero blocks.
    WriteZeroes(u16, Range<u64>),
}

impl Action {
    /// The volume, and the blocks that it touches.
    pub fn target(&self) -> (u16, Range<u64>) {
        match self {
            Action::Read(v, r)
            | Action::Write(v, r, _)
            | Action::Discard(v, r)
            | Action::WriteZeroes(v, r) => (*v, r.clone()),
            Action::Flush(v) => (*v, 0..0),
        }
    }

    /// Whether it changes blocks.
    pub fn changes(&self) -> bool {
        !matches!(self, Action::Read(..) | Action::Flush(..))
    }
}

/// A request that was not answered yet.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub action: Action,
    pub issued: Moment,
    pub data: Data,
    /// When it was issued.
    at: Now,
    /// The process that got it last.
    pub life: u32,
    /// It may have been done in part though its answer says that nothing was: an earlier process
    /// began it, or a discard beside it took the space that it had reserved.
    in_part: bool,
}

impl Request {
    fn op(&self) -> Op {
        let at = |r: &Range<u64>| (r.start * layout::BLOCK, (r.end - r.start) * layout::BLOCK);
        match &self.action {
            Action::Read(_, r) => Op::Read {
                off: at(r).0,
                len: at(r).1 as u32,
            },
            Action::Write(_, r, fua) => Op::Write {
                off: at(r).0,
                len: at(r).1 as u32,
                fua: *fua,
            },
            Action::Flush(_) => Op::Flush,
            Action::Discard(_, r) => Op::Discard {
                off: at(r).0,
                len: at(r).1,
            },
            Action::WriteZeroes(_, r) => Op::WriteZeroes {
                off: at(r).0,
                len: at(r).1,
            },
        }
    }
}

impl<S: System> World<S> {
    /// Requests that were not answered yet.
    pub fn in_flight(&self) -> usize {
        self.requests.len()
    }

    /// Whether a request that changes or reads what this one changes is in flight.
    pub fn collides(&self, action: &Action) -> bool {
        let (volume, range) = action.target();
        self.requests.values().any(|r| {
            let (v, other) = r.action.target();
            let meet = v == volume && other.start < range.end && range.start < other.end;
            meet && (action.changes() || r.action.changes())
        })
    }

    /// Sends a request.
    ///
    /// # Errors
    /// A broken invariant.
    ///
    /// # Panics
    /// Where the volume does not exist.
    pub fn submit(&mut self, action: Action) -> Result<(), Violation> {
        let (volume, range) = action.target();
        let Some(v) = self.volumes.get_mut(&volume) else {
            unreachable!("requests go to volumes that exist");
        };
        let count = (range.end - range.start) as usize;
        let (issued, data) = match &action {
            Action::Read(..) => {
                let empty = std::iter::repeat_n(Content::from(POISON), count);
                (v.model.start_read(range), empty.collect())
            }
            Action::Write(..) => {
                let version = v.model.version();
                let stamps = range.clone().map(|b| v.model.stamp(b, version).into());
                let data = stamps.collect();
                (v.model.start_write(range, version), data)
            }
            Action::Flush(_) => (v.model.start_flush(), Data::new()),
            Action::Discard(..) | Action::WriteZeroes(..) => {
                (v.model.start_write(range, 0), Data::new())
            }
        };
        self.next_request += 1;
        let (req, at, life) = (ReqId(self.next_request), self.now, self.life);
        let in_part = self.meet(&action);
        self.requests.insert(
            req,
            Request {
                action,
                issued,
                data,
                at,
                life,
                in_part,
            },
        );
        self.send_request(req)
    }

    /// Notes which writes and discards of a volume are in flight together.
    fn meet(&mut self, action: &Action) -> bool {
        let discards = |a: &Action| matches!(a, Action::Discard(..) | Action::WriteZeroes(..));
        let mut beside = false;
        for other in self.requests.values_mut() {
            if other.action.target().0 == action.target().0 {
                other.in_part |= discards(action);
                beside |= discards(&other.action);
            }
        }
        beside
    }

    /// Hands a request to the engine, for the first time or again.
    pub(super) fn send_request(&mut self, req: ReqId) -> Result<(), Violation> {
        let Some(request) = self.requests.get_mut(&req) else {
            return Ok(());
        };
        // What an earlier process did of it stays done.
        request.in_part |= request.life != self.life;
        request.life = self.life;
        self.log
            .note(self.now, "request", [req.0, request.issued], || {
                format!("{req:?} {:?}", request.action)
            });
        let id = self.volumes[&request.action.target().0].id;
        let mut out = std::mem::take(&mut self.effects);
        if let Some(system) = &mut self.system {
            system.request(self.now, req, id, request.op(), &mut out);
        }
        self.execute(out)
    }

    pub(super) fn reply(
        &mut self,
        req: ReqId,
        result: Result<(), IoError>,
    ) -> Result<(), Violation> {
        let failed = u64::from(result.is_err());
        self.log.note(self.now, "reply", [req.0, failed], || {
            format!("{req:?} {result:?}")
        });
        let Some(request) = self.requests.remove(&req) else {
            return io_is_sane::check(false, || format!("{req:?} is answered, not being open"));
        };
        let (id, range) = request.action.target();
        self.answered_at = self.now;
        let Some(volume) = self.volumes.get_mut(&id) else {
            unreachable!("a volume outlives its requests");
        };
        self.coverage.hit(name(&request.action, result));
        match result {
            Ok(()) => settle(volume, &request, range),
            Err(error) => {
                let m = &mut volume.model;
                match request.action {
                    Action::Read(..) => m.drop_read(request.issued),
                    Action::Flush(_) => {}
                    _ => {
                        let in_part = request.in_part || self.operator.is_cut(id);
                        let nothing = error == IoError::NoSpace && !in_part;
                        m.fail_write(range, request.issued, nothing);
                    }
                }
                let what = format!("{:?}", request.action);
                let causes = Causes {
                    disk_failed: volume.broken
                        || self
                            .operator
                            .depends(id, |uid| self.operator.is_among(uid, &self.failed)),
                    refused: volume.refused_at >= request.at,
                };
                errors_have_causes::check(error, causes, &what)
            }
        }?;
        self.detach_if_idle(id);
        Ok(())
    }

    /// Sends again what a volume's earlier process did not answer, in any order.
    pub(super) fn send_again(&mut self, volume: u16) -> Result<(), Violation> {
        let ours = |r: &Request| r.action.target().0 == volume && r.life != self.life;
        let open = self
            .requests
            .iter()
            .filter(|(_, r)| ours(r))
            .map(|(req, _)| *req);
        let mut open: Vec<ReqId> = open.collect();
        self.rng.shuffle(&mut open);
        let life = self.life;
        for req in open {
            self.send_request(req)?;
            if self.life != life {
                break;
            }
        }
        Ok(())
    }
}

fn settle(volume: &mut Volume, request: &Request, range: Range<u64>) -> Result<(), Violation> {
    let m = &mut volume.model;
    match &request.action {
        Action::Read(id, _) => m
            .check_read(request.issued, &request.data)
            .map_err(|wrong| blame(&format!("volume {id}"), &wrong, volume.loss)),
        Action::Write(_, _, fua) => {
            m.end_write(range, request.issued, *fua);
            Ok(())
        }
        Action::Flush(_) => {
            m.end_flush(request.issued);
            Ok(())
        }
        Action::Discard(..) | Action::WriteZeroes(..) => {
            m.end_write(range, request.issued, false);
            Ok(())
        }
    }
}

fn name(action: &Action, result: Result<(), IoError>) -> &'static str {
    match (action, result) {
        (_, Err(IoError::NoSpace)) => "answer: no space",
        (_, Err(_)) => "answer: error",
        (Action::Read(..), _) => "answer: read",
        (Action::Write(_, _, false), _) => "answer: write",
        (Action::Write(_, _, true), _) => "answer: write with fua",
        (Action::Flush(_), _) => "answer: flush",
        (Action::Discard(..), _) => "answer: discard",
        (Action::WriteZeroes(..), _) => "answer: write zeroes",
    }
}
