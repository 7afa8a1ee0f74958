//! The sink on a simulated disk: crashes at every call, failures, and names of other programs.

mod crashes;
mod owners;

use super::rename::rename_new;
use super::sink::TextFileSink;
use highwater_engine::wal::Lsn;
use highwater_engine::wal::disk::sim::{Call, Fault, FaultKind};
use highwater_engine::wal::disk::{Access, DirLock, Disk, DiskFile, Entry, SimDisk};
use highwater_engine::{Backoff, Batch, BoxError, OutputOwner, Sink, SinkContext};
use std::io;
use std::path::Path;
use std::sync::Arc;

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
            backoff: Backoff::none(),
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
