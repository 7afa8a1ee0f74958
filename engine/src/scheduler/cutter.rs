//! Where cuts come from: batch ids and ticks ascend, ranges touch.
//!
//! A tick with data is cut when it is due, also while the driver is behind. So is an empty one, as
//! long as the driver keeps up. While it is behind, an empty tick is passed over: the next cut of
//! the same run implies it. A batch that is full before its tick is due is a part of that tick.

use crate::dead_letters::desk::Desk;
use crate::engine_log::cut::{Cut, CutRecord, EmptyTicks};
use crate::engine_log::entry::{self, Entry};
use crate::error::{Error, Result};
use crate::faults::Faults;
use crate::ingest::admission::Admission;
use crate::ingest::offset_sources::OffsetSources;
use crate::ingest::source_context::SourceContext;
use crate::ingest::stream_queue::Queued;
use crate::scheduler::clock::BatchClock;
use highwater_wal::Lsn;
use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// A tick of which parts were cut, and others are not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OpenTick {
    pub(crate) time_ms: u64,
    /// The number of the next part.
    pub(crate) part: u32,
}

/// What a run goes on from.
#[derive(Debug, Clone, Default)]
pub(crate) struct GoneBefore {
    /// The last batch; 0 before the first.
    pub(crate) last_id: u64,
    /// Its tick, unless that does not bind the clock.
    pub(crate) last_ms: Option<u64>,
    /// A tick that earlier runs have not cut to its end: the first cut closes it, without data.
    pub(crate) open: Option<OpenTick>,
    /// Where windows are aligned, if that is known.
    pub(crate) zero_ms: Option<u64>,
    /// How often windows end: each slide of the program, in milliseconds.
    pub(crate) slides_ms: Vec<u64>,
    /// Where the batch that is being filled began.
    pub(crate) last_cut: Lsn,
}

/// Ends batches.
pub(crate) struct Cutter {
    dir: PathBuf,
    admission: Arc<Admission>,
    times: BatchClock,
    max_batch_bytes: u64,
    faults: Faults,
    before: GoneBefore,
    /// The tick of which this run has cut a part.
    open: Option<OpenTick>,
    /// Ticks up to this one were cut or passed over.
    passed_ms: u64,
    /// Whether this run has not cut yet.
    is_first: bool,
    /// Takes in what is to be replayed before a batch is cut.
    pub(crate) desk: Option<Arc<Desk>>,
    /// Each cut takes something out of them.
    pub(crate) queues: Vec<(Arc<dyn Queued>, SourceContext)>,
    /// Says what a batch has of sources that keep their own data.
    pub(crate) by_offset: Arc<OffsetSources>,
}

impl fmt::Debug for Cutter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cutter")
            .field("dir", &self.dir)
            .field("before", &self.before)
            .finish_non_exhaustive()
    }
}

impl Cutter {
    pub(crate) fn new(
        dir: PathBuf,
        admission: Arc<Admission>,
        mut times: BatchClock,
        max_batch_bytes: u64,
        faults: Faults,
        before: GoneBefore,
    ) -> Self {
        let passed_ms = times.due_ms();
        Self {
            dir,
            admission,
            times,
            max_batch_bytes,
            faults,
            before,
            open: None,
            passed_ms,
            is_first: true,
            desk: None,
            queues: Vec::new(),
            by_offset: Arc::default(),
        }
    }

    /// The first interval begins now.
    pub(crate) fn begin(&mut self) {
        self.passed_ms = self.times.due_ms();
    }

    /// When [`Self::poll`] has something to do again, unless a batch is full before that.
    pub(crate) fn next_due(&self) -> Duration {
        self.times.at(self.times.after(self.passed_ms))
    }

