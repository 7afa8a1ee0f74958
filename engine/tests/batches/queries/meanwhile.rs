//! Questions while a batch runs, fails, or is committed.

use super::gate::{Keeper, sums};
use super::{Addition, add, add_at, open, open_by_clock};
use crate::common::moving::move_until;
use crate::common::{builder, panics};
use highwater_engine::wal::Lsn;
use highwater_engine::wal::disk::{ManualClock, SimDisk};
use highwater_engine::{
    AskError, BatchMode, ContextEvent, Error, OutputRetry, StateGuard, StateReader, StopMode,
    StreamingContext,
};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// User code that takes long holds no reader up, whichever key it is about, and what the batch has
/// done so far is not seen.
#[test]
fn a_batch_that_runs_is_not_seen_and_holds_no_reader_up() {
    let keeper = Keeper::new();
    let context = keeper.start(&SimDisk::new());
    let keys = ["a", "b", "slow", "z"];
    let sums = context.state::<String, i64>("sums").unwrap();
    let run = |number| {
        keys.iter().for_each(|key| {
            add(&context, key, number);
        });
        context.run_batch().unwrap()
    };
    let first = run(1);
    let snapshot = sums.snapshot(Duration::from_secs(1000)).unwrap();
    keeper.shut();
    std::thread::scope(|scope| {
        let running = scope.spawn(|| run(10));
        keeper.arrives.recv().unwrap();
        let now = sums.get_many(keys).unwrap();
        assert_eq!((now.value, now.batch), (vec![Some(1); 4], Some(first.id)));
        for key in keys {
            assert_eq!(sums.get(key).unwrap().value, Some(1));
        }
        assert_eq!(sums.range(.., 10).unwrap().value.len(), 4);
        keeper.open();
        let second = running.join().unwrap();
        let now = sums.get_many(keys).unwrap();
        assert_eq!((now.value, now.batch), (vec![Some(11); 4], Some(second.id)));
    });
    assert_eq!(snapshot.get_many(keys).unwrap(), [Some(1); 4]);
}

/// The state was not asked for when the batch began: the question waits for its end, and for
/// nothing else.
#[test]
fn the_first_question_waits_for_the_batch_that_runs() {
    let keeper = Keeper::new();
    let context = keeper.start(&SimDisk::new());
    add(&context, "slow", 1);
    add(&context, "z", 1);
    keeper.shut();
    std::thread::scope(|scope| {
        let running = scope.spawn(|| context.run_batch().unwrap());
        keeper.arrives.recv().unwrap();
        let sums = context.state::<String, i64>("sums").unwrap();
        let impatient = sums.clone().timeout(Duration::from_millis(1));
        let errors = [
            impatient.get("z").map(drop),
            impatient.get_many(["z"]).map(drop),
            impatient.range(.., 1).map(drop),
            impatient.snapshot(SECOND).map(drop),
            impatient.chunks().next().unwrap().map(drop),
        ];
        for error in errors.map(Result::unwrap_err) {
            let text = error.to_string();
            assert!(
                matches!(error, Error::Ask(AskError::NotReady { .. })),
                "{text}"
            );
            assert!(
                text.contains("the batch that runs must end first"),
                "{text}"
            );
        }
        let asked = scope.spawn(move || sums.get("z").unwrap());
        keeper.open();
        let batch = running.join().unwrap();
        let answer = asked.join().unwrap();
        // Before the batch, or after it: not in between.
        let expected = [(None, None), (Some(1), Some(batch.id))];
        assert!(
            expected.contains(&(answer.value, answer.batch)),
            "{answer:?}"
        );
    });
}

