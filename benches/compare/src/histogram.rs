//! Latencies in buckets of less than 1.6 % width, in constant memory.

const SUB_BITS: u32 = 6;
const SUB: usize = 1 << SUB_BITS;

/// Counts of nanoseconds.
#[derive(Clone)]
pub struct Histogram {
    buckets: Vec<u64>,
    count: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            buckets: vec![0; SUB * 59],
            count: 0,
        }
    }
}

impl Histogram {
    pub fn add(&mut self, ns: u64) {
        self.buckets[bucket(ns)] += 1;
        self.count += 1;
    }

    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine += theirs;
        }
        self.count += other.count;
    }

    /// The value that `share` of all values do not exceed, in microseconds.
    pub fn quantile_us(&self, share: f64) -> f64 {
        let rank = ((self.count as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        for (index, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return upper_bound(index) as f64 / 1000.0;
            }
        }
        0.0
    }
}

/// Below 64 every value has a bucket of its own; above, every power of two has 64.
fn bucket(ns: u64) -> usize {
    if ns < SUB as u64 {
        return ns as usize;
    }
    let shift = ns.ilog2() - SUB_BITS;
    (shift as usize + 1) * SUB + ((ns >> shift) as usize - SUB)
}

fn upper_bound(bucket: usize) -> u64 {
    if bucket < SUB {
        return bucket as u64;
    }
    let shift = (bucket / SUB - 1) as u32;
    (((bucket % SUB + SUB) as u64 + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_at_most_one_part_in_64_below_its_bucket_s_bound() {
        for ns in (0..100_000).chain([1 << 40, (1 << 40) + 12345, u64::MAX]) {
            let bound = upper_bound_or_max(bucket(ns));
            assert!(bound >= ns && bound - ns <= ns / 64, "{ns} in {bound}");
        }
    }

    /// The last bucket ends where the numbers do.
    fn upper_bound_or_max(index: usize) -> u64 {
        if index == SUB * 59 - 1 {
            u64::MAX
        } else {
            upper_bound(index)
        }
    }

    #[test]
    fn quantiles_are_ranks() {
        let mut h = Histogram::default();
        (1..=1000).for_each(|us| h.add(us * 1000));
        let (half, most) = (h.quantile_us(0.5), h.quantile_us(0.99));
        assert!((500.0..508.0).contains(&half), "{half}");
        assert!((990.0..1006.0).contains(&most), "{most}");
    }
}
