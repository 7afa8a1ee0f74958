//! What can be seen of a context: lags, what happened lately, the log.

use crate::common::broker::Broker;
use crate::common::{Seen, builder, open, send, word_count};
use highwater_engine::wal::disk::sim::{Call, Fault, FaultKind};
use highwater_engine::wal::disk::{ManualClock, SimDisk};
use highwater_engine::{
    BatchMode, ContextState, OutputRetry, SourceLag, StopMode, StreamScope, StreamingContext,
};
use std::sync::Arc;
use std::time::Duration;

const START_MS: u64 = 1_700_000_000_000;

fn of(context: &StreamingContext, name: &str) -> SourceLag {
    let lags = context.lags();
    let lag = lags.iter().find(|(source, _)| source == name);
    lag.unwrap().1
}

fn lag(records: u64, bytes: u64, oldest_received_ms: Option<u64>) -> SourceLag {
    SourceLag {
        records,
        bytes,
        oldest_received_ms,
    }
}

/// A program of lines on a clock that is moved by hand.
fn lines(disk: &SimDisk, clock: &Arc<ManualClock>) -> StreamingContext {
    let clock = Arc::<ManualClock>::clone(clock);
    let program = |ssc: &StreamScope| {
        ssc.input::<String>("other")
            .for_each_batch("nothing", |_, _| ());
        word_count(ssc).for_each_batch("out", |_, _: Vec<(String, u64)>| {});
        Ok(())
    };
    builder(disk, 1)
        .clock(clock)
        .get_or_create(program)
        .unwrap()
}

#[test]
fn a_lag_is_what_no_completed_batch_has_also_after_a_crash() {
    let clock = Arc::new(ManualClock::new(START_MS));
    let mut disk = SimDisk::new();
    let context = lines(&disk, &clock);
    context.start().unwrap();
    assert_eq!(of(&context, "lines"), lag(0, 0, None));
    send(&context, "a b"); // a record of MessagePack has a byte before its text
    clock.advance(Duration::from_secs(2));
    send(&context, "c");
    assert_eq!(of(&context, "lines"), lag(2, 6, Some(START_MS)));
    assert_eq!(of(&context, "other"), lag(0, 0, None));
    clock.advance(Duration::from_secs(1));
    context.run_batch().unwrap();
    assert_eq!(of(&context, "lines"), lag(0, 0, None));
    send(&context, "d");
    clock.advance(Duration::from_secs(5));
    let next = disk.kill_process();
    drop(context);
    disk = next;
    // It is as old as when it was received, not as the restart.
    let context = lines(&disk, &clock);
    let oldest = Some(START_MS + 3000);
    assert_eq!(of(&context, "lines"), lag(1 + 2, 2 + 6, Some(START_MS)));
    context.start().unwrap();
    assert_eq!(of(&context, "lines"), lag(1, 2, oldest));
    context.run_batch().unwrap();
    assert_eq!(of(&context, "lines"), lag(0, 0, None));
    context.stop(StopMode::Graceful).unwrap();
}

/// What a source keeps itself is behind only once a cut has it.
#[test]
fn sources_by_offset_have_no_time_of_receipt() {
    let (disk, broker) = (SimDisk::new(), Arc::new(Broker::at_once(100)));
    let from = Arc::clone(&broker);
    let program = move |ssc: &StreamScope| {
        from.stream(ssc, "topic")
            .for_each_batch("out", |batch, _: Vec<String>| {
                if batch.id == 2 {
                    return Err("down".into());
                }
                Ok::<_, highwater_engine::BoxError>(())
            });
        Ok(())
    };
    let builder = builder(&disk, 1).output_retry(OutputRetry::never());
    let context = builder.get_or_create(program).unwrap();
    context.start().unwrap();
    let observer = context.observer();
    (0..3).for_each(|n| broker.push("p", format!("{n}")));
    context.run_batch().unwrap();
    assert_eq!(of(&context, "topic"), lag(0, 0, None));
    (0..5).for_each(|n| broker.push("p", format!("{n}")));
    context.run_batch().unwrap_err();
    assert_eq!(observer.lags()[0].1, lag(5, 0, None));
    let (place, message) = {
        let errors = observer.recent().errors;
        (errors[0].place.clone(), errors[0].message.clone())
    };
    assert_eq!(place, "batch");
    assert!(message.contains("down"), "{message}");
    drop(context);
    assert_eq!(observer.context_state(), ContextState::Stopped);
    assert!(observer.error().unwrap().to_string().contains("down"));
}

