//! The subcommands, one a file: its arguments, and `run`, which prints to `out` and gives the exit
//! code. An error is for those who read, with what was asked for and why it was not done.

pub mod demo;
pub mod format;
pub mod inspect;
pub mod node;
pub mod plan;
pub mod verify;
