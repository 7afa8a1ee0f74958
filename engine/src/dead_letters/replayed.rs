//! Which frames of the engine's log hold replayed letters.

use crate::dead_letters::letter::{About, about};
use crate::error::{Error, Result};
use highwater_wal::{FrameKind, Lsn, StreamId, Wal};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// What each frame of these streams between `from` and `to` replays. The letters of a frame are in
/// its order; the first record of a frame is no letter.
pub(super) fn replayed_between(
    wal: &Wal,
    dir: &Path,
    (from, to): (Lsn, Lsn),
    streams: &BTreeSet<StreamId>,
) -> Result<BTreeMap<Lsn, Vec<About>>> {
    let mut found = BTreeMap::new();
    if from >= to {
        return Ok(found);
    }
    let mut frames = wal.read_range(from, to)?;
    while let Some(frame) = frames.next_frame()? {
        if frame.kind != FrameKind::Batch || !streams.contains(&frame.stream) {
            continue;
        }
        let letters = frame.records().skip(1).map(|record| about(record.bytes()));
        let letters = letters.collect::<Result<Vec<About>, String>>();
        let letters = letters.map_err(|what| Error::EngineLog {
            dir: dir.to_owned(),
            lsn: frame.lsn,
            what,
        })?;
        found.insert(frame.lsn, letters);
    }
    Ok(found)
}
