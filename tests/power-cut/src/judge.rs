//! What a log may show after a power cut, given what was known before it.

use crate::medium::Note;
use crate::wire::{Frames, Opening};

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
    pub(crate) fn after(&self, shown: &Opening) -> Self {
        Self {
            acked: shown.frames.keys().next_back().copied().max(self.acked),
            frames: shown.frames.clone(),
            opened: false,
            start: shown.first,
            latest_start: shown.first,
        }
    }

    /// Acknowledged frames are there, then at most some of the others in order, then nothing. How
    /// many records were acknowledged, or shown before.
    pub(crate) fn check(&self, shown: &Opening) -> Result<usize, String> {
        let first = shown.first;
        if first < self.start || first > self.latest_start {
            return Err(format!(
                "the log starts at {first}, not between {} and {}",
                self.start, self.latest_start
            ));
        }
        let mut expected = self.frames.range(first..);
        let mut acknowledged = 0;
        for found in &shown.frames {
            let right = expected.next();
            if right != Some(found) {
                return Err(format!("the log shows {found:x?}, not {right:x?}"));
            }
            if self.acked >= Some(*found.0) {
                acknowledged += found.1.len();
            }
        }
        match expected.next() {
            Some((lsn, _)) if self.acked >= Some(*lsn) => Err(format!(
                "the log ends before {lsn}, but {} was acknowledged",
                self.acked.unwrap_or_default()
            )),
            _ => Ok(acknowledged),
        }
    }
}
