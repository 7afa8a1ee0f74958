//! The bound on the disk space of a log, and who keeps it from being freed.

use crate::error::{Result, WalError};
use crate::format::layout::SEGMENT_HEADER_SIZE;
use crate::log::shared::Shared;
use crate::lsn::Lsn;
use crate::options::Admission;
use crate::segment::file::Segment;
use highwater_disk::Reserver;
use std::path::Path;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// Percent of the bound at which somebody should look.
const LEVELS: [u64; 2] = [50, 80];

/// Bytes of segment files that exist or are being made, and the most there may be.
///
/// Invariants. `used` never passes `most` and what is exempt, so neither do the files. What only
/// the reserve may be used for never takes its place: a segment that brings `held` above `ordinary`
/// is begun, and written to, by control records and by what the program appends from the reserve,
/// until a truncation brings `held` down again.
#[derive(Debug)]
pub(crate) struct Budget {
    max_bytes: Option<u64>,
    /// Size of a new segment: the reserve is one.
    segment_size: u64,
    /// The most bytes of log that leave the reserve untouched.
    ordinary: u64,
    /// The most bytes of segment files.
    most: u64,
    used: AtomicU64, // relaxed, as the others: numbers to compare with a bound, no memory depends on them
    /// Bytes of the segments that hold the log, and of those that could not be removed; without
    /// what is exempt.
    held: AtomicU64,
    /// So much of the segment at `exempt_base` does not count: it was in use when the log was
    /// opened and leaves no room, or not enough, for another one below the bound. No truncation
    /// frees it before the log has left it.
    exempt: AtomicU64,
    exempt_base: u64,
    /// How many of [`LEVELS`] were passed when that was last told.
    told: AtomicU8,
}

/// What was there when the log was opened, in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found {
    /// Of the segments that hold the log.
    pub(crate) held: u64,
    /// Of the last of them, and where it starts.
    pub(crate) tail: u64,
    pub(crate) tail_base: u64,
    /// Of those prepared after it.
    pub(crate) ready: u64,
}

impl Budget {
    pub(crate) fn new(max_bytes: Option<u64>, segment_size: u64, found: Found) -> Self {
        let max = max_bytes.unwrap_or(u64::MAX);
        let ordinary = match max_bytes {
            Some(max) => max.saturating_sub(segment_size),
            None => u64::MAX,
        };
        let needed = found.tail.saturating_add(segment_size);
        let exempt = needed.saturating_sub(ordinary);
        let held = found.held - exempt.min(found.tail);
        // A log that left no room for the reserve gets it all the same: its bound was lowered, it
        // was made without one, or its reserve is in use. Without it, nobody might be able to
        // truncate.
        let most = match held.saturating_add(segment_size) > max {
            true => max.saturating_add(segment_size),
            false => max,
        };
        Self {
            max_bytes,
            segment_size,
            ordinary,
            most,
            used: AtomicU64::new(found.held + found.ready),
            held: AtomicU64::new(held),
            exempt: AtomicU64::new(found.held - held),
            exempt_base: found.tail_base,
            told: AtomicU8::new(0),
        }
    }

    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    pub(crate) fn max_bytes(&self) -> Option<u64> {
        self.max_bytes
    }

    /// Whether ordinary records may be written to the segment that is appended to. Whoever asks has
    /// loaded that segment before, and [`Self::hold`] was called before it could be loaded.
    pub(crate) fn admits(&self) -> bool {
        self.held.load(Ordering::Relaxed) <= self.ordinary
    }

    /// Whether ordinary records may begin another segment.
    pub(crate) fn admits_another(&self) -> bool {
        let held = self.held.load(Ordering::Relaxed);
        held.saturating_add(self.segment_size) <= self.ordinary
    }

