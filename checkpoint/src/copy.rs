//! A checkpoint written anew: as a savepoint, or for a log that goes on from it.

use crate::checkpoint::Checkpoint;
use crate::checkpoints::Checkpoints;
use crate::error::{CheckpointError, Result};
use crate::format::FORMAT_VERSION;
use crate::writing::meta::{Meta, Published, StateMeta};

impl Checkpoint {
    /// What this checkpoint was taken of, for another one that has everything of it:
    /// [`Self::copy_into`].
    #[must_use]
    pub fn meta(&self) -> Meta {
        let manifest = self.manifest();
        let states = manifest.states.iter().map(|state| StateMeta {
            name: state.name.clone(),
            kind: state.kind.clone(),
            codec: state.codec.clone(),
            fingerprint: state.fingerprint.clone(),
            anew: true,
        });
        Meta {
            parent: None,
            log_id: manifest.log_id,
            application: manifest.application.clone(),
            created_ms: manifest.created_ms,
            batch: manifest.batch,
            lsn: manifest.lsn,
            metadata: manifest.metadata.clone(),
            states: states.collect(),
        }
    }

    /// Publishes a checkpoint in `into` that has every key of this one, in the same order, and
    /// needs no file of another. Of `meta`, which is [`Self::meta`] with other values, each state
    /// must be one of this checkpoint; those that it lacks are left out. At most one key group is
    /// in memory at a time, beside a state file that is being filled.
    ///
    /// # Errors
    /// [`CheckpointError::Damaged`] if this checkpoint cannot be read;
    /// [`CheckpointError::Misuse`] if it is of format 1, whose states are written otherwise; those
    /// of [`Checkpoints::begin`] and
    /// [`CheckpointWriter::publish`](crate::CheckpointWriter::publish). Nothing is published then.
    pub fn copy_into(&self, into: &mut Checkpoints, meta: Meta) -> Result<Published> {
        if self.manifest().format_version < FORMAT_VERSION {
            return Err(CheckpointError::Misuse {
                number: self.number(),
                what: format!(
                    "it is of format {}: start the program once where the checkpoint is, and stop it gracefully, which writes one of format {FORMAT_VERSION}",
                    self.manifest().format_version
                ),
            });
        }
        let copied = self.copy_states(into, meta);
        // The program may keep this checkpoint for long.
        self.forget_bytes();
        copied
    }

    fn copy_states(&self, into: &mut Checkpoints, meta: Meta) -> Result<Published> {
        let names: Vec<String> = meta.states.iter().map(|s| s.name.clone()).collect();
        let mut writer = into.begin(meta)?;
        for name in &names {
            for group in self.groups(name)? {
                if let Some(found) = self.read_group(name, group.key_group)? {
                    writer.add_block(name, group.key_group, found.entries, &found.bytes)?;
                }
            }
            if let Some(state) = self.manifest().state(name) {
                writer.set_keys(name, state.entries)?;
            }
        }
        writer.publish()
    }
}
