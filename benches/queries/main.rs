//! Questions to states: what they take, what they cost the batches, and how long it takes from
//! sending a record to an answer that contains it.
//!
//! ```text
//! cargo bench --bench queries [--features http] [-- --seconds 5 --rounds 3]
//! ```
//!
//! With the feature `http` the last part is done over HTTP as well.
//!
//! Throughputs are medians of the rounds with the lowest and the highest.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a benchmark fails by panicking, and measures time"
)]

#[cfg(feature = "http")]
mod over_http;
#[path = "../support/mod.rs"]
mod support;

use highwater::StateReader;
use highwater::prelude::*;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

type Addition = (u64, u64);

/// How large everything is.
#[derive(Clone, Copy)]
struct Size {
    keys: u64,
    seconds: f64,
    rounds: usize,
}

struct Run {
    context: StreamingContext,
    _dir: tempfile::TempDir,
}

/// Waits. A parked thread may be woken early.
fn rest(time: Duration) {
    let until = Instant::now() + time;
    while Instant::now() < until {
        std::thread::park_timeout(until.saturating_duration_since(Instant::now()));
    }
}

fn start(interval: Duration) -> Run {
    let dir = support::scratch();
    let context = StreamingContext::builder(dir.path().join("app"))
        .batch_interval(interval)
        .get_or_create(|ssc| {
            ssc.input::<Addition>("added")
                .update_state_by_key_changed(
                    "sums",
                    |_: &u64, new: &[u64], sum: &mut StateGuard<u64>| {
                        *sum.get_or_insert_with(|| 0) += new.iter().sum::<u64>();
                    },
                )
                .for_each_batch("nowhere", |_, _| ());
            Ok(())
        })
        .unwrap();
    context.start().unwrap();
    Run { context, _dir: dir }
}

/// Records in frames of 100, as fast as may be or `per_second`, until `stop`. How many it sent.
fn send(run: &Run, keys: u64, per_second: Option<f64>, stop: &AtomicBool) -> u64 {
    let input = run.context.input::<Addition>("added").unwrap();
    let (began, mut sent, mut key) = (Instant::now(), 0_u64, 1_u64);
    while !stop.load(Ordering::Relaxed) {
        let frame: Vec<Addition> = (0..100)
            .map(|_| {
                key = key.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(7);
                ((key >> 33) % keys, 1)
            })
            .collect();
        let _ack = input.send_all(&frame).unwrap();
        sent += 100;
        if let Some(rate) = per_second {
            let due = Duration::from_secs_f64(sent as f64 / rate);
            rest(due.saturating_sub(began.elapsed()));
        }
    }
    sent
}

/// The state has all its keys.
fn fill(run: &Run, keys: u64) {
    let input = run.context.input::<Addition>("added").unwrap();
    let mut last = None;
    for from in (0..keys).step_by(1000) {
        let frame: Vec<Addition> = (from..(from + 1000).min(keys)).map(|k| (k, 1)).collect();
        last = Some(input.send_all(&frame).unwrap());
    }
    let sums = run.context.state::<u64, u64>("sums").unwrap();
    let sums = sums.timeout(Duration::from_secs(120));
    sums.at_least(last.unwrap().lsn()).unwrap();
}

/// How many records a second get into the state while `beside` runs.
fn throughput(size: Size, beside: impl Fn(&StateReader<u64, u64>, &AtomicBool) + Sync) -> f64 {
    let run = start(Duration::from_millis(20));
    fill(&run, size.keys);
    let stop = AtomicBool::new(false);
    let sums = run.context.state::<u64, u64>("sums").unwrap();
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let began = Instant::now();
            (send(&run, size.keys, None, &stop), began)
        });
        scope.spawn(|| beside(&sums, &stop));
        rest(Duration::from_secs_f64(size.seconds));
        stop.store(true, Ordering::Relaxed);
        let (sent, began) = sender.join().unwrap();
        let last = run.context.input::<Addition>("added").unwrap();
        let last = last.send(&(0, 0)).unwrap().lsn();
        let sums = sums.clone().timeout(Duration::from_secs(120));
        sums.at_least(last).unwrap();
        sent as f64 / began.elapsed().as_secs_f64()
    })
}

/// The same where no reader is there at all, in batches of `interval`.
fn throughput_alone(size: Size, interval: Duration) -> f64 {
    let run = start(interval);
    fill(&run, size.keys);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let began = Instant::now();
        let sender = scope.spawn(|| send(&run, size.keys, None, &stop));
        rest(Duration::from_secs_f64(size.seconds));
        stop.store(true, Ordering::Relaxed);
        let sent = sender.join().unwrap();
        let input = run.context.input::<Addition>("added").unwrap();
        let last = input.send(&(0, 0)).unwrap().lsn();
        let wait = run.context.state::<u64, u64>("sums").unwrap();
        wait.timeout(Duration::from_secs(120))
            .at_least(last)
            .unwrap();
        sent as f64 / began.elapsed().as_secs_f64()
    })
}

fn at(sorted: &[Duration], part: f64) -> Duration {
    let place = (sorted.len() as f64 * part) as usize;
    sorted[place.min(sorted.len() - 1)]
}

