//! What a replay beside the program that writes a directory begins with: copies of a checkpoint and
//! of the log from there on. The directory is only read, without a lock: it may be in use.

use crate::engine_log::log_view::LogView;
use crate::error::{Error, Result};
use crate::recovery::origin::newest;
use crate::settings::Settings;
use highwater_checkpoint::{
    Checkpoint, Checkpoints, Inspected, LocalStore, LogBounds, Store, Validity, copy_checkpoints,
    open_url,
};
use highwater_wal::Lsn;
use highwater_wal::inspect::Log;
use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

/// Where a replay begins: see [`Builder::replay_beside`](crate::Builder::replay_beside).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ReplayFrom {
    /// At the oldest checkpoint that is retained.
    #[default]
    Oldest,
    /// At the checkpoint of this number.
    Checkpoint(u64),
    /// At the newest retained checkpoint that is not above this LSN. If there is none, and the log
    /// still has its beginning: there, without any state.
    Lsn(u64),
    /// At the savepoint in the store at this URL, if it was taken of this log and the log still
    /// reaches back to it.
    Savepoint(String),
}

/// `oldest`, the number of a checkpoint, `lsn:` and an LSN, or the URL of a savepoint.
impl FromStr for ReplayFrom {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let number = |text: &str| text.parse::<u64>().ok();
        let lsn = text.strip_prefix("lsn:").map(number);
        match (text, lsn, number(text)) {
            ("" | "oldest", ..) => Ok(Self::Oldest),
            (_, Some(Some(lsn)), _) => Ok(Self::Lsn(lsn)),
            (_, _, Some(number)) => Ok(Self::Checkpoint(number)),
            (url, None, _) if url.contains("://") => Ok(Self::Savepoint(url.to_owned())),
            _ => Err(Error::Setting(format!(
                "a replay cannot begin at \"{text}\": give the number of a checkpoint, lsn:N, the URL of a savepoint, or oldest"
            ))),
        }
    }
}

impl fmt::Display for ReplayFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Oldest => f.write_str("oldest"),
            Self::Checkpoint(number) => write!(f, "{number}"),
            Self::Lsn(lsn) => write!(f, "lsn:{lsn}"),
            Self::Savepoint(url) => f.write_str(url),
        }
    }
}

/// A directory in which a replay can run.
pub(crate) struct Beside {
    pub(crate) dir: PathBuf,
    /// The checkpoint that it begins with, and the last batch in it; `None` for the beginning of
    /// the log.
    pub(crate) from: Option<(u64, u64)>,
    /// The newest checkpoint of the directory that was copied, and the last batch in it.
    pub(crate) until: (u64, u64),
}

/// Where a copy of the checkpoint is that the result is compared with.
const BEFORE: &str = "before";

impl Beside {
    /// Copies into `dir` what a replay needs. Everything is there when it returns.
    ///
    /// # Errors
    /// [`Error::Replay`] if the replay cannot begin where `from` says, or `dir` is not empty;
    /// [`Error::Log`] and [`Error::Checkpoint`] for what is on disk.
    pub(crate) fn copy(settings: &Settings, dir: &Path, from: &ReplayFrom) -> Result<Self> {
        let dir = new_directory(settings, dir)?;
        let source = Source::read(settings)?;
        let until = source.newest()?;
        let begins = source.origin(from, until)?;
        let local = |name: &str| LocalStore::new(Arc::clone(&settings.disk), dir.join(name));
        if let Some((store, checkpoint)) = &begins {
            copy_checkpoints(&**store, &[checkpoint.number()], &local("checkpoints"))?;
        }
        let lsn = begins
            .as_ref()
            .map_or(Lsn::ZERO, |(_, c)| Lsn::new(c.lsn()));
        source.log.copy_from(lsn, dir.join("log"))?;
        copy_checkpoints(&*source.store, &[until.number()], &local(BEFORE))?;
        Ok(Self {
            dir,
            from: begins.as_ref().map(|(_, checkpoint)| named(checkpoint)),
            until: named(until),
        })
    }
}

fn named(checkpoint: &Checkpoint) -> (u64, u64) {
    (checkpoint.number(), checkpoint.manifest().batch.id)
}

/// The directory, which must not exist or be empty, and must not lie in the one that is read.
fn new_directory(settings: &Settings, dir: &Path) -> Result<PathBuf> {
    let failed = |dir: &Path, error| Error::Replay(format!("{}: {error}", dir.display()));
    let resolved = |dir: &Path| settings.disk.resolve(dir).map_err(|e| failed(dir, e));
    let (new, old) = (resolved(dir)?, resolved(&settings.dir)?);
    if new.starts_with(&old) || old.starts_with(&new) {
        return Err(Error::Replay(format!(
            "{} must lie outside of {}, and that outside of it",
            new.display(),
            old.display()
        )));
    }
    match settings.disk.list(&new) {
        Ok(entries) if entries.is_empty() => Ok(new),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(new),
        Ok(_) => Err(Error::Replay(format!(
            "{} is not empty: name a new directory",
            new.display()
        ))),
        Err(error) => Err(failed(&new, error)),
    }
}

