//! Times as the log has them: milliseconds since the Unix epoch.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch; 0 for times before it.
pub(crate) fn to_ms(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The time so many milliseconds after the Unix epoch, or the epoch if there is no such time.
pub(crate) fn from_ms(ms: u64) -> SystemTime {
    let time = UNIX_EPOCH.checked_add(Duration::from_millis(ms));
    time.unwrap_or(UNIX_EPOCH)
}
