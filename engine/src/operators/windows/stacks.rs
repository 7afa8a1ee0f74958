//! The values of one key in a window, put together with a function that has no inverse: two stacks.
//!
//! The older stack has, for each pane, everything from there to its newest pane put together. The
//! younger one has panes as they are, and all but the last of them put together. So a window is at
//! most three values, and every pane is put together twice while it is in the window.

use crate::operators::windows::panes::Panes;
use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};

/// Puts two values together; the first is the older one.
pub(crate) type Combine<V> = dyn Fn(V, V) -> V + Send + Sync;

/// The values of one key in a window.
#[derive(Debug, Clone)]
pub(crate) struct Stacks<V> {
    /// Oldest first: each pane with all that follow in here.
    older: Panes<V>,
    younger: Panes<V>,
    /// All of `younger` but the last, put together.
    closed: Option<V>,
}

impl<V> Default for Stacks<V> {
    fn default() -> Self {
        Self {
            older: Panes::default(),
            younger: Panes::default(),
            closed: None,
        }
    }
}

impl<V> Stacks<V> {
    pub(crate) fn is_empty(&self) -> bool {
        self.younger.is_empty() && self.older.is_empty()
    }

    /// The values of which the window consists, in order.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &V> {
        let (older, newest) = (self.older.iter().next(), self.younger.iter().next_back());
        [older, self.closed.as_ref(), newest].into_iter().flatten()
    }

    /// Whether [`Self::leave`] changes anything.
    pub(crate) fn is_due(&self, outside: u64, now: u64) -> bool {
        self.older.is_due(outside, now) || self.younger.is_due(outside, now)
    }
}

impl<V: Clone> Stacks<V> {
    /// Adds a value to the pane that ends at `end`, the newest one.
    pub(crate) fn add(&mut self, end: u64, value: V, f: &Combine<V>) {
        self.clamp(end);
        if let Some(before) = self.younger.take_newest(end) {
            self.younger.push(end, f(before, value));
            return;
        }
        if let Some(last) = self.younger.iter().next_back().cloned() {
            self.closed = Some(match self.closed.take() {
                Some(closed) => f(closed, last),
                None => last,
            });
        }
        self.younger.push(end, value);
    }

    /// A window ends at `now`: panes that end at `outside` or earlier leave.
    pub(crate) fn leave(&mut self, outside: u64, now: u64, f: &Combine<V>) {
        self.clamp(now);
        while self.older.leave(outside).is_some() {}
        if !self.older.is_empty() || self.younger.leave(outside).is_none() {
            return;
        }
        while self.younger.leave(outside).is_some() {}
        self.closed = None;
        self.older = std::mem::take(&mut self.younger);
        let mut later: Option<V> = None;
        for value in self.older.iter_mut().rev() {
            if let Some(later) = later.take() {
                *value = f(value.clone(), later);
            }
            later = Some(value.clone());
        }
    }

    /// Everything put together, in order.
    pub(crate) fn total(&self, f: &Combine<V>) -> Option<V> {
        self.parts().cloned().reduce(f)
    }

    fn clamp(&mut self, end: u64) {
        self.older.clamp(end);
        self.younger.clamp(end);
    }
}

