//! Reading the headers of frames alone.

use crate::error::Result;
use crate::format::frame::FrameKind;
use crate::log::shared::Shared;
use crate::lsn::{Lsn, StreamId};
use crate::read::cursor::Cursor;
use crate::segment::scan::{Check, FoundFrame};
use std::sync::Arc;

/// What a frame's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
}

/// Goes from frame to frame and reads headers only. Yields frames of every kind.
#[derive(Debug)]
pub struct FrameHeaders {
    cursor: Cursor,
}

impl FrameHeaders {
    pub(crate) fn open(shared: &Arc<Shared>, from: Lsn, to: Lsn) -> Result<Self> {
        Ok(Self {
            cursor: Cursor::open(shared, from, to)?,
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
        let info = |found: FoundFrame| FrameInfo {
            lsn: found.lsn(),
            end_lsn: found.end_lsn(),
            kind: found.header.kind,
            stream: found.header.stream,
            payload_len: found.header.payload_size(),
            segment: Lsn::new(found.base),
        };
        found.map(|found| found.map(info)).transpose()
    }
}
