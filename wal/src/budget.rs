//! The bound on the disk space of a log, and who keeps it from being freed.

use crate::error::{Result, WalError};
use crate::lsn::Lsn;
use crate::shared::Shared;
use std::path::Path;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// Percent of the bound at which somebody should look.
const LEVELS: [u64; 2] = [50, 80];

/// Bytes of segment files that exist or are being made, and the most there may be.
#[derive(Debug)]
pub(crate) struct Budget {
    max_bytes: Option<u64>,
    used: AtomicU64, // relaxed, as `told`: numbers to compare with a bound, no memory depends on them
    /// How many of [`LEVELS`] were passed when that was last told.
    told: AtomicU8,
}

impl Budget {
    pub(crate) fn new(max_bytes: Option<u64>, used: u64) -> Self {
        Self {
            max_bytes,
            used: AtomicU64::new(used),
            told: AtomicU8::new(0),
        }
    }

    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    pub(crate) fn max_bytes(&self) -> Option<u64> {
        self.max_bytes
    }

    /// Takes the space of a file that is about to be made. Only the one thread that makes files calls this.
    pub(crate) fn take(&self, bytes: u64, dir: &Path) -> Result<()> {
        let used = self.used() + bytes;
        match self.max_bytes {
            Some(max_bytes) if used > max_bytes => Err(WalError::LogFull {
                dir: dir.to_owned(),
                max_bytes,
                used_bytes: self.used(),
                held_by: String::new(),
            }),
            _ => {
                self.used.fetch_add(bytes, Ordering::Relaxed);
                self.tell(dir);
                Ok(())
            }
        }
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
    /// Adds to an error about the bound who is in the way.
    pub(crate) fn explain(&self, error: WalError) -> WalError {
        match error {
            WalError::LogFull {
                dir,
                max_bytes,
                used_bytes,
                ..
            } => WalError::LogFull {
                dir,
                max_bytes,
                used_bytes,
                held_by: self.oldest_holder(),
            },
            other => other,
        }
    }

    fn oldest_holder(&self) -> String {
        let first = self.retention.first();
        let tail = self.tail.load();
        if first == tail.base {
            // Nothing else is left to truncate: made with another size of segments, or the bound was lowered.
            return format!(
                "the segment in use takes {} bytes by itself, and no truncation frees it: raise the bound",
                tail.size
            );
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
