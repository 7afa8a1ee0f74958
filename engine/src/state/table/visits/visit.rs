//! Visits: user code runs for keys of a group, and changes what they have.
//!
//! Where the states of an operator are not asked for, user code is lent the state of a key and
//! nothing is copied but what a change replaces. Where they are, it gets a copy, and readers may
//! look at the group while it runs; see [`copied`](crate::state::table::visits::copied).

use crate::record::{Key, Value};
use crate::state::access::StateAccess;
use crate::state::table::delta::Delta;
use crate::state::table::group::{FRESH, Fresh, Group, position};
use crate::state::table::shared::kept::Kept;
use crate::state::table::slots::{Entry, NOT_TOUCHED, Pending, Stamp};
use crate::state::table::timers::Timers;
use crate::state::table::undo::max_kept;
use crate::state::table::visits::copied;
use crate::state::table::visits::lent::{Lent, Settled};

/// When a batch visits a group, and whether readers look at it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Visiting {
    /// The id of the batch.
    pub(crate) batch: u64,
    pub(crate) now_ms: u64,
    /// Whether the states of the operator are asked for.
    pub(crate) watched: bool,
}

/// A visited key, after the visit.
#[derive(Debug)]
pub(crate) struct Visited<'a, K, S> {
    pub(crate) key: &'a K,
    /// Its state, if it has one now.
    pub(crate) state: Option<&'a S>,
    pub(crate) changed: bool,
}

/// Which keys of a group are visited, in which order.
struct Order<K, A> {
    /// What the batch has brought.
    touched: Vec<(u32, Option<A>)>,
    fresh: std::vec::IntoIter<Fresh<K>>,
    /// Where every key is visited: so many slots are there.
    slots: Option<u32>,
    next: u32,
}

/// A key to be visited.
pub(in crate::state::table) enum Place<K> {
    Slot(u32),
    /// It has none yet.
    Fresh(Fresh<K>),
}

impl<K, A> Order<K, A> {
    /// The next key, and what the batch has brought for it.
    fn next<S, T: Stamp>(&mut self, kept: &Kept<K, S, T>) -> Option<(Place<K>, Option<A>)> {
        match self.slots {
            None => self.next_touched(kept),
            Some(slots) => self.next_of_every(kept, slots),
        }
    }

    fn next_touched<S, T: Stamp>(&mut self, kept: &Kept<K, S, T>) -> Option<(Place<K>, Option<A>)> {
        let (number, value) = self.touched.get_mut(position(self.next))?;
        let (number, value) = (*number, value.take());
        self.next += 1;
        if number & FRESH != 0 {
            return Some((Place::Fresh(self.fresh.next()?), value));
        }
        if let Some(entry) = kept.slots.get(number) {
            entry.pending.set(NOT_TOUCHED);
        }
        Some((Place::Slot(number), value))
    }

    fn next_of_every<S, T: Stamp>(
        &mut self,
        kept: &Kept<K, S, T>,
        slots: u32,
    ) -> Option<(Place<K>, Option<A>)> {
        while self.next < slots {
            let slot = self.next;
            self.next += 1;
            if let Some(entry) = kept.slots.get(slot) {
                let place = entry.pending.get();
                entry.pending.set(NOT_TOUCHED);
                return Some((Place::Slot(slot), self.value(place)));
            }
        }
        let fresh = self.fresh.next()?;
        let value = self.value(fresh.pending);
        Some((Place::Fresh(fresh), value))
    }

    /// What the batch has brought for the key that is at `place` among the touched.
    fn value(&mut self, place: u32) -> Option<A> {
        let at = (place != NOT_TOUCHED).then(|| position(place))?;
        self.touched.get_mut(at)?.1.take()
    }
}

/// What a worker keeps beside the keys of a group, and what a visit changes of it.
pub(in crate::state::table) struct Noted<'a, K> {
    pub(in crate::state::table) delta: &'a mut Delta<K>,
    pub(in crate::state::table) timers: &'a mut Timers,
}

