//! Outputs commit once: what is published is what the log lists, whatever happened in between. A
//! sink that is down delays its batches; the context lives.
#![allow(clippy::cast_possible_truncation, reason = "test code")]

use crate::common;
use crate::common::moving::move_until;
use crate::common::{builder, panics, send};
use highwater_engine::wal::disk::{Clock, Disk, ManualClock, SimDisk};
use highwater_engine::{
    Batch, BatchMode, BoxError, Builder, Cheat, CheckpointPolicy, ContextState, Error, Guarantee,
    InDoubt, Mismatch, OutputRetry, Part, Records, Result, SinkContext, SinkError, StagedPart,
    StagedSink, StopMode, StreamScope, StreamingContext,
};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const BATCHES: u64 = 6;

/// A store outside of the machine that crashes, as a remote one would be. It forgets nothing that
/// was staged, so that what a batch staged before a crash lies beside what it stages again.
#[derive(Debug, Default)]
struct Store {
    /// By token.
    staged: BTreeMap<String, Vec<String>>,
    /// By batch and part, with the token.
    visible: BTreeMap<u64, BTreeMap<u32, (String, Vec<String>)>>,
    /// How many parts were staged in all.
    count: u64,
}

/// What a store shows of each batch: its records, and in how many parts they were.
type Shown = BTreeMap<u64, (Vec<String>, usize)>;

fn shown(store: &Mutex<Store>) -> Shown {
    let store = store.lock();
    let of_batch = |parts: &BTreeMap<u32, (String, Vec<String>)>| {
        let records = parts.values().flat_map(|(_, records)| records.clone());
        (records.collect(), parts.len())
    };
    let all = store.visible.iter();
    all.map(|(batch, parts)| (*batch, of_batch(parts)))
        .collect()
}

/// Stages into a store. Each step is one of the disk too, so that the power can go off there.
#[derive(Debug, Default)]
struct Shelf {
    store: Arc<Mutex<Store>>,
    disk: Mutex<Option<Arc<dyn Disk>>>,
}

impl Shelf {
    fn step(&self) -> Result<(), BoxError> {
        let disk = self.disk.lock().clone().unwrap();
        disk.create_dir_all(Path::new("/shelf"))?;
        Ok(disk.sync_dir(Path::new("/shelf"))?)
    }
}

impl StagedSink<String> for Shelf {
    fn open(&self, context: &SinkContext) -> Result<(), BoxError> {
        *self.disk.lock() = Some(Arc::clone(&context.disk));
        self.step()
    }

    fn stage(
        &self,
        batch: &Batch,
        part: Part,
        records: &Records<'_, String>,
    ) -> Result<Option<Vec<u8>>, BoxError> {
        self.step()?;
        if records.is_empty() {
            assert_eq!(
                (part.number, part.count),
                (0, 1),
                "only a whole batch is empty"
            );
            return Ok(None);
        }
        let mut store = self.store.lock();
        store.count += 1;
        let token = format!("{}/{}/{}", batch.id, part.number, store.count);
        let records: Vec<String> = records.iter().cloned().collect();
        store.staged.insert(token.clone(), records);
        drop(store);
        self.step()?;
        Ok(Some(token.into_bytes()))
    }

    fn publish(&self, batch: &Batch, parts: &[StagedPart]) -> Result<(), BoxError> {
        for StagedPart { part, token } in parts {
            self.step()?;
            let token = String::from_utf8(token.clone())?;
            let mut store = self.store.lock();
            let records = store.staged.get(&token).cloned();
            let records = records.ok_or(format!("part {token} is missing"))?;
            let of_batch = store.visible.entry(batch.id).or_default();
            let before = of_batch.insert(*part, (token.clone(), records));
            assert!(
                before.is_none_or(|(before, _)| before == token),
                "{batch} was published twice, with other parts"
            );
            drop(store);
            self.step()?;
        }
        Ok(())
    }
}

/// Words with their counts on one shelf; on another one what the last two seconds had.
#[derive(Default)]
struct World {
    counts: Arc<Mutex<Store>>,
    windows: Arc<Mutex<Store>>,
}

