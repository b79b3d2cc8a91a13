//! Recovering twice is recovering once: a second recovery, with nothing done in between, finds the
//! same state.

use super::Violation;

/// The invariant.
pub const NAME: &str = "recover_is_idempotent";

/// The second recovery succeeds and gives the same digest as the first.
///
/// # Errors
/// The violation.
pub fn check<S>(
    first: &str,
    again: Result<S, String>,
    digest: impl Fn(&S) -> String,
) -> Result<S, Violation> {
    let broken = |what| Violation {
        checker: NAME,
        what,
    };
    let again = again.map_err(|e| broken(format!("the second recovery failed: {e}")))?;
    let second = digest(&again);
    if first == second {
        return Ok(again);
    }
    let difference = first.lines().zip(second.lines()).find(|(a, b)| a != b);
    let (a, b) = difference.unwrap_or((first, &second));
    Err(broken(format!(
        "the first recovery gave {a}, the second {b}"
    )))
}
