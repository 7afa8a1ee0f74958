//! What an output finds in its directory when it opens, and which log made it.
//!
//! The log knows every batch that may be in doubt, with its time: those since the newest
//! checkpoint. So a file that its own batches cannot have made is recognised, and so is a leftover
//! of a crash. This also works for files of a version that made no markers:
//!
//! | batch in the name | with our marker | without a marker |
//! |---|---|---|
//! | known, same time | ours | ours |
//! | known, another time; or later than any batch of this log | an error | an error |
//! | older than the newest checkpoint, published | ours | taken for ours, and logged |
//! | older than the newest checkpoint, staged | ours | an error |

use super::marker::{self, Marker};
use super::names::{FileState, Found, Names};
use highwater_engine::wal::disk::Disk;
use highwater_engine::{Batch, BoxError, SinkContext};

/// Which log made a file, by the batch in its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Maker {
    ThisLog,
    /// It may be this log: the batch is older than all known ones.
    Unknown,
    Another,
}

/// Takes the names for this output, and returns the files that a crash left staged.
///
/// # Errors
/// If the names, or one of the files, belong to another output.
pub(super) fn take_over(
    disk: &dyn Disk,
    names: &Names,
    context: &SinkContext,
) -> Result<Vec<Found>, BoxError> {
    disk.create_dir_all(&names.dir)?;
    let marker = marker::read(disk, names, &context.owner)?;
    let mut staged = Vec::new();
    let mut adopted = 0_u64;
    let mut lost = Vec::new();
    for entry in disk.list(&names.dir)? {
        let Some(found) = entry.name.to_str().and_then(|name| names.parse(name)) else {
            continue;
        };
        match (maker(&found, &context.batches), marker, found.stage) {
            // It was never seen, and its batch is lost. It goes while the marker still tells whose
            // it was.
            (Maker::Another, Marker::Predecessors, FileState::Staged) => {
                lost.push(names.staged(&found.name));
                continue;
            }
            (Maker::Another, ..)
            | (Maker::Unknown, Marker::Missing | Marker::Unfinished, FileState::Staged) => {
                return Err(refusal(names, &found, context).into());
            }
            (Maker::Unknown, Marker::Missing | Marker::Unfinished, FileState::Published) => {
                adopted += 1
            }
            (Maker::ThisLog | Maker::Unknown, ..) => {}
        }
        if found.stage == FileState::Staged {
            staged.push(found);
        }
    }
    for path in &lost {
        disk.remove_file(path)?;
    }
    if !lost.is_empty() {
        disk.sync_dir(&names.dir)?;
    }
    marker::claim(disk, names, &context.owner, marker)?;
    if adopted > 0 {
        tracing::info!(
            output = context.owner.output,
            files = names.pattern(),
            adopted,
            "files without a marker are taken for those of earlier batches of this log"
        );
    }
    Ok(staged)
}

/// `batches` ascend.
fn maker(found: &Found, batches: &[Batch]) -> Maker {
    let Ok(place) = batches.binary_search_by_key(&found.batch, |batch| batch.id) else {
        let is_older = batches
            .first()
            .is_some_and(|oldest| found.batch < oldest.id);
        return if is_older {
            Maker::Unknown
        } else {
            Maker::Another
        };
    };
    let known = batches.get(place);
    if known.is_some_and(|batch| batch.time_ms == found.time_ms) {
        Maker::ThisLog
    } else {
        Maker::Another
    }
}

fn refusal(names: &Names, found: &Found, context: &SinkContext) -> String {
    let path = match found.stage {
        FileState::Staged => names.staged(&found.name),
        FileState::Published => names.published(&found.name),
    };
    let newest = context.batches.last().map_or_else(
        || "has made no batch yet".to_owned(),
        |newest| format!("is at batch {} (time {} ms)", newest.id, newest.time_ms),
    );
    format!(
        "{} is there and this log, which {newest}, has not made it: another program wrote it, or this log is an older copy. \
         It is not replaced: choose another prefix, or move the files {} away and start again",
        path.display(),
        names.pattern()
    )
}
