//! The text that is counted: lines of ten words, Zipf-distributed (s = 1).

use std::ops::Range;

const WORDS_PER_LINE: usize = 10;
/// Letters of the alphabet.
const LETTERS: u64 = 26;

/// Lines of text in one buffer.
#[derive(Debug)]
pub(crate) struct Corpus {
    text: String,
    lines: Vec<Range<usize>>,
}

impl Corpus {
    /// `lines` lines over `vocabulary` words; the same ones each time.
    pub(crate) fn new(lines: usize, vocabulary: u64) -> Self {
        let mut random = SplitMix(42);
        let words: Vec<String> = (0..vocabulary).map(word).collect();
        let weights = Weights::zipf(vocabulary);
        let mut corpus = Self {
            text: String::new(),
            lines: Vec::with_capacity(lines),
        };
        for _ in 0..lines {
            let start = corpus.text.len();
            for place in 0..WORDS_PER_LINE {
                if place > 0 {
                    corpus.text.push(' ');
                }
                let rank = weights.rank(random.fraction());
                corpus.text.push_str(words.get(rank).map_or("", |w| w));
            }
            corpus.lines.push(start..corpus.text.len());
            corpus.text.push('\n');
        }
        corpus
    }

    /// The lines, without their ends.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &str> + Clone {
        self.lines
            .iter()
            .filter_map(|line| self.text.get(line.clone()))
    }

    /// How many lines there are.
    pub(crate) fn len(&self) -> usize {
        self.lines.len()
    }

    /// How many words there are.
    pub(crate) fn words(&self) -> u64 {
        u64::try_from(self.lines.len() * WORDS_PER_LINE).unwrap_or(u64::MAX)
    }

    /// The lines as one text, each with its end.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}

/// The word of a rank: its number in letters, so that no two are equal, and up to five more.
fn word(rank: u64) -> String {
    let mut letters = String::new();
    let mut push = |n: u64| {
        let letter = u8::try_from(n % LETTERS).unwrap_or(0);
        letters.push(char::from(b'a' + letter));
    };
    let mut rest = rank;
    for _ in 0..4 {
        push(rest);
        rest /= LETTERS;
    }
    let mut random = SplitMix(rank);
    for _ in 0..random.next() % 6 {
        push(random.next());
    }
    while rest > 0 {
        push(rest);
        rest /= LETTERS;
    }
    letters
}

/// Sums of 1 / rank.
struct Weights(Vec<f64>);

impl Weights {
    fn zipf(count: u64) -> Self {
        let mut total = 0.0;
        let mut rank = 0.0;
        let sums = (0..count).map(|_| {
            rank += 1.0;
            total += 1.0 / rank;
            total
        });
        Self(sums.collect())
    }

    /// The rank at `fraction` of the whole weight.
    fn rank(&self, fraction: f64) -> usize {
        let Some(total) = self.0.last() else {
            return 0;
        };
        let wanted = fraction * total;
        let rank = self.0.partition_point(|sum| *sum < wanted);
        rank.min(self.0.len() - 1)
    }
}

/// The generator of Steele, Lea and Flood (OOPSLA 2014).
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// From 0 to below 1.
    fn fraction(&mut self) -> f64 {
        let high = u32::try_from(self.next() >> 32).unwrap_or(0);
        f64::from(high) / 4_294_967_296.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    #[test]
    fn words_differ() {
        let words: BTreeSet<String> = (0..100_000).map(word).collect();
        assert_eq!(words.len(), 100_000);
    }

    #[test]
    fn the_first_word_is_twice_as_frequent_as_the_second() {
        let corpus = Corpus::new(20_000, 1000);
        assert_eq!((corpus.len(), corpus.lines().count()), (20_000, 20_000));
        assert!(corpus.text().lines().eq(corpus.lines()));
        let mut counts = BTreeMap::<&str, u64>::new();
        for word in corpus.lines().flat_map(|line| line.split(' ')) {
            *counts.entry(word).or_default() += 1;
        }
        assert_eq!(counts.values().sum::<u64>(), 200_000);
        let count = |rank| counts[word(rank).as_str()];
        let (first, second) = (count(0), count(1));
        assert!(first > second * 18 / 10 && first < second * 22 / 10);
    }
}
