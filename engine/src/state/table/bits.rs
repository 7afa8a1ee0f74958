//! A set of slot numbers, one bit each.

/// A set of slot numbers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bits {
    words: Vec<u64>,
    count: u32,
}

/// The word of a number, and its bit in there.
fn place(number: u32) -> (usize, u64) {
    let word = usize::try_from(number / 64).unwrap_or(usize::MAX);
    (word, 1 << (number % 64))
}

impl Bits {
    pub(crate) fn insert(&mut self, number: u32) {
        let (at, bit) = place(number);
        if self.words.len() <= at {
            self.words.resize(at + 1, 0);
        }
        if let Some(word) = self.words.get_mut(at) {
            self.count += u32::from(*word & bit == 0);
            *word |= bit;
        }
    }

    /// All numbers below `end`.
    pub(crate) fn below(end: u32) -> Self {
        let (words, bits) = (end / 64, end % 64);
        let mut words = vec![u64::MAX; usize::try_from(words).unwrap_or(usize::MAX)];
        if bits > 0 {
            words.push((1 << bits) - 1);
        }
        Self { words, count: end }
    }

    pub(crate) fn contains(&self, number: u32) -> bool {
        let (at, bit) = place(number);
        self.words.get(at).is_some_and(|word| word & bit != 0)
    }

    /// The first number from `number` on.
    pub(crate) fn first_from(&self, number: u32) -> Option<u32> {
        let (at, bit) = place(number);
        let first = self.words.get(at)? & !(bit - 1);
        if first != 0 {
            return Some(number / 64 * 64 + first.trailing_zeros());
        }
        let (next, rest) = (number / 64 + 1, self.words.get(at + 1..)?);
        let found = (next..).zip(rest).find(|(_, word)| **word != 0);
        found.map(|(at, word)| at * 64 + word.trailing_zeros())
    }

    pub(crate) fn remove(&mut self, number: u32) {
        let (at, bit) = place(number);
        if let Some(word) = self.words.get_mut(at) {
            self.count -= u32::from(*word & bit != 0);
            *word &= !bit;
        }
    }

    /// How many numbers are in the set.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// How many numbers are in this set or in `other`.
    pub(crate) fn count_with(&self, other: &Self) -> u32 {
        let longest = self.words.len().max(other.words.len());
        let word = |bits: &Self, at| bits.words.get(at).copied().unwrap_or(0);
        (0..longest)
            .map(|at| (word(self, at) | word(other, at)).count_ones())
            .sum()
    }

    /// All numbers, ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        let words = (0_u32..).zip(&self.words).filter(|(_, word)| **word != 0);
        words.flat_map(|(at, word)| {
            let mut word = *word;
            std::iter::from_fn(move || {
                let bit = (word != 0).then(|| word.trailing_zeros())?;
                word &= word - 1;
                Some(at * 64 + bit)
            })
        })
    }

    /// Adds every number of `other`.
    pub(crate) fn merge(&mut self, other: &Self) {
        other.iter().for_each(|number| self.insert(number));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_set_of_bits_is_a_set() {
        let (mut bits, mut other, mut set) = (Bits::default(), Bits::default(), BTreeSet::new());
        let mut at = 1_u32;
        for step in 0..2000 {
            at = at.wrapping_mul(48_271) % 4099;
            if step % 3 == 0 {
                bits.remove(at);
                set.remove(&at);
            } else {
                bits.insert(at);
                set.insert(at);
            }
            assert_eq!(bits.count() as usize, set.len());
        }
        assert!(bits.iter().eq(set.iter().copied()));
        let odd: BTreeSet<u32> = (0..6000).step_by(3).collect();
        odd.iter().for_each(|n| other.insert(*n));
        let both: BTreeSet<u32> = set.union(&odd).copied().collect();
        assert_eq!(bits.count_with(&other) as usize, both.len());
        bits.merge(&other);
        assert!(bits.iter().eq(both.iter().copied()));
        assert_eq!(bits.count() as usize, both.len());
        for number in 0..6100 {
            assert_eq!(bits.contains(number), both.contains(&number));
            let next = both.range(number..).next().copied();
            assert_eq!(bits.first_from(number), next, "{number}");
        }
        for end in [0, 1, 63, 64, 65, 128, 1000] {
            let below = Bits::below(end);
            assert!(below.iter().eq(0..end) && below.count() == end);
        }
    }
}
