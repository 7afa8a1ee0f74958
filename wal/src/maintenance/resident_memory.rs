//! Moves the part of the log that is in memory along with the log. Only for segments that are
//! appended to in memory of the process. [`MemoryWindow`] decides what to move.

use crate::facade::tracing;
use crate::maintenance::memory_window::{MemoryMove, MemoryWindow, Positions};
use crate::maintenance::pace::Pace;
use crate::segment::file::Segment;
use crate::segment::live::LiveSegments;
use crate::segment::maker::WritesVia;
use highwater_disk::DiskError;
use parking_lot::Mutex;
use std::sync::Arc;

#[derive(Debug)]
pub(crate) struct ResidentMemory {
    segments: Arc<LiveSegments>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// `None` if the log is in the page cache.
    window: Option<MemoryWindow>,
    /// Where the log was found at rest.
    rested_at: Option<u64>,
    /// Segments to let go of: giving their memory back takes milliseconds.
    released: Vec<Arc<Segment>>,
}

impl ResidentMemory {
    /// Moves the memory of the log, if it is `moved`.
    pub(crate) fn new(segments: &Arc<LiveSegments>, moved: bool) -> Self {
        let in_memory = segments.tail().writes_via() == WritesVia::Direct;
        Self {
            segments: Arc::clone(segments),
            state: Mutex::new(State {
                window: (moved && in_memory).then(|| MemoryWindow::new(segments.end())),
                rested_at: None,
                released: Vec::new(),
            }),
        }
    }

    /// Moves the memory by one step; false if it is where it should be. The next commit that calls
    /// for more is noticed by `pace`.
    pub(crate) fn step(&self, ready: &[Arc<Segment>], pace: &Pace) -> bool {
        let Some((segment, step)) = self.next(ready, pace) else {
            return false;
        };
        match &step {
            MemoryMove::Provide(range) => {
                let offsets = range.start - segment.base..range.end - segment.base;
                segment.map().prefault(offsets);
            }
            MemoryMove::GiveBack(range) => {
                // It stays then, as it did before.
                if let Err(error) = segment.map().give_back(range.end - segment.base) {
                    let error = DiskError::about(error, &segment.path);
                    tracing::debug!(%error, "the log keeps more in memory than it should");
                }
            }
        }
        if let Some(window) = &mut self.state.lock().window {
            window.done(&step);
        }
        true
    }

    /// What to do next, and to which segment.
    fn next(&self, ready: &[Arc<Segment>], pace: &Pace) -> Option<(Arc<Segment>, MemoryMove)> {
        let state = self.state.lock();
        let window = state.window.as_ref()?;
        let mut segments = self.segments.in_memory();
        segments.extend(ready.iter().map(Arc::clone));
        let ranges: Vec<_> = segments.iter().map(|s| s.base..s.end()).collect();
        for _look in 0..2 {
            let durable = pace.durable();
            let positions = Positions {
                durable,
                appended: self.segments.end().max(durable),
                at_rest: state.rested_at == Some(durable),
            };
            if let Some(step) = window.next(&ranges, positions) {
                let (MemoryMove::Provide(range) | MemoryMove::GiveBack(range)) = &step;
                let holds = |s: &Arc<Segment>| s.base <= range.start && range.end <= s.end();
                return segments.into_iter().find(holds).map(|s| (s, step));
            }
            if !pace.await_memory(window.due(&ranges, positions)) {
                break;
            }
        }
        None
    }

    /// Whether a log that is at rest at `durable` gets more memory.
    pub(crate) fn may_rest(&self, durable: u64) -> bool {
        let state = self.state.lock();
        state.window.is_some() && state.rested_at != Some(durable)
    }

    /// The log is at rest at `durable`.
    pub(crate) fn set_rested(&self, durable: u64) {
        self.state.lock().rested_at = Some(durable);
    }

    /// No appender uses these segments any more.
    pub(crate) fn release(&self, segments: impl IntoIterator<Item = Arc<Segment>>) {
        self.state.lock().released.extend(segments);
    }

    /// Gives the memory of released segments back; false if there is none.
    pub(crate) fn drop_released(&self) -> bool {
        let released = std::mem::take(&mut self.state.lock().released);
        !released.is_empty() // dropped here, without the lock
    }
}
