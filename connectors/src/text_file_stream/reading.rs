//! Reading one file: its lines go into the log together with how far it was read.

use crate::lines::{Limits, LineBuffer, Piece, text_of};
use highwater_engine::wal::Lsn;
use highwater_engine::wal::disk::DiskFile;
use highwater_engine::{Error, SourceContext};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// Lines that are stored at a time, at most.
const MAX_ROUND_LINES: usize = 8192;

/// What keeps a file from being read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    /// It concerns this file only.
    #[error("{0}")]
    File(String),
    /// The log takes nothing.
    #[error(transparent)]
    Log(#[from] Error),
}

/// How the reading of a file ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    Whole,
    Stopping,
}

/// A file that is being read.
pub(super) struct Reading<'a> {
    pub(super) source: &'a SourceContext,
    pub(super) path: PathBuf,
    pub(super) producer: String,
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) len: u64,
    pub(super) limits: Limits,
    pub(super) newest: Option<Lsn>,
    /// Lines that were stored.
    pub(super) lines: u64,
}

impl Reading<'_> {
    pub(super) fn run(&mut self) -> Result<Ended, ReadError> {
        let known = self.source.last_sequence(&self.producer);
        let mut position = known.unwrap_or(0);
        let mut buffer = LineBuffer::new(self.limits.max_line_bytes, position);
        while position < self.len {
            if self.source.is_stopping() {
                return Ok(Ended::Stopping);
            }
            position += self.fill(&mut buffer, position)?;
            if buffer.begins_as_utf16() {
                self.source.skip(&format!(
                    "{} is skipped: it is UTF-16, as its first two bytes say; convert it to UTF-8 and move it in again",
                    self.path.display()
                ));
                buffer = LineBuffer::new(self.limits.max_line_bytes, self.len);
                break;
            }
            loop {
                let pieces = buffer.take(MAX_ROUND_LINES);
                if pieces.is_empty() {
                    break;
                }
                self.store(&buffer, &pieces)?;
            }
        }
        let last: Vec<Piece> = buffer.finish().into_iter().collect();
        self.store(&buffer, &last)?;
        if self.source.last_sequence(&self.producer) != Some(self.len) {
            // It ends in lines that were skipped, or is empty: nothing else says that it was read
            // to its end.
            self.newest = self.newest.max(Some(
                self.source.advance_producer(&self.producer, self.len)?,
            ));
        }
        if let Some(newest) = self.newest {
            self.source.sync_to(newest)?;
        }
        Ok(Ended::Whole)
    }

    /// Reads some bytes at `position`; returns how many.
    fn fill(&self, buffer: &mut LineBuffer, position: u64) -> Result<u64, ReadError> {
        let left = usize::try_from(self.len - position).unwrap_or(usize::MAX);
        loop {
            let read = buffer.fill(|room| {
                let wanted = room.len().min(left);
                self.file
                    .read_at(room.get_mut(..wanted).unwrap_or_default(), position)
            });
            match read {
                Ok(0) => {
                    return Err(ReadError::File(format!(
                        "{} was cut short while it was read: it ends at byte {position} of {}. The lines up to there are \
                         in the log; what is left counts as a new file",
                        self.path.display(),
                        self.len
                    )));
                }
                Ok(count) => return Ok(count as u64),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => {
                    return Err(ReadError::File(format!(
                        "{e}, at byte {position}. The lines up to there are in the log, the rest is tried again"
                    )));
                }
            }
        }
    }

    fn store(&mut self, buffer: &LineBuffer, pieces: &[Piece]) -> Result<(), ReadError> {
        let lines: Vec<(u64, &[u8])> = pieces
            .iter()
            .filter_map(|piece| self.accept(buffer, piece))
            .collect();
        for group in self.limits.groups(&lines, |(_, line)| line.len()) {
            let appended = self.source.append_once(&self.producer, group)?;
            self.newest = self.newest.max(appended.lsn);
            self.lines += (group.len() - appended.duplicates) as u64;
        }
        Ok(())
    }

    fn accept<'b>(&self, buffer: &'b LineBuffer, piece: &Piece) -> Option<(u64, &'b [u8])> {
        let (at, why) = match piece {
            Piece::TooLong { at } => (
                *at,
                format!("longer than {} bytes", self.limits.max_line_bytes),
            ),
            Piece::Line { range, at, next } => {
                let line = buffer.bytes(range);
                match text_of(line) {
                    Ok(_) => return Some((*next, line)),
                    Err(wrong) => (*at, format!("not utf-8: the byte at {wrong} of the line")),
                }
            }
        };
        self.source.skip(&format!(
            "line at byte {at} of {}: {why}",
            self.path.display()
        ));
        None
    }
}
