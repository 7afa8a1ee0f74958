//! A histogram of bounded size: numbers of any magnitude, each counted with an error of at most a
//! sixteenth.

use std::ops::RangeInclusive;

/// Each power of two is divided into 16 steps.
const STEP_BITS: u32 = 4;
const PLACES: usize = bucket(u64::MAX, STEP_BITS) + 1;

/// Counts numbers by magnitude.
///
/// ```
/// use highwater_wal::inspect::Histogram;
/// let mut sizes = Histogram::new();
/// (1..=1000).for_each(|size| sizes.add(size));
/// assert_eq!((sizes.min(), sizes.max(), sizes.mean()), (Some(1), Some(1000), 500.5));
/// let median = sizes.quantile(0.5).expect("there are numbers");
/// assert!((500..=532).contains(&median));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram {
    places: Vec<u64>,
    count: u64,
    sum: u128,
    min: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

impl Histogram {
    /// Without a number.
    ///
    /// ```
    /// use highwater_wal::inspect::Histogram;
    /// assert_eq!(Histogram::new().count(), 0);
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self {
            places: vec![0; PLACES],
            count: 0,
            sum: 0,
            min: u64::MAX,
            max: 0,
        }
    }

    /// Counts `number`.
    ///
    /// ```
    /// use highwater_wal::inspect::Histogram;
    /// let mut sizes = Histogram::new();
    /// sizes.add(100);
    /// assert_eq!(sizes.max(), Some(100));
    /// ```
    pub fn add(&mut self, number: u64) {
        if let Some(place) = self.places.get_mut(bucket(number, STEP_BITS)) {
            *place += 1;
        }
        self.count += 1;
        self.sum += u128::from(number);
        self.min = self.min.min(number);
        self.max = self.max.max(number);
    }

    /// Counts everything that `other` has counted.
    ///
    /// ```
    /// use highwater_wal::inspect::Histogram;
    /// let (mut all, mut more) = (Histogram::new(), Histogram::new());
    /// all.add(1);
    /// more.add(2);
    /// all.merge(&more);
    /// assert_eq!((all.count(), all.max()), (2, Some(2)));
    /// ```
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.places.iter_mut().zip(&other.places) {
            *mine += theirs;
        }
        self.count += other.count;
        self.sum += other.sum;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }

    /// How many numbers were counted.
    ///
    /// ```
    /// use highwater_wal::inspect::Histogram;
    /// let mut sizes = Histogram::new();
    /// [5, 5, 7].into_iter().for_each(|size| sizes.add(size));
    /// assert_eq!(sizes.count(), 3);
    /// ```
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The smallest of them.
    ///
    /// ```
    /// use highwater_wal::inspect::Histogram;
    /// let mut sizes = Histogram::new();
    /// assert_eq!(sizes.min(), None);
    /// [5, 7].into_iter().for_each(|size| sizes.add(size));
    /// assert_eq!(sizes.min(), Some(5));
    /// ```
    #[must_use]
    pub fn min(&self) -> Option<u64> {
        (self.count > 0).then_some(self.min)
    }

    /// The largest of them.
    ///
    /// ```
    /// use highwater_wal::inspect::Histogram;
    /// let mut sizes = Histogram::new();
    /// assert_eq!(sizes.max(), None);
    /// [5, 7].into_iter().for_each(|size| sizes.add(size));
    /// assert_eq!(sizes.max(), Some(7));
    /// ```
    #[must_use]
    pub fn max(&self) -> Option<u64> {
        (self.count > 0).then_some(self.max)
    }

    /// Their mean; 0 if there are none.
    ///
    /// ```
    /// use highwater_wal::inspect::Histogram;
    /// let mut sizes = Histogram::new();
    /// [5, 7].into_iter().for_each(|size| sizes.add(size));
    /// assert_eq!(sizes.mean(), 6.0);
    /// ```
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a mean for people")]
    pub fn mean(&self) -> f64 {
        if self.count == 0 {
            0.0
        } else {
            self.sum as f64 / self.count as f64
        }
    }

    /// A number that the fraction `q` of them does not exceed, at most a sixteenth too large.
    /// `None` if there are none.
    ///
    /// ```
    /// use highwater_wal::inspect::Histogram;
    /// let mut sizes = Histogram::new();
    /// (1..=1000).for_each(|size| sizes.add(size));
    /// assert!((990..=1000).contains(&sizes.quantile(0.99).expect("there are numbers")));
    /// ```
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rank from a fraction, clamped"
    )]
    pub fn quantile(&self, q: f64) -> Option<u64> {
        let rank = ((q.clamp(0.0, 1.0) * self.count as f64).ceil() as u64).max(1);
        let mut below = 0;
        for (place, count) in self.places.iter().enumerate() {
            below += count;
            if below >= rank {
                return Some((*bucket_range(place, STEP_BITS).end()).clamp(self.min, self.max));
            }
        }
        None
    }

    /// The counts by powers of two, without empty ones: `0`, `1`, `2..=3`, `4..=7`, ...
    ///
    /// ```
    /// use highwater_wal::inspect::Histogram;
    /// let mut sizes = Histogram::new();
    /// [0, 5, 6, 100].into_iter().for_each(|size| sizes.add(size));
    /// assert_eq!(sizes.powers_of_two(), [(0..=0, 1), (4..=7, 2), (64..=127, 1)]);
    /// ```
    #[must_use]
    pub fn powers_of_two(&self) -> Vec<(RangeInclusive<u64>, u64)> {
        let mut powers: Vec<(RangeInclusive<u64>, u64)> = Vec::new();
        for (place, count) in self.places.iter().enumerate().filter(|(_, n)| **n > 0) {
            let range = power_of(*bucket_range(place, STEP_BITS).start());
            match powers.last_mut() {
                Some((last, sum)) if *last == range => *sum += count,
                _ => powers.push((range, *count)),
            }
        }
        powers
    }
}

