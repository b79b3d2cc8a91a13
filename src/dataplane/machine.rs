//! What decides: the engine, seen from the event loop.

use engine::io::{Completion, Effects, IoId, Now, Op, ReqId, VolumeId};

/// A state machine that turns requests into I/O. The event loop knows no more of the engine than
/// this, so that the plumbing is tested with something simpler.
pub trait Machine {
    /// A request arrived. Its buffer stays where it is until the reply.
    fn submit(&mut self, now: Now, volume: VolumeId, req: ReqId, op: Op, out: &mut Effects);
    /// An I/O that it asked for ended.
    fn complete(&mut self, now: Now, id: IoId, how: Completion<'_>, out: &mut Effects);
    /// The time that [`Machine::next_wake`] named has come.
    fn tick(&mut self, now: Now, out: &mut Effects);
    /// When it wants to be called without any event; `None`: not at all. An idle node sleeps.
    fn next_wake(&self) -> Option<Now>;
}
