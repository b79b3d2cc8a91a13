//! The protocol over the data plane's control socket: what the agent, the demo and the tools say to
//! the process that carries the I/O, and what it says by itself.
//!
//! Not here: carrying anything out, and the keeper's protocol, which is frozen and lies with the
//! keeper. From the bytes up:
//! - [`frame`]: frames on a byte stream, checksummed, each naming its version.
//! - [`message`]: a frame's content: a [`Request`], a [`Reply`] or an [`Event`].
//! - [`term`]: of two leaders the older is refused (spec A9).
//! - [`client`]: one end of the socket, blocking, with time limits.
//!
//! A conversation: the client says [`Request::Hello`] first; every request gets exactly one reply
//! with its number, not always in order, for a command with the blocking flag is answered
//! late (spec M5); after [`Request::Subscribe`] events come in between. Whoever reads what is no
//! frame, or a newer version's, says so in a last reply with number 0 and closes the connection.

pub mod client;
#[cfg(test)]
mod client_tests;
pub mod event;
pub mod failure;
pub mod frame;
pub mod map;
#[cfg(test)]
mod map_tests;
pub mod message;
pub mod request;
pub mod response;
#[cfg(test)]
mod samples;
pub mod status;
pub mod term;
#[cfg(test)]
mod tests;

pub use client::{Client, ClientError};
pub use event::Event;
pub use failure::{Failure, FailureKind};
pub use frame::{Frame, FrameError, FrameReader};
pub use map::{MapCommand, MapEntry, MapRange};
pub use message::{Body, Message, MessageError};
pub use request::{FaultAnswer, Request};
pub use response::{Reply, Response};
pub use status::{CopyState, CopyStatus, DiskStatus, LeaseStatus, Status, VolumeStatus};
pub use term::{StaleTerm, TermGate};

/// The newest version of the protocol that is spoken here. Version 1 has been the first.
pub const VERSION: u16 = 1;
/// The oldest version that is still understood.
pub const OLDEST: u16 = 1;

/// The version that both ends speak, of a peer that speaks `oldest..=newest`; `None` without one.
pub fn agree(oldest: u16, newest: u16) -> Option<u16> {
    let version = newest.min(VERSION);
    (version >= oldest.max(OLDEST)).then_some(version)
}
