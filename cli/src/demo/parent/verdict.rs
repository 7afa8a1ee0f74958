//! The comparison: what the child counted, and what was sent.

use crate::demo::child::seen_lines::SeenLines;
use crate::demo::parent::corpus::Counts;
use std::collections::{BTreeMap, BTreeSet};

/// How many wrong words are kept as examples.
const EXAMPLES: usize = 10;

/// What the child's last checkpoint and its text files say.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    /// The state `counts`.
    pub(crate) words: Counts,
    /// The state `lines`: which lines were counted, 64 per key.
    pub(crate) lines: BTreeMap<u64, SeenLines>,
    /// Lines in the committed output files.
    pub(crate) written: u64,
}

/// The result.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Acknowledged lines that were not counted.
    pub(crate) lost: u64,
    /// Counts of a line beyond the first.
    pub(crate) twice: u64,
    /// Counted lines that were never sent.
    pub(crate) invented: u64,
    /// Lines in the output files.
    pub(crate) written: u64,
    /// Lines that should be there.
    pub(crate) lines: u64,
    /// HeardState, all counts added.
    pub(crate) words: u64,
    /// Different words.
    pub(crate) distinct: u64,
    /// HeardState with another count than the true one.
    pub(crate) wrong: u64,
    /// Some of these.
    pub(crate) examples: Vec<WrongWord>,
}

/// A word that was not counted right.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct WrongWord {
    pub(crate) word: String,
    pub(crate) is: u64,
    pub(crate) should_be: u64,
}

impl Verdict {
    /// Whether everything is as it must be.
    pub(crate) fn is_clean(&self) -> bool {
        self.lost == 0
            && self.twice == 0
            && self.invented == 0
            && self.wrong == 0
            && self.written == self.lines
    }
}

/// Compares with the text of which `counts` is the count, sent `rounds` times in `lines` lines, all
/// acknowledged.
pub(crate) fn judge(counts: &Counts, rounds: u64, lines: u64, counted: &Counted) -> Verdict {
    let mut wrong = Vec::new();
    let words: BTreeSet<&String> = counts.keys().chain(counted.words.keys()).collect();
    for word in words {
        let should_be = counts.get(word).copied().unwrap_or(0) * rounds;
        let is = counted.words.get(word).copied().unwrap_or(0);
        if is != should_be {
            wrong.push(WrongWord {
                word: word.clone(),
                is,
                should_be,
            });
        }
    }
    let (mut present, mut twice, mut invented) = (0, 0, 0);
    for (key, lines_seen) in &counted.lines {
        let expected = SeenLines::expected(*key, lines);
        present += u64::from((lines_seen.seen & expected).count_ones());
        invented += u64::from((lines_seen.seen & !expected).count_ones());
        twice += lines_seen.again;
    }
    Verdict {
        lost: lines - present,
        twice,
        invented,
        written: counted.written,
        lines,
        words: counts.values().sum::<u64>() * rounds,
        distinct: counts.len() as u64,
        wrong: wrong.len() as u64,
        examples: {
            wrong.truncate(EXAMPLES);
            wrong
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: u64 = 130;

    fn truth() -> Counts {
        [("a", 3), ("b", 1)].map(|(w, n)| (w.to_owned(), n)).into()
    }

    fn right() -> Counted {
        let words = truth().into_iter().map(|(w, n)| (w, 2 * n)).collect();
        let mut lines = BTreeMap::<u64, SeenLines>::new();
        for number in 0..LINES {
            lines
                .entry(SeenLines::key(number))
                .or_default()
                .add(SeenLines::bit(number));
        }
        Counted {
            words,
            lines,
            written: LINES,
        }
    }

    fn verdict(counted: &Counted) -> Verdict {
        judge(&truth(), 2, LINES, counted)
    }

    #[test]
    fn a_right_count_is_clean() {
        let verdict = verdict(&right());
        assert!(verdict.is_clean(), "{verdict:?}");
        assert_eq!((verdict.words, verdict.distinct), (8, 2));
    }

    #[test]
    fn a_lost_line_is_found_wherever_it_is() {
        for number in 0..LINES {
            let mut counted = right();
            counted.lines.get_mut(&SeenLines::key(number)).unwrap().seen &=
                !(1 << SeenLines::bit(number));
            let verdict = verdict(&counted);
            assert_eq!(
                (verdict.lost, verdict.twice, verdict.is_clean()),
                (1, 0, false)
            );
        }
        let mut counted = right();
        counted.lines.remove(&1);
        assert_eq!(verdict(&counted).lost, 64);
    }

    #[test]
    fn a_line_counted_twice_is_found_even_if_another_is_lost() {
        let mut counted = right();
        counted.lines.get_mut(&0).unwrap().add(5);
        counted.lines.get_mut(&0).unwrap().seen &= !(1 << 7);
        let verdict = verdict(&counted);
        assert_eq!(
            (verdict.lost, verdict.twice, verdict.is_clean()),
            (1, 1, false)
        );
    }

    #[test]
    fn a_line_that_was_never_sent_is_found() {
        let mut counted = right();
        counted
            .lines
            .get_mut(&2)
            .unwrap()
            .add(SeenLines::bit(LINES));
        counted.lines.entry(99).or_default().add(0);
        let verdict = verdict(&counted);
        assert_eq!(
            (verdict.lost, verdict.invented, verdict.is_clean()),
            (0, 2, false)
        );
    }

    #[test]
    fn every_kind_of_wrong_word_is_found() {
        let mut counted = right();
        counted.words.insert("a".to_owned(), 7);
        counted.words.remove("b");
        counted.words.insert("c".to_owned(), 1);
        let verdict = verdict(&counted);
        let found: Vec<_> = verdict
            .examples
            .iter()
            .map(|w| (w.word.as_str(), w.is, w.should_be))
            .collect();
        assert_eq!(found, [("a", 7, 6), ("b", 0, 2), ("c", 1, 0)]);
        assert!(verdict.wrong == 3 && !verdict.is_clean());
    }

    #[test]
    fn output_files_with_a_line_too_few_or_too_many_are_found() {
        for written in [LINES - 1, LINES + 1] {
            assert!(!verdict(&Counted { written, ..right() }).is_clean());
        }
    }
}
