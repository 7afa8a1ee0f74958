//! Visits of keys whose states are asked for.
//!
//! User code gets a copy of the state, so it may run for long while readers look at the group. What
//! has become of the copy replaces the state, for a few keys in one step, after the history has
//! what was there before.

use crate::record::Key;
use crate::state::access::StateAccess;
use crate::state::table::group::Fresh;
use crate::state::table::shared::kept::Kept;
use crate::state::table::slots::Stamp;
use crate::state::table::visits::visit::{Noted, Place, Visited, Visiting, create};

/// So many keys are changed in one step, for which readers wait.
pub(in crate::state::table) const AT_ONCE: usize = 64;

/// What a visit has made of a key.
pub(in crate::state::table) enum Done<K, S, T> {
    /// It has a slot: its new state, if that has changed, and the time of its visit, if that
    /// counts.
    Kept(u32, Option<S>, Option<T>),
    /// It has a slot, and no state any more.
    Gone(u32),
    /// It gets a slot.
    New(Fresh<K>, S),
}

/// Runs user code with a copy of the state of a key. What it has made of that; `None` if there is
/// nothing to be kept.
pub(in crate::state::table) fn run<K, G, T: Stamp>(
    kept: &Kept<K, G::State, T>,
    (place, stamp): (Place<K>, Option<T>),
    f: impl FnOnce(&K, &mut G),
    after: &mut impl FnMut(Visited<'_, K, G::State>),
) -> Option<Done<K, G::State, T>>
where
    G: StateAccess,
{
    match place {
        Place::Slot(slot) => {
            let entry = kept.slots.get(slot)?;
            let mut copy = G::lend_copy(Some(entry.state.clone()));
            f(&entry.key, &mut copy);
            let (state, _, changed) = copy.settle(None);
            after(Visited {
                key: &entry.key,
                state: state.as_ref(),
                changed: changed || state.is_none(),
            });
            Some(match state {
                None => Done::Gone(slot),
                Some(state) => Done::Kept(slot, changed.then_some(state), stamp),
            })
        }
        Place::Fresh(fresh) => {
            let mut guard = G::lend_copy(None);
            f(&fresh.key, &mut guard);
            let (state, _, changed) = guard.settle(None);
            after(Visited {
                key: &fresh.key,
                state: state.as_ref(),
                changed: changed && state.is_some(),
            });
            state.map(|state| Done::New(fresh, state))
        }
    }
}

/// Keeps what a visit has made of a key.
pub(in crate::state::table) fn keep<K: Key, S: Clone, T: Stamp>(
    kept: &mut Kept<K, S, T>,
    noted: &mut Noted<'_, K>,
    visit: Visiting,
    done: Done<K, S, T>,
) {
    match done {
        Done::Kept(slot, state, stamp) => {
            let Some(entry) = kept.slots.get_mut(slot) else {
                return;
            };
            if let Some(stamp) = stamp.filter(|stamp| *stamp != entry.stamp) {
                kept.undo.restamped(slot, entry.stamp);
                entry.stamp = stamp;
                noted.delta.changed(slot);
            }
            if let Some(state) = state {
                let history = &mut kept.history;
                history.note(visit.batch, &entry.key, Some(&entry.state));
                let before = std::mem::replace(&mut entry.state, state);
                kept.undo.changed(slot, before);
                noted.delta.changed(slot);
            }
        }
        Done::Gone(slot) => remove(kept, visit.batch, slot),
        Done::New(fresh, state) => {
            kept.history.note(visit.batch, &fresh.key, None);
            create(kept, noted, fresh, (state, visit.now_ms));
        }
    }
}

/// The key in `slot` has no state any more.
pub(in crate::state::table) fn remove<K: Key, S: Clone, T: Stamp>(
    kept: &mut Kept<K, S, T>,
    batch: u64,
    slot: u32,
) {
    // First the note, which runs user code: a panic there leaves the slot as it is.
    if let Some(entry) = kept.slots.get(slot) {
        let history = &mut kept.history;
        history.note(batch, &entry.key, Some(&entry.state));
    }
    if let Some(gone) = kept.slots.place_mut(slot).and_then(Option::take) {
        kept.gone(slot, gone);
    }
}
