//! What `map_with_state` and `update_state_by_key` can be told beside their function: a state to
//! begin with, a timeout, and the batch.

use crate::batch::Batch;
use crate::state::access::{KeyState, StateAccess};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Without a value for a key that has timed out.
pub(crate) type MapFn<K, V, S, U> =
    Arc<dyn Fn(&Batch, &K, Option<V>, &mut KeyState<'_, S>) -> Option<U> + Send + Sync>;

pub(crate) type UpdateFn<K, V, G> = Arc<dyn Fn(&Batch, &K, &[V], &mut G) + Send + Sync>;

/// A function of [`map_with_state_spec`](crate::DStream::map_with_state_spec), with an initial
/// state and a timeout if they are wanted.
///
/// ```
/// # use highwater_engine::{Batch, DStream, KeyState, StateSpec};
/// # use std::time::Duration;
/// # fn program(clicks: &DStream<(String, u64)>) {
/// let spec = StateSpec::new(|_batch: &Batch, user: &String, click, seen: &mut KeyState<'_, u64>| {
///     match click {
///         Some(n) => seen.update(seen.get().copied().unwrap_or(0) + n),
///         None => {} // the user has timed out: the state can be read for the last time
///     }
///     (user.clone(), seen.get().copied())
/// });
/// let sessions = clicks.map_with_state_spec("sessions", spec.timeout(Duration::from_secs(1800)));
/// # let _ = sessions;
/// # }
/// ```
pub struct StateSpec<K, V, S, U> {
    pub(crate) f: MapFn<K, V, S, U>,
    pub(crate) initial: Vec<(K, S)>,
    pub(crate) timeout: Option<Duration>,
}

impl<K: 'static, V: 'static, S: 'static, U: 'static> StateSpec<K, V, S, U> {
    /// `f` is called for every record, in order of arrival for each key, with the batch, the key,
    /// the value, and the state of the key. It is called without a value, and
    /// [`KeyState::is_timing_out`] is true, for a key that has timed out.
    pub fn new(
        f: impl Fn(&Batch, &K, Option<V>, &mut KeyState<'_, S>) -> U + Send + Sync + 'static,
    ) -> Self {
        Self {
            f: Arc::new(move |batch, key, value, state| Some(f(batch, key, value, state))),
            initial: Vec::new(),
            timeout: None,
        }
    }

    /// What the state begins with when it is first created in a directory; later it is what it has
    /// become. The keys count as visited in the first batch.
    #[must_use]
    pub fn initial_state(mut self, pairs: impl IntoIterator<Item = (K, S)>) -> Self {
        self.initial.extend(pairs);
        self
    }

    /// A key without records for longer than this, in batch time, times out: `f` sees its state
    /// for the last time, after all records of the batch, and the state is deleted. A record in
    /// the same batch keeps the key. Rounded up to milliseconds.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }
}

impl<K, V, S, U> fmt::Debug for StateSpec<K, V, S, U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateSpec")
            .field("initial", &self.initial.len())
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// A function of
/// [`update_state_by_key_spec`](crate::DStream::update_state_by_key_spec), with an initial state
/// and a time to live if they are wanted.
///
/// ```
/// # use highwater_engine::{Batch, DStream, StateGuard, UpdateSpec};
/// # use std::time::Duration;
/// # fn program(clicks: &DStream<(String, u64)>) {
/// let spec = UpdateSpec::new(|batch: &Batch, _user: &String, new, last: &mut StateGuard<u64>| {
///     if !new.is_empty() {
///         last.update(batch.time_ms);
///     }
/// });
/// let last = clicks.update_state_by_key_spec("last", spec.time_to_live(Duration::from_secs(60)));
/// # let _ = last;
/// # }
/// ```
pub struct UpdateSpec<K, V, G: StateAccess> {
    pub(crate) f: UpdateFn<K, V, G>,
    pub(crate) initial: Vec<(K, G::State)>,
    pub(crate) time_to_live: Option<Duration>,
    pub(crate) changed_keys_only: bool,
}

impl<K: 'static, V: 'static, G: StateAccess> UpdateSpec<K, V, G> {
    /// `f` is called with the batch, the key, the values that the batch has for it, and its state.
    pub fn new(f: impl Fn(&Batch, &K, &[V], &mut G) + Send + Sync + 'static) -> Self {
        Self {
            f: Arc::new(f),
            initial: Vec::new(),
            time_to_live: None,
            changed_keys_only: false,
        }
    }

    /// What the state begins with when it is first created in a directory; later it is what it has
    /// become. The keys count as having had values in the first batch.
    #[must_use]
    pub fn initial_state(mut self, pairs: impl IntoIterator<Item = (K, G::State)>) -> Self {
        self.initial.extend(pairs);
        self
    }

    /// The state of a key without values for longer than this, in batch time, is deleted before
    /// the batch is worked off: the function does not see it any more. Values in the same batch
    /// keep the key. Rounded up to milliseconds.
    #[must_use]
    pub fn time_to_live(mut self, time_to_live: Duration) -> Self {
        self.time_to_live = Some(time_to_live);
        self
    }

    /// The function is called, and records are emitted, only for keys with values in the batch, as
    /// [`update_state_by_key_changed`](crate::DStream::update_state_by_key_changed) does.
    #[must_use]
    pub fn changed_keys_only(mut self) -> Self {
        self.changed_keys_only = true;
        self
    }
}

impl<K, V, G: StateAccess> fmt::Debug for UpdateSpec<K, V, G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpdateSpec")
            .field("initial", &self.initial.len())
            .field("time_to_live", &self.time_to_live)
            .field("changed_keys_only", &self.changed_keys_only)
            .finish_non_exhaustive()
    }
}
