//! Opening a log: lock its directory, recover what is there, and assemble the parts.

use crate::background::shared::{self, SharedThread};
use crate::background::task::Bell;
use crate::background::turn::Turn;
use crate::commit::flusher::Flusher;
use crate::commit::idle::IdleSignal;
use crate::commit::state::CommitState;
use crate::commit::sync::Syncer;
use crate::control::features::Feature;
use crate::control::file::{self, ControlFile};
use crate::control::writer::ControlFileWriter;
use crate::error::{Result, WalError};
use crate::facade::tracing;
use crate::format::compression::BatchCompressor;
use crate::format::frame::LogKey;
use crate::log::shared::Shared;
use crate::maintenance::growth::SegmentSizes;
use crate::maintenance::pace::{Pace, Zeroing};
use crate::maintenance::preallocator::{Preallocator, Queue};
use crate::maintenance::resident_memory::ResidentMemory;
use crate::maintenance::thread::Maintenance;
use crate::marks::live::LiveMarks;
use crate::metrics::counters::Counters;
use crate::metrics::meters::Meters;
use crate::options::choices::{Background, Tuning};
use crate::options::settings::Options;
use crate::recovery::cases::{Case, Recovery};
use crate::recovery::fitness;
use crate::recovery::open::{self, Opened};
use crate::retention::budget::Budget;
use crate::retention::cursors::CursorTable;
use crate::retention::guard::Retention;
use crate::segment::file::Segment;
use crate::segment::frame_writer::FrameWriter;
use crate::segment::live::LiveSegments;
use crate::segment::maker::SegmentMaker;
use crate::time::log_time::LogTime;
use highwater_disk::{DirLock, Disk};
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

/// Opens the log in the directory `path`, or makes it.
pub(crate) fn open(path: &Path, options: Options) -> Result<Shared> {
    options.check()?;
    let dir = &fitness::resolve(&*options.disk, path)?;
    fitness::check(&options, dir)?;
    let lock = lock(&*options.disk, dir)?;
    let opened = open::open(dir, &options)?;
    let shared = assemble(dir, Arc::new(options), opened, lock)?;
    report(&shared);
    let tail = Arc::clone(&shared.segments.tail());
    // The control file says it too. A full log that is opened and closed again and again keeps the
    // rest of its reserve.
    let spared = shared
        .budget
        .spares_reserve(tail.map().reserved(), tail.size);
    if shared.recovery.case != Case::Created && !spared {
        let now = shared.options.clock.now();
        shared
            .syncer
            .append_durable_lsn(shared.commit.durable(), now);
    }
    shared.flusher.watch_idle()?;
    Ok(shared)
}

fn lock(disk: &dyn Disk, dir: &Path) -> Result<DirLock> {
    let bad = |source| WalError::BadDirectory {
        dir: dir.to_owned(),
        source,
    };
    disk.create_dir_all(dir).map_err(bad)?;
    disk.lock_dir(dir).map_err(|e| match e.kind() {
        io::ErrorKind::WouldBlock => WalError::Locked {
            dir: dir.to_owned(),
            pid: file::read_holder(disk, dir),
        },
        _ => bad(e),
    })
}

fn assemble(dir: &Path, options: Arc<Options>, opened: Opened, lock: DirLock) -> Result<Shared> {
    let Opened {
        meta,
        segments,
        ready,
        recovery,
        maker,
    } = opened;
    let segments: Vec<_> = segments.into_iter().map(Arc::new).collect();
    let ready: VecDeque<_> = ready.into_iter().map(Arc::new).collect();
    let tail = Arc::clone(segments.last().expect("recovery returns at least the tail"));
    let disk = Arc::clone(&options.disk);
    let (key, first_lsn) = (LogKey::new(meta.log_id), meta.first_lsn);
    let retention = Arc::new(Retention::new(first_lsn));
    let said = Said::new(&options, &meta, &retention);
    let control = ControlFileWriter::new(disk, dir.to_owned(), meta, &said.marks, &said.time);
    let control = Arc::new(control);
    let budget = Arc::new(budget(&options, &segments, &tail, &ready));
    let (counters, meters) = (Arc::<Counters>::default(), Arc::new(Meters::new(dir)));
    let segments = Arc::new(LiveSegments::new(segments, Arc::clone(&tail)));
    let queue = Queue::new(ready, &tail);
    let counting = (&counters, &meters);
    let preallocator = preallocator(&options, maker, queue, &budget, &control, counting);
    let durable = recovery.end_lsn.get();
    let maintenance = start_maintenance(&options, preallocator, &segments, durable)?;
    let commit = Arc::new(CommitState::new(dir.to_owned(), durable));
    let writer = FrameWriter::new(key, options.end_room(), options.seal_groups);
    let syncer = Arc::new(syncer(
        &options,
        &commit,
        &segments,
        writer,
        &maintenance,
        counting,
        &said,
    ));
    Ok(Shared {
        dir: dir.to_owned(),
        max_record: options.max_record(),
        reader_name: Arc::from("a reader"),
        key,
        compressor: BatchCompressor::new(options.compression.level()),
        writer,
        segments,
        is_shut: AtomicBool::new(false),
        rotation: Mutex::new(()),
        budget,
        control,
        flusher: Arc::new(Flusher::new(Arc::clone(&syncer))),
        commit,
        room: Arc::clone(&syncer.room),
        turn: Arc::clone(maintenance.turn()),
        maintenance,
        syncer,
        retention,
        marks: said.marks,
        cursors: said.cursors,
        time: said.time,
        has_warned_of_jump: AtomicBool::new(false),
        counters,
        meters,
        recovery,
        lock: Mutex::new(Some(lock)),
        is_closed: Mutex::default(),
        leftovers: Mutex::default(),
        options,
    })
}

