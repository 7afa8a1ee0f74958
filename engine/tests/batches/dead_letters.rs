//! Dead letters: records that are put aside, what is known of them, and their replay, each exactly
//! once.

use crate::common;
use crate::common::builder;
use crate::common::moving::move_until;
use crate::common::table::{Table, records};
use highwater_engine::wal::disk::{Disk, ManualClock, SimDisk};
use highwater_engine::{
    BatchMode, Cheat, CheckpointPolicy, DeadLetter, DeadLetterFilter, Error, ErrorPolicy,
    RefusedStats, Result, StopMode, StreamScope, StreamingContext, read_dead_letters,
    request_replay,
};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Totals by stream and number.
type Totals = Arc<Mutex<BTreeMap<(&'static str, u64), u64>>>;

/// Two branches of one stream: one takes only what its closure likes, the other one takes all.
struct Program {
    disk: SimDisk,
    workers: usize,
    /// Whether the closure refuses numbers that end in 7.
    broken: Arc<AtomicBool>,
    totals: Totals,
    max_bytes: u64,
    /// For breaking the engine on purpose.
    cheat: Cheat,
}

impl Program {
    fn new(workers: usize) -> Self {
        Self {
            disk: SimDisk::new(),
            workers,
            broken: Arc::new(AtomicBool::new(true)),
            totals: Totals::default(),
            max_bytes: 1 << 20,
            cheat: Cheat::None,
        }
    }

    fn build(&self, ssc: &StreamScope) {
        let broken = Arc::clone(&self.broken);
        let all = ssc.input::<u64>("in");
        let checked = all.on_error(ErrorPolicy::DeadLetter).try_map(move |n| {
            match n % 10 == 7 && broken.load(Ordering::Relaxed) {
                true => Err(format!("{n} ends in 7")),
                false => Ok(n),
            }
        });
        let streams = [("checked", checked.named("check")), ("all", all)];
        for (name, stream) in streams {
            let totals = Arc::clone(&self.totals);
            let counts = stream.map(|n| (n, 1_u64)).update_state_by_key(
                &format!("{name} state"),
                |_, new: &[u64], total: &mut Option<u64>| {
                    *total = Some(total.unwrap_or(0) + new.iter().sum::<u64>());
                },
            );
            let out = format!("{name} out");
            counts.for_each_batch(&out, move |_, counts: Vec<(u64, u64)>| {
                for (number, total) in counts {
                    totals.lock().insert((name, number), total);
                }
            });
        }
    }

    fn open(&self) -> Result<StreamingContext> {
        builder(&self.disk, self.workers)
            .checkpoint(CheckpointPolicy::every_batches(3))
            .max_dead_letter_bytes(self.max_bytes)
            .cheat(self.cheat)
            .get_or_create(|ssc| {
                self.build(ssc);
                Ok(())
            })
    }

    fn start(&self) -> Result<StreamingContext> {
        let context = self.open()?;
        context.start()?;
        Ok(context)
    }

    fn letters(&self) -> Vec<DeadLetter> {
        read(&self.disk, &DeadLetterFilter::all())
    }

    fn totals(&self, stream: &str) -> BTreeMap<u64, u64> {
        let totals = self.totals.lock();
        let of = totals.iter().filter(|((name, _), _)| *name == stream);
        of.map(|((_, number), total)| (*number, *total)).collect()
    }
}

fn read(disk: &SimDisk, filter: &DeadLetterFilter) -> Vec<DeadLetter> {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let mut letters = Vec::new();
    read_dead_letters(&disk, "/app", filter, |letter| {
        letters.push(letter);
        Ok(())
    })
    .unwrap();
    letters
}

fn send(context: &StreamingContext, numbers: impl IntoIterator<Item = u64>) {
    let input = context.input::<u64>("in").unwrap();
    for number in numbers {
        input.send(&number).unwrap().wait().unwrap();
    }
}

fn ones(numbers: impl IntoIterator<Item = u64>) -> BTreeMap<u64, u64> {
    numbers.into_iter().map(|n| (n, 1)).collect()
}

#[test]
fn a_letter_tells_operator_batch_place_error_and_record() {
    for workers in 1..=3 {
        let program = Program::new(workers);
        let context = program.start().unwrap();
        assert_eq!(program.letters(), []);
        let input = context.input::<u64>("in").unwrap();
        input.send_all(&[1, 7, 17]).unwrap().wait().unwrap();
        let batch = context.run_batch().unwrap();
        let letters = program.letters();
        assert_eq!(letters.len(), 2);
        assert_eq!(context.dead_letters(), 2);
        let first = &letters[0];
        assert_eq!(
            (first.operator.as_str(), first.batch, first.failed_in),
            ("check", 1, 1)
        );
        assert_eq!((first.error.as_str(), first.attempts), ("7 ends in 7", 1));
        assert_eq!((first.index, first.time_ms), (Some(2), batch.time_ms));
        let lsn = first.lsn.unwrap();
        assert!(batch.from <= lsn && lsn < batch.to);
        assert_eq!(first.id, format!("check/{lsn}.2.0"));
        assert_eq!(letters[0].input, [7]);
        assert_eq!(letters[1].id, format!("check/{lsn}.3.0"));
        let some = DeadLetterFilter::all().id(&letters[1].id);
        assert_eq!(read(&program.disk, &some), letters[1..]);
        let none = DeadLetterFilter::all().operator("other");
        assert_eq!(read(&program.disk, &none), []);
        let refused = RefusedStats {
            operator: "check".to_owned(),
            skipped: 0,
            dead_letters: 2,
        };
        assert_eq!(context.refused(), [refused]);
    }
}

/// A record that failed in one branch was counted in the other: a replay of the record counted it
/// there again.
#[test]
fn a_replayed_record_reaches_the_operator_that_failed_and_no_other() {
    for workers in 1..=3 {
        let program = Program::new(workers);
        let context = program.start().unwrap();
        send(&context, [1, 7, 2, 17]);
        context.run_batch().unwrap();
        assert_eq!(program.totals("checked"), ones([1, 2]));
        assert_eq!(program.totals("all"), ones([1, 2, 7, 17]));
        program.broken.store(false, Ordering::Relaxed);
        assert_eq!(
            context
                .replay_dead_letters(&DeadLetterFilter::all())
                .unwrap(),
            2
        );
        send(&context, [3]);
        context.run_batch().unwrap();
        assert_eq!(program.totals("checked"), ones([1, 2, 3, 7, 17]));
        assert_eq!(program.totals("all"), ones([1, 2, 3, 7, 17]));
        assert_eq!((program.letters(), context.dead_letters()), (vec![], 0));
    }
}

#[test]
fn a_letter_that_fails_again_keeps_its_identity_and_has_one_more_attempt() {
    for workers in 1..=3 {
        let program = Program::new(workers);
        let context = program.start().unwrap();
        send(&context, [7, 17]);
        context.run_batch().unwrap();
        let first = program.letters();
        let one = DeadLetterFilter::all().id(&first[0].id);
        for attempt in 2..5 {
            assert_eq!(context.replay_dead_letters(&one).unwrap(), 1);
            let batch = context.run_batch().unwrap();
            let letters = program.letters();
            let again = letters
                .iter()
                .find(|letter| letter.id == first[0].id)
                .unwrap();
            assert_eq!(
                (again.attempts, again.failed_in, again.batch),
                (attempt, batch.id, 1)
            );
            assert_eq!((again.lsn, &again.input), (first[0].lsn, &first[0].input));
            assert_eq!(letters.len(), 2);
        }
        program.broken.store(false, Ordering::Relaxed);
        context
            .replay_dead_letters(&DeadLetterFilter::all())
            .unwrap();
        context.run_batch().unwrap();
        assert_eq!(program.totals("checked"), ones([7, 17]));
        assert_eq!(program.letters(), []);
    }
}

/// Requests may come from other processes, before a start, twice, and while the program stops.
#[test]
fn asked_twice_offline_and_while_the_program_stops_a_letter_is_replayed_once() {
    for workers in 1..=3 {
        let program = Program::new(workers);
        let disk: Arc<dyn Disk> = Arc::new(program.disk.clone());
        let context = program.start().unwrap();
        send(&context, [7, 17, 27]);
        context.run_batch().unwrap();
        context.stop(StopMode::Graceful).unwrap();
        drop(context);
        let letters = program.letters();
        let ask = |filter: &DeadLetterFilter| request_replay(&disk, "/app", filter).unwrap();
        program.broken.store(false, Ordering::Relaxed);
        ask(&DeadLetterFilter::all().id(&letters[1].id));
        ask(&DeadLetterFilter::all().operator("check"));
        ask(&DeadLetterFilter::all());
        let context = program.start().unwrap();
        context
            .replay_dead_letters(&DeadLetterFilter::all())
            .unwrap();
        context.run_batch().unwrap();
        assert_eq!(program.totals("checked"), ones([7, 17, 27]));
        program.broken.store(true, Ordering::Relaxed);
        send(&context, [37]);
        context.run_batch().unwrap();
        program.broken.store(false, Ordering::Relaxed);
        context
            .replay_dead_letters(&DeadLetterFilter::all())
            .unwrap();
        context.stop(StopMode::Graceful).unwrap();
        drop(context);
        assert_eq!(program.totals("checked"), ones([7, 17, 27, 37]));
        assert_eq!(program.letters(), []);
        let context = program.start().unwrap();
        context.run_batch().unwrap();
        assert_eq!(program.totals("checked"), ones([7, 17, 27, 37]));
    }
}

/// What the closure refused at its first replay and would not today is left out by a rebuild too.
#[test]
fn a_replay_that_failed_is_left_out_when_its_batch_runs_again() {
    for workers in 1..=3 {
        let program = Program::new(workers);
        let context = program.start().unwrap();
        send(&context, [7]);
        context.run_batch().unwrap();
        context
            .replay_dead_letters(&DeadLetterFilter::all())
            .unwrap();
        context.run_batch().unwrap();
        drop(context);
        let program = Program {
            disk: program.disk.kill_process(),
            ..program
        };
        program.broken.store(false, Ordering::Relaxed);
        let context = program.start().unwrap();
        send(&context, [1]);
        context.run_batch().unwrap();
        assert_eq!(program.totals("checked"), ones([1]));
        assert_eq!(program.letters()[0].attempts, 2);
    }
}

/// One life of a program that is repaired after its second batch, and asks for a replay in each
/// life after that.
fn live(program: &Program) -> Result<()> {
    let context = program.start()?;
    let input = context.input::<u64>("in")?;
    let done = context.progress().last_batch.unwrap_or(0);
    if done >= 2 {
        program.broken.store(false, Ordering::Relaxed);
    }
    for group in done + 1..=6 {
        if group > 2 {
            program.broken.store(false, Ordering::Relaxed);
        }
        if group == 4 {
            context.replay_dead_letters(&DeadLetterFilter::all())?;
        }
        for number in group * 100 + 5..group * 100 + 9 {
            input.send_once("client", number, &number)?.wait()?;
        }
        context.run_batch()?;
    }
    context.replay_dead_letters(&DeadLetterFilter::all())?;
    context.run_batch()?;
    context.stop(StopMode::Graceful)
}

/// Cuts the power before one operation, lives again, and compares; an error says what is wrong.
fn cut_and_compare(
    workers: usize,
    cheat: Cheat,
    operation: u64,
    expected: &BTreeMap<u64, u64>,
) -> std::result::Result<(), String> {
    let mut program = Program::new(workers);
    program.cheat = cheat;
    program.disk.cut_power_before(operation);
    // The last operations come when the context is dropped.
    let _cut_off = live(&program);
    program.disk = program.disk.restart_after_power_cut(operation);
    program.workers = 1 + workers % 3;
    live(&program).map_err(|e| e.to_string())?;
    for stream in ["checked", "all"] {
        if program.totals(stream) != *expected {
            return Err(format!("{stream}: {:?}", program.totals(stream)));
        }
    }
    if !program.letters().is_empty() {
        return Err(format!("{:?}", program.letters()));
    }
    let refused = program.start().map_err(|e| e.to_string())?.refused();
    // Batch 2 may have run again when the program was repaired.
    match refused.as_slice() {
        [one] if one.skipped == 0 && (1..=2).contains(&one.dead_letters) => Ok(()),
        other => Err(format!("{other:?}")),
    }
}

/// What comes out of a run that nothing interrupts, and how many operations it makes.
fn undisturbed(cheat: Cheat) -> (BTreeMap<u64, u64>, u64) {
    let mut whole = Program::new(1);
    whole.cheat = cheat;
    live(&whole).unwrap();
    let expected = ones((1..=6).flat_map(|group| group * 100 + 5..group * 100 + 9));
    let operations = whole.disk.mutations();
    assert!(operations > 100, "{operations}");
    if cheat == Cheat::None {
        assert_eq!(whole.totals("checked"), expected);
        assert_eq!(whole.totals("all"), expected);
        assert_eq!(whole.letters(), []);
    }
    (expected, operations)
}

#[test]
fn each_record_counts_once_with_the_power_cut_before_every_operation_of_the_disk() {
    let (expected, operations) = undisturbed(Cheat::None);
    for workers in 1..=3_u64 {
        let step = if workers == 1 { 1 } else { 5 };
        for operation in (workers..operations).step_by(step) {
            let workers = usize::try_from(workers).unwrap();
            cut_and_compare(workers, Cheat::None, operation, &expected)
                .unwrap_or_else(|what| panic!("{workers} workers, operation {operation}: {what}"));
        }
    }
}

/// The test above would object.
#[test]
fn engines_that_forget_what_they_have_refused_or_replayed_are_caught() {
    for cheat in [
        Cheat::ForgetRefused,
        Cheat::CommitBeforeLetters,
        Cheat::ForgetReplays,
    ] {
        let (expected, operations) = undisturbed(cheat);
        let mut cuts = 1..operations;
        let caught = cuts.any(|operation| cut_and_compare(1, cheat, operation, &expected).is_err());
        assert!(caught, "{cheat:?} goes unnoticed");
    }
}

/// With the policy in place, kills and power cuts change no result.
#[test]
fn records_that_are_put_aside_are_missing_from_every_result_whatever_happens() {
    let odd = |n: u64| match n % 2 {
        1 => Ok(n),
        _ => Err("even"),
    };
    let program = move |ssc: &StreamScope| {
        let all = ssc.input::<u64>("in").on_error(ErrorPolicy::DeadLetter);
        let direct = all.try_map(odd).named("direct");
        let kept = all.persist().try_map(odd).named("behind a node");
        let sums = ssc.input::<u64>("in2").map(|n| (n % 2, n));
        let sums = sums.reduce_by_key(|a, b| a + b);
        let sums = sums.on_error(ErrorPolicy::DeadLetter);
        let sums = sums.try_map_values(odd).named("behind a shuffle");
        ((direct, kept), common::table::ByKey(sums))
    };
    Table::new(program)
        .batch(
            [
                records::<u64>("in", [1_u64, 2, 3]),
                records::<u64>("in2", [1_u64, 2]),
            ],
            ((vec![1, 3], vec![1, 3]), vec![(1, 1)]),
        )
        .batch([records::<u64>("in", [4_u64])], ((vec![], vec![]), vec![]))
        .batch([], ((vec![], vec![]), vec![]))
        .batch(
            [
                records::<u64>("in", [5_u64]),
                records::<u64>("in2", [7_u64, 9, 3]),
            ],
            ((vec![5], vec![5]), vec![(1, 19)]),
        )
        .check();
}

/// Operators that do not read the log itself have their second input behind a union.
#[test]
fn letters_of_operators_behind_nodes_and_shuffles_are_replayed_too() {
    for workers in 1..=3 {
        let (disk, broken) = (SimDisk::new(), Arc::new(AtomicBool::new(true)));
        let seen = Arc::new(Mutex::new(BTreeMap::<u64, Vec<(u64, u64)>>::new()));
        let open = || {
            let (seen, broken) = (Arc::clone(&seen), Arc::clone(&broken));
            let context = builder(&disk, workers).get_or_create(move |ssc| {
                let check = move |n: u64| match n % 10 == 7 && broken.load(Ordering::Relaxed) {
                    true => Err("ends in 7"),
                    false => Ok(n),
                };
                let all = ssc
                    .input::<u64>("in")
                    .on_error(ErrorPolicy::DeadLetter)
                    .persist();
                let first = all.try_map(check.clone()).named("first");
                let sums = first.map(|n| (n % 2, n)).reduce_by_key(|a, b| a + b);
                let sums = sums.on_error(ErrorPolicy::DeadLetter);
                let sums = sums.try_map_values(check).named("sums");
                sums.for_each_batch("out", move |batch, mut sums: Vec<(u64, u64)>| {
                    sums.sort_unstable();
                    seen.lock().insert(batch.id, sums);
                });
                Ok(())
            });
            let context = context.unwrap();
            context.start().unwrap();
            context
        };
        let context = open();
        send(&context, [7, 4, 1, 16]);
        context.run_batch().unwrap();
        send(&context, [8, 9, 8]);
        context.run_batch().unwrap();
        send(&context, [17, 5, 12]);
        context.run_batch().unwrap();
        let letters = read(&disk, &DeadLetterFilter::all());
        let found: Vec<(&str, u64, &[u8])> = letters
            .iter()
            .map(|letter| (letter.operator.as_str(), letter.batch, &letter.input[..]))
            .collect();
        assert_eq!(found, [("first", 1, &[7][..]), ("first", 3, &[17])]);
        send(&context, [20, 7, 10, 27]);
        context.run_batch().unwrap();
        // A sum that ends in 7.
        send(&context, [4, 3]);
        context.run_batch().unwrap();
        send(&context, [3, 14, 33, 1]);
        context.run_batch().unwrap();
        let sum = DeadLetterFilter::all().operator("sums");
        let letters = read(&disk, &sum);
        assert_eq!(letters.len(), 1, "{letters:?}");
        assert_eq!((letters[0].batch, letters[0].lsn), (6, None));
        assert_eq!(letters[0].input, [0x92, 1, 37]);
        broken.store(false, Ordering::Relaxed);
        context
            .replay_dead_letters(&DeadLetterFilter::all())
            .unwrap();
        let batch = context.run_batch().unwrap().id;
        // 7 + 17 + 7 + 27 through the first operator and the sums, 37 through the second alone.
        let expected = vec![(1, 37), (1, 58)];
        assert_eq!(seen.lock()[&batch], expected, "{workers} workers");
        drop(context);
        seen.lock().clear();
        let context = open();
        assert_eq!(context.dead_letters(), 0);
        context.run_batch().unwrap();
        assert!(seen.lock()[&(batch + 1)].is_empty());
    }
}

#[test]
fn a_full_store_fails_the_batch_and_what_was_replayed_takes_no_room() {
    let mut program = Program::new(2);
    program.max_bytes = 6_000;
    let context = program.start().unwrap();
    let mut sent = 0;
    let error = loop {
        sent += 1;
        assert!(sent < 100, "the bound does not hold");
        send(&context, (0..10).map(|n| sent * 1000 + n * 10 + 7));
        if let Err(error) = context.run_batch() {
            break error.to_string();
        }
    };
    assert!(error.contains("max_dead_letter_bytes"), "{error}");
    let open = program.letters().len();
    assert_eq!(open as u64, (sent - 1) * 10);
    drop(context);
    program.disk = program.disk.kill_process();
    program.max_bytes = 1 << 20;
    let context = program.start().unwrap();
    assert_eq!(program.letters().len(), open + 10);
    program.broken.store(false, Ordering::Relaxed);
    context
        .replay_dead_letters(&DeadLetterFilter::all())
        .unwrap();
    context.run_batch().unwrap();
    assert_eq!(program.letters(), []);
    context.stop(StopMode::Graceful).unwrap();
    drop(context);
    program.max_bytes = 30_000;
    program.broken.store(true, Ordering::Relaxed);
    let context = program.start().unwrap();
    for round in 0..20 {
        send(
            &context,
            (0..10).map(|n| 50_000 + round * 1000 + n * 10 + 7),
        );
        context.run_batch().unwrap();
        program.broken.store(false, Ordering::Relaxed);
        context
            .replay_dead_letters(&DeadLetterFilter::all())
            .unwrap();
        context.run_batch().unwrap();
        program.broken.store(true, Ordering::Relaxed);
    }
    let total: u64 = program.totals("checked").values().sum();
    assert_eq!(total, (sent + 20) * 10);
}

/// More letters than one batch may have come in several.
#[test]
fn a_large_replay_is_spread_over_batches_and_asks_for_no_letter_twice() {
    let disk = SimDisk::new();
    let seen = Arc::new(Mutex::new(Vec::<u64>::new()));
    let all = Arc::clone(&seen);
    let context = builder(&disk, 2)
        .max_batch_bytes(8 << 10)
        .get_or_create(move |ssc| {
            let refused = ssc.input::<u64>("in").on_error(ErrorPolicy::DeadLetter);
            let refused = refused.try_map(|n| match n % 2 {
                0 => Err("never"),
                _ => Ok(n),
            });
            refused
                .named("odd")
                .for_each_batch("out", move |_, odd: Vec<u64>| {
                    all.lock().extend(odd);
                });
            Ok(())
        })
        .unwrap();
    context.start().unwrap();
    let input = context.input::<u64>("in").unwrap();
    for n in 0..600_u64 {
        input.send(&(n * 2)).unwrap().wait().unwrap();
    }
    while context.dead_letters() < 600 {
        context.run_batch().unwrap();
    }
    context
        .replay_dead_letters(&DeadLetterFilter::all())
        .unwrap();
    for _ in 0..60 {
        context.run_batch().unwrap();
    }
    let letters = read(&disk, &DeadLetterFilter::all());
    assert_eq!(letters.len(), 600);
    assert!(letters.iter().all(|letter| letter.attempts == 2));
    let mut batches: Vec<u64> = letters.iter().map(|letter| letter.failed_in).collect();
    batches.dedup();
    assert!(batches.len() > 3, "{batches:?}");
    assert!(seen.lock().is_empty());
}

/// A letter whose record the operator cannot read today stays where it is.
#[test]
fn a_letter_of_another_type_stays_and_the_program_goes_on() {
    let program = Program::new(1);
    let context = program.start().unwrap();
    send(&context, [7, 300]);
    send(&context, [307]);
    context.run_batch().unwrap();
    context.stop(StopMode::Graceful).unwrap();
    drop(context);
    let disk = program.disk.clone();
    let open = || {
        builder(&disk, 1)
            .drop_state("checked state")
            .drop_state("all state")
            .get_or_create(|ssc| {
                // As before, but the operator reads small numbers.
                let small = ssc.input::<u64>("in").map(|n| u8::try_from(n).unwrap_or(0));
                let small = small.on_error(ErrorPolicy::DeadLetter);
                let checked = small.try_map(Ok::<u8, String>).named("check");
                checked.for_each_batch("out", |_, _| ());
                Ok(())
            })
            .unwrap()
    };
    let context = open();
    context.start().unwrap();
    context
        .replay_dead_letters(&DeadLetterFilter::all())
        .unwrap();
    context.run_batch().unwrap();
    context.run_batch().unwrap();
    let letters = program.letters();
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].input, [0xcd, 1, 51]);
}