impl World {
    fn program(&self, ssc: &StreamScope) {
        let shelf = |store: &Arc<Mutex<Store>>| Shelf {
            store: Arc::clone(store),
            ..Shelf::default()
        };
        let counts = common::word_count(ssc);
        let counts = counts.map(|(word, n): (String, u64)| format!("{word} {n}"));
        counts.staged_sink("shelf", shelf(&self.counts));
        counts.count().for_each_batch("plain", |_, _| ());
        let windows = counts.window("two seconds", 2 * SECOND, 2 * SECOND);
        windows.staged_sink("windows", shelf(&self.windows));
    }

    fn live(&self, disk: &SimDisk, workers: usize, change: Change) -> Result<()> {
        let context = change(builder(disk, workers)).get_or_create(|ssc| {
            self.program(ssc);
            Ok(())
        })?;
        context.start()?;
        let input = context.input::<String>("lines")?;
        let done = context.progress().last_batch.unwrap_or(0);
        for batch in done + 1..=BATCHES {
            // One batch is empty, one has a single word.
            let words = [0, 1, 7, 12, 4, 9][batch as usize % 6];
            let line = |word| format!("w{}", (batch + word) % 9);
            let line = (0..words).map(line).collect::<Vec<_>>().join(" ");
            input.send_once("client", batch, &line)?.wait()?;
            let ran = context.run_batch()?;
            assert_eq!(ran.id, batch);
        }
        context.stop(StopMode::Graceful)
    }

    fn shown(&self) -> [Shown; 2] {
        [shown(&self.counts), shown(&self.windows)]
    }
}

type Change = fn(Builder) -> Builder;

fn honest(builder: Builder) -> Builder {
    builder
}

/// The records alone: how many parts they were in depends on the number of workers.
fn records(shown: [Shown; 2]) -> [BTreeMap<u64, Vec<String>>; 2] {
    shown.map(|of| {
        let all = of.into_iter().filter(|(batch, _)| *batch <= BATCHES);
        all.map(|(batch, (records, _))| (batch, records)).collect()
    })
}

fn undisturbed(workers: usize) -> ([Shown; 2], u64) {
    let (world, disk) = (World::default(), SimDisk::new());
    world.live(&disk, workers, honest).unwrap();
    (world.shown(), disk.mutations())
}

#[test]
fn each_worker_has_a_share_and_together_they_are_the_batch_in_its_order() {
    let (one, _) = undisturbed(1);
    assert!(one[0].len() >= 5 && one[1].len() >= 2, "{one:?}");
    for workers in 1..=3 {
        let (shown, _) = undisturbed(workers);
        for (store, alone) in shown.iter().zip(&one) {
            for (batch, (records, parts)) in store {
                assert_eq!(*parts, workers.min(records.len()), "batch {batch}");
                assert_eq!(Some(records), alone.get(batch).map(|(records, _)| records));
            }
            assert_eq!(store.len(), alone.len());
        }
        assert_eq!(shown, undisturbed(workers).0, "the same shares in each run");
    }
}

/// The power goes off before every operation of the disk, also of those inside of `stage` and
/// `publish`; the next life has another number of workers, and is cut short as well.
#[test]
fn what_is_published_is_what_was_committed_whenever_the_power_goes_off() {
    for workers in 1..=3 {
        let (expected, mutations) = undisturbed(workers);
        let expected = records(expected);
        assert!(mutations > 100, "{mutations} mutations");
        for cut in 0..mutations {
            // Most cuts once; some with a second one, in the recovery.
            for again in [None, Some(cut % 23)] {
                let (world, disk) = (World::default(), SimDisk::new());
                disk.cut_power_before(cut);
                let _ = world.live(&disk, workers, honest);
                let mut disk = disk.restart_after_power_cut(cut);
                let mut next = 1 + workers % 3;
                if let Some(again) = again {
                    disk.cut_power_before(again);
                    let _ = world.live(&disk, next, honest);
                    disk = match disk.is_alive() {
                        true => disk.kill_process(),
                        false => disk.restart_after_power_cut(again),
                    };
                    next = 1 + next % 3;
                }
                let what = format!("{workers} workers, cut before {cut}, then {again:?}");
                let lived = world.live(&disk, next, honest);
                lived.unwrap_or_else(|e| panic!("{what}: {e}"));
                assert_eq!(records(world.shown()), expected, "{what}");
            }
        }
    }
}

