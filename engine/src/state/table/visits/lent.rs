//! An entry while user code has its state.

use crate::state::access::StateAccess;
use crate::state::table::slots::{Entry, Stamp};

/// An entry whose state is lent to user code. If that panics, the state from before is back in its
/// slot before anything else happens.
pub(crate) struct Lent<'a, K, G: StateAccess, T: Stamp> {
    place: &'a mut Option<Entry<K, G::State, T>>,
    inside: Option<Inside<K, G, T>>,
}

struct Inside<K, G: StateAccess, T> {
    entry: Entry<K, (), T>,
    guard: G,
    kept: Option<G::State>,
}

/// What a call has left of a state.
pub(crate) enum Settled<K, S, T> {
    /// It is in its place. If it was changed: the state before.
    Kept { changed: bool, before: Option<S> },
    /// It is gone: the entry as it was.
    Gone(Entry<K, S, T>),
}

/// An entry with another state.
pub(crate) fn with_state<K, R, S, T>(entry: Entry<K, R, T>, state: S) -> (Entry<K, S, T>, R) {
    let Entry {
        tag,
        pending,
        stamp,
        key,
        state: was,
    } = entry;
    let entry = Entry {
        tag,
        pending,
        stamp,
        key,
        state,
    };
    (entry, was)
}

impl<'a, K, G: StateAccess, T: Stamp> Lent<'a, K, G, T> {
    /// Takes the state out of its place; `None` if the place is empty.
    pub(crate) fn take(place: &'a mut Option<Entry<K, G::State, T>>) -> Option<Self> {
        // May run user code, which may panic: before anything is moved.
        let kept = G::keep(&place.as_ref()?.state);
        let (entry, state) = with_state(place.take()?, ());
        let guard = G::lend(Some(state));
        let inside = Some(Inside { entry, guard, kept });
        Some(Self { place, inside })
    }

    /// Runs user code.
    pub(crate) fn run(&mut self, f: impl FnOnce(&K, &mut G)) {
        if let Some(Inside { entry, guard, .. }) = &mut self.inside {
            f(&entry.key, guard);
        }
    }

    /// The call is over: a state that is still there goes to its place, with `stamp`.
    pub(crate) fn settle(mut self, stamp: Option<T>) -> Option<Settled<K, G::State, T>> {
        let Inside {
            mut entry,
            guard,
            kept,
        } = self.inside.take()?;
        let (state, before, changed) = guard.settle(kept);
        Some(match (state, before) {
            (Some(state), before) => {
                entry.stamp = stamp.unwrap_or(entry.stamp);
                *self.place = Some(with_state(entry, state).0);
                Settled::Kept { changed, before }
            }
            (None, Some(before)) => Settled::Gone(with_state(entry, before).0),
            (None, None) => unreachable!("a guard that was lent a state gives one back"),
        })
    }
}

impl<K, G: StateAccess, T: Stamp> Drop for Lent<'_, K, G, T> {
    fn drop(&mut self) {
        if let Some(Inside { entry, guard, kept }) = self.inside.take()
            && let Some(state) = guard.before(kept)
        {
            *self.place = Some(with_state(entry, state).0);
        }
    }
}
