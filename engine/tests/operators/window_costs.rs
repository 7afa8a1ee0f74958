//! What a windowed reduction costs: calls of the user's functions, counted. With each slide they
//! follow what has changed and what is emitted, never what the window holds beside that.

use crate::common::builder;
use highwater_engine::wal::disk::{ManualClock, SimDisk};
use highwater_engine::{CheckpointPolicy, DStream, StreamingContext};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Batches of a window.
const PANES: u64 = 60;

/// Keys of each batch. No other batch of a window has them.
const CHANGED: u64 = 20;

/// Values of each key in its batch: as many frames, and with small chunks as many pieces.
const VALUES: u64 = 3;

#[derive(Debug, Default)]
struct Calls {
    combined: AtomicU64,
    undone: AtomicU64,
    emitted: AtomicU64,
}

/// The calls of one slide: of the function, of its inverse, and how many keys came out.
type Slide = (u64, u64, u64);

impl Calls {
    fn take(&self) -> Slide {
        let take = |n: &AtomicU64| n.swap(0, Ordering::Relaxed);
        (
            take(&self.combined),
            take(&self.undone),
            take(&self.emitted),
        )
    }
}

type Pairs = DStream<(u64, u64)>;

/// Runs windows of [`PANES`] batches until they are full, and then a slide for each of `changes`:
/// so many keys have values in it.
fn slides(
    changes: &[u64],
    program: impl Fn(&Pairs, &Arc<Calls>, Duration, Duration) -> Pairs,
) -> Vec<Slide> {
    let (calls, clock) = (Arc::new(Calls::default()), ManualClock::new(0));
    let (clock, second) = (Arc::new(clock), Duration::from_secs(1));
    let shared: Arc<ManualClock> = Arc::clone(&clock);
    let builder = builder(&SimDisk::new(), 2)
        .clock(shared)
        .chunk_bytes(1000)
        .checkpoint(CheckpointPolicy::every_batches(1000));
    let context = builder.get_or_create(|ssc| {
        let length = second * u32::try_from(PANES).unwrap();
        let counted = Arc::clone(&calls);
        let reduced = program(&ssc.input("in"), &calls, length, second);
        reduced.for_each_batch("out", move |_, records: Vec<(u64, u64)>| {
            let emitted = records.len() as u64;
            counted.emitted.fetch_add(emitted, Ordering::Relaxed);
        });
        Ok(())
    });
    let context = context.unwrap();
    context.start().unwrap();
    let batch = |number: u64, keys: u64| {
        clock.advance(second);
        send(&context, number * 1000..number * 1000 + keys);
        context.run_batch().unwrap();
        calls.take()
    };
    for number in 0..PANES + 5 {
        batch(number, CHANGED);
    }
    let later = (PANES + 5..).zip(changes);
    later.map(|(number, keys)| batch(number, *keys)).collect()
}

fn send(context: &StreamingContext, keys: std::ops::Range<u64>) {
    let input = context.input::<(u64, u64)>("in").unwrap();
    for value in 0..VALUES {
        let records: Vec<(u64, u64)> = keys.clone().map(|key| (key, value)).collect();
        input.send_all(&records).unwrap().wait().unwrap();
    }
}

fn adding(calls: &Arc<Calls>) -> impl Fn(u64, u64) -> u64 + Send + Sync + 'static {
    let calls = Arc::clone(calls);
    move |a, b| {
        calls.combined.fetch_add(1, Ordering::Relaxed);
        a + b
    }
}

fn subtracting(calls: &Arc<Calls>) -> impl Fn(u64, u64) -> u64 + Send + Sync + 'static {
    let calls = Arc::clone(calls);
    move |a, b| {
        calls.undone.fetch_add(1, Ordering::Relaxed);
        a - b
    }
}

/// What comes is put together with the values of its key, what leaves is taken away once. The keys
/// that do not change cost no call, though all are emitted.
#[test]
fn with_an_inverse_a_slide_costs_what_changed() {
    let program = |pairs: &Pairs, calls: &Arc<Calls>, length, slide| {
        pairs.reduce_by_key_and_window_inverse_with_filter(
            "w",
            adding(calls),
            subtracting(calls),
            length,
            slide,
            |_, total| *total > 0,
        )
    };
    let emitted = PANES * CHANGED;
    let come = CHANGED * (VALUES - 1);
    assert_eq!(
        slides(&[CHANGED, CHANGED, 0, 1], program),
        [
            (come, CHANGED, emitted),
            (come, CHANGED, emitted),
            (0, CHANGED, emitted - CHANGED),
            (VALUES - 1, CHANGED, emitted - 2 * CHANGED + 1),
        ]
    );
}

/// Without an inverse, keys that have values in one batch of the window cost no call either.
#[test]
fn without_an_inverse_a_slide_costs_what_changed_and_what_it_puts_together() {
    let program = |pairs: &Pairs, calls: &Arc<Calls>, length, slide| {
        pairs.reduce_by_key_and_window("w", adding(calls), length, slide)
    };
    let emitted = PANES * CHANGED;
    let come = CHANGED * (VALUES - 1);
    assert_eq!(
        slides(&[CHANGED, 0, 1], program),
        [
            (come, 0, emitted),
            (0, 0, emitted - CHANGED),
            (VALUES - 1, 0, emitted - 2 * CHANGED + 1),
        ]
    );
}

/// Keys with values in every batch: at most two calls for what is emitted, and two for each value
/// while it is in the window, however many batches that has.
#[test]
fn without_an_inverse_a_key_of_every_batch_costs_a_few_calls_a_slide() {
    let program = |pairs: &Pairs, calls: &Arc<Calls>, length, slide| {
        let same_keys = pairs.map(|(key, value)| (key % 1000, value));
        same_keys.reduce_by_key_and_window("w", adding(calls), length, slide)
    };
    let slides = slides(&[CHANGED; 2 * 60], program);
    let (calls, undone, emitted) = slides
        .into_iter()
        .reduce(|a, b| (a.0 + b.0, a.1 + b.1, a.2 + b.2))
        .unwrap();
    assert_eq!((undone, emitted), (0, 2 * PANES * CHANGED));
    let values = 2 * PANES * CHANGED * (VALUES - 1); // within their batch
    assert!(
        calls <= values + 2 * emitted + 2 * emitted,
        "{calls} calls for {emitted} keys"
    );
}
