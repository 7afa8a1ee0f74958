//! The directory that a command writes: a new one, outside of what was read.

use crate::checkpoint::store::Place;
use highwater::checkpoint::LocalStore;
use highwater::disk::{Disk, OsDisk};
use highwater_log::outcome::{Failure, Result};
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

/// The store in `dir`, which must not exist or be empty, and lies outside of `from`.
pub(super) fn new_store(dir: &Path, from: &Place) -> Result<LocalStore> {
    let refused = |what: &str| Failure::Usage(format!("--output {}: {what}", dir.display()));
    if dir.to_str().is_some_and(|dir| dir.contains("://")) {
        return Err(refused("only a directory can be written"));
    }
    let disk: Arc<dyn Disk> = Arc::new(OsDisk::new());
    let path = disk
        .resolve(dir)
        .map_err(|e| Failure::io("cannot find", dir, &e))?;
    match disk.list(&path) {
        Err(e) if e.kind() == ErrorKind::NotFound => {}
        Err(e) => return Err(Failure::Io(e.to_string())),
        Ok(entries) if !entries.is_empty() => {
            return Err(refused("it is not empty: name a new directory"));
        }
        Ok(_) => {}
    }
    if from.dir.as_ref().is_some_and(|from| path.starts_with(from)) {
        return Err(refused("it lies inside of the checkpoints that are read"));
    }
    Ok(LocalStore::new(disk, path))
}
