//! What a program hears of its context, and in which order.
#![allow(clippy::expect_used, reason = "test code")]

use crate::common::moving::move_until;
use crate::common::{builder, word_count};
use highwater_engine::wal::disk::{ManualClock, SimDisk};
use highwater_engine::{
    BatchMode, BoxError, Builder, ContextEvent, Receiver, ReceiverState, Result, SourceContext,
    StopMode, StreamScope, StreamingContext, wal,
};
use parking_lot::{Condvar, Mutex};
use std::sync::Arc;
use std::time::Duration;

/// The events that were heard.
#[derive(Default, Clone)]
struct Heard {
    events: Arc<(Mutex<Vec<ContextEvent>>, Condvar)>,
}

impl Heard {
    fn listen(&self, builder: Builder) -> Builder {
        let heard = self.clone();
        builder.listener(move |event| {
            heard.events.0.lock().push(event.clone());
            heard.events.1.notify_all();
        })
    }

    /// Each in a few words.
    fn take(&self) -> Vec<String> {
        let events = std::mem::take(&mut *self.events.0.lock());
        events.iter().map(short).collect()
    }

    fn wait_for(&self, is: impl Fn(&ContextEvent) -> bool) {
        let mut events = self.events.0.lock();
        while !events.iter().any(&is) {
            self.events.1.wait(&mut events);
        }
    }
}

fn short(event: &ContextEvent) -> String {
    match event {
        ContextEvent::Started => "started".to_owned(),
        ContextEvent::Stopped { error } => format!("stopped, error: {}", error.is_some()),
        ContextEvent::RecoveryProgress { done, of } => format!("recovered {done} of {of}"),
        ContextEvent::ReceiverStarted { source } => format!("{source} begins"),
        ContextEvent::ReceiverFailed {
            source,
            message,
            restarts_in,
        } => format!("{source} failed: {message}, {}", restarts_in.as_secs()),
        ContextEvent::ReceiverStopped { source } => format!("{source} has returned"),
        ContextEvent::BatchSubmitted { batch } => format!("submitted {}", batch.id),
        ContextEvent::BatchStarted { batch } => format!("begun {}", batch.id),
        ContextEvent::BatchCompleted {
            batch, replayed, ..
        } => match replayed {
            true => format!("replayed {}", batch.id),
            false => format!("completed {}", batch.id),
        },
        ContextEvent::BatchFailed { batch, .. } => format!("failed {}", batch.id),
        ContextEvent::OutputCompleted { output, batch, .. } => {
            let (name, _) = output.split_once(' ').unwrap_or((output, ""));
            format!("{name} has {}", batch.id)
        }
        ContextEvent::CheckpointStarted { batch } => format!("checkpoint after {}", batch.id),
        ContextEvent::CheckpointCompleted { number, batch, .. } => {
            format!("checkpoint {number} after {}", batch.id)
        }
        ContextEvent::LogTruncated { .. } => "truncated".to_owned(),
        other => format!("{other:?}"),
    }
}

fn open(builder: Builder) -> Result<StreamingContext> {
    let program = |ssc: &StreamScope| {
        word_count(ssc).for_each_batch("out", |_, _: Vec<(String, u64)>| {});
        Ok(())
    };
    builder.get_or_create(program)
}

fn batch(context: &StreamingContext) -> Result<()> {
    let input = context.input::<String>("lines")?;
    input.send(&"a b".to_owned())?.wait()?;
    context.run_batch().map(drop)
}

#[test]
fn a_run_and_its_recovery_are_told_step_by_step() {
    let (disk, heard) = (SimDisk::new(), Heard::default());
    let context = open(heard.listen(builder(&disk, 2))).unwrap();
    context.start().unwrap();
    assert_eq!(heard.take(), ["started"]);
    for _ in 0..4 {
        batch(&context).unwrap();
    }
    let of_batch = |n: u64, output: &str| {
        [
            format!("submitted {n}"),
            format!("begun {n}"),
            format!("{output} has {n}"),
        ]
    };
    let told = heard.take();
    let output = told[2]
        .strip_suffix(" has 1")
        .expect("an output")
        .to_owned();
    let mut expected: Vec<String> = Vec::new();
    for n in 1..=4 {
        expected.extend(of_batch(n, &output));
        if n == 3 {
            expected.extend(["checkpoint after 3", "checkpoint 1 after 3"].map(str::to_owned));
        }
        expected.push(format!("completed {n}"));
    }
    assert_eq!(told, expected);

    let disk = disk.kill_process();
    drop(context);
    let _end = heard.take();
    let context = open(heard.listen(builder(&disk, 1))).unwrap();
    context.start().unwrap();
    let told = heard.take();
    assert_eq!(told[..2], ["started", "begun 4"]);
    assert_eq!(told.last().unwrap(), "recovered 1 of 1");
    context.stop(StopMode::Graceful).unwrap();
    let told = heard.take();
    assert_eq!(told.first().unwrap(), "submitted 5");
    assert_eq!(told.last().unwrap(), "stopped, error: false");
    let checkpoints = told.iter().filter(|e| e.starts_with("checkpoint 2"));
    assert_eq!(checkpoints.count(), 1, "{told:?}");
}

#[test]
fn a_truncation_of_the_log_is_told() {
    let (disk, heard) = (SimDisk::new(), Heard::default());
    let context = open(heard.listen(builder(&disk, 1))).unwrap();
    context.start().unwrap();
    while !heard.take().contains(&"truncated".to_owned()) {
        batch(&context).unwrap();
        assert!(
            context.progress().batches < 100,
            "the log is never truncated"
        );
    }
}