#[test]
fn what_happened_lately_is_kept_within_bounds() {
    let (disk, seen) = (SimDisk::new(), Seen::default());
    let context = open(&disk, 1, &seen).unwrap();
    context.start().unwrap();
    for n in 0..607_u64 {
        if n % 3 == 1 {
            send(&context, "a b");
        }
        if n == 600 {
            let fault = Fault::new(Call::Create, FaultKind::Enospc).on("checkpoints");
            disk.fail(fault.forever());
        }
        context.run_batch().unwrap();
    }
    let recent = context.recent();
    assert_eq!(recent.batches.len(), 600);
    let ids = recent.batches.iter().map(|noted| noted.batch.id);
    assert!(ids.eq(8..=607));
    for noted in &recent.batches {
        assert_eq!(noted.records, u64::from(noted.batch.id % 3 == 2));
        assert_eq!(noted.steps.checkpoint.is_some(), noted.batch.id % 3 == 0);
    }
    // Every third batch ends the lineage, until checkpoints fail: by hand, they are taken at once.
    let depths: Vec<u64> = (recent.batches.iter())
        .map(|it| it.lineage_batches)
        .collect();
    assert_eq!(depths[..6], [2, 0, 1, 2, 0, 1]);
    assert_eq!(depths[592..], [0, 1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(recent.checkpoints.len(), 100);
    let (failed, published): (Vec<_>, Vec<_>) =
        (recent.checkpoints.iter()).partition(|checkpoint| checkpoint.result.is_err());
    let mut numbers = published
        .iter()
        .map(|it| it.result.as_ref().unwrap().number);
    assert_eq!(numbers.next_back(), Some(200));
    // Each says why, here and in the list of errors.
    let errors = recent
        .errors
        .iter()
        .filter(|error| error.place == "checkpoints");
    let last = errors.clone().next_back().unwrap();
    let times: u64 = errors.map(|error| error.times).sum();
    assert_eq!((failed.len(), times), (2, 2));
    assert_eq!(last.batch.unwrap().id, failed[1].batch.id);
    disk.clear_faults();
    context.stop(StopMode::Graceful).unwrap();
}

#[test]
fn a_recovery_says_how_far_it_is() {
    let (mut disk, seen) = (SimDisk::new(), Seen::default());
    let context = open(&disk, 1, &seen).unwrap();
    context.start().unwrap();
    for _ in 0..2 {
        send(&context, "a");
        context.run_batch().unwrap();
    }
    let next = disk.kill_process();
    drop(context);
    disk = next;
    let context = open(&disk, 1, &seen).unwrap();
    assert_eq!(context.recent().recovery, None);
    context.start().unwrap();
    let recovery = context.recent().recovery.unwrap();
    assert_eq!((recovery.done, recovery.of), (2, 2));
    let batches = context.recent().batches;
    assert!(batches.iter().map(|noted| noted.batch.id).eq(1..=2));
    assert!(batches[0].replayed);
    context.stop(StopMode::Graceful).unwrap();
}

#[test]
fn the_log_shows_its_segments_and_who_keeps_them() {
    let (disk, seen) = (SimDisk::new(), Seen::default());
    disk.set_capacity(Some(1 << 20));
    let context = open(&disk, 1, &seen).unwrap();
    context.start().unwrap();
    let free = context.free_bytes().unwrap().unwrap();
    assert!(free < 1 << 20 && free > 900 << 10, "{free}");
    for n in 0..40 {
        send(&context, &"w ".repeat(100));
        if n % 10 == 9 {
            context.run_batch().unwrap();
        }
    }
    let (segments, stats) = (context.log_segments(), context.log_stats());
    assert!(segments.len() > 1);
    assert_eq!(segments.len(), stats.segments);
    assert!(segments.windows(2).all(|two| two[0].end == two[1].base));
    assert!(segments[0].base <= stats.first_lsn);
    let last = segments.last().unwrap();
    assert!(last.base <= stats.end_lsn && stats.end_lsn <= last.end);
    let reader = context.log().read_from(stats.first_lsn).unwrap();
    let holds = context.log_holds();
    assert!(holds.iter().any(|hold| hold.lsn == stats.first_lsn));
    drop(reader);
    context.stop(StopMode::Graceful).unwrap();
}

/// A program that is started again in its process finds its directory free, also while a page
/// still shows the one before. (The simulated disk refuses a file that is mapped twice; a real one
/// does not.)
#[test]
fn an_observer_keeps_no_directory_locked() {
    let dir = tempfile::tempdir().unwrap();
    let open = || {
        let builder = StreamingContext::builder(dir.path().join("app"));
        let program = |ssc: &StreamScope| {
            word_count(ssc).for_each_batch("out", |_, _: Vec<(String, u64)>| {});
            Ok(())
        };
        builder.batches(BatchMode::Manual).get_or_create(program)
    };
    let mut observers = Vec::new();
    for life in 1..=3_u64 {
        let context = open().unwrap();
        context.start().unwrap();
        send(&context, "a");
        context.run_batch().unwrap();
        observers.push(context.observer());
        match life {
            1 => context.stop(StopMode::Graceful).unwrap(),
            2 => context.stop(StopMode::Immediate).unwrap(),
            _ => {}
        }
        drop(context);
    }
    for observer in &observers {
        assert_eq!(observer.context_state(), ContextState::Stopped);
        assert!(observer.progress().batches > 0);
    }
    drop(open().unwrap());
}
