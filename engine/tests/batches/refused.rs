//! Records that are refused: what becomes of them under each policy, and in every rebuild.

use crate::common;
use crate::common::builder;
use crate::common::table::{Table, records};
use highwater_engine::wal::disk::SimDisk;
use highwater_engine::{
    CheckpointPolicy, DStream, Error, ErrorPolicy, RefusedStats, StopMode, StreamScope,
    StreamingContext,
};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// "7" is 7; "7,8" are two numbers; anything else is an error, and "!" a panic.
fn numbers(line: &str) -> Result<Vec<u64>, std::num::ParseIntError> {
    assert_ne!(line, "!", "on purpose");
    line.split(',').map(str::parse).collect()
}

fn number(line: &str) -> Result<u64, std::num::ParseIntError> {
    numbers(line)?;
    line.parse()
}

fn lines(ssc: &StreamScope) -> DStream<String> {
    ssc.input::<String>("lines").on_error(ErrorPolicy::Skip)
}

const LINES: [[&str; 4]; 3] = [
    ["1", "x", "2", "3"],
    ["!", "4", "", "!"],
    ["5", "6", "7", "!"],
];

fn table<S: common::table::Outputs>(
    program: impl Fn(&StreamScope) -> S + 'static,
    expected: [S::Batch; 3],
    empty: S::Batch,
) {
    let mut table = Table::new(program);
    for (lines, expected) in LINES.into_iter().zip(expected) {
        table = table.batch([records::<String>("lines", lines)], expected);
    }
    table.batch([], empty).check();
}

#[test]
fn try_map_leaves_out_records_on_which_it_fails() {
    table(
        |ssc| lines(ssc).try_map(|line| number(&line)),
        [vec![1, 2, 3], vec![4], vec![5, 6, 7]],
        vec![],
    );
}

#[test]
fn try_filter_leaves_out_records_on_which_it_fails() {
    table(
        |ssc| lines(ssc).try_filter(|line| number(line).map(|n| n % 2 == 1)),
        [
            vec!["1".to_owned(), "3".to_owned()],
            vec![],
            vec!["5".to_owned(), "7".to_owned()],
        ],
        vec![],
    );
}

#[test]
fn try_flat_map_hands_on_nothing_of_a_record_on_which_it_fails() {
    table(
        |ssc| {
            lines(ssc).try_flat_map(|line| {
                let number = number(&line)?;
                // The iterator panics after it has returned something.
                Ok::<_, std::num::ParseIntError>((0..2).map(move |n| {
                    assert!(n == 0 || number != 6, "on purpose");
                    number * 10 + n
                }))
            })
        },
        [
            vec![10, 11, 20, 21, 30, 31],
            vec![40, 41],
            vec![50, 51, 70, 71],
        ],
        vec![],
    );
}

#[test]
fn try_flat_map_into_hands_on_nothing_of_a_record_on_which_it_fails() {
    table(
        |ssc| {
            lines(ssc).try_flat_map_into(|line, out| {
                out.emit(0);
                out.emit(number(&line)?);
                Ok::<_, std::num::ParseIntError>(())
            })
        },
        [vec![0, 1, 0, 2, 0, 3], vec![0, 4], vec![0, 5, 0, 6, 0, 7]],
        vec![],
    );
}

#[test]
fn try_map_values_leaves_out_pairs_and_keeps_keys() {
    table(
        |ssc| {
            let pairs = lines(ssc).map(|line| (line.len(), line));
            pairs.try_map_values(|line| number(&line))
        },
        [
            vec![(1, 1), (1, 2), (1, 3)],
            vec![(1, 4)],
            vec![(1, 5), (1, 6), (1, 7)],
        ],
        vec![],
    );
}

