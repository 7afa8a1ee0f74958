//! The settings of a context, as plain data.

use crate::batch::chunk_size::ChunkSize;
use crate::checkpointing::policy::CheckpointPolicy;
use crate::error::{Error, Result};
use crate::faults::Faults;
use crate::observe::event::UserListener;
use crate::plan::changes::Changes;
use crate::rates::back_pressure::BackPressure;
use crate::sink::retry::OutputRetry;
use highwater_checkpoint::Store;
use highwater_wal::disk::{Clock, Disk, OsClock, OsDisk};
use std::collections::{BTreeMap, BTreeSet};
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// More worker threads are not meant.
const MAX_WORKERS: usize = 1024;

/// So often a batch may fail, unless the program says otherwise.
const MAX_BATCH_FAILURES: NonZeroU32 = NonZeroU32::new(3).unwrap();

/// When batches are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchMode {
    /// Every batch interval, by the clock, on threads of the context.
    Clock,
    /// Only when [`StreamingContext::run_batch`](crate::StreamingContext::run_batch) is called, on
    /// the calling thread, and with checkpoints written inline: every disk operation comes in the
    /// same order in each run. For tests and simulations.
    Manual,
}

/// How the entries of states are written into checkpoints: see
/// [`Builder::state_codec`](crate::Builder::state_codec).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StateCodec {
    /// MessagePack with the names of fields, one entry after the other.
    #[default]
    Named,
    /// The same MessagePack by columns: the names of fields once for each key group, and the values
    /// of each field together.
    Compact,
}

/// So many threads restore states at most, unless there are more workers, or the program says more.
const MAX_RESTORE_THREADS: usize = 16;

/// Every setting that [`Builder`](crate::Builder) collects; its methods describe them.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) dir: PathBuf,
    pub(crate) application: String,
    pub(crate) batch_interval: Duration,
    pub(crate) policy: CheckpointPolicy,
    pub(crate) retain: usize,
    /// Bytes of copied states that wait to be written, at most.
    pub(crate) checkpoint_memory: u64,
    /// How states are laid out in checkpoints.
    pub(crate) state_codec: StateCodec,
    /// Where checkpoints are kept; `None` for the directory `checkpoints` in `dir`.
    pub(crate) checkpoint_store: Option<Arc<dyn Store>>,
    /// Why the URL of another place is refused.
    pub(crate) checkpoint_url_refused: Option<String>,
    /// The checkpoint whose log may be gone.
    pub(crate) accepted_loss: Option<u64>,
    /// What a new directory begins with.
    pub(crate) savepoint: Option<Arc<dyn Store>>,
    /// Why its URL is refused.
    pub(crate) savepoint_url_refused: Option<String>,
    pub(crate) workers: NonZeroUsize,
    /// `None`: see [`Settings::restore_threads`].
    pub(crate) restore_threads: Option<NonZeroUsize>,
    pub(crate) key_groups: u32,
    pub(crate) chunk_size: ChunkSize,
    pub(crate) max_batch_bytes: u64,
    pub(crate) max_unprocessed_bytes: u64,
    /// Records per second of each source that has no bound of its own.
    pub(crate) max_rate: Option<u64>,
    pub(crate) back_pressure: BackPressure,
    /// Whether bounds on rates hold.
    pub(crate) bounds_rates: bool,
    /// Records of a batch that may be refused.
    pub(crate) max_refused_records: u64,
    /// Bytes of the store of dead letters.
    pub(crate) max_dead_letter_bytes: u64,
    pub(crate) log: highwater_wal::Options,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Whether the times of earlier batches do not bind the clock.
    pub(crate) reset_batch_clock: bool,
    pub(crate) receiver_stop_timeout: Duration,
    /// So many failures of one batch end the context.
    pub(crate) max_batch_failures: NonZeroU32,
    /// Whether workers are built again after each failure, also where they could put it back.
    pub(crate) always_rebuild: bool,
    pub(crate) mode: BatchMode,
    pub(crate) states: Changes,
    pub(crate) sources: Changes,
    /// Outputs whose staged parts are given up.
    pub(crate) dropped_outputs: BTreeSet<String>,
    /// Whether no output is opened or called: batches run for their state alone.
    pub(crate) muted: bool,
    /// `None`: for ever by the clock, never by hand.
    pub(crate) output_retry: Option<OutputRetry>,
    /// The program's own listeners.
    pub(crate) listeners: Vec<UserListener>,
    /// Where what is drawn by chance comes from, if not from chance.
    pub(crate) seed: Option<u64>,
    pub(crate) faults: Faults,
}

