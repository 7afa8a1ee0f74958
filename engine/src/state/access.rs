//! How an update function reads and changes the state of a key, and how it is known afterwards
//! whether it did.

/// What an update function of
/// [`update_state_by_key`](crate::DStream::update_state_by_key) takes as its last parameter:
/// [`StateGuard<S>`], which knows whether the state was changed, or `Option<S>`, of which every
/// visited state counts as changed.
#[diagnostic::on_unimplemented(
    message = "an update function cannot take the state of a key as `&mut {Self}`",
    label = "the last parameter is `&mut StateGuard<S>` or `&mut Option<S>`"
)]
pub trait StateAccess: sealed::Sealed + Sized + 'static {
    /// The type of the state. The operators ask that it is a [`State`](crate::State), so that the
    /// compiler names the state, and not this trait, where it is none.
    type State: Clone + 'static;

    /// What is kept of a state before it is lent: what the type cannot give back itself.
    #[doc(hidden)]
    fn keep(state: &Self::State) -> Option<Self::State>;

    /// Lends the state of a key. Runs no user code.
    #[doc(hidden)]
    fn lend(state: Option<Self::State>) -> Self;

    /// The same with a copy: what the state was before is kept elsewhere.
    #[doc(hidden)]
    fn lend_copy(state: Option<Self::State>) -> Self;

    /// The state after the call, the state before it if that is another one, and whether it was
    /// changed.
    #[doc(hidden)]
    fn settle(self, kept: Option<Self::State>) -> (Option<Self::State>, Option<Self::State>, bool);

    /// The state before the call, after a panic in it.
    #[doc(hidden)]
    fn before(self, kept: Option<Self::State>) -> Option<Self::State>;
}

mod sealed {
    pub trait Sealed {}
    impl<S> Sealed for super::StateGuard<S> {}
    impl<S> Sealed for Option<S> {}
}

/// The state of one key, for the length of one call of an update function.
///
/// A call that only looks costs nothing more: the key stays out of the next incremental
/// checkpoint.
///
/// ```
/// # use highwater_engine::{DStream, StateGuard};
/// # fn program(words: &DStream<(String, u64)>) {
/// let counts = words.update_state_by_key("counts", |_word, new, count: &mut StateGuard<u64>| {
///     if !new.is_empty() {
///         *count.get_or_insert_with(|| 0) += new.iter().sum::<u64>();
///     }
/// });
/// # let _ = counts;
/// # }
/// ```
#[derive(Debug)]
pub struct StateGuard<S> {
    state: Option<S>,
    /// What the state was before it was changed.
    before: Option<S>,
    changed: bool,
    /// Whether it is a copy: what it was before is not asked for.
    is_copy: bool,
}

impl<S> StateGuard<S> {
    /// The state, if the key has one.
    #[must_use]
    pub fn get(&self) -> Option<&S> {
        self.state.as_ref()
    }

    /// Whether the key has state.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.state.is_some()
    }

    /// Sets the state.
    pub fn update(&mut self, state: S) {
        let before = self.state.replace(state);
        if !self.changed {
            self.before = before;
            self.changed = true;
        }
    }
}

impl<S: Clone> StateGuard<S> {
    /// The state, to be changed where it is; it counts as changed. The state before is cloned,
    /// once a call.
    pub fn get_mut(&mut self) -> Option<&mut S> {
        if self.state.is_some() {
            self.touch();
        }
        self.state.as_mut()
    }

    /// Changes the state where it is, if the key has one, and returns what `f` returns.
    pub fn modify<R>(&mut self, f: impl FnOnce(&mut S) -> R) -> Option<R> {
        self.get_mut().map(f)
    }

    /// The state, to be changed where it is; `f` makes it for a key that has none.
    pub fn get_or_insert_with(&mut self, f: impl FnOnce() -> S) -> &mut S {
        self.touch();
        self.state.get_or_insert_with(f)
    }

    /// Deletes the state of the key and returns it. After the call the key is gone.
    pub fn remove(&mut self) -> Option<S> {
        if self.state.is_some() {
            self.touch();
        }
        self.state.take()
    }

