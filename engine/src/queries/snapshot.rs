//! A state at one batch.

use crate::ask_error::AskError;
use crate::error::{Error, Result};
use crate::queries::answer::Answer;
use crate::queries::asked::Asked;
use crate::queries::first::First;
use crate::queries::published::Pin;
use crate::queries::view::{NoAnswer, View, Viewed};
use crate::record::{Key, State};
use highwater_wal::Lsn;
use serde::Serialize;
use std::borrow::ToOwned;
use std::fmt;
use std::marker::PhantomData;
use std::ops::RangeBounds;

/// A state as it was at the end of one batch; see
/// [`StateReader::snapshot`](crate::StateReader::snapshot).
///
/// While it is there, what later batches change is kept twice. It ends when it is dropped, when its
/// time is over, when that has grown to a million entries on a worker, or when the workers are
/// built again after a failure.
pub struct StateSnapshot<K, S> {
    pub(super) asked: Asked,
    pub(super) pin: Pin,
    pub(super) of: PhantomData<fn() -> (K, S)>,
}

impl<K, S> fmt::Debug for StateSnapshot<K, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateSnapshot")
            .field("name", &self.asked.name)
            .field("batch", &self.pin.now.end.batch)
            .finish_non_exhaustive()
    }
}

impl<K: Key, S: State> StateSnapshot<K, S> {
    /// The batch; `None` before the first one.
    #[must_use]
    pub fn batch(&self) -> Option<u64> {
        self.answer(()).batch
    }

    /// Every record whose LSN is below is in it.
    pub fn lsn(&self) -> Lsn {
        self.pin.now.end.to
    }

    /// What `key` had, if it had state.
    ///
    /// # Errors
    /// [`AskError::SnapshotGone`] if the snapshot has ended; [`AskError::NoKey`] if the key cannot
    /// be a key; [`Error::Stopped`] or what stopped the context.
    pub fn get<Q>(&self, key: &Q) -> Result<Option<S>>
    where
        Q: ToOwned<Owned = K> + Serialize + ?Sized,
    {
        let key = key.to_owned();
        self.ask(|view| view.get(&key))
    }

    /// What `keys` had, in their order.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn get_many<'q, Q>(&self, keys: impl IntoIterator<Item = &'q Q>) -> Result<Vec<Option<S>>>
    where
        Q: ToOwned<Owned = K> + Serialize + ?Sized + 'q,
    {
        let keys: Vec<K> = keys.into_iter().map(ToOwned::to_owned).collect();
        self.ask(|view| view.get_many(&keys))
    }

    /// The first `limit` keys in `range`, ascending, with what they had. All keys of the state are
    /// looked at: it is kept by hash.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn range(&self, range: impl RangeBounds<K>, limit: usize) -> Result<Vec<(K, S)>>
    where
        K: Ord,
    {
        self.ask(|view| {
            let mut first = First::new(limit);
            view.walk(&mut |key: &K, state: &S| {
                if range.contains(key) && first.wants(key) {
                    first.add(key.clone(), state.clone());
                }
            })?;
            Ok(first.into_pairs().collect())
        })
    }

    /// All keys with what they had: one key group at a time, in no order inside. It ends after an
    /// error.
    pub fn chunks(&self) -> impl Iterator<Item = Result<Vec<(K, S)>>> {
        group_by_group(|at| self.ask(|view| view.pairs(at)).transpose())
    }

    pub(super) fn answer<T>(&self, value: T) -> Answer<T> {
        let now = &self.pin.now;
        Answer::new(value, now.end, now.end.batch < now.found)
    }

    pub(super) fn ask<R>(&self, question: impl Fn(&View<'_>) -> Viewed<R>) -> Result<R> {
        match self.try_to_ask(question) {
            Ok(answer) => Ok(answer),
            Err(NoAnswer::Failed(error)) => Err(error),
            Err(NoAnswer::NotKept) => Err(Error::from(AskError::SnapshotGone {
                name: self.asked.name.to_string(),
                batch: self.pin.now.end.batch,
            })),
        }
    }

    pub(super) fn try_to_ask<R>(&self, question: impl Fn(&View<'_>) -> Viewed<R>) -> Viewed<R> {
        let (now, end) = (self.asked.published.now(), self.pin.now.end);
        self.asked.may_look(&now)?;
        let view = View::new(&self.asked, &now, end);
        let view = view.filter(|_| end.batch >= now.floor);
        question(&view.ok_or(NoAnswer::NotKept)?)
    }
}

/// What `group` says of each key group, by number, until it says that there are no more, or fails.
pub(super) fn group_by_group<T>(
    group: impl Fn(usize) -> Option<Result<T>>,
) -> impl Iterator<Item = Result<T>> {
    let mut next = Some(0);
    std::iter::from_fn(move || {
        let at = next.take()?;
        let found = group(at)?;
        next = found.is_ok().then_some(at + 1);
        Some(found)
    })
}
