//! What a program asks a state for.

use crate::ask_error::AskError;
use crate::error::{Error, Result};
use crate::queries::answer::Answer;
use crate::queries::asked::{Asked, Goal, QUESTION};
use crate::queries::changes::StateChanges;
use crate::queries::reaches::Reaches;
use crate::queries::snapshot::{StateSnapshot, group_by_group};
use crate::record::{Key, State};
use highwater_wal::Lsn;
use serde::Serialize;
use std::borrow::ToOwned;
use std::fmt;
use std::marker::PhantomData;
use std::ops::RangeBounds;
use std::time::Duration;

/// Asks for keys of a state while the program runs; see
/// [`StreamingContext::state`](crate::StreamingContext::state).
///
/// Every answer is of the newest batch whose outputs are committed, and names it. So an answer
/// never shows a part of a batch, and a crash takes nothing of it back. A question does not wait
/// for the batch that runs, and holds it up for no longer than it takes to clone a few keys.
///
/// [`Self::at_least`] waits until a record that was acknowledged is in the answers.
///
/// While there is a reader of a state, its operator gives user code copies of the states, and keeps
/// what the newest one or two batches have replaced. The first question may have to wait for the
/// end of the batch that runs.
///
/// ```
/// # use highwater_engine::{BatchMode, Result, StateGuard, StopMode, StreamingContext, wal};
/// # fn main() -> Result<()> {
/// # let context = StreamingContext::builder("/app")
/// #     .disk(std::sync::Arc::new(wal::disk::SimDisk::new()))
/// #     .batches(BatchMode::Manual)
/// #     .get_or_create(|ctx| {
/// #         let words = ctx.input::<String>("words").map(|word| (word, 1_u64));
/// #         let counts = words.update_state_by_key_changed("counts", |_, new, count: &mut StateGuard<u64>| {
/// #             *count.get_or_insert_with(|| 0) += new.iter().sum::<u64>();
/// #         });
/// #         counts.for_each_batch("out", |_, _| ());
/// #         Ok(())
/// #     })?;
/// # context.start()?;
/// let counts = context.state::<String, u64>("counts")?;
/// let ack = context.input::<String>("words")?.send(&"water".to_owned())?;
/// # context.run_batch()?;
/// let position = ack.lsn();
/// ack.wait()?; // it is on the disk
/// let answer = counts.at_least(position)?.get("water")?;
/// assert_eq!(answer.value, Some(1));
/// println!("{:?} as of batch {:?}", answer.value, answer.batch);
/// # context.stop(StopMode::Graceful)
/// # }
/// ```
pub struct StateReader<K, S> {
    pub(super) asked: Asked,
    of: PhantomData<fn() -> (K, S)>,
}

impl<K, S> Clone for StateReader<K, S> {
    fn clone(&self) -> Self {
        Self::new(self.asked.clone())
    }
}

impl<K, S> fmt::Debug for StateReader<K, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateReader")
            .field("name", &self.asked.name)
            .finish_non_exhaustive()
    }
}

impl<K, S> StateReader<K, S> {
    pub(crate) fn new(asked: Asked) -> Self {
        Self {
            asked,
            of: PhantomData,
        }
    }

    /// The name of the state.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.asked.name
    }

    /// How long a question may wait: for the position of [`Self::at_least`], for the end of a
    /// replay after a restart, for workers that are built again after a failure, and, the first
    /// one, for the batch that runs. 10 s unless it is set.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.asked.timeout = timeout;
        self
    }

    /// Answers also while the batches after the newest checkpoint are replayed. Such an answer may
    /// be of an older batch than one that was shown before the restart:
    /// [`Answer::recovering`] is true. Otherwise a question waits for the end of the replay.
    #[must_use]
    pub fn while_recovering(mut self) -> Self {
        self.asked.while_recovering = true;
        self
    }

    /// As of which batch answers are now. It waits for nothing.
    ///
    /// # Errors
    /// [`Error::LifeCycle`] before the start; [`Error::Stopped`] or what stopped the context.
    pub fn as_of(&self) -> Result<Answer<()>> {
        self.asked.as_of()
    }

    /// Waits until the record at `lsn` is in the answers: until a batch that contains it is
    /// complete and its outputs are committed. `lsn` is what an acknowledgement says, such as
    /// [`Ack::lsn`](crate::Ack::lsn).
    ///
    /// # Errors
    /// [`AskError::NotReady`], which says how far the batches are, if that takes longer than the
    /// [`timeout`](Self::timeout); [`Error::LifeCycle`] before the start, or in an operator or
    /// output; [`Error::Stopped`] or what stopped the context.
    pub fn at_least(&self, lsn: Lsn) -> Result<&Self> {
        self.asked.wait_for(Goal::Lsn(lsn))?;
        Ok(self)
    }

    /// [`Self::at_least`] for asynchronous programs. It waits without a thread and without a
    /// deadline.
    pub fn reaches(&self, lsn: Lsn) -> Reaches {
        Reaches::new(self.asked.clone(), Goal::Lsn(lsn))
    }
}

