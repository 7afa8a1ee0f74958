//! All values of one key in a window, in order.

use crate::operators::windows::panes::Panes;
use crate::operators::windows::shared::Shared;
use crate::record::Value;
use serde::{Deserialize, Serialize};

/// All values of one key in a window: for each batch one list, which is never changed. A copy,
/// which the state table takes before a change, shares them.
#[derive(Clone, Serialize, Deserialize)]
#[serde(bound(serialize = "V: Value", deserialize = "V: Value"))]
pub(crate) struct Gathered<V>(Panes<Shared<V>>);

impl<V> Default for Gathered<V> {
    fn default() -> Self {
        Self(Panes::default())
    }
}

impl<V: Value> Gathered<V> {
    /// Whether no value is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds what a batch in the pane that ends at `pane` brings.
    pub(crate) fn add(&mut self, pane: u64, values: Vec<V>) {
        self.0.clamp(pane);
        self.0.push(pane, Shared::new(values));
    }

    /// Whether [`Self::leave`] changes anything.
    pub(crate) fn is_due(&self, outside: u64, now: u64) -> bool {
        self.0.is_due(outside, now)
    }

    /// A window ends at `now`: panes that end at `outside` or earlier leave.
    pub(crate) fn leave(&mut self, outside: u64, now: u64) {
        self.0.clamp(now);
        while self.0.leave(outside).is_some() {}
    }

    /// What came last.
    pub(crate) fn newest(&self) -> Option<&Shared<V>> {
        self.0.iter().next_back()
    }

    /// All values, in order.
    pub(crate) fn all(&self) -> Vec<V> {
        let mut all = Vec::new();
        self.0.iter().for_each(|values| values.append_to(&mut all));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::message_pack;

    #[test]
    fn values_stay_in_order_until_their_pane_leaves() {
        let mut gathered = Gathered::default();
        for pane in 1..=4_u64 {
            gathered.add(pane, vec![10 * pane]);
            gathered.add(pane, vec![10 * pane + 1, 10 * pane + 2]);
            let bytes = message_pack::encode(&gathered).unwrap();
            gathered = message_pack::decode(&bytes).unwrap();
        }
        assert!(gathered.is_due(2, 4) && !gathered.is_due(0, 4) && gathered.is_due(0, 3));
        gathered.leave(2, 4);
        assert_eq!(gathered.all(), [30, 31, 32, 40, 41, 42]);
        assert_eq!(gathered.newest().unwrap().to_vec(), [41, 42]);
        gathered.leave(2, 3);
        assert_eq!(gathered.all(), [30, 31, 32, 40, 41, 42]);
        gathered.leave(3, 9);
        assert!(gathered.is_empty());
    }
}
