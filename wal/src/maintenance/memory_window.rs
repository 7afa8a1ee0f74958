//! Which part of the log is in memory, where its segments are appended to in memory of the process.
//! After the end of the log that is a little more than appenders need. Before the durable LSN it is
//! what followers are likely to read.
//!
//! Older parts are given back to the system and read from the file from then on. Newer parts are
//! asked for before an appender needs them. So a log takes some forty MiB with segments of 64 MiB,
//! however many segments are open. The same pages of the machine are used again and again. Measured
//! on a virtual machine with huge pages: a page that the host had not provided yet took 10 µs (2.5
//! ms per MiB). A page that was given back a moment ago took 0.04 µs. `benches/tuning.rs` shows
//! the gain.

use std::ops::Range;

/// The system is asked for this much at a time, and given this much back: a huge page of x86-64 and
/// of ARM.
const LONGEST_STEP: u64 = 2 << 20;
const PAGE: u64 = highwater_disk::PAGE_SIZE;

/// A segment up to this long is one of a small log.
const SMALL: u64 = 1 << 20;

/// All positions are of the log, in bytes.
#[derive(Debug)]
pub(crate) struct MemoryWindow {
    /// Memory below was given back.
    low: u64,
    /// Memory below was asked for.
    high: u64,
}

/// How much is in memory, by the size of the segment that is appended to.
#[derive(Debug, Clone, Copy)]
struct Scale {
    /// This much stays in memory before the durable LSN.
    keep: u64,
    /// This much is provided after the end of the log.
    ahead: u64,
    /// The same in a log at rest: a burst without syncs comes as fast as memory goes. Less in a
    /// small log, of which there may be many.
    ahead_at_rest: u64,
    step: u64,
}

impl Scale {
    /// For a log at `position`, in one of `segments` or about to be.
    fn of(segments: &[Range<u64>], position: u64) -> Self {
        let holding = segments.iter().find(|segment| segment.contains(&position));
        let size = holding.or(segments.last()).map_or(0, |s| s.end - s.start);
        let pages = |size: u64| (size / PAGE * PAGE).max(PAGE);
        Self {
            keep: pages(size / 2),
            ahead: pages(size / 8),
            ahead_at_rest: if size > SMALL { size } else { pages(size / 2) },
            step: pages(size / 16).min(LONGEST_STEP),
        }
    }
}

/// How far the log is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Positions {
    pub(crate) durable: u64,
    pub(crate) appended: u64,
    pub(crate) at_rest: bool,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum MemoryMove {
    /// Ask the system for this part.
    Provide(Range<u64>),
    /// Give this part back.
    GiveBack(Range<u64>),
}

impl MemoryWindow {
    /// For a log that ends at `end`. Everything before is read from files.
    pub(crate) fn new(end: u64) -> Self {
        Self { low: 0, high: end }
    }

    /// What to do next, in the segments at `segments` (each from its base to its end, in order).
    /// Giving back comes first: the system has that at hand when it is asked next.
    pub(crate) fn next(&self, segments: &[Range<u64>], positions: Positions) -> Option<MemoryMove> {
        self.give_back(segments, positions)
            .map(MemoryMove::GiveBack)
            .or_else(|| self.provide(segments, positions).map(MemoryMove::Provide))
    }

