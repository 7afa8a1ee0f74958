//! What the engine has written into a manifest.

use crate::checkpointing::metadata::Metadata;
use crate::error::{Error, Result};
use crate::settings::Settings;
use highwater_checkpoint::Checkpoint;
use highwater_wal::Lsn;

/// What the engine has written into the checkpoint's manifest.
pub(crate) fn read_metadata(settings: &Settings, checkpoint: &Checkpoint) -> Result<Metadata> {
    let manifest = checkpoint.manifest();
    serde_json::from_value(manifest.metadata.clone()).map_err(|e| Error::EngineLog {
        dir: settings.dir.clone(),
        lsn: Lsn::new(manifest.lsn),
        what: format!("the metadata of checkpoint {}: {e}", manifest.number),
    })
}
