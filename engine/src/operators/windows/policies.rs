//! What windows of pairs keep: stacks of values, a running total, or all values.

use crate::codec::round_trip;
use crate::operators::windows::gathered::Gathered;
use crate::operators::windows::kept::Kept;
use crate::operators::windows::running::Running;
use crate::operators::windows::shared::Shared;
use crate::operators::windows::span::Ending;
use crate::operators::windows::stacks::{Combine, Stacks};
use crate::record::{Key, Value};
use crate::state::access::StateGuard;
use std::sync::Arc;

/// Whether a total stays.
pub(crate) type Filter<K, V> = dyn Fn(&K, &V) -> bool + Send + Sync;

fn fold<V>(before: &mut Option<V>, more: Option<V>, f: &Combine<V>) {
    *before = match (before.take(), more) {
        (Some(before), Some(more)) => Some(f(before, more)),
        (before, more) => before.or(more),
    };
}

/// The values of a key, put together without an inverse.
pub(crate) struct Reduced<V> {
    pub(crate) f: Arc<Combine<V>>,
}

impl<K: Key, V: Value> Kept<K, Option<V>> for Reduced<V> {
    type State = Stacks<V>;
    type Out = V;

    fn merge(&self, before: &mut Option<V>, more: Option<V>) {
        fold(before, more, &*self.f);
    }

    fn add(&self, state: &mut Stacks<V>, pane: u64, value: Option<V>) {
        if let Some(value) = value {
            state.add(pane, value, &*self.f);
        }
    }

    fn close(&self, _: &K, state: &mut StateGuard<Stacks<V>>, ending: Ending) -> Option<V> {
        leave(state, ending.outside_ms, ending.at_ms, &*self.f);
        let total = state.get()?.total(&*self.f);
        leave(state, ending.outside_next_ms, ending.at_ms, &*self.f);
        if state.get()?.is_empty() {
            state.remove();
        }
        total
    }

    fn check(state: &Stacks<V>) -> Result<(), String> {
        state.parts().try_for_each(round_trip::check)
    }
}

/// Panes up to `outside` leave. A state that has none is not touched.
fn leave<V: Value>(state: &mut StateGuard<Stacks<V>>, outside: u64, now: u64, f: &Combine<V>) {
    if state
        .get()
        .is_some_and(|stacks| stacks.is_due(outside, now))
        && let Some(stacks) = state.get_mut()
    {
        stacks.leave(outside, now, f);
    }
}

/// The values of a key, put together with an inverse.
pub(crate) struct Inverted<K, V> {
    pub(crate) f: Arc<Combine<V>>,
    pub(crate) inverse: Arc<Combine<V>>,
    pub(crate) filter: Option<Arc<Filter<K, V>>>,
}

impl<K: Key, V: Value> Kept<K, Option<V>> for Inverted<K, V> {
    type State = Running<V>;
    type Out = V;

    fn merge(&self, before: &mut Option<V>, more: Option<V>) {
        fold(before, more, &*self.f);
    }

    fn add(&self, state: &mut Running<V>, pane: u64, value: Option<V>) {
        if let Some(value) = value {
            state.add(pane, value, &*self.f);
        }
    }

    fn close(&self, key: &K, state: &mut StateGuard<Running<V>>, ending: Ending) -> Option<V> {
        if state.get()?.is_due(ending)
            && let Some(running) = state.get_mut()
        {
            running.close(ending, &*self.f, &*self.inverse);
        }
        let running = state.get()?;
        let stays = |total: &&V| self.filter.as_ref().is_none_or(|stays| stays(key, total));
        let total = running.total().filter(stays).cloned();
        if total.is_none() && running.is_empty() {
            state.remove();
        }
        total
    }

    fn check(state: &Running<V>) -> Result<(), String> {
        state.parts().try_for_each(round_trip::check)
    }
}

/// All values of a key, in order.
pub(crate) struct All;

impl<K: Key, V: Value> Kept<K, Vec<V>> for All {
    type State = Gathered<V>;
    type Out = Vec<V>;

    fn merge(&self, before: &mut Vec<V>, more: Vec<V>) {
        before.extend(more);
    }

    fn add(&self, state: &mut Gathered<V>, pane: u64, value: Vec<V>) {
        state.add(pane, value);
    }

    fn close(&self, _: &K, state: &mut StateGuard<Gathered<V>>, ending: Ending) -> Option<Vec<V>> {
        gathered_leave(state, ending.outside_ms, ending.at_ms);
        let all = state.get()?.all();
        gathered_leave(state, ending.outside_next_ms, ending.at_ms);
        if state.get()?.is_empty() {
            state.remove();
        }
        (!all.is_empty()).then_some(all)
    }

    fn check(state: &Gathered<V>) -> Result<(), String> {
        state.newest().map_or(Ok(()), Shared::check)
    }
}

fn gathered_leave<V: Value>(state: &mut StateGuard<Gathered<V>>, outside: u64, now: u64) {
    if state
        .get()
        .is_some_and(|values| values.is_due(outside, now))
        && let Some(values) = state.get_mut()
    {
        values.leave(outside, now);
    }
}