#[test]
fn try_flat_map_values_hands_on_nothing_of_a_pair_on_which_it_fails() {
    table(
        |ssc| {
            let pairs = lines(ssc).map(|line| (line.len(), format!("{line},9")));
            pairs.try_flat_map_values(|line| {
                number(line.trim_end_matches(",9"))?;
                numbers(&line)
            })
        },
        [
            vec![(1, 1), (1, 9), (1, 2), (1, 9), (1, 3), (1, 9)],
            vec![(1, 4), (1, 9)],
            vec![(1, 5), (1, 9), (1, 6), (1, 9), (1, 7), (1, 9)],
        ],
        vec![],
    );
}

/// The closures of ordinary operators may panic.
#[test]
fn a_panic_leaves_out_one_record_of_every_operator_of_single_records() {
    let check = |of: &u64| assert!(!of.is_multiple_of(5), "on purpose");
    let program = move |ssc: &StreamScope| {
        let all = ssc.input::<u64>("in").on_error(ErrorPolicy::Skip);
        let mapped = all.map(move |n| {
            check(&n);
            n * 2
        });
        let filtered = all.filter(move |n| {
            check(n);
            n % 2 == 0
        });
        let flat = all.flat_map(move |n| [n, n + 1].into_iter().inspect(check));
        let into = all.flat_map_into(move |n, out| {
            out.emit(n);
            check(&n);
        });
        let values = all.map(|n| (n, n)).map_values(move |n| {
            check(&n);
            n
        });
        let values = values.flat_map_values(move |n| [n + 1].into_iter().inspect(check));
        ((mapped, filtered), (flat, (into, values)))
    };
    Table::new(program)
        .batch(
            [records::<u64>("in", [1_u64, 4, 5, 6])],
            (
                (vec![2, 8, 12], vec![4, 6]),
                (vec![1, 2, 6, 7], (vec![1, 4, 6], vec![(1, 2), (6, 7)])),
            ),
        )
        .batch([], ((vec![], vec![]), (vec![], (vec![], vec![]))))
        .batch(
            [records::<u64>("in", [10_u64, 2])],
            ((vec![4], vec![2]), (vec![2, 3], (vec![2], vec![(2, 3)]))),
        )
        .check();
}

/// Records that were made of a whole batch have no place in the log; what is made of them has one
/// all the same.
#[test]
fn records_after_a_shuffle_a_window_and_repartition_are_left_out_too() {
    let program = |ssc: &StreamScope| {
        let odd = |n: &u64| match n % 2 {
            1 => Ok(*n),
            _ => Err("even"),
        };
        let all = ssc.input::<u64>("in");
        let sums = all.map(|n| (n % 4, n)).reduce_by_key(|a, b| a + b);
        let sums = sums.on_error(ErrorPolicy::Skip);
        let sums = common::table::ByKey(sums.try_map_values(move |n| odd(&n)));
        let spread = all.flat_map(|n| [n, n + 1, n + 2]).repartition(2);
        let spread = spread.on_error(ErrorPolicy::Skip).try_map(move |n| odd(&n));
        let seconds = std::time::Duration::from_secs(2);
        let window = all.window("last", seconds, seconds / 2);
        let window = window.on_error(ErrorPolicy::Skip).try_map(move |n| odd(&n));
        let sorted = all.transform(|mut all, _| {
            all.sort_unstable();
            all
        });
        let sorted = sorted.union(&all).on_error(ErrorPolicy::Skip);
        let sorted = sorted.try_map(move |n| odd(&n));
        ((sums, spread), (window, sorted))
    };
    Table::new(program)
        .batch(
            [records::<u64>("in", [9_u64, 2, 1, 6])],
            (
                (vec![], vec![9, 11, 3, 1, 3, 7]),
                (vec![9, 1], vec![9, 1, 1, 9]),
            ),
        )
        .batch(
            [records::<u64>("in", [7_u64, 3, 3])],
            (
                (vec![(3, 13)], vec![7, 9, 3, 5, 3, 5]),
                (vec![9, 1, 7, 3, 3], vec![7, 3, 3, 3, 3, 7]),
            ),
        )
        .batch([], ((vec![], vec![]), (vec![7, 3, 3], vec![])))
        .check();
}

