//! Reads the store of dead letters without opening it: also that of a program that runs.

use crate::dead_letters::letter::Letter;
use crate::dead_letters::open_letters::{LETTERS, OpenLetters};
use crate::dead_letters::request::{DeadLetterFilter, Requests};
use crate::dead_letters::store::place;
use crate::engine_log::entry::{self, ENGINE, Entry};
use crate::error::{Error, Result};
use crate::refused::place::Place;
use highwater_wal::disk::Disk;
use highwater_wal::inspect::{DumpedFrame, Log};
use highwater_wal::{FrameKind, Lsn, WalError};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// A record that was put aside because an operator failed on it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadLetter {
    /// What tells it from all others, for ever: the operator and where the record came from.
    pub id: String,
    /// The operator that failed on it.
    pub operator: String,
    /// The batch in which it failed first.
    pub batch: u64,
    /// Where the frame is in the log of which the record was made; `None` if it was made of a whole
    /// batch. The log may have been truncated meanwhile.
    pub lsn: Option<Lsn>,
    /// Which record of the frame.
    pub index: Option<u32>,
    /// The batch in which it failed last, and its time in milliseconds since the Unix epoch.
    pub failed_in: u64,
    /// See `failed_in`.
    pub time_ms: u64,
    /// How often it has failed.
    pub attempts: u32,
    /// What it failed with, 1 KiB at most.
    pub error: String,
    /// The record as the operator had it, in MessagePack with named fields.
    pub input: Vec<u8>,
}

impl From<Letter> for DeadLetter {
    fn from(Letter { about, input }: Letter) -> Self {
        let (lsn, index) = match about.id.place {
            Place::Log { lsn, index, .. } => (Some(lsn), Some(index)),
            Place::Batch { .. } => (None, None),
        };
        Self {
            id: about.id.to_string(),
            operator: about.id.operator,
            batch: about.id.batch,
            lsn,
            index,
            failed_in: about.failed_in,
            time_ms: about.time_ms,
            attempts: about.attempts,
            error: about.error,
            input,
        }
    }
}

/// Calls `each` with the dead letters of the engine's directory `dir`, oldest first: those that
/// were put aside by committed batches and not replayed since. Never writes and takes no lock; the
/// program may run.
///
/// # Errors
/// [`Error::Log`] if the store or the log cannot be read; [`Error::EngineLog`] for what does not
/// fit; what `each` returns.
pub fn read_dead_letters(
    disk: &Arc<dyn Disk>,
    dir: impl AsRef<Path>,
    filter: &DeadLetterFilter,
    mut each: impl FnMut(DeadLetter) -> Result<()>,
) -> Result<()> {
    let dir = dir.as_ref();
    let store = place(dir);
    match disk.list(&store) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        _ => {}
    }
    let log = Log::open(Arc::clone(disk), &store)?;
    let mut open = OpenLetters::default();
    each_frame(&log, &mut |frame| {
        let noted = open.note(frame.kind, frame.lsn, frame.records());
        noted.map_err(|what| misfit(&store, frame.lsn, what))
    })?;
    // Only the newest batch that has put letters aside may not be committed.
    if let Some(newest) = open.newest
        && committed(disk, dir)?.is_none_or(|committed| committed < newest)
    {
        open.letters.retain(|_, at| at.batch < newest);
    }
    let wanted = open.letters.iter().filter(|(id, _)| filter.wants(id));
    let mut wanted_at = BTreeMap::<Lsn, Vec<usize>>::new();
    for (_, at) in wanted {
        wanted_at.entry(at.lsn).or_default().push(at.index);
    }
    each_frame(&log, &mut |frame| {
        let mut indices = wanted_at.remove(&frame.lsn).unwrap_or_default();
        indices.sort_unstable();
        let records = frame.records();
        for record in indices.into_iter().filter_map(|index| records.get(index)) {
            let letter = Letter::decode(record).map_err(|what| misfit(&store, frame.lsn, what))?;
            each(letter.into())?;
        }
        Ok(())
    })
}

/// Asks the program of the directory `dir` to replay dead letters: at its next batch if it runs, at
/// its next start otherwise. Asking twice replays none twice. Durable when this returns.
///
/// # Errors
/// [`Error::DeadLetterRequest`] if the request cannot be written.
pub fn request_replay(
    disk: &Arc<dyn Disk>,
    dir: impl AsRef<Path>,
    filter: &DeadLetterFilter,
) -> Result<()> {
    Requests::of(Arc::clone(disk), dir.as_ref()).add(filter)
}

/// Calls `each` with every frame of the store.
fn each_frame(log: &Log, each: &mut dyn FnMut(&DumpedFrame) -> Result<()>) -> Result<()> {
    for frame in log.frames(Lsn::ZERO)? {
        match frame {
            Ok(frame) if frame.stream != LETTERS => {}
            Ok(frame) if matches!(frame.kind, FrameKind::Batch | FrameKind::Control) => {
                each(&frame)?
            }
            // Not the program's; or it is not needed any more.
            Ok(_) | Err(WalError::Truncated { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// The newest batch that was committed.
fn committed(disk: &Arc<dyn Disk>, dir: &Path) -> Result<Option<u64>> {
    let log = Log::open(Arc::clone(disk), dir.join("log"))?;
    let mut newest = None;
    for frame in log.frames(Lsn::ZERO)? {
        match frame {
            Ok(frame) if frame.kind == FrameKind::Control && frame.stream == ENGINE => {
                let decoded = entry::decode(&frame.payload);
                let (_, entry) = decoded.map_err(|what| misfit(dir, frame.lsn, what))?;
                if let Entry::Committed(committed) = entry {
                    newest = newest.max(Some(committed.batch));
                }
            }
            Ok(_) | Err(WalError::Truncated { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(newest)
}

fn misfit(dir: &Path, lsn: Lsn, what: String) -> Error {
    Error::EngineLog {
        dir: dir.to_owned(),
        lsn,
        what,
    }
}
