//! The gate of a source with a bounded rate: records wait in front of it, by the clock.
//!
//! Nothing waits where nothing would end the wait, as at the bound on unprocessed bytes: before the
//! start, and where batches are run by hand, whose clock may stand still until the same thread
//! moves it. There the gate refuses, and says for how long.

use crate::error::{Error, Result};
use crate::ingest::admission::{Admission, Flow, Room};
use crate::rates::bucket::Bucket;
use crate::rates::source_rate::{BatchOfSource, RateStatus, SourceRate};
use crate::thread_role::{self, Role};
use parking_lot::Mutex;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// The gate of a source.
#[derive(Debug)]
pub(crate) struct RateGate {
    source: String,
    admission: Arc<Admission>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    rate: SourceRate,
    /// `None` while nothing bounds the rate.
    bucket: Option<Bucket>,
}

/// What records have taken of the rate. What is not used goes back.
#[derive(Debug)]
#[must_use = "dropping it gives the taken records back"]
pub(crate) struct Taken<'a> {
    gate: Option<&'a RateGate>,
    records: u64,
}

impl Taken<'_> {
    /// For what no rate bounds.
    pub(crate) fn nothing() -> Self {
        Self {
            gate: None,
            records: 0,
        }
    }

    /// So many were stored.
    pub(crate) fn used(mut self, records: usize) {
        self.records = self.records.saturating_sub(records as u64);
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if let (Some(gate), true) = (self.gate, self.records > 0) {
            gate.give_back(self.records);
        }
    }
}

impl RateGate {
    pub(crate) fn new(source: &str, admission: &Arc<Admission>, rate: SourceRate) -> Self {
        let now = admission.clock.now();
        Self {
            source: source.to_owned(),
            admission: Arc::clone(admission),
            state: Mutex::new(State {
                bucket: rate.limit().map(|limit| Bucket::full(limit, now)),
                rate,
            }),
        }
    }

    /// Takes `records` of the rate: waits for it, or refuses, as `room` says.
    pub(crate) fn take(&self, records: usize, room: Room) -> Result<Taken<'_>> {
        // Output that is fed back comes from a thread that others wait for.
        if records == 0 || thread_role::role() == Role::Batch {
            return Ok(Taken::nothing());
        }
        let records = records as u64;
        let mut sleeper = None;
        loop {
            let flow = self.admission.flow();
            if flow == Flow::Closed {
                return Err(Error::Stopped);
            }
            let Err(when) = self.try_take(records) else {
                return Ok(Taken {
                    gate: Some(self),
                    records,
                });
            };
            if room == Room::Refuse || flow != Flow::Running {
                return Err(self.refused(when, flow));
            }
            // What changes from here on wakes it, so the bucket is asked once more before it waits.
            match &sleeper {
                None => sleeper = Some(self.admission.sleeper()),
                Some(sleeper) => sleeper.wait_until(when),
            }
        }
    }

    fn try_take(&self, records: u64) -> Result<(), Duration> {
        let now = self.admission.clock.now();
        let mut state = self.state.lock();
        let bucket = state.bucket.as_mut();
        bucket.map_or(Ok(()), |bucket| bucket.take(records, now))
    }

    /// Whether a record could pass now; a task is woken when one could.
    pub(crate) fn poll_ready(&self, context: &mut Context<'_>) -> Poll<Result<()>> {
        let flow = self.admission.flow();
        if flow == Flow::Closed {
            return Poll::Ready(Err(Error::Stopped));
        }
        if flow == Flow::Running {
            // Before the bucket is asked: what changes from here on wakes it.
            self.admission.wake_later(context.waker());
        }
        let now = self.admission.clock.now();
        let mut state = self.state.lock();
        let ready = state.bucket.as_mut().map_or(Ok(()), |b| b.ready(now));
        drop(state);
        match ready {
            Ok(()) => Poll::Ready(Ok(())),
            Err(when) if flow != Flow::Running => Poll::Ready(Err(self.refused(when, flow))),
            Err(when) => {
                self.admission.alarm.set(when);
                Poll::Pending
            }
        }
    }

    fn give_back(&self, records: u64) {
        if let Some(bucket) = &mut self.state.lock().bucket {
            bucket.give_back(records);
        }
        self.admission.wake();
    }

    /// Takes in a complete batch; the new limit, if it has changed.
    pub(crate) fn completed(&self, batch: BatchOfSource) -> Option<u64> {
        let now = self.admission.clock.now();
        let mut state = self.state.lock();
        let changed = state.rate.completed(batch)?;
        match &mut state.bucket {
            Some(bucket) => bucket.set_rate(changed, now),
            none => *none = Some(Bucket::full(changed, now)),
        }
        drop(state);
        self.admission.wake();
        Some(changed)
    }

    /// How many records the source may have in a batch of this interval: for what decides that
    /// before the batch is cut.
    pub(crate) fn records_allowed(&self, interval: Duration) -> Option<u64> {
        self.state.lock().rate.records_allowed(interval)
    }

    pub(crate) fn status(&self) -> RateStatus {
        self.state.lock().rate.status(&self.source)
    }

    fn refused(&self, when: Duration, flow: Flow) -> Error {
        let now = self.admission.clock.now();
        let limit = self.state.lock().rate.limit();
        Error::RateExceeded {
            source_name: self.source.clone(),
            records_per_second: limit.unwrap_or_default(),
            retry_in: when.saturating_sub(now),
            remedy: match flow {
                Flow::Manual => {
                    "Batches are run by hand, so nothing waits: try again then (a clock that is moved by hand must be moved)"
                }
                Flow::NotStarted => "Call start() first: then it waits",
                Flow::Running | Flow::Closed => "Try again then",
            },
        }
    }
}
