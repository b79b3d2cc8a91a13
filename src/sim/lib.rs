//! The simulator: the engine in a world of virtual time, where one seed decides everything that
//! happens, and everything that may happen does.
//!
//! - [`world::World`] runs the engine's effects on [`disk::SimDisk`]s that lose, reorder and tear
//!   what was not flushed, and on [`volatile::VolatileLog`]s that outlive the process only.
//! - [`workload`] and [`swarm`] choose what is asked and what fails.
//! - [`model`] knows which content is legal; [`checkers`] name the promises.
//! - [`run::run`] is one seed; the program `sim` runs many, and replays one.
//!
//! Test-only: nothing of the product depends on it.

pub mod batch;
pub mod checkers;
pub mod content;
pub mod coverage;
pub mod disk;
pub mod event_log;
pub mod model;
pub mod node;
pub mod one_disk;
pub mod rng;
pub mod run;
pub mod swarm;
pub mod system;
pub mod volatile;
pub mod workload;
pub mod world;
