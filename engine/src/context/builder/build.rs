//! The builder: collects the settings of a context.

use crate::context::streaming_context::StreamingContext;
use crate::context::tried::asked_dry_run::AskedDryRun;
use crate::context::tried::asked_replay::AskedReplay;
use crate::error::{BoxError, Error, Result};
use crate::observe::event::{ContextEvent, UserListener};
use crate::operators::scope::StreamScope;
use crate::plan::graph::{Graph, SharedGraph};
use crate::plan::program::Plan;
use crate::rates::back_pressure::BackPressure;
use crate::record::{State, Value};
use crate::settings::{BatchMode, Settings};
use crate::sink::retry::OutputRetry;
use highwater_wal::disk::{Clock, Disk};
use std::cell::RefCell;
use std::io;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf, absolute};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Less than this would be used up by the engine's own records, in bytes.
const MIN_UNPROCESSED: u64 = 16 << 10;

/// Builds a [`StreamingContext`]. Every setting has a default.
///
/// ```
/// use highwater_engine::{CheckpointPolicy, StreamingContext};
/// use std::time::Duration;
///
/// # let dir = tempfile::tempdir()?;
/// let context = StreamingContext::builder(dir.path())
///     .application("till")
///     .batch_interval(Duration::from_millis(500))
///     .checkpoint(CheckpointPolicy::every_batches(20)) // every ten seconds
///     .get_or_create(|ssc| {
///         ssc.input::<u64>("cents").count().for_each_batch("sales", |_, _| ());
///         Ok(())
///     })?;
/// # drop(context);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Builder {
    pub(in crate::context) settings: Settings,
    /// Why the directory is not absolute.
    unresolved: Option<Arc<io::Error>>,
}

/// The one place where the context names its builder, which names the context only as its result.
impl StreamingContext {
    /// Begins the settings of a context whose log and checkpoints live in `dir`. A relative `dir`
    /// is resolved here and now: a later change of the working directory changes nothing.
    #[must_use]
    pub fn builder(dir: impl AsRef<Path>) -> Builder {
        Builder::new(dir.as_ref())
    }
}

impl Builder {
    fn new(dir: &Path) -> Self {
        // `absolute` takes the empty path for a mistake; it is the working directory.
        let named = if dir.as_os_str().is_empty() {
            Path::new(".")
        } else {
            dir
        };
        let resolved = absolute(named);
        Self {
            settings: Settings::new(resolved.as_ref().map_or(dir, PathBuf::as_path)),
            unresolved: resolved.err().map(Arc::new),
        }
    }

    /// Breaks the engine on purpose, for the tests of the tests.
    #[cfg(feature = "deliberate-faults")]
    #[doc(hidden)]
    #[must_use]
    pub fn cheat(mut self, cheat: crate::faults::Cheat) -> Self {
        self.settings.faults = cheat.into();
        self
    }

