//! `save_as_text_files`: one file per batch, exactly once.
//!
//! | step | on disk afterwards |
//! |---|---|
//! | `stage` | `.<name>.staged`, content and name durable |
//! | the engine logs `committed(batch)` | the same |
//! | `publish` | `<name>`, by a rename, durable |
//!
//! A disk that is full is waited for (P8). Only what failed before any sync is tried again: a failed sync is final.
//!
//! A crash leaves staged files. `open` shows those of committed batches and deletes the others, whose batches run again.

use highwater_engine::wal::disk::{Disk, DiskFile, raw_os_error};
use highwater_engine::{Batch, BoxError, Guarantee, Patience, Sink, SinkContext};
use std::fmt::{Display, Write as _};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Text is written in pieces of about this size.
const PIECE_BYTES: usize = 256 << 10;
const STAGED: &str = ".staged";
/// `EMFILE` and `ENFILE` of Linux, for which `io::ErrorKind` has no name.
const TOO_MANY_OPEN: i32 = 24;
const TOO_MANY_OPEN_SYSTEM: i32 = 23;

/// The sink.
#[derive(Debug)]
pub(crate) struct TextFileSink {
    dir: PathBuf,
    /// What file names begin with; `None` if the prefix cannot be one.
    base: Option<String>,
    /// What file names end with: empty, or a dot and the suffix.
    ending: String,
    disk: Option<Arc<dyn Disk>>,
    patience: Patience,
    /// The batch that was staged and not yet published, and its file name.
    staged: Option<(u64, String)>,
}

impl TextFileSink {
    pub(crate) fn new(prefix: &Path, suffix: &str) -> Self {
        let dir = match prefix.parent() {
            Some(parent) if parent != Path::new("") => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        let suffix = suffix.strip_prefix('.').unwrap_or(suffix);
        let ending = if suffix.is_empty() {
            String::new()
        } else {
            format!(".{suffix}")
        };
        let ends_with_separator = prefix.as_os_str().as_encoded_bytes().ends_with(b"/");
        let base = prefix.file_name().filter(|_| !ends_with_separator);
        let base = base.and_then(|name| name.to_str()).map(str::to_owned);
        Self {
            dir,
            base,
            ending,
            disk: None,
            patience: Patience::none(),
            staged: None,
        }
    }

    fn base(&self) -> Result<&str, String> {
        let base = self
            .base
            .as_deref()
            .filter(|_| !self.ending.contains(['/', '\n']));
        base.ok_or_else(|| {
            format!(
                "the prefix must end in the beginning of a file name, and suffix be part of one, such as \"out/counts\" and \
                 \"txt\": here they name files in {} that end in {:?}",
                self.dir.display(),
                self.ending
            )
        })
    }

    fn disk(&self) -> Result<&dyn Disk, &'static str> {
        self.disk.as_deref().ok_or("the sink was not opened")
    }

    fn file_name(&self, batch: &Batch) -> Result<String, String> {
        Ok(format!(
            "{}-{}-{:010}{}",
            self.base()?,
            batch.time_ms,
            batch.id,
            self.ending
        ))
    }

    /// The batch id in the name of a staged file of this sink.
    fn staged_batch(&self, entry: &str) -> Option<(u64, String)> {
        let name = entry.strip_prefix('.')?.strip_suffix(STAGED)?;
        let numbers = name
            .strip_prefix(self.base().ok()?)?
            .strip_prefix('-')?
            .strip_suffix(&self.ending)?;
        let (time, id) = numbers.split_once('-')?;
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        // Another sink whose prefix begins with this one's has something else than two numbers here.
        (digits(time) && digits(id) && id.len() >= 10).then_some(())?;
        Some((id.parse().ok()?, name.to_owned()))
    }

    fn staged_path(&self, name: &str) -> PathBuf {
        self.dir.join(format!(".{name}{STAGED}"))
    }

    fn create(&self, name: &str, again: bool) -> Result<Arc<dyn DiskFile>, BoxError> {
        let (disk, path) = (self.disk()?, self.staged_path(name));
        match disk.create_new(&path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && again => {
                disk.remove_file(&path)?;
                Ok(disk.create_new(&path)?)
            }
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Err(format!(
                "{} is there already: two outputs write to one prefix; give each its own",
                path.display()
            )
            .into()),
            created => Ok(created?),
        }
    }