/// How long single questions take.
fn questions(sums: &StateReader<u64, u64>, keys: u64, seconds: f64) -> Vec<Duration> {
    let (began, mut took, mut key) = (Instant::now(), Vec::new(), 3_u64);
    while began.elapsed().as_secs_f64() < seconds {
        key = key.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(7);
        let asked = Instant::now();
        let answer = sums.get(&((key >> 33) % keys)).unwrap();
        took.push(asked.elapsed());
        assert!(answer.value.is_some());
    }
    took.sort_unstable();
    took
}

fn show(what: &str, sorted: &[Duration]) {
    let [p50, p99, p999, max] = [0.5, 0.99, 0.999, 1.0].map(|part| at(sorted, part));
    let us = |took: Duration| took.as_secs_f64() * 1e6;
    println!(
        "{what:<52} {:>9.2} {:>9.2} {:>9.2} {:>11.2}",
        us(p50),
        us(p99),
        us(p999),
        us(max)
    );
}

/// From sending a record to an answer that contains it, while others send `per_second`.
fn readable(size: Size, interval: Duration, per_second: f64) -> Vec<Duration> {
    let run = start(interval);
    fill(&run, size.keys);
    rest(Duration::from_secs_f64(size.seconds / 5.0)); // batches catch up
    let stop = AtomicBool::new(false);
    let sums = run.context.state::<u64, u64>("sums").unwrap();
    let input = run.context.input::<Addition>("added").unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| send(&run, size.keys, Some(per_second), &stop));
        let (began, mut took) = (Instant::now(), Vec::new());
        while began.elapsed().as_secs_f64() < size.seconds {
            let sent = Instant::now();
            let ack = input.send(&(5, 1)).unwrap();
            let lsn = ack.lsn();
            ack.wait().unwrap();
            let answer = sums.at_least(lsn).unwrap().get(&5).unwrap();
            assert!(answer.value.is_some());
            took.push(sent.elapsed());
        }
        stop.store(true, Ordering::Relaxed);
        took.sort_unstable();
        took
    })
}

fn median(mut all: Vec<f64>) -> String {
    all.sort_by(f64::total_cmp);
    let (low, high) = (all[0], all[all.len() - 1]);
    format!("{:.0} ({low:.0}-{high:.0})", all[all.len() / 2])
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let value = |name: &str| {
        let at = args.iter().position(|arg| arg == name)?;
        args.get(at + 1)?.parse::<f64>().ok()
    };
    let size = match args.iter().any(|arg| arg == "--bench") {
        true => Size {
            keys: 1_000_000,
            seconds: value("--seconds").unwrap_or(5.0),
            rounds: value("--rounds").unwrap_or(3.0) as usize,
        },
        false => Size {
            keys: 2_000,
            seconds: 0.05,
            rounds: 1,
        },
    };
    support::print_machine();
    println!(
        "{} keys; one question, us: p50, p99, p99.9, longest",
        size.keys
    );
    let run = start(Duration::from_millis(10));
    fill(&run, size.keys);
    let sums = run.context.state::<u64, u64>("sums").unwrap();
    sums.get(&1).unwrap();
    show(
        "get, batches are empty",
        &questions(&sums, size.keys, size.seconds),
    );
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| send(&run, size.keys, None, &stop));
        show(
            "get, batches as fast as they go",
            &questions(&sums, size.keys, size.seconds),
        );
        stop.store(true, Ordering::Relaxed);
    });
    let asked = Instant::now();
    let range = sums.range(.., 100).unwrap();
    println!("the first 100 of all keys: {:?}", asked.elapsed());
    assert_eq!(range.value.len(), 100);
    drop((sums, run));

    println!("\nrecords a second into the state, batches of 20 ms");
    let (mut alone, mut watched, mut busy) = (Vec::new(), Vec::new(), Vec::new());
    let asked = AtomicU64::new(0);
    for _ in 0..size.rounds {
        alone.push(throughput_alone(size, Duration::from_millis(20)));
        watched.push(throughput(size, |_, _| ()));
        busy.push(throughput(size, |sums, stop| {
            while !stop.load(Ordering::Relaxed) {
                sums.get(&7).unwrap();
                asked.fetch_add(1, Ordering::Relaxed);
                rest(Duration::from_millis(1));
            }
        }));
    }
    println!("no reader                      {}", median(alone));
    println!("a reader that asks nothing     {}", median(watched));
    println!("a question every millisecond   {}", median(busy));

    println!("\nsent, durable, in the state, read: us; others send so many records a second");
    for interval in [1, 10, 50].map(Duration::from_millis) {
        let mut carried: Vec<f64> = (0..size.rounds)
            .map(|_| throughput_alone(size, interval))
            .collect();
        carried.sort_by(f64::total_cmp);
        let most = carried[carried.len() / 2];
        println!("batches of {interval:?} carry {}", median(carried));
        for (share, part) in [("half", 2.0), ("a quarter", 4.0), ("a twentieth", 20.0)] {
            let rate = most / part;
            show(&format!("{share} of it"), &readable(size, interval, rate));
            #[cfg(feature = "http")]
            show(
                &format!("{share} of it, over HTTP"),
                &over_http::readable(size, interval, rate),
            );
        }
    }
}
