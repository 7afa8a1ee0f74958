//! What can be seen of a context.

use crate::context::core::Core;
use crate::context::observers::has_keys;
use crate::engine_log::received::SourceLag;
use crate::error::Error;
use crate::ingest::source_context::SourceStats;
use crate::observe::checkpoints::CheckpointStats;
use crate::observe::event::ContextState;
use crate::observe::failed_attempt::FailedAttempt;
use crate::observe::recent::Recent;
use crate::observe::recovering::lineage::Lineage;
use crate::observe::refused::RefusedStats;
use crate::observe::states::StateStats;
use crate::observe::status::Progress;
use crate::plan::program::OperatorInfo;
use crate::rates::source_rate::RateStatus;
use crate::recovery::report::RecoveryReport;
use crate::settings::BatchMode;
use crate::sink::status::OutputStatus;
use highwater_wal::disk::{Clock, Disk};
use highwater_wal::{LogHold, SegmentRange, Stats};
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// What can be seen of a context: its progress, its sources, its checkpoints, its log. Nothing is
/// changed by looking, and no look waits for a batch.
///
/// A [`StreamingContext`](crate::StreamingContext) has all of it.
/// [`StreamingContext::observer`](crate::StreamingContext::observer) gives one of its own to pages,
/// health checks and the like: it does not keep the context running, and says afterwards how it
/// ended. Cheap to clone. As long as one is there, the program's closures and some descriptors of
/// its log are; its directory is free.
///
/// ```
/// # use highwater_engine::{BatchMode, ContextState, StopMode, StreamingContext};
/// # let dir = tempfile::tempdir()?;
/// # let context = StreamingContext::builder(dir.path())
/// #     .batches(BatchMode::Manual)
/// #     .get_or_create(|ssc| {
/// #         ssc.input::<u64>("numbers").for_each_batch("out", |_, _| ());
/// #         Ok(())
/// #     })?;
/// # context.start()?;
/// let observer = context.observer();
/// context.input::<u64>("numbers")?.send_all(&[1, 2, 3])?.wait()?;
/// assert_eq!(observer.lags()[0].1.records, 3);
/// context.run_batch()?;
/// assert_eq!(observer.lags()[0].1.records, 0);
/// assert_eq!(observer.recent().batches[0].records, 3);
/// drop(context);
/// assert_eq!(observer.context_state(), ContextState::Stopped);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct ContextObserver {
    pub(super) core: Arc<Core>,
}

impl fmt::Debug for ContextObserver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContextObserver")
            .field("dir", &self.core.settings.dir)
            .field("state", &self.context_state())
            .finish_non_exhaustive()
    }
}

impl ContextObserver {
    /// What would have to be replayed after a crash right now.
    ///
    /// ```
    /// # use highwater_engine::StreamingContext;
    /// # fn show(context: &StreamingContext) {
    /// let lineage = context.lineage();
    /// println!("{lineage}");
    /// if lineage.depth > 1000 {
    ///     eprintln!("a restart takes {:?}", lineage.estimated_recovery);
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn lineage(&self) -> Lineage {
        self.core.lineage.now()
    }

    /// What was found on disk when the context was opened, and what was restored.
    #[must_use]
    pub fn recovered(&self) -> &RecoveryReport {
        &self.core.report
    }

    /// The disk that the context runs on.
    #[must_use]
    pub fn disk(&self) -> Arc<dyn Disk> {
        Arc::clone(&self.core.settings.disk)
    }

    /// Where the context is in its life.
    #[must_use]
    pub fn context_state(&self) -> ContextState {
        self.core.status.state()
    }

