//! The programs that are measured, written as a user writes them.

use highwater::{DStream, KeyState, Line, StreamScope};
use serde::Serialize;

/// What a program does with the words of the corpus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Program {
    /// A running count of each word, in owned keys.
    Running,
    /// The same in borrowed keys, and the changed ones lent to a reader.
    Borrowed,
    /// The count of each word in the batch.
    OfBatch,
}

impl Program {
    /// Every program.
    pub(crate) const ALL: [Self; 3] = [Self::Running, Self::Borrowed, Self::OfBatch];

    /// What people call it.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Running => "running word count (update_state_by_key_changed)",
            Self::Borrowed => "running word count in borrowed keys (key_by_ref)",
            Self::OfBatch => "word count of the batch (reduce_by_key)",
        }
    }

    /// What the counts of a batch add up to, if it is the `rounds`-th with so many words.
    pub(crate) fn expected(self, words: u64, rounds: usize) -> u64 {
        match self {
            Self::Running | Self::Borrowed => words * u64::try_from(rounds).unwrap_or(u64::MAX),
            Self::OfBatch => words,
        }
    }

    /// Adds the program to a scope. `tell` gets the sum of what each batch's output counted.
    pub(crate) fn build(
        self,
        _scope: &StreamScope,
        lines: &DStream<Line>,
        tell: impl Fn(u64) + Send + Sync + 'static,
    ) {
        if self == Self::Borrowed {
            let counts = lines
                .key_by_ref::<str, u64>(|line, out| {
                    line.split_ascii_whitespace()
                        .for_each(|word| out.emit(word, 1));
                })
                .reduce(|total, n| *total += n)
                .update_state("counts", |_, n, count: &mut KeyState<'_, u64>| {
                    count.update(count.get().copied().unwrap_or(0) + n);
                });
            let counts = counts.cloned();
            counts.for_each_batch(
                "counts of the batch",
                move |_, counts: Vec<(String, u64)>| {
                    tell(counts.iter().map(|(_, count)| count).sum());
                },
            );
            return;
        }
        let words = lines
            .flat_map_into(|line: Line, out| {
                line.split_ascii_whitespace()
                    .for_each(|word| out.emit(word.to_owned()));
            })
            .map(|word| (word, 1_u64));
        let counts = match self {
            Self::Running | Self::Borrowed => {
                words.update_state_by_key_changed("counts", |_, new, total: &mut Option<u64>| {
                    *total = Some(total.unwrap_or(0) + new.iter().sum::<u64>());
                })
            }
            Self::OfBatch => words.reduce_by_key(|a, b| a + b),
        };
        counts.for_each_batch(
            "counts of the batch",
            move |_, counts: Vec<(String, u64)>| {
                tell(counts.iter().map(|(_, count)| count).sum());
            },
        );
    }
}
