//! A pipeline that lives, dies and starts again, step by step.

use super::collector::Collector;
use super::input::{Input, MAX_RECORDS, Records};
use super::outcome::{self, Outcome};
use super::pipeline::Pipeline;
use crate::disk::{Clock, ManualClock, SimDisk};
use crate::{Batch, BoxError, Error, Result, StopMode, StreamingContext};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// When the first life begins, in milliseconds since the Unix epoch.
const START_MS: u64 = 1_700_000_000_000;

/// A pipeline under test, on a simulated machine whose power and clock are the test's.
///
/// ```
/// use highwater::prelude::*;
/// use highwater::testing::{Collector, Pipeline, TestContext, records};
///
/// # fn main() -> highwater::Result<()> {
/// let pipeline = Pipeline::new(|ssc: &StreamScope, out: &Collector| {
///     let sums = ssc.input::<u64>("numbers").map(|n| ("all".to_owned(), n));
///     let sums = sums.update_state_by_key_changed("sums", |_, new: &[u64], sum: &mut Option<u64>| {
///         *sum.get_or_insert(0) += new.iter().sum::<u64>();
///     });
///     out.collect("sums", &sums);
///     Ok(())
/// });
/// let mut test = TestContext::start(pipeline)?;
/// test.run_batch([records::<u64>("numbers", [1_u64, 2])])?;
/// test.kill_and_restart()?;
/// test.run_batch([records::<u64>("numbers", [4_u64])])?;
/// let sums = test.output::<(String, u64)>("sums");
/// assert_eq!(sums[&1], [("all".to_owned(), 3)]);
/// assert_eq!(sums[&2], [("all".to_owned(), 7)]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct TestContext {
    pipeline: Pipeline,
    disk: SimDisk,
    clock: Arc<ManualClock>,
    collector: Collector,
    /// `None` while the machine is off.
    context: Option<StreamingContext>,
    /// The next record that a step sends.
    next: u64,
}

impl TestContext {
    /// Starts `pipeline` on a machine with an empty disk.
    ///
    /// # Errors
    /// Whatever the start fails with.
    pub fn start(pipeline: Pipeline) -> Result<Self> {
        let mut test = Self::off(pipeline, SimDisk::new());
        test.restart()?;
        Ok(test)
    }

    /// A machine that is off.
    pub(super) fn off(pipeline: Pipeline, disk: SimDisk) -> Self {
        Self {
            pipeline,
            disk,
            clock: Arc::new(ManualClock::new(START_MS)),
            collector: Collector::default(),
            context: None,
            next: MAX_RECORDS,
        }
    }

    /// The running context.
    ///
    /// # Errors
    /// [`Error::LifeCycle`] while the machine is off.
    pub fn context(&self) -> Result<&StreamingContext> {
        let off = Error::LifeCycle("the machine of the test is off: call restart");
        self.context.as_ref().ok_or(off)
    }

    /// The disk of the machine: for files that the pipeline writes, and for faults.
    #[must_use]
    pub fn disk(&self) -> &SimDisk {
        &self.disk
    }

    /// Moves the clock. Batches are run by hand, so nothing happens but that timeouts come
    /// nearer.
    pub fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    /// Sends records. They are acknowledged, and wait for the next batch.
    ///
    /// # Errors
    /// If a source does not exist, carries another type, or does not take a record.
    pub fn send(&mut self, records: impl IntoIterator<Item = Records>) -> Result<()> {
        for records in records {
            self.next = records.send(self.context()?, self.next)?;
        }
        Ok(())
    }

    /// Sends records, moves the clock by one batch interval and runs a batch.
    ///
    /// # Errors
    /// Those of [`Self::send`]; whatever the batch fails with.
    pub fn run_batch(&mut self, records: impl IntoIterator<Item = Records>) -> Result<Batch> {
        self.clock.advance(self.pipeline.interval());
        self.send(records)?;
        self.context()?.run_batch()
    }

    /// Stops the program: what was sent is processed, and a final checkpoint is taken.
    ///
    /// # Errors
    /// Whatever the stop fails with.
    pub fn stop(&mut self) -> Result<()> {
        match self.context.take() {
            Some(context) => context.stop(StopMode::Graceful),
            None => Ok(()),
        }
    }

    /// Kills the process, as `kill -9` does. What it gave to the kernel stays.
    pub fn kill(&mut self) {
        if let Some(context) = self.context.take() {
            let disk = self.disk.kill_process();
            drop(context); // its last calls come too late
            self.disk = disk;
        }
    }

    /// Cuts the power. `seed` decides which of the sectors that were not synced survive.
    pub fn cut_power(&mut self, seed: u64) {
        self.disk.cut_power_now();
        drop(self.context.take());
        self.disk = self.disk.restart_after_power_cut(seed);
    }

    /// Starts the program again. Does nothing if it runs.
    ///
    /// # Errors
    /// Whatever the start fails with.
    pub fn restart(&mut self) -> Result<()> {
        if self.context.is_none() {
            self.clock = Arc::new(ManualClock::new(self.clock.wall_ms()));
            let started = self
                .pipeline
                .start(&self.disk, &self.clock, &self.collector)?;
            self.context = Some(started);
        }
        Ok(())
    }

    /// [`Self::kill`], then [`Self::restart`].
    ///
    /// # Errors
    /// Whatever the start fails with.
    pub fn kill_and_restart(&mut self) -> Result<()> {
        self.kill();
        self.restart()
    }

    /// Replaces the program by another, as a deployment does. It runs from the next start on.
    pub fn replace(&mut self, pipeline: Pipeline) {
        self.pipeline = pipeline;
    }

    /// The committed batches of the output `name` by batch id, each with its records: see
    /// [`Collector::batches`].
    ///
    /// # Panics
    /// If no output has this name, or its records are of another type.
    #[must_use]
    pub fn output<T: Clone + 'static>(&self, name: &str) -> BTreeMap<u64, Vec<T>> {
        self.collector.batches(name)
    }

    /// Sends and runs the batches that were not cut yet, then stops gracefully.
    pub(super) fn finish(&mut self, input: &Input) -> Result<(), BoxError> {
        self.restart()?;
        let done = self.context()?.progress().last_batch.unwrap_or(0);
        let interval = u64::try_from(self.pipeline.interval().as_millis())?;
        for (number, records) in input.batches().filter(|(number, _)| *number > done) {
            let due = START_MS.saturating_add(number.saturating_mul(interval));
            let wait = due.saturating_sub(self.clock.wall_ms());
            self.clock.advance(Duration::from_millis(wait));
            self.next = number.saturating_mul(MAX_RECORDS);
            self.send(records.iter().cloned())?;
            let batch = self.context()?.run_batch()?;
            if batch.id != number {
                return Err(format!(
                    "batch {number} of the input became {batch}: each must fit max_batch_bytes"
                )
                .into());
            }
        }
        Ok(self.stop()?)
    }

    /// What the run has left.
    pub(super) fn outcome(&self) -> Result<Outcome, String> {
        let (last_batch, states) = outcome::checkpoint(&self.disk)?;
        Ok(Outcome {
            last_batch,
            outputs: self.collector.text(),
            states,
            files: outcome::files(&self.disk),
            violations: self.collector.violations(),
        })
    }
}
