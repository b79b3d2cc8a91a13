//! Tests of the tree itself: what neither the compiler nor clippy checks. There is nothing here but
//! tests, run with all others.
//!
//! - `tree`: which files there are.
//! - `text`: rules of every text file: columns, white space, machine paths, unfinished work.
//! - `source`: rules of Rust files: a header, a length, where modules lie.
//! - `purity`: what the pure crates may not name (no clock, thread, file, socket, randomness).
//! - `manifest`: what they may depend on, and what every manifest says.
//!
//! A rule takes text and returns what is wrong with it, so that each is itself tested on text that
//! breaks it.

#[cfg(test)]
mod manifest;
#[cfg(test)]
mod purity;
#[cfg(test)]
mod source;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod text;
#[cfg(test)]
mod tree;
