//! No segment is lost: once everything was discarded and flushed, an object uses no segment of the
//! units granted to it; and never more segments than hold data.

use super::Violation;

/// The invariant.
pub const NAME: &str = "space_is_conserved";

/// The object of this name uses `used` segments; `needed` is what the model needs at most.
///
/// # Errors
/// The violation.
pub fn check(object: &str, used: u64, needed: u64) -> Result<(), Violation> {
    if used <= needed {
        return Ok(());
    }
    Err(Violation {
        checker: NAME,
        what: format!("{object} uses {used} segments, its blocks that hold data lie in {needed}"),
    })
}
