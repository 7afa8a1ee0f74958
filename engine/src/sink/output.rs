//! Outputs: where batches leave the engine.
//!
//! A batch is committed in two steps: every output *stages* it (durably, but not visibly), then the
//! log records `committed(batch)`, durably, then every output *publishes* it. A crash before the
//! record runs the batch again; a crash behind it only publishes again. Outputs run in the order in
//! which the program defines them.

use crate::batch::Batch;
use crate::batch::chunk::{Parcel, in_order};
use crate::error::{BoxError, Error};
use crate::operators::dstream::DStream;
use crate::plan::graph::{LocalFn, Node, OperatorId};
use crate::plan::record::Record;
use crate::plan::site::panic_message;
use crate::sink::patience::Patience;
use highwater_wal::disk::Disk;
use parking_lot::Mutex;
use std::fmt;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::sync::Arc;

/// What a sink promises about each batch when the process or the machine crashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guarantee {
    /// The batch in doubt may be seen twice, with the same id and the same records.
    AtLeastOnce,
    /// Every batch becomes visible exactly once: staging leaves nothing visible, publishing can be
    /// repeated.
    ExactlyOnce,
}

impl fmt::Display for Guarantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Guarantee::AtLeastOnce => "at least once",
            Guarantee::ExactlyOnce => "exactly once",
        })
    }
}

/// How much of a batch a sink looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wants {
    /// All records.
    Everything,
    /// The first so many, in the order of the batch.
    First(usize),
}

/// What a sink may use.
#[derive(Debug)]
pub struct SinkContext {
    /// The disk: files go through it, so that tests can crash it.
    pub disk: Arc<dyn Disk>,
    /// The newest batch that was committed, if any: what was staged up to it must be published by
    /// [`Sink::open`], what was staged behind it must be thrown away (its batch runs again).
    pub committed: Option<u64>,
    /// For a sink that finds its disk full: it may rest and try again instead of failing.
    pub patience: Patience,
    /// Who writes: for a sink that marks what is its own.
    pub owner: OutputOwner,
    /// The batches that the log still knows, ascending: that of the newest checkpoint and all that
    /// were cut after it. What a crash left between staging and publishing belongs to one of them.
    /// Empty if no batch was cut yet.
    pub batches: Arc<[Batch]>,
}

/// Identity of an output among all programs that may write to the same place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputOwner {
    /// Identity of the log: random, never the same for two logs.
    pub log_id: u128,
    /// Name of the application.
    pub application: String,
    /// Name of the output within the program.
    pub output: String,
}

/// A sink: takes the records of a stream, batch by batch, always on one thread and in order.
pub trait Sink<T>: Send + 'static {
    /// What it promises.
    fn guarantee(&self) -> Guarantee;

    /// How much of a batch it needs.
    fn wants(&self) -> Wants {
        Wants::Everything
    }

    /// Called once, before any batch: takes up what a crash left behind.
    ///
    /// # Errors
    /// Whatever keeps the sink from working; the context then does not start.
    fn open(&mut self, context: &SinkContext) -> Result<(), BoxError> {
        let _ = context;
        Ok(())
    }

    /// Takes a batch. An exactly-once sink makes it durable but not visible, and replaces what it
    /// staged for the same batch before; an at-least-once sink may show it now.
    ///
    /// # Errors
    /// Whatever went wrong; the batch is then not committed and the context stops.
    fn stage(&mut self, batch: &Batch, records: Vec<T>) -> Result<(), BoxError>;

    /// Makes a staged batch visible, durably; must do nothing more if it already is.
    ///
    /// # Errors
    /// Whatever went wrong; the context stops and the next start publishes through [`Self::open`].
    fn publish(&mut self, batch: &Batch) -> Result<(), BoxError> {
        let _ = batch;
        Ok(())
    }
}

/// An output of the plan.
pub(crate) struct OutputSlot {
    pub(crate) operator: OperatorId,
    pub(crate) guarantee: Guarantee,
    sink: Mutex<Box<dyn ErasedSink>>,
}

impl OutputSlot {
    /// Lets the sink take up what a crash left behind.
    pub(crate) fn open(&self, name: &str, context: &SinkContext) -> Result<(), Error> {
        self.guarded(|sink| sink.open(context))
            .map_err(|source| Error::OutputOpen {
                output: name.to_owned(),
                source,
            })
    }

    pub(crate) fn stage(
        &self,
        name: &str,
        batch: Batch,
        parcels: Vec<Parcel>,
    ) -> Result<(), Error> {
        self.guarded(|sink| sink.stage(&batch, parcels))
            .map_err(|source| failed(name, batch, "staging", source))
    }

    pub(crate) fn publish(&self, name: &str, batch: Batch) -> Result<(), Error> {
        self.guarded(|sink| sink.publish(&batch))
            .map_err(|source| failed(name, batch, "publishing", source))
    }

    fn guarded(
        &self,
        call: impl FnOnce(&mut dyn ErasedSink) -> Result<(), BoxError>,
    ) -> Result<(), BoxError> {
        let mut sink = self.sink.lock();
        catch_unwind(AssertUnwindSafe(|| call(&mut **sink)))
            .unwrap_or_else(|panic| Err(format!("panicked: {}", panic_message(&*panic)).into()))
    }
}

