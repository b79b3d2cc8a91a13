//! When nothing fails any more, everything is answered: no request, command or I/O waits for ever.

use super::Violation;

/// The invariant.
pub const NAME: &str = "converges_after_heal";

/// Nothing may be waiting now.
///
/// # Errors
/// The violation.
pub fn check(waiting: &[String]) -> Result<(), Violation> {
    let Some(first) = waiting.first() else {
        return Ok(());
    };
    Err(Violation {
        checker: NAME,
        what: format!("{} things wait for ever, the first: {first}", waiting.len()),
    })
}
