//! Randomness: one seed decides everything.
//!
//! xoshiro256** seeded by splitmix64. A part of the simulator takes its own stream with
//! [`Rng::fork`], so that one part drawing more numbers does not shift the others.

/// A stream of random numbers.
#[derive(Clone, Debug)]
pub struct Rng {
    seed: u64,
    state: [u64; 4],
}

fn splitmix(x: &mut u64) -> u64 {
    *x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mix(*x)
}

/// Spreads every bit of `z` over all bits of the result.
pub fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Rng {
    /// The stream of this seed.
    pub fn new(seed: u64) -> Self {
        let mut x = seed;
        let state = std::array::from_fn(|_| splitmix(&mut x));
        Rng { seed, state }
    }

    /// The stream of this name under this stream's seed, whatever was drawn so far.
    #[must_use]
    pub fn fork(&self, name: &str) -> Self {
        let mut x = self.seed;
        for byte in name.bytes() {
            x = splitmix(&mut x) ^ u64::from(byte);
        }
        Rng::new(splitmix(&mut x))
    }

    /// Any 64 bits.
    pub fn bits(&mut self) -> u64 {
        let s = &mut self.state;
        let out = s[1].wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        out
    }

    /// A number below `n`.
    ///
    /// # Panics
    /// Where `n` is zero.
    pub fn below(&mut self, n: u64) -> u64 {
        assert!(n > 0, "nothing is below zero");
        let wide = u128::from(self.bits()) * u128::from(n);
        (wide >> 64) as u64
    }

    /// A number from `low` up to and including `high`.
    pub fn range(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// An index into something of length `n`.
    pub fn index(&mut self, n: usize) -> usize {
        self.below(n as u64) as usize
    }

    /// True `n` times in `of`.
    pub fn chance(&mut self, n: u64, of: u64) -> bool {
        self.below(of) < n
    }

    /// Which of the weights is drawn; a weight of zero never.
    pub fn weighted(&mut self, weights: &[u32]) -> usize {
        let sum: u64 = weights.iter().map(|w| u64::from(*w)).sum();
        let mut at = self.below(sum);
        for (i, w) in weights.iter().enumerate() {
            if at < u64::from(*w) {
                return i;
            }
            at -= u64::from(*w);
        }
        unreachable!("a draw below the sum falls into a weight")
    }

    /// Brings the items into a random order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.index(i + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_one_stream() {
        let draw = |mut r: Rng| (0..8).map(|_| r.bits()).collect::<Vec<_>>();
        assert_eq!(draw(Rng::new(7)), draw(Rng::new(7)));
        assert_ne!(draw(Rng::new(7)), draw(Rng::new(8)));
        let mut used = Rng::new(7);
        used.bits();
        assert_eq!(draw(used.fork("a")), draw(Rng::new(7).fork("a")));
        assert_ne!(draw(used.fork("a")), draw(used.fork("b")));
    }

    #[test]
    fn draws_stay_in_bounds_and_reach_them() {
        let mut r = Rng::new(1);
        let mut seen = [false; 5];
        for _ in 0..200 {
            seen[r.range(3, 7) as usize - 3] = true;
            assert_ne!(r.weighted(&[1, 0, 2]), 1);
        }
        assert_eq!(seen, [true; 5]);
        let mut items = [0, 1, 2, 3];
        r.shuffle(&mut items);
        items.sort_unstable();
        assert_eq!(items, [0, 1, 2, 3]);
    }
}
