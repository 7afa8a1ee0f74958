//! Batches that are remembered, and slices of them by time.

use crate::common::builder;
use highwater_engine::wal::disk::{ManualClock, SimDisk};
use highwater_engine::{Error, Remembered, Result, StreamScope, StreamingContext};
use std::sync::Arc;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// A context with a clock of its own, at so many seconds; its batches have one second each.
struct Program {
    context: StreamingContext,
    clock: Arc<ManualClock>,
    recent: Remembered<u64>,
}

fn open(
    disk: &SimDisk,
    seconds: u64,
    program: impl FnOnce(&StreamScope) -> Remembered<u64>,
) -> Result<Program> {
    let clock = Arc::new(ManualClock::new(seconds * 1000));
    let (mut recent, shared) = (None, Arc::<ManualClock>::clone(&clock));
    let context = builder(disk, 2).clock(shared).get_or_create(|ssc| {
        recent = Some(program(ssc));
        Ok(())
    })?;
    let recent = recent.unwrap();
    Ok(Program {
        context,
        clock,
        recent,
    })
}

impl Program {
    /// A batch of `numbers`, one second later.
    fn batch(&self, numbers: &[u64]) {
        self.clock.advance(SECOND);
        let input = self.context.input::<u64>("in").unwrap();
        for number in numbers {
            input.send(number).unwrap().wait().unwrap();
        }
        self.context.run_batch().unwrap();
    }

    /// Times in seconds and records of a slice.
    fn slice(&self, from_ms: u64, to_ms: u64) -> Vec<(u64, Vec<u64>)> {
        let found = self.recent.slice(from_ms, to_ms).unwrap().into_iter();
        let times = found.map(|(batch, records)| {
            assert_eq!(batch.time_ms % 1000, 0);
            (batch.time_ms / 1000, records)
        });
        times.collect()
    }

    fn refused(&self, from_ms: u64, to_ms: u64) -> String {
        match self.recent.slice(from_ms, to_ms) {
            Err(Error::NotRemembered(message)) => message,
            other => panic!("{from_ms}..={to_ms} is refused: {other:?}"),
        }
    }
}

fn minute(ssc: &StreamScope) -> Remembered<u64> {
    let numbers = ssc.input::<u64>("in");
    numbers.map(|n| n * 10).remember(60 * SECOND)
}

/// As Spark's own test has it, with times both included, and rounded down.
#[test]
fn a_slice_has_the_batches_between_two_times() {
    let program = open(&SimDisk::new(), 0, minute).unwrap();
    program.context.start().unwrap();
    assert_eq!(program.slice(0, 9999), []);
    for number in 1..=4 {
        program.batch(&[number]);
    }
    let all = [(1, vec![10]), (2, vec![20]), (3, vec![30]), (4, vec![40])];
    assert_eq!(program.slice(0, 1000), all[..1]);
    assert_eq!(program.slice(0, 2000), all[..2]);
    assert_eq!(program.slice(1000, 2000), all[..2]);
    assert_eq!(program.slice(2000, 4000), all[1..]);
    assert_eq!(
        program.slice(2999, 3999),
        all[1..3],
        "rounded down to 2000 and 3000"
    );
    assert_eq!(program.slice(3001, 3001), all[2..3], "both are 3000");
    assert_eq!(program.slice(4000, 1000), []);
    assert_eq!(program.slice(0, u64::MAX), all);
    program.batch(&[]);
    assert_eq!(program.slice(5000, 5000), [(5, vec![])]);
    let again = program.recent.clone();
    assert_eq!(
        again.slice(0, 1000).unwrap(),
        program.recent.slice(0, 1000).unwrap()
    );
}

#[test]
fn what_is_older_than_the_duration_is_an_error_that_names_it() {
    let program = open(&SimDisk::new(), 100, |ssc| {
        ssc.input::<u64>("in").remember(2 * SECOND)
    });
    let program = program.unwrap();
    program.context.start().unwrap();
    for number in 1..=3 {
        program.batch(&[number]);
    }
    assert_eq!(
        program.slice(102_000, 103_000),
        [(102, vec![2]), (103, vec![3])]
    );
    for (from, to) in [(101_000, 103_000), (101_999, 102_000), (0, u64::MAX)] {
        let message = program.refused(from, to);
        assert!(
            message.starts_with("remember at engine/tests/operators/remember.rs:"),
            "{message}"
        );
        assert!(
            message.contains("up to 101000 ms") && message.contains("2000 ms"),
            "{message}"
        );
    }
}

