//! After every recovery the image of each disk passes the engine's own check: every metadata block
//! whole, no segment mapped twice, none both free and mapped.

use super::Violation;

/// The invariant.
pub const NAME: &str = "image_is_sound";

/// The check of disk `disk` found nothing.
///
/// # Errors
/// The violation.
pub fn check(disk: u16, findings: &[String]) -> Result<(), Violation> {
    let Some(first) = findings.first() else {
        return Ok(());
    };
    Err(Violation {
        checker: NAME,
        what: format!(
            "disk {disk}: {} findings, the first: {first}",
            findings.len()
        ),
    })
}
