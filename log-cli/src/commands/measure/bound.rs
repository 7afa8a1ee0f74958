//! What a disk does with bare writes: the bound beside which the log is measured.

use crate::outcome::{Failure, Result};
use highwater_disk::OsClock;
use highwater_disk::probe::{BareWrite, Effort, Scratch, write_cost};
use highwater_wal::layout::frame_size;
use serde::Serialize;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

/// The most that is written at once.
const MAX_BYTES: u64 = 8 << 20;

/// The middle of some figures, and their range.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Spread {
    pub(crate) fn of(mut figures: Vec<f64>) -> Self {
        figures.sort_by(f64::total_cmp);
        let at = |index: usize| figures.get(index).copied().unwrap_or_default();
        let count = figures.len();
        Self {
            median: (at(count.saturating_sub(1) / 2) + at(count / 2)) / 2.0,
            least: at(0),
            most: at(count.saturating_sub(1)),
        }
    }

    fn rounded(self) -> Self {
        Self {
            median: rounded(self.median),
            least: rounded(self.least),
            most: rounded(self.most),
        }
    }
}

/// What the bare disk does, in records per second.
#[derive(Debug, Serialize)]
pub(crate) struct Bound {
    /// Records that are written at once: one of each thread.
    pub(crate) records: u64,
    /// Their frames in bytes.
    pub(crate) bytes: u64,
    /// With `pwrite` and `fdatasync`.
    pub(crate) synced: Spread,
    /// With `O_DIRECT` and `O_DSYNC`; none if that is not possible there.
    pub(crate) direct: Option<Spread>,
    /// The log, in percent of the faster of the two.
    pub(crate) percent: f64,
}

/// The rounds of both ways to write.
pub(crate) struct BareRounds {
    records: u64,
    bytes: u64,
    synced: Vec<f64>,
    direct: Vec<f64>,
}

impl BareRounds {
    /// For records of `size` bytes from so many threads.
    pub(crate) fn new(size: u32, threads: usize) -> Self {
        let frame = frame_size(u64::from(size));
        let records = (threads as u64).min(MAX_BYTES / frame).max(1);
        Self {
            records,
            bytes: records * frame,
            synced: Vec::new(),
            direct: Vec::new(),
        }
    }

    /// One round, so long for each way.
    pub(crate) fn measure(&mut self, dir: &Path, time: Duration) -> Result<()> {
        let io = |e: std::io::Error| Failure::io("cannot measure in", dir, &e);
        let scratch = Scratch::create(dir, "highwater-bench").map_err(io)?;
        let effort = Effort {
            count: u32::MAX,
            time,
        };
        let bytes = usize::try_from(self.bytes).unwrap_or(usize::MAX);
        let (place, clock) = (scratch.path(), OsClock::new());
        let rate = |how| -> std::io::Result<f64> {
            let times = write_cost(place, how, bytes, effort, &clock)?;
            let written = times.len() as u64 * self.records;
            Ok(per(written, times.iter().sum()))
        };
        self.synced.push(rate(BareWrite::Synced).map_err(io)?);
        match rate(BareWrite::Direct) {
            Ok(rate) => self.direct.push(rate),
            Err(e) if e.kind() == ErrorKind::Unsupported => {}
            Err(e) => return Err(io(e)),
        }
        Ok(())
    }

    /// The bound of a log that writes so many records per second; none if nothing was measured.
    pub(crate) fn bound(self, log: f64) -> Option<Bound> {
        let of = |rates: Vec<f64>| (!rates.is_empty()).then(|| Spread::of(rates));
        let (synced, direct) = (of(self.synced)?, of(self.direct));
        let best = direct.map_or(synced.median, |direct| direct.median.max(synced.median));
        Some(Bound {
            records: self.records,
            bytes: self.bytes,
            synced: synced.rounded(),
            direct: direct.map(Spread::rounded),
            percent: rounded(100.0 * log / best.max(1e-9)),
        })
    }
}

/// So many per second.
#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
pub(crate) fn per(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64().max(1e-9)
}

/// Two decimals.
pub(crate) fn rounded(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        let of = |figures: &[f64]| {
            let Spread {
                median,
                least,
                most,
            } = Spread::of(figures.to_vec());
            [median, least, most]
        };
        assert_eq!(of(&[3.0, 1.0, 2.0]), [2.0, 1.0, 3.0]);
        assert_eq!(of(&[4.0, 1.0]), [2.5, 1.0, 4.0]);
        assert_eq!(of(&[7.0]), [7.0; 3]);
        assert_eq!(of(&[]), [0.0; 3]);
    }

    #[test]
    fn the_percentage_is_of_the_faster_way() {
        let mut bare = BareRounds::new(1000, 4);
        assert_eq!((bare.records, bare.bytes), (4, 4 * 1016));
        bare.synced = vec![100.0, 300.0, 200.0];
        bare.direct = vec![400.0];
        let bound = bare.bound(100.0).unwrap();
        assert!((bound.percent - 25.0).abs() < 1e-9, "{bound:?}");
        assert!(BareRounds::new(10, 1).bound(1.0).is_none());
        let large = BareRounds::new(1 << 20, 1024);
        assert_eq!(large.records, 7, "not more at once than fits");
    }
}
