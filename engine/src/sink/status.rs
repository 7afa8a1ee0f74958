//! What the outputs of a context are doing, for people and for monitoring.

use crate::batch::Batch;
use crate::observe::event::{ContextEvent, ContextListener};
use crate::sink::output::Guarantee;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fmt;

/// An output of a running program.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutputStatus {
    /// Kind and name, as messages show it: `save_as_text_files "counts"`.
    pub output: String,
    /// What it promises.
    pub guarantee: Guarantee,
    /// Set while its sink fails: the batch waits.
    pub delay: Option<OutputDelay>,
}

/// A batch that waits because its sink fails.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutputDelay {
    /// The batch.
    pub batch: Batch,
    /// What the sink was doing: `staging` or `publishing`.
    pub phase: &'static str,
    /// When it failed first, by the wall clock, in milliseconds since the Unix epoch.
    pub since_ms: u64,
    /// How often it has failed.
    pub attempts: u64,
    /// What it said the last time.
    pub last_error: String,
    /// How many batches were cut and are not complete, this one included.
    pub batches_behind: u64,
}

impl fmt::Display for OutputStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.output, self.guarantee)?;
        let Some(delay) = &self.delay else {
            return Ok(());
        };
        write!(
            f,
            ": {} waits since {} ms, {} batches behind; {} has failed {} times: {}",
            delay.batch,
            delay.since_ms,
            delay.batches_behind,
            delay.phase,
            delay.attempts,
            delay.last_error
        )
    }
}

/// The delays of all outputs, from the events of the context.
#[derive(Debug, Default)]
pub(crate) struct OutputDelays {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By the name that messages show.
    delays: BTreeMap<String, OutputDelay>,
    last_cut: u64,
    last_finished: u64,
}

impl OutputDelays {
    /// The delay of an output, if it has one.
    pub(crate) fn of(&self, output: &str) -> Option<OutputDelay> {
        let state = self.state.lock();
        let mut delay = state.delays.get(output).cloned()?;
        let behind = state.last_cut.max(delay.batch.id) - state.last_finished.min(delay.batch.id);
        delay.batches_behind = behind.max(1);
        Some(delay)
    }
}

impl ContextListener for OutputDelays {
    fn on_event(&self, event: &ContextEvent) {
        let mut state = self.state.lock();
        match event {
            ContextEvent::BatchSubmitted { batch } => state.last_cut = batch.id,
            ContextEvent::BatchCompleted { batch, .. } => state.last_finished = batch.id,
            ContextEvent::OutputDelayed {
                output,
                batch,
                phase,
                since_ms,
                attempts,
                message,
                ..
            } => {
                let delay = OutputDelay {
                    batch: *batch,
                    phase,
                    since_ms: *since_ms,
                    attempts: *attempts,
                    last_error: message.clone(),
                    batches_behind: 1,
                };
                state.delays.insert(output.clone(), delay);
            }
            ContextEvent::OutputResumed { output, .. } => {
                state.delays.remove(output);
            }
            _ => {}
        }
    }
}