fn power_of(number: u64) -> RangeInclusive<u64> {
    match number.checked_ilog2() {
        None => 0..=0,
        Some(log) => (1 << log)..=(u64::MAX >> (63 - log)),
    }
}

/// The bucket of a number, if each power of two is divided into `2^step_bits` buckets. Numbers
/// below that have one each.
#[expect(
    clippy::cast_possible_truncation,
    reason = "buckets are fewer than 64 * 2^step_bits"
)]
pub(crate) const fn bucket(number: u64, step_bits: u32) -> usize {
    let steps = 1_u64 << step_bits;
    if number < steps {
        return number as usize;
    }
    let power = number.ilog2() - step_bits;
    let step = (number >> power) & (steps - 1);
    (steps + power as u64 * steps + step) as usize
}

/// The numbers of a bucket.
pub(crate) fn bucket_range(bucket: usize, step_bits: u32) -> RangeInclusive<u64> {
    let (bucket, steps) = (bucket as u64, 1_u64 << step_bits);
    let Some(above) = bucket.checked_sub(steps) else {
        return bucket..=bucket;
    };
    let power = above / steps;
    let start = (steps + above % steps) << power;
    start..=start + ((1 << power) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_one_place_and_places_touch() {
        let mut next = 0_u64;
        for place in 0..PLACES {
            let range = bucket_range(place, STEP_BITS);
            assert_eq!(*range.start(), next, "place {place}");
            assert_eq!(
                (
                    bucket(*range.start(), STEP_BITS),
                    bucket(*range.end(), STEP_BITS)
                ),
                (place, place)
            );
            next = range.end().wrapping_add(1);
        }
        assert_eq!(next, 0, "the last place ends at u64::MAX");
    }

    #[test]
    fn numbers_of_all_sizes_are_counted() {
        let mut all = Histogram::new();
        assert_eq!(
            (all.min(), all.quantile(0.5), all.mean()),
            (None, None, 0.0)
        );
        let mut big = Histogram::new();
        [0, 1, 3, 5, 5].into_iter().for_each(|n| all.add(n));
        big.add(u64::MAX);
        all.merge(&big);
        assert_eq!(
            (all.count(), all.min(), all.max()),
            (6, Some(0), Some(u64::MAX))
        );
        assert_eq!(all.quantile(0.0), Some(0));
        assert_eq!(all.quantile(0.5), Some(3));
        assert_eq!(all.quantile(1.0), Some(u64::MAX));
        let powers = all.powers_of_two();
        assert_eq!(
            powers,
            [
                (0..=0, 1),
                (1..=1, 1),
                (2..=3, 1),
                (4..=7, 2),
                (1 << 63..=u64::MAX, 1)
            ]
        );
    }
}
