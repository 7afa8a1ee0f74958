//! Batches of a stream that are kept in memory for a while, and slices of them by time.

use crate::batch::Batch;
use crate::codec::{message_pack, round_trip};
use crate::datasets::stored::RESULT_OVERHEAD;
use crate::error::{BoxError, Error, GraphError, Result};
use crate::operators::dstream::DStream;
use crate::record::Value;
use crate::sink::output::{Guarantee, Sink, SinkContext};
use crate::sink::sink_error::SinkError;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::fmt;
use std::marker::PhantomData;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

/// So many bytes are remembered of a stream, unless it says otherwise.
const MAX_BYTES: u64 = 64 << 20;

impl<T: Value> DStream<T> {
    /// Keeps the batches of the last `duration` in memory, for [`Remembered::slice`]: a look at
    /// recent results from outside, while the context runs. They are held in encoded form, 64 MiB
    /// at most ([`Remembered::at_most_bytes`]). It is an output: a batch is remembered once it is
    /// committed.
    ///
    /// A batch that is no longer remembered is an error. [`datasets`](Self::datasets) would compute
    /// it again, also after a restart; that needs a name and a log that reaches back.
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
            max_bytes: MAX_BYTES,
            is_open: false,
            batches: VecDeque::new(),
            bytes: 0,
            forgotten: None,
        }));
        let sink = Memorise {
            memory: Arc::clone(&memory),
            staged: None,
        };
        self.sink_of_kind("remember", None, sink);
        Remembered {
            memory,
            records: PhantomData,
        }
    }
}

/// The recent batches of a stream (see [`DStream::remember`]). It may be cloned, and sent to other
/// threads; every clone shows the same batches.
pub struct Remembered<T> {
    memory: Arc<Mutex<Memory>>,
    records: PhantomData<fn() -> T>,
}

impl<T> Clone for Remembered<T> {
    fn clone(&self) -> Self {
        Self {
            memory: Arc::clone(&self.memory),
            records: PhantomData,
        }
    }
}

impl<T> fmt::Debug for Remembered<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let memory = self.memory.lock();
        f.debug_struct("Remembered")
            .field("operator", &memory.operator)
            .field("batches", &memory.batches.len())
            .field("bytes", &memory.bytes)
            .finish_non_exhaustive()
    }
}

impl<T: Value> Remembered<T> {
    /// Remembers at most `bytes` bytes: if a new batch would make them more, the oldest batches are
    /// forgotten. Counted are the records in encoded form, and 128 bytes for each batch.
    #[must_use = "it is the same memory, with another bound"]
    pub fn at_most_bytes(self, bytes: u64) -> Self {
        let mut memory = self.memory.lock();
        memory.max_bytes = bytes;
        memory.forget_beyond_bound();
        drop(memory);
        self
    }

    /// The batches whose times are from `from_ms` to `to_ms`, both included, with their records;
    /// oldest first. Times are milliseconds since the Unix epoch, and are rounded down to a time at
    /// which the stream has a batch. Nothing is there before the first batch, nor after the newest.
    ///
    /// # Errors
    /// [`Error::LifeCycle`] before the context is started. [`Error::NotRemembered`] if one of the
    /// batches is no longer remembered, it names the setting, or if its records do not read back.
    /// What was remembered does not outlive the process: after a restart that is the error for
    /// earlier times.
    pub fn slice(&self, from_ms: u64, to_ms: u64) -> Result<Vec<(Batch, Vec<T>)>> {
        let memory = self.memory.lock();
        let (found, operator) = (memory.slice(from_ms, to_ms)?, memory.operator.clone());
        drop(memory); // decoding many records does not keep the next batch waiting
        let decoded = |(batch, bytes): (Batch, Arc<[u8]>)| {
            let records = message_pack::decode(&bytes).map_err(|what| {
                Error::NotRemembered(format!(
                    "{operator}: the records of {batch} do not read back: {what}"
                ))
            })?;
            Ok((batch, records))
        };
        found.into_iter().map(decoded).collect()
    }
}

struct Memory {
    /// Kind and place of the operator.
    operator: String,
    duration_ms: u64,
    /// Time between two batches of the stream.
    slide_ms: u64,
    max_bytes: u64,
    /// Whether the context has started.
    is_open: bool,
    /// Each with its records, as a `Vec` of them serialises.
    batches: VecDeque<(Batch, Arc<[u8]>)>,
    /// What all batches cost.
    bytes: u64,
    /// Batches up to this time are not remembered, and why.
    forgotten: Option<(u64, Why)>,
}

#[derive(Clone, Copy)]
enum Why {
    BeforeTheStart,
    TooOld,
    TooMany,
}

/// What a batch costs.
fn cost(records: &[u8]) -> u64 {
    records.len() as u64 + RESULT_OVERHEAD
}

impl Memory {
    fn add(&mut self, batch: Batch, records: Arc<[u8]>) {
        self.bytes += cost(&records);
        self.batches.push_back((batch, records));
        let is_old = |(first, _): &(Batch, Arc<[u8]>), duration_ms| {
            first.time_ms.saturating_add(duration_ms) <= batch.time_ms
        };
        while (self.batches.front()).is_some_and(|first| is_old(first, self.duration_ms)) {
            self.forget_first(Why::TooOld);
        }
        self.forget_beyond_bound();
    }

    fn forget_beyond_bound(&mut self) {
        while self.bytes > self.max_bytes {
            self.forget_first(Why::TooMany);
        }
    }

    fn forget_first(&mut self, why: Why) {
        if let Some((batch, records)) = self.batches.pop_front() {
            self.bytes -= cost(&records);
            self.forget(batch.time_ms, why);
        }
    }

    fn forget(&mut self, until_ms: u64, why: Why) {
        let until_ms = self.forgotten.map_or(until_ms, |(ms, _)| ms.max(until_ms));
        self.forgotten = Some((until_ms, why));
    }

    fn slice(&self, from_ms: u64, to_ms: u64) -> Result<Vec<(Batch, Arc<[u8]>)>> {
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
        let within = |(batch, _): &&(Batch, Arc<[u8]>)| times.contains(&batch.time_ms);
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
                "it remembers at most {} bytes: set another bound with .at_most_bytes(..)",
                self.max_bytes
            ),
        };
        Error::NotRemembered(format!(
            "{operator} has no batches of the times up to {until_ms} ms any more: {what}"
        ))
    }
}

/// The sink that fills a memory.
struct Memorise {
    memory: Arc<Mutex<Memory>>,
    staged: Option<(Batch, Arc<[u8]>)>,
}

impl<T: Value> Sink<T> for Memorise {
    fn guarantee(&self) -> Guarantee {
        Guarantee::AtLeastOnce
    }

    /// Not so that another attempt would help.
    fn may_fail(&self) -> bool {
        false
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
        let written = (records.iter().try_for_each(round_trip::check))
            .and_then(|()| message_pack::encode(&records).map_err(|e| e.to_string()));
        let written = written.map_err(|what| {
            SinkError::permanent(format!("a record cannot be remembered: {what}"))
        })?;
        self.staged = Some((*batch, written.into()));
        Ok(())
    }

    fn publish(&mut self, _: &Batch) -> Result<(), BoxError> {
        if let Some((batch, records)) = self.staged.take() {
            self.memory.lock().add(batch, records);
        }
        Ok(())
    }
}