    /// By the clock: ends the batch whose tick is due, or that is full; `None` if there is none.
    /// While the driver is behind, empty ticks are passed over.
    pub(crate) fn poll(&mut self, is_behind: bool) -> Result<Option<Cut>> {
        let due = self.times.due_ms();
        // The engine's own records alone do not make a batch full: each cut adds one.
        let is_full = self.admission.batch_is_full() && self.admission.has_uncut_data();
        // What sources keep themselves waits there, while the driver is behind.
        let takes_more = !is_behind && self.by_offset.has_more();
        let is_full = is_full || takes_more;
        if self.times.never_ticks() {
            let tick_ms = self.next_ms(due);
            return match is_full {
                true => self.cut_tick(tick_ms, (true, true), !is_behind).map(Some),
                false => Ok(None),
            };
        }
        if let Some(open) = self.open {
            let is_due = due >= open.time_ms;
            self.passed_ms = self.passed_ms.max(due);
            return match is_due || is_full {
                true => self
                    .cut_tick(open.time_ms, (is_due, true), !is_behind)
                    .map(Some),
                false => Ok(None),
            };
        }
        if due > self.passed_ms {
            // Passed, also if the cut fails: the next tick tries again.
            self.passed_ms = due;
            if !is_behind || self.admission.has_uncut_data() {
                let tick_ms = self.next_ms(due);
                return self.cut_tick(tick_ms, (true, true), !is_behind).map(Some);
            }
        }
        if is_full {
            let tick_ms = self.next_ms(self.times.after(due));
            return self.cut_tick(tick_ms, (false, true), !is_behind).map(Some);
        }
        Ok(None)
    }

    /// At once: ends the batch that is being filled. It is its tick's last one, if it has all that
    /// has gathered. With `implied` ticks that were passed over are batches too.
    pub(crate) fn cut(&mut self, implied: bool) -> Result<Cut> {
        let due = self.times.due_ms();
        let tick_ms = match self.open {
            Some(open) => open.time_ms,
            None => self.next_ms(due),
        };
        self.cut_tick(tick_ms, (true, implied), true)
    }

    /// The tick of a batch at `ms`: above that of the last one.
    fn next_ms(&self, ms: u64) -> u64 {
        let last = self.before.last_ms;
        last.map_or(ms, |last| self.times.after(last).max(ms))
    }

    /// Ends a batch: a record in the log, durable when this returns. The batch has everything that
    /// has gathered, or as much of it as a batch may have. `is_whole` says whether it is the last
    /// part in the first case, `implied` whether ticks that were passed over are batches too.
    /// `advances` says whether it has something of sources that keep their own data.
    fn cut_tick(
        &mut self,
        tick_ms: u64,
        (is_whole, implied): (bool, bool),
        advances: bool,
    ) -> Result<Cut> {
        if let Some(desk) = &self.desk {
            desk.take_in()?;
        }
        for (queue, source) in self.queues.iter().filter(|(_, s)| !s.is_stopping()) {
            queue.take_in(source)?;
        }
        let wal = Arc::clone(&self.admission.wal);
        let interval_ms = self.times.interval_ms();
        let (to, has_more) = self.end()?;
        let empty = self.empty_ticks(tick_ms, implied);
        let zero_ms = self.before.zero_ms;
        let record = CutRecord {
            batch: self.before.last_id + 1 + empty.iter().map(|e| e.count).sum::<u64>(),
            tick_ms,
            interval_ms,
            zero_ms: zero_ms.unwrap_or_else(|| tick_ms.saturating_sub(interval_ms)),
            wall_ms: self.times.wall_ms(),
            part: self.open.map_or(0, |open| open.part),
            more_parts: !self.times.never_ticks() && (has_more || !is_whole),
            restarted: self.is_first && self.before.last_id > 0,
            from: self.before.last_cut,
            to,
            empty,
            sources: match advances {
                true => {
                    let interval = Duration::from_millis(interval_ms);
                    self.by_offset.advance(self.max_batch_bytes, interval)
                }
                false => Vec::new(),
            },
        };
        let lsn = entry::append(&wal, &Entry::Cut(record.clone()))?;
        if !self.faults.run_before_cut() {
            wal.sync_to(lsn)?;
        }
        let contradiction = |what| Error::EngineLog {
            dir: self.dir.clone(),
            lsn,
            what,
        };
        let cut = Cut::new(record, lsn).map_err(contradiction)?;
        let (batch, tick) = (cut.last.batch, cut.last.tick);
        self.admission.cut_at(batch.to);
        self.by_offset.was_cut(&batch, &cut.sources);
        self.open = (!tick.is_last_part).then(|| OpenTick {
            time_ms: tick_ms,
            part: tick.part.saturating_add(1),
        });
        self.is_first = false;
        self.before = GoneBefore {
            last_id: batch.id,
            last_ms: Some(tick_ms),
            open: None,
            zero_ms: Some(tick.zero_ms),
            slides_ms: std::mem::take(&mut self.before.slides_ms),
            last_cut: batch.to,
        };
        if tick.is_last_part {
            self.passed_ms = self.passed_ms.max(tick_ms);
        }
        Ok(cut)
    }