    /// Where memory is wanted next, and in which segment; `None` if that is not made yet. Appenders
    /// have touched the memory before that themselves.
    fn front<'a>(
        &self,
        segments: &'a [Range<u64>],
        positions: Positions,
    ) -> Option<(u64, &'a Range<u64>)> {
        let from = self.high.max(positions.appended);
        let segment = segments.iter().find(|segment| segment.contains(&from))?;
        Some((from, segment))
    }

    fn provide(&self, segments: &[Range<u64>], positions: Positions) -> Option<Range<u64>> {
        let scale = Scale::of(segments, positions.appended);
        let ahead = match positions.at_rest {
            true => scale.ahead_at_rest,
            false => scale.ahead,
        };
        let (from, segment) = self.front(segments, positions)?;
        let steps = (from - segment.start) / scale.step + 1;
        (from < positions.appended + ahead)
            .then(|| from..segment.end.min(segment.start + steps * scale.step))
    }

    /// Where the memory begins, and in which segment. Segments that were released as a whole are
    /// passed over.
    fn back<'a>(&self, segments: &'a [Range<u64>]) -> Option<(u64, &'a Range<u64>)> {
        let segment = segments.iter().find(|segment| segment.end > self.low)?;
        Some((self.low.max(segment.start), segment))
    }

    fn give_back(&self, segments: &[Range<u64>], positions: Positions) -> Option<Range<u64>> {
        let (from, segment) = self.back(segments)?;
        let scale = Scale::of(segments, positions.appended);
        let to = positions.durable.saturating_sub(scale.keep);
        let whole_steps = to.saturating_sub(segment.start) / scale.step * scale.step;
        let end = if to >= segment.end {
            segment.end
        } else {
            segment.start + whole_steps
        };
        (end > from).then_some(from..end)
    }

    /// `step` is done, or cannot be.
    pub(crate) fn done(&mut self, step: &MemoryMove) {
        match step {
            MemoryMove::Provide(range) => self.high = self.high.max(range.end),
            MemoryMove::GiveBack(range) => self.low = self.low.max(range.end),
        }
    }

    /// How far the log has to be durable before there may be more to do than [`Self::next`]
    /// returned, in the same segments.
    pub(crate) fn due(&self, segments: &[Range<u64>], positions: Positions) -> u64 {
        let scale = Scale::of(segments, positions.appended);
        let front = self.front(segments, positions);
        let provide = front.map_or(u64::MAX, |(from, _)| from.saturating_sub(scale.ahead) + 1);
        let back = self.back(segments);
        let give_back = back.map_or(u64::MAX, |(from, segment)| {
            let next_step = (from - segment.start) / scale.step + 1;
            segment.end.min(segment.start + next_step * scale.step) + scale.keep
        });
        provide.min(give_back)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const SIZE: u64 = 64 * MIB;

    fn at(durable: u64, appended: u64) -> Positions {
        Positions {
            durable,
            appended,
            at_rest: false,
        }
    }

    /// Does all there is to do; returns how much memory the log takes then.
    fn move_all(window: &mut MemoryWindow, segments: &[Range<u64>], positions: Positions) -> u64 {
        while let Some(step) = window.next(segments, positions) {
            window.done(&step);
        }
        assert!(
            window.due(segments, positions) > positions.durable,
            "{window:?} {positions:?}"
        );
        window.high.max(positions.appended) - window.low.max(segments[0].start)
    }

    #[test]
    fn a_log_takes_the_same_memory_however_far_it_goes() {
        // The last one is not made yet when it is wanted first.
        let segments = [0..SIZE, SIZE..2 * SIZE - 8192, 2 * SIZE - 8192..3 * SIZE];
        let mut window = MemoryWindow::new(4096);
        assert_eq!(move_all(&mut window, &segments, at(4096, 4096)), 10 * MIB);
        for position in (1..5 * 32).map(|n| n * MIB) {
            let made = if position < 100 * MIB { 2 } else { 3 };
            let memory = move_all(
                &mut window,
                &segments[..made],
                at(position, position + 1000),
            );
            assert!(memory <= 44 * MIB, "{memory} at {position}");
            let ahead = 8 * MIB - PAGE; // one of them is a little shorter
            assert!(window.high >= position + 1000 + ahead, "{position}");
            assert!(
                window.low <= position.saturating_sub(32 * MIB),
                "{position}"
            );
        }
    }

    #[test]
    fn steps_end_at_multiples_in_their_segment_and_at_its_end() {
        let segments = [0..SIZE - 8192, SIZE - 8192..2 * SIZE];
        let mut window = MemoryWindow::new(100_000);
        let positions = at(100_000, 100_000);
        let step = window.next(&segments, positions);
        assert_eq!(step, Some(MemoryMove::Provide(100_000..2 * MIB)));
        (window.low, window.high) = (SIZE, SIZE - MIB);
        let positions = at(SIZE - MIB, SIZE - MIB);
        let step = window.next(&segments, positions).unwrap();
        assert_eq!(step, MemoryMove::Provide(SIZE - MIB..SIZE - 8192));
        window.done(&step);
        let step = window.next(&segments, positions);
        assert_eq!(
            step,
            Some(MemoryMove::Provide(SIZE - 8192..SIZE - 8192 + 2 * MIB))
        );
    }

    #[test]
    fn nothing_is_given_back_that_is_not_durable() {
        let segments = [0..SIZE, SIZE..2 * SIZE];
        let mut window = MemoryWindow::new(0);
        window.high = 2 * SIZE;
        assert_eq!(window.next(&segments, at(33 * MIB, 2 * SIZE)), None);
        let positions = at(34 * MIB, 2 * SIZE);
        assert_eq!(
            window.next(&segments, positions),
            Some(MemoryMove::GiveBack(0..2 * MIB))
        );
        // What was released as a whole is passed over.
        let positions = at(2 * SIZE, 2 * SIZE);
        assert_eq!(
            window.next(&segments[1..], positions),
            Some(MemoryMove::GiveBack(SIZE..SIZE + 32 * MIB))
        );
    }

    #[test]
    fn a_log_at_rest_gets_memory_for_a_segment() {
        let segments = [0..SIZE, SIZE..2 * SIZE];
        let mut window = MemoryWindow::new(0);
        let positions = Positions {
            at_rest: true,
            ..at(40 * MIB, 40 * MIB)
        };
        move_all(&mut window, &segments, positions);
        assert_eq!(window.high, 104 * MIB);
        assert_eq!(
            window.due(&segments, positions),
            42 * MIB,
            "the low end comes first"
        );
    }

    #[test]
    fn small_segments_go_by_pages() {
        let segments = [0..65536, 65536..131_072];
        let mut window = MemoryWindow::new(4096);
        assert_eq!(move_all(&mut window, &segments, at(4096, 4096)), 12288);
        assert_eq!(move_all(&mut window, &segments, at(65536, 65536)), 40960);
    }
}
