//! The one place that reads YAML (and JSON, which is YAML), so that the crate behind it can be
//! replaced.

use anyhow::Context;
use serde::de::DeserializeOwned;
use std::path::Path;

/// Reads a file as one document; `what` is what it ought to hold.
///
/// # Errors
/// A file that cannot be read, or that holds something else; with line and column where known.
pub fn read<T: DeserializeOwned>(path: &Path, what: &str) -> anyhow::Result<T> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("{what} {} cannot be read", path.display()))?;
    serde_yaml::from_str(&text)
        .with_context(|| format!("{} is not {what} that can be understood", path.display()))
}
