//! The values of one key in a window, put together with a function that has an inverse: a running
//! total, which old panes leave and new ones enter.

use crate::operators::windows::panes::Panes;
use crate::operators::windows::span::Ending;
use crate::operators::windows::stacks::Combine;
use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};

/// A running total of one key, and the panes that are in it or will be.
#[derive(Debug, Clone)]
pub(crate) struct Running<V> {
    panes: Panes<V>,
    /// The first so many of them are in the total.
    counted: usize,
    /// The window at the last end of a slide; none before the first one.
    total: Option<V>,
}

impl<V> Default for Running<V> {
    fn default() -> Self {
        Self {
            panes: Panes::default(),
            counted: 0,
            total: None,
        }
    }
}

impl<V> Running<V> {
    /// Whether no value is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.panes.is_empty()
    }

    /// The window at the last end of a slide.
    pub(crate) fn total(&self) -> Option<&V> {
        self.total.as_ref()
    }

    /// What was changed last: the total and the newest pane.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &V> {
        let newest = self.panes.iter().next_back();
        [self.total.as_ref(), newest].into_iter().flatten()
    }

    /// Whether a window that ends changes the total.
    pub(crate) fn is_due(&self, ending: Ending) -> bool {
        self.counted < self.panes.len() || self.panes.is_due(ending.outside_ms, ending.at_ms)
    }
}

impl<V: Clone> Running<V> {
    /// Adds a value to the pane that ends at `end`, the newest one.
    pub(crate) fn add(&mut self, end: u64, value: V, f: &Combine<V>) {
        self.panes.clamp(end);
        let is_open = self.counted < self.panes.len();
        let value = match is_open.then(|| self.panes.take_newest(end)).flatten() {
            Some(before) => f(before, value),
            None => value,
        };
        self.panes.push(end, value);
    }

    /// A window ends: as in Spark, what has left is put together and taken away first, then what is
    /// new is put together and added.
    pub(crate) fn close(&mut self, ending: Ending, f: &Combine<V>, inverse: &Combine<V>) {
        self.panes.clamp(ending.at_ms);
        let mut old = None;
        while let Some(value) = self.panes.leave(ending.outside_ms) {
            // What came and went while no window ended was never added.
            if self.counted > 0 {
                self.counted -= 1;
                old = Some(match old.take() {
                    Some(older) => f(older, value),
                    None => value,
                });
            }
        }
        let new = self.panes.iter().skip(self.counted);
        let new = new.cloned().reduce(f);
        self.counted = self.panes.len();
        let rest = match (self.total.take(), old) {
            (Some(total), Some(old)) => Some(inverse(total, old)),
            (total, _) => total,
        };
        self.total = match (rest, new) {
            (Some(rest), Some(new)) => Some(f(rest, new)),
            (rest, new) => rest.or(new),
        };
    }
}

/// The total is written as a list, because an `Option` in an `Option` does not come back from
/// MessagePack.
impl<V: Serialize> Serialize for Running<V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (&self.panes, self.counted, self.total.as_slice()).serialize(serializer)
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Running<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (panes, counted, mut total) = <(Panes<V>, usize, Vec<V>)>::deserialize(deserializer)?;
        Ok(Self {
            panes,
            counted,
            total: total.pop(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::message_pack;
    use crate::operators::windows::span::Span;
    use proptest::prelude::*;
    use std::time::Duration;

    proptest! {
        /// Against the definition: the values of `(t - length, t]`. Time stands still, jumps over
        /// ends of slides, and the window goes through checkpoints.
        #[test]
        fn a_running_total_is_the_sum_of_the_window(
            length in 1_u64..9,
            slide in 1_u64..9,
            steps in prop::collection::vec((prop::option::of(1_i64..100), 0_u64..3), 1..100),
        ) {
            let [l, s] = [length, slide].map(Duration::from_millis);
            let span = Span::new(l, s, 1, "w").unwrap();
            let (mut running, mut model) = (Running::<i64>::default(), Vec::new());
            let mut time = 1_000_u64;
            for (value, by) in steps {
                time += by;
                let pane = span.pane(time, 0);
                let is_over = by == 0 && time.is_multiple_of(slide);
                if let Some(value) = value.filter(|_| span.has(pane, 0) && !is_over) {
                    running.add(pane, value, &|a, b| a + b);
                    model.push((time, value));
                }
                if time.is_multiple_of(slide) && by > 0 {
                    let ending = span.ending(time);
                    let is_due = running.is_due(ending);
                    let before = running.total;
                    running.close(ending, &|a, b| a + b, &|a, b| a - b);
                    prop_assert!(is_due || running.total == before);
                    let in_window = model.iter().filter(|(t, _)| time - t < length);
                    let sum: i64 = in_window.map(|(_, value)| value).sum();
                    prop_assert_eq!(running.total.unwrap_or(0), sum);
                    prop_assert!(!running.is_due(ending), "nothing is left to do");
                    let span_panes = usize::try_from(length / span.pane_ms()).unwrap();
                    prop_assert!(running.panes.len() <= span_panes, "{running:?}");
                }
                let bytes = message_pack::encode(&running).unwrap();
                running = message_pack::decode(&bytes).unwrap();
            }
        }
    }

    #[test]
    fn values_leave_before_others_enter_in_their_order() {
        let show = |a: String, b: String| format!("({a}+{b})");
        let less = |a: String, b: String| format!("({a}-{b})");
        let span = Span::new(Duration::from_millis(4), Duration::from_millis(2), 1, "w").unwrap();
        let mut running = Running::default();
        let mut totals = Vec::new();
        for time in 1_u64..=6 {
            running.add(span.pane(time, 0), time.to_string(), &show);
            if time % 2 == 0 {
                running.close(span.ending(time), &show, &less);
                totals.push(running.total().unwrap().clone());
            }
        }
        assert_eq!(
            totals,
            ["(1+2)", "((1+2)+(3+4))", "((((1+2)+(3+4))-(1+2))+(5+6))"]
        );
    }
}
