//! The marker: a small file next to the output that names the log which writes it.
//!
//! | found | what it means | what happens |
//! |---|---|---|
//! | none | this output is new, or older than markers | it is written, never over a file |
//! | ours | this output was here before | the directory is synced again (1) |
//! | another log's or output's | the names belong to it | an error with the way out |
//! | of a later format | a later version writes here | an error |
//! | empty or cut short | an interrupted copy (2) | it is replaced, under the directory's lock |
//! | anything else | a file of another program | an error |
//!
//! (1) A crash may have kept its name from the disk. (2) Our own markers are complete and synced
//! before they get the name.
//!
//! Format: `docs/format/text-output.md`.

use super::names::Names;
use super::rename::rename_new;
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

/// The content of a marker.
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

/// What was found at the name of the marker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Marker {
    Missing,
    /// Empty or cut short.
    Unfinished,
    Ours,
    /// That of a log whose place this one has taken.
    Predecessors,
}

/// Reads the marker.
///
/// # Errors
/// If the names belong to another log or output, or the marker cannot be read.
pub(super) fn read(
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
        || format!("{shown} is no marker of Highwater, but has the name of one: move it away");
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
             files; use that version, or choose another prefix"
        )
        .into());
    }
    let content: Content = serde_json::from_slice(&bytes).map_err(|_| not_a_marker())?;
    let ours = Content::of(owner);
    let mut predecessors = owner.predecessors.iter().map(|id| format!("{id:032x}"));
    // The name of the application is not compared: the engine checks that.
    if (&content.log, &content.output) == (&ours.log, &ours.output) {
        Ok(Marker::Ours)
    } else if content.output == ours.output && predecessors.any(|log| log == content.log) {
        Ok(Marker::Predecessors)
    } else {
        Err(content.refusal(names, owner).into())
    }
}

/// Makes the names this output's, durably, after [`read`] has found no other owner.
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
            // A crash after the link may have left the temporary file. It costs only room.
            let _ = disk.remove_file(&names.marker_tmp(&Content::of(owner).log));
        }
        Marker::Missing => {
            let tmp = write_tmp(disk, names, owner)?;
            if let Err(error) = rename_new(disk, &names.dir, &tmp, &names.marker()) {
                // It costs only room, and the next attempt of this log replaces it.
                let _ = disk.remove_file(&tmp);
                if error.kind() != io::ErrorKind::AlreadyExists {
                    return Err(error.into());
                }
                return match read(disk, names, owner)? {
                    Marker::Ours => Ok(disk.sync_dir(&names.dir)?),
                    Marker::Missing | Marker::Unfinished | Marker::Predecessors => {
                        Err(busy(names).into())
                    }
                };
            }
        }
        Marker::Unfinished | Marker::Predecessors => {
            let locked = disk.lock_dir(&names.dir);
            let _lock = locked.map_err(|e| format!("{}: {e}", busy(names)))?;
            // Another program may have finished it meanwhile.
            if read(disk, names, owner)? == found {
                disk.rename(&write_tmp(disk, names, owner)?, &names.marker())?;
            }
        }
    }
    Ok(disk.sync_dir(&names.dir)?)
}

/// Writes the marker under a name that only this log uses, durably.
fn write_tmp(disk: &dyn Disk, names: &Names, owner: &OutputOwner) -> Result<PathBuf, BoxError> {
    let content = Content::of(owner);
    let path = names.marker_tmp(&content.log);
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
        "another program takes {} at this moment: give each its own prefix, or start this one again",
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