fn failed(name: &str, batch: Batch, phase: &'static str, source: BoxError) -> Error {
    Error::Output {
        output: name.to_owned(),
        batch,
        phase,
        source,
    }
}

impl fmt::Debug for OutputSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutputSlot")
            .field("guarantee", &self.guarantee)
            .finish_non_exhaustive()
    }
}

/// A sink with the record type erased.
trait ErasedSink: Send {
    fn open(&mut self, context: &SinkContext) -> Result<(), BoxError>;
    fn stage(&mut self, batch: &Batch, parcels: Vec<Parcel>) -> Result<(), BoxError>;
    fn publish(&mut self, batch: &Batch) -> Result<(), BoxError>;
}

struct Typed<T, S> {
    sink: S,
    records: std::marker::PhantomData<fn(T)>,
}

impl<T: 'static, S: Sink<T>> ErasedSink for Typed<T, S> {
    fn open(&mut self, context: &SinkContext) -> Result<(), BoxError> {
        self.sink.open(context)
    }
    fn stage(&mut self, batch: &Batch, parcels: Vec<Parcel>) -> Result<(), BoxError> {
        let mut records: Vec<T> = in_order::<T>(parcels).flatten().collect();
        if let Wants::First(n) = self.sink.wants() {
            records.truncate(n);
        }
        self.sink.stage(batch, records)
    }
    fn publish(&mut self, batch: &Batch) -> Result<(), BoxError> {
        self.sink.publish(batch)
    }
}

/// What a batch closure may return.
pub trait Outcome {
    /// As a result.
    ///
    /// # Errors
    /// The closure's error.
    fn into_result(self) -> Result<(), BoxError>;
}

impl Outcome for () {
    fn into_result(self) -> Result<(), BoxError> {
        Ok(())
    }
}

impl<E: Into<BoxError>> Outcome for Result<(), E> {
    fn into_result(self) -> Result<(), BoxError> {
        self.map_err(Into::into)
    }
}

struct Callback<F>(F);

impl<T, O, F> Sink<T> for Callback<F>
where
    T: 'static,
    O: Outcome,
    F: Fn(&Batch, Vec<T>) -> O + Send + Sync + 'static,
{
    fn guarantee(&self) -> Guarantee {
        Guarantee::AtLeastOnce
    }
    fn stage(&mut self, batch: &Batch, records: Vec<T>) -> Result<(), BoxError> {
        (self.0)(batch, records).into_result()
    }
}

impl<T: Record> DStream<T> {
    /// Calls `f` with every batch, empty ones too, in order, on one thread. At least once: after a
    /// crash the batch in doubt comes again with the same id and records, so an effect that is
    /// keyed by `batch.id` happens once.
    ///
    /// `f` may return `()` or a `Result`; an error or a panic stops the context and the batch is
    /// not committed.
    #[track_caller]
    pub fn for_each_batch<O: Outcome>(
        &self,
        name: &str,
        f: impl Fn(&Batch, Vec<T>) -> O + Send + Sync + 'static,
    ) {
        self.attach(
            "for_each_batch",
            Some(name),
            Callback(f),
            Location::caller(),
        );
    }

    /// Ends the stream in `sink`.
    #[track_caller]
    pub fn sink(&self, name: &str, sink: impl Sink<T>) {
        self.attach("sink", Some(name), sink, Location::caller());
    }

    /// Ends the stream in `sink`, whose operator is called `kind` in messages. For authors of
    /// connectors; only sinks without anything to recover (such as the console) may do without a
    /// name.
    #[track_caller]
    pub fn sink_of_kind(&self, kind: &str, name: Option<&str>, sink: impl Sink<T>) {
        self.attach(kind, name, sink, Location::caller());
    }

    fn attach(&self, kind: &str, name: Option<&str>, sink: impl Sink<T>, at: &Location<'_>) {
        let mut graph = self.graph.borrow_mut();
        let operator = graph.operator(kind, name, &[self.operator], at);
        let limit = match sink.wants() {
            Wants::Everything => usize::MAX,
            Wants::First(n) => n,
        };
        let pipe = Arc::clone(&self.pipe);
        let run: LocalFn = Arc::new(move |_, site, parcel, out| {
            let mut records = Vec::new();
            let order = parcel.order;
            pipe(site, parcel.data, &mut |record| {
                if records.len() < limit {
                    records.push(record);
                }
            });
            if !records.is_empty() {
                out.push(Parcel::new(order, 0, records));
            }
        });
        let input = graph.node(Node::Local {
            input: self.input,
            first: self.operator,
            run,
        });
        let guarantee = sink.guarantee();
        let sink = Mutex::new(Box::new(Typed {
            sink,
            records: std::marker::PhantomData,
        }) as Box<dyn ErasedSink>);
        let output = graph.output(OutputSlot {
            operator,
            guarantee,
            sink,
        });
        graph.node(Node::Output { input, output });
    }
}
