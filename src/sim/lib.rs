//! x
pub mod content;
pub mod disk;
pub mod model;
pub mod rng;
pub mod volatile;
