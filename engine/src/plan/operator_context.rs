//! Where user code is running, so that a panic or an error can name the operator, the batch and the
//! record.

use crate::batch::Batch;
use crate::batch::positioned::Position;
use crate::batch::tick::Tick;
use crate::error::BatchFailure;
use crate::panics;
use crate::plan::batch_scope::BatchScope;
use crate::plan::ids::OperatorId;
use crate::plan::source_stream::SourceStream;
use highwater_wal::Lsn;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// Where one worker is inside one batch. Operators write it as records pass, which costs two stores
/// a record.
#[derive(Debug)]
pub(crate) struct OperatorContext {
    batch: Batch,
    tick: Tick,
    scope: Rc<BatchScope>,
    operator: Cell<OperatorId>,
    position: Cell<Option<Position>>,
    failure: RefCell<Option<(OperatorId, Option<Lsn>, String)>>,
}

impl OperatorContext {
    pub(crate) fn new(
        batch: Batch,
        tick: Tick,
        scope: Rc<BatchScope>,
        operator: OperatorId,
    ) -> Self {
        Self {
            batch,
            tick,
            scope,
            operator: Cell::new(operator),
            position: Cell::new(None),
            failure: RefCell::new(None),
        }
    }

    /// The batch that is being processed.
    pub(crate) fn batch(&self) -> &Batch {
        &self.batch
    }

    /// Its place in time: whether windows and timers move in it.
    pub(crate) fn tick(&self) -> &Tick {
        &self.tick
    }

    /// Whether the records of the dataset that ends in `tap` are wanted.
    pub(crate) fn wants(&self, tap: usize) -> bool {
        self.scope.wanted.contains(&tap)
    }

    /// Where the records of the sources are, if not where the plan says.
    pub(crate) fn streams(&self) -> Option<&[SourceStream]> {
        self.scope
            .streams
            .as_ref()
            .map(|streams| streams.as_slice())
    }

    /// Code of `operator` runs from here on.
    pub(crate) fn enter(&self, operator: OperatorId) {
        self.operator.set(operator);
    }

    /// Sets which record of the log is being processed; `None` if it is more than one.
    pub(crate) fn set_position(&self, position: Option<Position>) {
        self.position.set(position);
    }

    /// The record of the log that is being processed.
    pub(crate) fn position(&self) -> Option<Position> {
        self.position.get()
    }

    /// Fails the batch at the present position; the first failure counts.
    pub(crate) fn fail(&self, message: impl Into<String>) {
        let mut failure = self.failure.borrow_mut();
        if failure.is_none() {
            let lsn = self.position.get().map(|position| position.lsn);
            *failure = Some((self.operator.get(), lsn, message.into()));
        }
    }

    /// Whether something failed already: the rest of the batch is not worth processing.
    pub(crate) fn failed(&self) -> bool {
        self.failure.borrow().is_some()
    }

    /// Runs user code; a panic in it becomes a failure of the batch. It must not unwind into the
    /// dataflow: the other workers would wait for ever.
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
