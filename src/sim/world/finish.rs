//! The end of every seed: nothing fails any more, everything is answered, flushed, read back, and
//! survives one more power cut; and all space comes back.

use super::{Action, Fate, World};
use crate::checkers::{Violation, converges_after_heal, space_is_conserved};
use crate::swarm::{Fault, Grants};
use crate::system::System;
use engine::io::Now;

/// Longer than this nothing may take: several rounds of unanswered faults sent again.
const PATIENCE: Now = 120_000_000_000;

impl<S: System> World<S> {
    /// Heals everything, then looks at everything.
    ///
    /// # Errors
    /// A broken invariant.
    pub fn finish(&mut self) -> Result<(), Violation> {
        self.trap = None;
        self.strikes.fill(None);
        self.swarm.grants = Grants::Prompt;
        self.swarm.cut_recovery = 0;
        for drive in &mut self.drives {
            drive.disk.heal();
        }
        self.drain()?;
        for volume in self.settled() {
            self.submit(Action::Flush(volume))?;
        }
        self.drain()?;
        self.read_back();
        self.drain()?;
        self.crash(Fault::PowerCut)?;
        self.read_back();
        self.drain()?;
        for volume in self.settled() {
            let blocks = self.volumes[&volume].model.len();
            self.submit(Action::Discard(volume, 0..blocks))?;
            self.drain()?;
            self.submit(Action::Flush(volume))?;
        }
        self.drain()?;
        self.read_back();
        self.drain()?;
        self.check_space()
    }

    fn settled(&self) -> Vec<u16> {
        self.volumes.keys().copied().collect()
    }

    /// Wants every block of every volume to be read, before anything else is drawn.
    pub(super) fn read_back(&mut self) {
        let step = u64::from(self.swarm.geometry.segment_blocks) * 2;
        self.wanted.clear();
        for (number, volume) in &self.volumes {
            let blocks = volume.model.len();
            for first in (0..blocks).step_by(step as usize) {
                let range = first..blocks.min(first + step);
                self.wanted.push_back(Action::Read(*number, range));
            }
        }
    }

    /// Sends a wanted request, if there is one that can be sent.
    ///
    /// # Errors
    /// A broken invariant.
    pub(crate) fn send_wanted(&mut self) -> Result<bool, Violation> {
        while let Some(action) = self.wanted.pop_front() {
            match self.volumes.get(&action.target().0) {
                Some(v) if v.served && v.fate == Fate::Stay => {
                    self.submit(action)?;
                    return Ok(true);
                }
                Some(v) if v.fate == Fate::Stay => {
                    self.wanted.push_front(action);
                    return Ok(false);
                }
                _ => {}
            }
        }
        Ok(false)
    }

    /// Waits until everything is answered.
    fn drain(&mut self) -> Result<(), Violation> {
        loop {
            while self.requests.len() < 8 && self.send_wanted()? {}
            let served = |v: &super::Volume| v.served && v.fate == Fate::Stay;
            let quiet = self.requests.is_empty() && self.commands.is_empty();
            let whole = self.system.as_ref().is_some_and(S::is_whole);
            let well = (whole || self.lacks_space()) && !self.waits_for_repair();
            let still = self.ios.is_empty() && self.wanted.is_empty();
            if quiet && well && still && self.volumes.values().all(served) {
                return Ok(());
            }
            self.step()?;
        }
    }

    /// Whether a copy may stay stale because its disk is full: long after the last answer.
    fn lacks_space(&self) -> bool {
        self.operator.is_full() && self.now > self.answered_at + PATIENCE / 2
    }

    /// Something is answered now and then while something waits.
    pub(super) fn check_progress(&self) -> Result<(), Violation> {
        // While nobody asks for anything, only a drain waits.
        if self.now < self.answered_at + PATIENCE {
            return Ok(());
        }
        let requests = self
            .requests
            .iter()
            .map(|(req, r)| format!("{req:?} {:?}", r.action));
        let commands = self.commands.iter().map(|(id, c)| format!("{id:?} {c:?}"));
        let whole = self.system.as_ref().is_some_and(S::is_whole);
        let copies =
            (!whole && !self.lacks_space()).then(|| "a copy that does not count yet".to_owned());
        let away = self
            .volumes
            .iter()
            .filter(|(_, v)| !v.served || v.fate != Fate::Stay);
        let away = away.map(|(number, v)| format!("volume {number}, to {:?}", v.fate));
        let waiting: Vec<_> = requests.chain(commands).chain(copies).chain(away).collect();
        converges_after_heal::check(&waiting)
    }

    fn check_space(&mut self) -> Result<(), Violation> {
        if !self.system.as_ref().is_some_and(S::is_whole) {
            // A copy that does not count was not told of the discards.
            return Ok(());
        }
        let usage = self.system.as_ref().map(S::usage).unwrap_or_default();
        for (volume, used) in usage {
            space_is_conserved::check(&format!("volume {volume}"), used, 0)?;
        }
        Ok(())
    }
}
