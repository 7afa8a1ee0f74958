//! Times, as a person writes them.

use highwater_wal::disk::{Clock, OsClock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A time in UTC, or how long ago it was.
pub(super) fn time(text: &str) -> Result<SystemTime, String> {
    if let Ok(ago) = humantime::parse_duration(text) {
        let now = UNIX_EPOCH + Duration::from_millis(OsClock::new().wall_ms());
        return now
            .checked_sub(ago)
            .ok_or_else(|| format!("{text} ago is before all times"));
    }
    humantime::parse_rfc3339_weak(text).map_err(|_| {
        "a time is needed: `2026-11-29 14:00:00` (UTC), RFC 3339 with a Z at the end, or how long ago, as `90m`"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_understood_or_refused() {
        let noon = UNIX_EPOCH + Duration::from_secs(1_795_953_600);
        for text in ["2026-11-29 12:00:00", "2026-11-29T12:00:00Z"] {
            assert_eq!(time(text), Ok(noon), "{text}");
        }
        let minute = time("1m").unwrap();
        assert!(minute < time("1s").unwrap());
        for text in ["noon", "2026-13-01 00:00:00", "", "-5m"] {
            assert!(time(text).unwrap_err().contains("is needed"), "{text}");
        }
    }
}