/// How often the matrix objects to an engine.
fn objections(change: Change) -> usize {
    let (expected, mutations) = undisturbed(2);
    let expected = records(expected);
    let objects = |cut: &u64| {
        let lives = std::panic::AssertUnwindSafe(|| {
            let (world, disk) = (World::default(), SimDisk::new());
            disk.cut_power_before(*cut);
            let _ = world.live(&disk, 2, change);
            let disk = disk.restart_after_power_cut(*cut);
            let lived = world.live(&disk, 3, change);
            lived.is_err() || records(world.shown()) != expected
        });
        std::panic::catch_unwind(lives).unwrap_or(true)
    };
    panics::unheard(|| (0..mutations).step_by(3).filter(objects).count())
}

#[test]
fn the_matrix_objects_to_engines_that_publish_early_or_forget_a_part() {
    assert_eq!(objections(honest), 0);
    assert!(objections(|b| b.cheat(Cheat::PublishBeforeCommit)) > 0);
    assert!(objections(|b| b.cheat(Cheat::ForgetAPart)) > 0);
}

/// What was staged of a committed batch is gone.
#[test]
fn a_part_that_is_missing_is_an_error_at_the_start() {
    let (_, mutations) = undisturbed(2);
    let mut missed = 0;
    for cut in 0..mutations {
        let (world, disk) = (World::default(), SimDisk::new());
        disk.cut_power_before(cut);
        let _ = world.live(&disk, 2, honest);
        let disk = disk.restart_after_power_cut(cut);
        world.counts.lock().staged.clear();
        if let Err(error) = world.live(&disk, 1, honest) {
            let error = error.to_string();
            assert!(
                error.contains("\"shelf\"") && error.contains("is missing"),
                "{error}"
            );
            missed += 1;
        }
    }
    // From the sync of `committed` to that of `published`, in batches with parts.
    assert!(missed > 10, "{missed}");
}

fn staged(disk: &SimDisk, sink: impl StagedSink<String>, change: Change) -> StreamingContext {
    let context = change(builder(disk, 2)).get_or_create(|ssc| {
        let lines = ssc.input::<String>("lines");
        lines.staged_sink("out", sink);
        Ok(())
    });
    context.unwrap()
}

#[test]
fn a_token_that_is_too_long_is_an_error_that_names_output_and_size() {
    #[derive(Debug)]
    struct Long(usize);
    impl StagedSink<String> for Long {
        fn stage(
            &self,
            _: &Batch,
            _: Part,
            _: &Records<'_, String>,
        ) -> Result<Option<Vec<u8>>, BoxError> {
            Ok(Some(vec![7; self.0]))
        }
        fn publish(&self, _: &Batch, parts: &[StagedPart]) -> Result<(), BoxError> {
            assert!(parts.iter().all(|part| part.token == vec![7; self.0]));
            Ok(())
        }
    }
    for (bytes, fits) in [(0, true), (1024, true), (1025, false)] {
        let context = staged(&SimDisk::new(), Long(bytes), honest);
        context.start().unwrap();
        send(&context, "a line");
        match context.run_batch() {
            Ok(_) => assert!(fits, "{bytes}"),
            Err(error) => {
                let error = error.to_string();
                let parts = ["staged_sink \"out\"", "1025 bytes", "batch 1"];
                assert!(
                    !fits && parts.iter().all(|part| error.contains(part)),
                    "{error}"
                );
            }
        }
    }
}

/// How a sink fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failure {
    Error,
    Permanent,
    Panic,
}

