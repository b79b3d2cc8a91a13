//! Real processes on real kernel interfaces, judged from outside: what an application sees when the
//! data plane is killed, upgraded or loses power, what judges that nobody here wrote say, and how
//! fast it is beside its peers.
//!
//! Not here: what is decided; that runs in the simulator. Needs root, Linux, /dev/fuse and loop
//! devices. Invariant: a run leaves nothing behind ([`scratch`]), and prints the seed that repeats
//! its choices.

pub mod bench;
pub mod command;
pub mod common;
pub mod direct;
pub mod filesystem;
pub mod fio;
pub mod fresh;
pub mod judges;
pub mod looped;
pub mod mounts;
pub mod node;
pub mod powercut;
pub mod prober;
pub mod random;
pub mod scratch;
pub mod stamps;
pub mod statistics;
pub mod survive;
pub mod sys;
pub mod usage;
