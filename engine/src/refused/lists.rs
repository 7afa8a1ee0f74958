//! What the log keeps of refused records: the places of the inputs that each operator has refused,
//! as runs.

use crate::refused::noted::Noted;
use crate::refused::place::Place;
use highwater_wal::Lsn;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Records one after the other in one frame, each the first input that was made of it, or one that
/// was not the first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Run {
    /// The frame.
    lsn: Lsn,
    /// The first record.
    index: u32,
    /// Which of the inputs that were made of it; 0 where there are several records.
    #[serde(default, skip_serializing_if = "is_zero")]
    input: u32,
    /// How many more records follow.
    #[serde(default, skip_serializing_if = "is_zero")]
    more: u32,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// An input that was made of a whole batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct OfBatch {
    chunk: Vec<u64>,
    input: u32,
}

/// The inputs that one operator has refused in a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RefusedBy {
    /// Name of the operator.
    pub(crate) operator: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    runs: Vec<Run>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    of_batch: Vec<OfBatch>,
}

/// What a batch has refused.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Refused {
    /// Records that were left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) skips: Vec<RefusedBy>,
    /// Records that were left out and put aside.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) dead_letters: Vec<RefusedBy>,
}

/// How many records an operator has refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RefusedCount {
    pub(crate) skipped: u64,
    pub(crate) dead_letters: u64,
}

impl RefusedBy {
    fn new(operator: &str, places: impl IntoIterator<Item = Place>) -> Self {
        let mut list = Self {
            operator: operator.to_owned(),
            runs: Vec::new(),
            of_batch: Vec::new(),
        };
        for place in places {
            list.push(place);
        }
        list
    }

    fn push(&mut self, place: Place) {
        match place {
            Place::Batch { chunk, input } => self.of_batch.push(OfBatch { chunk, input }),
            Place::Log { lsn, index, input } => match self.runs.last_mut() {
                Some(run)
                    if (run.lsn, run.input, input) == (lsn, 0, 0)
                        && run
                            .index
                            .checked_add(run.more)
                            .and_then(|n| n.checked_add(1))
                            == Some(index) =>
                {
                    run.more += 1;
                }
                _ => self.runs.push(Run {
                    lsn,
                    index,
                    input,
                    more: 0,
                }),
            },
        }
    }

    /// The places of the inputs.
    pub(crate) fn places(&self) -> impl Iterator<Item = Place> + '_ {
        let of_log = self.runs.iter().flat_map(|run| {
            (0..=run.more).map(|n| Place::Log {
                lsn: run.lsn,
                index: run.index.saturating_add(n),
                input: run.input,
            })
        });
        let of_batch = self.of_batch.iter().map(|of| Place::Batch {
            chunk: of.chunk.clone(),
            input: of.input,
        });
        of_log.chain(of_batch)
    }

    /// Moves what is written in about `bytes` bytes out of it.
    fn split_off(&mut self, bytes: usize) -> Self {
        let (mut runs, mut of_batch, mut left) = (Vec::new(), Vec::new(), bytes);
        let mut take = |bytes: usize| {
            let fits = left >= bytes;
            left = left.saturating_sub(bytes);
            fits
        };
        while self.runs.pop_if(|_| take(RUN_BYTES)).is_some_and(|run| {
            runs.push(run);
            true
        }) {}
        while self
            .of_batch
            .pop_if(|of| take(RUN_BYTES.saturating_add(of.chunk.len().saturating_mul(9))))
            .is_some_and(|of| {
                of_batch.push(of);
                true
            })
        {}
        Self {
            operator: self.operator.clone(),
            runs,
            of_batch,
        }
    }

    fn is_empty(&self) -> bool {
        self.runs.is_empty() && self.of_batch.is_empty()
    }
}

/// No run is longer in bytes: four names and numbers.
const RUN_BYTES: usize = 48;

