//! Windows whose length, slide or kind changes between two starts; clocks that jump; and programs
//! that are refused when they are built.

use crate::common::builder;
use crate::common::table::START_MS;
use highwater_engine::wal::disk::{ManualClock, SimDisk};
use highwater_engine::{
    CheckpointPolicy, DStream, Error, Mismatch, Result, StopMode, StreamScope, StreamingContext,
};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

type Pairs = DStream<(String, i64)>;

type Program = fn(&Pairs, Duration, Duration) -> Pairs;

/// What came out, by the second in which the batch was.
type Seen = Arc<Mutex<BTreeMap<u64, Vec<(String, i64)>>>>;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A program on one disk, and a clock that goes on from start to start.
struct World {
    disk: SimDisk,
    clock: Arc<ManualClock>,
    second: u64,
    seen: Seen,
}

impl World {
    fn new() -> Self {
        Self {
            disk: SimDisk::new(),
            clock: Arc::new(ManualClock::new(START_MS)),
            second: 0,
            seen: Seen::default(),
        }
    }

    fn open(&self, program: Program, length: u64, slide: u64) -> Result<StreamingContext> {
        let (seen, clock) = (Arc::clone(&self.seen), Arc::clone(&self.clock));
        builder(&self.disk, 2)
            .clock(clock)
            .checkpoint(CheckpointPolicy::every_batches(1))
            .get_or_create(move |ssc| {
                let stream = program(&ssc.input("in"), seconds(length), seconds(slide));
                stream.for_each_batch("out", move |batch, mut records: Vec<(String, i64)>| {
                    records.sort();
                    let second = (batch.time_ms - START_MS) / 1000;
                    seen.lock().insert(second, records);
                });
                Ok(())
            })
    }

    /// Runs a batch in the next second, with the number of the second as its record.
    fn batch(&mut self, context: &StreamingContext) {
        self.advance(1);
        let record = ("n".to_owned(), i64::try_from(self.second).unwrap());
        let input = context.input::<(String, i64)>("in").unwrap();
        input.send(&record).unwrap().wait().unwrap();
        context.run_batch().unwrap();
    }

    fn advance(&mut self, by: u64) {
        self.second += by;
        self.clock.advance(seconds(by));
    }

    /// Sets the wall clock to a time that is so many seconds ahead.
    fn set_clock(&self, ahead: u64) {
        let now = START_MS + (self.second + ahead) * 1000;
        self.clock.set_wall_ms(now);
    }

    /// Starts, runs batches, and ends as a crash would.
    fn live(&mut self, program: Program, length: u64, slide: u64, batches: u64) {
        let context = self.open(program, length, slide).unwrap();
        context.start().unwrap();
        (0..batches).for_each(|_| self.batch(&context));
        context.stop(StopMode::Immediate).unwrap();
    }

    fn sum(&self, second: u64) -> i64 {
        let seen = self.seen.lock();
        seen[&second].iter().map(|(_, value)| value).sum()
    }
}

fn whole(s: &Pairs, length: Duration, slide: Duration) -> Pairs {
    s.window("w", length, slide)
}

fn reduced(s: &Pairs, length: Duration, slide: Duration) -> Pairs {
    s.reduce_by_key_and_window("w", |a, b| a + b, length, slide)
}

fn inverse(s: &Pairs, length: Duration, slide: Duration) -> Pairs {
    s.reduce_by_key_and_window_inverse("w", |a, b| a + b, |a, b| a - b, length, slide)
}

fn grouped(s: &Pairs, length: Duration, slide: Duration) -> Pairs {
    s.group_by_key_and_window("w", length, slide)
        .map(|(key, values)| (key, values.into_iter().sum()))
}

const PROGRAMS: [Program; 4] = [whole, reduced, inverse, grouped];

#[test]
fn a_window_that_grows_keeps_what_it_has_and_one_that_shrinks_lets_go() {
    for program in PROGRAMS {
        let mut world = World::new();
        world.live(program, 2, 1, 4);
        assert_eq!(world.sum(4), 3 + 4);
        world.live(program, 4, 1, 3);
        // 3 had left, or was about to, when the window grew.
        assert!(
            [5 + 4, 5 + 4 + 3].contains(&world.sum(5)),
            "{}",
            world.sum(5)
        );
        assert_eq!(world.sum(7), 4 + 5 + 6 + 7);
        world.live(program, 1, 1, 2);
        assert_eq!((world.sum(8), world.sum(9)), (8, 9));
    }
}

#[test]
fn panes_that_do_not_fit_are_refused_with_both_lengths_and_the_way_out() {
    for program in PROGRAMS {
        let mut world = World::new();
        world.live(program, 4, 2, 5); // panes of 2 s
        match world.open(program, 3, 1) {
            Err(Error::Mismatch(mismatch)) => {
                let text = mismatch.to_string();
                assert!(matches!(mismatch, Mismatch::Panes { .. }), "{text}");
                for part in ["\"w\"", "panes of 1s", "are 2s", ".drop_state(\"w\")"] {
                    assert!(text.contains(part), "{part}: {text}");
                }
            }
            other => panic!("{other:?}"),
        }
        // Panes of 4 s have room for those of 2 s.
        world.live(program, 8, 4, 3);
        // 1 and 2 had left, or were about to, when the window grew.
        let sums = [3, 1].map(|first| (first..=8).sum::<i64>());
        assert!(sums.contains(&world.sum(8)), "{}", world.sum(8));
        let refused = world.open(program, 4, 2).unwrap_err();
        assert!(refused.to_string().contains("are 4s"), "{refused}");
    }
}