    /// Batches completed since the start, and what they took.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.core.status.progress()
    }

    /// The newest attempt at the present batch that has failed, until one succeeds or the context
    /// has stopped: why, and when the next attempt is made. `None` if all goes well.
    #[must_use]
    pub fn failed_attempt(&self) -> Option<FailedAttempt> {
        match self.context_state() {
            ContextState::Stopped => None,
            _ => self.core.status.failed_attempt(),
        }
    }

    /// Checkpoints of this run.
    #[must_use]
    pub fn checkpoints(&self) -> CheckpointStats {
        self.core.checkpoints.stats()
    }

    /// How many keys each state of the program has, as of the last batch.
    #[must_use]
    pub fn states(&self) -> Vec<StateStats> {
        let core = &self.core;
        let states = core.plan.states.iter().enumerate();
        let states = states.filter(|(_, state)| has_keys(state.kind));
        let stats = states.map(|(index, state)| {
            let counts = core.states.of(index);
            StateStats {
                name: state.name.clone(),
                keys: counts.keys,
                changed_keys: counts.changed,
            }
        });
        stats.collect()
    }

    /// The outputs of the program: what they promise, and which of them waits for its sink.
    #[must_use]
    pub fn outputs(&self) -> Vec<OutputStatus> {
        let core = &self.core;
        let outputs = core.plan.outputs.iter().map(|output| {
            let shown = core.plan.operator_name(output.operator);
            OutputStatus {
                guarantee: output.sink.guarantee,
                delay: core.output_delays.of(&shown),
                output: shown,
            }
        });
        outputs.collect()
    }

    /// The value of the counter `name` as of the last finished batch; `None` if the program has no
    /// such counter.
    #[must_use]
    pub fn counter(&self, name: &str) -> Option<u64> {
        let mut counters = self.counters().into_iter();
        counters.find_map(|(counter, value)| (counter == name).then_some(value))
    }

    /// Every counter with its value as of the last finished batch, in the order of declaration.
    #[must_use]
    pub fn counters(&self) -> Vec<(String, u64)> {
        self.core.plan.variables.counters()
    }

    /// How many records each operator has refused, as of the last finished batch: see
    /// [`DStream::on_error`](crate::DStream::on_error). Only what a committed batch has refused
    /// counts, and it counts once, whatever runs again. The counts are in checkpoints: they go back
    /// to the first batch of a program with a policy. A start of a program without one ends them.
    #[must_use]
    pub fn refused(&self) -> Vec<RefusedStats> {
        let counts = self.core.plan.refusing.counts.get();
        let stats = counts.into_iter().map(|(operator, count)| RefusedStats {
            operator,
            skipped: count.skipped,
            dead_letters: count.dead_letters,
        });
        stats.collect()
    }

    /// How many dead letters there are: records that were put aside and not replayed since.
    /// [`read_dead_letters`](crate::read_dead_letters) reads them.
    #[must_use]
    pub fn dead_letters(&self) -> usize {
        let desk = self.core.desk.lock().clone();
        desk.map_or(0, |desk| desk.count())
    }

    /// What the sources have done since the start, by name.
    #[must_use]
    pub fn sources(&self) -> Vec<(String, SourceStats)> {
        let sources = self.core.sources.iter();
        sources.map(|s| (s.name().to_owned(), s.stats())).collect()
    }

    /// How fast the sources may be at the moment, in the order of their declaration. A source whose
    /// rate nothing bounds, now or after a later batch, is not in it.
    #[must_use]
    pub fn rates(&self) -> Vec<RateStatus> {
        let sources = self.core.sources.iter();
        sources.filter_map(|s| Some(s.rate()?.status())).collect()
    }

    /// What stopped the context, if that was an error.
    #[must_use]
    pub fn error(&self) -> Option<Arc<Error>> {
        self.core.status.error()
    }

    /// What each source has in the log that no completed batch has, by name.
    #[must_use]
    pub fn lags(&self) -> Vec<(String, SourceLag)> {
        let sources = self.core.sources.iter();
        sources.map(|s| (s.name().to_owned(), s.lag())).collect()
    }

    /// The newest batches, checkpoints and errors of this run, and what its receivers do.
    #[must_use]
    pub fn recent(&self) -> Recent {
        self.core.recent.now()
    }

    /// The operators of the program, in the order of their definition.
    #[must_use]
    pub fn operators(&self) -> &[OperatorInfo] {
        &self.core.plan.operators
    }

    /// The name of the application.
    #[must_use]
    pub fn application(&self) -> &str {
        &self.core.settings.application
    }

    /// The directory of the context.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.core.settings.dir
    }

    /// The settings that decide how batches run, with their names in
    /// [`Builder`](crate::Builder), for people.
    #[must_use]
    pub fn settings(&self) -> BTreeMap<String, String> {
        self.core.settings.shown()
    }

    /// The interval of batches; `None` if they are run by hand.
    #[must_use]
    pub fn batch_interval(&self) -> Option<Duration> {
        let settings = &self.core.settings;
        (settings.mode == BatchMode::Clock).then_some(settings.batch_interval)
    }

    /// The clock that the context runs by.
    #[must_use]
    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.core.settings.clock)
    }

    /// The numbers of the log.
    #[must_use]
    pub fn log_stats(&self) -> Stats {
        self.core.wal.stats()
    }

    /// Who keeps the log, and from where on.
    #[must_use]
    pub fn log_holds(&self) -> Vec<LogHold> {
        self.core.wal.holds()
    }

    /// The segments of the log, the oldest first.
    #[must_use]
    pub fn log_segments(&self) -> Vec<SegmentRange> {
        self.core.wal.segments()
    }

    /// Bytes that are free on the file system of the log; `None` where the disk does not know.
    ///
    /// # Errors
    /// Any I/O error.
    pub fn free_bytes(&self) -> io::Result<Option<u64>> {
        self.core.settings.disk.free_bytes(self.core.wal.dir())
    }
}
