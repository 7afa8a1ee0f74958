//! The records of a request go into the log: all of them in one frame, or none.

use crate::http::answer::Refusal;
use crate::http::producer::Producer;
use crate::lines::{FRAME_RESERVE_BYTES, RECORD_OVERHEAD_BYTES};
use highwater_engine::wal::{Lsn, WalError};
use highwater_engine::{Error, SourceContext};
use hyper::StatusCode;
use std::time::Duration;

/// Clients that found no room come back after so long at the earliest, in seconds, and at most.
const RETRY_S: (u64, u64) = (1, 30);

/// Where the records are, and whether they were there already. Nothing may be acknowledged before
/// it is durable, either way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stored {
    pub(super) lsn: Lsn,
    pub(super) duplicates: usize,
}

/// Appends the records of a request.
///
/// # Errors
/// 413 if they do not fit one frame; 403 for an epoch that has ended; 429 while the program is
/// behind; 503 if the context stops or the log refuses. Nothing was stored.
pub(super) fn store(
    source: &SourceContext,
    records: &[&str],
    producer: Option<Producer<'_>>,
) -> Result<Stored, Refusal> {
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
    let refuse = |error| refusal(source, &error);
    let Some(producer) = producer else {
        let records: Vec<&[u8]> = records.iter().map(|record| record.as_bytes()).collect();
        let lsn = source.try_append(&records).map_err(refuse)?;
        return Ok(Stored { lsn, duplicates: 0 });
    };
    let numbers = producer.numbers(records.len());
    let numbered = numbers.zip(records.iter().map(|record| record.as_bytes()));
    let numbered: Vec<(u64, &[u8])> = numbered.collect();
    let appended = match producer.epoch {
        Some(epoch) => source.try_append_once_as(producer.id, epoch, &numbered),
        None => source.try_append_once(producer.id, &numbered),
    };
    let appended = appended.map_err(refuse)?;
    let lsn = appended
        .lsn
        .ok_or_else(|| Refusal::bad("the request has no record"))?;
    Ok(Stored {
        lsn,
        duplicates: appended.duplicates,
    })
}

/// Why nothing was stored.
fn refusal(source: &SourceContext, error: &Error) -> Refusal {
    let reason = error.to_string();
    match error {
        Error::NoRoom { .. } => Refusal::too_many(reason, RETRY_S.0),
        Error::RateExceeded { retry_in, .. } => {
            let seconds = retry_in
                .saturating_add(Duration::from_millis(999))
                .as_secs();
            Refusal::too_many(reason, seconds.clamp(RETRY_S.0, RETRY_S.1))
        }
        Error::Fenced { lsn, .. } => Refusal {
            rests_on: Some(*lsn),
            ..Refusal::new(StatusCode::FORBIDDEN, reason)
        },
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
