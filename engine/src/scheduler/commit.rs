//! Commits the outputs of a batch, and records in the log how far that is.
//!
//! | step | durable afterwards |
//! |---|---|
//! | every output stages its parts | the parts, not visible |
//! | `committed(batch)` with a token for each part | that the batch is never run again |
//! | every output publishes the parts of that list | the parts, visible |
//! | `published(batch)`, if there are parts | that a part which is gone was not lost |
//!
//! Invariant: the outputs of a batch are published before those of the next one are staged, and
//! before a checkpoint is taken after it. So only the newest committed batch can be in doubt. A
//! `committed` record comes after the cut of its batch, so the log, which is kept from the oldest
//! retained checkpoint on, has that of every batch that may be in doubt.
//!
//! A sink that fails is tried again with the records in hand. Sinks that were done are not called
//! again.

use crate::batch::Batch;
use crate::batch::chunk::Chunk;
use crate::batch::tick::{Tick, Timed};
use crate::engine_log::entry::{self, Committed, Entry, Published, Token};
use crate::error::{BoxError, Error, Result};
use crate::faults::Faults;
use crate::observe::event::{BatchSteps, ContextEvent, Events};
use crate::plan::program::{OutputInfo, Plan};
use crate::refused::lists::Refused;
use crate::scheduler::refused_records;
use crate::sink::backoff::Backoff;
use crate::sink::output::Guarantee;
use crate::sink::part::{MAX_TOKEN_BYTES, StagedPart};
use crate::sink::retry::OutputRetry;
use crate::sink::shares::Staging;
use crate::sink::sink_error::SinkError;
use highwater_wal::disk::Clock;
use highwater_wal::{Lsn, Wal};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// Commits the outputs of batches, one after the other.
pub(crate) struct Committer {
    pub(crate) plan: Arc<Plan>,
    pub(crate) wal: Arc<Wal>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) events: Arc<Events>,
    /// For a full disk and for sinks that fail, unless batches are run by hand.
    pub(crate) backoff: Backoff,
    pub(crate) retry: OutputRetry,
    /// Decides the waits between attempts.
    pub(crate) seed: u64,
    /// How many parts a batch has.
    pub(crate) workers: usize,
    /// Whether parts are staged at the same time.
    pub(crate) in_parallel: bool,
    pub(crate) faults: Faults,
    /// The newest batch whose outputs are published.
    pub(crate) published: Option<u64>,
}

impl fmt::Debug for Committer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Committer")
            .field("retry", &self.retry)
            .field("published", &self.published)
            .finish_non_exhaustive()
    }
}

/// An output and the parts that it has staged.
type StagedOutput<'a> = (&'a OutputInfo, Vec<StagedPart>);

impl Committer {
    /// Commits a batch that has run; `outputs` is what arrived at each of its outputs, `refused`
    /// what its operators have left out. `steps` gets how long it took.
    pub(crate) fn commit(
        &mut self,
        Timed { batch, tick }: Timed,
        mut outputs: BTreeMap<usize, Vec<Chunk>>,
        refused: &Refused,
        steps: &mut BatchSteps,
    ) -> Result<()> {
        let (mut staged, mut took) = (Vec::new(), Vec::new());
        let began = self.clock.now();
        for (index, output) in self.outputs(tick) {
            let chunks = outputs.remove(&index).unwrap_or_default();
            let began = self.clock.now();
            staged.push((output, self.stage(output, batch, chunks)?));
            took.push(self.clock.now().saturating_sub(began));
        }
        let has_staged = self.clock.now();
        if self.faults.publish_before_commit() {
            self.publish(batch, &staged)?;
        }
        let committed = self.append_committed(batch, &staged, refused)?;
        // Outputs that promise no more than "at least once" do not need the flush: the next cut
        // brings it. Nor do idempotent ones, which see that they have a batch that runs again.
        let has_parts = staged.iter().any(|(_, parts)| !parts.is_empty());
        let has_transactional =
            (staged.iter()).any(|(output, _)| output.sink.guarantee == Guarantee::Transactional);
        // But what is shown without refused records must be what a restart computes.
        if has_parts || has_transactional || !refused.is_empty() {
            self.wal.sync_to(committed)?;
        }
        let has_committed = self.clock.now();
        for (one, took) in staged.chunks(1).zip(took) {
            let began = self.clock.now();
            self.publish(batch, one)?;
            let output = one.first().map(|(output, _)| output.operator);
            if let Some(output) = output {
                self.events.publish(&ContextEvent::OutputCompleted {
                    output: self.plan.operator_name(output),
                    batch,
                    took: took + self.clock.now().saturating_sub(began),
                });
            }
        }
        if has_parts {
            let published = self.append(&Entry::Published(Published { batch: batch.id }))?;
            self.wal.sync_to(published)?;
        }
        steps.stage = has_staged.saturating_sub(began);
        steps.commit = has_committed.saturating_sub(has_staged);
        steps.publish = self.clock.now().saturating_sub(has_committed);
        self.published = Some(batch.id);
        Ok(())
    }

    /// Whether every output of `batch`, and of all before it, is published.
    pub(crate) fn has_published(&self, batch: &Batch) -> bool {
        self.published.is_some_and(|newest| batch.id <= newest)
    }

    /// The outputs that a batch has: those of windows are called only where one ends.
    fn outputs(&self, tick: Tick) -> impl Iterator<Item = (usize, &OutputInfo)> {
        let outputs = self.plan.outputs.iter().enumerate();
        outputs.filter(move |(_, output)| self.plan.acts(output.operator, &tick))
    }