/// Fails as long as it is told to, and notes every call.
#[derive(Debug, Default)]
struct Flaky {
    /// What fails, and how often still.
    failing: Mutex<Option<(&'static str, Failure, u64)>>,
    /// Phase, batch, part, and when.
    calls: Mutex<Vec<(&'static str, u64, u32, Duration)>>,
    store: Mutex<BTreeMap<u64, BTreeMap<u32, Vec<String>>>>,
    visible: Mutex<BTreeMap<u64, Vec<String>>>,
    opened: Mutex<Option<InDoubt>>,
    clock: Option<Arc<ManualClock>>,
}

impl Flaky {
    fn call(&self, phase: &'static str, batch: &Batch, part: u32) -> Result<(), BoxError> {
        let now = self.clock.as_ref().map_or(Duration::ZERO, |c| c.now());
        self.calls.lock().push((phase, batch.id, part, now));
        let mut failing = self.failing.lock();
        let Some((fails, failure, left)) = &mut *failing else {
            return Ok(());
        };
        // One part fails, the others do not.
        if *fails != phase || part != 0 || *left == 0 {
            return Ok(());
        }
        *left -= 1;
        let failure = *failure;
        drop(failing);
        match failure {
            Failure::Error => Err("the store is down".into()),
            Failure::Permanent => Err(SinkError::permanent("no such table").into()),
            Failure::Panic => panic!("on purpose"),
        }
    }

    fn fail(&self, phase: &'static str, failure: Failure, times: u64) {
        *self.failing.lock() = Some((phase, failure, times));
    }

    fn lines(&self) -> Vec<String> {
        self.visible.lock().values().flatten().cloned().collect()
    }

    fn count(&self, phase: &str, batch: u64) -> usize {
        let calls = self.calls.lock();
        let of = calls.iter().filter(|(p, b, ..)| *p == phase && *b == batch);
        of.count()
    }
}

/// A handle, so that the test keeps another.
#[derive(Debug, Clone)]
struct Handle(Arc<Flaky>);

impl StagedSink<String> for Handle {
    fn open(&self, context: &SinkContext) -> Result<(), BoxError> {
        *self.0.opened.lock() = Some(context.in_doubt.clone());
        Ok(())
    }
    fn stage(
        &self,
        batch: &Batch,
        part: Part,
        records: &Records<'_, String>,
    ) -> Result<Option<Vec<u8>>, BoxError> {
        self.0.call("staging", batch, part.number)?;
        let records: Vec<String> = records.iter().cloned().collect();
        if records.is_empty() {
            return Ok(None);
        }
        let mut store = self.0.store.lock();
        store
            .entry(batch.id)
            .or_default()
            .insert(part.number, records);
        Ok(Some(b"token".to_vec()))
    }
    fn publish(&self, batch: &Batch, parts: &[StagedPart]) -> Result<(), BoxError> {
        self.0.call("publishing", batch, 0)?;
        let store = self.0.store.lock();
        let of = |part: &StagedPart| store[&batch.id][&part.part].clone();
        let records: Vec<String> = parts.iter().flat_map(of).collect();
        self.0.visible.lock().insert(batch.id, records);
        Ok(())
    }
}

/// A context that runs by a clock which is moved by hand, with an output that may fail and one that
/// does not.
struct Running {
    flaky: Arc<Flaky>,
    steady: Arc<Flaky>,
    clock: Arc<ManualClock>,
    context: StreamingContext,
}

impl Running {
    fn start(disk: &SimDisk, change: Change) -> Self {
        Self::start_with(disk, change, Flaky::default(), Flaky::default())
    }

    fn start_with(disk: &SimDisk, change: Change, mut flaky: Flaky, steady: Flaky) -> Self {
        let clock = Arc::new(ManualClock::new(1_700_000_000_500));
        flaky.clock = Some(Arc::clone(&clock));
        let (flaky, steady) = (Arc::new(flaky), Arc::new(steady));
        let (first, second) = (Handle(Arc::clone(&flaky)), Handle(Arc::clone(&steady)));
        let shared: Arc<ManualClock> = Arc::clone(&clock);
        let builder = builder(disk, 2).clock(shared).batches(BatchMode::Clock);
        let context = change(builder).get_or_create(|ssc| {
            let lines = ssc.input::<String>("lines");
            lines.staged_sink("steady", second);
            lines.staged_sink("flaky", first);
            Ok(())
        });
        let context = context.unwrap();
        context.start().unwrap();
        Self {
            flaky,
            steady,
            clock,
            context,
        }
    }

    /// Moves the clock until something is so.
    fn until(&self, so: impl FnMut() -> bool) {
        move_until(&self.clock, SECOND / 50, so);
    }

    fn delay_attempts(&self) -> u64 {
        let outputs = self.context.outputs();
        outputs[1].delay.as_ref().map_or(0, |delay| delay.attempts)
    }
}

/// F77: other outputs are not held up by more than their order, and how far it lags is shown.
#[test]
fn a_sink_that_is_down_delays_its_batches_and_the_context_lives() {
    for failure in [Failure::Error, Failure::Panic] {
        for phase in ["staging", "publishing"] {
            let run = Running::start(&SimDisk::new(), honest);
            run.flaky.fail(phase, failure, 6);
            let mut sent = Vec::new();
            let mut line = |n: u32| {
                sent.push(format!("line {n}"));
                send(&run.context, sent.last().unwrap());
            };
            line(1);
            line(2);
            run.until(|| run.delay_attempts() >= 3);
            // It takes in data meanwhile, and cuts batches.
            line(3);
            let behind = |behind| {
                let outputs = run.context.outputs();
                let delay = outputs[1].delay.as_ref();
                delay.is_none_or(|delay| delay.batches_behind >= behind)
            };
            run.until(|| behind(2));
            let outputs = run.context.outputs();
            assert_eq!(run.context.context_state(), ContextState::Active);
            assert_eq!(
                outputs[0].delay, None,
                "{phase}: the other one is not blamed"
            );
            if let Some(delay) = &outputs[1].delay {
                assert_eq!((delay.batch.id, delay.phase), (1, phase));
                assert!(delay.since_ms >= 1_700_000_000_500);
                let says = match failure {
                    Failure::Panic => "panicked: on purpose",
                    _ => "the store is down",
                };
                assert!(delay.last_error.contains(says), "{}", delay.last_error);
                let line = outputs[1].to_string();
                assert!(
                    line.contains("staged_sink \"flaky\"") && line.contains(says),
                    "{line}"
                );
            }
            run.until(|| run.flaky.lines().len() == 3);
            run.until(|| run.context.outputs()[1].delay.is_none());
            line(4);
            run.until(|| run.flaky.lines().len() == 4);
            run.context.stop(StopMode::Graceful).unwrap();
            assert_eq!(
                (run.flaky.lines(), run.steady.lines()),
                (sent.clone(), sent)
            );
            // The part that was staged, and the output that was, are not called again.
            assert_eq!(run.steady.count("staging", 1), 2);
            assert_eq!(run.steady.count("publishing", 1), 1);
            let calls = run.flaky.calls.lock();
            let of_part = |number| {
                let of = calls
                    .iter()
                    .filter(|(p, b, n, _)| (*p, *b, *n) == (phase, 1, number));
                of.map(|(.., at)| *at).collect::<Vec<_>>()
            };
            if phase == "staging" {
                assert_eq!(of_part(1).len(), 1);
            }
            // The waits double; chance takes up to a quarter.
            let at = of_part(0);
            assert_eq!(at.len(), 7);
            for (n, pair) in at.windows(2).enumerate() {
                let full = Duration::from_millis(100 << n);
                assert!(pair[1] - pair[0] > full * 3 / 4, "{n}: {at:?}");
            }
        }
    }
}

#[test]
fn senders_wait_at_the_bound_while_a_sink_is_down_and_nothing_is_lost() {
    let disk = SimDisk::new();
    let run = Running::start(&disk, |b| {
        b.max_batch_bytes(16 << 10).max_unprocessed_bytes(32 << 10)
    });
    run.flaky.fail("staging", Failure::Error, u64::MAX);
    let sent = Arc::new(Mutex::new(Vec::new()));
    let (context, noted) = (run.context.clone(), Arc::clone(&sent));
    let sender = std::thread::spawn(move || {
        for n in 0..200 {
            let line = format!("{n} {}", "x".repeat(1000));
            send(&context, &line);
            noted.lock().push(line);
        }
    });
    // An hour of the clock: attempts go on, at most ten seconds apart.
    let began = run.clock.now();
    while run.clock.now() - began < 3600 * SECOND {
        run.clock.advance(5 * SECOND);
        std::thread::yield_now();
    }
    run.until(|| run.delay_attempts() > 20);
    let so_far = sent.lock().len();
    assert!(
        (1..=40).contains(&so_far),
        "{so_far} lines of 1 KB in 32 KiB"
    );
    assert!(!sender.is_finished());
    *run.flaky.failing.lock() = None;
    run.until(|| sender.is_finished());
    sender.join().unwrap();
    run.until(|| run.flaky.lines().len() == 200);
    assert_eq!(run.flaky.lines(), *sent.lock());
    run.context.stop(StopMode::Graceful).unwrap();
}

fn output_error(error: &Error) -> (String, u64, &'static str) {
    match error {
        Error::Ended(cause) => output_error(cause),
        Error::Output {
            output,
            batch,
            phase,
            ..
        } => (output.clone(), batch.id, phase),
        other => panic!("{other:?}"),
    }
}

/// F79: a sink that will never take a batch ends the context, with output, batch and positions.
/// What ended a context is kept for the next start: a batch that was not staged runs again, one
/// that was is only published.
#[test]
fn permanent_errors_and_stops_end_the_wait_and_the_next_start_makes_it_good() {
    for phase in ["staging", "publishing"] {
        for (failure, is_stopped, change) in [
            (Failure::Permanent, false, honest as Change),
            (Failure::Error, false, |b| {
                b.output_retry(OutputRetry::forever().give_up_after_attempts(3))
            }),
            (Failure::Error, false, |b| {
                b.output_retry(OutputRetry::forever().give_up_after(SECOND))
            }),
            (Failure::Error, true, honest),
        ] {
            let disk = SimDisk::new();
            let run = Running::start(&disk, change);
            run.flaky.fail(phase, failure, u64::MAX);
            for n in 1..=5 {
                send(&run.context, &format!("line {n}"));
            }
            match is_stopped {
                true => run.until(|| run.delay_attempts() >= 8),
                false => run.until(|| run.context.context_state() == ContextState::Stopped),
            }
            // No time passes any more: a stop ends the wait, after one more attempt.
            let error = run.context.stop(StopMode::Graceful).unwrap_err();
            let expected = ("staged_sink \"flaky\"".to_owned(), 1, phase);
            assert_eq!(output_error(&error), expected);
            let text = error.to_string();
            assert!(text.contains("batch 1 (log "), "{text}");
            if phase == "publishing" {
                assert!(text.contains("the next start publishes it"), "{text}");
            }
            let staged = run.flaky.count("staging", 1);
            let again = |before: &Flaky| Flaky {
                store: Mutex::new(before.store.lock().clone()),
                ..Flaky::default()
            };
            let (flaky, steady) = (again(&run.flaky), again(&run.steady));
            drop(run);
            let next = Running::start_with(&disk.kill_process(), honest, flaky, steady);
            let in_doubt = next.flaky.opened.lock().clone().unwrap();
            let is_listed = matches!(in_doubt, InDoubt::Listed { .. });
            assert_eq!(is_listed, phase == "publishing", "{in_doubt:?}");
            next.until(|| next.flaky.lines().len() == 5);
            assert_eq!(
                next.flaky.count("staging", 1),
                if is_listed { 0 } else { 2 }
            );
            assert!(staged >= 2);
            next.context.stop(StopMode::Graceful).unwrap();
        }
    }
}

/// A stop that came while an attempt was under way took that for the last one: a database that was
/// starting again refused it, and the stop failed though the database had come back.
#[test]
fn the_attempt_after_a_stop_begins_after_it() {
    let clock = Arc::new(ManualClock::new(1_700_000_000_500));
    let shared: Arc<ManualClock> = Arc::clone(&clock);
    let (began, begun) = std::sync::mpsc::channel();
    let (fail, fails) = std::sync::mpsc::channel();
    let fails = Mutex::new(fails);
    let context = builder(&SimDisk::new(), 1)
        .clock(shared)
        .batches(BatchMode::Clock)
        .get_or_create(move |ssc| {
            let lines = ssc.input::<String>("lines");
            lines.for_each_batch("database", move |_, _| {
                began.send(()).unwrap();
                // The first attempt fails when it is told to, all others succeed.
                fails.lock().recv().map_or(Ok(()), Err::<(), &str>)
            });
            Ok(())
        })
        .unwrap();
    context.start().unwrap();
    send(&context, "a");
    move_until(&clock, SECOND / 50, || begun.try_recv().is_ok());
    std::thread::scope(|scope| {
        let stop = scope.spawn(|| context.stop(StopMode::Graceful));
        let input = context.input::<String>("lines").unwrap();
        while input.send(&"until it stops".to_owned()).is_ok() {
            std::thread::yield_now();
        }
        fail.send("the database is starting").unwrap();
        drop(fail);
        stop.join().unwrap().unwrap();
    });
    assert!(context.progress().last_batch >= Some(1));
}

#[test]
fn a_batch_closure_that_fails_or_panics_is_called_again_with_the_same_records() {
    let clock = Arc::new(ManualClock::new(1_700_000_000_500));
    let shared: Arc<ManualClock> = Arc::clone(&clock);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&seen);
    let context = builder(&SimDisk::new(), 2)
        .clock(shared)
        .batches(BatchMode::Clock)
        .get_or_create(move |ssc| {
            let lines = ssc.input::<String>("lines");
            lines.for_each_batch("closure", move |batch, records| {
                let mut seen = noted.lock();
                seen.push((batch.id, records));
                match seen.len() {
                    1 => panic!("the connection is gone"),
                    2 | 3 => Err("and not back yet"),
                    _ => Ok(()),
                }
            });
            Ok(())
        })
        .unwrap();
    context.start().unwrap();
    assert_eq!(context.outputs()[0].guarantee, Guarantee::AtLeastOnce);
    send(&context, "a");
    send(&context, "b");
    let is_done = || context.progress().last_batch >= Some(1);
    move_until(&clock, SECOND / 50, is_done);
    context.stop(StopMode::Graceful).unwrap();
    let both = vec!["a".to_owned(), "b".to_owned()];
    assert_eq!(seen.lock()[..4], vec![(1, both); 4]);
}

/// By hand nothing waits, unless the program asks for it.
#[test]
fn by_hand_a_failure_is_final_unless_the_program_says_otherwise() {
    let flaky = Arc::new(Flaky::default());
    flaky.fail("staging", Failure::Error, 2);
    let context = staged(&SimDisk::new(), Handle(Arc::clone(&flaky)), |b| {
        b.output_retry(OutputRetry::forever().waits(Duration::ZERO, Duration::ZERO))
    });
    context.start().unwrap();
    send(&context, "a");
    context.run_batch().unwrap();
    assert_eq!(flaky.lines(), ["a"]);
    let context = staged(&SimDisk::new(), Handle(Arc::clone(&flaky)), honest);
    flaky.fail("staging", Failure::Error, 1);
    context.start().unwrap();
    send(&context, "a");
    let error = context.run_batch().unwrap_err();
    assert_eq!(output_error(&error).2, "staging");
    assert_eq!(context.context_state(), ContextState::Stopped);
}

/// An output that was taken out of the program would never publish what it staged.
#[test]
fn a_program_without_an_output_that_has_staged_a_batch_is_refused() {
    let disk = SimDisk::new();
    let flaky = Arc::new(Flaky::default());
    flaky.fail("publishing", Failure::Permanent, 1);
    let context = staged(&disk, Handle(Arc::clone(&flaky)), honest);
    context.start().unwrap();
    send(&context, "a");
    context.run_batch().unwrap_err();
    drop(context);
    let without = |name: &'static str, change: Change| {
        let context = change(builder(&disk, 1)).get_or_create(|ssc| {
            let lines = ssc.input::<String>("lines");
            lines.for_each_batch(name, |_, _| ());
            Ok(())
        })?;
        context.start()?;
        Ok::<_, Error>(())
    };
    for name in ["other", "out"] {
        let Err(Error::Mismatch(Mismatch::UnpublishedOutput { name, batch })) =
            without(name, honest)
        else {
            panic!("{name} was accepted");
        };
        assert_eq!((name.as_str(), batch), ("out", 1));
    }
    let error = without("other", honest).unwrap_err().to_string();
    assert!(error.contains(".drop_output(\"out\")"), "{error}");
    without("other", |b| b.drop_output("out")).unwrap();
    without("other", honest).unwrap();
    assert_eq!(flaky.lines(), Vec::<String>::new());
}

