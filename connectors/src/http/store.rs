//! The records of a request go into the log: all of them in one frame, or none.

use crate::http::answer::Refusal;
use crate::http::skipped::Place;
use crate::lines::{FRAME_RESERVE_BYTES, RECORD_OVERHEAD_BYTES};
use highwater_engine::wal::WalError;
use highwater_engine::{Error, FrameId, SourceContext, StoredFrame};
use hyper::StatusCode;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Clients that found no room come back after so long at the earliest, in seconds, and at most.
const RETRY_S: (u64, u64) = (1, 30);

/// Appends the records of a request. Nothing may be acknowledged before it is durable, a retry
/// neither.
///
/// # Errors
/// 413 if they do not fit one frame; 400 if the source's decoder refuses one; 403 for an epoch that
/// has ended, 409 for a number that is not the next one, 422 for a key that has another body; 429
/// while the program is behind; 503 if the context stops or the log refuses. Nothing was stored.
pub(super) fn store(
    source: &SourceContext,
    records: &[&str],
    id: Option<FrameId<'_>>,
    place: impl Fn(usize) -> Place,
) -> Result<StoredFrame, Refusal> {
    let room = source
        .max_record_bytes()
        .saturating_sub(FRAME_RESERVE_BYTES);
    let size: usize = records
        .iter()
        .map(|r| r.len() + RECORD_OVERHEAD_BYTES)
        .sum();
    if size > room {
        let reason = format!(
            "the records of a request take {size} bytes with what the log adds, and one frame of it has {room}: send fewer, or \
             raise max_record_bytes of the log"
        );
        return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, reason));
    }
    let bytes: Vec<&[u8]> = records.iter().map(|record| record.as_bytes()).collect();
    let stored = match id {
        Some(id) => source.try_append_frame(id, &bytes),
        None => source.try_append(&bytes).map(|lsn| StoredFrame {
            lsn,
            is_duplicate: false,
        }),
    };
    stored.map_err(|error| match &error {
        Error::Record {
            index: Some(index),
            message,
            ..
        } => Refusal::bad(format!("{}: {message}", place(*index))),
        error => refusal(source, error),
    })
}

/// Why nothing was stored.
fn refusal(source: &SourceContext, error: &Error) -> Refusal {
    let reason = error.to_string();
    match error {
        Error::NoRoom { retry_in, .. } => {
            Refusal::too_many(reason, retry_s(retry_in.unwrap_or_default()))
        }
        Error::RateExceeded { retry_in, .. } => Refusal::too_many(reason, retry_s(*retry_in)),
        Error::Fenced { lsn, .. } => {
            Refusal::new(StatusCode::FORBIDDEN, reason).resting_on(Some(*lsn))
        }
        Error::SequenceGap { lsn, .. } => {
            Refusal::new(StatusCode::CONFLICT, reason).resting_on(*lsn)
        }
        Error::KeyReused { lsn, .. } => {
            Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, reason).resting_on(Some(*lsn))
        }
        Error::Record { .. } => Refusal::bad(reason),
        Error::Stopped => Refusal::unavailable(reason).retry_after(RETRY_S.0),
        Error::Log(WalError::RecordTooLarge { .. }) => {
            Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, reason)
        }
        Error::Log(full) if full.is_no_space() => {
            source.report_error(&reason.clone().into());
            Refusal::unavailable(reason).retry_after(RETRY_S.1)
        }
        _ => {
            source.report_error(&reason.clone().into());
            Refusal::unavailable(reason)
        }
    }
}

/// When a client may come again, in seconds: not all of them at once.
fn retry_s(wait: Duration) -> u64 {
    let half_ms = u64::try_from(wait.as_millis() / 2).unwrap_or(u64::MAX);
    // A new state has another seed each time.
    let random = RandomState::new().hash_one(());
    let jitter = Duration::from_millis(random % half_ms.saturating_add(1));
    let wait = wait.saturating_add(jitter);
    let seconds = wait.saturating_add(Duration::from_millis(999)).as_secs();
    seconds.clamp(RETRY_S.0, RETRY_S.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_come_again_after_the_time_and_not_all_at_once() {
        let after = |ms| retry_s(Duration::from_millis(ms));
        assert_eq!(
            [after(0), after(1), after(60_000), after(u64::MAX)],
            [1, 1, 30, 30]
        );
        let all: std::collections::BTreeSet<u64> = (0..200).map(|_| after(10_000)).collect();
        assert!(all.iter().all(|s| (10..=15).contains(s)), "{all:?}");
        assert!(all.len() > 2, "{all:?}");
    }
}