#[test]
fn a_program_without_dead_letters_has_no_store_and_takes_no_request() {
    let disk = SimDisk::new();
    let context = builder(&disk, 1)
        .get_or_create(|ssc| {
            let all = ssc.input::<u64>("in").on_error(ErrorPolicy::Skip);
            all.map(|n| n).for_each_batch("out", |_, _| ());
            Ok(())
        })
        .unwrap();
    context.start().unwrap();
    context.run_batch().unwrap();
    let error = context.replay_dead_letters(&DeadLetterFilter::all());
    assert!(matches!(error, Err(Error::LifeCycle(_))));
    let entries = disk.list("/app".as_ref()).unwrap();
    assert!(entries.iter().all(|entry| entry.name != "dead-letters"));
    assert_eq!(read(&disk, &DeadLetterFilter::all()), []);
}

#[test]
fn behind_a_window_records_cannot_be_put_aside() {
    let disk = SimDisk::new();
    let seconds = std::time::Duration::from_secs(2);
    let error = builder(&disk, 1)
        .get_or_create(move |ssc| {
            let window = ssc.input::<u64>("in").window("last", seconds, seconds);
            let window = window.on_error(ErrorPolicy::DeadLetter);
            let checked = window.try_map(Ok::<u64, String>).named("check");
            checked.for_each_batch("out", |_, _| ());
            Ok(())
        })
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("try_map at") && error.contains("where a window ends"),
        "{error}"
    );
}

