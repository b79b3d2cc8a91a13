//! What the engine asks of the shell can be done: I/O within the disk, buffers that exist, names
//! that are not in use, never more trimmed from a volatile log than there is.

use super::Violation;

/// The invariant.
pub const NAME: &str = "io_is_sane";

/// A violation, said by `what`, unless `ok`.
///
/// # Errors
/// The violation.
pub fn check(ok: bool, what: impl FnOnce() -> String) -> Result<(), Violation> {
    if ok {
        return Ok(());
    }
    Err(Violation {
        checker: NAME,
        what: what(),
    })
}
