//! `text_file_stream`: the lines of files that are moved into a directory.
//!
//! The engine's producer table keeps how far a file was read. The file is the producer, and the
//! sequence number of a line is the offset after it. So progress is in the log, in the same frame
//! as the lines, and always agrees with them. The table forgets the producers that were silent
//! longest; [`TextFiles::refresh`] makes sure that it never forgets a file that is still there:
//! that would be read again after a restart.
//!
//! | file | holds |
//! |---|---|
//! | `known` | the entries of files in the producer table: which version was read, and how far |
//! | `reading` | reading one file |

mod known;
mod reading;

use crate::file_stream::is_wanted;
use crate::lines::Limits;
use crate::paths::resolve;
use highwater_engine::wal::disk::{Access, Disk, DiskFile, Entry};
use highwater_engine::{BoxError, Error, Receiver, SourceContext};
use known::{Identity, Known, Version, escaped};
use reading::{Ended, ReadError, Reading};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How often the directory is listed.
const POLL: Duration = Duration::from_millis(500);
/// ... and after an error.
const POLL_AFTER_ERROR: Duration = Duration::from_secs(2);

/// Files in the directory that were read, at most.
const MAX_DONE_FILES: usize = 32_768;
/// Files that are read between two refreshes.
const REFRESH_FILES: usize = 8192;

// The entry of a file that is still there is never older than these: all that are there, and those
// read since they were refreshed.
const _: () = assert!(MAX_DONE_FILES + REFRESH_FILES < SourceContext::PRODUCER_WINDOW);

/// The receiver.
#[derive(Debug)]
pub(crate) struct TextFiles {
    dir: PathBuf,
    /// Why `dir` is not absolute.
    unresolved: Option<String>,
    limits: Option<Limits>,
    /// The files that are there and need no more attention.
    done: BTreeMap<OsString, Identity>,
    /// The files that are there and of which something was taken; not looked up yet if `None`.
    known: Option<Known>,
    /// Files read since the last refresh; none was made yet if `None`.
    since_refresh: Option<usize>,
}

impl TextFiles {
    /// Resolves `dir` now.
    pub(crate) fn new(dir: &Path) -> Self {
        let resolved = resolve(dir);
        Self {
            unresolved: resolved.as_ref().err().cloned(),
            dir: resolved.unwrap_or_else(|_| dir.to_owned()),
            limits: None,
            done: BTreeMap::new(),
            known: None,
            since_refresh: None,
        }
    }

    /// Lists the directory once; returns how long to wait.
    fn poll(
        &mut self,
        source: &SourceContext,
        disk: &dyn Disk,
        limits: Limits,
    ) -> Result<Duration, BoxError> {
        let mut rest = POLL;
        for entry in self.unread(source, disk)? {
            if source.is_stopping() {
                break;
            }
            self.make_room(source)?;
            match self.read(source, disk, &entry, limits) {
                Ok(Ended::Stopping) => break,
                Ok(Ended::Whole) => {
                    self.done.insert(entry.name.clone(), Identity::of(&entry));
                    self.since_refresh = self.since_refresh.map(|files| files + 1);
                }
                Err(ReadError::File(what)) => {
                    source.report_error(&what.into());
                    rest = POLL_AFTER_ERROR;
                }
                Err(ReadError::Log(error)) => return Err(error.into()),
            }
        }
        Ok(rest)
    }

    /// The files to read, in order.
    fn unread(&mut self, source: &SourceContext, disk: &dyn Disk) -> Result<Vec<Entry>, BoxError> {
        let mut found = disk.list(&self.dir)?;
        found.retain(is_wanted);
        self.report_vanished(source, &found)?;
        let there: BTreeMap<_, _> = found.iter().map(|e| (&e.name, Identity::of(e))).collect();
        self.done.retain(|name, was| there.get(name) == Some(was));
        found.retain(|entry| !self.done.contains_key(&entry.name));
        found.retain(|entry| {
            let identity = Identity::of(entry);
            let whole = source.last_sequence(&identity.producer(&entry.name)) == Some(identity.len);
            if whole {
                self.done.insert(entry.name.clone(), identity);
                self.note(entry, Version::new(identity, identity.len));
            }
            !whole
        });
        found.sort_by(|a, b| (a.modified_ms, &a.name).cmp(&(b.modified_ms, &b.name)));
        Ok(found)
    }

    /// Reports files that were read in part and are gone.
    fn report_vanished(&mut self, source: &SourceContext, found: &[Entry]) -> Result<(), Error> {
        let known = self.known.get_or_insert_with(|| known::load(source));
        let there: BTreeSet<String> = found.iter().map(|e| escaped(&e.name)).collect();
        for (name, version) in known::take_vanished(known, &there) {
            let (taken, len) = (version.taken, version.identity.len);
            let lines = version
                .lines
                .map_or(String::new(), |n| format!(" ({n} lines)"));
            source.vanished(&format!(
                "{} is gone and was read up to byte {taken} of {len}: the lines up to there{lines} are in the log and count \
                 once, the rest is not. If it comes back unchanged, reading goes on there",
                self.dir.join(&name).display()
            ));
            let _durable_with_what_follows =
                source.advance_producer(&known::reported_as(&name, version), taken)?;
            self.since_refresh = self.since_refresh.map(|files| files + 1);
        }
        Ok(())
    }

