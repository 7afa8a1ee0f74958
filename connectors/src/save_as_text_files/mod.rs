//! `save_as_text_files`: one file per batch, exactly once, and none of another's replaced.
//!
//! | file | holds |
//! |---|---|
//! | `names.rs` | how files are called, and reading that back |
//! | `marker.rs` | the file that says whose the names are |
//! | `opening.rs` | what is found at the start, and whether it is ours |
//! | `place.rs` | giving a name without replacing |
//!
//! | step | on disk afterwards |
//! |---|---|
//! | `open` | the marker, durable |
//! | `stage` | `.<name>.staged`, content and name durable |
//! | the engine logs `committed(batch)` | the same |
//! | `publish` | `<name>`, by a rename that replaces nothing, durable |
//!
//! A disk that is full is waited for (P8). Only what failed before any sync is tried again: a
//! failed sync is final.
//!
//! A crash leaves staged files. `open` shows those of committed batches and deletes the others,
//! whose batches run again.
//!
//! Invariant: a published name, once it stands, stands for the same content for ever. No call here
//! replaces or removes it.

mod marker;
mod names;
mod opening;
mod place;

use highwater_engine::wal::disk::{Disk, DiskFile, raw_os_error};
use highwater_engine::{Batch, BoxError, Guarantee, Patience, Sink, SinkContext};
use names::{Names, Stage};
use place::{place_new, same_content};
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
    /// Why there are none is told when the sink opens.
    names: Result<Names, String>,
    opened: Option<Opened>,
    /// The batch whose staged file this run has made.
    begun: Option<u64>,
    /// The batch that was staged and not yet published, and its file name.
    staged: Option<(u64, String)>,
}

/// What an open sink works with.
#[derive(Debug, Clone)]
struct Opened {
    disk: Arc<dyn Disk>,
    names: Names,
    patience: Patience,
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

    /// Creates the staged file and writes it, as soon as there is room; not synced yet.
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
                        // Half a file would hold the room that others wait for. If it cannot go
                        // now, `open` removes it.
                        let _ = opened.disk.remove_file(&opened.names.staged(name));
                    }
                    if !opened.patience.rest(&error) {
                        return Err(error);
                    }
                }
                other => return other,
            }
        }
    }
}

impl Opened {
    /// Creates the staged file; a half one of this run goes first.
    fn create(&self, name: &str, again: bool) -> Result<Arc<dyn DiskFile>, BoxError> {
        let (disk, path) = (&self.disk, self.names.staged(name));
        match disk.create_new(&path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && again => {
                disk.remove_file(&path)?;
                Ok(disk.create_new(&path)?)
            }
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Err(format!(
                "{} is there already and this program has not made it: it is not replaced. Find out who writes here, then \
                 move it away and start again, or choose another prefix",
                path.display()
            )
            .into()),
            created => Ok(created?),
        }
    }