#[test]
fn a_window_of_another_kind_is_refused() {
    for (at, program) in PROGRAMS.into_iter().enumerate() {
        let mut world = World::new();
        world.live(program, 2, 1, 2);
        for (other_at, other) in PROGRAMS.into_iter().enumerate() {
            let opened = world.open(other, 2, 1);
            match opened {
                Ok(_) => assert_eq!(at, other_at),
                Err(Error::Mismatch(Mismatch::OtherKind { .. })) => assert_ne!(at, other_at),
                Err(other) => panic!("{other}"),
            }
        }
    }
}

/// Of the ends of windows that fall into a downtime the first one comes later, because it may have
/// records. What came before the downtime is in the next window as far as its time is.
#[test]
fn a_downtime_is_time_that_passes() {
    for program in PROGRAMS {
        let mut world = World::new();
        world.live(program, 4, 2, 3);
        world.advance(2); // nothing runs at 4 and 5
        world.live(program, 4, 2, 1);
        assert_eq!((world.sum(4), world.sum(6)), (1 + 2 + 3, 3 + 6));
        world.advance(5); // 7 to 11: 6 was an end
        world.live(program, 4, 2, 1);
        assert_eq!(world.sum(12), 12);
        let seen: Vec<u64> = world.seen.lock().keys().copied().collect();
        assert_eq!(seen, [2, 4, 6, 12]);
    }
}

/// After a clock that was far ahead was set back, what came in the future counts as of now, and
/// leaves in time.
#[test]
fn what_came_while_the_clock_was_ahead_leaves_after_it_is_set_back() {
    for program in PROGRAMS {
        let mut world = World::new();
        world.live(program, 4, 2, 2);
        world.set_clock(1_000_000);
        world.live(program, 4, 2, 1);
        world.set_clock(0);
        world.advance(1);
        let clock = Arc::clone(&world.clock);
        let seen = Arc::clone(&world.seen);
        let context = builder(&world.disk, 1)
            .clock(clock)
            .reset_batch_clock()
            .get_or_create(move |ssc| {
                let stream = program(&ssc.input("in"), seconds(4), seconds(2));
                stream.for_each_batch("out", move |batch, records: Vec<(String, i64)>| {
                    seen.lock()
                        .insert((batch.time_ms - START_MS) / 1000, records);
                });
                Ok(())
            })
            .unwrap();
        context.start().unwrap();
        (0..8).for_each(|_| world.batch(&context));
        // 3 came in the future; it leaves with what came when the clock was right again.
        let sums: Vec<i64> = [6, 8, 10, 12]
            .iter()
            .map(|second| world.sum(*second))
            .collect();
        assert_eq!(sums[3], 9 + 10 + 11 + 12, "{sums:?}");
        assert!(sums[0] >= 5 + 6 && sums[0] <= 1 + 2 + 3 + 5 + 6, "{sums:?}");
    }
}

// ---- Programs that are refused

fn refused(program: impl FnOnce(&StreamScope)) -> String {
    let built = builder(&SimDisk::new(), 1).get_or_create(|ssc| {
        program(ssc);
        Ok(())
    });
    match built {
        Err(error @ Error::Graph(_)) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn lengths_and_slides_that_are_no_multiples_are_refused_with_both_numbers_and_the_operator() {
    let millis = Duration::from_millis;
    let text = refused(|ssc| {
        let pairs: DStream<(String, i64)> = ssc.input("in");
        pairs
            .window("w", millis(2500), seconds(1))
            .for_each_batch("out", |_, _: Vec<_>| ());
        pairs
            .count_by_window("c", seconds(2), millis(1))
            .for_each_batch("counts", |_, _: Vec<_>| ());
        let window = pairs.window("every two", seconds(2), seconds(2));
        window
            .reduce_by_key_and_window("inner", |a, b| a + b, seconds(3), seconds(2))
            .for_each_batch("sums", |_, _: Vec<_>| ());
    });
    for part in [
        "window \"w\" at engine/tests/operators/window_changes.rs",
        "length of the window is 2.5s",
        "count_by_window \"c\"",
        "slide of the window is 1ms",
        "reduce_by_key_and_window \"inner\"",
        "length of the window is 3s, and its input has a batch every 2s",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn streams_of_different_slides_cannot_be_combined() {
    let text = refused(|ssc| {
        let numbers: DStream<u64> = ssc.input("in");
        let two = numbers.window("two", seconds(4), seconds(2));
        let three = numbers.window("three", seconds(6), seconds(3));
        two.union(&three).for_each_batch("out", |_, _: Vec<_>| ());
        numbers
            .transform_with(&two, |_, _, _| Vec::<u64>::new())
            .for_each_batch("with", |_, _: Vec<_>| ());
    });
    for part in [
        "union at",
        "2000 ms",
        "3000 ms",
        "transform_with at",
        "1000 ms",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn a_window_of_every_batch_combines_with_the_stream_itself() {
    let built = builder(&SimDisk::new(), 1).get_or_create(|ssc| {
        let numbers: DStream<u64> = ssc.input("in");
        let window = numbers.window("w", seconds(3), seconds(1));
        numbers.union(&window).for_each_batch("out", |_, _| ());
        let other = numbers.count_by_window("c", seconds(2), seconds(1));
        window.union(&other).for_each_batch("both", |_, _| ());
        Ok(())
    });
    built.unwrap();
}

#[test]
fn names_of_windows_are_unique() {
    let text = refused(|ssc| {
        let numbers: DStream<u64> = ssc.input("in");
        for _ in 0..2 {
            numbers
                .window("w", seconds(1), seconds(1))
                .for_each_batch("out", |_, _: Vec<_>| ());
        }
    });
    assert!(text.contains("\"w\""), "{text}");
}