/// Each reader of a stream calls its closures again. A record was refused once for each of them,
/// and may have been refused for one alone.
#[test]
fn a_record_is_refused_once_however_many_readers_there_are() {
    for workers in 1..=3 {
        let disk = SimDisk::new();
        let calls = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&calls);
        let seen = Arc::new(Mutex::new(Vec::<u64>::new()));
        let outputs = [Arc::clone(&seen), Arc::clone(&seen)];
        let context = builder(&disk, workers)
            .get_or_create(move |ssc| {
                let all = ssc.input::<u64>("in").on_error(ErrorPolicy::Skip);
                // It refuses every second time, whatever the record is.
                let tried =
                    all.try_map(move |n| match counted.fetch_add(1, Ordering::Relaxed) % 2 {
                        0 => Err("now and then"),
                        _ => Ok(n),
                    });
                for (number, seen) in outputs.into_iter().enumerate() {
                    let name = format!("out{number}");
                    tried.for_each_batch(&name, move |_, all: Vec<u64>| seen.lock().extend(all));
                }
                Ok(())
            })
            .unwrap();
        context.start().unwrap();
        send(&context, [1, 2]);
        context.run_batch().unwrap();
        assert_eq!(context.refused(), skipped("try_map#1", 1));
        let seen = seen.lock().clone();
        assert_eq!((seen.len(), seen[0]), (2, seen[1]));
        assert_eq!(calls.load(Ordering::Relaxed), 2);
    }
}

type Seen = Arc<Mutex<BTreeMap<u64, Vec<(u64, u64)>>>>;

/// A program that counts numbers by their last digit, all of it visible from outside.
struct Program {
    disk: SimDisk,
    workers: usize,
    policy: ErrorPolicy,
    /// What the closure asks, beside the record.
    refuses: Arc<dyn Fn(u64) -> bool + Send + Sync>,
    seen: Seen,
    max: u64,
    every: u64,
}

impl Program {
    fn new(workers: usize, refuses: impl Fn(u64) -> bool + Send + Sync + 'static) -> Self {
        Self {
            disk: SimDisk::new(),
            workers,
            policy: ErrorPolicy::Skip,
            refuses: Arc::new(refuses),
            seen: Seen::default(),
            max: 10_000,
            every: 1000,
        }
    }

    fn open(&self) -> highwater_engine::Result<StreamingContext> {
        let (refuses, policy) = (Arc::clone(&self.refuses), self.policy);
        let seen = Arc::clone(&self.seen);
        builder(&self.disk, self.workers)
            .checkpoint(CheckpointPolicy::every_batches(self.every))
            .max_refused_records(self.max)
            .get_or_create(move |ssc| {
                let tried = ssc.counter("tried");
                let good = ssc.input::<u64>("in").on_error(policy).try_map(move |n| {
                    tried.add(1);
                    match refuses(n) {
                        true => Err(format!("{n} is refused")),
                        false => Ok((n % 10, 1)),
                    }
                });
                let counts = good.named("check").update_state_by_key(
                    "counts",
                    |_, new: &[u64], total: &mut Option<u64>| {
                        *total = Some(total.unwrap_or(0) + new.iter().sum::<u64>());
                    },
                );
                counts.for_each_batch("out", move |batch, counts: Vec<(u64, u64)>| {
                    let before = seen.lock().insert(batch.id, counts.clone());
                    assert!(before.is_none_or(|before| before == counts), "{batch}");
                });
                Ok(())
            })
    }

    fn start(&self) -> highwater_engine::Result<StreamingContext> {
        let context = self.open()?;
        context.start()?;
        Ok(context)
    }

    fn kill(self) -> Self {
        Self {
            disk: self.disk.kill_process(),
            ..self
        }
    }

    fn shown(&self, batch: u64) -> BTreeMap<u64, u64> {
        self.seen.lock()[&batch].iter().copied().collect()
    }
}

fn send(context: &StreamingContext, numbers: impl IntoIterator<Item = u64>) {
    let input = context.input::<u64>("in").unwrap();
    for number in numbers {
        input.send(&number).unwrap().wait().unwrap();
    }
}

