//! One seed from beginning to end.

use crate::checkers::Violation;
use crate::coverage::Coverage;
use crate::event_log::EventLog;
use crate::node::Node;
use crate::one_disk::OneDisk;
use crate::rng::Rng;
use crate::swarm::Swarm;
use crate::system::System;
use crate::workload::Workload;
use crate::world::World;
use engine::planted::Bug;

/// What is to be run.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The seed.
    pub seed: u64,
    /// Operations, at least.
    pub operations: u64,
    /// The planted bug, if any.
    pub bug: Option<Bug>,
    /// Print the log.
    pub print: bool,
    /// Stop after so many steps of the log.
    pub until: Option<u64>,
    /// Disks; the seed decides where nothing is said.
    pub disks: Option<u16>,
}

/// Runs a seed: on the store of one disk, or on a node with several.
pub fn run(plan: Plan) -> Outcome {
    let disks = match plan.disks {
        Some(disks) => disks,
        None => [1, 2, 2, 3][Rng::new(plan.seed).fork("disks").index(4)],
    };
    match disks {
        0 | 1 => run_on::<OneDisk>(plan, 1),
        more => run_on::<Node>(plan, more),
    }
}

/// How a seed ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The hash of its log.
    pub hash: u64,
    /// Steps of its log.
    pub steps: u64,
    /// What it went through.
    pub coverage: Coverage,
    /// The first broken invariant.
    pub violation: Option<Violation>,
}

/// Runs a seed on a system with so many disks.
pub fn run_on<S: System>(plan: Plan, disks: u16) -> Outcome {
    let rng = Rng::new(plan.seed);
    let swarm = Swarm::choose(&mut rng.fork("swarm"), plan.operations);
    let log = match plan.print {
        true => EventLog::printing(),
        false => EventLog::default(),
    };
    if plan.print {
        println!("{swarm:#?}");
    }
    let mut world = match World::<S>::new(&rng, swarm, disks, plan.bug, log) {
        Ok(world) => world,
        Err(violation) => {
            return Outcome {
                hash: 0,
                steps: 0,
                coverage: Coverage::default(),
                violation: Some(violation),
            };
        }
    };
    let mut workload = Workload::new(&rng, &world.swarm);
    let violation = drive(&mut world, &mut workload, plan).err();
    world.collect();
    Outcome {
        hash: world.log().hash(),
        steps: world.log().steps(),
        coverage: world.coverage().clone(),
        violation,
    }
}

fn drive<S: System>(
    world: &mut World<S>,
    workload: &mut Workload,
    plan: Plan,
) -> Result<(), Violation> {
    let mut faults = world.swarm.faults.clone().into_iter().peekable();
    let mut done = 0;
    while done < plan.operations {
        if plan.until.is_some_and(|until| world.log().steps() >= until) {
            return Ok(());
        }
        while let Some((_, fault)) = faults.next_if(|(at, _)| *at <= done) {
            world.plan(fault);
        }
        if world.has_room() && world.send_wanted()? {
            continue;
        }
        if world.waits_for_repair() {
            world.step()?;
        }
        let step = match world.has_room() {
            true => workload.draw(world),
            false => None,
        };
        match step {
            Some(step) => {
                done += 1;
                world.take(step)?;
            }
            None => world.step()?,
        }
    }
    world.finish()
}