    /// Shows a staged file, durably. If it is shown already, by a run that a crash ended, that is
    /// all.
    fn show(&self, name: &str) -> Result<(), BoxError> {
        let (disk, dir) = (&*self.disk, &self.names.dir);
        let (from, to) = (self.names.staged(name), self.names.published(name));
        loop {
            match place_new(disk, dir, &from, &to) {
                Ok(()) => return Ok(disk.sync_dir(dir)?),
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => break,
                Err(error) => {
                    let error = error.into();
                    if !(may_pass(&error) && self.patience.rest(&error)) {
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
                "{to} is there already and {why}: it is not replaced. The batch's own records are in {from}; move {to} away \
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
        let mut opened = Opened {
            disk: Arc::clone(&context.disk),
            names: self.names.clone()?,
            // A start that waited for room could not be stopped: it fails, and says why.
            patience: Patience::none(),
        };
        for staged in opening::take_over(&*opened.disk, &opened.names, context)? {
            assert_eq!(
                staged.stage,
                Stage::Staged,
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
        opened.patience = context.patience.clone();
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

#[cfg(test)]
mod tests {
    use super::*;
    use highwater_engine::OutputOwner;
    use highwater_engine::wal::Lsn;
    use highwater_engine::wal::disk::sim::{Call, Fault, FaultKind};
    use highwater_engine::wal::disk::{Access, DirLock, Entry, SimDisk};

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

    /// What a log would say durably.
    #[derive(Debug, Clone, Copy)]
    struct Log {
        id: u128,
        output: &'static str,
        cut: u64,
        committed: u64,
        /// The batch of the newest checkpoint: older ones are not known.
        checkpoint: u64,
    }

    const EMPTY: Log = Log {
        id: 7,
        output: "words",
        cut: 0,
        committed: 0,
        checkpoint: 0,
    };

    impl Log {
        fn at(cut: u64, committed: u64) -> Self {
            Self {
                cut,
                committed,
                ..EMPTY
            }
        }

        fn context(self, disk: &SimDisk) -> SinkContext {
            self.context_on(Arc::new(disk.clone()))
        }

        fn context_on(self, disk: Arc<dyn Disk>) -> SinkContext {
            SinkContext {
                disk,
                committed: (self.committed > 0).then_some(self.committed),
                patience: Patience::none(),
                owner: OutputOwner {
                    log_id: self.id,
                    application: "app".to_owned(),
                    output: self.output.to_owned(),
                },
                batches: (self.checkpoint.max(1)..=self.cut).map(batch).collect(),
            }
        }
    }

    fn open(disk: &SimDisk, log: Log) -> Result<TextFileSink, BoxError> {
        let mut sink = sink();
        Sink::<String>::open(&mut sink, &log.context(disk))?;
        Ok(sink)
    }

    fn refused(disk: &SimDisk, log: Log) -> String {
        open(disk, log).unwrap_err().to_string()
    }

    /// A disk without a rename that replaces nothing, as NFS is.
    #[derive(Debug)]
    struct LinksOnly(SimDisk);

    impl Disk for LinksOnly {
        fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
            self.0.create_dir_all(dir)
        }
        fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
            self.0.list(dir)
        }
        fn create_new(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
            self.0.create_new(path)
        }
        fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn DiskFile>> {
            self.0.open(path, access)
        }
        fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
            self.0.rename(from, to)
        }
        fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
            self.0.hard_link(from, to)
        }
        fn remove_file(&self, path: &Path) -> io::Result<()> {
            self.0.remove_file(path)
        }
        fn sync_dir(&self, dir: &Path) -> io::Result<()> {
            self.0.sync_dir(dir)
        }
        fn lock_dir(&self, dir: &Path) -> io::Result<DirLock> {
            self.0.lock_dir(dir)
        }
    }

    /// Does what the engine does from a start to the end.
    fn run(disk: &SimDisk, log: &mut Log) -> Result<(), BoxError> {
        run_on(&|disk| Arc::new(disk.clone()), disk, log)
    }

    type Kind = dyn Fn(&SimDisk) -> Arc<dyn Disk>;

    fn run_on(kind: &Kind, disk: &SimDisk, log: &mut Log) -> Result<(), BoxError> {
        let mut sink = sink();
        Sink::<String>::open(&mut sink, &log.context_on(kind(disk)))?;
        for id in log.committed + 1..=BATCHES {
            log.cut = log.cut.max(id);
            sink.stage(&batch(id), records(id))?;
            log.committed = id;
            Sink::<String>::publish(&mut sink, &batch(id))?;
            log.checkpoint = id;
        }
        Ok(())
    }

    /// Everything visible is right; everything committed and published is visible.
    fn check(disk: &SimDisk, up_to: u64) {
        let visible =
            |p: &std::path::PathBuf| !p.file_name().unwrap().to_string_lossy().starts_with('.');
        let mut found: Vec<std::path::PathBuf> = disk.files().into_iter().filter(visible).collect();
        found.sort();
        let with_records = (1..=up_to).filter(|id| !records(*id).is_empty());
        let expected: Vec<std::path::PathBuf> =
            with_records.clone().map(|id| path(id).into()).collect();
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
        cut_everywhere(&|disk| Arc::new(disk.clone()));
    }

    #[test]
    fn the_same_where_files_are_linked_to_their_names() {
        cut_everywhere(&|disk| Arc::new(LinksOnly(disk.clone())));
    }

    /// The old name reached the disk's void before the new one was on it: with a link the order of
    /// syncs decides.
    #[test]
    fn a_file_that_is_given_its_name_has_one_name_at_least_whenever_the_power_goes_off() {
        let (dir, from, to) = (
            Path::new("/out"),
            Path::new("/out/from"),
            Path::new("/out/to"),
        );
        for kind in [
            &(|disk: &SimDisk| Arc::new(disk.clone()) as Arc<dyn Disk>) as &Kind,
            &|disk| Arc::new(LinksOnly(disk.clone())),
        ] {
            for cut in 0..6 {
                let disk = SimDisk::new();
                disk.create_dir_all(dir).unwrap();
                disk.put_file(from, "content");
                disk.cut_power_before(disk.mutations() + cut);
                let disk_of_kind = kind(&disk);
                let placed = place_new(&*disk_of_kind, dir, from, to);
                let done = placed.and_then(|()| disk.sync_dir(dir)).is_ok();
                disk.cut_power_now();
                for seed in 0..64 {
                    let disk = disk.restart_after_power_cut(seed);
                    let at = [disk.read_file(to), disk.read_file(from)];
                    let found = at.iter().flatten().next().unwrap();
                    assert_eq!(
                        (&found[..], done && at[0].is_none()),
                        (&b"content"[..], false)
                    );
                }
            }
        }
    }

    fn cut_everywhere(kind: &Kind) {
        let mut cuts = 0;
        for cut in 0.. {
            let (disk, mut log) = (SimDisk::new(), EMPTY);
            disk.cut_power_before(cut);
            if run_on(kind, &disk, &mut log).is_ok() {
                check(&disk, BATCHES);
                break;
            }
            cuts = cut;
            for seed in 0..3 {
                for again in 0..8 {
                    let (disk, mut log) = (disk.restart_after_power_cut(seed), log);
                    disk.cut_power_before(again);
                    if run_on(kind, &disk, &mut log).is_ok() {
                        check(&disk, BATCHES);
                        break;
                    }
                    let disk = disk.restart_after_power_cut(seed);
                    open(&disk, log).unwrap();
                    check(&disk, log.committed);
                    run_on(kind, &disk, &mut log).unwrap();
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
        run(&disk, &mut EMPTY.clone()).unwrap();
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
            Call::Open,
            Call::List,
            Call::CreateDir,
        ] {
            for nth in 0..4 {
                let (disk, mut log) = (SimDisk::new(), EMPTY);
                disk.fail(Fault::new(call, FaultKind::Eio).nth(nth));
                let failed = run(&disk, &mut log).is_err();
                assert_eq!(failed, disk.faults_fired() > 0, "{call:?} {nth}");
                disk.clear_faults();
                run(&disk, &mut log).unwrap();
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
        open(&disk, Log::at(1, 0)).unwrap();
        assert_eq!(disk.files().len(), others.len() + 1, "and the marker");
        assert!(disk.read_file(MARKER).is_some());
    }

    /// Format 1 of the marker, byte for byte.
    #[test]
    fn the_marker_stays_readable() {
        const GOLDEN: &str = concat!(
            r#"{"format":1,"note":"The files beside this one are written by the Highwater log named here, and by no other.","#,
            r#""log":"00000000000000000000000000000007","application":"app","output":"words"}"#,
            "\n"
        );
        let disk = SimDisk::new();
        open(&disk, EMPTY).unwrap();
        assert_eq!(disk.read_file(MARKER).unwrap(), GOLDEN.as_bytes());
        let of_a_later_release = GOLDEN.replace("\"note\"", "\"more\":1,\"nota\"");
        disk.put_file(MARKER, of_a_later_release);
        open(&disk, EMPTY).unwrap();
        refused(&disk, Log { id: 8, ..EMPTY });
    }

    #[test]
    fn a_draft_that_a_crash_left_beside_its_marker_goes() {
        let disk = SimDisk::new();
        open(&disk, EMPTY).unwrap();
        disk.put_file(
            format!("/out/deep/.highwater-{:032x}.tmp", EMPTY.id),
            "draft",
        );
        open(&disk, EMPTY).unwrap();
        assert_eq!(disk.files(), [Path::new(MARKER)]);
    }

    const MARKER: &str = "/out/deep/.words.txt.highwater";

    /// Two programs with one prefix replaced each other's files within a batch interval.
    #[test]
    fn another_log_or_output_is_refused_and_told_who_owns_the_names() {
        let disk = SimDisk::new();
        run(&disk, &mut EMPTY.clone()).unwrap();
        let other_log = Log { id: 8, ..EMPTY };
        let error = refused(&disk, other_log);
        for part in [
            "output words of application \"app\"",
            MARKER,
            "choose another prefix",
        ] {
            assert!(error.contains(part), "{part} in {error}");
        }
        let other_output = Log {
            output: "more",
            ..Log::at(4, 4)
        };
        let error = refused(&disk, other_output);
        assert!(
            error.contains("two outputs cannot share a prefix"),
            "{error}"
        );
        check(&disk, BATCHES);
        open(&disk, Log::at(4, 4)).unwrap();
    }

    /// The power goes off before every mutation of one program's first start; then another one
    /// tries, then the first again.
    #[test]
    fn a_crash_in_the_first_start_locks_nobody_out_and_lets_nobody_in() {
        let mut outcomes = std::collections::BTreeSet::new();
        for cut in 0.. {
            let disk = SimDisk::new();
            disk.cut_power_before(cut);
            let first = open(&disk, EMPTY);
            disk.cut_power_now();
            for seed in 0..8 {
                let disk = disk.restart_after_power_cut(seed);
                let (mut ours, mut theirs) = (EMPTY, Log { id: 8, ..EMPTY });
                if seed % 2 == 0 {
                    run(&disk, &mut ours).unwrap();
                    refused(&disk, theirs);
                } else if run(&disk, &mut theirs).is_ok() {
                    refused(&disk, ours);
                } else {
                    run(&disk, &mut ours).unwrap();
                }
                check(&disk, BATCHES);
                outcomes.insert((seed % 2, theirs.committed));
            }
            if first.is_ok() {
                break;
            }
        }
        assert_eq!(outcomes.len(), 3, "{outcomes:?}");
    }

    #[test]
    fn of_two_programs_that_start_at_once_one_gets_the_names() {
        for _ in 0..50 {
            let disk = SimDisk::new();
            let start = std::sync::Barrier::new(2);
            let outcomes: Vec<Result<_, _>> = std::thread::scope(|scope| {
                let opening = [7, 8].map(|id| {
                    let (disk, start) = (&disk, &start);
                    scope.spawn(move || {
                        start.wait();
                        open(disk, Log { id, ..EMPTY }).map_err(|e| e.to_string())
                    })
                });
                opening.into_iter().map(|o| o.join().unwrap()).collect()
            });
            assert_eq!(
                outcomes.iter().filter(|o| o.is_ok()).count(),
                1,
                "{outcomes:?}"
            );
            let owner = if outcomes[0].is_ok() { 7 } else { 8 };
            open(&disk, Log { id: owner, ..EMPTY }).unwrap();
        }
    }

    #[test]
    fn an_unfinished_marker_locks_nobody_out_and_a_foreign_file_in_its_place_is_told() {
        for torn in ["", "{\"format\":1,\"lo", "\0\0\0"] {
            let disk = SimDisk::new();
            disk.create_dir_all(Path::new("/out/deep")).unwrap();
            disk.put_file(MARKER, torn);
            run(&disk, &mut EMPTY.clone()).unwrap();
            refused(&disk, Log { id: 8, ..EMPTY });
            check(&disk, BATCHES);
        }
        for (foreign, says) in [
            ("hello\n", "is no marker"),
            ("{\"format\":2,\"new\":1}\n", "later version"),
            ("{\"format\":1}\n", "is no marker"),
        ] {
            let disk = SimDisk::new();
            disk.create_dir_all(Path::new("/out/deep")).unwrap();
            disk.put_file(MARKER, foreign);
            let error = refused(&disk, EMPTY);
            assert!(error.contains(says) && error.contains(MARKER), "{error}");
            assert_eq!(disk.read_file(MARKER).unwrap(), foreign.as_bytes());
        }
    }

    /// What the version before left behind: files of the log's batches and no marker.
    #[test]
    fn files_without_a_marker_are_taken_up_by_their_log_and_by_no_other() {
        let made = || {
            let disk = SimDisk::new();
            run(&disk, &mut EMPTY.clone()).unwrap();
            disk.remove_file(Path::new(MARKER)).unwrap();
            disk
        };
        let with_checkpoint = Log {
            checkpoint: 4,
            ..Log::at(4, 4)
        };
        for own in [Log::at(4, 4), with_checkpoint] {
            open(&made(), own).unwrap();
        }
        for other in [EMPTY, Log::at(2, 2), Log { id: 8, ..EMPTY }] {
            let disk = made();
            let error = refused(&disk, other);
            assert!(
                error.contains("/out/deep/words-") && error.contains("not made it"),
                "{error}"
            );
            assert_eq!(disk.read_file(MARKER), None, "nothing was claimed");
            check(&disk, BATCHES);
        }
        // A batch in doubt of another program, which is down, is not thrown away.
        let disk = SimDisk::new();
        disk.create_dir_all(Path::new("/out/deep")).unwrap();
        let staged = "/out/deep/.words-1001-0000000001.txt.staged";
        disk.put_file(staged, "theirs");
        for other in [
            EMPTY,
            Log::at(1, 1),
            Log {
                checkpoint: 3,
                ..Log::at(4, 4)
            },
        ] {
            assert!(refused(&disk, other).contains(staged));
        }
    }

    /// A log that was put back from an older copy makes other batches of the same numbers.
    #[test]
    fn a_file_of_a_batch_that_the_log_has_not_made_is_an_error_at_the_start() {
        let disk = SimDisk::new();
        run(&disk, &mut EMPTY.clone()).unwrap();
        let error = refused(&disk, Log::at(2, 2));
        assert!(
            error.contains(&path(3)) || error.contains(&path(2)),
            "{error}"
        );
    }

    #[test]
    fn a_name_that_is_taken_is_never_replaced() {
        let disk = SimDisk::new();
        let mut sink = open(&disk, EMPTY).unwrap();
        disk.put_file(path(1), "theirs");
        sink.stage(&batch(1), vec!["a"]).unwrap();
        let publish = |sink: &mut TextFileSink| Sink::<String>::publish(sink, &batch(1));
        let error = publish(&mut sink).unwrap_err().to_string();
        assert!(
            error.contains(&path(1)) && error.contains("move"),
            "{error}"
        );
        assert_eq!(disk.read_file(path(1)).unwrap(), b"theirs");
        // The next start says so too, and does as it says once the file is gone.
        let committed = Log::at(1, 1);
        assert!(refused(&disk, committed).contains(&path(1)));
        assert_eq!(disk.read_file(path(1)).unwrap(), b"theirs");
        disk.remove_file(Path::new(&path(1))).unwrap();
        open(&disk, committed).unwrap();
        assert_eq!(disk.read_file(path(1)).unwrap(), b"a\n");
        // A directory is in the way as well.
        disk.create_dir_all(Path::new(&path(2))).unwrap();
        let mut sink = open(&disk, Log::at(2, 1)).unwrap();
        sink.stage(&batch(2), vec!["b"]).unwrap();
        let error = Sink::<String>::publish(&mut sink, &batch(2)).unwrap_err();
        assert!(error.to_string().contains(&path(2)), "{error}");
    }

    /// On file systems without a rename that replaces nothing, a crash may leave both names of a
    /// file.
    #[test]
    fn a_batch_that_is_published_already_is_not_an_error() {
        let disk = SimDisk::new();
        run(&disk, &mut EMPTY.clone()).unwrap();
        let staged = format!("/out/deep/.{}.staged", path(4).rsplit_once('/').unwrap().1);
        disk.put_file(&staged, content(4));
        open(&disk, Log::at(4, 4)).unwrap();
        check(&disk, BATCHES);
        assert_eq!(disk.read_file(&staged), None);
    }

    #[test]
    fn a_staged_file_that_this_program_has_not_made_is_left_alone() {
        let disk = SimDisk::new();
        let mut sink = open(&disk, EMPTY).unwrap();
        disk.put_file("/out/deep/.words-1000-0000000001.txt.staged", "theirs");
        let error = sink.stage(&batch(1), vec!["b"]).unwrap_err().to_string();
        assert!(
            error.contains(".staged") && error.contains("not replaced"),
            "{error}"
        );
    }

    #[test]
    fn staging_a_batch_again_replaces_what_this_run_staged() {
        let disk = SimDisk::new();
        let mut sink = open(&disk, EMPTY).unwrap();
        disk.fail(Fault::new(Call::Sync, FaultKind::Eio).on(".staged"));
        assert!(sink.stage(&batch(1), vec!["a"]).is_err());
        sink.stage(&batch(1), vec!["a again"]).unwrap();
        sink.stage(&batch(1), vec!["and again"]).unwrap();
        Sink::<String>::publish(&mut sink, &batch(1)).unwrap();
        assert_eq!(disk.read_file(path(1)).unwrap(), b"and again\n");
    }

    /// A file name has 255 bytes at most; the marker and its draft are no longer than what is
    /// staged.
    #[test]
    fn the_longest_prefix_that_can_be_staged_can_be_owned() {
        let real = tempfile::tempdir().unwrap();
        let fixed = ".-1000-0000000001.staged".len();
        let prefix = real.path().join("x".repeat(255 - fixed));
        let mut sink = TextFileSink::new(&prefix, "");
        let disk = Arc::new(highwater_engine::wal::disk::OsDisk::new());
        Sink::<&str>::open(&mut sink, &EMPTY.context_on(disk)).unwrap();
        sink.stage(&batch(1), vec!["a"]).unwrap();
        Sink::<&str>::publish(&mut sink, &batch(1)).unwrap();
    }

    #[test]
    fn a_prefix_without_a_file_name_is_refused() {
        let mut sink = TextFileSink::new(Path::new("/out/"), "txt");
        let error = Sink::<String>::open(&mut sink, &EMPTY.context(&SimDisk::new())).unwrap_err();
        assert!(error.to_string().contains("prefix"), "{error}");
    }
}