fn skipped(operator: &str, skipped: u64) -> Vec<RefusedStats> {
    vec![RefusedStats {
        operator: operator.to_owned(),
        skipped,
        dead_letters: 0,
    }]
}

#[test]
fn without_a_policy_an_error_fails_the_batch_and_names_operator_and_record() {
    for workers in 1..=3 {
        let program = Program {
            policy: ErrorPolicy::FailBatch,
            ..Program::new(workers, |n| n == 7)
        };
        let context = program.start().unwrap();
        send(&context, [1, 7]);
        let Error::Ended(error) = context.run_batch().unwrap_err() else {
            panic!("the context goes on");
        };
        let error = error.to_string();
        assert!(
            error.contains("try_map \"check\"") && error.contains("7 is refused"),
            "{error}"
        );
        assert!(error.contains("record at LSN"), "{error}");
        assert_eq!(context.refused(), []);
    }
}

#[test]
fn what_is_skipped_is_counted_once_over_stops_kills_and_checkpoints() {
    for (workers, every) in [(1, 1000), (2, 2), (3, 1)] {
        let mut program = Program::new(workers, |n| n % 3 == 0);
        program.every = every;
        let mut expected = 0;
        for life in 0..4_u64 {
            let context = program.start().unwrap();
            assert_eq!(
                context.refused().iter().map(|of| of.skipped).sum::<u64>(),
                expected,
                "life {life} of {workers} workers"
            );
            for batch in 0..3 {
                send(&context, life * 20 + batch..life * 20 + batch + 7);
                context.run_batch().unwrap();
                let of_batch = (life * 20 + batch..life * 20 + batch + 7).filter(|n| n % 3 == 0);
                expected += of_batch.count() as u64;
                assert_eq!(context.refused(), skipped("check", expected));
                // What a refused record has added to a counter is taken back.
                assert_eq!(
                    context.counter("tried").unwrap() + expected,
                    (life * 3 + batch + 1) * 7
                );
            }
            if life % 2 == 0 {
                context.stop(StopMode::Graceful).unwrap();
            } else {
                drop(context);
                program = program.kill();
            }
        }
    }
}

/// A closure that failed when the batch was run, and would not today: replay made a state that no
/// output had shown.
#[test]
fn a_record_that_was_refused_stays_out_when_its_closure_would_take_it_today() {
    for workers in 1..=3 {
        let refuses = Arc::new(AtomicBool::new(true));
        let flag = Arc::clone(&refuses);
        let calls = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&calls);
        let program = Program::new(workers, move |n| {
            counted.fetch_add(u64::from(n == 7), Ordering::Relaxed);
            n == 7 && flag.load(Ordering::Relaxed)
        });
        let context = program.start().unwrap();
        send(&context, [1, 7, 7, 2]);
        context.run_batch().unwrap();
        assert_eq!(program.shown(1), BTreeMap::from([(1, 1), (2, 1)]));
        assert_eq!(calls.load(Ordering::Relaxed), 2);
        drop(context);
        let program = program.kill();
        refuses.store(false, Ordering::Relaxed);
        let context = program.start().unwrap();
        assert_eq!(
            calls.load(Ordering::Relaxed),
            2,
            "the closure was called again"
        );
        assert_eq!(context.refused(), skipped("check", 2));
        send(&context, [1, 7]);
        context.run_batch().unwrap();
        assert_eq!(program.shown(2), BTreeMap::from([(1, 2), (2, 1), (7, 1)]));
    }
}

/// A policy that the program has no more must not bring back what was left out.
#[test]
fn a_record_that_was_refused_stays_out_when_the_policy_is_another_one_today() {
    let refuses = Arc::new(AtomicBool::new(true));
    let flag = Arc::clone(&refuses);
    let program = Program::new(2, move |n| n == 7 && flag.load(Ordering::Relaxed));
    let context = program.start().unwrap();
    send(&context, [7, 2]);
    context.run_batch().unwrap();
    drop(context);
    let program = Program {
        policy: ErrorPolicy::FailBatch,
        ..program.kill()
    };
    refuses.store(false, Ordering::Relaxed);
    let context = program.start().unwrap();
    send(&context, [7]);
    context.run_batch().unwrap();
    assert_eq!(program.shown(2), BTreeMap::from([(2, 1), (7, 1)]));
}