/// The cutter's thread takes letters in, the driver's puts them aside.
#[test]
fn by_the_clock_letters_are_put_aside_and_replayed_while_the_program_runs() {
    let program = Program::new(2);
    let clock = Arc::new(ManualClock::new(1_700_000_000_000));
    let context = builder(&program.disk, 2)
        .clock(Arc::<ManualClock>::clone(&clock))
        .batches(BatchMode::Clock)
        .max_dead_letter_bytes(program.max_bytes)
        .get_or_create(|ssc| {
            program.build(ssc);
            Ok(())
        })
        .unwrap();
    context.start().unwrap();
    let until = |done: &dyn Fn() -> bool| move_until(&clock, Duration::from_millis(100), done);
    send(&context, 0..40);
    until(&|| context.dead_letters() == 4);
    until(&|| program.totals("all") == ones(0..40));
    program.broken.store(false, Ordering::Relaxed);
    let asked = context.replay_dead_letters(&DeadLetterFilter::all());
    assert_eq!(asked.unwrap(), 4);
    send(&context, 40..50);
    until(&|| program.totals("checked") == ones(0..50));
    until(&|| program.totals("all") == ones(0..50));
    context.stop(StopMode::Graceful).unwrap();
    drop(context);
    let context = program.start().unwrap();
    send(&context, [50]);
    context.run_batch().unwrap();
    for stream in ["checked", "all"] {
        assert_eq!(program.totals(stream), ones(0..51), "{stream}");
    }
    assert_eq!(program.letters(), []);
}
