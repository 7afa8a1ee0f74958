//! How far damage goes, and what it costs.

use crate::outcome::Result;
use crate::text;
use highwater_wal::inspect::{Log, RepairPlan, SegmentInfo};
use highwater_wal::{Lsn, WalError};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// A stretch of the log that no intact frame covers.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Extent {
    from_lsn: u64,
    /// Unknown if nothing tells how far the log went.
    to_lsn: Option<u64>,
    bytes: Option<u64>,
    /// Where it starts in the file of the finding.
    from_offset: u64,
    /// Where it ends in that file, if it does.
    to_offset: Option<u64>,
}

impl Extent {
    pub(crate) fn to_text(&self) -> String {
        let Some((to, bytes)) = self.to_lsn.zip(self.bytes) else {
            return format!("LSN {} on, how far is not known", self.from_lsn);
        };
        let within = self.to_offset.map_or(String::new(), |end| {
            format!(", offset {} to {end}", self.from_offset)
        });
        format!(
            "LSN {} to {to}, {} bytes{within}: how many records were in them is not known",
            self.from_lsn,
            text::grouped(bytes)
        )
    }
}

/// A hole, and the file in which it begins.
#[derive(Debug)]
struct Hole {
    from: u64,
    to: Option<u64>,
    file: PathBuf,
    offset: u64,
}

/// The holes of a log.
#[derive(Debug)]
pub(crate) struct Holes {
    holes: Vec<Hole>,
    segments: Vec<SegmentInfo>,
}

impl Holes {
    /// Those of a whole log.
    pub(crate) fn of_plan(log: &Log, plan: &RepairPlan) -> Result<Self> {
        let ranges = plan.holes.ranges.iter().chain(&plan.lost.ranges);
        let holes = ranges.map(|range| Hole {
            from: range.from.get(),
            to: range.to.map(Lsn::get),
            file: range.file.clone(),
            offset: range.offset,
        });
        Ok(Self {
            holes: holes.collect(),
            segments: log.segments()?,
        })
    }

    /// Those of one segment file: each ends at the next intact frame.
    pub(crate) fn of_segment(log: &Log) -> Result<Self> {
        let mut holes: Vec<Hole> = Vec::new();
        for frame in log.frames(Lsn::ZERO)? {
            match frame {
                Ok(frame) => {
                    let open = holes.last_mut().filter(|hole| hole.to.is_none());
                    open.into_iter()
                        .for_each(|hole| hole.to = Some(frame.lsn.get()));
                }
                Err(WalError::Corrupt {
                    file, offset, lsn, ..
                }) => holes.push(Hole {
                    from: lsn.get(),
                    to: None,
                    file,
                    offset,
                }),
                Err(_) => {}
            }
        }
        Ok(Self {
            holes,
            segments: log.segments()?,
        })
    }

    /// The extent of what was found at an LSN; `None` if no frame is missing because of it.
    pub(crate) fn of(&self, lsn: u64) -> Option<Extent> {
        let mut holes = self.holes.iter();
        let hole = holes.find(|hole| hole.from <= lsn && hole.to.is_none_or(|to| lsn < to))?;
        let bytes = hole.to.map(|to| to - hole.from);
        let size = self.size_of(&hole.file);
        let end = bytes.map(|bytes| hole.offset + bytes);
        Some(Extent {
            from_lsn: hole.from,
            to_lsn: hole.to,
            bytes,
            from_offset: hole.offset,
            to_offset: end.filter(|end| size.is_some_and(|size| *end <= size)),
        })
    }

    fn size_of(&self, file: &Path) -> Option<u64> {
        let segment = self.segments.iter().find(|segment| segment.file == file);
        segment.map(|segment| segment.size_bytes)
    }
}

/// What repair would do with a damaged log.
#[derive(Debug, Serialize)]
pub(crate) struct Cost {
    /// Everything below would be kept.
    kept_until: u64,
    kept_records: u64,
    kept_frames: u64,
    /// Intact, and after the first damage: repair would lose them, salvage would save them.
    records_after: u64,
    frames_after: u64,
    /// Bytes of the log from the first damage on that were durable, as far as it is known.
    lost_bytes: u64,
    /// Whether repair would lose anything that was durable.
    loses: bool,
}

impl Cost {
    pub(crate) fn new(plan: &RepairPlan) -> Self {
        Self {
            kept_until: plan.kept_until.get(),
            kept_records: plan.records,
            kept_frames: plan.frames,
            records_after: plan.records_after,
            frames_after: plan.frames_after,
            lost_bytes: plan.lost.bytes,
            loses: !plan.lost.is_empty(),
        }
    }

    pub(crate) fn to_text(&self) -> String {
        let kept = text::grouped(self.kept_records);
        if !self.loses {
            return format!("repair would keep all {kept} records that are intact, and lose none");
        }
        let after = text::grouped(self.records_after);
        let all = text::grouped(self.kept_records + self.records_after);
        format!(
            "repair would keep {kept} records (those before LSN {}) and lose {after} intact ones after that, with what was in the \
             damaged places; salvage would save {all}",
            self.kept_until
        )
    }

    /// Whether everything that salvage would save is kept by repair too.
    pub(crate) fn is_all_kept(&self) -> bool {
        self.records_after == 0
    }
}
