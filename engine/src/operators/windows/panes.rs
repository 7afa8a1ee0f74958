//! What a key has in the panes of a window: a queue, oldest pane first.

use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};
use std::sync::Arc;

/// What a key has in one pane: the end of the pane, and a value.
pub(crate) type Pane<V> = (u64, V);

/// A queue of panes, oldest first.
///
/// The older half is shared and never changed. So a copy of the queue, which the state table takes
/// before a change, copies only the younger half.
#[derive(Debug, Clone)]
pub(crate) struct Panes<V> {
    front: Arc<[Pane<V>]>,
    /// So many of `front` have left.
    gone: usize,
    back: Vec<Pane<V>>,
}

impl<V> Default for Panes<V> {
    fn default() -> Self {
        Self {
            front: Arc::from([]),
            gone: 0,
            back: Vec::new(),
        }
    }
}

impl<V> Panes<V> {
    fn live_front(&self) -> &[Pane<V>] {
        self.front.get(self.gone..).unwrap_or_default()
    }

    pub(crate) fn len(&self) -> usize {
        self.live_front().len() + self.back.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Pane<V>> {
        self.live_front().iter().chain(&self.back)
    }

    /// The end of the oldest pane.
    pub(crate) fn oldest(&self) -> Option<u64> {
        let oldest = self.live_front().first().or_else(|| self.back.first());
        oldest.map(|(end, _)| *end)
    }

    /// The end of the newest pane.
    pub(crate) fn newest(&self) -> Option<u64> {
        let newest = self.back.last().or_else(|| self.live_front().last());
        newest.map(|(end, _)| *end)
    }

    /// Adds a pane at the end.
    pub(crate) fn push(&mut self, end: u64, value: V) {
        self.back.push((end, value));
    }

    /// Takes the newest pane, if it ends at `end` and can still be changed.
    pub(crate) fn take_newest(&mut self, end: u64) -> Option<V> {
        let newest = self.back.pop_if(|(newest, _)| *newest == end)?;
        Some(newest.1)
    }

    /// The oldest pane leaves, if it ends at `outside` or earlier.
    pub(crate) fn leave(&mut self, outside: u64) -> Option<V>
    where
        V: Clone,
    {
        self.oldest().filter(|oldest| *oldest <= outside)?;
        if self.live_front().is_empty() {
            self.front = std::mem::take(&mut self.back).into();
            self.gone = 0;
        }
        let (_, value) = self.live_front().first()?;
        let value = value.clone();
        self.gone += 1;
        if self.live_front().is_empty() {
            (self.front, self.gone) = (Arc::from([]), 0);
        }
        Some(value)
    }

    /// Panes that end after `end` end there from now on: the clock was set back.
    pub(crate) fn clamp(&mut self, end: u64)
    where
        V: Clone,
    {
        if self.newest().is_none_or(|newest| newest <= end) {
            return;
        }
        let panes = self.iter().map(|(e, value)| ((*e).min(end), value.clone()));
        *self = panes.collect();
    }
}

impl<V> FromIterator<Pane<V>> for Panes<V> {
    fn from_iter<I: IntoIterator<Item = Pane<V>>>(panes: I) -> Self {
        Self {
            back: panes.into_iter().collect(),
            ..Self::default()
        }
    }
}

/// Two lists: where the queue is split decides which pane can still be changed, and so how values
/// are put together. A restart must not change that.
impl<V: Serialize> Serialize for Panes<V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.live_front(), &self.back).serialize(serializer)
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Panes<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (front, back) = <(Vec<Pane<V>>, Vec<Pane<V>>)>::deserialize(deserializer)?;
        Ok(Self {
            front: front.into(),
            gone: 0,
            back,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::message_pack;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    proptest! {
        #[test]
        fn panes_are_a_queue(steps in prop::collection::vec((0_u8..8, 0_u64..4), 0..200)) {
            let (mut panes, mut model) = (Panes::<u64>::default(), VecDeque::new());
            let mut copies = Vec::new();
            let (mut end, mut value) = (100, 0);
            for (step, by) in steps {
                value += 1;
                match step {
                    0..3 => {
                        end += by;
                        panes.push(end, value);
                        model.push_back((end, value));
                    }
                    3..6 => {
                        let outside = end - 5;
                        let left = panes.leave(outside);
                        let oldest = model.front().filter(|(e, _)| *e <= outside).copied();
                        prop_assert_eq!(left, oldest.map(|(_, v)| v));
                        if oldest.is_some() {
                            model.pop_front();
                        }
                    }
                    6 => {
                        end -= by;
                        panes.clamp(end);
                        model.iter_mut().for_each(|(e, _)| *e = (*e).min(end));
                    }
                    _ => {
                        copies.push((panes.clone(), model.clone()));
                        let bytes = message_pack::encode(&panes).unwrap();
                        panes = message_pack::decode(&bytes).unwrap();
                    }
                }
                copies.push((panes.clone(), model.clone()));
                for (panes, model) in &copies {
                    prop_assert!(panes.iter().eq(model.iter()), "{:?} {:?}", panes, model);
                    prop_assert_eq!(panes.len(), model.len());
                    prop_assert_eq!(panes.oldest(), model.front().map(|(e, _)| *e));
                    prop_assert_eq!(panes.newest(), model.back().map(|(e, _)| *e));
                }
            }
        }
    }
}