#[test]
fn a_record_that_fails_in_a_rebuild_alone_is_an_error_that_says_so() {
    for workers in 1..=3 {
        let refuses = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&refuses);
        let program = Program::new(workers, move |n| n == 7 && flag.load(Ordering::Relaxed));
        let context = program.start().unwrap();
        send(&context, [1, 7]);
        context.run_batch().unwrap();
        drop(context);
        let program = program.kill();
        refuses.store(true, Ordering::Relaxed);
        let error = program.start().unwrap_err().to_string();
        assert!(error.contains("committed without this failure"), "{error}");
        assert!(
            error.contains("check") && error.contains("7 is refused"),
            "{error}"
        );
        refuses.store(false, Ordering::Relaxed);
        let program = program.kill();
        let context = program.start().unwrap();
        assert_eq!(context.refused(), [], "nothing is left of the attempt");
    }
}

/// The workers are built again in the process, from the log: that leaves out what was refused too.
#[test]
fn a_record_that_was_refused_stays_out_when_the_workers_are_built_again() {
    for workers in 1..=3 {
        let disk = SimDisk::new();
        let refuses = Arc::new(AtomicBool::new(true));
        let flag = Arc::clone(&refuses);
        let fails = Arc::new(AtomicBool::new(true));
        let once = Arc::clone(&fails);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let out = Arc::clone(&seen);
        let context = builder(&disk, workers)
            .always_rebuild(true)
            .get_or_create(move |ssc| {
                let all = ssc.input::<u64>("in").on_error(ErrorPolicy::Skip);
                let good = all.try_map(move |n| match n == 7 && flag.load(Ordering::Relaxed) {
                    true => Err("seven"),
                    false => Ok((n, 1_u64)),
                });
                let sums = good.update_state_by_key(
                    "sums",
                    move |n, new: &[u64], total: &mut Option<u64>| {
                        let fails = *n == 9 && once.swap(false, Ordering::Relaxed);
                        assert!(!fails, "on purpose");
                        *total = Some(total.unwrap_or(0) + new.iter().sum::<u64>());
                    },
                );
                sums.for_each_batch("out", move |_, mut sums: Vec<(u64, u64)>| {
                    sums.sort_unstable();
                    *out.lock() = sums;
                });
                Ok(())
            })
            .unwrap();
        context.start().unwrap();
        send(&context, [1, 7]);
        context.run_batch().unwrap();
        refuses.store(false, Ordering::Relaxed);
        send(&context, [9, 7]);
        context.run_batch().unwrap();
        assert!(!fails.load(Ordering::Relaxed));
        assert_eq!(*seen.lock(), [(1, 1), (7, 1), (9, 1)]);
        assert_eq!(context.refused(), skipped("try_map#1", 1));
    }
}

#[test]
fn a_batch_that_refuses_more_than_its_bound_fails_and_names_the_setting() {
    for workers in 1..=3 {
        let program = Program {
            max: 40,
            ..Program::new(workers, |n| n >= 100)
        };
        let context = program.start().unwrap();
        send(&context, 90..140);
        context.run_batch().unwrap();
        assert_eq!(context.refused(), skipped("check", 40));
        send(&context, 100..141);
        let error = context.run_batch().unwrap_err().to_string();
        assert!(error.contains("more than 40 records"), "{error}");
        assert!(error.contains("max_refused_records"), "{error}");
        assert_eq!(context.refused(), skipped("check", 40));
        drop(context);
        let mut program = program.kill();
        program.max = 41;
        let context = program.start().unwrap();
        assert_eq!(context.refused(), skipped("check", 81));
    }
}

