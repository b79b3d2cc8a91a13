//! Medians, extremes, and how they are printed.

use std::time::Duration;

/// The middle value (the lower of two); `None` of nothing.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len().saturating_sub(1) / 2).copied()
}

/// The smallest and the largest; `None` of nothing.
pub fn extremes(values: &[f64]) -> Option<(f64, f64)> {
    let least = values.iter().copied().reduce(f64::min)?;
    Some((least, values.iter().copied().reduce(f64::max)?))
}

/// Pauses, as they are reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pauses {
    /// How many there were.
    pub count: usize,
    /// Half of them were not longer.
    pub p50: Duration,
    /// The longest.
    pub max: Duration,
}

impl Pauses {
    /// Of these; `None` of none.
    pub fn of(pauses: &[Duration]) -> Option<Self> {
        let mut sorted = pauses.to_vec();
        sorted.sort();
        let (p50, max) = (
            sorted.get(sorted.len().saturating_sub(1) / 2)?,
            sorted.last()?,
        );
        Some(Pauses {
            count: sorted.len(),
            p50: *p50,
            max: *max,
        })
    }
}

impl std::fmt::Display for Pauses {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ms = |d: Duration| d.as_secs_f64() * 1e3;
        let (p50, max) = (ms(self.p50), ms(self.max));
        write!(
            f,
            "p50 {p50:.0} ms, max {max:.0} ms ({} pauses)",
            self.count
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_few_values() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.0));
        assert_eq!(extremes(&[3.0, 1.0, 2.0]), Some((1.0, 3.0)));
        assert_eq!(Pauses::of(&[]), None);
        let ms = Duration::from_millis;
        let pauses = Pauses::of(&[ms(9), ms(1), ms(5)]).unwrap();
        assert_eq!((pauses.p50, pauses.max), (ms(5), ms(9)));
    }
}