/// The bound was in records once, of any size: a million of them could take all memory.
#[test]
fn what_is_more_than_the_bound_is_forgotten_whole_batches_first() {
    // A batch costs 128 bytes, one for the head of its list, and three for each of these numbers.
    let two_batches_of_four = 2 * (128 + 1) + 4 * 3;
    let program = open(&SimDisk::new(), 0, |ssc| {
        let numbers = ssc.input::<u64>("in").map(|n| 1000 + n);
        numbers
            .remember(60 * SECOND)
            .at_most_bytes(two_batches_of_four)
    });
    let program = program.unwrap();
    program.context.start().unwrap();
    program.batch(&[1]);
    program.batch(&[2, 3, 4]);
    assert_eq!(program.slice(0, 9000).len(), 2, "they fit exactly");
    program.batch(&[5, 6]);
    assert_eq!(program.slice(3000, 9000), [(3, vec![1005, 1006])]);
    let message = program.refused(2000, 9000);
    assert!(
        message.contains("at most 270 bytes") && message.contains(".at_most_bytes("),
        "{message}"
    );
    program.batch(&(0..100).collect::<Vec<_>>());
    assert_eq!(program.slice(5000, 9000), []);
    assert!(
        program.refused(4000, 4000).contains("up to 4000 ms"),
        "a batch over the bound"
    );
    program.batch(&[7]);
    assert_eq!(program.slice(5000, 9000), [(5, vec![1007])]);
    let smaller = program.recent.at_most_bytes(100);
    assert!(
        smaller.slice(5000, 5000).is_err(),
        "a batch without records costs 128"
    );
}

/// What serde would give back as something else is refused, and not shown as that.
#[test]
fn a_record_that_does_not_read_back_fails_its_batch() {
    let context = builder(&SimDisk::new(), 1).get_or_create(|ssc| {
        let numbers = ssc.input::<u64>("in");
        drop(numbers.map(|n| Some((n > 1).then_some(n))).remember(SECOND));
        Ok(())
    });
    let context = context.unwrap();
    context.start().unwrap();
    let input = context.input::<u64>("in").unwrap();
    input.send(&1).unwrap().wait().unwrap();
    let error = context.run_batch().unwrap_err().to_string();
    assert!(
        error.contains("remember (engine/tests/operators/remember.rs:")
            && error.contains("a record cannot be remembered"),
        "{error}"
    );
}

#[test]
fn a_slice_needs_a_context_that_was_started() {
    let program = open(&SimDisk::new(), 0, minute).unwrap();
    let error = program.recent.slice(0, 1000).unwrap_err();
    assert!(matches!(error, Error::LifeCycle(what) if what.contains("started")));
}

#[test]
fn a_duration_shorter_than_the_interval_is_refused_with_both() {
    let refused = open(&SimDisk::new(), 0, |ssc| {
        ssc.input::<u64>("in").remember(Duration::from_millis(999))
    });
    let error = refused.err().unwrap().to_string();
    assert!(
        error.contains("999 ms") && error.contains("1000 ms"),
        "{error}"
    );
    assert!(
        error.contains("remember at engine/tests/operators/remember.rs:"),
        "{error}"
    );
    assert!(
        open(&SimDisk::new(), 0, |ssc| ssc
            .input::<u64>("in")
            .remember(SECOND))
        .is_ok()
    );
}

/// Memory does not outlive the process: a slice must not pretend that nothing ran before.
#[test]
fn batches_before_a_restart_are_not_remembered_and_that_is_an_error() {
    let disk = SimDisk::new();
    let before = open(&disk, 0, minute).unwrap();
    before.context.start().unwrap();
    before.batch(&[1]);
    before.batch(&[2]);
    drop(before);
    let after = open(&disk.kill_process(), 2, minute).unwrap();
    after.context.start().unwrap();
    after.batch(&[3]);
    assert_eq!(after.slice(3000, 9000), [(3, vec![30])]);
    let message = after.refused(2000, 9000);
    assert!(
        message.contains("up to 2000 ms") && message.contains("before this start"),
        "{message}"
    );
}

/// A batch that failed is not remembered: it will run again.
#[test]
fn a_batch_is_remembered_once_it_is_committed() {
    let disk = SimDisk::new();
    let failing = open(&disk, 0, |ssc| {
        let recent = minute(ssc);
        let other = ssc.input::<u64>("other");
        other.for_each_batch("fails", |_, records| {
            assert!(records.is_empty(), "on purpose")
        });
        recent
    });
    let failing = failing.unwrap();
    failing.context.start().unwrap();
    failing.batch(&[1]);
    failing.clock.advance(SECOND);
    failing
        .context
        .input::<u64>("other")
        .unwrap()
        .send(&7)
        .unwrap()
        .wait()
        .unwrap();
    failing.context.run_batch().unwrap_err();
    assert_eq!(failing.slice(0, 9000), [(1, vec![10])]);
    drop(failing);
    let again = open(&disk.kill_process(), 2, |ssc| {
        let recent = minute(ssc);
        ssc.input::<u64>("other").for_each_batch("fails", |_, _| ());
        recent
    });
    let again = again.unwrap();
    again.context.start().unwrap();
    assert_eq!(
        again.slice(2000, 2000),
        [(2, vec![])],
        "the batch in doubt ran again"
    );
    assert!(again.refused(1000, 2000).contains("before this start"));
}
