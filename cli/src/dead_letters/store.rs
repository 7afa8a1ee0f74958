//! The dead letters of a directory.

use crate::args::DeadLettersArgs;
use crate::fail::OrFail;
use highwater::disk::{Disk, EntryKind, OsDisk};
use highwater::{DeadLetter, DeadLetterFilter, read_dead_letters};
use highwater_log::outcome::{Failure, Result};
use std::path::PathBuf;
use std::sync::Arc;

/// Those letters of a directory that were asked for.
pub(super) struct Chosen {
    pub(super) disk: Arc<dyn Disk>,
    /// The engine's directory.
    pub(super) dir: PathBuf,
    pub(super) filter: DeadLetterFilter,
}

impl Chosen {
    /// Refuses a directory that is not an engine's.
    pub(super) fn of(args: &DeadLettersArgs) -> Result<Self> {
        let disk: Arc<dyn Disk> = Arc::new(OsDisk::new());
        let dir = disk
            .resolve(&args.dir)
            .map_err(|e| Failure::io("cannot find", &args.dir, &e))?;
        let entries = disk.list(&dir).map_err(|e| Failure::Io(e.to_string()))?;
        let mut dirs = entries.iter().filter(|e| e.kind == EntryKind::Directory);
        if !dirs.any(|e| e.name == "log") {
            return Err(Failure::Io(format!(
                "{} has no log in it: name the directory of an engine",
                dir.display()
            )));
        }
        let mut filter = DeadLetterFilter::all();
        if let Some(operator) = &args.operator {
            filter = filter.operator(operator);
        }
        let filter = args.ids.iter().fold(filter, |filter, id| filter.id(id));
        Ok(Self { disk, dir, filter })
    }

    /// Calls `each` with every letter, oldest first.
    pub(super) fn read(&self, mut each: impl FnMut(DeadLetter) -> Result<()>) -> Result<()> {
        let mut failed = Ok(());
        read_dead_letters(&self.disk, &self.dir, &self.filter, |letter| {
            if failed.is_ok() {
                failed = each(letter);
            }
            Ok(())
        })
        .or_fail()?;
        failed
    }
}