/// What the log says of itself.
struct Said {
    marks: Arc<LiveMarks>,
    cursors: Arc<CursorTable>,
    time: Arc<LogTime>,
    /// Times are written down.
    has_times: bool,
}

impl Said {
    fn new(options: &Options, meta: &ControlFile, retention: &Arc<Retention>) -> Self {
        Self {
            marks: Arc::new(LiveMarks::new(meta.marks.clone())),
            cursors: Arc::new(CursorTable::new(retention, &meta.marks)),
            time: Arc::new(LogTime::new(&options.clock, meta.time_ms)),
            has_times: options.timestamps && meta.features.contains(Feature::Time),
        }
    }
}

/// What wakes the log's own thread, or the one that it shares.
fn bell(options: &Options, thread: &SharedThread) -> Arc<Bell> {
    match options.background {
        Background::Shared => Arc::new(Bell::new(thread.notify())),
        Background::Thread | Background::Inline => Arc::default(),
    }
}

fn preallocator(
    options: &Options,
    maker: SegmentMaker,
    queue: Queue,
    budget: &Arc<Budget>,
    control: &Arc<ControlFileWriter>,
    (counters, meters): (&Arc<Counters>, &Arc<Meters>),
) -> Preallocator {
    Preallocator {
        maker,
        budget: Arc::clone(budget),
        control: Arc::clone(control),
        counters: Arc::clone(counters),
        meters: Arc::clone(meters),
        clock: Arc::clone(&options.clock),
        bell: bell(options, &shared::MAINTENANCE),
        sizes: SegmentSizes::new(options),
        queue: Mutex::new(queue),
        made: Condvar::new(),
        turn: Arc::new(Turn::new(bell(options, &shared::FLUSHER))),
    }
}

fn syncer(
    options: &Arc<Options>,
    commit: &Arc<CommitState>,
    segments: &Arc<LiveSegments>,
    writer: FrameWriter,
    maintenance: &Arc<Maintenance>,
    (counters, meters): (&Arc<Counters>, &Arc<Meters>),
    said: &Said,
) -> Syncer {
    let durable = commit.durable();
    Syncer {
        dir: commit.dir().to_owned(),
        options: Arc::clone(options),
        commit: Arc::clone(commit),
        segments: Arc::clone(segments),
        writer,
        maintenance: Arc::clone(maintenance),
        counters: Arc::clone(counters),
        meters: Arc::clone(meters),
        marks: Arc::clone(&said.marks),
        cursors: Arc::clone(&said.cursors),
        time: Arc::clone(&said.time),
        has_times: said.has_times,
        room: Arc::default(),
        idle: Arc::new(IdleSignal::new(maintenance.turn().flusher())),
        idle_end: AtomicU64::new(durable),
        recorded: AtomicU64::new(durable),
    }
}

fn start_maintenance(
    options: &Options,
    preallocator: Preallocator,
    segments: &Arc<LiveSegments>,
    durable: u64,
) -> Result<Arc<Maintenance>> {
    let moved = options.without != Some(Tuning::MemoryWindow);
    let memory = ResidentMemory::new(segments, moved);
    let zeroing = match options.without {
        Some(Tuning::Pace) => Zeroing::AtOnce,
        _ => Zeroing::AsTheLogGrows,
    };
    let pace = Pace::new(zeroing, durable);
    Maintenance::start(options.background, preallocator, segments, memory, pace)
}

fn budget(
    options: &Options,
    segments: &[Arc<Segment>],
    tail: &Segment,
    ready: &VecDeque<Arc<Segment>>,
) -> Budget {
    let held = segments.iter().map(|segment| segment.size).sum();
    let ahead = ready.iter().map(|segment| segment.size).sum();
    let (max, size) = (options.max_bytes, options.segment_size);
    Budget::new(max, size, held, (tail.base, tail.size), ahead)
}

fn report(shared: &Shared) {
    let Recovery {
        case,
        end_lsn,
        frames_rewritten,
        ignored,
        ..
    } = &shared.recovery;
    let dir = shared.dir.display();
    tracing::info!(%dir, %case, %end_lsn, frames_rewritten, "log opened");
    if !ignored.is_empty() {
        tracing::warn!(%dir, ?ignored, "the log's directory holds names that are not the log's");
    }
}
