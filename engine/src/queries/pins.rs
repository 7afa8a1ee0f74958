//! The batches that readers have pinned: what keys had at their end is kept for a while.

use std::collections::BTreeMap;
use std::time::Duration;

/// The batches that are pinned.
#[derive(Debug, Default)]
pub(crate) struct Pins {
    next: u64,
    /// A batch, and until when it is kept.
    pinned: BTreeMap<u64, (u64, Duration)>,
}

impl Pins {
    /// Pins `batch` until the clock reaches `until`. The number of the pin.
    pub(crate) fn add(&mut self, batch: u64, until: Duration) -> u64 {
        self.next += 1;
        self.pinned.insert(self.next, (batch, until));
        self.next
    }

    pub(crate) fn remove(&mut self, pin: u64) {
        self.pinned.remove(&pin);
    }

    /// The oldest batch that is pinned at `now`. Pins whose time is over are gone.
    pub(crate) fn oldest(&mut self, now: Duration) -> Option<u64> {
        self.pinned.retain(|_, (_, until)| *until > now);
        self.pinned.values().map(|(batch, _)| *batch).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_holds_until_it_is_removed_or_its_time_is_over() {
        let (mut pins, at) = (Pins::default(), Duration::from_secs);
        assert_eq!(pins.oldest(at(0)), None);
        let old = pins.add(3, at(10));
        pins.add(7, at(20));
        pins.add(5, at(5));
        assert_eq!(pins.oldest(at(4)), Some(3));
        pins.remove(old);
        assert_eq!(pins.oldest(at(4)), Some(5));
        assert_eq!(pins.oldest(at(5)), Some(7));
        assert_eq!(pins.oldest(at(20)), None);
    }
}
