//! The states of an operator: what a batch costs that touches some of many keys, and how long a
//! restart takes to read them. What they take in memory: `state_memory.rs`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::needless_pass_by_value,
    reason = "test code"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "benches measure with the real clock on the real disk"
)]

#[path = "support/states.rs"]
mod states;
mod support;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use highwater::prelude::*;
use highwater::{KeyState, StateSpec};
use states::{Accounts, Counts, Measured, NamedAccounts, builder, fill, open, send};
use std::time::{Duration, Instant};
use support::{print_machine, scratch, sized};

/// Restarts of one program.
const RESTARTS: usize = 5;

fn restarts_of<M: Measured>(keys: u64) {
    let dir = scratch();
    let context = open::<M>(dir.path());
    fill(&context, keys);
    let began = Instant::now();
    context.stop(StopMode::Graceful).unwrap();
    let checkpoint = began.elapsed();
    drop(context);
    let (mut whole, mut loading, mut first) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..RESTARTS {
        let began = Instant::now();
        let context = open::<M>(dir.path());
        whole.push(began.elapsed());
        loading.push(context.recovered().loaded_in);
        assert_eq!(context.states()[0].keys, keys);
        first.push(batches(&context, 1, |_| vec![0]));
        context.stop(StopMode::Immediate).unwrap();
    }
    let [whole, loading, first] = [whole, loading, first].map(|mut times| {
        times.sort_unstable();
        format!(
            "{:.2?} ({:.2?}-{:.2?})",
            times[RESTARTS / 2],
            times[0],
            times[RESTARTS - 1]
        )
    });
    println!(
        "{}, {keys} keys: last batch and checkpoint {checkpoint:.2?}; median of {RESTARTS} restarts {whole}, of which reading {loading}; \
         first batch {first}",
        M::NAME
    );
}

/// `STATE_KEYS=10000000` for more keys.
fn restart(_: &mut Criterion) {
    let keys = std::env::var("STATE_KEYS")
        .ok()
        .and_then(|n| n.parse().ok());
    let keys = keys.unwrap_or_else(|| sized(1_000_000, 2_000));
    restarts_of::<Accounts>(keys);
    restarts_of::<NamedAccounts>(keys);
    restarts_of::<Counts>(keys);
}

/// Time of a batch with the keys that `keys` gives for its number.
fn batches(context: &StreamingContext, count: u64, keys: impl Fn(u64) -> Vec<u64>) -> Duration {
    let input = context.input::<Vec<u64>>("keys").unwrap();
    let mut took = Duration::ZERO;
    for n in 0..count {
        send(&input, keys(n).into_iter());
        let began = Instant::now();
        context.run_batch().unwrap();
        took += began.elapsed();
    }
    took
}

fn scattered(of: u64, count: u64, seed: u64) -> Vec<u64> {
    (0..count)
        .map(|n| (n * 0x9E37_79B9 + seed * 7919) % of)
        .collect()
}

fn touch(c: &mut Criterion) {
    let keys = sized(1_000_000, 2_000);
    let mut group = c.benchmark_group("state/touch");
    group.sample_size(10);
    let dir = scratch();
    let context = open::<Accounts>(dir.path());
    fill(&context, keys);
    for percent in [1, 10, 100] {
        let count = keys * percent / 100;
        group.throughput(Throughput::Elements(count));
        group.bench_function(BenchmarkId::from_parameter(format!("{percent}%")), |b| {
            b.iter_custom(|n| batches(&context, n, |n| scattered(keys, count, n)));
        });
    }
    group.finish();
    context.stop(StopMode::Immediate).unwrap();
}

/// Sessions with and without a timeout that never strikes; and some that begin and end.
fn sessions(c: &mut Criterion) {
    let keys = sized(1_000_000, 2_000);
    let mut group = c.benchmark_group("state/sessions");
    group.sample_size(10);
    for timeout in [None, Some(Duration::from_secs(3600))] {
        let dir = scratch();
        let context = builder(dir.path()).get_or_create(|ssc| {
            let keys = ssc.input::<Vec<u64>>("keys").flat_map(|keys| keys);
            let mut spec =
                StateSpec::new(
                    |_, _: &u64, value, state: &mut KeyState<'_, u64>| match value {
                        Some(true) => drop(state.remove()),
                        _ => state.update(state.get().map_or(1, |n| n + 1)),
                    },
                );
            if let Some(timeout) = timeout {
                spec = spec.timeout(timeout);
            }
            // The highest bit ends a session.
            let pairs = keys.map(|key| (key & !(1 << 63), key >> 63 == 1));
            let mapped = pairs.map_with_state_spec("s", spec);
            mapped.count().for_each_batch("n", |_, _: Vec<u64>| ());
            Ok(())
        });
        let context = context.unwrap();
        context.start().unwrap();
        fill(&context, keys);
        let name = if timeout.is_some() {
            "timeout"
        } else {
            "no timeout"
        };
        let count = keys / 100;
        group.throughput(Throughput::Elements(count));
        group.bench_function(BenchmarkId::new(name, "touch 1%"), |b| {
            b.iter_custom(|n| batches(&context, n, |n| scattered(keys, count, n)));
        });
        let (mut oldest, mut youngest) = (0, keys);
        group.bench_function(BenchmarkId::new(name, "replace 0.5%"), |b| {
            b.iter_custom(|n| {
                let mut took = Duration::ZERO;
                for _ in 0..n {
                    let ended = (oldest..oldest + count / 2).map(|key| key | 1 << 63);
                    let all: Vec<u64> = ended.chain(youngest..youngest + count / 2).collect();
                    (oldest, youngest) = (oldest + count / 2, youngest + count / 2);
                    took += batches(&context, 1, |_| all.clone());
                }
                took
            });
        });
        context.stop(StopMode::Immediate).unwrap();
    }
    group.finish();
}

fn machine(_: &mut Criterion) {
    print_machine();
}

criterion_group!(benches, machine, restart, touch, sessions);
criterion_main!(benches);
