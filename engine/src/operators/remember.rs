//! Batches of a stream that are kept in memory for a while, and slices of them by time.

use crate::batch::Batch;
use crate::error::{BoxError, Error, GraphError, Result};
use crate::operators::dstream::DStream;
use crate::record::Record;
use crate::sink::output::{Guarantee, Sink, SinkContext};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

/// So many records are remembered of a stream, unless it says otherwise.
const MAX_RECORDS: usize = 1 << 20;

impl<T: Record> DStream<T> {
    /// Keeps the batches of the last `duration` in memory, for [`Remembered::slice`]: a look at
    /// recent results from outside, while the context runs. At most a million records are kept
    /// ([`Remembered::at_most`]). It is an output: a batch is remembered once it is committed.
    ///
    /// `duration` must not be shorter than the time between two batches of the stream; otherwise
    /// the program does not start.
    ///
    /// ```
    /// # use highwater_engine::wal::disk::{ManualClock, SimDisk};
    /// # use highwater_engine::{BatchMode, StreamingContext};
    /// # use std::sync::Arc;
    /// # use std::time::Duration;
    /// # fn main() -> highwater_engine::Result<()> {
    /// let mut recent = None;
    /// let context = StreamingContext::builder("/app")
    /// #   .disk(Arc::new(SimDisk::new()))
    /// #   .clock(Arc::new(ManualClock::new(5_000)))
    ///     .batches(BatchMode::Manual)
    ///     .get_or_create(|ssc| {
    ///         let counts = ssc.input::<String>("lines").count();
    ///         recent = Some(counts.remember(Duration::from_secs(60)));
    ///         Ok(())
    ///     })?;
    /// let recent = recent.expect("the program was built");
    /// context.start()?;
    /// context.input("lines")?.send(&"a line".to_owned())?.wait()?;
    /// let batch = context.run_batch()?;
    /// assert_eq!(recent.slice(batch.time_ms, batch.time_ms)?, [(batch, vec![1])]);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn remember(&self, duration: Duration) -> Remembered<T> {
        let at = Location::caller();
        let operator = format!("remember at {}:{}", at.file(), at.line());
        let duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let mut graph = self.graph.borrow_mut();
        let slide_ms = graph.slide(self.operator).millis(graph.interval_ms());
        if duration_ms < slide_ms {
            graph.error(GraphError::BadSetting {
                operator: operator.clone(),
                what: format!(
                    "it cannot remember {duration_ms} ms of a stream that has a batch every {slide_ms} ms: give it {slide_ms} ms or more"
                ),
            });
        }
        drop(graph);
        let memory = Arc::new(Mutex::new(Memory {
            operator,
            duration_ms,
            slide_ms,
            max_records: MAX_RECORDS,
            is_open: false,
            batches: VecDeque::new(),
            records: 0,
            forgotten: None,
        }));
        let sink = Memorise {
            memory: Arc::clone(&memory),
            staged: None,
        };
        self.sink_of_kind("remember", None, sink);
        Remembered { memory }
    }
}

/// The recent batches of a stream (see [`DStream::remember`]). It may be cloned, and sent to other
/// threads; every clone shows the same batches.
pub struct Remembered<T> {
    memory: Arc<Mutex<Memory<T>>>,
}

impl<T> Clone for Remembered<T> {
    fn clone(&self) -> Self {
        Self {
            memory: Arc::clone(&self.memory),
        }
    }
}

impl<T> fmt::Debug for Remembered<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let memory = self.memory.lock();
        f.debug_struct("Remembered")
            .field("operator", &memory.operator)
            .field("batches", &memory.batches.len())
            .field("records", &memory.records)
            .finish_non_exhaustive()
    }
}

impl<T: Record> Remembered<T> {
    /// Remembers at most `records` records: if a new batch would make them more, the oldest batches
    /// are forgotten.
    #[must_use = "it is the same memory, with another bound"]
    pub fn at_most(self, records: usize) -> Self {
        self.memory.lock().max_records = records;
        self
    }

    /// The batches whose times are from `from_ms` to `to_ms`, both included, with their records;
    /// oldest first. Times are milliseconds since the Unix epoch, and are rounded down to a time at
    /// which the stream has a batch. Nothing is there before the first batch, nor after the newest.
    ///
    /// # Errors
    /// [`Error::LifeCycle`] before the context is started. [`Error::NotRemembered`] if one of the
    /// batches is no longer remembered; it names the setting. What was remembered does not outlive
    /// the process: after a restart that is the error for earlier times.
    pub fn slice(&self, from_ms: u64, to_ms: u64) -> Result<Vec<(Batch, Vec<T>)>> {
        let found = self.memory.lock().slice(from_ms, to_ms)?;
        let copied = |(batch, records): (Batch, Kept<T>)| (batch, records.lock().clone());
        Ok(found.into_iter().map(copied).collect())
    }
}

