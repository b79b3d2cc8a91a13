//! After a power cut each block holds a value that was issued since, and including, the last one
//! that an answered flush or FUA write covers.

use super::Loss;

/// The invariant.
pub const NAME: &str = "flushed_survives";

/// Its name, where wrong content after this loss breaks it.
pub fn broken(loss: Loss) -> Option<&'static str> {
    (loss == Loss::Power).then_some(NAME)
}