#[test]
fn a_batch_that_fails_stops_the_context_once() {
    let (disk, heard) = (SimDisk::new(), Heard::default());
    let program = |ssc: &StreamScope| {
        let lines = ssc.input::<String>("lines");
        lines.for_each_batch("fails", |_, lines: Vec<String>| {
            assert!(lines.is_empty(), "on purpose");
        });
        Ok(())
    };
    let context = heard
        .listen(builder(&disk, 1))
        .get_or_create(program)
        .unwrap();
    context.start().unwrap();
    batch(&context).unwrap_err();
    context.stop(StopMode::Graceful).unwrap_err();
    let expected = [
        "started",
        "submitted 1",
        "begun 1",
        "failed 1",
        "stopped, error: true",
    ];
    assert_eq!(heard.take(), expected);
}

/// A listener that panics is heard of in the log, and nothing else changes.
#[test]
fn a_listener_that_panics_does_not_stop_the_context() {
    let (disk, heard) = (SimDisk::new(), Heard::default());
    let panics = builder(&disk, 1).listener(|_| panic!("on purpose"));
    let context = open(heard.listen(panics)).unwrap();
    context.start().unwrap();
    batch(&context).unwrap();
    context.stop(StopMode::Graceful).unwrap();
    let told = heard.take();
    assert!(told.contains(&"completed 1".to_owned()), "{told:?}");
}

/// Fails once, and then waits for the stop.
struct FailsOnce(bool);

impl Receiver for FailsOnce {
    fn run(&mut self, source: &SourceContext) -> Result<(), BoxError> {
        if !std::mem::replace(&mut self.0, true) {
            return Err("no line".into());
        }
        while !source.is_stopping() {
            let _stopping = source.rest(Duration::from_secs(3600));
        }
        Ok(())
    }
}

#[test]
fn a_receiver_begins_fails_begins_again_and_returns() {
    let (disk, heard) = (SimDisk::new(), Heard::default());
    let clock = Arc::new(ManualClock::new(1_700_000_000_000));
    let shared: Arc<ManualClock> = Arc::clone(&clock);
    let builder = StreamingContext::builder("/app")
        .disk(Arc::new(disk))
        .clock(shared)
        .log(wal::Options::new().segment_size(8 << 10))
        .batches(BatchMode::Manual);
    let program = |ssc: &StreamScope| {
        let lines = ssc.source::<String>(
            "test",
            "feed",
            Arc::new(|bytes| Ok(String::from_utf8_lossy(&bytes).into_owned())),
            FailsOnce(false),
        );
        lines.for_each_batch("out", |_, _: Vec<String>| {});
        Ok(())
    };
    let context = heard.listen(builder).get_or_create(program).unwrap();
    context.start().unwrap();
    heard.wait_for(|event| matches!(event, ContextEvent::ReceiverFailed { .. }));
    let status = |context: &StreamingContext| context.recent().receivers["feed"].clone();
    let waiting = status(&context);
    assert_eq!(
        (waiting.state, waiting.failures),
        (ReceiverState::Waiting, 1)
    );
    let begins = |heard: &Heard| {
        let events = heard.events.0.lock();
        let begins = events
            .iter()
            .filter(|e| matches!(e, ContextEvent::ReceiverStarted { .. }));
        begins.count()
    };
    move_until(&clock, Duration::from_secs(1), || begins(&heard) >= 2);
    assert_eq!(status(&context).state, ReceiverState::Running);
    context.stop(StopMode::Immediate).unwrap();
    let stopped = status(&context);
    assert_eq!(
        (stopped.state, stopped.failures),
        (ReceiverState::Stopped, 1)
    );
    assert_eq!(stopped.last_error.unwrap().1, "no line");
    let told = heard.take();
    assert_eq!(
        told,
        [
            "started",
            "feed begins",
            "feed failed: no line, 2",
            "feed begins",
            "feed has returned",
            "stopped, error: false"
        ]
    );
}

/// The clock says how long a batch waited and ran.
#[test]
fn the_times_of_a_batch_are_those_of_the_clock() {
    let (disk, heard) = (SimDisk::new(), Heard::default());
    let clock = Arc::new(ManualClock::new(1_700_000_000_000));
    let (shared, moved): (Arc<ManualClock>, _) = (Arc::clone(&clock), Arc::clone(&clock));
    let program = move |ssc: &StreamScope| {
        let moved = Arc::clone(&moved);
        ssc.input::<String>("lines")
            .for_each_batch("out", move |_, _: Vec<String>| {
                moved.advance(Duration::from_secs(3));
            });
        Ok(())
    };
    let builder = builder(&disk, 1).clock(shared);
    let context = heard.listen(builder).get_or_create(program).unwrap();
    context.start().unwrap();
    batch(&context).unwrap();
    let events = heard.events.0.lock();
    let took = events.iter().find_map(|event| match event {
        ContextEvent::BatchCompleted {
            scheduling_delay,
            took,
            steps,
            ..
        } => Some((scheduling_delay.as_secs(), took.as_secs(), *steps)),
        _ => None,
    });
    let (waited, took, steps) = took.unwrap();
    assert_eq!((waited, took), (0, 3));
    // Such an output is called when its parts become visible, or before: it is no other step's.
    let of_output = steps.stage + steps.publish;
    assert_eq!((steps.run.as_secs(), of_output.as_secs()), (0, 3));
    let output = events.iter().find_map(|event| match event {
        ContextEvent::OutputCompleted { took, .. } => Some(took.as_secs()),
        _ => None,
    });
    assert_eq!(output, Some(3));
}
