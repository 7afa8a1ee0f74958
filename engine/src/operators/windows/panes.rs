//! What a key has in the panes of a window: a queue, oldest pane first.

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// What a key has in one pane: the end of the pane, and a value.
pub(crate) type Pane<V> = (u64, V);

/// A queue of panes, oldest first.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Panes<V>(VecDeque<Pane<V>>);

impl<V> Default for Panes<V> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<V> Panes<V> {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &V> {
        self.0.iter().map(|(_, value)| value)
    }

    /// The same, to be changed.
    pub(crate) fn iter_mut(&mut self) -> impl DoubleEndedIterator<Item = &mut V> {
        self.0.iter_mut().map(|(_, value)| value)
    }

    /// The end of the oldest pane.
    pub(crate) fn oldest(&self) -> Option<u64> {
        self.0.front().map(|(end, _)| *end)
    }

    /// The end of the newest pane.
    pub(crate) fn newest(&self) -> Option<u64> {
        self.0.back().map(|(end, _)| *end)
    }

    /// Adds a pane at the end.
    pub(crate) fn push(&mut self, end: u64, value: V) {
        self.0.push_back((end, value));
    }

    /// Takes the newest pane, if it ends at `end`.
    pub(crate) fn take_newest(&mut self, end: u64) -> Option<V> {
        let newest = self.0.pop_back_if(|(newest, _)| *newest == end)?;
        Some(newest.1)
    }

    /// The oldest pane leaves, if it ends at `outside` or earlier.
    pub(crate) fn leave(&mut self, outside: u64) -> Option<V> {
        let oldest = self.0.pop_front_if(|(end, _)| *end <= outside)?;
        Some(oldest.1)
    }

    /// Panes that end after `end` end there from now on: the clock was set back.
    pub(crate) fn clamp(&mut self, end: u64) {
        // Ends ascend.
        let later = self.0.iter_mut().rev().take_while(|(pane, _)| *pane > end);
        later.for_each(|(pane, _)| *pane = end);
    }

    /// Whether a window that ends at `now` changes anything: panes up to `outside` leave.
    pub(crate) fn is_due(&self, outside: u64, now: u64) -> bool {
        self.oldest().is_some_and(|oldest| oldest <= outside)
            || self.newest().is_some_and(|newest| newest > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn panes_are_a_queue(steps in prop::collection::vec((0_u8..8, 0_u64..4), 0..200)) {
            let (mut panes, mut model) = (Panes::<u64>::default(), Vec::<Pane<u64>>::new());
            let (mut end, mut value) = (100, 0);
            for (step, by) in steps {
                value += 1;
                match step {
                    0..3 => {
                        end += by;
                        panes.push(end, value);
                        model.push((end, value));
                    }
                    3..6 => {
                        let (outside, left) = (end - 5, panes.leave(end - 5));
                        let oldest = model.first().filter(|(e, _)| *e <= outside).copied();
                        prop_assert_eq!(left, oldest.map(|(_, v)| v));
                        model.drain(..usize::from(oldest.is_some()));
                    }
                    6 => {
                        let is_due = panes.is_due(0, end - by);
                        prop_assert_eq!(is_due, model.iter().any(|(e, _)| *e > end - by));
                        end -= by;
                        panes.clamp(end);
                        model.iter_mut().for_each(|(e, _)| *e = (*e).min(end));
                    }
                    _ => {
                        let newest = model.pop_if(|(e, _)| *e == end - by);
                        prop_assert_eq!(panes.take_newest(end - by), newest.map(|(_, v)| v));
                    }
                }
                prop_assert!(panes.iter().eq(model.iter().map(|(_, v)| v)), "{:?}", panes);
                prop_assert_eq!(panes.len(), model.len());
                prop_assert_eq!(panes.oldest(), model.first().map(|(e, _)| *e));
                prop_assert_eq!(panes.newest(), model.last().map(|(e, _)| *e));
            }
        }
    }
}
