//! Where user code is running, so that a panic or an error can name the operator, the batch and the
//! record.

use crate::batch::Batch;
use crate::batch::positioned::Place;
use crate::error::BatchFailure;
use crate::panics;
use crate::plan::ids::OperatorId;
use highwater_wal::Lsn;
use std::cell::{Cell, RefCell};

/// The position of one worker inside one batch. Operators write it as records pass; it costs two
/// stores a record.
#[derive(Debug)]
pub(crate) struct Site {
    batch: Batch,
    operator: Cell<OperatorId>,
    place: Cell<Option<Place>>,
    failure: RefCell<Option<(OperatorId, Option<Lsn>, String)>>,
}

impl Site {
    pub(crate) fn new(batch: Batch, operator: OperatorId) -> Self {
        Self {
            batch,
            operator: Cell::new(operator),
            place: Cell::new(None),
            failure: RefCell::new(None),
        }
    }

    /// The batch that is being processed.
    pub(crate) fn batch(&self) -> &Batch {
        &self.batch
    }

    /// Says that code of `operator` runs from here on.
    pub(crate) fn enter(&self, operator: OperatorId) {
        self.operator.set(operator);
    }

    /// Says which record of the log is being processed, or that it is none alone.
    pub(crate) fn at(&self, place: Option<Place>) {
        self.place.set(place);
    }

    /// The record of the log that is being processed.
    pub(crate) fn place(&self) -> Option<Place> {
        self.place.get()
    }

    /// Fails the batch at the present position; the first failure counts.
    pub(crate) fn fail(&self, message: impl Into<String>) {
        let mut failure = self.failure.borrow_mut();
        if failure.is_none() {
            let lsn = self.place.get().map(|place| place.lsn);
            *failure = Some((self.operator.get(), lsn, message.into()));
        }
    }

    /// Whether something failed already: the rest of the batch is not worth processing.
    pub(crate) fn failed(&self) -> bool {
        self.failure.borrow().is_some()
    }

    /// Runs user code; a panic in it becomes a failure of the batch instead of unwinding into the
    /// dataflow, which would leave the other workers waiting for ever.
    pub(crate) fn guard(&self, work: impl FnOnce()) {
        let done: Result<(), String> = panics::catch(|| {
            work();
            Ok(())
        });
        if let Err(message) = done {
            self.fail(message);
        }
    }

    /// The failure, if there was one, in words.
    pub(crate) fn into_failure(self, name: impl Fn(OperatorId) -> String) -> Option<BatchFailure> {
        let batch = self.batch;
        self.failure
            .into_inner()
            .map(|(operator, lsn, message)| BatchFailure {
                batch,
                operator: name(operator),
                lsn,
                message,
            })
    }
}
