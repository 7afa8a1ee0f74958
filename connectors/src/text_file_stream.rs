//! `text_file_stream`: the lines of files that are moved into a directory.
//!
//! How far a file was read is kept by the engine's producer table: the file is the producer, and the sequence number of a
//! line is the offset behind it. So progress is in the log, in the same frame as the lines, and can neither be ahead of
//! them nor behind. The table forgets the producers that were silent longest; [`TextFiles::refresh`] sees to it that
//! this is never a file that is still there, which would be read again after a restart.

use crate::lines::{Limits, LineBuffer, Piece, check_utf8};
use crate::paths::resolve;
use highwater_engine::wal::Lsn;
use highwater_engine::wal::disk::{Access, Disk, DiskFile, Entry, EntryKind};
use highwater_engine::{BoxError, Error, Receiver, SourceContext};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How long the directory is left alone between two looks.
const POLL: Duration = Duration::from_millis(500);
/// ... and when there was trouble.
const POLL_AFTER_TROUBLE: Duration = Duration::from_secs(2);
/// Lines that are stored at a time, at most.
const MAX_ROUND_LINES: usize = 8192;

/// Files in the directory that were read, at most.
const MAX_DONE_FILES: usize = 32_768;
/// Files that are read between two refreshes.
const REFRESH_FILES: usize = 8192;

// The entry of a file that is still there is never older than these: all that are there, and those read since they were
// refreshed.
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
    /// Files read since the last refresh; none was made yet if `None`.
    since_refresh: Option<usize>,
}

/// What tells a file from another one of the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    len: u64,
    modified_ms: u64,
}

/// What keeps a file from being read.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    /// It concerns this file only.
    #[error("{0}")]
    File(String),
    /// The log takes nothing.
    #[error(transparent)]
    Log(#[from] Error),
}

/// How the reading of a file ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Whole,
    Stopping,
}

/// A file that is being read.
struct Reading<'a> {
    source: &'a SourceContext,
    path: PathBuf,
    producer: String,
    file: Arc<dyn DiskFile>,
    len: u64,
    limits: Limits,
    newest: Option<Lsn>,
}

impl Identity {
    fn of(entry: &Entry) -> Self {
        Self {
            len: entry.len,
            modified_ms: entry.modified_ms,
        }
    }

    /// The file's name among the producers. Escaped, so that names that are not UTF-8 stay different.
    fn producer(self, name: &OsStr) -> String {
        format!(
            "{}:{}:{}",
            self.len,
            self.modified_ms,
            name.as_encoded_bytes().escape_ascii()
        )
    }
}