/// A sink that keeps the number of its last batch compares it with that of the log: an output of a
/// window is not called in each batch, also if the window of the program is another one now.
#[test]
fn a_sink_is_told_the_last_batch_in_which_it_was_called() {
    type Calls = Arc<Mutex<Vec<(Option<u64>, bool)>>>;
    #[derive(Debug)]
    struct Told(Calls);
    impl StagedSink<u64> for Told {
        fn open(&self, context: &SinkContext) -> Result<(), BoxError> {
            self.0.lock().push((context.called, context.known));
            Ok(())
        }
        fn stage(
            &self,
            _: &Batch,
            _: Part,
            _: &Records<'_, u64>,
        ) -> Result<Option<Vec<u8>>, BoxError> {
            Ok(None)
        }
        fn publish(&self, _: &Batch, _: &[StagedPart]) -> Result<(), BoxError> {
            Ok(())
        }
    }
    for every in [100, 2] {
        let (disk, told) = (SimDisk::new(), Calls::default());
        // Windows are aligned to the first batch: one of three seconds ends in batch 3, 6, ...
        for seconds in [3, 3, 1, 1] {
            let mut builder = builder(&disk, 1).checkpoint(CheckpointPolicy::every_batches(every));
            if seconds == 1 {
                builder = builder.drop_state("3 seconds");
            }
            let context = builder
                .get_or_create(|ssc| {
                    let lines = ssc.input::<u64>("lines");
                    let (name, length) = (format!("{seconds} seconds"), seconds * SECOND);
                    let window = lines.window(&name, length, length);
                    window.staged_sink("windowed", Told(Arc::clone(&told)));
                    Ok(())
                })
                .unwrap();
            context.start().unwrap();
            context.run_batch().unwrap();
            context.run_batch().unwrap();
        }
        // Batches 1 and 2; 3 and 4, of which 3 ends a window; from 5 on each ends one.
        let known = every == 2;
        // After a checkpoint of batch 4 nothing before that is known.
        let third = if known { None } else { Some(3) };
        let expected = [
            (None, false),
            (None, known),
            (third, known),
            (Some(6), known),
        ];
        assert_eq!(*told.lock(), expected, "{every}");
    }
}

