//! Salvage: a new log of everything intact that is left, around the holes.

use crate::dump::DumpedFrame;
use crate::error::{Result, WalError};
use crate::frame::FrameKind;
use crate::inspect::Progress;
use crate::inspect::lost::{Losses, LostRange};
use crate::inspect::repair::apart;
use crate::inspect::source::Source;
use crate::inspect::walk::{Step, Walk};
use crate::layout::{max_payload, to_usize};
use crate::log::Wal;
use crate::lsn::Lsn;
use crate::options::{Background, Durability, Options};
use highwater_disk::Disk;
use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

/// What [`salvage`] did.
#[derive(Debug)]
#[non_exhaustive]
pub struct Salvaged {
    /// Identity of the old log.
    pub old_log_id: u128,
    /// Identity of the new one: no checkpoint and no position of the old log fits it.
    pub new_log_id: u128,
    /// Where the old log started.
    pub first_lsn: Lsn,
    /// Behind the last intact frame of the old log.
    pub end_lsn: Lsn,
    /// Frames appended to the new log.
    pub frames: u64,
    /// Records in them.
    pub records: u64,
    /// Holes that were durable once.
    pub lost: Losses,
    /// Holes that nothing proves to have been durable: what a crash tore, never acknowledged. What is intact behind
    /// them was taken all the same.
    pub torn: Losses,
    /// What was wrong with files as such; by itself it costs no record.
    pub findings: Vec<WalError>,
    /// Names in the directory that are not the log's.
    pub ignored: Vec<OsString>,
}

/// One frame that was saved.
#[derive(Debug)]
#[non_exhaustive]
pub struct Moved<'a> {
    /// The frame as it stood in the old log.
    pub frame: &'a DumpedFrame,
    /// Where it stands in the new one.
    pub new_lsn: Lsn,
}

/// Appends every intact frame with records that is left of the log in `from`, in order, to a new log in `to`. Never
/// changes `from`; never called by the log itself: whoever calls it accepts holes in the history.
///
/// Frames get new LSNs, because the format has no place for holes; `moved` is told each pair. Batches stay batches,
/// streams and kinds stay. The new log has an identity of its own, so that nothing takes it for the old one.
///
/// # Errors
/// As [`repair`](crate::inspect::repair).
pub fn salvage(
    disk: &Arc<dyn Disk>,
    from: impl AsRef<Path>,
    to: impl AsRef<Path>,
    mut moved: impl FnMut(&Moved<'_>) -> Result<()>,
    mut progress: impl FnMut(Progress),
) -> Result<Salvaged> {
    let (from, to) = (from.as_ref(), to.as_ref());
    apart(from, to)?;
    let source = Source::open(disk, from)?;
    let new = begin(&source, to)?;
    let bytes_total = source.parts.iter().map(|part| part.size).sum();
    let mut holes = Holes::default();
    let (mut frames, mut records) = (0, 0);
    let mut attested = source.attested_lsn;
    let mut walk = Walk::new(&source);
    while let Some(step) = walk.step()? {
        let frame = match step {
            Step::Hole(hole) => {
                holes.add(hole);
                continue;
            }
            Step::Frame(frame) => frame,
        };
        if let Some(proof) = frame.attests() {
            attested = attested.max(proof);
            holes.prove(attested);
        }
        progress(Progress {
            bytes_done: frame.lsn() - source.first_lsn,
            bytes_total,
        });
        let frame = match DumpedFrame::of(&frame) {
            Ok(dumped) => dumped,
            Err(what) => {
                holes.proven.add(frame.lost(what));
                continue;
            }
        };
        if let Some(new_lsn) = append(&new, &frame)? {
            frames += 1;
            records += frame.records().len() as u64;
            moved(&Moved {
                frame: &frame,
                new_lsn,
            })?;
        }
    }
    holes.prove(attested);
    let end = walk.end_hole(attested);
    if let Some(end) = end.filter(|end| end.broken || holes.unproven.is_empty()) {
        holes.proven.add(end);
    }
    new.close()?;
    let end_lsn = Lsn::new(walk.position());
    Ok(Salvaged {
        old_log_id: source.key.id,
        new_log_id: new.log_id(),
        first_lsn: Lsn::new(source.first_lsn),
        end_lsn,
        frames,
        records,
        lost: holes.proven,
        torn: holes.unproven,
        findings: source.findings,
        ignored: source.ignored,
    })
}

/// Holes, parted by whether what stood there is known to have been durable.
#[derive(Debug, Default)]
struct Holes {
    proven: Losses,
    /// Those behind everything attested so far.
    unproven: Losses,
}

impl Holes {
    fn add(&mut self, hole: LostRange) {
        match hole.broken {
            true => self.proven.add(hole),
            false => self.unproven.add(hole),
        }
    }

    /// Everything below `attested` was durable.
    fn prove(&mut self, attested: u64) {
        let proven = |hole: &LostRange| hole.from.get() < attested;
        if self.unproven.ranges.first().is_some_and(proven) {
            self.unproven.split_into(proven, &mut self.proven);
        }
    }
}

fn begin(source: &Source, to: &Path) -> Result<Wal> {
    let bad = |source| WalError::BadDirectory {
        dir: to.to_owned(),
        source,
    };
    source.disk.create_dir_all(to).map_err(bad)?;
    if !source.disk.list(to).map_err(bad)?.is_empty() {
        return Err(bad(std::io::Error::new(
            std::io::ErrorKind::AlreadyExists,
            "it is not empty: name a new directory",
        )));
    }
    let largest = source.parts.iter().map(|part| part.size).max();
    let size = largest.unwrap_or_else(|| source.usual_size());
    let options = Options::new()
        .segment_size(size)
        .max_record_bytes(to_usize(max_payload(size)))
        .durability(Durability::Os)
        .background(Background::Inline)
        .disk(Arc::clone(&source.disk));
    Wal::open_with(to, options)
}

/// Appends the frame; `None` if it is one of the log's own.
fn append(new: &Wal, frame: &DumpedFrame) -> Result<Option<Lsn>> {
    Ok(match frame.kind {
        FrameKind::Data => {
            let options = crate::options::AppendOptions::new().stream(frame.stream);
            Some(new.append_with(&options, &frame.payload)?)
        }
        FrameKind::Control => Some(new.append_control(frame.stream, &frame.payload)?),
        FrameKind::Batch => Some(new.append_batch_with(frame.stream, &frame.records())?.first),
        FrameKind::Watermark | FrameKind::Seal | FrameKind::Close | FrameKind::Padding => None,
    })
}