    /// Notes how far a file was read.
    fn note(&mut self, entry: &Entry, version: Version) {
        let known = self.known.get_or_insert_default();
        known.insert(escaped(&entry.name), version);
    }

    /// Reports that a file is read again, if another version of it was read; once for each version.
    fn begin(&mut self, source: &SourceContext, entry: &Entry) -> Version {
        let identity = Identity::of(entry);
        let before = self
            .known
            .as_ref()
            .and_then(|k| k.get(&escaped(&entry.name)).copied());
        if let Some(same) = before.filter(|version| version.identity == identity) {
            return same;
        }
        let taken = source
            .last_sequence(&identity.producer(&entry.name))
            .unwrap_or(0);
        let version = Version::new(identity, taken);
        if let Some(was) = before.filter(|was| was.taken > 0 && taken == 0) {
            let read = if was.is_half() {
                format!("{} of its {} bytes were read", was.taken, was.identity.len)
            } else {
                "it was read".to_owned()
            };
            source.read_again(&format!(
                "{} has changed since {read}: {}. It counts as a new file and is read again from its beginning; what was \
                 taken from it before stays and may count twice. Move files in when they are complete, and do not change them",
                self.dir.join(&entry.name).display(),
                was.identity.difference(identity)
            ));
        }
        self.note(entry, version);
        version
    }

    /// Makes sure that another file can be read without one that is still there being forgotten.
    fn make_room(&mut self, source: &SourceContext) -> Result<(), BoxError> {
        let half = self.half_read().count();
        if self.done.len() + half >= MAX_DONE_FILES {
            return Err(format!(
                "{} holds {} files that were read, and the progress of no more than that can be remembered: move or \
                 delete some of them; reading goes on then",
                self.dir.display(),
                self.done.len() + half
            )
            .into());
        }
        if self
            .since_refresh
            .is_none_or(|files| files >= REFRESH_FILES)
        {
            self.refresh(source)?;
            self.since_refresh = Some(0);
        }
        Ok(())
    }

    /// The files that are there and were read in part.
    fn half_read(&self) -> impl Iterator<Item = (&String, &Version)> {
        let known = self.known.iter().flatten();
        known.filter(|(_, version)| version.is_half())
    }

    /// Writes again how far the files that are still there were read, so that their entries are
    /// among the newest.
    fn refresh(&self, source: &SourceContext) -> Result<(), Error> {
        for (name, version) in self.half_read() {
            let _durable_with_what_follows =
                source.advance_producer(&version.identity.producer_of(name), version.taken)?;
        }
        for (name, identity) in &self.done {
            let _durable_with_what_follows =
                source.advance_producer(&identity.producer(name), identity.len)?;
        }
        Ok(())
    }

    fn read(
        &mut self,
        source: &SourceContext,
        disk: &dyn Disk,
        entry: &Entry,
        limits: Limits,
    ) -> Result<Ended, ReadError> {
        let path = self.dir.join(&entry.name);
        let (file, len) = open(disk, &path, entry)?;
        let before = self.begin(source, entry);
        let producer = before.identity.producer(&entry.name);
        let mut reading = Reading {
            source,
            path,
            producer,
            file,
            len,
            limits,
            newest: None,
            lines: 0,
        };
        let ended = reading.run();
        let lines = before.lines.map(|lines| lines + reading.lines);
        let taken = source.last_sequence(&reading.producer).unwrap_or(0);
        self.note(
            entry,
            Version {
                taken,
                lines,
                ..before
            },
        );
        ended
    }
}

fn open(
    disk: &dyn Disk,
    path: &Path,
    entry: &Entry,
) -> Result<(Arc<dyn DiskFile>, u64), ReadError> {
    let file = disk.open(path, Access::Read).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => ReadError::File(format!(
            "{} was gone when it was to be read: nothing was taken from it now",
            path.display()
        )),
        _ => ReadError::File(e.to_string()),
    })?;
    let len = file.len().map_err(|e| ReadError::File(e.to_string()))?;
    if len != entry.len {
        let path = path.display();
        let was = entry.len;
        return Err(ReadError::File(format!(
            "{path} is changing: it had {was} bytes and has {len}; it is looked at again later"
        )));
    }
    Ok((file, len))
}

impl Receiver for TextFiles {
    fn open(&mut self, source: &SourceContext) -> Result<(), BoxError> {
        if let Some(why) = &self.unresolved {
            return Err(why.clone().into());
        }
        self.limits = Some(Limits::of(source, None)?);
        source.disk().list(&self.dir)?;
        Ok(())
    }

    fn run(&mut self, source: &SourceContext) -> Result<(), BoxError> {
        let Some(limits) = self.limits else {
            return Err("run was called before open".into());
        };
        let disk = source.disk();
        loop {
            let rest = self.poll(source, &*disk, limits)?;
            if source.rest(rest) {
                return Ok(());
            }
        }
    }
}
