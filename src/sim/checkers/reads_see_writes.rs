//! A read returns, block by block, the last answered write or one that ran beside it.

/// The invariant.
pub const NAME: &str = "reads_see_writes";
