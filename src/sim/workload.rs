//! What the front end and the operator do next: weighted, with hot spots, whole segments, ranges
//! that overlap what is in flight.

use crate::rng::Rng;
use crate::swarm::Swarm;
use crate::system::System;
use crate::world::{Action, World};
use std::ops::Range;

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A request.
    Request(Action),
    /// A volume grows.
    Grow(u16),
    /// One more volume.
    Create,
    /// A volume goes.
    Delete(u16),
    /// A volume is detached and attached again.
    Reattach(u16),
}

/// Draws steps.
#[derive(Debug)]
pub struct Workload {
    rng: Rng,
    weights: [u32; 9],
}

impl Workload {
    /// The workload of a seed.
    pub fn new(rng: &Rng, swarm: &Swarm) -> Self {
        Workload {
            rng: rng.fork("workload"),
            weights: swarm.weights.list(),
        }
    }

    /// The next step; `None` where what was drawn cannot be done now.
    pub fn draw<S: System>(&mut self, world: &World<S>) -> Option<Step> {
        let served = world.served();
        if served.is_empty() {
            return world.volumes.is_empty().then_some(Step::Create);
        }
        let volume = served[self.rng.index(served.len())];
        let kind = self.rng.weighted(&self.weights);
        let blocks = world.volumes[&volume].model.len();
        let action = match kind {
            0 => Action::Read(volume, self.range(blocks, &world.swarm)),
            1 => Action::Write(volume, self.range(blocks, &world.swarm), false),
            2 => Action::Write(volume, self.range(blocks, &world.swarm), true),
            3 => Action::Flush(volume),
            4 => Action::Discard(volume, self.large_range(blocks, &world.swarm)),
            5 => Action::WriteZeroes(volume, self.range(blocks, &world.swarm)),
            6 => return Some(Step::Grow(volume)),
            7 if world.volumes.len() < world.swarm.volumes => return Some(Step::Create),
            7 => return Some(Step::Delete(volume)),
            _ => return Some(Step::Reattach(volume)),
        };
        if !world.swarm.overlap && world.collides(&action) {
            return None;
        }
        Some(Step::Request(action))
    }

    fn range(&mut self, blocks: u64, swarm: &Swarm) -> Range<u64> {
        let segment = u64::from(swarm.geometry.segment_blocks);
        if self.rng.chance(1, 8) {
            let first = self.rng.below(blocks.div_ceil(segment)) * segment;
            return first..blocks.min(first + segment);
        }
        let hot = self.rng.chance(swarm.hot, 100);
        let first = self.rng.below(if hot { blocks.min(12) } else { blocks });
        let count = self.rng.range(1, swarm.reach);
        first..blocks.min(first + count)
    }

    fn large_range(&mut self, blocks: u64, swarm: &Swarm) -> Range<u64> {
        if self.rng.chance(1, 20) {
            return 0..blocks;
        }
        let range = self.range(blocks, swarm);
        let more = self.rng.below(3) * u64::from(swarm.geometry.segment_blocks);
        range.start..blocks.min(range.end + more)
    }
}
