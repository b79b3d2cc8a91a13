//! No block ever shows bytes of another volume, of another block, or of metadata: what a previous
//! owner left is never visible, not even after a power cut (spec S3).

use crate::model::{Wrong, WrongKind};

/// The invariant.
pub const NAME: &str = "owners_are_separate";

/// Its name, where this content breaks it.
pub fn broken(wrong: &Wrong) -> Option<&'static str> {
    (wrong.kind == WrongKind::Foreign).then_some(NAME)
}
