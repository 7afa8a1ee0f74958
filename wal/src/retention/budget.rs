//! The bound on the disk space of a log, and the reserve below it.

use crate::error::{Result, WalError};
use crate::facade::tracing;
use crate::format::layout::SEGMENT_HEADER_SIZE;
use crate::options::append::Admission;
use highwater_disk::Reserver;
use std::path::Path;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// A warning is logged at these percentages of the bound.
const LEVELS: [u64; 2] = [50, 80];

/// Bytes of segment files that exist or are being made, and the most there may be.
///
/// Invariants. `used` never passes `most` plus `exempt`, so neither do the files. Ordinary records
/// never use the reserve. Only control records, and what the program appends from the reserve, may
/// begin or fill a segment that brings `held` above `ordinary`. A truncation brings `held` down
/// again.
#[derive(Debug)]
pub(crate) struct Budget {
    max_bytes: Option<u64>,
    /// Size of the longest segment: the reserve is one.
    segment_size: u64,
    /// The most bytes of log that leave the reserve untouched.
    ordinary: u64,
    /// The most bytes of segment files.
    most: u64,
    used: AtomicU64, // relaxed, as the others: numbers to compare with a bound, no memory depends on them
    /// Bytes of the segments that hold the log, and of those that could not be removed; without
    /// `exempt`.
    held: AtomicU64,
    /// This many bytes of the segment at `exempt_base` do not count. It was in use when the log was
    /// opened, and leaves too little room for another one below the bound. No truncation frees it
    /// before the log has left it.
    exempt: AtomicU64,
    exempt_base: u64,
    /// How many of [`LEVELS`] were passed at the last warning.
    warned: AtomicU8,
}

impl Budget {
    /// For a log that was opened with segments of `held` bytes. The last of them starts at
    /// `tail_base` and takes `tail` bytes. `ready` bytes are preallocated after it.
    pub(crate) fn new(
        max_bytes: Option<u64>,
        segment_size: u64,
        held: u64,
        (tail_base, tail): (u64, u64),
        ready: u64,
    ) -> Self {
        let max = max_bytes.unwrap_or(u64::MAX);
        let ordinary = match max_bytes {
            Some(max) => max.saturating_sub(segment_size),
            None => u64::MAX,
        };
        let needed = tail.saturating_add(segment_size);
        let exempt = needed.saturating_sub(ordinary);
        let counted = held - exempt.min(tail);
        // A log that left no room for the reserve gets it all the same: its bound was lowered, it
        // was made without one, or its reserve is in use. Without a reserve the program might not
        // be able to truncate.
        let most = match counted.saturating_add(segment_size) > max {
            true => max.saturating_add(segment_size),
            false => max,
        };
        Self {
            max_bytes,
            segment_size,
            ordinary,
            most,
            used: AtomicU64::new(held + ready),
            held: AtomicU64::new(counted),
            exempt: AtomicU64::new(held - counted),
            exempt_base: tail_base,
            warned: AtomicU8::new(0),
        }
    }

    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    pub(crate) fn max_bytes(&self) -> Option<u64> {
        self.max_bytes
    }

    /// Whether ordinary records may be written to the tail. The caller has loaded the tail before,
    /// and [`Self::hold`] was called before it could be loaded.
    pub(crate) fn admits(&self) -> bool {
        self.held.load(Ordering::Relaxed) <= self.ordinary
    }

    /// Whether ordinary records may begin another segment of `bytes`.
    pub(crate) fn admits_another(&self, bytes: u64) -> bool {
        bytes <= self.ordinary_room()
    }

    /// Whether ordinary records may begin another segment, however long it is.
    pub(crate) fn admits_longest(&self) -> bool {
        self.admits_another(self.segment_size)
    }

    /// How many bytes of segments ordinary records may begin.
    pub(crate) fn ordinary_room(&self) -> u64 {
        self.ordinary
            .saturating_sub(self.held.load(Ordering::Relaxed))
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

    /// Whether a frame of this class may be appended to a tail that is the reserve: a segment of
    /// `size` bytes of which `reserved` are used.
    pub(crate) fn admits_to_reserve(
        &self,
        class: AdmissionClass,
        reserved: u64,
        size: u64,
    ) -> bool {
        match class {
            AdmissionClass::Ordinary => false,
            AdmissionClass::Reserve => true,
            AdmissionClass::CloseFrame => !self.spares_reserve(reserved, size),
        }
    }

    /// Whether frames that the log can do without leave the rest of the tail to control records: it
    /// is the reserve, and half used.
    pub(crate) fn spares_reserve(&self, reserved: u64, size: u64) -> bool {
        !self.admits() && reserved > SEGMENT_HEADER_SIZE.midpoint(size)
    }

    /// The error of ordinary records at the bound. The log adds what is in the way.
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
        self.warn(dir);
        Ok(())
    }

    /// Gives back the space of a file that is gone.
    pub(crate) fn give_back(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
        if let Some(max_bytes) = self.max_bytes {
            self.warned
                .store(level(self.used(), max_bytes), Ordering::Relaxed);
        }
    }

    /// Warns once each time a level is passed.
    fn warn(&self, dir: &Path) {
        let Some(max_bytes) = self.max_bytes else {
            return;
        };
        let now = level(self.used(), max_bytes);
        if now > self.warned.swap(now, Ordering::Relaxed) {
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
pub(crate) enum AdmissionClass {
    /// A record.
    Ordinary,
    /// A record that may use the reserve.
    Reserve,
    /// The frame of a clean end: at most half of the reserve, which would be used up by closing and
    /// opening otherwise.
    CloseFrame,
}

impl From<Admission> for AdmissionClass {
    fn from(admission: Admission) -> Self {
        match admission {
            Admission::Ordinary => Self::Ordinary,
            Admission::Reserve => Self::Reserve,
        }
    }
}

impl AdmissionClass {
    pub(crate) fn reserver(self) -> Reserver {
        match self {
            Self::Ordinary | Self::Reserve => Reserver::Appender,
            Self::CloseFrame => Reserver::Closer,
        }
    }
}