/// The records of a batch. Each has its own lock: a reader who copies many does not keep the next
/// batch waiting.
type Kept<T> = Arc<Mutex<Vec<T>>>;

struct Memory<T> {
    /// Kind and place of the operator.
    operator: String,
    duration_ms: u64,
    /// Time between two batches of the stream.
    slide_ms: u64,
    max_records: usize,
    /// Whether the context has started.
    is_open: bool,
    batches: VecDeque<(Batch, Kept<T>)>,
    /// Records of all batches.
    records: usize,
    /// Batches up to this time are not remembered, and why.
    forgotten: Option<(u64, Why)>,
}

#[derive(Clone, Copy)]
enum Why {
    BeforeTheStart,
    TooOld,
    TooMany,
}

impl<T> Memory<T> {
    fn add(&mut self, batch: Batch, records: Vec<T>) {
        self.records += records.len();
        self.batches
            .push_back((batch, Arc::new(Mutex::new(records))));
        let too_old = |first: &Batch, memory: &Self| {
            first.time_ms.saturating_add(memory.duration_ms) <= batch.time_ms
        };
        while let Some((first, _)) = self.batches.front() {
            if too_old(first, self) {
                self.forget_first(Why::TooOld);
            } else if self.records > self.max_records {
                self.forget_first(Why::TooMany);
            } else {
                break;
            }
        }
    }

    fn forget_first(&mut self, why: Why) {
        if let Some((batch, records)) = self.batches.pop_front() {
            self.records -= records.lock().len();
            self.forget(batch.time_ms, why);
        }
    }

    fn forget(&mut self, until_ms: u64, why: Why) {
        let until_ms = self.forgotten.map_or(until_ms, |(ms, _)| ms.max(until_ms));
        self.forgotten = Some((until_ms, why));
    }

    fn slice(&self, from_ms: u64, to_ms: u64) -> Result<Vec<(Batch, Kept<T>)>> {
        if !self.is_open {
            return Err(Error::LifeCycle(
                "a slice of what is remembered needs a context that was started",
            ));
        }
        let from_ms = self.aligned(from_ms);
        if let Some((until_ms, why)) = self.forgotten
            && from_ms <= until_ms
            && from_ms <= to_ms
        {
            return Err(self.not_remembered(until_ms, why));
        }
        let times = from_ms..=to_ms;
        let within = |(batch, _): &&(Batch, Kept<T>)| times.contains(&batch.time_ms);
        Ok(self.batches.iter().filter(within).cloned().collect())
    }

    /// The last time not after `ms` at which the stream has a batch.
    fn aligned(&self, ms: u64) -> u64 {
        let Some((any, _)) = self.batches.front() else {
            return ms;
        };
        let slide = self.slide_ms.max(1);
        let phase = any.time_ms % slide;
        match ms.checked_sub(phase) {
            Some(since) => phase + since / slide * slide,
            None => 0,
        }
    }

    fn not_remembered(&self, until_ms: u64, why: Why) -> Error {
        let (operator, duration_ms) = (&self.operator, self.duration_ms);
        let what = match why {
            Why::BeforeTheStart => {
                "they ran before this start, and what is remembered does not outlive the process"
                    .to_owned()
            }
            Why::TooOld => format!("it remembers {duration_ms} ms: give it a longer duration"),
            Why::TooMany => format!(
                "it remembers at most {} records: set another bound with .at_most(..)",
                self.max_records
            ),
        };
        Error::NotRemembered(format!(
            "{operator} has no batches of the times up to {until_ms} ms any more: {what}"
        ))
    }
}

/// The sink that fills a memory.
struct Memorise<T> {
    memory: Arc<Mutex<Memory<T>>>,
    staged: Option<(Batch, Vec<T>)>,
}

impl<T: Record> Sink<T> for Memorise<T> {
    fn guarantee(&self) -> Guarantee {
        Guarantee::AtLeastOnce
    }

    fn open(&mut self, context: &SinkContext) -> Result<(), BoxError> {
        let mut memory = self.memory.lock();
        memory.is_open = true;
        // A batch in doubt runs again, and is remembered then.
        let ran = |batch: &&Batch| Some(batch.id) <= context.committed;
        for batch in context.batches.iter().filter(ran) {
            memory.forget(batch.time_ms, Why::BeforeTheStart);
        }
        Ok(())
    }

    fn stage(&mut self, batch: &Batch, records: Vec<T>) -> Result<(), BoxError> {
        self.staged = Some((*batch, records));
        Ok(())
    }

    fn publish(&mut self, _: &Batch) -> Result<(), BoxError> {
        if let Some((batch, records)) = self.staged.take() {
            self.memory.lock().add(batch, records);
        }
        Ok(())
    }
}