    /// Draws from `seed` what is otherwise drawn by chance: the identity of a new log, the seed of
    /// the hash of keys in a new directory, the writer id in the names of checkpoint files. With a
    /// simulated disk, a manual clock, batches run by hand, and a log that works inline, a run then
    /// repeats exactly. Two logs of one identity cannot tell each other's segments apart, and
    /// senders that know the hash can choose keys that all collide: never use it for real data.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.settings.seed = Some(seed);
        self
    }

    /// Name of the application, kept on disk: another application's directory is refused. Default
    /// `highwater`.
    #[must_use]
    pub fn application(mut self, name: &str) -> Self {
        name.clone_into(&mut self.settings.application);
        self
    }

    /// Time between two batches, at least 1 ms. Default 1 s. Batch times are multiples of it.
    ///
    /// No tick is lost while a batch is slow: those that pass meanwhile run after it, each as a
    /// batch, also without data. Downtime is not made up for. Another interval than before is
    /// refused if the windows of the program would end between two ticks. With more than a year
    /// (`Duration::MAX`) batches are cut only when they are full, and when the context is stopped;
    /// batch time stands then.
    #[must_use]
    pub fn batch_interval(mut self, interval: Duration) -> Self {
        self.settings.batch_interval = interval;
        self
    }

    /// Number of worker threads, at most 1024; may differ from start to start. Default 1.
    #[must_use]
    pub fn workers(mut self, workers: NonZeroUsize) -> Self {
        self.settings.workers = workers;
        self
    }

    /// Threads that read and decode the states of the checkpoint at a start. What comes out does
    /// not depend on their number; each has the bytes of one key group in memory. Default: one for
    /// each core, at most 16, but at least one for each worker.
    #[must_use]
    pub fn restore_threads(mut self, threads: NonZeroUsize) -> Self {
        self.settings.restore_threads = Some(threads);
        self
    }

    /// Number of key groups, the unit by which state is spread over workers. It is fixed when the
    /// directory is created, and an upper bound on useful workers. Default 128, from 1 to 32768.
    #[must_use]
    pub fn key_groups(mut self, count: u32) -> Self {
        self.settings.key_groups = count;
        self
    }

    /// Splits batches into chunks of this many log bytes, not as their size asks for: for tests of
    /// what must not depend on it.
    #[doc(hidden)]
    #[must_use]
    pub fn chunk_bytes(mut self, bytes: u64) -> Self {
        self.settings.chunk_size.fixed = Some(bytes);
        self
    }

    /// A batch is cut early when it has this many log bytes: it is a part of its tick then, and
    /// windows move at the last part. Default 64 MiB. A backlog, from before the start or a crash,
    /// is cut into batches of this size. Only a frame that is larger makes a
    /// larger batch.
    #[must_use]
    pub fn max_batch_bytes(mut self, bytes: u64) -> Self {
        self.settings.max_batch_bytes = bytes.max(1);
        self
    }

    /// Sources wait while this many log bytes are unprocessed. A checkpoint is taken once this many
    /// were processed since the last one. So a recovery reads at most about twice as much. At least
    /// 16 KiB; default 256 MiB.
    #[must_use]
    pub fn max_unprocessed_bytes(mut self, bytes: u64) -> Self {
        self.settings.max_unprocessed_bytes = bytes.max(MIN_UNPROCESSED);
        self
    }

    /// How many records per second each source may store, at least 1; a source with a
    /// [`DStream::max_rate`](crate::DStream::max_rate) of its own has that one. Default: no bound.
    /// Spark's `spark.streaming.receiver.maxRate`.
    ///
    /// What is too fast waits, by the clock of the context, and its sender with it. What passes in
    /// a tenth of a second may pass at once. A frame passes as a whole, and later ones wait the
    /// longer. Output that is fed back into the program never waits, and does not count.
    ///
    /// A call that does not wait, such as [`Sender::try_send`](crate::Sender::try_send), is refused
    /// with [`Error::RateExceeded`]. So is every call before the start, and where batches are run
    /// by hand ([`BatchMode::Manual`]): the clock may stand still until the same thread moves it.
    #[must_use]
    pub fn max_rate(mut self, records_per_second: u64) -> Self {
        self.settings.max_rate = Some(records_per_second);
        self
    }

    /// Whether the rates of sources follow what the batches can process. Default: off. `true` is
    /// [`BackPressure::pid`], which is Spark's `spark.streaming.backpressure.enabled`.
    ///
    /// After each batch the next rate of each source is estimated, from its records in the batch,
    /// and how long that ran and had waited. A source never exceeds [`Self::max_rate`] either.
    /// [`ContextObserver::rates`](crate::ContextObserver::rates) tells what holds. Without
    /// back-pressure, what is too fast gathers in the log until [`Self::max_unprocessed_bytes`] is
    /// reached.
    #[must_use]
    pub fn back_pressure(mut self, back_pressure: impl Into<BackPressure>) -> Self {
        self.settings.back_pressure = back_pressure.into();
        self
    }

    /// No bound on rates holds, whatever builder and program say: for tests, whose input is given.
    #[must_use]
    pub fn without_rates(mut self) -> Self {
        self.settings.bounds_rates = false;
        self
    }

    /// How many records of one batch may be refused (see
    /// [`DStream::on_error`](crate::DStream::on_error)). A batch with more fails: a log of garbage
    /// is not meant to be skipped. Default 10,000.
    #[must_use]
    pub fn max_refused_records(mut self, count: u64) -> Self {
        self.settings.max_refused_records = count;
        self
    }

    /// How large the store of dead letters may become, in bytes. A batch whose dead letters have no
    /// room fails; none is ever dropped to make room. What was replayed takes no room. Default
    /// 256 MiB.
    #[must_use]
    pub fn max_dead_letter_bytes(mut self, bytes: u64) -> Self {
        self.settings.max_dead_letter_bytes = bytes;
        self
    }

    /// Settings of the log. Its disk and clock are replaced by the context's.
    ///
    /// The log is kept from the oldest retained checkpoint on. If it is bounded
    /// ([`max_bytes`](highwater_wal::Options::max_bytes)), sources are refused at the bound.
    /// Batches go on: their records use the reserve of the log, until a checkpoint frees a part of
    /// it. They wait only if that is used up too. The bound must leave room for what checkpoints
    /// need: [`Self::max_unprocessed_bytes`] for each retained one and once more, and eight
    /// segments. With less, checkpoints may free nothing, and the context comes to a standstill at
    /// the bound.
    #[must_use]
    pub fn log(mut self, options: highwater_wal::Options) -> Self {
        self.settings.log = options;
        self
    }

    /// The disk to run on. Default: the operating system's.
    #[must_use]
    pub fn disk(mut self, disk: Arc<dyn Disk>) -> Self {
        self.settings.disk = disk;
        self
    }

    /// The clock to run by. Default: the machine's.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.settings.clock = clock;
        self
    }

    /// Sets the batch clock to the wall clock at this start, also if that takes batch time back.
    ///
    /// Batch time never falls by itself: after a run with a wall clock that was far ahead, it stays
    /// ahead. Call this once, when the clock is right again. Later batches may then have times that
    /// earlier batches had.
    #[must_use]
    pub fn reset_batch_clock(mut self) -> Self {
        self.settings.reset_batch_clock = true;
        self
    }

    /// What becomes of a batch whose sink fails. Default: it waits and is tried again for ever, as
    /// [`OutputRetry::forever`] says. With [`BatchMode::Manual`] the default is
    /// [`OutputRetry::never`]; with another setting `run_batch` waits too, by the clock of the
    /// context.
    #[must_use]
    pub fn output_retry(mut self, retry: OutputRetry) -> Self {
        self.settings.output_retry = Some(retry);
        self
    }

    /// The output `name` is not in the program any more, and what it has staged of the newest batch
    /// and not published is left where it is. The call may stay.
    #[must_use]
    pub fn drop_output(mut self, name: &str) -> Self {
        self.settings.dropped_outputs.insert(name.to_owned());
        self
    }

    /// How long a stop waits for a receiver that does not return, before it goes on without it. Its
    /// thread is abandoned then: what it has stored is kept, and it can store no more. Default 5 s.
    #[must_use]
    pub fn receiver_stop_timeout(mut self, timeout: Duration) -> Self {
        self.settings.receiver_stop_timeout = timeout;
        self
    }

    /// How often one batch may fail: the last of so many failures stops the context, with the error
    /// of that attempt. So 1 means that a batch is not run again. 0 counts as 1; default 3.
    ///
    /// What is counted are attempts to compute the batch: a closure of an operator that panics or
    /// fails, on any worker, or a worker that ends. A failed attempt leaves nothing behind: states,
    /// windows, timers, counters and datasets are what they were, nothing reaches an output, and
    /// the batch runs again with the same id, time and records. See `docs/guarantees.md` for
    /// closures that have effects of their own. What the engine itself refuses, such as a key that
    /// does not come back from a checkpoint, is not tried again.
    ///
    /// 200 ms pass before the second attempt, and twice as many before each later one, up to 10 s.
    /// A graceful stop ends the wait and makes the attempts that are left; an immediate one makes
    /// none. Where batches are run by hand ([`BatchMode::Manual`]), no time passes in between.
    #[must_use]
    pub fn max_batch_failures(mut self, failures: u32) -> Self {
        self.settings.max_batch_failures = NonZeroU32::new(failures).unwrap_or(NonZeroU32::MIN);
        self
    }

    /// After each failure of a batch the workers are built again, also where they could put the
    /// batch back: for tests of what must not depend on it.
    #[doc(hidden)]
    #[must_use]
    pub fn always_rebuild(mut self, always: bool) -> Self {
        self.settings.always_rebuild = always;
        self
    }

    /// Calls `f` for everything that happens in the context: see [`ContextEvent`]. It is called on
    /// the thread on which the event happens, which waits for it, so it should be quick and must
    /// not wait for the context. A panic in it is logged, and the context goes on. Several
    /// listeners are called in the order in which they were added.
    ///
    /// ```
    /// use highwater_engine::{ContextEvent, StreamingContext};
    /// let builder = StreamingContext::builder("app.d").listener(|event| match event {
    ///     ContextEvent::BatchCompleted { batch, scheduling_delay, .. } if !scheduling_delay.is_zero() => {
    ///         eprintln!("{batch} waited for {scheduling_delay:?}");
    ///     }
    ///     ContextEvent::Stopped { .. } => eprintln!("{event}"),
    ///     _ => {}
    /// });
    /// ```
    #[must_use]
    pub fn listener(mut self, f: impl Fn(&ContextEvent) + Send + Sync + 'static) -> Self {
        self.settings.listeners.push(UserListener::new(f));
        self
    }

    /// When batches are cut. Default: by the clock.
    #[must_use]
    pub fn batches(mut self, mode: BatchMode) -> Self {
        self.settings.mode = mode;
        self
    }

    /// The state `old` of the newest checkpoint belongs to the operator that is called `new` now.
    /// The call may stay: once a checkpoint has the new name it does nothing. Calls may follow each
    /// other (`a` to `b`, `b` to `c`).
    #[must_use]
    pub fn rename_state(mut self, old: &str, new: &str) -> Self {
        self.settings.states.rename(old, new);
        self
    }

    /// Discards the state `name` of the newest checkpoint.
    ///
    /// The call may stay. If the program has an operator of that name, its state begins anew once,
    /// and is kept from then on. To begin anew another time, add a second call.
    #[must_use]
    pub fn drop_state(mut self, name: &str) -> Self {
        self.settings.states.drop(name);
        self
    }

    /// The values of the state `name` are converted from `Old` to `New` when they are loaded.
    ///
    /// Calls are a sequence, as a database's migrations are: keep them, and add the next one after
    /// them. A checkpoint counts how many its states have gone through, so each is applied once,
    /// whatever the types are called. A program with fewer calls than the checkpoint knows is
    /// refused.
    ///
    /// ```
    /// # use highwater_engine::StreamingContext;
    /// // Totals were kept in euros, and are kept in cents.
    /// let builder = StreamingContext::builder("app.d")
    ///     .migrate_state::<f64, i64>("totals", |euros| (euros * 100.0).round() as i64);
    /// ```
    #[must_use]
    pub fn migrate_state<Old: State, New: State>(
        mut self,
        name: &str,
        convert: impl Fn(Old) -> New + Send + Sync + 'static,
    ) -> Self {
        self.settings.states.migrate_state(name, convert);
        self
    }

    /// The source `old` is called `new` now. Its records in the log, its positions (which files
    /// were read) and its producers' sequence numbers belong to the new name. The call may stay:
    /// once the log knows the new name it does nothing. Calls may follow each other.
    #[must_use]
    pub fn rename_source(mut self, old: &str, new: &str) -> Self {
        self.settings.sources.rename(old, new);
        self
    }

    /// Discards what the log and the checkpoints hold of the source `name`. That is: records that
    /// no checkpoint covers yet, positions, sequence numbers of producers.
    ///
    /// The call may stay. If the program has a source of that name, it begins anew once, and what
    /// it receives from then on is kept. To begin anew another time, add a second call.
    #[must_use]
    pub fn drop_source(mut self, name: &str) -> Self {
        self.settings.sources.drop(name);
        self
    }

    /// Records of the input `name` that were sent as `Old` are converted to `New` when they are
    /// read.
    ///
    /// Calls are a sequence, as those of [`Self::migrate_state`] are. The log remembers where each
    /// conversion was added, so each is applied to the records that were sent before. A program
    /// with fewer calls than the log knows is refused.
    ///
    /// ```
    /// # use highwater_engine::StreamingContext;
    /// // Orders were pairs, and have a currency now.
    /// let builder = StreamingContext::builder("app.d")
    ///     .migrate_input("orders", |(id, cents): (u64, i64)| (id, cents, "EUR".to_owned()));
    /// ```
    #[must_use]
    pub fn migrate_input<Old: Value, New: Value>(
        mut self,
        name: &str,
        convert: impl Fn(Old) -> New + Send + Sync + 'static,
    ) -> Self {
        self.settings.sources.migrate_record(name, convert);
        self
    }

    /// Recovers what is in the directory, or creates it; either way the program is built from
    /// `program`, which is called once. Named state and positions come from the newest checkpoint,
    /// the batches after it are replayed by [`StreamingContext::start`].
    ///
    /// # Errors
    /// [`Error::Directory`] if the directory is relative and the working directory cannot be found.
    /// [`Error::Graph`] for a program that cannot run. [`Error::Mismatch`] if starting it would
    /// lose or misread state, with the call that resolves it. [`Error::Log`] and
    /// [`Error::Checkpoint`] for what is on disk. No record, state or position is changed then.
    /// [`Error::DryRun`] in a process that is asked for a dry run: see [`Self::dry_run`];
    /// [`Error::Replayed`] in one that is asked for a replay: see [`Self::replay_beside`].
    pub fn get_or_create(
        self,
        program: impl FnOnce(&StreamScope) -> std::result::Result<(), BoxError>,
    ) -> Result<StreamingContext> {
        let (settings, plan) = self.build(program)?;
        if let Some(asked) = AskedDryRun::of_environment() {
            return Err(asked.answer(settings, &plan));
        }
        if let Some(asked) = AskedReplay::of_environment() {
            return Err(asked.answer(settings, plan));
        }
        StreamingContext::open(settings, plan)
    }

    /// The settings, checked, and the program.
    pub(in crate::context) fn build(
        self,
        program: impl FnOnce(&StreamScope) -> std::result::Result<(), BoxError>,
    ) -> Result<(Settings, Plan)> {
        if let Some(source) = self.unresolved {
            let dir = self.settings.dir;
            return Err(Error::Directory { dir, source });
        }
        self.settings.check()?;
        let graph: SharedGraph = Rc::new(RefCell::new(Graph::new()));
        graph.borrow_mut().set_interval(self.settings.interval_ms());
        let scope = StreamScope {
            graph: Rc::clone(&graph),
        };
        program(&scope).map_err(Error::Build)?;
        let plan = graph.borrow_mut().finish()?;
        Ok((self.settings, plan))
    }
}
