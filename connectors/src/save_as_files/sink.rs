//! The sink: stages, publishes, and recovers.

use super::files::Files;
use super::format::FileFormat;
use super::names::{FileState, Names};
use super::opening;
use super::pieces::{Content, Pieces, content_of};
use super::rename::rename_new;
use super::small_files::SmallFiles;
use super::token::Token;
use highwater_engine::wal::disk::{Disk, DiskFile};
use highwater_engine::{
    Batch, BoxError, InDoubt, Part, Records, SinkContext, SinkError, StagedPart, StagedSink,
};
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// The sink.
#[derive(Debug)]
pub(crate) struct FileSink<F> {
    /// If there are none, the error is reported when the sink opens.
    names: Result<Names, String>,
    format: F,
    parts_per_worker: bool,
    opened: Mutex<Option<Opened>>,
    run: Mutex<ThisRun>,
    small: Mutex<SmallFiles>,
}

/// What an open sink needs.
#[derive(Debug, Clone)]
struct Opened {
    disk: Arc<dyn Disk>,
    names: Names,
}

/// What this run has done for a batch, by the names of its files.
#[derive(Debug, Default)]
struct ThisRun {
    batch: u64,
    staged: BTreeSet<String>,
    published: BTreeSet<String>,
}

impl ThisRun {
    fn of(&mut self, batch: u64) -> &mut Self {
        if self.batch != batch {
            *self = Self {
                batch,
                ..Self::default()
            };
        }
        self
    }
}

impl<F> FileSink<F> {
    /// Resolves the path of `files` now. Their suffix is `suffix` unless they have one of their
    /// own.
    pub(crate) fn new(files: &Files, suffix: &str, format: F) -> Self {
        let suffix = files.suffix.as_deref().unwrap_or(suffix);
        Self {
            names: Names::resolve(&files.prefix, suffix),
            format,
            parts_per_worker: files.parts_per_worker,
            opened: Mutex::new(None),
            run: Mutex::default(),
            small: Mutex::default(),
        }
    }

    fn opened(&self) -> Result<Opened, BoxError> {
        let opened = self.opened.lock().clone();
        Ok(opened.ok_or("the sink was not opened")?)
    }

    /// Creates and writes the staged file. Does not sync it.
    fn write_staged<T>(
        &self,
        opened: &Opened,
        name: &str,
        batch: u64,
        records: &Records<'_, T>,
    ) -> Result<(Arc<dyn DiskFile>, Content), BoxError>
    where
        F: FileFormat<T>,
    {
        let again = self.run.lock().of(batch).staged.contains(name);
        let file = opened.create(name, again)?;
        self.run.lock().of(batch).staged.insert(name.to_owned());
        let mut pieces = Pieces::new(&*file);
        let written = match self.format.write(records, &mut pieces) {
            Ok(()) => pieces.finish().map_err(BoxError::from),
            Err(error) => Err(pieces
                .failure()
                .map_or_else(|| SinkError::permanent(error).into(), BoxError::from)),
        };
        if written.is_err() {
            // Half a file would take the room that others wait for. If it cannot be removed now,
            // the next attempt or `open` removes it.
            let _ = opened.disk.remove_file(&opened.names.staged(name));
        }
        written.map(|content| (file, content))
    }
}

impl Opened {
    /// Creates the staged file. Removes one that this run has made before.
    fn create(&self, name: &str, again: bool) -> Result<Arc<dyn DiskFile>, BoxError> {
        let (disk, path) = (&self.disk, self.names.staged(name));
        match disk.create_new(&path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && again => {
                disk.remove_file(&path)?;
                Ok(disk.create_new(&path)?)
            }
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Err(SinkError::permanent(format!(
                "{} exists and this program has not made it: it is not replaced. Find out which program writes here, then \
                 move it away and start again, or choose another prefix",
                path.display()
            ))
            .into()),
            created => Ok(created?),
        }
    }

    /// Syncs the directory. A sync that failed is not tried again.
    fn sync_dir(&self) -> Result<(), BoxError> {
        let synced = self.disk.sync_dir(&self.names.dir);
        synced.map_err(|error| SinkError::permanent(error).into())
    }

