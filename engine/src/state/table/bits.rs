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
    }
}