    /// The log goes on in a segment of `bytes`.
    pub(crate) fn hold(&self, bytes: u64) {
        self.held.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The segment at `base` is truncated: all of it counts until its file is gone.
    pub(crate) fn truncated(&self, base: u64) {
        if base == self.exempt_base {
            let exempt = self.exempt.swap(0, Ordering::Relaxed);
            self.hold(exempt);
        }
    }

    /// A segment of `bytes` no longer holds the log: its file is gone, or kept to be recycled.
    pub(crate) fn let_go(&self, bytes: u64) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// The error of ordinary records at the bound. [`Shared::explain`] adds who is in the way.
    pub(crate) fn full(&self, dir: &Path) -> WalError {
        self.error(dir, self.segment_size)
    }

    fn error(&self, dir: &Path, reserved_bytes: u64) -> WalError {
        WalError::LogFull {
            dir: dir.to_owned(),
            max_bytes: self.max_bytes.unwrap_or(u64::MAX),
            used_bytes: self.held.load(Ordering::Relaxed) + self.exempt.load(Ordering::Relaxed),
            reserved_bytes,
            held_by: String::new(),
        }
    }

    /// Takes the space of a file that is about to be made. Only the one thread that makes files
    /// calls this.
    pub(crate) fn take(&self, bytes: u64, dir: &Path) -> Result<()> {
        let exempt = self.exempt.load(Ordering::Relaxed);
        if self.used().saturating_add(bytes) > self.most.saturating_add(exempt) {
            return Err(self.error(dir, 0));
        }
        self.used.fetch_add(bytes, Ordering::Relaxed);
        self.tell(dir);
        Ok(())
    }

    /// Gives back the space of a file that is gone.
    pub(crate) fn give_back(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
        if let Some(max_bytes) = self.max_bytes {
            self.told
                .store(level(self.used(), max_bytes), Ordering::Relaxed);
        }
    }

    /// Warns once each time a level is passed.
    fn tell(&self, dir: &Path) {
        let Some(max_bytes) = self.max_bytes else {
            return;
        };
        let now = level(self.used(), max_bytes);
        if now > self.told.swap(now, Ordering::Relaxed) {
            let percent = self.used() * 100 / max_bytes.max(1);
            tracing::warn!(dir = %dir.display(), used_bytes = self.used(), max_bytes, percent,
                "the log is filling up: at its bound appends will be refused");
        }
    }
}

fn level(used: u64, max_bytes: u64) -> u8 {
    LEVELS
        .iter()
        .map(|percent| u8::from(used * 100 >= max_bytes.saturating_mul(*percent)))
        .sum()
}

/// What an append is for, and with that how much of a bounded log it may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    /// A record.
    Ordinary,
    /// A record that may use the reserve.
    Reserve,
    /// The mark of a clean end: at most half of the reserve, which would be used up by closing and
    /// opening otherwise.
    Mark,
}

impl From<Admission> for Claim {
    fn from(admission: Admission) -> Self {
        match admission {
            Admission::Ordinary => Self::Ordinary,
            Admission::Reserve => Self::Reserve,
        }
    }
}

impl Claim {
    pub(crate) fn asker(self) -> Reserver {
        match self {
            Self::Ordinary | Self::Reserve => Reserver::Appender,
            Self::Mark => Reserver::Closer,
        }
    }
}

/// Who keeps the log from a position on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pin {
    /// The name that was given, or what it is.
    pub name: String,
    /// The oldest position kept.
    pub lsn: Lsn,
    /// Bytes of log from there to the end.
    pub bytes: u64,
}

impl Shared {
    /// Refuses what may not be appended to `tail`, which was loaded before.
    pub(crate) fn check_claim(&self, claim: Claim, tail: &Segment) -> Result<()> {
        let budget = self.preparer.budget();
        let refused = !budget.admits()
            && match claim {
                Claim::Ordinary => true,
                Claim::Reserve => false,
                Claim::Mark => self.spares_reserve(tail),
            };
        match refused {
            true if claim == Claim::Ordinary && self.is_shut() => Err(self.closed_error()),
            true => Err(self.explain(budget.full(&self.dir))),
            false => Ok(()),
        }
    }

    /// Whether frames that the log can do without leave the rest of `tail` to control records: it
    /// is the reserve, and half used.
    pub(crate) fn spares_reserve(&self, tail: &Segment) -> bool {
        let half = SEGMENT_HEADER_SIZE.midpoint(tail.size);
        !self.preparer.budget().admits() && tail.map().reserved() > half
    }

    /// Refuses another segment, if only the reserve is left: to ordinary records, and to the mark
    /// if that would use up more than half.
    pub(crate) fn check_another(&self, claim: Claim) -> Result<()> {
        let half = self
            .options
            .segment_size
            .saturating_sub(SEGMENT_HEADER_SIZE)
            / 2;
        let allowed = match claim {
            Claim::Ordinary => false,
            Claim::Reserve => true,
            Claim::Mark => self.options.seal_groups <= half.saturating_sub(self.options.end_room()),
        };
        match allowed || self.has_room() {
            true => Ok(()),
            false => Err(self.explain(self.preparer.budget().full(&self.dir))),
        }
    }

    /// Whether an ordinary record, of any size that the log accepts, would be appended.
    pub(crate) fn has_room(&self) -> bool {
        self.preparer.budget().admits_another()
    }

    /// Adds to an error about the bound who is in the way.
    pub(crate) fn explain(&self, error: WalError) -> WalError {
        match error {
            WalError::LogFull {
                dir,
                max_bytes,
                used_bytes,
                reserved_bytes,
                ..
            } => WalError::LogFull {
                dir,
                max_bytes,
                used_bytes,
                reserved_bytes,
                held_by: self.oldest_holder(),
            },
            other => other,
        }
    }

    fn oldest_holder(&self) -> String {
        let first = self.retention.first();
        if first == self.tail.load().base {
            return "files of truncated segments could not be removed".to_owned();
        }
        let asked = self.retention.asked();
        match self.pins().into_iter().next() {
            // A pin matters if somebody wanted to truncate beyond it.
            Some(pin) if pin.lsn.get() <= asked.max(first) => {
                format!("{} keeps everything from LSN {} on", pin.name, pin.lsn)
            }
            _ if asked > first => {
                format!("nobody keeps it, but it was last truncated up to LSN {asked}")
            }
            _ => format!("nobody has truncated it since LSN {first}"),
        }
    }
}
