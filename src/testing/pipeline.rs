//! A pipeline under test, with its settings.

use super::collector::Collector;
use crate::disk::{ManualClock, SimDisk};
use crate::wal::{Background, Options};
use crate::{
    BatchMode, BoxError, Builder, CheckpointPolicy, Result, StreamScope, StreamingContext,
};
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

type BuildFn = Arc<dyn Fn(&StreamScope, &Collector) -> Result<(), BoxError>>;
type ConfigureFn = Arc<dyn Fn(Builder) -> Builder>;

/// The directory of the program on the simulated disk.
pub(super) const DIR: &str = "/highwater";

/// A pipeline under test, with its settings: one worker, batches of one second, a checkpoint
/// after every third batch, small segments of the log. So a short run meets every kind of step.
#[derive(Clone)]
pub struct Pipeline {
    build: BuildFn,
    configure: ConfigureFn,
    workers: NonZeroUsize,
    interval: Duration,
}

impl Pipeline {
    /// A pipeline that `build` declares: what a program gives to
    /// [`get_or_create`](crate::Builder::get_or_create), with a [`Collector`] for its outputs. It
    /// is called for each start.
    pub fn new(build: impl Fn(&StreamScope, &Collector) -> Result<(), BoxError> + 'static) -> Self {
        Self {
            build: Arc::new(build),
            configure: Arc::new(|builder| builder),
            workers: NonZeroUsize::MIN,
            interval: Duration::from_secs(1),
        }
    }

    /// Sets how many workers run it.
    #[must_use]
    pub fn workers(mut self, workers: NonZeroUsize) -> Self {
        self.workers = workers;
        self
    }

    /// Sets the batch interval, by which the clock moves before each batch.
    #[must_use]
    pub fn batch_interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Changes other settings, as the program does: `configure` is given the builder and returns
    /// it. Disk, clock and the mode of batches are the test's.
    #[must_use]
    pub fn configure(mut self, configure: impl Fn(Builder) -> Builder + 'static) -> Self {
        self.configure = Arc::new(configure);
        self
    }

    pub(super) fn interval(&self) -> Duration {
        self.interval
    }

    /// Starts it on `disk`.
    pub(super) fn start(
        &self,
        disk: &SimDisk,
        clock: &Arc<ManualClock>,
        collector: &Collector,
    ) -> Result<StreamingContext> {
        let log = Options::new()
            .segment_size(16 << 10)
            .background(Background::Inline); // calls to the disk keep one order
        let builder = StreamingContext::builder(DIR)
            .log(log)
            .seed(7)
            .key_groups(8)
            .checkpoint(CheckpointPolicy::every_batches(3));
        let shared: Arc<ManualClock> = Arc::clone(clock);
        let context = (self.configure)(builder)
            .disk(Arc::new(disk.clone()))
            .clock(shared)
            .batches(BatchMode::Manual)
            .without_rates() // the input is given, batch by batch
            .batch_interval(self.interval)
            .workers(self.workers)
            .restore_threads(self.workers)
            .get_or_create(|ssc| (self.build)(ssc, collector))?;
        context.start()?;
        Ok(context)
    }
}

impl fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipeline")
            .field("workers", &self.workers)
            .field("interval", &self.interval)
            .finish_non_exhaustive()
    }
}
