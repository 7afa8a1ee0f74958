//! Files of checkpoints that another program has removed.

use crate::catalog::Catalog;
use crate::error::Result;
use crate::manifest::files::{lost_file, missing_file, sizes};
use crate::store::StoredFile;
use crate::store::names::manifest_name;

/// Finds checkpoints that are not there any more, or not all of them: the log must not be truncated
/// because of them.
pub(crate) fn notice_losses(catalog: &mut Catalog, listing: &[StoredFile]) -> Result<()> {
    let store = &**catalog.store();
    let sizes = sizes(listing);
    let mut lost = Vec::new();
    for manifest in catalog.usable() {
        let listed = sizes.contains_key(manifest_name(manifest.number).as_str());
        let suspect = !listed || missing_file(manifest, &sizes).is_some();
        // The listing may be older than the checkpoint: only the store itself knows.
        if suspect && let Some(reason) = lost_file(store, manifest)? {
            lost.push((manifest.number, reason));
        }
    }
    let place = store.place();
    for (number, reason) in lost {
        tracing::warn!(
            number,
            reason,
            place,
            "another program removed files of a retained checkpoint: the log is kept until new checkpoints replace it"
        );
        catalog.mark_unusable(number, reason);
    }
    Ok(())
}
