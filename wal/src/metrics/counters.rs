//! What an open log counts.

use crate::metrics::latency::LatencyHistogram;
use crate::stripe::{STRIPES, stripe};
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug, Default)]
pub(crate) struct Counters {
    appended: [Stripe; STRIPES],
    groups: AtomicU64,
    bytes_truncated: AtomicU64,
    pub(crate) sync: LatencyHistogram,
    pub(crate) prepare: LatencyHistogram,
    pub(crate) recycle: LatencyHistogram,
}

/// Two cache lines: processors fetch them in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Stripe {
    frames: AtomicU64,
    /// Records of batches beyond the first of each.
    more_records: AtomicU64,
}

impl Counters {
    pub(crate) fn appended(&self, records: u64) {
        let Some(stripe) = self.appended.get(stripe()) else {
            return;
        };
        stripe.frames.fetch_add(1, Ordering::Relaxed);
        if records != 1 {
            // Wraps for an empty batch, and the sum wraps back.
            let more = records.wrapping_sub(1);
            stripe.more_records.fetch_add(more, Ordering::Relaxed);
        }
    }

    pub(crate) fn group(&self) {
        self.groups.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn truncated(&self, bytes: u64) {
        self.bytes_truncated.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Frames and records appended.
    pub(crate) fn frames_and_records(&self) -> (u64, u64) {
        let sum = |of: fn(&Stripe) -> &AtomicU64| {
            let stripes = self.appended.iter();
            let values = stripes.map(|s| of(s).load(Ordering::Relaxed));
            values.fold(0_u64, u64::wrapping_add)
        };
        let frames = sum(|stripe| &stripe.frames);
        let more_records = sum(|stripe| &stripe.more_records);
        (frames, frames.wrapping_add(more_records))
    }

    pub(crate) fn groups(&self) -> u64 {
        self.groups.load(Ordering::Relaxed)
    }

    pub(crate) fn bytes_truncated(&self) -> u64 {
        self.bytes_truncated.load(Ordering::Relaxed)
    }
}
