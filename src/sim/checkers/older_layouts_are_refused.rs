//! Once a layout was taken, an older one is refused: a command that was overtaken changes nothing
//! (spec A4).

use super::Violation;
use layout::Generation;

/// The invariant.
pub const NAME: &str = "older_layouts_are_refused";

/// A layout of generation `given` was taken, `taken` is the newest taken before.
///
/// # Errors
/// The violation.
pub fn check(given: Generation, taken: Generation) -> Result<(), Violation> {
    if given >= taken {
        return Ok(());
    }
    Err(Violation {
        checker: NAME,
        what: format!("a layout of generation {given} was taken after one of {taken}"),
    })
}