impl Settings {
    /// The defaults for `dir`.
    pub(crate) fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            application: "highwater".to_owned(),
            batch_interval: Duration::from_secs(1),
            policy: CheckpointPolicy::default(),
            retain: 2,
            checkpoint_memory: 64 << 20,
            state_codec: StateCodec::default(),
            checkpoint_store: None,
            checkpoint_url_refused: None,
            accepted_loss: None,
            savepoint: None,
            savepoint_url_refused: None,
            workers: NonZeroUsize::MIN,
            restore_threads: None,
            key_groups: 128,
            chunk_size: ChunkSize::default(),
            max_batch_bytes: 64 << 20,
            max_unprocessed_bytes: 256 << 20,
            max_rate: None,
            back_pressure: BackPressure::off(),
            bounds_rates: true,
            max_refused_records: 10_000,
            max_dead_letter_bytes: 256 << 20,
            log: highwater_wal::Options::new(),
            disk: Arc::new(OsDisk::new()),
            clock: Arc::new(OsClock::new()),
            reset_batch_clock: false,
            receiver_stop_timeout: Duration::from_secs(5),
            max_batch_failures: MAX_BATCH_FAILURES,
            always_rebuild: false,
            mode: BatchMode::Clock,
            states: Changes::default(),
            sources: Changes::default(),
            dropped_outputs: BTreeSet::new(),
            muted: false,
            output_retry: None,
            listeners: Vec::new(),
            seed: None,
            faults: Faults::default(),
        }
    }

    /// The batch interval in whole milliseconds.
    pub(crate) fn interval_ms(&self) -> u64 {
        u64::try_from(self.batch_interval.as_millis()).unwrap_or(u64::MAX)
    }

    /// After so many batches a checkpoint is taken, unless the policy decides by measurement.
    pub(crate) fn checkpoint_every(&self) -> u64 {
        self.policy.batches(self.batch_interval)
    }

    /// How many threads read and decode the states of a checkpoint at a start: nothing else runs
    /// yet, so every core may. Each has a block in memory, which bounds their number.
    pub(crate) fn restore_threads(&self) -> usize {
        self.restore_threads.map_or_else(
            || {
                let cores = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
                cores.get().min(MAX_RESTORE_THREADS).max(self.workers.get())
            },
            NonZeroUsize::get,
        )
    }

    /// What a checkpoint tells of the settings, by the methods of the builder. None of them changes
    /// what a result is.
    pub(crate) fn shown(&self) -> BTreeMap<String, String> {
        let or_none = |rate: Option<u64>| rate.map_or("none".to_owned(), |rate| rate.to_string());
        let all = [
            ("batch_interval", format!("{:?}", self.batch_interval)),
            ("checkpoint", format!("{:?}", self.policy)),
            ("checkpoint_memory", self.checkpoint_memory.to_string()),
            ("max_batch_bytes", self.max_batch_bytes.to_string()),
            ("max_batch_failures", self.max_batch_failures.to_string()),
            (
                "max_dead_letter_bytes",
                self.max_dead_letter_bytes.to_string(),
            ),
            ("max_rate", or_none(self.max_rate)),
            ("max_refused_records", self.max_refused_records.to_string()),
            (
                "max_unprocessed_bytes",
                self.max_unprocessed_bytes.to_string(),
            ),
            ("retain_checkpoints", self.retain.to_string()),
            ("state_codec", format!("{:?}", self.state_codec)),
            ("workers", self.workers.to_string()),
        ];
        let all = all.into_iter();
        all.map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// Refuses settings that cannot be meant.
    pub(crate) fn check(&self) -> Result<()> {
        if self.batch_interval < Duration::from_millis(1) {
            return Err(Error::Setting(
                "batch_interval must be at least 1 ms".to_owned(),
            ));
        }
        if !(1..=32_768).contains(&self.key_groups) {
            return Err(Error::Setting(format!(
                "key_groups must be from 1 to 32768, not {}",
                self.key_groups
            )));
        }
        if self.workers.get() > MAX_WORKERS {
            return Err(Error::Setting(format!(
                "workers must be from 1 to {MAX_WORKERS}, not {}",
                self.workers
            )));
        }
        if self.max_rate == Some(0) {
            return Err(Error::Setting(
                "max_rate must be at least 1 record per second; without the call there is no bound"
                    .to_owned(),
            ));
        }
        if let Some(refused) = &self.checkpoint_url_refused {
            return Err(Error::Setting(format!("checkpoint_url: {refused}")));
        }
        if let Some(refused) = &self.savepoint_url_refused {
            return Err(Error::Setting(format!("from_savepoint: {refused}")));
        }
        if let Some(refused) = self.back_pressure.refused() {
            return Err(Error::Setting(refused));
        }
        self.states.check("rename_state")?;
        self.sources.check("rename_source")?;
        if self.max_batch_bytes > self.max_unprocessed_bytes {
            return Err(Error::Setting(format!(
                "max_batch_bytes ({}) must not be larger than max_unprocessed_bytes ({})",
                self.max_batch_bytes, self.max_unprocessed_bytes
            )));
        }
        Ok(())
    }
}
