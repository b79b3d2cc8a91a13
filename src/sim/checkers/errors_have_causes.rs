//! A request fails only where something gave it reason to: no space where a grant was refused or the
//! disk is full, an I/O error where a disk had one.

use super::Violation;
use engine::io::IoError;

/// The invariant.
pub const NAME: &str = "errors_have_causes";

/// What was done to the system that a request may suffer from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Causes {
    /// A disk answered with an error and was not reopened since.
    pub disk_failed: bool,
    /// A request for units was refused while this request waited.
    pub refused: bool,
}

/// Whether this answer is justified.
///
/// # Errors
/// The violation.
pub fn check(error: IoError, causes: Causes, request: &str) -> Result<(), Violation> {
    let justified = match error {
        IoError::Io => causes.disk_failed,
        IoError::NoSpace => causes.refused,
        IoError::Unaligned | IoError::OutOfRange | IoError::ReadOnly | IoError::Detached => false,
    };
    if justified {
        return Ok(());
    }
    Err(Violation {
        checker: NAME,
        what: format!("{request} was answered \"{error}\" without a cause"),
    })
}