impl<K: Key, S: State> StateReader<K, S> {
    /// The state of `key`, if it has one.
    ///
    /// # Errors
    /// [`AskError::NoKey`] if it cannot be a key; [`AskError::NotReady`] if the
    /// [`timeout`](Self::timeout) is over; [`Error::LifeCycle`] before the start, or in an operator
    /// or output; [`Error::Stopped`] or what stopped the context.
    pub fn get<Q>(&self, key: &Q) -> Result<Answer<Option<S>>>
    where
        Q: ToOwned<Owned = K> + Serialize + ?Sized,
    {
        let key = key.to_owned();
        self.asked
            .ask(|view| view.get(&key).map(|state| view.answer(state)))
    }

    /// The states of `keys`, in their order, all as of the same batch.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn get_many<'q, Q>(
        &self,
        keys: impl IntoIterator<Item = &'q Q>,
    ) -> Result<Answer<Vec<Option<S>>>>
    where
        Q: ToOwned<Owned = K> + Serialize + ?Sized + 'q,
    {
        let keys: Vec<K> = keys.into_iter().map(ToOwned::to_owned).collect();
        self.pinned(|snapshot| snapshot.ask(|view| view.get_many(&keys)))
    }

    /// The first `limit` keys in `range`, ascending, with their states, all as of the same batch.
    /// All keys of the state are looked at: it is kept by hash.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn range(
        &self,
        range: impl RangeBounds<K> + Clone,
        limit: usize,
    ) -> Result<Answer<Vec<(K, S)>>>
    where
        K: Ord,
    {
        self.pinned(|snapshot| snapshot.range(range.clone(), limit))
    }

    /// All keys with their states: one key group at a time, in no order inside. Each group is as of
    /// the newest batch when its turn comes; [`Self::snapshot`] has all of them at one. It ends
    /// after an error.
    pub fn chunks(&self) -> impl Iterator<Item = Result<Answer<Vec<(K, S)>>>> {
        group_by_group(|at| {
            let chunk = self.pinned(|snapshot| snapshot.ask(|view| view.pairs(at)));
            match chunk {
                Ok(Answer { value: None, .. }) => None,
                Ok(chunk) => Some(Ok(chunk.map(Option::unwrap_or_default))),
                Err(error) => Some(Err(error)),
            }
        })
    }

    /// The state as it is at the end of the newest batch, to be asked for at most `keep` long while
    /// batches go on.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn snapshot(&self, keep: Duration) -> Result<StateSnapshot<K, S>> {
        self.pinned_for(keep, |_| Ok(()))
            .map(|(snapshot, ())| snapshot)
    }

    /// What each batch changes from now on; see [`StateChanges`].
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn changes(&self) -> Result<StateChanges<K, S>> {
        let from = self.snapshot(StateChanges::<K, S>::KEEP)?;
        Ok(StateChanges::new(from))
    }

    pub(super) fn pinned<R>(
        &self,
        question: impl Fn(&StateSnapshot<K, S>) -> Result<R>,
    ) -> Result<Answer<R>> {
        let (snapshot, value) = self.pinned_for(QUESTION, question)?;
        Ok(snapshot.answer(value))
    }

    /// Asks of the newest batch. The first time, of one that all key groups know: those that were
    /// not asked for until now know the one that runs when it ends.
    fn pinned_for<R>(
        &self,
        keep: Duration,
        question: impl Fn(&StateSnapshot<K, S>) -> Result<R>,
    ) -> Result<(StateSnapshot<K, S>, R)> {
        let until = self.asked.deadline();
        loop {
            let snapshot = StateSnapshot {
                asked: self.asked.clone(),
                pin: self.asked.pin(keep, until)?,
                of: PhantomData,
            };
            let known =
                self.asked.is_known() || snapshot.ask(|view| view.is_known::<K, S>()).is_ok();
            if known {
                self.asked.set_known();
                match question(&snapshot) {
                    // The workers were built again meanwhile.
                    Err(Error::Ask(AskError::SnapshotGone { .. })) => {}
                    answer => return answer.map(|answer| (snapshot, answer)),
                }
            }
            self.asked.wait_for_another(&snapshot.pin.now, until)?;
        }
    }
}
