//! A life with the log, in a process of its own: opens it, shows all of it, appends, closes it. A
//! life of one thread opens it once more.

use crate::careless::NoDirectorySync;
use crate::load::{Writer, number};
use crate::machine::MOUNTED;
use crate::medium::Note;
use crate::settings::{Cheat, Settings};
use crate::wire::Wire;
use highwater_wal::disk::{Disk, OsDisk};
use highwater_wal::{Lsn, Options, Wal};
use std::path::Path;
use std::sync::Arc;

/// The first argument of a process that is to live.
pub(crate) const LIVE: &str = "live";

const SEGMENT_BYTES: u64 = 64 << 10;
const NOTE_BYTES: u64 = 16 << 10;

/// Who appends in a life.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) threads: u64,
    /// Frames of each thread.
    pub(crate) appends: u64,
    /// Number of the first record; 2^24 of them belong to each thread.
    pub(crate) numbers: u64,
}

impl Plan {
    pub(crate) fn arguments(self) -> [String; 3] {
        [self.threads, self.appends, self.numbers].map(|n| n.to_string())
    }

    fn from_arguments(arguments: &[String]) -> Option<Self> {
        let mut numbers = arguments.iter().map(|n| n.parse().ok());
        Some(Self {
            threads: numbers.next()??,
            appends: numbers.next()??,
            numbers: numbers.next()??,
        })
    }
}

/// `arguments` are a plan and settings, of which there is one write path.
pub(crate) fn live(arguments: &[String]) {
    let plan = Plan::from_arguments(arguments).expect("three numbers");
    let settings = Settings::from_arguments(arguments[3..].iter().cloned()).expect("settings");
    let wire = Wire::new();
    if let Err(what) = lead(&wire, plan, &settings) {
        wire.tell(&format!("failed {}", what.replace('\n', " ")));
    }
    wire.end();
}

fn lead(wire: &Wire, plan: Plan, settings: &Settings) -> Result<(), String> {
    let log = open(settings)?;
    show(wire, &log)?;
    wire.note(Note::Opened);
    let write = |thread: u64| {
        let first = plan.numbers + (thread << 24);
        let writer = Writer {
            log: &log,
            wire,
            numbers: first..first + (1 << 24),
        };
        writer.write(plan.appends, plan.threads > 1 && thread == 0)
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..plan.threads)
            .map(|thread| scope.spawn(move || write(thread)))
            .collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().expect("panics abort"))
    })
    .map_err(|e| format!("appending: {e}"))?;
    log.close().map_err(|e| format!("closing: {e}"))?;
    let stats = log.stats();
    wire.tell(&format!(
        "remark {} records in {} commit groups, {} bytes, {} of them truncated, {} segments recycled",
        stats.records,
        stats.groups,
        stats.bytes_appended,
        stats.bytes_truncated,
        stats.recycle.count
    ));
    drop(log);
    match plan.threads {
        1 => show(wire, &open(settings)?),
        _ => Ok(()),
    }
}

fn open(settings: &Settings) -> Result<Wal, String> {
    let path = settings.paths[0];
    let cheat = match settings.cheat {
        Cheat::AckBeforeSync => highwater_wal::Cheat::AckBeforeSync,
        Cheat::UnlinkBeforeControl => highwater_wal::Cheat::UnlinkBeforeControl,
        _ => highwater_wal::Cheat::None,
    };
    let disk: Arc<dyn Disk> = match settings.cheat {
        Cheat::NoDirectorySync => Arc::new(NoDirectorySync(OsDisk::new())),
        _ => Arc::new(OsDisk::new()),
    };
    let options = Options::new()
        .segment_size(SEGMENT_BYTES)
        .progress_interval(NOTE_BYTES)
        .seal_groups(settings.seal_groups)
        .write_path(path)
        .log_id_seed(settings.seed)
        .cheat(cheat)
        .disk(disk);
    let log = Wal::open_with(Path::new(MOUNTED).join("log"), options)
        .map_err(|e| format!("the log does not open: {e}"))?;
    assert_eq!(log.stats().write_path, path);
    Ok(log)
}

/// Tells all that the log holds. A record that is not what it says it is, byte for byte, is a
/// failure.
fn show(wire: &Wire, log: &Wal) -> Result<(), String> {
    wire.tell(&format!("start {}", log.first_lsn()));
    wire.tell(&format!("case {}", log.recovery().case));
    let mut frame: (u64, Vec<u64>) = (0, Vec::new());
    for found in log.read_from(Lsn::ZERO).map_err(|e| e.to_string())? {
        let found = found.map_err(|e| format!("reading: {e}"))?;
        let number =
            number(&found.payload).ok_or_else(|| format!("no record of ours: {found:.200?}"))?;
        if found.lsn.get() != frame.0 && !frame.1.is_empty() {
            wire.frame("frame", frame.0, &std::mem::take(&mut frame.1));
        }
        if found.index as usize != frame.1.len() {
            return Err(format!("a batch is not in order: {found:.200?}"));
        }
        frame.0 = found.lsn.get();
        frame.1.push(number);
    }
    if !frame.1.is_empty() {
        wire.frame("frame", frame.0, &frame.1);
    }
    Ok(())
}
