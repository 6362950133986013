//! Random numbers from a seed.

/// A generator of random numbers, which returns the same numbers for the same
/// seed on each machine. Not for secrets.
///
/// The algorithm is xoshiro256++ (Blackman and Vigna, 2019), with its state
/// filled by SplitMix64 (Steele, Lea and Flood, 2014).
///
/// ```
/// use peerloop::sim::Random;
///
/// let (mut a, mut b) = (Random::new(7), Random::new(7));
/// assert_eq!(a.next_u64(), b.next_u64());
/// assert!(a.below(10) < 10);
/// ```
#[derive(Clone, Debug)]
pub struct Random {
    state: [u64; 4],
}

impl Random {
    /// Returns the generator of a seed. Any number is a good seed.
    pub fn new(seed: u64) -> Self {
        let mut mixed = seed;
        let state = std::array::from_fn(|_| split_mix(&mut mixed));
        Self { state }
    }

    /// Returns the next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        let [a, b, c, d] = self.state;
        let (mixed_c, mixed_d) = (c ^ a, d ^ b);
        self.state = [
            a ^ mixed_d,
            b ^ mixed_c,
            mixed_c ^ (b << 17),
            mixed_d.rotate_left(45),
        ];
        a.wrapping_add(d).rotate_left(23).wrapping_add(a)
    }

    /// Returns a number below `bound`. Zero if `bound` is zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        // The high half of the product (Lemire, 2019), without its correction:
        // the bias is less than one in 2^64 / bound.
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// Returns a number from `low` to `high`, both inclusive. Returns `low` if
    /// `high` is less.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low).saturating_add(1))
    }

    /// Returns true with this probability: never at 0 or below, always at 1 or
    /// above.
    pub fn chance(&mut self, probability: f64) -> bool {
        // At 0 no number is drawn, so that a fault that is off costs nothing.
        probability > 0.0 && self.unit() < probability
    }

    /// Returns a number from 0, inclusive, to 1, exclusive.
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Shuffles the elements. Each order has the same probability.
    pub fn shuffle<T>(&mut self, elements: &mut [T]) {
        for last in (1..elements.len()).rev() {
            elements.swap(last, self.below(last as u64 + 1) as usize);
        }
    }
}

fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The algorithm as its authors published it.
    fn reference(s: &mut [u64; 4]) -> u64 {
        let result = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        result
    }

    #[test]
    fn the_numbers_are_those_of_xoshiro256pp() {
        // The first outputs of SplitMix64 for the seed 1234567, from its
        // reference implementation.
        let mut state = 1_234_567;
        assert_eq!(split_mix(&mut state), 6_457_827_717_110_365_317);
        assert_eq!(split_mix(&mut state), 3_203_168_211_198_807_973);
        let mut random = Random::new(1);
        let mut state = random.state;
        for _ in 0..1000 {
            assert_eq!(random.next_u64(), reference(&mut state));
        }
    }

    #[test]
    fn bounds_are_kept_and_reached() {
        let mut random = Random::new(3);
        let drawn: std::collections::BTreeSet<u64> =
            (0..200).map(|_| random.between(5, 8)).collect();
        assert_eq!(drawn, [5, 6, 7, 8].into());
        assert!(!random.chance(0.0) && random.chance(1.0));
        assert_eq!(random.below(0), 0);
    }
}