/// One list is longer than a record of the log may be.
#[test]
fn long_lists_are_split_and_are_read_back_whole() {
    let refuses = Arc::new(AtomicBool::new(true));
    let flag = Arc::clone(&refuses);
    let program = Program::new(2, move |n| n % 2 == 1 && flag.load(Ordering::Relaxed));
    let context = program.start().unwrap();
    // Each is a frame of its own, so there are no runs.
    send(&context, 0..1000);
    context.run_batch().unwrap();
    assert_eq!(context.refused(), skipped("check", 500));
    drop(context);
    let program = program.kill();
    refuses.store(false, Ordering::Relaxed);
    let context = program.start().unwrap();
    assert_eq!(context.refused(), skipped("check", 500));
    context.run_batch().unwrap();
    let half = (0..10).step_by(2).map(|n| (n, 100));
    assert_eq!(program.shown(2), half.collect());
}

/// The stream of a dataset was not computed before its result was asked for: then nothing was
/// known of its records.
#[test]
fn datasets_of_past_batches_leave_out_what_was_refused() {
    let refuses = Arc::new(AtomicBool::new(true));
    let disk = SimDisk::new();
    let flag = Arc::clone(&refuses);
    let context = builder(&disk, 2)
        .get_or_create(move |ssc| {
            let good = ssc.input::<u64>("in").on_error(ErrorPolicy::Skip);
            let good = good.try_filter(move |n| match n % 2 == 1 && flag.load(Ordering::Relaxed) {
                true => Err("odd"),
                false => Ok(true),
            });
            good.datasets("good");
            Ok(())
        })
        .unwrap();
    context.start().unwrap();
    send(&context, 1..8);
    context.run_batch().unwrap();
    refuses.store(false, Ordering::Relaxed);
    let good = context.datasets::<u64>("good").unwrap();
    let of_batch = good.batch(1).unwrap().collect().unwrap();
    assert_eq!(of_batch, [2, 4, 6]);
}

#[test]
fn the_policy_is_passed_on_until_records_are_put_together() {
    let disk = SimDisk::new();
    let context = builder(&disk, 1)
        .get_or_create(|ssc| {
            let all = ssc.input::<u64>("in").on_error(ErrorPolicy::Skip);
            let fails = |n: u64| match n {
                13 => Err("thirteen"),
                n => Ok(n),
            };
            let passed = all.map(|n| n).persist().filter(|_| true);
            let passed = passed.union(&all).try_map(fails);
            passed.for_each_batch("passed", |_, _| ());
            let ended = all.map(|n| (n, 1_u64)).reduce_by_key(|a, b| a + b);
            let ended = ended.map(move |(n, _)| assert_ne!(n, 14, "on purpose"));
            ended.for_each_batch("ended", |_, _| ());
            Ok(())
        })
        .unwrap();
    context.start().unwrap();
    send(&context, [13]);
    context.run_batch().unwrap();
    // The record came through both inputs of the union.
    assert_eq!(context.refused(), skipped("try_map#1", 2));
    send(&context, [14]);
    let error = context.run_batch().unwrap_err().to_string();
    assert!(error.contains("on purpose"), "{error}");
}

#[test]
fn dead_letters_need_a_name_that_stays() {
    let disk = SimDisk::new();
    let error = builder(&disk, 1)
        .get_or_create(|ssc| {
            let all = ssc.input::<u64>("in").on_error(ErrorPolicy::DeadLetter);
            all.try_map(Ok::<u64, String>)
                .for_each_batch("out", |_, _| ());
            Ok(())
        })
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("try_map at") && error.contains(".named("),
        "{error}"
    );
}

#[test]
fn a_name_is_given_once_and_is_nobody_elses() {
    let disk = SimDisk::new();
    let error = builder(&disk, 1)
        .get_or_create(|ssc| {
            let all = ssc.input::<u64>("in").map(|n| n);
            let twice = all.named("one").named("two");
            twice
                .filter(|_| true)
                .named("in")
                .for_each_batch("out", |_, _| ());
            Ok(())
        })
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("named(\"two\")") && error.contains("called \"one\""),
        "{error}"
    );
    assert!(error.contains("\"in\" is used twice"), "{error}");
}
