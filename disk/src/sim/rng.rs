//! A small generator of pseudo-random numbers: a seed gives the same numbers for ever.

/// SplitMix64 (Steele, Lea, Flood 2014): 64 bits of state, every seed is good.
#[derive(Debug, Clone)]
pub struct Rng {
    state: u64,
}

impl Rng {
    /// A generator whose whole sequence follows from `seed`.
    ///
    /// ```
    /// use highwater_disk::sim::Rng;
    /// assert_eq!(Rng::new(7).next_u64(), Rng::new(7).next_u64());
    /// ```
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next 64 bits.
    ///
    /// ```
    /// use highwater_disk::sim::Rng;
    /// let mut rng = Rng::new(7);
    /// assert_ne!(rng.next_u64(), rng.next_u64());
    /// ```
    #[must_use]
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound` (nearly uniform: the bias is below `bound` / 2^64).
    ///
    /// ```
    /// use highwater_disk::sim::Rng;
    /// let mut rng = Rng::new(7);
    /// assert!((0..100).all(|_| rng.below(6) < 6));
    /// ```
    ///
    /// # Panics
    /// If `bound` is 0.
    #[must_use]
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "there is no number below 0");
        self.next_u64() % bound
    }

    /// True in `per_mille` of 1000 cases.
    ///
    /// ```
    /// use highwater_disk::sim::Rng;
    /// let mut rng = Rng::new(7);
    /// let heads = (0..1000).filter(|_| rng.chance(500)).count();
    /// assert!((300..700).contains(&heads));
    /// ```
    #[must_use]
    pub fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }
}
