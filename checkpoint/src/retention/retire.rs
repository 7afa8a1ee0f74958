//! Removing old checkpoints, and how far the log may be truncated.

use crate::catalog::Catalog;
use crate::error::Result;
use crate::manifest::read::{list, numbers, read_manifest};
use crate::options::{MIN_RETAIN, Options};
use crate::retention::garbage;
use crate::retention::losses::notice_losses;
use crate::store::StoredFile;

/// What [`Checkpoints::retire`](crate::Checkpoints::retire) did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retired {
    /// The checkpoints that were removed, ascending.
    pub removed: Vec<u64>,
    /// See [`Checkpoints::oldest_needed_lsn`](crate::Checkpoints::oldest_needed_lsn).
    pub oldest_needed_lsn: Option<u64>,
}

/// See [`Checkpoints::retire`](crate::Checkpoints::retire).
pub(crate) fn retire(catalog: &mut Catalog, options: &Options) -> Result<Retired> {
    catalog.resolve_doubt(options.writer)?;
    let listing = list(&**catalog.store())?;
    check_not_fenced(catalog, &listing, options.writer)?;
    notice_losses(catalog, &listing)?;
    let oldest_kept = catalog
        .usable()
        .rev()
        .map(|m| m.number)
        .nth(retain(options) - 1);
    let removed: Vec<u64> = oldest_kept
        .map(|kept| catalog.by_number().range(..kept).map(|(n, _)| *n).collect())
        .unwrap_or_default();
    if !removed.is_empty() {
        catalog.remove(&removed)?;
    }
    garbage::collect(catalog, &listing, options.ownership)?;
    Ok(Retired {
        removed,
        oldest_needed_lsn: oldest_needed_lsn(catalog, options),
    })
}

/// See [`Checkpoints::oldest_needed_lsn`](crate::Checkpoints::oldest_needed_lsn).
pub(crate) fn oldest_needed_lsn(catalog: &Catalog, options: &Options) -> Option<u64> {
    let enough = catalog.usable().count() >= retain(options);
    enough
        .then(|| catalog.usable().map(|m| m.lsn).min())
        .flatten()
}

fn retain(options: &Options) -> usize {
    options.retain.max(MIN_RETAIN)
}

/// Numbers ascend by one, so a writer that publishes after us must take the number after ours. That
/// checkpoint may be retired already: then a higher one is listed.
fn check_not_fenced(catalog: &mut Catalog, listing: &[StoredFile], writer: u64) -> Result<()> {
    let last = catalog.last_number().unwrap_or(0);
    let listed = numbers(listing).filter(|n| *n > last).max();
    let mut after = last + 1;
    loop {
        match read_manifest(&**catalog.store(), after)? {
            None => break,
            // A publication of ours that failed: it has arrived since it was looked for.
            Some(Ok(m)) if m.writer == writer => catalog.mark_unconfirmed(after),
            Some(Ok(m)) => return Err(catalog.fence(after, m.writer)),
            Some(Err(_)) => return Err(catalog.fence(after, 0)),
        }
        after += 1;
    }
    let Some(number) = listed.filter(|listed| *listed > after) else {
        return Ok(());
    };
    match read_manifest(&**catalog.store(), number)? {
        None => Ok(()),
        Some(read) => {
            let writer = read.map_or(0, |m| m.writer);
            Err(catalog.fence(number, writer))
        }
    }
}
