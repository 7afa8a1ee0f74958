//! The programs that are measured, written as a user writes them.

use highwater::{DStream, KeyState, Line, StreamScope};
use serde::Serialize;
use std::time::Duration;

/// Batches of a window.
pub(crate) const PANES: u32 = 60;
/// So much longer than any batch takes that each has the tick after the last one's.
pub(crate) const INTERVAL: Duration = Duration::from_secs(3600);

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
    /// The count of each word in the last batches; all are emitted with every batch.
    Windowed,
    /// Two streams of lines, joined by line.
    Joined,
}

impl Program {
    /// Every program.
    pub(crate) const ALL: [Self; 5] = [
        Self::Running,
        Self::Borrowed,
        Self::OfBatch,
        Self::Windowed,
        Self::Joined,
    ];

    /// What people call it.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Running => "running word count (update_state_by_key_changed)",
            Self::Borrowed => "running word count in borrowed keys (key_by_ref)",
            Self::OfBatch => "word count of the batch (reduce_by_key)",
            Self::Windowed => "word count of 60 batches (reduce_by_key_and_window_inverse)",
            Self::Joined => "two streams of lines (join)",
        }
    }

    /// How many batches run before the first that is measured. A window is full then, and that
    /// takes batches of a 60th part of the text.
    pub(crate) fn batches_before(self) -> u32 {
        match self {
            Self::Windowed => PANES,
            _ => 1,
        }
    }

    /// Adds the program to a scope. `tell` gets the sum of what each batch's output counted.
    pub(crate) fn build(
        self,
        _scope: &StreamScope,
        lines: &DStream<Line>,
        tell: impl Fn(u64) + Send + Sync + 'static,
    ) {
        if self == Self::Joined {
            return joined(lines, tell);
        }
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
            Self::Running | Self::Borrowed | Self::Joined => {
                words.update_state_by_key_changed("counts", |_, new, total: &mut Option<u64>| {
                    *total = Some(total.unwrap_or(0) + new.iter().sum::<u64>());
                })
            }
            Self::OfBatch => words.reduce_by_key(|a, b| a + b),
            Self::Windowed => words.reduce_by_key_and_window_inverse_with_filter(
                "counts of the window",
                |a, b| a + b,
                |a, b| a - b,
                INTERVAL * PANES,
                INTERVAL,
                |_, count| *count > 0,
            ),
        };
        counts.for_each_batch(
            "counts of the batch",
            move |_, counts: Vec<(String, u64)>| {
                tell(counts.iter().map(|(_, count)| count).sum());
            },
        );
    }
}

/// Each line of one stream with each line of the other one that is the same.
fn joined(lines: &DStream<Line>, tell: impl Fn(u64) + Send + Sync + 'static) {
    let side = || lines.map(|line: Line| (line.to_string(), 1_u64));
    side().join(&side()).for_each_batch(
        "pairs of the batch",
        move |_, pairs: Vec<(String, (u64, u64))>| {
            tell(pairs.iter().map(|(_, (one, other))| one * other).sum());
        },
    );
}
