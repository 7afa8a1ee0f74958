//! The body of a request, in bounded memory: of one request, and of all together.

use http_body_util::BodyExt;
use hyper::StatusCode;
use hyper::body::{Body, Incoming};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Why a body is not read. Its connection ends: what is left of it is not read either.
#[derive(Debug)]
pub enum BodyError {
    /// It has more bytes than it may have.
    TooLong {
        /// So many.
        max: usize,
    },
    /// It does not come in time: what was expected.
    Late(String),
    /// The bodies of all requests together have as many bytes as they may have.
    TooMany,
    /// Its client, or the connection, broke it off.
    BrokeOff(hyper::Error),
}

impl BodyError {
    /// What it is answered with: 413, 408, 429, 400.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::TooLong { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Late(_) => StatusCode::REQUEST_TIMEOUT,
            Self::TooMany => StatusCode::TOO_MANY_REQUESTS,
            Self::BrokeOff(_) => StatusCode::BAD_REQUEST,
        }
    }

    /// When the client may send it again, in seconds, if that helps.
    #[must_use]
    pub fn retry_after_s(&self) -> Option<u64> {
        matches!(self, Self::TooMany).then_some(1)
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { max } => write!(f, "the body may have {max} bytes"),
            Self::Late(expected) => f.write_str(expected),
            Self::TooMany => {
                f.write_str("too many bytes of requests are under way: send this one again later")
            }
            Self::BrokeOff(error) => write!(f, "the body broke off: {error}"),
        }
    }
}

/// How many bytes of bodies may be in memory.
#[derive(Debug)]
pub struct Budget {
    left: AtomicUsize,
    /// What it is a share of.
    whole: Option<Arc<Budget>>,
}

/// A part of a budget, given back when dropped.
#[derive(Debug)]
struct Part {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Budget {
    /// So many.
    #[must_use]
    pub fn new(bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            left: AtomicUsize::new(bytes),
            whole: None,
        })
    }

    /// At most so many bytes of it.
    #[must_use]
    pub fn share(self: &Arc<Self>, bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            left: AtomicUsize::new(bytes),
            whole: Some(Arc::clone(self)),
        })
    }

    fn take(&self, bytes: usize) -> bool {
        // Relaxed: it is a count, nothing else is read by it.
        let (relaxed, less) = (Ordering::Relaxed, |left: usize| left.checked_sub(bytes));
        if self.left.try_update(relaxed, relaxed, less).is_err() {
            return false;
        }
        let is_there = self.whole.as_ref().is_none_or(|whole| whole.take(bytes));
        if !is_there {
            self.left.fetch_add(bytes, relaxed);
        }
        is_there
    }

    fn give_back(&self, bytes: usize) {
        self.left.fetch_add(bytes, Ordering::Relaxed);
        if let Some(whole) = &self.whole {
            whole.give_back(bytes);
        }
    }

    /// What is left of it.
    #[must_use]
    pub fn left(&self) -> usize {
        self.left.load(Ordering::Relaxed)
    }
}

impl Part {
    fn grow(&mut self, bytes: usize) -> bool {
        let taken = self.budget.take(bytes);
        if taken {
            self.bytes += bytes;
        }
        taken
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.budget.give_back(self.bytes);
    }
}

/// A body, which counts in the budget until it is dropped.
#[derive(Debug)]
pub struct WholeBody {
    /// What came so far.
    pub bytes: Vec<u8>,
    part: Part,
}

impl WholeBody {
    /// An empty one.
    #[must_use]
    pub fn new(budget: &Arc<Budget>) -> Self {
        let budget = Arc::clone(budget);
        Self {
            bytes: Vec::new(),
            part: Part { budget, bytes: 0 },
        }
    }

    /// An empty one that counts in the same budget.
    #[must_use]
    pub fn another(&self) -> Self {
        Self::new(&self.part.budget)
    }

    /// Adds bytes to it, of which it may have `max`.
    ///
    /// # Errors
    /// [`BodyError::TooLong`], [`BodyError::TooMany`].
    pub fn push(&mut self, data: &[u8], max: usize) -> Result<(), BodyError> {
        if self.bytes.len() + data.len() > max {
            return Err(BodyError::TooLong { max });
        }
        self.count(data.len())?;
        self.bytes.extend_from_slice(data);
        Ok(())
    }

    fn count(&mut self, bytes: usize) -> Result<(), BodyError> {
        match self.part.grow(bytes) {
            true => Ok(()),
            false => Err(BodyError::TooMany),
        }
    }
}

/// In what time a body must come.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// All of it.
    pub within: Duration,
    /// So many bytes a second, once the first time is over; zero for any.
    pub min_rate: (u64, Duration),
}

impl Pace {
    /// Until when more must come of a body that began then, if it is not over, and the reason if it
    /// does not.
    fn due(&self, begun: Instant, received: usize) -> (Instant, String) {
        // A time-out beyond the clock's reach is a year.
        let at = |time| {
            let at = begun.checked_add(time);
            at.unwrap_or_else(|| begun + Duration::from_hours(24 * 365))
        };
        let within = self.within;
        let whole = (
            at(within),
            format!("the body was not there after {within:?}"),
        );
        let (rate, first) = self.min_rate;
        let Some(seconds) = (received as u64).checked_div(rate) else {
            return whole;
        };
        let rate_due = at(first.saturating_add(Duration::from_secs(seconds)));
        match rate_due < whole.0 {
            true => (
                rate_due,
                format!("the body comes slower than {rate} bytes a second"),
            ),
            false => whole,
        }
    }
}

/// Reads a body of at most `max` bytes. The bytes of its head, which is in memory as long, count in
/// the budget too.
///
/// # Errors
/// [`BodyError`]. That it is too long is known before it is read, where its length is announced.
pub async fn read(
    mut body: Incoming,
    max: usize,
    head_bytes: usize,
    pace: Pace,
    budget: &Arc<Budget>,
) -> Result<WholeBody, BodyError> {
    if body.size_hint().lower() > max as u64 {
        return Err(BodyError::TooLong { max });
    }
    let mut whole = WholeBody::new(budget);
    whole.count(head_bytes)?;
    let begun = Instant::now();
    loop {
        let (due, reason) = pace.due(begun, whole.bytes.len());
        let late = |_| BodyError::Late(reason);
        let frame = match timeout_at(due, body.frame()).await.map_err(late)? {
            None => break,
            Some(Ok(frame)) => frame,
            Some(Err(error)) => return Err(BodyError::BrokeOff(error)),
        };
        let Some(data) = frame.data_ref() else {
            continue; // trailers
        };
        whole.push(data, max)?;
    }
    Ok(whole)
}