impl<K: Key, A, S: Value, T: Stamp> Group<K, A, S, T> {
    /// Runs `f` for every key that the batch has touched, in the order of first touch. The keys
    /// that have state afterwards were last visited now.
    pub(crate) fn visit_touched<G: StateAccess<State = S>>(
        &mut self,
        visit: Visiting,
        f: &mut impl FnMut(&K, Option<A>, &mut G),
        after: &mut impl FnMut(Visited<'_, K, S>),
    ) {
        self.visit_in(None, visit, f, after);
    }

    /// Runs `f` for every key that has state, in the order of creation, and then for the new ones
    /// that the batch has brought.
    pub(crate) fn visit_every<G: StateAccess<State = S>>(
        &mut self,
        visit: Visiting,
        f: &mut impl FnMut(&K, Option<A>, &mut G),
        after: &mut impl FnMut(Visited<'_, K, S>),
    ) {
        let slots = self.kept.get().slots.len();
        self.visit_in(Some(slots), visit, f, after);
    }

    fn visit_in<G: StateAccess<State = S>>(
        &mut self,
        slots: Option<u32>,
        visit: Visiting,
        f: &mut impl FnMut(&K, Option<A>, &mut G),
        after: &mut impl FnMut(Visited<'_, K, S>),
    ) {
        if self.touched.is_empty() && slots.unwrap_or(0) == 0 {
            return;
        }
        (self.unsettled, self.changed) = (true, true);
        self.has_history |= visit.watched;
        let mut order = Order {
            touched: std::mem::take(&mut self.touched),
            fresh: std::mem::take(&mut self.fresh).into_iter(),
            slots,
            next: 0,
        };
        self.fresh_index.clear();
        match visit.watched {
            true => self.visit_copied(&mut order, visit, f, after),
            false => self.visit_lent(&mut order, visit, f, after),
        }
        let Order { mut touched, .. } = order;
        touched.clear();
        if touched.capacity() <= max_kept(self.kept.get().slots.len()) {
            self.touched = touched; // keeps its memory for the next batch
        }
        self.unsettled = false;
    }

    /// User code is lent each state; readers wait until all keys of the group are visited.
    fn visit_lent<G: StateAccess<State = S>>(
        &mut self,
        order: &mut Order<K, A>,
        visit: Visiting,
        f: &mut impl FnMut(&K, Option<A>, &mut G),
        after: &mut impl FnMut(Visited<'_, K, S>),
    ) {
        let mut kept = self.kept.change();
        let (delta, timers) = (&mut self.delta, &mut self.timers);
        let mut noted = Noted { delta, timers };
        kept.history.skip(visit.batch);
        while let Some((place, value)) = order.next(&kept) {
            match place {
                Place::Slot(slot) => {
                    let stamp = value.is_some().then(|| T::at(visit.now_ms));
                    let run = |key: &K, guard: &mut G| f(key, value, guard);
                    lend(&mut kept, &mut noted, (slot, stamp), run, after);
                }
                Place::Fresh(fresh) => {
                    let mut guard = G::lend(None);
                    f(&fresh.key, value, &mut guard);
                    let (state, _, changed) = guard.settle(None);
                    after(Visited {
                        key: &fresh.key,
                        state: state.as_ref(),
                        changed: changed && state.is_some(),
                    });
                    if let Some(state) = state {
                        create(&mut kept, &mut noted, fresh, (state, visit.now_ms));
                    }
                }
            }
        }
    }

    /// User code gets copies: readers may look at the group while it runs. What has become of the
    /// copies goes into the group, some keys at a time.
    fn visit_copied<G: StateAccess<State = S>>(
        &mut self,
        order: &mut Order<K, A>,
        visit: Visiting,
        f: &mut impl FnMut(&K, Option<A>, &mut G),
        after: &mut impl FnMut(Visited<'_, K, S>),
    ) {
        let mut done = Vec::new();
        loop {
            let kept = self.kept.get();
            while done.len() < copied::AT_ONCE
                && let Some((place, value)) = order.next(kept)
            {
                let stamp = value.is_some().then(|| T::at(visit.now_ms));
                let run = |key: &K, guard: &mut G| f(key, value, guard);
                done.extend(copied::run(kept, (place, stamp), run, after));
            }
            if done.is_empty() {
                return;
            }
            let (delta, timers) = (&mut self.delta, &mut self.timers);
            let mut noted = Noted { delta, timers };
            let mut kept = self.kept.change();
            for done in done.drain(..) {
                copied::keep(&mut kept, &mut noted, visit, done);
            }
        }
    }

    /// The slots of the keys that have timed out, ascending.
    ///
    /// Keys that the batch has brought and that are not visited yet do not time out.
    pub(crate) fn timed_out(&mut self, now_ms: u64) -> Vec<u32> {
        let slots = &self.kept.get().slots;
        self.timers.fire(now_ms, |slot| {
            let entry = slots.get(slot)?;
            match entry.pending.get() {
                NOT_TOUCHED => Some(entry.stamp),
                _ => Some(T::at(now_ms)),
            }
        })
    }

    /// Deletes the state of a key that has timed out, after `f` has seen it.
    pub(crate) fn time_out<G: StateAccess<State = S>>(
        &mut self,
        visit: Visiting,
        slot: u32,
        f: impl FnOnce(&K, &mut G),
    ) {
        self.changed = true;
        self.has_history |= visit.watched;
        if visit.watched {
            let kept = self.kept.get();
            if let Some(entry) = kept.slots.get(slot) {
                let mut copy = G::lend(Some(entry.state.clone()));
                f(&entry.key, &mut copy);
            }
            let mut kept = self.kept.change();
            return copied::remove(&mut kept, visit.batch, slot);
        }
        let mut kept = self.kept.change();
        kept.history.skip(visit.batch);
        if let Some(place) = kept.slots.place_mut(slot)
            && let Some(mut lent) = Lent::<K, G, T>::take(place)
        {
            lent.run(f);
        }
        // The guard has put back what was there before the call.
        if let Some(gone) = kept.slots.place_mut(slot).and_then(Option::take) {
            kept.gone(slot, gone);
        }
    }
}

/// Lends the state of the key in `slot` to user code. It was last visited at `stamp`, if there is
/// one.
fn lend<K, G, T: Stamp>(
    kept: &mut Kept<K, G::State, T>,
    noted: &mut Noted<'_, K>,
    (slot, stamp): (u32, Option<T>),
    f: impl FnOnce(&K, &mut G),
    after: &mut impl FnMut(Visited<'_, K, G::State>),
) where
    G: StateAccess,
{
    let Some(place) = kept.slots.place_mut(slot) else {
        return;
    };
    let Some(stamp_before) = place.as_ref().map(|entry| entry.stamp) else {
        return;
    };
    let Some(mut lent) = Lent::<K, G, T>::take(place) else {
        return;
    };
    lent.run(f);
    match lent.settle(stamp) {
        Some(Settled::Kept { changed, before }) => {
            let restamped = stamp.is_some_and(|stamp| stamp != stamp_before);
            if changed || restamped {
                noted.delta.changed(slot);
            }
            if let Some(before) = before {
                kept.undo.changed(slot, before);
            }
            if restamped {
                kept.undo.restamped(slot, stamp_before);
            }
            if let Some(entry) = kept.slots.get(slot) {
                after(Visited {
                    key: &entry.key,
                    state: Some(&entry.state),
                    changed,
                });
            }
        }
        Some(Settled::Gone(gone)) => {
            kept.gone(slot, gone);
            if let Some(gone) = kept.undo.last_removed() {
                after(Visited {
                    key: &gone.key,
                    state: None,
                    changed: true,
                });
            }
        }
        None => {}
    }
}

/// A key that had no slot gets one, with its state.
pub(in crate::state::table) fn create<K, S, T: Stamp>(
    kept: &mut Kept<K, S, T>,
    noted: &mut Noted<'_, K>,
    Fresh { tag, key, .. }: Fresh<K>,
    (state, now_ms): (S, u64),
) {
    let slot = kept.push(Entry {
        tag,
        pending: Pending::none(),
        stamp: T::at(now_ms),
        key,
        state,
    });
    noted.delta.changed(slot);
    noted.timers.created(slot, T::at(now_ms));
}
