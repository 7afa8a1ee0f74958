//! Looking at a log that another process truncates meanwhile: what was listed a moment ago may be
//! gone, or made into another segment under the old name.

use crate::control::file::Meta;
use crate::error::{Result, WalError};
use crate::inspect::Log;
use crate::lsn::Lsn;
use highwater_disk::Disk;
use std::path::Path;
use std::sync::Arc;

/// How often a log that changes under the eyes of the beholder is looked at anew before that is an
/// error.
pub(crate) const MAX_LOOKS: u32 = 64;

impl Log {
    /// What `look` makes of the log as it is now: of one that has changed since, if it makes an
    /// error of this one, or nothing `sound`.
    pub(crate) fn settled<T>(
        &self,
        mut look: impl FnMut(&Self) -> Result<T>,
        sound: impl Fn(&T) -> bool,
    ) -> Result<T> {
        let mut newer: Option<Self> = None;
        for _ in 1..MAX_LOOKS {
            let log = newer.as_ref().unwrap_or(self);
            let seen = look(log);
            if seen.as_ref().is_ok_and(&sound) {
                return seen;
            }
            match log.newer()? {
                Some(now) => newer = Some(now),
                None => return seen,
            }
        }
        look(newer.as_ref().unwrap_or(self))
    }

    /// The log as it is now, if its files are not those that this one knows.
    pub(crate) fn newer(&self) -> Result<Option<Self>> {
        let now = Self::open(Arc::clone(&self.disk), &self.dir)?;
        let files = |log: &Self| (log.meta.first_lsn, log.listing.segments.clone());
        Ok((files(&now) != files(self)).then_some(now))
    }

    /// Whether the segment at `base` was truncated since it was listed: nothing is wrong with it
    /// then.
    pub(crate) fn is_truncated(&self, base: u64) -> bool {
        start_behind(&*self.disk, &self.dir, base).is_some()
    }
}

/// Where the log in `dir` starts now, if that is behind `position`. What is wrong with `LOG` is
/// told elsewhere.
fn start_behind(disk: &dyn Disk, dir: &Path, position: u64) -> Option<u64> {
    let meta = Meta::read(disk, dir).ok().flatten()?;
    (meta.first_lsn > position).then_some(meta.first_lsn)
}

/// What `error` at `position` is if the log starts behind it now, and where to go on.
pub(crate) fn truncated_meanwhile(
    disk: &dyn Disk,
    dir: &Path,
    position: u64,
    error: &WalError,
) -> Option<(WalError, u64)> {
    if !matches!(error, WalError::Io { .. } | WalError::Corrupt { .. }) {
        return None;
    }
    let first = start_behind(disk, dir, position)?;
    let error = WalError::Truncated {
        asked: Lsn::new(position),
        first: Lsn::new(first),
    };
    Some((error, first))
}
