//! A directory that is looked at again and again: what does not change is read once.

use crate::checkpoint::store::{Found, Place};
use crate::log_after::LogAfter;
use crate::ui::look::Look;
use crate::ui::shown;
use highwater::disk::{Clock, Disk, OsClock, OsDisk};
use highwater::wal::Lsn;
use highwater::wal::inspect::Log;
use highwater::{DeadLetterFilter, read_dead_letters};
use highwater_log::outcome::{Failure, Result};
use highwater_ui::{Observed, Snapshot};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// So often dead letters are counted: each count reads their store.
const LETTERS_EVERY: Duration = Duration::from_secs(60);

/// An engine's directory.
pub(super) struct Directory {
    disk: Arc<dyn Disk>,
    clock: OsClock,
    dir: PathBuf,
    known: Mutex<Known>,
}

/// What was read before.
#[derive(Default)]
struct Known {
    /// The names in the store of checkpoints then: the same names are the same files.
    names: Vec<String>,
    found: Option<Arc<Found>>,
    after: Option<LogAfter>,
    /// From where on that is.
    from: Lsn,
    letters: BTreeMap<String, u64>,
    letters_at: Option<Duration>,
}

impl Directory {
    pub(super) fn open(dir: &Path) -> Result<Self> {
        let disk: Arc<dyn Disk> = Arc::new(OsDisk::new());
        let dir = disk
            .resolve(dir)
            .map_err(|e| Failure::io("cannot find", dir, &e))?;
        Ok(Self {
            disk,
            clock: OsClock::new(),
            dir,
            known: Mutex::default(),
        })
    }

    /// Refuses a directory of named streams: what an engine would do with it is no question.
    pub(super) fn check_is_engines(&self) -> Result<()> {
        let entries = self
            .disk
            .list(&self.dir)
            .map_err(|e| Failure::Io(e.to_string()))?;
        let is_there = |name: &str| entries.iter().any(|entry| entry.name == name);
        if is_there("table") && !is_there("checkpoints") {
            let dir = self.dir.display();
            return Err(Failure::Usage(format!(
                "{dir} has named streams (`highwater serve`), and this page is of engines: `highwater log list {dir}` shows its log"
            )));
        }
        Ok(())
    }

    fn look(&self) -> Result<Look> {
        let mut known = self.known.lock();
        let now = self.clock.now();
        let log = Log::open(Arc::clone(&self.disk), self.dir.join("log"))?;
        let place = Place::find(&self.dir)?;
        let names = match &place.dir {
            Some(dir) => self.names(dir)?,
            None => Vec::new(),
        };
        let found = match &known.found {
            Some(found) if known.names == names => Arc::clone(found),
            _ => {
                let found = Arc::new(Found::read(&self.dir)?);
                known.found = Some(Arc::clone(&found));
                known.names = names;
                found
            }
        };
        let from = found.recovered_from();
        let from = from.map_or_else(|| log.first_lsn(), |manifest| Lsn::new(manifest.lsn));
        let after = match known.after.take() {
            Some(mut after) if known.from == from => after.read_on(&log).map(|()| after),
            _ => LogAfter::read(&log, from),
        };
        let after = after.map_err(|why| why.to_string());
        (known.after, known.from) = (after.as_ref().ok().cloned(), from);
        let is_due = known
            .letters_at
            .is_none_or(|at| now.saturating_sub(at) >= LETTERS_EVERY);
        if is_due {
            known.letters = self.letters()?;
            known.letters_at = Some(now);
        }
        let free = self
            .disk
            .free_bytes(&self.dir)
            .map_err(|e| Failure::Io(e.to_string()))?;
        Ok(Look {
            dir: self.dir.clone(),
            at_ms: self.clock.wall_ms(),
            found,
            log,
            after,
            from,
            free_bytes: free,
            letters: known.letters.clone(),
        })
    }

    /// The manifests that there are.
    fn names(&self, dir: &Path) -> Result<Vec<String>> {
        let listed = match self.disk.list(dir) {
            Ok(listed) => listed,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(e) => return Err(Failure::Io(e.to_string())),
        };
        let names = listed
            .into_iter()
            .filter_map(|entry| entry.name.into_string().ok());
        Ok(names.filter(|name| name.starts_with("manifest-")).collect())
    }

    /// Open dead letters, by operator.
    fn letters(&self) -> Result<BTreeMap<String, u64>> {
        let mut letters = BTreeMap::new();
        let all = DeadLetterFilter::all();
        let read = read_dead_letters(&self.disk, &self.dir, &all, |letter| {
            *letters.entry(letter.operator).or_default() += 1;
            Ok(())
        });
        read.map_err(|e| Failure::Io(e.to_string()))?;
        Ok(letters)
    }
}

impl Observed for Directory {
    fn snapshot(&self) -> std::result::Result<Snapshot, String> {
        let look = self.look().map_err(|why| why.to_string())?;
        shown::snapshot(&look).map_err(|why| why.to_string())
    }
}