    /// The ticks before `tick_ms` that are batches without data. Within a run by the clock that is
    /// every tick that was passed over. Downtime is not made up for, tick by tick: the first cut of
    /// a run has the end of a tick that the run before has left open, and the ends of windows that
    /// hold records which no window has shown. So does each cut by hand.
    fn empty_ticks(&self, tick_ms: u64, implied: bool) -> Vec<EmptyTicks> {
        let single = |first_ms, part| EmptyTicks {
            first_ms,
            step_ms: self.times.interval_ms(),
            count: 1,
            part,
        };
        let open = self.before.open;
        let closed = open.map(|open| single(open.time_ms, open.part));
        let mut empty: Vec<EmptyTicks> = closed.into_iter().collect();
        let Some(last_ms) = self.before.last_ms else {
            return empty;
        };
        if self.open.is_some() || self.times.never_ticks() {
            return empty;
        }
        let first_ms = self.times.after(last_ms);
        if implied && !self.is_first {
            let passed = tick_ms.saturating_sub(first_ms);
            let count = passed.div_ceil(self.times.interval_ms());
            let all = EmptyTicks {
                count,
                ..single(first_ms, 0)
            };
            empty.extend((count > 0).then_some(all));
        } else {
            let ends = self.missed_ends(last_ms, tick_ms);
            empty.extend(ends.into_iter().map(|end_ms| single(end_ms, 0)));
        }
        empty
    }

    /// Of each slide, the next end after `last_ms`, if it was missed and `last_ms` is not an end
    /// itself.
    fn missed_ends(&self, last_ms: u64, tick_ms: u64) -> BTreeSet<u64> {
        let zero_ms = self.before.zero_ms.unwrap_or(0);
        let slides = self.before.slides_ms.iter().copied();
        let ends = slides.filter_map(|slide_ms| {
            let since = match last_ms.checked_sub(zero_ms) {
                Some(after) => after % slide_ms,
                None => slide_ms - 1 - (zero_ms - last_ms - 1) % slide_ms,
            };
            let end_ms = last_ms.checked_add(slide_ms - since)?;
            (since > 0 && end_ms < tick_ms).then_some(end_ms)
        });
        ends.collect()
    }

    /// Where the batch ends, if that is not at its cut, and whether more has gathered. A small
    /// batch ends at its cut, a large one where the log ends now: the cut may begin a segment,
    /// whose header would be counted.
    fn end(&self) -> Result<(Option<Lsn>, bool)> {
        let max = self.max_batch_bytes;
        let uncut = self.admission.uncut_bytes();
        if uncut > max.saturating_add(max / 4)
            && let Some(end) = self.end_of_a_full_batch()?
        {
            return Ok((Some(end), true));
        }
        let end = self.before.last_cut.get().saturating_add(uncut);
        Ok(((uncut > max / 2).then_some(Lsn::new(end)), false))
    }