    /// Keeps the state before the first change.
    fn touch(&mut self) {
        if !self.changed && !self.is_copy {
            self.before.clone_from(&self.state);
        }
        self.changed = true;
    }
}

impl<S: Clone + 'static> StateAccess for StateGuard<S> {
    type State = S;

    fn keep(_: &S) -> Option<S> {
        None
    }

    fn lend(state: Option<S>) -> Self {
        Self {
            state,
            before: None,
            changed: false,
            is_copy: false,
        }
    }

    fn lend_copy(state: Option<S>) -> Self {
        let is_copy = true;
        Self {
            is_copy,
            ..Self::lend(state)
        }
    }

    fn settle(self, _: Option<S>) -> (Option<S>, Option<S>, bool) {
        (self.state, self.before, self.changed)
    }

    fn before(self, _: Option<S>) -> Option<S> {
        if self.changed {
            self.before
        } else {
            self.state
        }
    }
}

impl<S: Clone + 'static> StateAccess for Option<S> {
    type State = S;

    fn keep(state: &S) -> Option<S> {
        Some(state.clone())
    }

    fn lend(state: Option<S>) -> Self {
        state
    }

    fn lend_copy(state: Option<S>) -> Self {
        state
    }

    fn settle(self, kept: Option<S>) -> (Option<S>, Option<S>, bool) {
        (self, kept, true)
    }

    fn before(self, kept: Option<S>) -> Option<S> {
        kept
    }
}

/// The state of one key, as [`map_with_state`](crate::DStream::map_with_state) sees it.
///
/// As in Spark, a state that is timing out can be read and nothing else, and a state that was
/// removed in a call cannot be changed in the same call. A move that is not allowed leaves the
/// state as it is and fails the batch, with operator and key.
#[derive(Debug)]
pub struct KeyState<'a, S> {
    state: &'a mut StateGuard<S>,
    timing_out: bool,
    removed: bool,
    illegal: Option<&'static str>,
}

impl<'a, S> KeyState<'a, S> {
    /// For one call.
    pub(crate) fn new(state: &'a mut StateGuard<S>, timing_out: bool) -> Self {
        Self {
            state,
            timing_out,
            removed: false,
            illegal: None,
        }
    }

    /// The first move of the call that was not allowed.
    pub(crate) fn illegal(&self) -> Option<&'static str> {
        self.illegal
    }

    /// The state, if the key has one.
    #[must_use]
    pub fn get(&self) -> Option<&S> {
        self.state.get()
    }

    /// Whether the key has state.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.state.exists()
    }

    /// Whether the key has had no data for longer than the timeout. Its state is deleted after
    /// this call.
    #[must_use]
    pub fn is_timing_out(&self) -> bool {
        self.timing_out
    }

    /// Sets the state. Not allowed while the key is timing out, or after [`Self::remove`] in the
    /// same call.
    pub fn update(&mut self, state: S) {
        if self.may("update") {
            self.state.update(state);
        }
    }

    fn may(&mut self, what: &'static str) -> bool {
        let illegal = match (what, self.timing_out, self.removed) {
            (_, false, false) => return true,
            ("remove", true, _) => "it removed a state that is timing out: it is deleted anyway",
            ("remove", ..) => "it removed a state twice in one call",
            (_, true, _) => "it updated a state that is timing out: it is deleted after this call",
            _ => "it updated a state after it had removed it in the same call",
        };
        self.illegal.get_or_insert(illegal);
        false
    }
}

impl<S: Clone> KeyState<'_, S> {
    /// Changes the state where it is, if the key has one, and returns what `f` returns. Allowed
    /// where [`Self::update`] is.
    pub fn modify<R>(&mut self, f: impl FnOnce(&mut S) -> R) -> Option<R> {
        if self.may("update") {
            self.state.modify(f)
        } else {
            None
        }
    }

    /// Deletes the state of the key and returns it. Not allowed while the key is timing out, or a
    /// second time in the same call.
    pub fn remove(&mut self) -> Option<S> {
        if !self.may("remove") {
            return None;
        }
        self.removed = true;
        self.state.remove()
    }
}
