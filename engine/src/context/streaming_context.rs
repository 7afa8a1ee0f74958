//! `StreamingContext`: the life of a program, from recovery to the final checkpoint.

use crate::batch::Batch;
use crate::batch::work::Snapshot;
use crate::context::core::Core;
use crate::context::observer::ContextObserver;
use crate::context::queue::StopMode;
use crate::context::stopping;
use crate::context::thread::Thread;
use crate::context::threads::{self, Threads};
use crate::datasets::handle::Datasets;
use crate::dead_letters::desk::no_dead_letters;
use crate::dead_letters::request::DeadLetterFilter;
use crate::error::{Error, Result};
use crate::ingest::sender::Sender;
use crate::life::signals::{self, Urgency};
use crate::plan::program::Plan;
use crate::record::Value;
use crate::settings::Settings;
use crate::thread_role::{self, Role};
use highwater_wal::Wal;
use parking_lot::Mutex;
use std::any::TypeId;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

/// A streaming program on its directory. Cheap to clone; every clone is the same context. What can
/// be seen of it are methods of [`ContextObserver`].
///
/// Dropping the last clone stops it at once, as a crash would, but tidily: nothing is lost either
/// way.
///
/// ```
/// use highwater_engine::{BatchMode, StopMode, StreamingContext};
/// use std::sync::{Arc, Mutex};
///
/// # let dir = tempfile::tempdir()?;
/// let sums = Arc::new(Mutex::new(Vec::new()));
/// let seen = Arc::clone(&sums);
/// let context = StreamingContext::builder(dir.path())
///     .batches(BatchMode::Manual) // without it, every second
///     .get_or_create(move |ssc| {
///         let numbers = ssc.input::<u64>("numbers");
///         numbers.reduce(|a, b| a + b).for_each_batch("sums", move |_batch, sum| {
///             seen.lock().unwrap().extend(sum);
///         });
///         Ok(())
///     })?;
/// context.start()?;
/// context.input::<u64>("numbers")?.send_all(&[1, 2, 3])?.wait()?;
/// context.run_batch()?;
/// assert_eq!(*sums.lock().unwrap(), [6]);
/// context.stop(StopMode::Graceful)?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct StreamingContext {
    owner: Arc<Owner>,
}

/// Stops the context when the last clone goes.
struct Owner {
    observer: ContextObserver,
    threads: Mutex<Threads>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        let threads = self.threads.get_mut();
        if thread_role::role() != Role::Outside {
            return stopping::abandon(&self.observer.core, threads);
        }
        let is_known = self.observer.core.status.error().is_some();
        if let Err(error) = stopping::stop(&self.observer.core, threads, StopMode::Immediate)
            && !is_known
        {
            tracing::warn!(%error, "stopping a dropped streaming context");
        }
    }
}

impl fmt::Debug for StreamingContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamingContext")
            .field("dir", &self.owner.observer.core.settings.dir)
            .field("state", &self.context_state())
            .finish_non_exhaustive()
    }
}

impl Deref for StreamingContext {
    type Target = ContextObserver;

    fn deref(&self) -> &ContextObserver {
        &self.owner.observer
    }
}

impl StreamingContext {
    pub(super) fn core(&self) -> &Core {
        &self.owner.observer.core
    }

    pub(crate) fn open(settings: Settings, plan: Plan) -> Result<Self> {
        let core = Core::open(settings, plan)?;
        Ok(Self {
            owner: Arc::new(Owner {
                observer: ContextObserver {
                    core: Arc::new(core),
                },
                threads: Mutex::default(),
            }),
        })
    }