fn is_wanted(entry: &Entry) -> bool {
    let name = entry.name.as_encoded_bytes();
    let unfinished =
        name.starts_with(b".") || name.ends_with(b".tmp") || name.ends_with(b"._COPYING_");
    entry.kind == EntryKind::File && !unfinished
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
            since_refresh: None,
        }
    }

    /// Looks once; returns how long to rest.
    fn look(
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
                Err(Trouble::File(what)) => {
                    source.report_error(&what.into());
                    rest = POLL_AFTER_TROUBLE;
                }
                Err(Trouble::Log(error)) => return Err(error.into()),
            }
        }
        Ok(rest)
    }

    /// The files to read, in order.
    fn unread(&mut self, source: &SourceContext, disk: &dyn Disk) -> Result<Vec<Entry>, BoxError> {
        let mut found = disk.list(&self.dir)?;
        found.retain(is_wanted);
        let names: BTreeMap<&OsStr, Identity> = found
            .iter()
            .map(|e| (e.name.as_os_str(), Identity::of(e)))
            .collect();
        self.done.retain(|name, was| match names.get(name.as_os_str()) {
            Some(is) if is != was => {
                tracing::warn!(
                    source = source.name(),
                    file = %self.dir.join(name).display(),
                    "the file has changed since it was read: it counts as a new file and is read again. Move files in \
                     when they are complete, and do not change them"
                );
                false
            }
            Some(_) => true,
            None => false,
        });
        found.retain(|entry| !self.done.contains_key(&entry.name));
        found.retain(|entry| {
            let identity = Identity::of(entry);
            let whole = source.last_sequence(&identity.producer(&entry.name)) == Some(identity.len);
            if whole {
                self.done.insert(entry.name.clone(), identity);
            }
            !whole
        });
        found.sort_by(|a, b| (a.modified_ms, &a.name).cmp(&(b.modified_ms, &b.name)));
        Ok(found)
    }

    /// Makes sure that another file can be read without one that is still there being forgotten.
    fn make_room(&mut self, source: &SourceContext) -> Result<(), BoxError> {
        if self.done.len() >= MAX_DONE_FILES {
            return Err(format!(
                "{} holds {} files that were read, and the progress of no more than that can be remembered: move or \
                 delete some of them; reading goes on then",
                self.dir.display(),
                self.done.len()
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

    /// Says again that the files that are still there were read, so that their entries are among the newest.
    fn refresh(&self, source: &SourceContext) -> Result<(), Error> {
        for (name, identity) in &self.done {
            let _durable_with_what_follows = source.mark(&identity.producer(name), identity.len)?;
        }
        Ok(())
    }

    fn read(
        &self,
        source: &SourceContext,
        disk: &dyn Disk,
        entry: &Entry,
        limits: Limits,
    ) -> Result<Ended, Trouble> {
        let path = self.dir.join(&entry.name);
        let file = disk.open(&path, Access::Read).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => Trouble::File(format!(
                "{} is gone before it was read: nothing of it is in the log",
                path.display()
            )),
            _ => Trouble::File(e.to_string()),
        })?;
        let len = file.len().map_err(|e| Trouble::File(e.to_string()))?;
        if len != entry.len {
            let path = path.display();
            let was = entry.len;
            return Err(Trouble::File(format!(
                "{path} is changing: it had {was} bytes and has {len}; it is looked at again later"
            )));
        }
        let producer = Identity::of(entry).producer(&entry.name);
        Reading {
            source,
            path,
            producer,
            file,
            len,
            limits,
            newest: None,
        }
        .run()
    }
}

impl Reading<'_> {
    fn run(mut self) -> Result<Ended, Trouble> {
        let known = self.source.last_sequence(&self.producer);
        let mut position = known.unwrap_or(0);
        let mut buffer = LineBuffer::new(self.limits.max_line_bytes, position);
        while position < self.len {
            if self.source.is_stopping() {
                return Ok(Ended::Stopping);
            }
            position += self.fill(&mut buffer, position)?;
            loop {
                let pieces = buffer.take(MAX_ROUND_LINES);
                if pieces.is_empty() {
                    break;
                }
                self.store(&buffer, &pieces)?;
            }
        }
        let last: Vec<Piece> = buffer.finish().into_iter().collect();
        self.store(&buffer, &last)?;
        if self.source.last_sequence(&self.producer) != Some(self.len) {
            // It ends in lines that were skipped, or is empty: nothing else says that it was read to its end.
            self.newest = self
                .newest
                .max(Some(self.source.mark(&self.producer, self.len)?));
        }
        if let Some(newest) = self.newest {
            self.source.sync_to(newest)?;
        }
        Ok(Ended::Whole)
    }

    /// Reads some bytes at `position`; returns how many.
    fn fill(&self, buffer: &mut LineBuffer, position: u64) -> Result<u64, Trouble> {
        let left = usize::try_from(self.len - position).unwrap_or(usize::MAX);
        loop {
            let read = buffer.fill(|room| {
                let wanted = room.len().min(left);
                self.file
                    .read_at(room.get_mut(..wanted).unwrap_or_default(), position)
            });
            match read {
                Ok(0) => {
                    return Err(Trouble::File(format!(
                        "{} was cut short while it was read: it ends at byte {position} of {}. The lines up to there are \
                         in the log; what is left counts as a new file",
                        self.path.display(),
                        self.len
                    )));
                }
                Ok(count) => return Ok(count as u64),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => {
                    return Err(Trouble::File(format!(
                        "{e}, at byte {position}. The lines up to there are in the log, the rest is tried again"
                    )));
                }
            }
        }
    }

    fn store(&mut self, buffer: &LineBuffer, pieces: &[Piece]) -> Result<(), Trouble> {
        let lines: Vec<(u64, &[u8])> = pieces
            .iter()
            .filter_map(|piece| self.accept(buffer, piece))
            .collect();
        for group in self.limits.groups(&lines, |(_, line)| line.len()) {
            self.newest = self
                .newest
                .max(self.source.append_once(&self.producer, group)?.lsn);
        }
        Ok(())
    }

    fn accept<'b>(&self, buffer: &'b LineBuffer, piece: &Piece) -> Option<(u64, &'b [u8])> {
        let (at, why) = match piece {
            Piece::TooLong { at } => (
                *at,
                format!("longer than {} bytes", self.limits.max_line_bytes),
            ),
            Piece::Line { range, at, next } => {
                let line = buffer.bytes(range);
                match check_utf8(line) {
                    Ok(()) => return Some((*next, line)),
                    Err(wrong) => (*at, format!("not utf-8: the byte at {wrong} of the line")),
                }
            }
        };
        self.source.skip(&format!(
            "line at byte {at} of {}: {why}",
            self.path.display()
        ));
        None
    }
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
            let rest = self.look(source, &*disk, limits)?;
            if source.rest(rest) {
                return Ok(());
            }
        }
    }
}
