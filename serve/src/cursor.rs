//! Numbers that keep the answers to live reads apart in caches.
//!
//! A cursor is the number of an interval of 20 seconds. A client sends the last one back. If it is
//! of the present, or beyond, the answer has a later one: so no chain of requests goes in a circle
//! through a cache.

use std::hash::{BuildHasher, RandomState};

/// Where intervals are counted from: 2024-10-09T00:00Z, in milliseconds since the Unix epoch.
const BEGIN_MS: u64 = 1_728_432_000_000;
const INTERVAL_MS: u64 = 20_000;
/// A later one is this many seconds later at most.
const MOST_SECONDS: u64 = 3600;

/// The cursor of an answer at `now_ms` to a request with the cursor `client`.
pub(crate) fn next(now_ms: u64, client: Option<u64>) -> u64 {
    let now = now_ms.saturating_sub(BEGIN_MS) / INTERVAL_MS;
    match client {
        Some(client) if client >= now => {
            let random = RandomState::new().hash_one(now_ms);
            let seconds = 1 + random % MOST_SECONDS;
            client.saturating_add((seconds * 1000).div_ceil(INTERVAL_MS))
        }
        _ => now,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_ascends_and_is_not_far_ahead() {
        let now_ms = BEGIN_MS + 10 * INTERVAL_MS + 5;
        assert_eq!(next(now_ms, None), 10);
        assert_eq!(next(now_ms, Some(9)), 10);
        for client in [10, 11, 1000] {
            let cursor = next(now_ms, Some(client));
            assert!(cursor > client && cursor <= client + 180, "{cursor}");
        }
        assert_eq!(next(0, None), 0);
    }
}