    /// Replays the batches after the checkpoint, then runs new ones. Returns when replay has begun;
    /// in manual mode, when it is over.
    ///
    /// # Errors
    /// [`Error::LifeCycle`] if it was started before; [`Error::Source`] or [`Error::OutputOpen`] if
    /// a source or sink cannot start; in manual mode also whatever replay fails with.
    pub fn start(&self) -> Result<&Self> {
        let core = &self.owner.observer.core;
        core.activate()?;
        let started = threads::start(core, &mut self.owner.threads.lock());
        if let Err(error) = started {
            core.quiesce();
            core.stopped(Some(Arc::new(Error::LifeCycle(
                "the streaming context could not start: its `start` returned why",
            ))));
            return Err(error);
        }
        Ok(self)
    }

    /// Waits until the context has stopped.
    ///
    /// # Errors
    /// What stopped it, if that was an error.
    pub fn await_termination(&self) -> Result<()> {
        self.owner.observer.core.status.await_end()
    }

    /// Waits until the context has stopped, or the process gets SIGTERM or SIGINT (ctrl-c). Then
    /// it stops the context gracefully: sources are closed, what they have stored is cut and
    /// processed, and a final checkpoint is taken. So the next start replays nothing. A second
    /// signal stops it at once; the next start then replays what was not processed.
    ///
    /// Returns when the log is closed. Signals that come later do what they do without Highwater.
    ///
    /// # Errors
    /// What stopped the context, if that was an error; what kept a graceful stop from its end.
    pub fn await_termination_or_signal(&self) -> Result<()> {
        let context = self.clone();
        let _registration = signals::on_signal(move |urgency| {
            let mode = match urgency {
                Urgency::Asked => StopMode::Graceful,
                Urgency::Insisted => StopMode::Immediate,
            };
            if let Err(error) = context.stop_on_a_thread(mode) {
                tracing::error!(%error, "the signal cannot stop the context");
            }
        })?;
        self.await_termination()
    }

    /// Waits until the context has stopped, or `timeout` has passed; false in the second case.
    ///
    /// # Errors
    /// What stopped it, if that was an error.
    pub fn await_termination_or_timeout(&self, timeout: Duration) -> Result<bool> {
        self.owner
            .observer
            .core
            .status
            .await_end_or_timeout(timeout)
    }

    /// Waits until batch `id` is complete, or the context has stopped.
    ///
    /// # Errors
    /// What stopped the context, or [`Error::Stopped`] if that was `stop`.
    pub fn await_batch(&self, id: u64) -> Result<()> {
        self.owner.observer.core.status.await_batch(id)
    }

    /// Stops the context and closes the log. Stopping twice is no error; an immediate stop cuts a
    /// graceful one short.
    ///
    /// An operator, an output or a receiver may call it too. The context cannot wait for itself, so
    /// the call returns at once and a thread of its own stops the context.
    /// [`Self::await_termination`] waits for that and returns its error.
    ///
    /// # Errors
    /// A graceful stop reports what kept it from processing everything or from taking the final
    /// checkpoint. Nothing acknowledged is lost: the next start goes on from there.
    pub fn stop(&self, mode: StopMode) -> Result<()> {
        let core = &self.owner.observer.core;
        if thread_role::role() != Role::Outside {
            return self.stop_from_within(mode);
        }
        if mode == StopMode::Immediate {
            core.queue.end(mode);
        }
        stopping::stop(core, &mut self.owner.threads.lock(), mode)
    }

    /// Stops a context from one of its own threads, which the stop would wait for: a thread of its
    /// own does it.
    fn stop_from_within(&self, mode: StopMode) -> Result<()> {
        self.owner.observer.core.admission.close();
        self.stop_on_a_thread(mode)
    }

    /// Stops the context on a thread of its own.
    fn stop_on_a_thread(&self, mode: StopMode) -> Result<()> {
        let context = self.clone();
        let stopper = Thread::spawn("stopper", move || {
            if let Err(error) = context.stop(mode) {
                tracing::warn!(%error, "the stop has failed");
            }
        });
        stopper.map(drop)
    }

