//! The marks of an open log, durable or not.

use crate::format::mark::Mark;
use crate::marks::set::Marks;
use crate::marks::voids::Voids;
use parking_lot::{Condvar, Mutex};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The marks of an open log.
///
/// Invariant. What [`Self::as_of`] returns holds every mark below the position that it returns
/// with it, and no mark that is not durable. A mark is appended between [`Self::begin`] and
/// [`Appended::record`]. In between it may be durable and not known here: so positions after the
/// one at which it began are not returned.
#[derive(Debug, Default)]
pub(crate) struct LiveMarks {
    state: Mutex<State>,
    /// Marks wait to become durable.
    is_pending: AtomicBool,
    /// Something is void, or was.
    has_voids: AtomicBool,
    /// No mark is being appended any more.
    settled: Condvar,
}

#[derive(Debug, Default)]
struct State {
    durable: Marks,
    /// Appended, by the end of their frames.
    pending: BTreeMap<u64, Mark>,
    /// Marks that are being appended, with an end of the log before them.
    begun: BTreeMap<u64, u64>,
    next_id: u64,
}

impl State {
    fn settle(&mut self, durable: u64) {
        while let Some(first) = self.pending.first_entry()
            && *first.key() <= durable
        {
            self.durable.apply(&first.remove());
        }
    }
}

impl LiveMarks {
    pub(crate) fn new(durable: Marks) -> Self {
        Self {
            has_voids: AtomicBool::new(!durable.voids.is_empty()),
            state: Mutex::new(State {
                durable,
                ..State::default()
            }),
            ..Self::default()
        }
    }

    /// A mark is about to be appended to a log that ends at `end`.
    pub(crate) fn begin(&self, end: u64) -> Beginning<'_> {
        let mut state = self.state.lock();
        let id = state.next_id;
        state.next_id += 1;
        state.begun.insert(id, end);
        Beginning { marks: self, id }
    }

    /// Everything below `durable` is.
    #[inline]
    pub(crate) fn settle(&self, durable: u64) {
        if self.is_pending.load(Ordering::Acquire) {
            let mut state = self.state.lock();
            state.settle(durable);
            let is_pending = !state.pending.is_empty();
            self.is_pending.store(is_pending, Ordering::Release);
        }
    }

    /// What the control file may say of a log that is durable up to `durable` and starts at
    /// `first`: a position that is not after that, and the marks. No mark below it is missing.
    pub(crate) fn as_of(&self, durable: u64, first: u64) -> (u64, Marks) {
        let mut state = self.state.lock();
        let begun = state.begun.values().min();
        let position = begun.map_or(durable, |begun| durable.min(*begun));
        state.settle(durable);
        state.durable.forget_below(first);
        (position, state.durable.clone())
    }

    /// A mark is in the control file, and in no frame. All that came before it are durable.
    pub(crate) fn add(&self, mark: &Mark, durable: u64) {
        let mut state = self.state.lock();
        state.settle(durable);
        state.durable.apply(mark);
    }

    /// Waits until each mark that is being appended is known here, or was refused.
    pub(crate) fn wait_until_recorded(&self) {
        let mut state = self.state.lock();
        while !state.begun.is_empty() {
            self.settled.wait(&mut state);
        }
    }

    /// What is void in a log that is durable up to `durable`; `None` if nothing is.
    pub(crate) fn voids(&self, durable: u64) -> Option<Arc<Voids>> {
        // Set before the mark can become known to be durable.
        if !self.has_voids.load(Ordering::Acquire) {
            return None;
        }
        let mut state = self.state.lock();
        state.settle(durable);
        let voids = &state.durable.voids;
        (!voids.is_empty()).then(|| Arc::clone(voids))
    }

    /// Whether there may be so many void ranges.
    pub(crate) fn has_voids(&self, count: usize) -> bool {
        let state = self.state.lock();
        state.durable.voids.len() + state.pending.len() >= count
    }

    /// How many void ranges there would be with this one, if all that is pending becomes durable.
    pub(crate) fn voids_with(&self, from: u64, to: u64) -> usize {
        let state = self.state.lock();
        let mut all = state.durable.clone();
        state.pending.values().for_each(|mark| all.apply(mark));
        all.voids.len_with(from, to)
    }
}

/// A mark that is being appended. Dropped without being recorded, it was not.
#[derive(Debug)]
#[must_use = "the control file does not get ahead of a mark that is being appended"]
pub(crate) struct Beginning<'a> {
    marks: &'a LiveMarks,
    id: u64,
}

impl Beginning<'_> {
    /// The frame of `mark` ends at `end`.
    pub(crate) fn record(self, mark: Mark, end: u64) {
        if matches!(mark, Mark::Void { .. }) {
            self.marks.has_voids.store(true, Ordering::Release);
        }
        self.marks.state.lock().pending.insert(end, mark);
        self.marks.is_pending.store(true, Ordering::Release);
    }
}

impl Drop for Beginning<'_> {
    fn drop(&mut self) {
        let mut state = self.marks.state.lock();
        state.begun.remove(&self.id);
        if state.begun.is_empty() {
            self.marks.settled.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn void(from: u64, to: u64) -> Mark {
        Mark::Void { from, to }
    }

    /// The control file would say that everything below the mark is known, and lack it.
    #[test]
    fn the_control_file_does_not_get_ahead_of_a_mark_that_is_being_appended() {
        let marks = LiveMarks::default();
        let first = marks.begin(100);
        marks.begin(200).record(void(8, 16), 240);
        let (position, known) = marks.as_of(300, 0);
        assert_eq!(position, 100);
        assert!(known.voids.contains(8), "more may be known");
        first.record(void(32, 40), 140);
        let (position, known) = marks.as_of(300, 0);
        assert_eq!(position, 300);
        assert!(known.voids.contains(32));
    }

    #[test]
    fn a_mark_counts_once_it_is_durable() {
        let marks = LiveMarks::default();
        marks.begin(100).record(void(8, 16), 140);
        marks.settle(139);
        assert_eq!(marks.voids(139), None);
        assert!(marks.voids(140).is_some_and(|voids| voids.contains(8)));
    }

    #[test]
    fn a_mark_that_was_not_appended_holds_nothing_up() {
        let marks = LiveMarks::default();
        drop(marks.begin(100));
        assert_eq!(marks.as_of(300, 0).0, 300);
        marks.wait_until_recorded();
    }
}
