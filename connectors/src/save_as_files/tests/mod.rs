//! The sink on a simulated disk: crashes at every call, failures, and names of other programs.

mod crashes;
mod owners;
mod parts;

use super::files::Files;
use super::format::Text;
use super::rename::rename_new;
use super::sink::FileSink;
use highwater_engine::wal::Lsn;
use highwater_engine::wal::disk::sim::{Call, Fault, FaultKind};
use highwater_engine::wal::disk::{Access, DirLock, Disk, DiskFile, Entry, SimDisk};
use highwater_engine::{
    Backoff, Batch, BoxError, InDoubt, OutputOwner, Part, Records, SinkContext, SinkError,
    StagedPart, StagedSink,
};
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

type TextSink = FileSink<Text>;

/// How many workers there are, if each writes a file of its own.
type Parts = Option<usize>;

fn sink(parts: Parts) -> TextSink {
    let files = Files::new("/out/deep/words");
    let files = match parts {
        Some(_) => files.parts_per_worker(),
        None => files,
    };
    FileSink::new(&files, "txt", Text)
}

/// What a log would say durably.
#[derive(Debug, Clone, PartialEq)]
struct Log {
    id: u128,
    predecessors: Vec<u128>,
    output: &'static str,
    cut: u64,
    committed: u64,
    /// Parts of the committed batch; `None` for a version that listed none.
    listed: Option<Vec<StagedPart>>,
    /// The newest batch that the log says is published.
    published: u64,
    /// The batch of the newest checkpoint: older ones are not known.
    checkpoint: u64,
}

const EMPTY: Log = Log {
    id: 7,
    predecessors: Vec::new(),
    output: "words",
    cut: 0,
    committed: 0,
    listed: Some(Vec::new()),
    published: 0,
    checkpoint: 0,
};

fn new_log() -> Log {
    EMPTY
}

impl Log {
    /// One without lists.
    fn at(cut: u64, committed: u64) -> Self {
        Self {
            cut,
            committed,
            listed: None,
            ..EMPTY
        }
    }

    fn context(&self, disk: &SimDisk) -> SinkContext {
        self.context_on(Arc::new(disk.clone()))
    }

    fn context_on(&self, disk: Arc<dyn Disk>) -> SinkContext {
        let newest = batch(self.committed);
        SinkContext {
            disk,
            committed: (self.committed > 0).then_some(self.committed),
            backoff: Backoff::none(),
            owner: OutputOwner {
                log_id: self.id,
                application: "app".to_owned(),
                output: self.output.to_owned(),
                predecessors: self.predecessors.clone(),
            },
            batches: (self.checkpoint.max(1)..=self.cut).map(batch).collect(),
            called: None,
            known: false,
            in_doubt: match &self.listed {
                _ if self.committed <= self.published.max(self.checkpoint) => InDoubt::Nothing,
                None => InDoubt::Unlisted { batch: newest },
                Some(parts) if parts.is_empty() => InDoubt::Nothing,
                Some(parts) => InDoubt::Listed {
                    batch: newest,
                    parts: parts.clone().into(),
                },
            },
        }
    }
}

/// Opens a sink as the engine does: what the log lists is published right after that.
fn open_in(context: &SinkContext, parts: Parts) -> Result<TextSink, BoxError> {
    let sink = sink(parts);
    StagedSink::<String>::open(&sink, context)?;
    if let InDoubt::Listed { batch, parts } = &context.in_doubt {
        publish(&sink, batch, parts)?;
    }
    Ok(sink)
}

fn open(disk: &SimDisk, log: &Log) -> Result<TextSink, BoxError> {
    open_in(&log.context(disk), None)
}

fn refused(disk: &SimDisk, log: &Log) -> String {
    open(disk, log).unwrap_err().to_string()
}

/// Stages a batch in as many parts as there are workers.
fn stage(
    sink: &TextSink,
    batch: &Batch,
    records: &[String],
    parts: Parts,
) -> Result<Vec<StagedPart>, BoxError> {
    let count = parts.unwrap_or(1).min(records.len()).max(1);
    let mut staged = Vec::new();
    for number in 0..count {
        let (from, to) = (
            number * records.len() / count,
            (number + 1) * records.len() / count,
        );
        let share = [records[from..to].to_vec()];
        let part = Part {
            number: u32::try_from(number).unwrap(),
            count: u32::try_from(count).unwrap(),
        };
        let token = sink.stage(batch, part, &Records::new(&share, from as u64))?;
        staged.extend(token.map(|token| StagedPart {
            part: part.number,
            token,
        }));
    }
    Ok(staged)
}

fn publish(sink: &TextSink, batch: &Batch, parts: &[StagedPart]) -> Result<(), BoxError> {
    StagedSink::<String>::publish(sink, batch, parts)
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
    run_on(&|disk| Arc::new(disk.clone()), disk, log, None)
}

type Kind = dyn Fn(&SimDisk) -> Arc<dyn Disk>;

fn run_on(kind: &Kind, disk: &SimDisk, log: &mut Log, parts: Parts) -> Result<(), BoxError> {
    let sink = open_in(&log.context_on(kind(disk)), parts)?;
    log.published = log.committed;
    for id in log.committed + 1..=BATCHES {
        log.cut = log.cut.max(id);
        let staged = stage(&sink, &batch(id), &records(id), parts)?;
        log.committed = id;
        log.listed = Some(staged.clone());
        publish(&sink, &batch(id), &staged)?;
        log.published = id;
        // Not after each: between two, a batch in doubt is not covered by one.
        log.checkpoint = id - id % 2;
    }
    Ok(())
}

/// Everything visible is right; everything committed and published is visible.
fn check(disk: &SimDisk, up_to: u64) {
    check_parts(disk, up_to, None);
}

fn check_parts(disk: &SimDisk, up_to: u64, parts: Parts) {
    let visible =
        |p: &std::path::PathBuf| !p.file_name().unwrap().to_string_lossy().starts_with('.');
    let found: Vec<std::path::PathBuf> = disk.files().into_iter().filter(visible).collect();
    // By the batch, of which a part's name says more.
    let mut by_batch = std::collections::BTreeMap::<String, Vec<u8>>::new();
    for file in found.iter().collect::<std::collections::BTreeSet<_>>() {
        let name = file.to_str().unwrap();
        let whole = match name.split_once("-part-") {
            Some((whole, _)) => format!("{whole}.txt"),
            None => name.to_owned(),
        };
        assert_eq!(name.contains("-part-"), parts.is_some(), "{name}");
        let of_batch = by_batch.entry(whole).or_default();
        of_batch.extend(disk.read_file(file).unwrap());
    }
    let with_records = (1..=up_to).filter(|id| !records(*id).is_empty());
    let expected: Vec<String> = with_records.clone().map(path).collect();
    assert_eq!(by_batch.keys().cloned().collect::<Vec<_>>(), expected);
    for id in with_records {
        assert!(by_batch[&path(id)] == content(id).as_bytes(), "batch {id}");
    }
}