    /// Cuts a batch, runs it and returns it (manual mode only). If more has gathered than
    /// [`max_batch_bytes`](crate::Builder::max_batch_bytes), the batch has the first part of it,
    /// and the next call goes on.
    ///
    /// # Errors
    /// [`Error::LifeCycle`] if the context is not active or not in manual mode; whatever the batch
    /// fails with, which also stops the context.
    pub fn run_batch(&self) -> Result<Batch> {
        self.owner.observer.core.run_manually(Snapshot::Skip)
    }

    /// The sending end of the in-process input `name`.
    ///
    /// # Errors
    /// [`Error::NoSuchInput`] if the program has no such input or it carries another type.
    pub fn input<T: Value>(&self, name: &str) -> Result<Sender<T>> {
        let core = &self.owner.observer.core;
        let sources = core.plan.sources.iter().zip(&core.sources);
        let found = sources.clone().find(|(source, _)| source.name == name);
        match found {
            Some((source, context)) => match source.input_type {
                Some(id) if id == TypeId::of::<T>() => {
                    Ok(Sender::new(context.clone(), Arc::clone(&core.wal)))
                }
                Some(_) => Err(Error::NoSuchInput(format!(
                    "input \"{name}\" carries {}, not {}",
                    source.record,
                    std::any::type_name::<T>()
                ))),
                None => Err(Error::NoSuchInput(format!(
                    "\"{name}\" is a source of kind {}, which receives for itself",
                    source.kind
                ))),
            },
            None => {
                let known: Vec<&str> = sources
                    .filter(|(s, _)| s.input_type.is_some())
                    .map(|(s, _)| s.name.as_str())
                    .collect();
                Err(Error::NoSuchInput(format!(
                    "the program has no input \"{name}\" (it has: {})",
                    known.join(", ")
                )))
            }
        }
    }

    /// The results that the stream `name` had in past batches: of
    /// [`DStream::datasets`](crate::DStream::datasets).
    ///
    /// # Errors
    /// [`Error::NoSuchDataset`] if the program has no such dataset or it has other records.
    pub fn datasets<T: Value>(&self, name: &str) -> Result<Datasets<T>> {
        let slots = &self.owner.observer.core.plan.datasets.slots;
        let Some(slot) = slots.iter().find(|slot| &*slot.name == name) else {
            let known: Vec<&str> = slots.iter().map(|slot| &*slot.name).collect();
            return Err(Error::NoSuchDataset(format!(
                "the program has no dataset \"{name}\" (it has: {})",
                known.join(", ")
            )));
        };
        let (id, found) = slot.records;
        if id != TypeId::of::<T>() {
            return Err(Error::NoSuchDataset(format!(
                "dataset \"{name}\" has records of type {found}, not {}",
                std::any::type_name::<T>()
            )));
        }
        Ok(Datasets {
            slot: Arc::clone(slot),
            records: PhantomData,
        })
    }

    /// Asks for a replay of dead letters: the next cut takes them into the log, and their
    /// operators get them in the batch that it ends, each once. What follows the operator sees
    /// them there; no other operator does. One that fails again is put aside again, with the same
    /// identity. Returns how many are meant.
    ///
    /// ```
    /// # use highwater_engine::{DeadLetterFilter, Result, StreamingContext};
    /// # fn replay(context: &StreamingContext) -> Result<()> {
    /// let asked = context.replay_dead_letters(&DeadLetterFilter::all().operator("parse"))?;
    /// println!("{asked} dead letters come again");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::LifeCycle`] if the context was not started or its program puts no records aside;
    /// [`Error::DeadLetterRequest`] if the request cannot be written.
    pub fn replay_dead_letters(&self, filter: &DeadLetterFilter) -> Result<usize> {
        let desk = self.owner.observer.core.desk.lock().clone();
        desk.ok_or_else(no_dead_letters)?.request(filter)
    }

    /// What can be seen of the context, for those who must not keep it running.
    #[must_use]
    pub fn observer(&self) -> ContextObserver {
        self.owner.observer.clone()
    }

    /// The log underneath: its statistics, its recovery report, its frontier.
    #[must_use]
    pub fn log(&self) -> &Wal {
        &self.owner.observer.core.wal
    }
}
