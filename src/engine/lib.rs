//! What a volume is: everything between a block-device request and the I/O on the disks.
//!
//! Pure and synchronous: events come in as calls with the time as an argument, effects go out as
//! values ([`io::Effect`]), in an order that the shell keeps. Nothing here knows a clock, a thread,
//! a file or a socket; the simulator runs exactly this code.
//!
//! From the request down:
//! - [`node::Engine`] is the whole of one node: its volumes and its disks.
//! - `volume` and `tree` cut a request into pieces for the leaves: stripe, mirror, concat.
//! - `store` is one disk: it maps the segments of the leaf objects on it, allocates inside the
//!   extents granted to them, and makes metadata durable.
//! - `map` is the mapping table, `format` the bytes on disk.

pub mod check;
pub mod disk;
pub mod format;
pub mod io;
pub mod leaf;
pub mod map;
pub mod node;
pub mod planted;
pub mod store;
pub mod tree;
pub mod volume;