impl Refused {
    /// The lists of what was noted in a batch. `name` is that of an operator.
    pub(crate) fn of<'a>(noted: &[Noted], name: impl Fn(usize) -> &'a str) -> Result<Self, String> {
        let mut places = BTreeMap::<(bool, &str), BTreeSet<Place>>::new();
        for Noted {
            operator,
            place,
            letter,
        } in noted
        {
            let operator = name(*operator);
            let known = places.entry((letter.is_some(), operator)).or_default();
            if !known.insert(place.clone()) {
                return Err(format!(
                    "operator {operator} has refused two records of one place, {place}: a rebuild could not tell them apart"
                ));
            }
        }
        let mut refused = Self::default();
        for ((is_letter, operator), places) in places {
            let list = RefusedBy::new(operator, places);
            match is_letter {
                true => refused.dead_letters.push(list),
                false => refused.skips.push(list),
            }
        }
        Ok(refused)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.skips.is_empty() && self.dead_letters.is_empty()
    }

    /// Takes in a part of the same batch.
    pub(crate) fn append(&mut self, mut part: Self) {
        self.skips.append(&mut part.skips);
        self.dead_letters.append(&mut part.dead_letters);
    }

    /// Parts of which each is written in about `bytes` bytes at most.
    pub(crate) fn into_parts(self, bytes: usize) -> Vec<Self> {
        let split = |lists: Vec<RefusedBy>| {
            lists.into_iter().flat_map(move |mut list| {
                // So much is left for the places; one of them at least.
                let room = bytes.saturating_sub(list.operator.len()).max(4 * RUN_BYTES);
                std::iter::from_fn(move || (!list.is_empty()).then(|| list.split_off(room)))
            })
        };
        let skips = split(self.skips).map(|list| Self {
            skips: vec![list],
            dead_letters: Vec::new(),
        });
        let letters = split(self.dead_letters).map(|list| Self {
            skips: Vec::new(),
            dead_letters: vec![list],
        });
        skips.chain(letters).collect()
    }

    /// How many records each operator has refused, by its name.
    pub(crate) fn counts(&self) -> BTreeMap<String, RefusedCount> {
        let mut counts = BTreeMap::<String, RefusedCount>::new();
        let count = |list: &RefusedBy| u64::try_from(list.places().count()).unwrap_or(u64::MAX);
        for list in &self.skips {
            counts.entry(list.operator.clone()).or_default().skipped += count(list);
        }
        for list in &self.dead_letters {
            counts
                .entry(list.operator.clone())
                .or_default()
                .dead_letters += count(list);
        }
        counts
    }

    /// What an operator leaves out when the batch is run again. `index` is that of an operator's
    /// name; what has none in this program is nobody's.
    pub(crate) fn places(
        &self,
        index: impl Fn(&str) -> Option<usize>,
    ) -> BTreeMap<usize, BTreeSet<Place>> {
        let mut places = BTreeMap::<usize, BTreeSet<Place>>::new();
        for list in self.skips.iter().chain(&self.dead_letters) {
            if let Some(operator) = index(&list.operator) {
                places.entry(operator).or_default().extend(list.places());
            }
        }
        places
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::message_pack;
    use crate::refused::noted::NotedLetter;

    fn at(lsn: u64, index: u32, input: u32) -> Place {
        let lsn = Lsn::new(lsn);
        Place::Log { lsn, index, input }
    }

    fn of_batch(chunk: &[u64], input: u32) -> Place {
        let chunk = chunk.to_vec();
        Place::Batch { chunk, input }
    }

    fn noted(operator: usize, place: Place, is_letter: bool) -> Noted {
        let letter = is_letter.then(|| NotedLetter {
            input: Vec::new(),
            error: String::new(),
        });
        Noted {
            operator,
            place,
            letter,
        }
    }

    fn name(operator: usize) -> &'static str {
        ["first", "second"][operator]
    }

    #[test]
    fn records_in_a_row_are_one_run_and_come_back() {
        let places = [
            at(8, 1, 0),
            at(8, 2, 0),
            at(8, 3, 0),
            at(8, 3, 1),
            at(8, 4, 0),
            at(16, 5, 0),
            at(16, 7, 0),
            of_batch(&[0, 3], 4),
        ];
        let list = RefusedBy::new("parse", places.clone());
        assert_eq!((list.runs.len(), list.of_batch.len()), (5, 1));
        assert_eq!(list.places().collect::<Vec<_>>(), places);
        let bytes = message_pack::encode(&list).unwrap();
        assert_eq!(message_pack::decode::<RefusedBy>(&bytes).unwrap(), list);
        let many = RefusedBy::new("parse", (1..=10_000).map(|index| at(8, index, 0)));
        assert!(message_pack::encode(&many).unwrap().len() < 100);
    }

    #[test]
    fn lists_are_in_order_whatever_came_first() {
        let all = [
            noted(1, at(16, 1, 0), true),
            noted(0, at(8, 2, 0), false),
            noted(0, at(8, 1, 0), false),
            noted(0, at(24, 1, 0), true),
        ];
        let mut reversed = all.to_vec();
        reversed.reverse();
        let refused = Refused::of(&all, name).unwrap();
        assert_eq!(refused, Refused::of(&reversed, name).unwrap());
        let first = RefusedCount {
            skipped: 2,
            dead_letters: 1,
        };
        let second = RefusedCount {
            skipped: 0,
            dead_letters: 1,
        };
        let counts = [("first".to_owned(), first), ("second".to_owned(), second)];
        assert_eq!(refused.counts(), BTreeMap::from(counts));
        let places = refused.places(|name| (name == "first").then_some(7));
        let expected = [at(8, 1, 0), at(8, 2, 0), at(24, 1, 0)];
        assert_eq!(places, BTreeMap::from([(7, BTreeSet::from(expected))]));
    }

    #[test]
    fn one_place_twice_is_an_error() {
        let twice = [noted(0, at(8, 1, 0), false), noted(0, at(8, 1, 0), false)];
        let error = Refused::of(&twice, name).unwrap_err();
        assert!(
            error.contains("first") && error.contains("8.1.0"),
            "{error}"
        );
    }

    #[test]
    fn parts_are_small_and_are_the_whole_together() {
        let log = (1..500).map(|n| noted(0, at(n * 8, 3, 0), n % 2 == 0));
        let batch = (1..200).map(|n| noted(1, of_batch(&[1, 2, n], 7), n % 3 == 0));
        let all: Vec<Noted> = log.chain(batch).collect();
        let whole = Refused::of(&all, name).unwrap();
        let parts = whole.clone().into_parts(1000);
        assert!(parts.len() > 10, "{}", parts.len());
        let mut together = Refused::default();
        for part in parts {
            assert!(message_pack::encode(&part).unwrap().len() < 1100);
            together.append(part);
        }
        assert_eq!(together.counts(), whole.counts());
        let index = |name: &str| Some(name.len());
        assert_eq!(together.places(index), whole.places(index));
        assert_eq!(Refused::default().into_parts(10), []);
    }
}
