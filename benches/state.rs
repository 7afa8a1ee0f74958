//! The states of an operator: what they take in memory, what a batch costs that touches some of
//! many keys, and how long a restart takes to read them.
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

mod support;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use highwater::prelude::*;
use highwater::{BatchMode, Builder, KeyState, Sender, StateGuard, StateSpec};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::{Duration, Instant};
use support::{print_machine, scratch, sized};

/// 48 bytes.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Account {
    balance: i64,
    deposits: u64,
    withdrawals: u64,
    opened: u64,
    last: u64,
    limit: u64,
}

/// A state to measure: how its key is made of a number, and what is kept.
trait Measured: 'static {
    const NAME: &'static str;
    /// Bytes of key and state themselves.
    const RAW: u64;
    type Key: highwater::Key;
    type State: highwater::State;
    fn key(n: u64) -> Self::Key;
    fn update(state: &mut StateGuard<Self::State>);
}

struct Accounts;

impl Measured for Accounts {
    const NAME: &'static str = "u64 -> 48 bytes";
    const RAW: u64 = 56;
    type Key = u64;
    type State = Account;
    fn key(n: u64) -> u64 {
        n
    }
    fn update(state: &mut StateGuard<Account>) {
        let account = state.get_or_insert_with(Account::default);
        account.balance += 1;
        account.deposits += 1;
    }
}

struct NamedAccounts;

impl Measured for NamedAccounts {
    const NAME: &'static str = "String of 11 letters -> 48 bytes";
    const RAW: u64 = 59;
    type Key = String;
    type State = Account;
    fn key(n: u64) -> String {
        format!("{n:011}")
    }
    fn update(state: &mut StateGuard<Account>) {
        Accounts::update(state);
    }
}

struct Counts;

impl Measured for Counts {
    const NAME: &'static str = "String of 11 letters -> u64";
    const RAW: u64 = 19;
    type Key = String;
    type State = u64;
    fn key(n: u64) -> String {
        format!("{n:011}")
    }
    fn update(count: &mut StateGuard<u64>) {
        *count.get_or_insert_with(|| 0) += 1;
    }
}

/// Numbers of keys, so many in a record.
const IN_RECORD: u64 = 10_000;

fn builder(dir: &Path) -> Builder {
    StreamingContext::builder(dir)
        .batches(BatchMode::Manual)
        .checkpoint(CheckpointPolicy::every_batches(u64::MAX))
        .max_unprocessed_bytes(1 << 30)
}

fn open<M: Measured>(dir: &Path) -> StreamingContext {
    let context = builder(dir).get_or_create(|ssc| {
        let keys = ssc.input::<Vec<u64>>("keys").flat_map(|keys| keys);
        let pairs = keys.map(|n| (M::key(n), ()));
        let update = |_: &M::Key, _: &[()], state: &mut StateGuard<M::State>| M::update(state);
        let states = pairs.update_state_by_key_changed("s", update);
        states.count().for_each_batch("n", |_, _: Vec<u64>| ());
        Ok(())
    });
    let context = context.unwrap();
    context.start().unwrap();
    context
}

fn send(input: &Sender<Vec<u64>>, keys: impl Iterator<Item = u64>) {
    let keys: Vec<u64> = keys.collect();
    for record in keys.chunks(IN_RECORD as usize) {
        let _ = input.send(&record.to_vec()).unwrap();
    }
}

/// Fills the state through batches.
fn fill(context: &StreamingContext, keys: u64) {
    let input = context.input::<Vec<u64>>("keys").unwrap();
    let batch = (keys / 10).max(1);
    for from in (0..keys).step_by(batch as usize) {
        send(&input, from..(from + batch).min(keys));
        context.run_batch().unwrap();
    }
    // What the last batch has kept to be put back goes with the next one.
    context.run_batch().unwrap();
}

/// Resident bytes that are no file's.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let anon = status.lines().find_map(|l| l.strip_prefix("RssAnon:"));
    let kib = anon.and_then(|l| l.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

fn memory_of<M: Measured>(keys: u64) {
    let dir = scratch();
    let before = resident();
    let context = open::<M>(dir.path());
    fill(&context, keys);
    let bytes = resident().saturating_sub(before) / keys;
    let began = Instant::now();
    context.stop(StopMode::Graceful).unwrap();
    let checkpoint = began.elapsed();
    drop(context);
    let began = Instant::now();
    let context = open::<M>(dir.path());
    let restarted = began.elapsed();
    println!(
        "{}, {keys} keys: {bytes} resident bytes a key, {:.2}x of the raw {}; checkpoint {checkpoint:.2?}, restart {restarted:.2?}, \
         of which reading {:.2?}",
        M::NAME,
        bytes as f64 / M::RAW as f64,
        M::RAW,
        context.recovered().loaded_in
    );
    assert_eq!(context.states()[0].keys, keys);
    context.stop(StopMode::Immediate).unwrap();
}

/// One kind of state a process: what one leaves to the allocator is no other's.
fn memory(_: &mut Criterion) {
    let keys = sized(1_000_000, 2_000);
    match std::env::var("STATE").as_deref() {
        Ok("named") => memory_of::<NamedAccounts>(keys),
        Ok("counts") => memory_of::<Counts>(keys),
        Ok("many") => memory_of::<Accounts>(keys * 10),
        _ => memory_of::<Accounts>(keys),
    }
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

criterion_group!(benches, machine, memory, touch, sessions);
criterion_main!(benches);
