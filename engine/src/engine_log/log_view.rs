//! A log as recovery reads it: one that is open, or one that is only looked at.

use crate::error::Result;
use highwater_wal::inspect::{DumpedFrame, DumpedFrames, Log};
use highwater_wal::{Frame, FrameKind, Lsn, StreamId, Wal};

/// A log that recovery reads.
#[derive(Debug, Clone, Copy)]
pub(crate) enum LogView<'a> {
    /// It is open: this process writes it.
    Open(&'a Wal),
    /// It is looked at, and not changed. Another process may have it open.
    Looked(&'a Log),
    /// There is none; one would begin here.
    None(Lsn),
}

impl LogView<'_> {
    /// Where it begins.
    pub(crate) fn first_lsn(&self) -> Lsn {
        match self {
            Self::Open(wal) => wal.first_lsn(),
            Self::Looked(log) => log.first_lsn(),
            Self::None(lsn) => *lsn,
        }
    }

    /// Where it ends.
    ///
    /// # Errors
    /// If it is looked at, and cannot be read.
    pub(crate) fn end_lsn(&self) -> Result<Lsn> {
        match self {
            Self::Open(wal) => Ok(wal.end_lsn()),
            Self::Looked(log) => Ok(frames(log, log.first_lsn())?.log_end()),
            Self::None(lsn) => Ok(*lsn),
        }
    }

    /// Calls `f` for every frame with records from `from` on, in order, up to the durable end.
    ///
    /// # Errors
    /// If the log cannot be read or is damaged; the first error of `f`.
    pub(crate) fn each(
        &self,
        from: Lsn,
        mut f: impl FnMut(&LogFrame<'_>) -> Result<()>,
    ) -> Result<()> {
        match self {
            Self::Open(wal) => {
                let mut frames = wal.read_from(from)?;
                while let Some(frame) = frames.next_frame()? {
                    f(&LogFrame::open(&frame))?;
                }
                Ok(())
            }
            Self::Looked(log) => {
                for frame in frames(log, from)? {
                    let frame = frame?;
                    if let Some(frame) = LogFrame::looked(&frame) {
                        f(&frame)?;
                    }
                }
                Ok(())
            }
            Self::None(_) => Ok(()),
        }
    }
}

fn frames(log: &Log, from: Lsn) -> Result<DumpedFrames> {
    // The start of a log is that of its first segment, where no frame is.
    let from = if from <= log.first_lsn() {
        Lsn::ZERO
    } else {
        from
    };
    Ok(log.frames(from)?)
}

/// A frame with records.
pub(crate) struct LogFrame<'a> {
    pub(crate) lsn: Lsn,
    pub(crate) kind: FrameKind,
    pub(crate) stream: StreamId,
    of: Of<'a>,
}

enum Of<'a> {
    Open(&'a Frame<'a>),
    Looked(&'a DumpedFrame),
}

impl<'a> LogFrame<'a> {
    fn open(frame: &'a Frame<'a>) -> Self {
        Self {
            lsn: frame.lsn,
            kind: frame.kind,
            stream: frame.stream,
            of: Of::Open(frame),
        }
    }

    /// `None` for a frame of the log itself.
    fn looked(frame: &'a DumpedFrame) -> Option<Self> {
        let has_records = matches!(
            frame.kind,
            FrameKind::Data | FrameKind::Batch | FrameKind::Control
        );
        has_records.then_some(Self {
            lsn: frame.lsn,
            kind: frame.kind,
            stream: frame.stream,
            of: Of::Looked(frame),
        })
    }

    pub(crate) fn payload(&self) -> &[u8] {
        match self.of {
            Of::Open(frame) => frame.payload(),
            Of::Looked(frame) => &frame.payload,
        }
    }

    /// Its records.
    pub(crate) fn records(&self) -> Vec<&[u8]> {
        match self.of {
            Of::Open(frame) => frame.records().map(|record| record.bytes()).collect(),
            Of::Looked(frame) => frame.records(),
        }
    }

    /// Its first record; how many there are after it, and their bytes.
    pub(crate) fn first_record(&self) -> (Option<&[u8]>, u64, u64) {
        fn of<'a>(mut records: impl Iterator<Item = &'a [u8]>) -> (Option<&'a [u8]>, u64, u64) {
            let first = records.next();
            let (count, bytes) = records.fold((0, 0), |(count, bytes), record| {
                (count + 1, bytes + record.len() as u64)
            });
            (first, count, bytes)
        }
        match self.of {
            Of::Open(frame) => of(frame.records().map(|record| record.bytes())),
            Of::Looked(frame) => of(frame.records().into_iter()),
        }
    }
}
