//! What the marks of a damaged log say.

use crate::error::Result;
use crate::format::mark::Mark;
use crate::marks::set::Marks;
use crate::repair::scan::{Salvage, SalvageScanner, SavedFrame};
use crate::repair::source::Source;
use std::sync::Arc;

/// What `LOG` says, if it can be read, and the intact marks after that.
#[derive(Debug)]
pub(crate) struct SavedMarks {
    marks: Marks,
    /// `LOG` knows the cursors up to here.
    known_to: u64,
}

impl SavedMarks {
    pub(crate) fn new(source: &Source) -> Self {
        Self {
            marks: source.marks.clone(),
            known_to: source.proven_lsn,
        }
    }

    /// Those of the whole log. It is read for them only if it may have some.
    pub(crate) fn read(source: &Source) -> Result<Self> {
        let mut saved = Self::new(source);
        if source.may_have_marks {
            let mut scan = SalvageScanner::new(source);
            while let Some(step) = scan.step()? {
                if let Salvage::Frame(frame) = step {
                    saved.pass(&frame);
                }
            }
        }
        Ok(saved)
    }

    /// Goes on with the next frame.
    pub(crate) fn pass(&mut self, frame: &SavedFrame) {
        let Some(mark) = frame.found.mark(frame.payload()) else {
            return;
        };
        let is_void = matches!(mark, Mark::Void { .. });
        if is_void || frame.lsn() >= self.known_to {
            self.marks.apply(&mark);
        }
    }

    /// What they say of a log in which nothing lies between `from` and `to`: consumers that have
    /// come as far go on at `to`.
    pub(crate) fn with_gap(mut self, from: u64, to: u64) -> Marks {
        for position in self.marks.cursors.values_mut() {
            if (from..to).contains(position) {
                *position = to;
            }
        }
        self.marks
    }

    /// Whether the record of a frame was taken back.
    pub(crate) fn is_void(&self, frame: &SavedFrame) -> bool {
        self.marks.voids.contains(frame.lsn())
    }

    /// The cursors, for a log in which the frames lie elsewhere.
    pub(crate) fn cursors(&self) -> MovedCursors {
        let cursors = self.marks.cursors.iter();
        let mut waiting: Vec<_> = cursors.map(|(name, at)| (Arc::clone(name), *at)).collect();
        waiting.sort_by_key(|(_, position)| std::cmp::Reverse(*position));
        MovedCursors {
            waiting,
            moved: Marks::default(),
        }
    }
}

/// Cursors whose log is copied frame by frame to other places.
#[derive(Debug)]
pub(crate) struct MovedCursors {
    /// The lowest last.
    waiting: Vec<(Arc<str>, u64)>,
    moved: Marks,
}

impl MovedCursors {
    /// The frame at `old` lies at `new` now. Frames come in order.
    pub(crate) fn pass(&mut self, old: u64, new: u64) {
        while let Some((name, _)) = self.waiting.pop_if(|(_, position)| *position <= old) {
            self.moved.cursors.insert(name, new);
        }
    }

    /// The new log ends at `end`.
    pub(crate) fn finish(mut self, end: u64) -> Marks {
        self.pass(u64::MAX, end);
        self.moved
    }
}
