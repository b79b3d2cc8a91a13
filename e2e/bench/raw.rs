//! The loop device over a plain file: what the kernel alone costs, and what is left to gain.

use super::Contender;
use crate::fio::Target;
use crate::looped::Looped;
use anyhow::{Context, Result};
use std::fs::File;
use std::path::Path;

/// Its name in the tables.
pub const NAME: &str = "raw loop";

/// A file under a loop device.
#[derive(Debug)]
pub struct RawLoop(Looped);

impl RawLoop {
    /// Makes a file of `size` bytes in `dir`, filled.
    ///
    /// # Errors
    /// Where there is no space or no device.
    pub fn new(dir: &Path, size: u64) -> Result<Self> {
        let file = dir.join("raw");
        let made = File::create_new(&file).and_then(|f| f.set_len(size));
        made.with_context(|| file.display().to_string())?;
        let device = Looped::on(&file)?;
        super::fill(device.path())?;
        Ok(RawLoop(device))
    }
}

impl Contender for RawLoop {
    fn name(&self) -> &str {
        NAME
    }
    fn target(&self) -> Target<'_> {
        Target::Device(self.0.path())
    }
}
