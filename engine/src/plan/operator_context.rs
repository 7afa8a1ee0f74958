//! Where user code is running, so that a panic or an error can name the operator, the batch, the
//! record and the key.

use crate::batch::Batch;
use crate::batch::chunk::SequenceKey;
use crate::batch::positioned::Position;
use crate::batch::tick::Tick;
use crate::codec::round_trip;
use crate::error::BatchFailure;
use crate::observe::hot_key::{HotKey, Hottest};
use crate::panics;
use crate::plan::batch_scope::BatchScope;
use crate::plan::failed::{Failed, Remedy};
use crate::plan::ids::OperatorId;
use crate::plan::source_stream::SourceStream;
use crate::refused::noted::{self, NotedLetter};
use crate::refused::place::Place;
use crate::refused::refusals::Refusals;
use highwater_wal::Lsn;
use serde::Serialize;
use std::cell::{Cell, Ref, RefCell};
use std::mem::ManuallyDrop;
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
    /// The chunk whose records are processed one by one.
    chunk: RefCell<SequenceKey>,
    /// Records that were left out.
    left_out: RefCell<Vec<noted::Noted>>,
    /// The key that has most values.
    hottest: RefCell<Hottest>,
    /// The key whose code has panicked.
    key: RefCell<Option<String>>,
    failure: RefCell<Option<Noted>>,
}

/// The first failure.
#[derive(Debug)]
struct Noted {
    operator: OperatorId,
    lsn: Option<Lsn>,
    key: Option<String>,
    message: String,
    remedy: Remedy,
}

/// Notes a key when it is dropped: by a panic in the code that runs for that key.
struct OnPanic<'a, K: Serialize + ?Sized> {
    ctx: &'a OperatorContext,
    key: &'a K,
}

impl<K: Serialize + ?Sized> Drop for OnPanic<'_, K> {
    fn drop(&mut self) {
        // A second panic would end the process.
        let shown = panics::catch(|| Ok::<_, String>(round_trip::show_value(self.key)));
        if let (Ok(shown), Ok(mut key)) = (shown, self.ctx.key.try_borrow_mut()) {
            *key = Some(shown);
        }
    }
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
            chunk: RefCell::new(SequenceKey::Log(0)),
            left_out: RefCell::default(),
            hottest: RefCell::default(),
            key: RefCell::new(None),
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

    /// The records of a chunk are processed, one by one.
    pub(crate) fn set_chunk(&self, chunk: SequenceKey) {
        self.chunk.replace(chunk);
    }

    /// The chunk whose records are processed.
    pub(crate) fn chunk(&self) -> Ref<'_, SequenceKey> {
        self.chunk.borrow()
    }

    /// What becomes of records that fail.
    pub(crate) fn refusals(&self) -> &Refusals {
        &self.scope.refusals
    }

    /// Whether `operator` leaves out inputs that it has refused in this batch before.
    pub(crate) fn leaves_out(&self, operator: OperatorId) -> bool {
        match &self.scope.refusals {
            Refusals::Honour(left_out) => left_out.contains_key(&operator.0),
            Refusals::Note(_) => false,
        }
    }

    /// The batch goes on without an input of the operator whose code runs. If too many were left
    /// out, it fails, and no other attempt is made.
    pub(crate) fn leave_out(&self, place: Place, letter: Option<NotedLetter>) {
        let Refusals::Note(budget) = &self.scope.refusals else {
            return self.fail(format!(
                "the record at {place} was not left out when the batch was committed, and is now"
            ));
        };
        match budget.spend(letter.as_ref()) {
            Ok(()) => self.left_out.borrow_mut().push(noted::Noted {
                operator: self.operator.get().0,
                place,
                letter,
            }),
            Err(message) => self.refuse(message),
        }
    }

    /// What was left out so far.
    pub(crate) fn take_noted(&self) -> Vec<noted::Noted> {
        self.left_out.take()
    }

    /// Fails the batch at the present position; the first failure counts. Another attempt at the
    /// batch may succeed.
    pub(crate) fn fail(&self, message: impl Into<String>) {
        self.note(Remedy::PutBack, message.into());
    }

    /// Fails the batch, and no other attempt is made: the engine refuses what it was given, and
    /// would refuse it again, or, worse, take it the next time without a word.
    pub(crate) fn refuse(&self, message: impl Into<String>) {
        self.note(Remedy::Stop, message.into());
    }

    /// Fails the batch because what it is to read is not available. It is tried again for as long
    /// as that takes.
    pub(crate) fn wait(&self, message: impl Into<String>) {
        self.note(Remedy::Wait, message.into());
    }

    fn note(&self, remedy: Remedy, message: String) {
        let mut failure = self.failure.borrow_mut();
        if failure.as_ref().is_none_or(|first| first.remedy < remedy) {
            *failure = Some(Noted {
                operator: self.operator.get(),
                lsn: self.position.get().map(|position| position.lsn),
                key: self.key.take(),
                message,
                remedy,
            });
        }
    }

    /// Runs user code for a key, which a failure by a panic then names.
    #[inline]
    pub(crate) fn at_key<K: Serialize + ?Sized, R>(&self, key: &K, work: impl FnOnce() -> R) -> R {
        let on_panic = OnPanic { ctx: self, key };
        let done = work();
        let _no_panic = ManuallyDrop::new(on_panic);
        done
    }

    /// A key has so many values in the batch.
    #[inline]
    pub(crate) fn key_has<K: Serialize + ?Sized>(&self, key: &K, values: usize) {
        let mut hottest = self.hottest.borrow_mut();
        hottest.saw(values as u64, || round_trip::show_value(key));
    }

    /// The key that has most of the values, if there is one.
    pub(crate) fn take_hot_key(&self, operator: impl FnOnce() -> String) -> Option<HotKey> {
        self.hottest.take().hot(operator)
    }

    /// Whether something failed already: the rest of the batch is not worth processing.
    pub(crate) fn failed(&self) -> bool {
        self.failure.borrow().is_some()
    }

    /// Runs user code; a panic in it becomes a failure of the batch. It must not unwind into the
    /// dataflow: the other workers would wait for ever.
    pub(crate) fn guard(&self, work: impl FnOnce()) {
        self.guard_with(Remedy::PutBack, work);
    }

    /// The same; the remedy of a panic is given.
    pub(crate) fn guard_with(&self, remedy: Remedy, work: impl FnOnce()) {
        let done: Result<(), String> = panics::catch(|| {
            work();
            Ok(())
        });
        if let Err(message) = done {
            self.note(remedy, message);
        }
    }

    /// The failure, if there was one, in words.
    pub(crate) fn into_failure(self, name: impl Fn(OperatorId) -> String) -> Option<Failed> {
        let batch = self.batch;
        let noted = self.failure.into_inner()?;
        let why = BatchFailure {
            batch,
            operator: name(noted.operator),
            lsn: noted.lsn,
            key: noted.key,
            message: noted.message,
            attempts: 1,
        };
        Some(Failed {
            why,
            remedy: noted.remedy,
        })
    }
}