    /// If clearly more has gathered than a batch may have, as after a crash or before the start:
    /// where a full batch ends. It has at least one frame of a source: with the engine's own frames
    /// alone, a bound below their size would be reached for ever. `None` if it has everything.
    fn end_of_a_full_batch(&self) -> Result<Option<Lsn>> {
        let max = self.max_batch_bytes;
        let wal = &self.admission.wal;
        wal.sync()?;
        let last_cut = self.before.last_cut;
        let mut frames = wal.read_from(last_cut)?;
        let (mut end, mut has_data) = (None, false);
        while let Some(frame) = frames.next_frame()? {
            if has_data && frame.end_lsn.bytes_since(last_cut) > max {
                return Ok(end);
            }
            has_data |= frame.stream != entry::ENGINE;
            end = Some(frame.end_lsn);
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use highwater_wal::disk::{Clock, ManualClock, SimDisk};
    use highwater_wal::{Background, Options, StreamId, Wal};

    const SECOND: Duration = Duration::from_secs(1);
    const START: u64 = 1_700_000_000_000;
    const YEAR_MS: u64 = 365 * 24 * 3600 * 1000;

    struct Rig {
        clock: Arc<ManualClock>,
        admission: Arc<Admission>,
        cutter: Cutter,
    }

    /// A cutter with an interval of a second on a log of its own, half a second after `START`.
    fn rig(before: GoneBefore) -> Rig {
        rig_of(before, 1000, u64::MAX / 2)
    }

    fn rig_of(before: GoneBefore, interval_ms: u64, max_batch_bytes: u64) -> Rig {
        let disk = Arc::new(SimDisk::new());
        let clock = Arc::new(ManualClock::new(START + 500));
        let options = Options::new().background(Background::Inline);
        let (on, at): (Arc<SimDisk>, Arc<ManualClock>) = (Arc::clone(&disk), Arc::clone(&clock));
        let wal = Wal::open_with("/log", options.disk(on).clock(at)).unwrap();
        let shared: Arc<dyn Clock> = Arc::<ManualClock>::clone(&clock);
        let admission = Arc::new(Admission::new(
            Arc::new(wal),
            disk,
            Arc::clone(&shared),
            u64::MAX / 2,
            max_batch_bytes,
            (Lsn::ZERO, Lsn::ZERO),
        ));
        let last_ms = before.last_ms.unwrap_or(0);
        let cutter = Cutter::new(
            "/app".into(),
            Arc::clone(&admission),
            BatchClock::start(shared, interval_ms, last_ms),
            max_batch_bytes,
            Faults::default(),
            before,
        );
        Rig {
            clock,
            admission,
            cutter,
        }
    }

    /// What a cut says: id, seconds after `START`, part, whether it is the last one.
    type Shown = (u64, u64, u32, bool);

    impl Rig {
        fn data(&self, bytes: usize) {
            let record = vec![0_u8; bytes];
            let wal = &self.admission.wal;
            let at = wal.append_batch_to(StreamId(1), [record]).unwrap();
            self.admission.has_data_at(at.first);
        }

        /// Every batch that is cut by the clock now.
        fn poll(&mut self, is_behind: bool) -> Vec<Shown> {
            let mut cuts = Vec::new();
            while let Some(cut) = self.cutter.poll(is_behind).unwrap() {
                cuts.push(cut);
                assert!(cuts.len() < 100, "it cuts for ever");
            }
            assert!(
                self.cutter.next_due() > self.clock.now(),
                "it would not wait"
            );
            cuts.iter().flat_map(shown).collect()
        }

        /// The newest cut, as the log has it.
        fn record(&self) -> CutRecord {
            let wal = &self.admission.wal;
            wal.sync().unwrap();
            let mut frames = wal.read_from(Lsn::ZERO).unwrap();
            let mut newest = None;
            while let Some(frame) = frames.next_frame().unwrap() {
                if frame.stream == entry::ENGINE
                    && let (2, Entry::Cut(cut)) = entry::decode(frame.payload()).unwrap()
                {
                    newest = Some(cut);
                }
            }
            newest.unwrap()
        }
    }

    fn shown(cut: &Cut) -> Vec<Shown> {
        let batches = cut.batches().map(|timed| {
            let tick = timed.tick;
            let seconds = (tick.time_ms - START) / 1000;
            (timed.batch.id, seconds, tick.part, tick.is_last_part)
        });
        batches.collect()
    }

    fn after(last_id: u64, last_ms: u64) -> GoneBefore {
        GoneBefore {
            last_id,
            last_ms: Some(last_ms),
            zero_ms: Some(START - 10_000),
            ..GoneBefore::default()
        }
    }

    #[test]
    fn the_first_tick_is_the_wall_clock_rounded_down_or_the_one_after_the_last() {
        let first = |before| {
            let mut rig = rig(before);
            rig.cutter.cut(false).unwrap().last.tick.time_ms
        };
        assert_eq!(first(GoneBefore::default()), START);
        assert_eq!(first(after(7, START - 60_000)), START);
        assert_eq!(first(after(7, START)), START + 1000);
        assert_eq!(first(after(7, START + 3_600_000)), START + 3_601_000);
        // The interval was 300 ms.
        assert_eq!(first(after(7, START + 300)), START + 1000);
        // Set back: the last tick does not bind.
        let reset = GoneBefore {
            last_ms: None,
            ..after(7, 0)
        };
        assert_eq!(first(reset), START);
    }

    #[test]
    fn zero_is_the_first_tick_less_an_interval_and_stays() {
        let mut rig = rig(GoneBefore::default());
        for _ in 0..3 {
            rig.clock.advance(SECOND);
            let cut = rig.cutter.cut(false).unwrap();
            assert_eq!(cut.last.tick.zero_ms, START);
        }
        assert_eq!(rig.record().zero_ms, START);
    }

    #[test]
    fn the_wall_clock_is_noted_and_decides_nothing() {
        let mut rig = rig(GoneBefore::default());
        for (second, wall) in [(1, 5), (2, u64::MAX), (3, START)] {
            rig.clock.advance(SECOND);
            rig.clock.set_wall_ms(wall);
            assert_eq!(rig.poll(false), [(second, second, 0, true)]);
            assert_eq!(rig.record().wall_ms, wall);
        }
    }

    #[test]
    fn a_tick_is_cut_when_it_is_due_and_not_before() {
        let mut rig = rig(GoneBefore::default());
        assert_eq!(rig.poll(false), []);
        assert_eq!(rig.cutter.next_due(), rig.clock.now() + SECOND / 2);
        rig.clock.advance(SECOND / 2 - Duration::from_millis(1));
        assert_eq!(rig.poll(false), []);
        rig.clock.advance(Duration::from_millis(1));
        assert_eq!(rig.poll(false), [(1, 1, 0, true)]);
        assert_eq!(rig.poll(false), []);
        assert_eq!(rig.cutter.next_due(), rig.clock.now() + SECOND);
    }

    #[test]
    fn a_tick_with_data_is_cut_also_while_the_driver_is_behind() {
        let mut rig = rig(GoneBefore::default());
        for second in 1..=3 {
            rig.data(10);
            rig.clock.advance(SECOND);
            assert_eq!(rig.poll(true), [(second, second, 0, true)]);
        }
    }

    #[test]
    fn empty_ticks_are_implied_by_the_next_cut_while_the_driver_is_behind() {
        let mut rig = rig(GoneBefore::default());
        rig.clock.advance(SECOND);
        assert_eq!(rig.poll(false), [(1, 1, 0, true)]);
        for _ in 0..3 {
            rig.clock.advance(SECOND);
            assert_eq!(rig.poll(true), []);
        }
        rig.data(10);
        rig.clock.advance(SECOND);
        let implied = [2, 3, 4].map(|second| (second, second, 0, true));
        let all: Vec<Shown> = implied.into_iter().chain([(5, 5, 0, true)]).collect();
        assert_eq!(rig.poll(true), all);
        assert_eq!(rig.record().empty.len(), 1);
        // The same where the driver keeps up again, and has nothing to do.
        rig.clock.advance(SECOND);
        assert_eq!(rig.poll(true), []);
        rig.clock.advance(SECOND);
        assert_eq!(rig.poll(false), [(6, 6, 0, true), (7, 7, 0, true)]);
    }

    /// What arrives after its tick was passed over belongs to the next one.
    #[test]
    fn a_full_batch_after_empty_ticks_is_a_part_of_the_tick_that_is_being_filled() {
        let mut rig = rig_of(GoneBefore::default(), 1000, 1000);
        rig.clock.advance(SECOND);
        assert_eq!(rig.poll(false), [(1, 1, 0, true)]);
        rig.clock.advance(SECOND);
        assert_eq!(rig.poll(true), []);
        rig.data(1000);
        assert_eq!(rig.poll(true), [(2, 2, 0, true), (3, 3, 0, false)]);
        rig.data(1000);
        assert_eq!(rig.poll(true), [(4, 3, 1, false)]);
        // An open tick is closed when it is due, whatever there is.
        rig.clock.advance(SECOND);
        assert_eq!(rig.poll(true), [(5, 3, 2, true)]);
    }

    #[test]
    fn a_backlog_is_cut_into_parts_of_one_tick() {
        let mut rig = rig_of(GoneBefore::default(), 1000, 1000);
        (0..4).for_each(|_| rig.data(800));
        rig.clock.advance(SECOND);
        let cuts = rig.poll(false);
        let parts = cuts.len() as u64;
        assert!(parts >= 3, "{cuts:?}");
        let expected = (0..parts).zip(0_u32..);
        let expected = expected.map(|(n, part)| (n + 1, 1, part, n + 1 == parts));
        assert_eq!(cuts, expected.collect::<Vec<_>>());
        // By hand too.
        (0..4).for_each(|_| rig.data(800));
        let first = rig.cutter.cut(false).unwrap().last.tick;
        rig.clock.advance(10 * SECOND);
        let second = rig.cutter.cut(false).unwrap().last.tick;
        assert_eq!((first.part, second.part), (0, 1));
        assert_eq!((first.time_ms, first.is_last_part), (second.time_ms, false));
    }

    #[test]
    fn a_long_stall_is_a_few_numbers() {
        let mut rig = rig_of(GoneBefore::default(), 1, u64::MAX / 2);
        rig.clock.advance(SECOND);
        assert_eq!(rig.cutter.poll(false).unwrap().unwrap().count(), 1);
        rig.clock.advance(Duration::from_millis(10 * YEAR_MS));
        let cut = rig.cutter.poll(true).unwrap();
        assert_eq!(cut, None, "there is no data");
        rig.data(10);
        rig.clock.advance(Duration::from_millis(1));
        let cut = rig.cutter.poll(true).unwrap().unwrap();
        assert_eq!(cut.count(), 10 * YEAR_MS + 1);
        assert_eq!((cut.first_id(), cut.last.batch.id), (2, 10 * YEAR_MS + 2));
        assert_eq!(cut.batches().next().unwrap().batch.id, 2);
        assert!(entry::encode(&Entry::Cut(rig.record())).len() < 300);
    }

    #[test]
    fn a_restart_does_not_make_up_for_downtime_and_says_so() {
        let mut rig = rig(after(7, START - 3_600_000));
        rig.clock.advance(SECOND);
        assert_eq!(rig.poll(false), [(8, 1, 0, true)]);
        assert!(rig.record().restarted);
        rig.clock.advance(SECOND);
        assert_eq!(rig.poll(false), [(9, 2, 0, true)]);
        assert!(!rig.record().restarted);
        let mut new = self::rig(GoneBefore::default());
        new.clock.advance(SECOND);
        assert_eq!(new.poll(false), [(1, 1, 0, true)]);
        assert!(!new.record().restarted);
    }

    #[test]
    fn a_tick_that_a_crash_left_open_is_closed_by_the_next_run() {
        for by_clock in [true, false] {
            let open = OpenTick {
                time_ms: START,
                part: 2,
            };
            let mut rig = rig(GoneBefore {
                open: Some(open),
                ..after(7, START)
            });
            rig.data(10);
            rig.clock.advance(5 * SECOND);
            let expected = [(8, 0, 2, true), (9, 5, 0, true)];
            let found = match by_clock {
                true => rig.poll(false),
                false => shown(&rig.cutter.cut(false).unwrap()),
            };
            assert_eq!(found, expected);
        }
    }

    /// A window that ended while the program was down would never have been shown.
    #[test]
    fn the_end_of_a_window_that_was_missed_is_made_up_for_once() {
        let cut = |last: u64, slides_ms: Vec<u64>| {
            let mut rig = rig(GoneBefore {
                slides_ms,
                zero_ms: Some(START - 60_000),
                ..after(7, START - last * 1000)
            });
            rig.clock.advance(9 * SECOND);
            let cut = rig.cutter.cut(false).unwrap();
            let ticks = cut.batches().map(|t| t.tick.time_ms);
            ticks
                .map(|ms| ms.abs_diff(START) / 1000)
                .collect::<Vec<_>>()
        };
        assert_eq!(cut(3, vec![]), [9]);
        assert_eq!(cut(3, vec![1000]), [9], "every tick is an end");
        assert_eq!(cut(3, vec![2000]), [2, 9]);
        assert_eq!(cut(3, vec![5000]), [0, 9]);
        assert_eq!(cut(3, vec![3000]), [9], "the last tick was an end");
        assert_eq!(
            cut(3, vec![2000, 4000, 5000]),
            [2, 0, 9],
            "one batch for both"
        );
        assert_eq!(cut(3, vec![20_000]), [0, 9]);
        assert_eq!(cut(3, vec![70_000]), [9], "it has not ended");
    }

    #[test]
    fn without_ticks_batches_are_cut_when_they_are_full_and_time_stands() {
        let mut rig = rig_of(GoneBefore::default(), u64::MAX, 10_000);
        rig.clock.advance(1_000_000 * SECOND);
        assert_eq!(rig.cutter.poll(false).unwrap(), None);
        for id in 1..3 {
            rig.data(10_000);
            let cut = rig.cutter.poll(false).unwrap().unwrap();
            let (batch, tick) = (cut.last.batch, cut.last.tick);
            assert_eq!((batch.id, batch.time_ms, cut.count()), (id, 0, 1));
            assert!(tick.is_last_part);
        }
        assert_eq!(rig.cutter.cut(true).unwrap().last.batch.time_ms, 0);
    }
}