/// The partitions are those of `glom`, for any number of workers, each once and in its place.
#[test]
fn for_each_partition_sees_the_partitions_of_glom() {
    type Partitions = BTreeMap<(u64, u64), Vec<String>>;
    let run = |workers| {
        let (seen, glommed) = (Arc::new(Mutex::new(Partitions::new())), Arc::default());
        let (noted, glom) = (Arc::clone(&seen), Arc::<Mutex<Partitions>>::clone(&glommed));
        let context = builder(&SimDisk::new(), workers)
            .get_or_create(move |ssc| {
                let words = ssc.input::<String>("lines");
                let words = words.repartition(5);
                words.for_each_partition("each", move |batch, number, records| {
                    let before = noted.lock().insert((batch.id, number), records);
                    assert_eq!(before, None);
                });
                words.glom().for_each_batch("glom", move |batch, all| {
                    let all = (0..).zip(all).map(|(n, records)| ((batch.id, n), records));
                    glom.lock().extend(all);
                });
                Ok(())
            })
            .unwrap();
        context.start().unwrap();
        for count in [0, 3, 17] {
            (0..count).for_each(|n| send(&context, &format!("line {n}")));
            context.run_batch().unwrap();
        }
        assert_eq!(*seen.lock(), *glommed.lock());
        seen.lock().clone()
    };
    let one = run(1);
    assert_eq!(one.values().flatten().count(), 20);
    assert_eq!(one, run(2));
    assert_eq!(one, run(3));
}
