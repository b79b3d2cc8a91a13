//! The invariants, one file each, named by what they promise.

pub mod acknowledged_survives;
pub mod converges_after_heal;
pub mod errors_have_causes;
pub mod flushed_survives;
pub mod image_is_sound;
pub mod io_is_sane;
pub mod older_layouts_are_refused;
pub mod owners_are_separate;
pub mod reads_see_writes;
pub mod recover_is_idempotent;
pub mod space_is_conserved;

use crate::model::Wrong;

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{checker}: {what}")]
pub struct Violation {
    /// Which invariant.
    pub checker: &'static str,
    /// What was seen, and what would have been right.
    pub what: String,
}

/// What happened to a volume last that may have taken content from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Loss {
    /// Nothing.
    #[default]
    None,
    /// The process died.
    Process,
    /// The power failed, or a disk lost what it had not made durable.
    Power,
}

/// Names the invariant that wrong content breaks.
pub fn blame(volume: &str, wrong: &Wrong, loss: Loss) -> Violation {
    let what = format!(
        "block {} of {volume} reads {}, legal is {}",
        wrong.block, wrong.read, wrong.legal
    );
    let checker = [
        owners_are_separate::broken(wrong),
        flushed_survives::broken(loss),
        acknowledged_survives::broken(loss),
    ]
    .into_iter()
    .flatten()
    .next()
    .unwrap_or(reads_see_writes::NAME);
    Violation { checker, what }
}