/// A batch whose outputs are not committed may be run again, by other code: it is not shown, though
/// the next one runs already.
#[test]
fn a_batch_is_shown_after_its_outputs_are_committed() {
    let (disk, clock) = (
        SimDisk::new(),
        Arc::new(ManualClock::new(1_700_000_000_000)),
    );
    let (keeper, down, cut) = (
        Keeper::new(),
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let (gate, is_down, cut_up_to) = (
        Arc::clone(&keeper.gate),
        Arc::clone(&down),
        Arc::clone(&cut),
    );
    let context = builder(&disk, 1)
        .clock(Arc::<ManualClock>::clone(&clock))
        .batches(BatchMode::Clock)
        .output_retry(OutputRetry::forever())
        .listener(move |event| {
            if let ContextEvent::BatchSubmitted { batch } = event {
                cut_up_to.store(batch.to.get(), Ordering::Release);
            }
        })
        .get_or_create(move |ssc| {
            let is_down = Arc::clone(&is_down);
            sums(ssc, &gate).for_each_batch("out", move |_, _: Vec<Addition>| {
                match is_down.load(Ordering::Acquire) {
                    true => Err(std::io::Error::other("down on purpose")),
                    false => Ok(()),
                }
            });
            Ok(())
        })
        .unwrap();
    let sums = context.state::<String, i64>("sums").unwrap();
    context.start().unwrap();
    let until_cut = |lsn: Lsn| {
        let is_cut = || cut.load(Ordering::Acquire) > lsn.get();
        move_until(&clock, SECOND, is_cut);
    };
    let first = add_at(&context, "slow", 1);
    until_cut(first);
    assert_eq!(
        sums.at_least(first).unwrap().get("slow").unwrap().value,
        Some(1)
    );
    // The next batch is cut while this one runs, so it begins when this one's outputs are tried.
    down.store(true, Ordering::Release);
    keeper.shut();
    let second = add_at(&context, "slow", 10);
    until_cut(second);
    keeper.arrives.recv().unwrap();
    let third = add_at(&context, "slow", 100);
    until_cut(third);
    keeper.leaves.send(()).unwrap();
    keeper.arrives.recv().unwrap();
    let answer = sums.get("slow").unwrap();
    assert_eq!(answer.value, Some(1));
    assert!(answer.lsn > first && answer.lsn <= second);
    let impatient = sums.clone().timeout(Duration::from_millis(1));
    let error = impatient.at_least(second).unwrap_err();
    let text = error.to_string();
    assert!(
        matches!(error, Error::Ask(AskError::NotReady { .. })),
        "{text}"
    );
    assert!(
        text.contains(&second.to_string()) && text.contains("\"sums\""),
        "{text}"
    );
    keeper.open();
    assert_eq!(sums.get("slow").unwrap().value, Some(1), "they are down");
    down.store(false, Ordering::Release);
    let caught_up = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let answer = sums.at_least(third).unwrap().get("slow").unwrap();
            assert_eq!(answer.value, Some(111));
            caught_up.store(true, Ordering::Release);
        });
        move_until(&clock, SECOND, || caught_up.load(Ordering::Acquire));
    });
    context.stop(StopMode::Immediate).unwrap();
}

/// Attempts that fail are not seen; and the state is right again when the workers were lost, and
/// a snapshot of before ends instead of being wrong.
#[test]
fn attempts_that_fail_are_not_seen() {
    panics::expect_on_purpose();
    for rebuild in [false, true] {
        let disk = SimDisk::new();
        let (failures, reads) = (Arc::new(AtomicU64::new(0)), Arc::new(Mutex::new(None)));
        let (fails, seen) = (Arc::clone(&failures), Arc::new(Mutex::new(Vec::new())));
        let (reader, failing, seen_by) =
            (Arc::clone(&reads), Arc::clone(&failures), Arc::clone(&seen));
        let context = builder(&disk, 1)
            .key_groups(1)
            .max_batch_failures(5)
            .always_rebuild(rebuild)
            .listener(move |event| {
                if let ContextEvent::AttemptFailed(_) = event {
                    let reader: StateReader<String, i64> = reader.lock().clone().unwrap();
                    // On a thread of the program: this one is the driver's.
                    let read = std::thread::spawn(move || {
                        let reader = reader.timeout(Duration::from_millis(1));
                        reader.get_many(["a", "z"]).map(|answer| answer.value)
                    });
                    seen_by.lock().push(read.join().unwrap());
                    failing.fetch_sub(1, Ordering::AcqRel);
                }
            })
            .get_or_create(move |ssc| {
                let fails = Arc::clone(&fails);
                let sums = ssc.input::<Addition>("added").update_state_by_key_changed(
                    "sums",
                    move |key: &String, new: &[i64], sum: &mut StateGuard<i64>| {
                        *sum.get_or_insert_with(|| 0) += new.iter().sum::<i64>();
                        let fails = key == "z" && fails.load(Ordering::Acquire) > 0;
                        assert!(!fails, "on purpose");
                    },
                );
                sums.for_each_batch("out", |_, _: Vec<Addition>| ());
                Ok(())
            })
            .unwrap();
        context.start().unwrap();
        let sums = context.state::<String, i64>("sums").unwrap();
        *reads.lock() = Some(sums.clone());
        let mut older = sums.snapshot(Duration::from_secs(1000)).unwrap();
        for (round, failing) in [(1, 0), (2, 2), (3, 0), (4, 3)] {
            let snapshot = sums.snapshot(Duration::from_secs(1000)).unwrap();
            let before = snapshot.get("a").unwrap();
            add(&context, "a", 1);
            add(&context, "z", 1);
            failures.store(failing, Ordering::Release);
            let batch = context.run_batch().unwrap();
            let answer = sums.get_many(["a", "z"]).unwrap();
            let expected = (vec![Some(round); 2], Some(batch.id));
            assert_eq!((answer.value, answer.batch), expected);
            for read in seen.lock().drain(..) {
                // Workers that are gone answer nothing; others what there was before the batch.
                match read {
                    Ok(read) => assert_eq!(read, [before; 2]),
                    Err(error) => assert!(rebuild, "{error}"),
                }
            }
            // New workers have nothing of what was before their first batch.
            assert_eq!(snapshot.get("a").unwrap(), before);
            match older.get("a") {
                Ok(found) => {
                    assert!(round == 1 || !rebuild || failing == 0);
                    assert_eq!(found, (round > 2).then_some(round - 2));
                }
                Err(error) => {
                    assert!(
                        matches!(error, Error::Ask(AskError::SnapshotGone { .. })),
                        "{error}"
                    );
                    assert!(rebuild && failing > 0);
                }
            }
            older = snapshot;
        }
    }
}