    /// Creates the staged file and writes it, as soon as there is room; not synced yet.
    fn write_staged<T: Display>(
        &self,
        name: &str,
        mut again: bool,
        records: &[T],
    ) -> Result<Arc<dyn DiskFile>, BoxError> {
        loop {
            let created = self.create(name, again);
            again |= created.is_ok();
            let written = created.and_then(|file| write(&*file, records).map(|()| file));
            match written {
                Err(error) if may_pass(&error) => {
                    if again {
                        // Half a file would hold the room that others wait for. If it cannot go now, `open` removes it.
                        let _ = self.disk()?.remove_file(&self.staged_path(name));
                    }
                    if !self.patience.rest(&error) {
                        return Err(error);
                    }
                }
                other => return other,
            }
        }
    }
}

/// No room, no file descriptor: neither harms what is there, and both pass.
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
        self.base()?;
        let disk = Arc::clone(&context.disk);
        disk.create_dir_all(&self.dir)?;
        let mut changed = false;
        for entry in disk.list(&self.dir)? {
            let Some((id, name)) = entry.name.to_str().and_then(|name| self.staged_batch(name))
            else {
                continue;
            };
            let staged = self.staged_path(&name);
            if context.committed.is_some_and(|newest| id <= newest) {
                disk.rename(&staged, &self.dir.join(&name))?;
            } else {
                disk.remove_file(&staged)?;
            }
            changed = true;
        }
        if changed {
            disk.sync_dir(&self.dir)?;
        }
        self.disk = Some(disk);
        self.patience = context.patience.clone();
        Ok(())
    }

    fn stage(&mut self, batch: &Batch, records: Vec<T>) -> Result<(), BoxError> {
        let again = self.staged.take_if(|(id, _)| *id == batch.id).is_some();
        if records.is_empty() {
            return Ok(());
        }
        let name = self.file_name(batch)?;
        let file = self.write_staged(&name, again, &records)?;
        file.sync()?;
        self.disk()?.sync_dir(&self.dir)?;
        self.staged = Some((batch.id, name));
        Ok(())
    }

    fn publish(&mut self, batch: &Batch) -> Result<(), BoxError> {
        let Some((_, name)) = self.staged.as_ref().filter(|(id, _)| *id == batch.id) else {
            return Ok(());
        };
        let disk = self.disk()?;
        let (from, to) = (self.staged_path(name), self.dir.join(name));
        while let Err(error) = disk.rename(&from, &to) {
            let error = error.into();
            if !(may_pass(&error) && self.patience.rest(&error)) {
                return Err(error);
            }
        }
        disk.sync_dir(&self.dir)?;
        self.staged = None;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use highwater_engine::wal::Lsn;
    use highwater_engine::wal::disk::SimDisk;
    use highwater_engine::wal::disk::sim::{Call, Fault, FaultKind};

    const BATCHES: u64 = 4;

    fn batch(id: u64) -> Batch {
        Batch {
            id,
            time_ms: 1000 * id,
            from: Lsn::new(8 * id),
            to: Lsn::new(8 * id + 8),
        }
    }

    fn records(id: u64) -> Vec<String> {
        // One batch is larger than one piece, one is empty.
        let count = [3, 0, 13_000, 1][usize::try_from(id % 4).unwrap()];
        (0..count)
            .map(|i| format!("batch {id} record {i}"))
            .collect()
    }

    fn content(id: u64) -> String {
        records(id).iter().map(|r| format!("{r}\n")).collect()
    }

    fn path(id: u64) -> String {
        format!("/out/deep/words-{}-{id:010}.txt", 1000 * id)
    }

    fn sink() -> TextFileSink {
        TextFileSink::new(Path::new("/out/deep/words"), "txt")
    }

    fn context(disk: &SimDisk, committed: u64) -> SinkContext {
        SinkContext {
            disk: Arc::new(disk.clone()),
            committed: (committed > 0).then_some(committed),
            patience: Patience::none(),
        }
    }

    /// Does what the engine does from a start to the end; `committed` is what its log would say durably.
    fn run(disk: &SimDisk, committed: &mut u64) -> Result<(), BoxError> {
        let mut sink = sink();
        Sink::<String>::open(&mut sink, &context(disk, *committed))?;
        for id in *committed + 1..=BATCHES {
            sink.stage(&batch(id), records(id))?;
            *committed = id;
            Sink::<String>::publish(&mut sink, &batch(id))?;
        }
        Ok(())
    }

    /// Everything visible is right; everything committed and published is visible.
    fn check(disk: &SimDisk, up_to: u64) {
        let visible = |p: &PathBuf| !p.file_name().unwrap().to_string_lossy().starts_with('.');
        let mut found: Vec<PathBuf> = disk.files().into_iter().filter(visible).collect();
        found.sort();
        let with_records = (1..=up_to).filter(|id| !records(*id).is_empty());
        let expected: Vec<PathBuf> = with_records.clone().map(|id| path(id).into()).collect();
        assert_eq!(found, expected);
        for id in with_records {
            assert!(
                disk.read_file(path(id)).unwrap() == content(id).as_bytes(),
                "batch {id}"
            );
        }
    }

    /// The power goes off before every mutation of opening, staging and publishing, twice in a row.
    #[test]
    fn every_committed_batch_is_one_file_whenever_the_power_goes_off() {
        let mut cuts = 0;
        for cut in 0.. {
            let (disk, mut committed) = (SimDisk::new(), 0);
            disk.cut_power_before(cut);
            if run(&disk, &mut committed).is_ok() {
                check(&disk, BATCHES);
                break;
            }
            cuts = cut;
            for seed in 0..3 {
                for again in 0..8 {
                    let (disk, mut committed) = (disk.restart_after_power_cut(seed), committed);
                    disk.cut_power_before(again);
                    if run(&disk, &mut committed).is_ok() {
                        check(&disk, BATCHES);
                        break;
                    }
                    let disk = disk.restart_after_power_cut(seed);
                    let mut reopened = sink();
                    Sink::<String>::open(&mut reopened, &context(&disk, committed)).unwrap();
                    check(&disk, committed);
                    run(&disk, &mut committed).unwrap();
                    check(&disk, BATCHES);
                }
            }
        }
        assert!(cuts > 15, "{cuts}");
    }

    /// What is shown survives a power cut right behind `publish`, without any further sync.
    #[test]
    fn a_published_batch_is_durable() {
        let disk = SimDisk::new();
        run(&disk, &mut 0).unwrap();
        disk.cut_power_now();
        for seed in 0..8 {
            check(&disk.restart_after_power_cut(seed), BATCHES);
        }
    }

    #[test]
    fn a_failed_call_is_an_error_and_the_next_start_makes_it_good() {
        for call in [
            Call::Create,
            Call::Write,
            Call::Sync,
            Call::SyncDir,
            Call::Rename,
            Call::List,
            Call::CreateDir,
        ] {
            for nth in 0..4 {
                let (disk, mut committed) = (SimDisk::new(), 0);
                disk.fail(Fault::new(call, FaultKind::Eio).nth(nth));
                let failed = run(&disk, &mut committed).is_err();
                assert_eq!(failed, disk.faults_fired() > 0, "{call:?} {nth}");
                disk.clear_faults();
                run(&disk, &mut committed).unwrap();
                check(&disk, BATCHES);
            }
        }
    }

    #[test]
    fn leftovers_of_other_sinks_are_left_alone() {
        let disk = SimDisk::new();
        disk.create_dir_all(Path::new("/out/deep")).unwrap();
        let others = [
            ".words-1000-0000000001.staged",
            ".words-more-1000-0000000001.txt.staged",
            ".words-1-1000-0000000001.txt.staged",
            ".words-1000-0000000001.txt",
            ".words-1000-1.txt.staged",
            "words-1000-0000000001.txt.staged",
        ];
        others
            .iter()
            .for_each(|name| disk.put_file(format!("/out/deep/{name}"), "theirs"));
        disk.put_file("/out/deep/.words-1000-0000000001.txt.staged", "ours");
        Sink::<String>::open(&mut sink(), &context(&disk, 0)).unwrap();
        assert_eq!(disk.files().len(), others.len());
    }

    #[test]
    fn two_outputs_with_one_prefix_are_found_out() {
        let disk = SimDisk::new();
        let (mut a, mut b) = (sink(), sink());
        for sink in [&mut a, &mut b] {
            Sink::<String>::open(sink, &context(&disk, 0)).unwrap();
        }
        a.stage(&batch(1), vec!["a"]).unwrap();
        a.stage(&batch(1), vec!["a again"]).unwrap();
        let error = b.stage(&batch(1), vec!["b"]).unwrap_err().to_string();
        assert!(error.contains("two outputs write to one prefix"), "{error}");
    }

    #[test]
    fn a_prefix_without_a_file_name_is_refused() {
        for (prefix, suffix) in [("/out/", "txt"), ("..", ""), ("/out/a", "x/y")] {
            let mut sink = TextFileSink::new(Path::new(prefix), suffix);
            let error = Sink::<String>::open(&mut sink, &context(&SimDisk::new(), 0)).unwrap_err();
            assert!(error.to_string().contains("prefix"), "{error}");
        }
    }
}
