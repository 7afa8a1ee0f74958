//! The sink: stages, publishes, and recovers.

use super::names::{FileState, Names};
use super::opening;
use super::rename::{rename_new, same_content};
use highwater_engine::wal::disk::{Disk, DiskFile, raw_os_error};
use highwater_engine::{Backoff, Batch, BoxError, Guarantee, Sink, SinkContext};
use std::fmt::{Display, Write as _};
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Text is written in pieces of about this size.
const PIECE_BYTES: usize = 256 << 10;
/// `EMFILE` and `ENFILE` of Linux, for which `io::ErrorKind` has no name.
const TOO_MANY_OPEN: i32 = 24;
const TOO_MANY_OPEN_SYSTEM: i32 = 23;

/// The sink.
#[derive(Debug)]
pub(crate) struct TextFileSink {
    /// If there are none, the error is reported when the sink opens.
    names: Result<Names, String>,
    opened: Option<Opened>,
    /// The batch whose staged file this run has made.
    begun: Option<u64>,
    /// The batch that was staged and not yet published, and its file name.
    staged: Option<(u64, String)>,
}

/// What an open sink needs.
#[derive(Debug, Clone)]
struct Opened {
    disk: Arc<dyn Disk>,
    names: Names,
    backoff: Backoff,
}

impl TextFileSink {
    /// Resolves the path of `prefix` now.
    pub(crate) fn new(prefix: &Path, suffix: &str) -> Self {
        Self {
            names: Names::resolve(prefix, suffix),
            opened: None,
            begun: None,
            staged: None,
        }
    }

    fn opened(&self) -> Result<Opened, BoxError> {
        Ok(self.opened.clone().ok_or("the sink was not opened")?)
    }

    /// Creates and writes the staged file as soon as there is room. Does not sync it.
    fn write_staged<T: Display>(
        &mut self,
        opened: &Opened,
        name: &str,
        batch: u64,
        records: &[T],
    ) -> Result<Arc<dyn DiskFile>, BoxError> {
        loop {
            let created = opened.create(name, self.begun == Some(batch));
            if created.is_ok() {
                self.begun = Some(batch);
            }
            let written = created.and_then(|file| write(&*file, records).map(|()| file));
            match written {
                Err(error) if may_pass(&error) => {
                    if self.begun == Some(batch) {
                        // Half a file would take the room that others wait for. If it cannot be
                        // removed now, `open` removes it.
                        let _ = opened.disk.remove_file(&opened.names.staged(name));
                    }
                    if !opened.backoff.wait(&error) {
                        return Err(error);
                    }
                }
                other => return other,
            }
        }
    }
}

impl Opened {
    /// Creates the staged file. Removes a half one of this run first.
    fn create(&self, name: &str, again: bool) -> Result<Arc<dyn DiskFile>, BoxError> {
        let (disk, path) = (&self.disk, self.names.staged(name));
        match disk.create_new(&path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && again => {
                disk.remove_file(&path)?;
                Ok(disk.create_new(&path)?)
            }
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Err(format!(
                "{} exists and this program has not made it: it is not replaced. Find out which program writes here, then \
                 move it away and start again, or choose another prefix",
                path.display()
            )
            .into()),
            created => Ok(created?),
        }
    }

    /// Publishes a staged file, durably. A run that a crash ended may have published it already.
    fn show(&self, name: &str) -> Result<(), BoxError> {
        let (disk, dir) = (&*self.disk, &self.names.dir);
        let (from, to) = (self.names.staged(name), self.names.published(name));
        loop {
            match rename_new(disk, dir, &from, &to) {
                Ok(()) => return Ok(disk.sync_dir(dir)?),
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => break,
                Err(error) => {
                    let error = error.into();
                    if !(may_pass(&error) && self.backoff.wait(&error)) {
                        return Err(error);
                    }
                }
            }
        }
        let why = match same_content(disk, &from, &to) {
            Ok(true) => None,
            Ok(false) => Some("is not what this batch wrote".to_owned()),
            Err(error) => Some(format!(
                "cannot be compared with what this batch wrote ({error})"
            )),
        };
        if let Some(why) = why {
            return Err(format!(
                "{to} exists and {why}: it is not replaced. The batch's own records are in {from}; move {to} away \
                 and start again, and they are published",
                to = to.display(),
                from = from.display()
            )
            .into());
        }
        disk.sync_dir(dir)?;
        disk.remove_file(&from)?;
        Ok(disk.sync_dir(dir)?)
    }
}

/// No room, no file descriptor: both do no harm and may pass.
fn may_pass(error: &BoxError) -> bool {
    use io::ErrorKind::{QuotaExceeded, StorageFull};
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|e| {
        matches!(e.kind(), StorageFull | QuotaExceeded)
            || matches!(raw_os_error(e), Some(TOO_MANY_OPEN | TOO_MANY_OPEN_SYSTEM))
    })
}

fn write<T: Display>(file: &dyn DiskFile, records: &[T]) -> Result<(), BoxError> {
    let mut text = String::new();
    let mut offset = 0;
    for record in records {
        writeln!(text, "{record}")?;
        if text.len() >= PIECE_BYTES {
            file.write_all_at(text.as_bytes(), offset)?;
            offset += text.len() as u64;
            text.clear();
        }
    }
    file.write_all_at(text.as_bytes(), offset)?;
    Ok(())
}

impl<T: Display + 'static> Sink<T> for TextFileSink {
    fn guarantee(&self) -> Guarantee {
        Guarantee::ExactlyOnce
    }

    fn open(&mut self, context: &SinkContext) -> Result<(), BoxError> {
        let mut opened = Opened {
            disk: Arc::clone(&context.disk),
            names: self.names.clone()?,
            // A start that waited for room could not be stopped: so it fails with the reason.
            backoff: Backoff::none(),
        };
        for staged in opening::take_over(&*opened.disk, &opened.names, context)? {
            assert_eq!(
                staged.stage,
                FileState::Staged,
                "only staged files are left over"
            );
            if context
                .committed
                .is_some_and(|newest| staged.batch <= newest)
            {
                opened.show(&staged.name)?;
            } else {
                opened
                    .disk
                    .remove_file(&opened.names.staged(&staged.name))?;
                opened.disk.sync_dir(&opened.names.dir)?;
            }
        }
        opened.backoff = context.backoff.clone();
        self.opened = Some(opened);
        Ok(())
    }

    fn stage(&mut self, batch: &Batch, records: Vec<T>) -> Result<(), BoxError> {
        self.staged = None;
        if records.is_empty() {
            return Ok(());
        }
        let opened = self.opened()?;
        let name = opened.names.file(batch.time_ms, batch.id);
        let file = self.write_staged(&opened, &name, batch.id, &records)?;
        file.sync()?;
        opened.disk.sync_dir(&opened.names.dir)?;
        self.staged = Some((batch.id, name));
        Ok(())
    }

    fn publish(&mut self, batch: &Batch) -> Result<(), BoxError> {
        let Some((_, name)) = self.staged.as_ref().filter(|(id, _)| *id == batch.id) else {
            return Ok(());
        };
        self.opened()?.show(name)?;
        self.staged = None;
        Ok(())
    }
}