    fn stage(
        &self,
        output: &OutputInfo,
        batch: Batch,
        chunks: Vec<Chunk>,
    ) -> Result<Vec<StagedPart>> {
        let mut in_hand = output.sink.take(chunks, self.workers);
        let staging = || Staging {
            in_parallel: self.in_parallel,
            once: self.retry.is_never() || !self.backoff.may_wait(),
        };
        self.repeat(output, batch, "staging", || {
            in_hand.stage(&batch, staging())
        })?;
        let parts = in_hand.parts();
        match parts.iter().find(|part| part.token.len() > MAX_TOKEN_BYTES) {
            None => Ok(parts),
            Some(StagedPart { part, token }) => {
                let bytes = token.len();
                let what = format!(
                    "the token of part {part} has {bytes} bytes, and {MAX_TOKEN_BYTES} are allowed: it should say where the part is, not hold it"
                );
                Err(self.failed(output, batch, "staging", 1, what.into()))
            }
        }
    }

    fn publish(&self, batch: Batch, staged: &[StagedOutput<'_>]) -> Result<()> {
        staged.iter().try_for_each(|(output, parts)| {
            let publish = || output.sink.publish(&batch, parts);
            self.repeat(output, batch, "publishing", publish)
        })
    }

    /// Calls a sink until it succeeds, as long as the program wants to wait for it. A stop ends the
    /// wait after one more attempt, which begins after the stop: the one that was under way may
    /// have failed for a reason that is gone.
    fn repeat(
        &self,
        output: &OutputInfo,
        batch: Batch,
        phase: &'static str,
        mut attempt: impl FnMut() -> Result<(), BoxError>,
    ) -> Result<()> {
        let (mut attempts, mut since) = (0, None);
        loop {
            attempts += 1;
            let may_wait = self.backoff.may_wait();
            let Err(error) = attempt() else {
                break;
            };
            let now = self.clock.now();
            let (first, since_ms) = *since.get_or_insert_with(|| (now, self.clock.wall_ms()));
            let goes_on = may_wait
                && self.retry.goes_on(attempts, now.saturating_sub(first))
                && !SinkError::is_permanent(&error);
            if !goes_on {
                return Err(self.failed(output, batch, phase, attempts, error));
            }
            let wait = self
                .retry
                .wait(attempts, self.chance(output, batch, attempts));
            let event = ContextEvent::OutputDelayed {
                output: self.plan.operator_name(output.operator),
                batch,
                phase,
                since_ms,
                attempts,
                message: error.to_string(),
                retry_in: wait,
            };
            self.backoff.warn(
                "an output fails: its batch waits and it is tried again",
                &event,
            );
            self.events.publish(&event);
            let _stopping = self.backoff.sleep(wait);
        }
        if since.is_some() {
            let event = ContextEvent::OutputResumed {
                output: self.plan.operator_name(output.operator),
                batch,
                attempts: attempts - 1,
            };
            tracing::info!("{event}");
            self.events.publish(&event);
        }
        Ok(())
    }

    fn failed(
        &self,
        output: &OutputInfo,
        batch: Batch,
        phase: &'static str,
        attempts: u64,
        source: BoxError,
    ) -> Error {
        Error::Output {
            output: self.plan.operator_name(output.operator),
            batch,
            phase,
            attempts,
            source,
        }
    }

    /// A number that differs from attempt to attempt and from program to program.
    fn chance(&self, output: &OutputInfo, batch: Batch, attempts: u64) -> u64 {
        let place = output.operator.0 as u64;
        let mut mixed = self.seed ^ place.rotate_left(48) ^ batch.id.rotate_left(16) ^ attempts;
        // The end of SplitMix64.
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn append_committed(
        &self,
        batch: Batch,
        staged: &[StagedOutput<'_>],
        refused: &Refused,
    ) -> Result<Lsn> {
        let lists_parts = self.plan.outputs.iter().any(|o| o.sink.lists_parts);
        let mut tokens = Vec::new();
        for (output, parts) in staged {
            let name = self.plan.output_name(output.operator);
            tokens.extend(parts.iter().map(|StagedPart { part, token }| Token {
                output: name.clone(),
                part: *part,
                token: token.clone(),
            }));
        }
        if self.faults.forget_a_part() {
            tokens.pop();
        }
        let called: BTreeSet<usize> = staged.iter().map(|(o, _)| o.operator.0).collect();
        let uncalled = self.plan.outputs.iter().map(|output| output.operator);
        let uncalled = uncalled.filter(|operator| !called.contains(&operator.0));
        let committed = Committed {
            batch: batch.id,
            tokens: lists_parts.then_some(tokens),
            uncalled: uncalled.map(|o| self.plan.output_name(o)).collect(),
            ..Committed::default()
        };
        let longest = self.wal.max_record_bytes();
        let append = |entry| self.append(&entry);
        let committed = refused_records::append_committed(committed, refused, longest, append)?;
        assert!(
            committed >= batch.to,
            "a checkpoint before {batch} keeps the log that says how it was committed"
        );
        Ok(committed)
    }

    /// The outputs are staged, so a full disk is waited out (P8) unless the context is stopping or
    /// run by hand.
    fn append(&self, entry: &Entry) -> Result<Lsn> {
        self.backoff
            .until_room(|| Ok(entry::append(&self.wal, entry)?))
    }
}
