//! A record that was refused while a batch ran, and how many may be.

use crate::refused::place::Place;
use std::sync::atomic::{AtomicU64, Ordering};

/// The longest text of an error that is kept, in bytes.
const MAX_ERROR: usize = 1024;

/// An input of an operator that was refused in the batch that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Noted {
    /// The operator, by its index.
    pub(crate) operator: usize,
    pub(crate) place: Place,
    /// What a dead letter has of it; `None` if it is skipped.
    pub(crate) letter: Option<NotedLetter>,
}

/// What is put aside of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NotedLetter {
    /// The record, encoded.
    pub(crate) input: Vec<u8>,
    pub(crate) error: String,
}

/// How many records of a batch may be refused, on all workers together.
#[derive(Debug)]
pub(crate) struct Budget {
    max: u64,
    max_bytes: u64,
    count: AtomicU64,
    bytes: AtomicU64,
}

impl Default for Budget {
    fn default() -> Self {
        Self::new(u64::MAX, u64::MAX)
    }
}

impl Budget {
    pub(crate) fn new(max: u64, max_bytes: u64) -> Self {
        Self {
            max,
            max_bytes,
            count: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }
    }

    /// Takes one record out of it; an error that names the setting if too many were refused. So the
    /// memory of a batch of garbage is bounded, and it fails instead of being eaten.
    pub(crate) fn spend(&self, letter: Option<&NotedLetter>) -> Result<(), String> {
        let count = self.count.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let size = letter.map_or(0, |letter| {
            let size = letter.input.len().saturating_add(letter.error.len());
            u64::try_from(size).unwrap_or(u64::MAX)
        });
        let bytes = self.bytes.fetch_add(size, Ordering::Relaxed);
        let bytes = bytes.saturating_add(size);
        if count > self.max {
            return Err(format!(
                "more than {} records of this batch were refused, which is the bound. If they are meant to be left out, set a larger .max_refused_records(..) on the builder",
                self.max
            ));
        }
        if bytes > self.max_bytes {
            return Err(format!(
                "the dead letters of this batch have more than {} bytes, which is the bound of all of them. Set a larger .max_dead_letter_bytes(..) on the builder",
                self.max_bytes
            ));
        }
        Ok(())
    }
}

/// The text of an error, cut off where it is too long.
pub(crate) fn bounded(error: &str) -> String {
    if error.len() <= MAX_ERROR {
        return error.to_owned();
    }
    let ends = error.char_indices().map(|(at, _)| at);
    let end = ends.take_while(|at| *at <= MAX_ERROR).last().unwrap_or(0);
    format!("{} ...", error.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_after_the_last_one_that_may_be_refused_is_an_error() {
        let budget = Budget::new(2, u64::MAX);
        budget.spend(None).unwrap();
        budget.spend(None).unwrap();
        let error = budget.spend(None).unwrap_err();
        assert!(error.contains("more than 2 records") && error.contains("max_refused_records"));
        let letter = NotedLetter {
            input: vec![0; 6],
            error: "four".to_owned(),
        };
        Budget::new(9, 10).spend(Some(&letter)).unwrap();
        let error = Budget::new(9, 9).spend(Some(&letter)).unwrap_err();
        assert!(error.contains("max_dead_letter_bytes"), "{error}");
    }

    #[test]
    fn a_long_error_is_cut_off_between_two_characters() {
        assert_eq!(bounded("short"), "short");
        let long = bounded(&"ä".repeat(2000));
        assert!(
            long.len() <= MAX_ERROR + 4 && long.ends_with("ä ..."),
            "{long}"
        );
    }
}
