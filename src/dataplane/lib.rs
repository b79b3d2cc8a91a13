//! The data path of a node: three small programs that together carry every volume, and outlive
//! their own death.
//!
//! - [`keeper`] holds what the kernel ties to a process: the FUSE connections, the loop devices,
//!   and the volatile logs. It does nothing else.
//! - [`parent`] starts the I/O process again when it dies, kills it when it hangs, replaces it in
//!   an upgrade.
//! - [`run`] is the I/O process: one thread, one io_uring, all volumes and disks of the node around
//!   one [`engine`]. Killed at any instruction, its successor goes on where it was: the application
//!   sees a pause, no error.
//! - [`looped`] is a short-lived helper that sets up and takes away loop devices, which may wait
//!   for a server.
//!
//! Linux only.

pub mod attached;
pub mod disk;
pub mod front;
pub mod fuse;
pub mod keeper;
pub mod looped;
pub mod machine;
pub mod parent;
pub mod ring;
pub mod run;
pub mod server;
pub mod socket;
mod sys;
pub mod volatile_log;
