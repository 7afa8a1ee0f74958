//! Bodies of requests, in bounded memory: of one request, and of all together.

use crate::answer::Refusal;
use http_body_util::BodyExt;
use hyper::StatusCode;
use hyper::body::{Body, Incoming};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

/// Bytes are counted in units of this many, so that their number fits.
const UNIT: usize = 1024;
/// After this time a body must have come with the lowest rate.
const FIRST: Duration = Duration::from_secs(5);
const LOWEST_RATE: u64 = 1024;

/// How bodies are read.
#[derive(Debug)]
pub(crate) struct Bodies {
    units: Arc<Semaphore>,
    within: Duration,
}

/// A body, which counts until it is dropped.
#[derive(Debug)]
pub(crate) struct WholeBody {
    pub(crate) bytes: Vec<u8>,
    _units: Option<OwnedSemaphorePermit>,
}

impl Bodies {
    pub(crate) fn new(most_bytes: usize, within: Duration) -> Self {
        let units = (most_bytes / UNIT).min(Semaphore::MAX_PERMITS);
        Self {
            units: Arc::new(Semaphore::new(units)),
            within,
        }
    }

    /// Reads a body of at most `most` bytes.
    ///
    /// # Errors
    /// 413, known before it is read where its length is announced; 408 if it is not there in time,
    /// or comes too slowly; 429 if there are too many; 400 if it breaks off.
    pub(crate) async fn read(&self, mut body: Incoming, most: usize) -> Result<WholeBody, Refusal> {
        if body.size_hint().lower() > most as u64 {
            return Err(too_long(most));
        }
        let mut bytes = Vec::new();
        let mut units: Option<OwnedSemaphorePermit> = None;
        let begun = Instant::now();
        loop {
            let due = begun + self.time_for(bytes.len());
            let next = timeout_at(due, body.frame()).await.map_err(|_| {
                let reason = "the body did not come in time";
                Refusal::new(StatusCode::REQUEST_TIMEOUT, "timeout", reason).closing()
            })?;
            let frame = match next {
                None => break,
                Some(Ok(frame)) => frame,
                Some(Err(error)) => {
                    return Err(Refusal::bad(format!("the body broke off: {error}")).closing());
                }
            };
            let Some(data) = frame.data_ref() else {
                continue; // trailers
            };
            if bytes.len() + data.len() > most {
                return Err(too_long(most));
            }
            let has = units.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
            let needs = (bytes.len() + data.len()).div_ceil(UNIT);
            let more = self.take(needs.saturating_sub(has))?;
            match &mut units {
                Some(units) => units.merge(more),
                None => units = Some(more),
            }
            bytes.extend_from_slice(data);
        }
        Ok(WholeBody {
            bytes,
            _units: units,
        })
    }

    fn take(&self, units: usize) -> Result<OwnedSemaphorePermit, Refusal> {
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        let taken = Arc::clone(&self.units).try_acquire_many_owned(units);
        taken.map_err(|_| {
            let reason = "too many bytes of requests are under way: send this one again later";
            let status = StatusCode::TOO_MANY_REQUESTS;
            Refusal::new(status, "too_many", reason)
                .retry_after(1)
                .closing()
        })
    }

    /// In what time more must come of a body, of which so much is there.
    fn time_for(&self, received: usize) -> Duration {
        let by_rate = FIRST + Duration::from_secs(received as u64 / LOWEST_RATE);
        by_rate.min(self.within)
    }
}

fn too_long(most: usize) -> Refusal {
    let reason = format!("the body may have {most} bytes");
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", reason).closing()
}