/// Two keys always have the same sum at the end of a batch. Many readers look while batches run as
/// fast as they can, with several workers: they never see one without the other, and never an older
/// batch than before.
#[test]
fn readers_beside_batches_see_whole_batches_in_order() {
    let disk = SimDisk::new();
    let context = open(&disk, 2);
    context.start().unwrap();
    let sums = context.state::<String, i64>("sums").unwrap();
    let (done, questions) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for reader in 0..3 {
            let (sums, done, questions) = (sums.clone(), &done, &questions);
            scope.spawn(move || {
                let mut newest = None;
                while !done.load(Ordering::Acquire) {
                    let many = sums.get_many(["p", "q", "r"]).unwrap();
                    let [p, q, r] = many.value[..] else { panic!() };
                    assert!(p == q && q == r, "{many:?}");
                    assert!(many.batch >= newest);
                    newest = many.batch;
                    if reader == 0 {
                        let all = sums.range(.., 100).unwrap();
                        let of = |sum| all.value.iter().filter(|(_, s)| *s == sum).count();
                        assert!(all.value.is_empty() || of(all.value[0].1) == 3, "{all:?}");
                    }
                    let one = sums.get("q").unwrap();
                    assert!(one.batch >= newest);
                    assert_eq!(one.value.unwrap_or(0), expected(one.batch), "{one:?}");
                    newest = one.batch;
                    questions.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for _ in 0..400 {
            for key in ["p", "q", "r"] {
                add(&context, key, 1);
            }
            context.run_batch().unwrap();
        }
        while questions.load(Ordering::Relaxed) < 100 {
            std::thread::yield_now();
        }
        done.store(true, Ordering::Release);
    });
    /// One is added in every batch; at a multiple of ten the key is gone, and begins at 0 again.
    fn expected(batch: Option<u64>) -> i64 {
        i64::try_from(batch.unwrap_or(0) % 10).unwrap()
    }
}

/// A snapshot ends when its time is over: what it keeps has a bound.
#[test]
fn a_snapshot_ends_in_time() {
    let (context, clock) = open_by_clock(&SimDisk::new());
    context.start().unwrap();
    let sums = context.state::<String, i64>("sums").unwrap();
    let run = |context: &StreamingContext| {
        add(context, "a", 1);
        context.run_batch().unwrap();
    };
    run(&context);
    let snapshot = sums.snapshot(10 * SECOND).unwrap();
    clock.advance(9 * SECOND);
    (0..3).for_each(|_| run(&context));
    assert_eq!(snapshot.get("a").unwrap(), Some(1));
    clock.advance(SECOND);
    (0..3).for_each(|_| run(&context));
    let error = snapshot.get("a").unwrap_err();
    assert!(
        matches!(error, Error::Ask(AskError::SnapshotGone { .. })),
        "{error}"
    );
    assert_eq!(sums.get("a").unwrap().value, Some(7));
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(future)
}

/// The future is ready when the batch is, and wakes those who poll it; one that is given up is
/// gone.
#[test]
fn a_position_can_be_waited_for_without_a_thread() {
    let disk = SimDisk::new();
    let context = open(&disk, 1);
    context.start().unwrap();
    let sums = context.state::<String, i64>("sums").unwrap();
    let lsn = add_at(&context, "a", 1);
    drop(sums.reaches(lsn));
    let waits = sums.reaches(lsn);
    let never = sums.reaches(Lsn::new(1 << 40));
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| block_on(waits));
        let other = scope.spawn(|| block_on(never));
        context.run_batch().unwrap();
        waiting.join().unwrap().unwrap();
        assert_eq!(sums.get("a").unwrap().value, Some(1));
        context.stop(StopMode::Graceful).unwrap();
        assert!(matches!(other.join().unwrap(), Err(Error::Stopped)));
    });
}
