//! Reading the headers of frames alone.

use crate::error::Result;
use crate::format::frame::FrameKind;
use crate::log::shared::Shared;
use crate::lsn::{Lsn, StreamId};
use crate::read::frame_cursor::FrameCursor;
use crate::segment::scan::{Check, FoundFrame};
use std::sync::Arc;

/// What a frame's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct FrameInfo {
    /// Where the frame starts.
    pub lsn: Lsn,
    /// First position after it.
    pub end_lsn: Lsn,
    /// What it is.
    pub kind: FrameKind,
    /// The stream of its records.
    pub stream: StreamId,
    /// Length of its payload in bytes, as it is stored.
    pub payload_len: usize,
    /// Start of the segment that holds it.
    pub segment: Lsn,
    /// Whether its records were taken back ([`Wal::void`](crate::Wal::void)): readers of records
    /// pass over it.
    pub is_void: bool,
}

/// Goes from frame to frame and reads headers only. Yields frames of every kind.
#[derive(Debug)]
pub struct FrameHeaders {
    cursor: FrameCursor,
}

impl FrameHeaders {
    pub(crate) fn open(shared: &Arc<Shared>, from: Lsn, to: Lsn) -> Result<Self> {
        Ok(Self {
            cursor: FrameCursor::open(shared, from, to)?,
        })
    }
}

impl Iterator for FrameHeaders {
    type Item = Result<FrameInfo>;

    fn next(&mut self) -> Option<Self::Item> {
        let found = self
            .cursor
            .step(Check::Header)
            .inspect_err(|_| self.cursor.stop());
        let cursor = &self.cursor;
        let info = |found: FoundFrame| FrameInfo {
            lsn: found.lsn(),
            end_lsn: found.end_lsn(),
            kind: found.header.kind,
            stream: found.header.stream,
            payload_len: found.header.payload_size(),
            segment: Lsn::new(found.base),
            is_void: found.holds_records() && cursor.is_void(&found),
        };
        found.map(|found| found.map(info)).transpose()
    }
}