/// Everything as it is: how values are put together must not depend on restarts. `closed` is
/// written as a list, because an `Option` in an `Option` does not come back from MessagePack.
impl<V: Serialize> Serialize for Stacks<V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (&self.older, &self.younger, self.closed.as_slice()).serialize(serializer)
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Stacks<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (older, younger, mut closed) =
            <(Panes<V>, Panes<V>, Vec<V>)>::deserialize(deserializer)?;
        Ok(Self {
            older,
            younger,
            closed: closed.pop(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::message_pack;
    use proptest::prelude::*;
    use std::cell::Cell;

    /// The function is not associative here: what comes out says how it was put together.
    #[expect(clippy::needless_pass_by_value, reason = "that is what a `Combine` is")]
    fn show(a: String, b: String) -> String {
        ["(", &a, &b, ")"].concat()
    }

    fn letters(text: &str) -> String {
        text.chars().filter(|c| !"()".contains(*c)).collect()
    }

    proptest! {
        /// Values stay in order, and a copy that went through a checkpoint puts them together in
        /// the same way.
        #[test]
        fn stacks_hold_what_a_list_holds(steps in prop::collection::vec((0_u8..8, 0_u64..4), 0..200)) {
            let (mut stacks, mut model) = (Stacks::default(), Vec::<(u64, String)>::new());
            let mut restored: Stacks<String> = Stacks::default();
            let (mut end, mut number) = (100, 0_u32);
            for (step, by) in steps {
                let (outside, back) = (end - 5, end - by);
                match step {
                    0..4 => {
                        end += by;
                        number += 1;
                        let value = char::from_u32(0x4e00 + number).unwrap().to_string();
                        stacks.add(end, value.clone(), &show);
                        restored.add(end, value.clone(), &show);
                        model.push((end, value));
                    }
                    4..7 => {
                        let is_due = stacks.is_due(outside, end);
                        prop_assert_eq!(is_due, model.iter().any(|(e, _)| *e <= outside));
                        stacks.leave(outside, end, &show);
                        restored.leave(outside, end, &show);
                        model.retain(|(e, _)| *e > outside);
                    }
                    _ if by > 1 => {
                        end = back;
                        stacks.clamp(end);
                        restored.clamp(end);
                        model.iter_mut().for_each(|(e, _)| *e = (*e).min(end));
                    }
                    _ => {
                        let bytes = message_pack::encode(&stacks).unwrap();
                        restored = message_pack::decode(&bytes).unwrap();
                    }
                }
                let total = stacks.total(&show);
                prop_assert_eq!(&total, &restored.total(&show));
                let all: String = model.iter().map(|(_, v)| v.as_str()).collect();
                prop_assert_eq!(letters(&total.unwrap_or_default()), all);
                prop_assert_eq!(stacks.is_empty(), model.is_empty());
            }
        }
    }

    #[test]
    fn a_pane_is_put_together_a_few_times_however_long_the_window_is() {
        for panes in [10_u64, 1000] {
            let mut stacks = Stacks::default();
            for end in 1..=10 * panes {
                stacks.add(end, (1_u64, 0_u64), &count);
                stacks.leave(end.saturating_sub(panes), end, &count);
                let (size, _) = stacks.total(&count).unwrap();
                assert_eq!(size, end.min(panes));
            }
            let kept = stacks.older.len() + stacks.younger.len();
            assert!(kept <= usize::try_from(panes).unwrap());
        }
        CALLS.with(|calls| {
            let (total, values) = (calls.get(), 10 * (10 + 1000));
            assert!(total <= 4 * values, "{total} calls for {values} values");
        });
    }

    thread_local! {
        static CALLS: Cell<u64> = const { Cell::new(0) };
    }

    fn count(a: (u64, u64), b: (u64, u64)) -> (u64, u64) {
        CALLS.with(|calls| calls.set(calls.get() + 1));
        (a.0 + b.0, a.1 + b.1)
    }

    #[test]
    fn nothing_and_options_come_back_from_a_checkpoint() {
        let mut stacks = Stacks::<Option<()>>::default();
        for end in 1..4 {
            stacks.add(end, None, &|_, b| b);
        }
        stacks.leave(1, 3, &|_, b| b);
        stacks.add(4, None, &|_, b| b);
        stacks.add(5, None, &|_, b| b);
        let bytes = message_pack::encode(&stacks).unwrap();
        let restored: Stacks<Option<()>> = message_pack::decode(&bytes).unwrap();
        assert_eq!(restored.closed, Some(None));
        assert_eq!(restored.total(&|_, b| b), Some(None));
        assert!(restored.is_due(2, 9) && !restored.is_due(1, 5) && restored.is_due(0, 4));
    }
}
