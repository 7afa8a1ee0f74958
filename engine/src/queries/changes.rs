//! What each batch changes of a state.

use crate::ask_error::AskError;
use crate::error::{Error, Result};
use crate::queries::answer::Answer;
use crate::queries::asked::Goal;
use crate::queries::reaches::Reaches;
use crate::queries::snapshot::StateSnapshot;
use crate::queries::view::{NoAnswer, View};
use crate::record::{Key, State};
use std::fmt;
use std::time::Duration;

/// What each batch changes of a state, one batch after the other; see
/// [`StateReader::changes`](crate::StateReader::changes).
///
/// What a batch has changed is kept until it was read, for at most ten seconds. A reader that is
/// later than that, or later by more than 10,000 changes, learns of it by an error, and goes on
/// with the newest batch.
///
/// ```no_run
/// # fn follow(context: &highwater_engine::StreamingContext) -> highwater_engine::Result<()> {
/// let mut changes = context.state::<String, u64>("counts")?.changes()?;
/// loop {
///     let changed = changes.next_batch()?;
///     for (word, count) in changed.value {
///         match count {
///             Some(count) => println!("{word}: {count}"),
///             None => println!("{word} is gone"),
///         }
///     }
/// }
/// # }
/// ```
pub struct StateChanges<K, S> {
    /// The state at the end of the batch that was read last.
    read: StateSnapshot<K, S>,
}

/// Keys that a batch has changed, each with the state that it has now; none if it is gone.
type Changed<K, S> = Vec<(K, Option<S>)>;

/// So many changes may wait, beside those of the next batch.
const MAX_BEHIND: u64 = 10_000;

impl<K, S> fmt::Debug for StateChanges<K, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StateChanges").field(&self.read).finish()
    }
}

impl<K: Key, S: State> StateChanges<K, S> {
    pub(super) const KEEP: Duration = Duration::from_secs(10);

    pub(super) fn new(read: StateSnapshot<K, S>) -> Self {
        Self { read }
    }

    /// The batch that was read last: changes come from the next one on.
    #[must_use]
    pub fn read_up_to(&self) -> Option<u64> {
        self.read.batch()
    }

    /// Waits for the next batch. The keys that it has changed, each with the state that it has now,
    /// or none if it is gone; in no order. A state that was set to what it was counts as changed.
    ///
    /// # Errors
    /// [`AskError::SnapshotGone`] if the reader was too late: it should read everything again, and
    /// the next call goes on after the batch that is the newest one now. [`AskError::NotReady`] if
    /// no batch ends within the [`timeout`](crate::StateReader::timeout); [`Error::Stopped`] or
    /// what stopped the context.
    pub fn next_batch(&mut self) -> Result<Answer<Changed<K, S>>> {
        let from = self.read.pin.now.end.batch;
        self.read.asked.wait_for(Goal::After(from))?;
        self.changed().inspect_err(|error| {
            if let Error::Ask(AskError::SnapshotGone { .. }) = error {
                self.read.pin = self.read.asked.published.pin(Self::KEEP);
            }
        })
    }

    /// Is ready when there is a batch to be read: [`Self::next_batch`] does not wait then.
    pub fn ready(&self) -> Reaches {
        let from = self.read.pin.now.end.batch;
        Reaches::new(self.read.asked.clone(), Goal::After(from))
    }

    fn changed(&mut self) -> Result<Answer<Changed<K, S>>> {
        let asked = &self.read.asked;
        let from = self.read.pin.now.end.batch;
        let gone = || {
            Error::from(AskError::SnapshotGone {
                name: asked.name.to_string(),
                batch: from,
            })
        };
        let next = asked.published.after(from).ok_or_else(gone)?;
        let now = asked.published.now();
        let view = View::new(asked, &now, next).filter(|_| from >= now.floor);
        let view = view.ok_or_else(gone)?;
        let changes = view.changes(from);
        let later = view.later::<K, S>();
        let changes = match (changes, later) {
            (Err(NoAnswer::Failed(error)), _) => return Err(error),
            (Ok(changes), Ok(later)) if later <= MAX_BEHIND => changes,
            _ => return Err(gone()),
        };
        let answer = view.answer(changes);
        self.read.pin.advance(next, Self::KEEP);
        Ok(answer)
    }
}
