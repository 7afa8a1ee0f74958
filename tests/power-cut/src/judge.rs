//! What a log may show after a power cut, given what was known before it.

use crate::load::{Frames, record};
use crate::medium::Note;
use highwater_wal::{Lsn, Wal};

/// What the program above knew when the power went.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    /// Every frame that was ever appended, acknowledged or not.
    pub(crate) frames: Frames,
    /// The log was opened and has shown what it held.
    pub(crate) opened: bool,
    /// Everything up to the frame at this LSN was acknowledged, or shown.
    pub(crate) acked: Option<u64>,
    /// The log must not reach further back than this.
    pub(crate) start: u64,
    /// The log must reach back to this.
    pub(crate) latest_start: u64,
}

/// What was found to be right.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) frames: Frames,
    /// Records among them that had been acknowledged or shown.
    pub(crate) acknowledged: usize,
}

impl Known {
    pub(crate) fn learn(&mut self, note: Note) {
        match note {
            Note::Opened => self.opened = true,
            Note::Acked(lsn) => self.acked = self.acked.max(Some(lsn)),
            Note::Truncating(lsn) => self.latest_start = self.latest_start.max(lsn),
            Note::Truncated(lsn) => self.start = self.start.max(lsn),
        }
    }

    /// What holds once a log has shown this: it stays, and nothing else comes back.
    pub(crate) fn after(&self, log: &Wal, shown: &Shown) -> Self {
        let first = log.first_lsn().get();
        Self {
            acked: shown.frames.keys().next_back().copied().max(self.acked),
            frames: shown.frames.clone(),
            opened: false,
            start: first,
            latest_start: first,
        }
    }

    /// Reads all of the log: acknowledged frames are there, byte for byte, then at most some of the others in
    /// order, then nothing.
    pub(crate) fn check(&self, log: &Wal) -> Result<Shown, String> {
        let first = log.first_lsn().get();
        if first < self.start || first > self.latest_start {
            return Err(format!(
                "the log starts at {first}, not between {} and {}",
                self.start, self.latest_start
            ));
        }
        let mut expected = self.frames.range(first..);
        let mut shown = Shown {
            frames: Frames::new(),
            acknowledged: 0,
        };
        let mut records = log
            .read_from(Lsn::ZERO)
            .map_err(|e| e.to_string())?
            .peekable();
        while records.peek().is_some() {
            let Some((lsn, numbers)) = expected.next() else {
                return Err(format!("{:?} was never appended", records.next()));
            };
            for (index, number) in numbers.iter().enumerate() {
                let found = records.next();
                let right = match &found {
                    Some(Ok(found)) => {
                        let place = (found.lsn.get(), found.index as usize);
                        place == (*lsn, index) && *found.payload == *record(*number)
                    }
                    _ => false,
                };
                if !right {
                    return Err(format!("not record {number:x} at {lsn}, but {found:.200?}"));
                }
            }
            if self.acked >= Some(*lsn) {
                shown.acknowledged += numbers.len();
            }
            shown.frames.insert(*lsn, numbers.clone());
        }
        match expected.next() {
            Some((lsn, _)) if self.acked >= Some(*lsn) => Err(format!(
                "the log ends before {lsn}, but {} was acknowledged",
                self.acked.unwrap_or_default()
            )),
            _ => Ok(shown),
        }
    }
}
