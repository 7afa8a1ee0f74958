//! A key that has most of the values of a batch: one worker does its work, however many there are.

use serde::{Deserialize, Serialize};

/// With fewer values in a batch a key is no burden.
const MIN_VALUES: u64 = 100_000;

/// A key that has at least half of the values that a worker got for an operator in a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HotKey {
    pub(crate) operator: String,
    pub(crate) key: String,
    pub(crate) values: u64,
    /// What the worker got in all.
    pub(crate) of: u64,
}

/// The key that has most values so far. Costs an addition and a comparison for each key.
#[derive(Debug, Default)]
pub(crate) struct Hottest {
    of: u64,
    values: u64,
    key: Option<String>,
}

impl Hottest {
    /// A key has so many values; `show` shows it.
    #[inline]
    pub(crate) fn saw(&mut self, values: u64, show: impl FnOnce() -> String) {
        self.of += values;
        if values > self.values && values >= MIN_VALUES {
            self.values = values;
            self.key = Some(show());
        }
    }

    /// The key, if it is hot.
    pub(crate) fn hot(self, operator: impl FnOnce() -> String) -> Option<HotKey> {
        let Self { of, values, key } = self;
        let key = key.filter(|_| values >= of / 2)?;
        Some(HotKey {
            operator: operator(),
            key,
            values,
            of,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hot(values: &[u64]) -> Option<(String, u64, u64)> {
        let mut hottest = Hottest::default();
        for (n, values) in values.iter().enumerate() {
            hottest.saw(*values, || n.to_string());
        }
        let hot = hottest.hot(|| "group_by_key".to_owned());
        hot.map(|hot| (hot.key, hot.values, hot.of))
    }

    #[test]
    fn a_key_is_hot_with_half_of_many_values() {
        let of = |key: &str, values, of| Some((key.to_owned(), values, of));
        assert_eq!(hot(&[5, 200_000, 150_000, 9]), of("1", 200_000, 350_014));
        assert_eq!(hot(&[100_000, 150_000]), of("1", 150_000, 250_000));
        assert_eq!(hot(&[100_000, 100_000, 100_000]), None);
        assert_eq!(hot(&[99_999]), None);
        assert_eq!(hot(&[]), None);
    }
}