    /// Publishes a staged file, durably, unless it is published. What a run before this one has
    /// staged is read first.
    fn show(&self, token: &Token, staged_by_this_run: bool) -> Result<(), BoxError> {
        let name = &token.file;
        if self.names.parse(name).is_none() {
            return Err(SinkError::permanent(format!(
                "{name} is staged and committed, and {} are the files of this output now: start once with the prefix and \
                 suffix as they were, and stop",
                self.names.pattern()
            ))
            .into());
        }
        let (from, to) = (self.names.staged(name), self.names.published(name));
        if !staged_by_this_run {
            match content_of(&*self.disk, &from) {
                Ok(content) if token.is(content) => {}
                Ok(_) => return Err(damaged(&from)),
                Err(e) if e.kind() == io::ErrorKind::NotFound => return self.published(token),
                Err(error) => return Err(error.into()),
            }
        }
        match rename_new(&*self.disk, &self.names.dir, &from, &to) {
            Ok(()) => self.sync_dir(),
            Err(e) if e.kind() == io::ErrorKind::NotFound => self.published(token),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                self.compare(token, &from, &to)?;
                self.sync_dir()?;
                self.disk.remove_file(&from)?;
                self.sync_dir()
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The staged file is gone: it must be published.
    fn published(&self, token: &Token) -> Result<(), BoxError> {
        let (from, to) = (
            self.names.staged(&token.file),
            self.names.published(&token.file),
        );
        match content_of(&*self.disk, &to) {
            Ok(content) if token.is(content) => self.sync_dir(),
            Ok(_) => Err(damaged(&to)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Err(SinkError::permanent(format!(
                "a part of a committed batch is missing: {} was staged and is gone, and {} is not there either. Put it back. \
                 If another program took {} right after it was published, put an equal file there for this start",
                from.display(),
                to.display(),
                to.display()
            ))
            .into()),
            Err(error) => Err(error.into()),
        }
    }

    /// The name is taken: by this file, on a file system where a crash may leave both names, or by
    /// another one.
    fn compare(&self, token: &Token, from: &Path, to: &Path) -> Result<(), BoxError> {
        let why = match content_of(&*self.disk, to) {
            Ok(content) if token.is(content) => return Ok(()),
            Ok(_) => "is not what this batch wrote".to_owned(),
            Err(error) => format!("cannot be compared with what this batch wrote ({error})"),
        };
        Err(SinkError::permanent(format!(
            "{to} exists and {why}: it is not replaced. The batch's own records are in {from}; move {to} away \
             and start again, and they are published",
            to = to.display(),
            from = from.display()
        ))
        .into())
    }
}

fn damaged(path: &Path) -> BoxError {
    let path = path.display();
    SinkError::permanent(format!(
        "{path} does not hold what was staged of a committed batch: another program has changed it, or it is damaged. Put it \
         back from a copy"
    ))
    .into()
}

impl<T, F> StagedSink<T> for FileSink<F>
where
    T: Send + 'static,
    F: FileFormat<T>,
{
    fn max_parts(&self) -> usize {
        match self.parts_per_worker {
            true => usize::MAX,
            false => 1,
        }
    }

    fn open(&self, context: &SinkContext) -> Result<(), BoxError> {
        let opened = Opened {
            disk: Arc::clone(&context.disk),
            names: self.names.clone()?,
        };
        let mut listed = BTreeSet::new();
        if let InDoubt::Listed { parts, .. } = &context.in_doubt {
            for part in &**parts {
                listed.insert(Token::decode(&part.token)?.file);
            }
        }
        for found in opening::take_over(&*opened.disk, &opened.names, context)? {
            assert_eq!(
                found.stage,
                FileState::Staged,
                "only staged files are left over"
            );
            let path = opened.names.staged(&found.name);
            let committed = context
                .committed
                .is_some_and(|newest| found.batch <= newest);
            if !committed {
                opened.disk.remove_file(&path)?;
                opened.sync_dir()?;
            } else if let InDoubt::Unlisted { .. } = context.in_doubt {
                let content = content_of(&*opened.disk, &path)?;
                opened.show(&Token::new(found.name, content), true)?;
            } else if !listed.contains(&found.name) {
                tracing::warn!(
                    file = %path.display(),
                    "a staged file of a committed batch that does not belong to it is left where it is"
                );
            }
        }
        *self.opened.lock() = Some(opened);
        Ok(())
    }

    fn stage(
        &self,
        batch: &Batch,
        part: Part,
        records: &Records<'_, T>,
    ) -> Result<Option<Vec<u8>>, BoxError> {
        if records.is_empty() {
            return Ok(None);
        }
        let opened = self.opened()?;
        let part = self.parts_per_worker.then_some(part.number);
        let name = opened.names.file(batch.time_ms, batch.id, part);
        let (file, content) = self.write_staged(&opened, &name, batch.id, records)?;
        file.sync().map_err(SinkError::permanent)?;
        opened.sync_dir()?;
        if let Some((files, average)) = self.small.lock().wrote(content.bytes) {
            tracing::warn!(
                files,
                average,
                newest = %opened.names.published(&name).display(),
                "an output has written many small files (bytes on average): a longer batch interval, or a window before the output, \
                 makes fewer and larger ones"
            );
        }
        Ok(Some(Token::new(name, content).encode()?))
    }

    fn publish(&self, batch: &Batch, parts: &[StagedPart]) -> Result<(), BoxError> {
        let opened = self.opened()?;
        for part in parts {
            let token = Token::decode(&part.token)?;
            let mut run = self.run.lock();
            let run = run.of(batch.id);
            if run.published.contains(&token.file) {
                continue;
            }
            opened.show(&token, run.staged.contains(&token.file))?;
            run.published.insert(token.file);
        }
        Ok(())
    }
}
