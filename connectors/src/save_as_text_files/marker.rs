//! The marker: a small file beside the output that says which log writes it.
//!
//! | found | what it means | what happens |
//! |---|---|---|
//! | none | nobody has written here, or a version that made no markers | it is made: drafted, synced, placed create-only |
//! | ours | this output was here before | the directory is synced again: a crash may have kept its name from the disk |
//! | another log's or output's | the names belong to it | an error with the way out |
//! | of a later format | a later version writes here | an error |
//! | empty or cut short | a copy that was interrupted; our own drafts never get the name unfinished | it is replaced, under the directory's lock |
//! | anything else | a file of somebody else | an error |
//!
//! Format: `docs/format/text-output.md`.

use super::names::Names;
use super::place::place_new;
use highwater_engine::wal::disk::{Access, Disk};
use highwater_engine::{BoxError, OutputOwner};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::PathBuf;

const FORMAT: u32 = 1;
/// A marker is a line; a file of this size is none.
const MAX_BYTES: u64 = 64 << 10;
const NOTE: &str =
    "The files beside this one are written by the Highwater log named here, and by no other.";

/// What a marker says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Content {
    format: u32,
    /// For people who find the file.
    #[serde(default)]
    note: String,
    /// Identity of the log, 32 hexadecimal digits.
    log: String,
    application: String,
    output: String,
}

#[derive(Deserialize)]
struct Version {
    format: u32,
}

/// What stands where the marker should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Marker {
    Missing,
    /// Empty or cut short.
    Unfinished,
    Ours,
}

/// Looks for the marker.
///
/// # Errors
/// If the names belong to another log or output, or this cannot be told.
pub(super) fn look(
    disk: &dyn Disk,
    names: &Names,
    owner: &OutputOwner,
) -> Result<Marker, BoxError> {
    let path = names.marker();
    let file = match disk.open(&path, Access::Read) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Marker::Missing),
        opened => opened?,
    };
    let len = file.len()?;
    let shown = path.display();
    let not_a_marker =
        || format!("{shown} is no marker of Highwater, but stands where one must: move it away");
    if len > MAX_BYTES {
        return Err(not_a_marker().into());
    }
    let mut bytes = vec![0; usize::try_from(len)?];
    file.read_exact_at(&mut bytes, 0)?;
    if !bytes.ends_with(b"\n") {
        return Ok(Marker::Unfinished);
    }
    let version: Version = serde_json::from_slice(&bytes).map_err(|_| not_a_marker())?;
    if version.format > FORMAT {
        let format = version.format;
        return Err(format!(
            "{shown} has format {format}, and this version of Highwater knows up to {FORMAT}: a later version writes these \
             files; use it, or choose another prefix"
        )
        .into());
    }
    let content: Content = serde_json::from_slice(&bytes).map_err(|_| not_a_marker())?;
    let ours = Content::of(owner);
    // The log's name for its application has no say: the engine guards that.
    if (&content.log, &content.output) == (&ours.log, &ours.output) {
        Ok(Marker::Ours)
    } else {
        Err(content.refusal(names, owner).into())
    }
}

/// Makes the names this output's, durably, after [`look`] has found no other owner.
///
/// # Errors
/// If another program was faster, or the disk fails.
pub(super) fn claim(
    disk: &dyn Disk,
    names: &Names,
    owner: &OutputOwner,
    found: Marker,
) -> Result<(), BoxError> {
    match found {
        Marker::Ours => {
            // Where the marker was linked to its name, a crash may have left its draft. It costs
            // room only.
            let _ = disk.remove_file(&names.marker_draft(&Content::of(owner).log));
        }
        Marker::Missing => {
            let draft = draft(disk, names, owner)?;
            if let Err(error) = place_new(disk, &names.dir, &draft, &names.marker()) {
                // It costs room only; the next draft of this log takes its place.
                let _ = disk.remove_file(&draft);
                if error.kind() != io::ErrorKind::AlreadyExists {
                    return Err(error.into());
                }
                return match look(disk, names, owner)? {
                    Marker::Ours => Ok(disk.sync_dir(&names.dir)?),
                    Marker::Missing | Marker::Unfinished => Err(busy(names).into()),
                };
            }
        }
        Marker::Unfinished => {
            let locked = disk.lock_dir(&names.dir);
            let _lock = locked.map_err(|e| format!("{}: {e}", busy(names)))?;
            // Another program may have finished it meanwhile.
            if look(disk, names, owner)? == Marker::Unfinished {
                disk.rename(&draft(disk, names, owner)?, &names.marker())?;
            }
        }
    }
    Ok(disk.sync_dir(&names.dir)?)
}

/// Writes the marker under a name that only this log uses, durably.
fn draft(disk: &dyn Disk, names: &Names, owner: &OutputOwner) -> Result<PathBuf, BoxError> {
    let content = Content::of(owner);
    let path = names.marker_draft(&content.log);
    let file = match disk.create_new(&path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            disk.remove_file(&path)?;
            disk.create_new(&path)?
        }
        created => created?,
    };
    let mut line = serde_json::to_vec(&content)?;
    line.push(b'\n');
    file.write_all_at(&line, 0)?;
    file.sync()?;
    Ok(path)
}

fn busy(names: &Names) -> String {
    let marker = names.marker();
    format!(
        "another program is claiming {} at this moment: give each its own prefix, or start this one again",
        marker.display()
    )
}

impl Content {
    fn of(owner: &OutputOwner) -> Self {
        Self {
            format: FORMAT,
            note: NOTE.to_owned(),
            log: format!("{:032x}", owner.log_id),
            application: owner.application.clone(),
            output: owner.output.clone(),
        }
    }

    fn refusal(&self, names: &Names, owner: &OutputOwner) -> String {
        let (pattern, marker) = (names.pattern(), names.marker());
        let (output, marker) = (&self.output, marker.display());
        let ours = Self::of(owner);
        if self.log == ours.log {
            let own = &owner.output;
            return format!(
                "{pattern} belongs to output {output} of this program, not to {own}: two outputs cannot share a prefix, give \
                 each its own. If {own} is {output} under a new name, delete {marker} and start again"
            );
        }
        let (log, application) = (&self.log, &self.application);
        format!(
            "{pattern} belongs to output {output} of application \"{application}\", whose log is {log}; this program's log is \
             {}: choose another prefix. If that log is gone for good, move its files away, delete {marker} and start again",
            ours.log
        )
    }
}