/// A directory that is read.
struct Source {
    log: Log,
    bounds: LogBounds,
    store: Arc<dyn Store>,
    found: Vec<Inspected>,
    /// Those that are valid and fit the log, newest first.
    usable: Vec<Checkpoint>,
}

/// The store of the checkpoint that a replay begins with, and the checkpoint.
type Begins = Option<(Arc<dyn Store>, Checkpoint)>;

impl Source {
    fn read(settings: &Settings) -> Result<Self> {
        let log = Log::open(Arc::clone(&settings.disk), settings.dir.join("log"))?;
        let store = settings.own_checkpoint_store();
        let found = Checkpoints::inspect(&store)?;
        // After the checkpoints, so that it is not taken to end before one of them.
        let bounds = LogBounds {
            log_id: log.log_id(),
            first_lsn: log.first_lsn().get(),
            end_lsn: LogView::Looked(&log).end_lsn()?.get(),
        };
        let valid = found.iter().filter(|one| one.validity == Validity::Valid);
        let valid = valid.filter_map(|one| one.manifest.clone());
        let valid = valid.map(|manifest| Checkpoint::of_manifest(Arc::clone(&store), manifest));
        Ok(Self {
            usable: valid.filter(|c| c.check_log(&bounds).is_ok()).collect(),
            log,
            bounds,
            store,
            found,
        })
    }

    /// The checkpoint that a replay runs up to.
    fn newest(&self) -> Result<&Checkpoint> {
        self.usable.first().ok_or_else(|| {
            Error::Replay(format!(
                "there is no checkpoint in {} that fits the log: there is nothing to compare with",
                self.store.place()
            ))
        })
    }

    /// What the replay up to `until` begins with.
    fn origin(&self, from: &ReplayFrom, until: &Checkpoint) -> Result<Begins> {
        let begins = match from {
            ReplayFrom::Oldest => self.own(self.usable.last()),
            ReplayFrom::Checkpoint(number) => self.own(Some(self.numbered(*number)?)),
            ReplayFrom::Lsn(lsn) => self.own(self.at_or_below(*lsn)?),
            ReplayFrom::Savepoint(url) => Some(self.savepoint(url)?),
        };
        match &begins {
            Some((_, first)) if first.manifest().batch.id >= until.manifest().batch.id => {
                Err(Error::Replay(format!(
                    "it would begin after batch {}, and the newest checkpoint, {}, is that of batch {}: no batch lies between them. Begin earlier (lsn:0 is the beginning of the log, if that is still there), or wait for the next checkpoint",
                    first.manifest().batch.id,
                    until.number(),
                    until.manifest().batch.id
                )))
            }
            _ => Ok(begins),
        }
    }

    fn own(&self, checkpoint: Option<&Checkpoint>) -> Begins {
        checkpoint.map(|checkpoint| (Arc::clone(&self.store), checkpoint.clone()))
    }

    fn numbered(&self, number: u64) -> Result<&Checkpoint> {
        if let Some(usable) = self.usable.iter().find(|one| one.number() == number) {
            return Ok(usable);
        }
        let numbers: Vec<String> = self.usable.iter().map(|c| c.number().to_string()).collect();
        let usable = format!("usable are: {}", numbers.join(", "));
        let Some(found) = self.found.iter().find(|one| one.number == number) else {
            return Err(Error::Replay(format!(
                "there is no checkpoint {number} in {}; {usable}",
                self.store.place()
            )));
        };
        match (&found.validity, &found.manifest) {
            (Validity::Damaged(why) | Validity::NewerFormat(why), _) => Err(Error::Replay(
                format!("checkpoint {number} cannot be used: {why}; {usable}"),
            )),
            (Validity::Valid, Some(manifest)) => {
                let store = Arc::clone(&self.store);
                let misfit = Checkpoint::of_manifest(store, manifest.clone());
                misfit.check_log(&self.bounds)?;
                Err(Error::Replay(format!(
                    "checkpoint {number} has changed meanwhile; {usable}"
                )))
            }
            (Validity::Valid, None) => Err(Error::Replay(format!(
                "checkpoint {number} has no manifest; {usable}"
            ))),
        }
    }

    /// The newest checkpoint that is not above `lsn`; `None` for the beginning of the log.
    fn at_or_below(&self, lsn: u64) -> Result<Option<&Checkpoint>> {
        let found = self.usable.iter().find(|one| one.lsn() <= lsn);
        let first = self.log.first_lsn();
        if found.is_none() && first > Lsn::ZERO {
            let oldest = self.usable.last().map_or(0, Checkpoint::lsn);
            return Err(Error::Replay(format!(
                "there is no checkpoint at or below LSN {lsn} (the oldest is at LSN {oldest}), and the log begins only at LSN {first}: what came before is gone"
            )));
        }
        Ok(found)
    }

    fn savepoint(&self, url: &str) -> Result<(Arc<dyn Store>, Checkpoint)> {
        let store = open_url(url).map_err(|error| Error::Setting(error.to_string()))?;
        let found = newest(&store)?;
        let found = found
            .ok_or_else(|| Error::Replay(format!("there is no savepoint in {}", store.place())))?;
        found.check_log(&self.bounds)?;
        Ok((store, found))
    }
}
