//! After the process died every answered write is there, flushed or not.

use super::Loss;

/// The invariant.
pub const NAME: &str = "acknowledged_survives";

/// Its name, where wrong content after this loss breaks it.
pub fn broken(loss: Loss) -> Option<&'static str> {
    (loss == Loss::Process).then_some(NAME)
}
