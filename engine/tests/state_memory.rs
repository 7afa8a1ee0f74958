//! What a key with its state takes in memory, counted by the allocator. One test: another one in
//! the same process would be counted as well.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::cast_possible_wrap,
    reason = "test code"
)]

use highwater_engine::{
    BatchMode, CheckpointPolicy, Key, State, StateGuard, StopMode, StreamingContext, wal,
};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use std::alloc::System;
use std::path::Path;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Bytes that were asked for and not given back.
fn in_use() -> i64 {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated as i64 - stats.bytes_deallocated as i64
}

/// A state to measure.
struct Case<K, S> {
    key: fn(u64) -> K,
    new: fn() -> S,
    change: fn(&mut S),
    groups: u32,
    keys: u64,
    /// Bytes a key that are in use at most, after batches that created keys.
    at_most: f64,
}

impl<K: Key, S: State> Case<K, S> {
    fn open(&self, dir: &Path) -> StreamingContext {
        let (key, new, change) = (self.key, self.new, self.change);
        let context = StreamingContext::builder(dir)
            .log(wal::Options::new().segment_size(4 << 20))
            .batches(BatchMode::Manual)
            .checkpoint(CheckpointPolicy::every_batches(u64::MAX))
            .key_groups(self.groups)
            .seed(7)
            .get_or_create(move |ssc| {
                let numbers = ssc.input::<(u64, u64)>("from..to");
                let pairs = numbers.flat_map(move |(from, to)| from..to);
                pairs
                    .map(move |n| (key(n), ()))
                    .update_state_by_key_changed(
                        "states",
                        move |_: &K, _: &[()], state: &mut StateGuard<S>| match state.get_mut() {
                            Some(state) => change(state),
                            None => state.update(new()),
                        },
                    )
                    .for_each_batch("none", |_, _: Vec<(K, S)>| ());
                Ok(())
            })
            .unwrap();
        context.start().unwrap();
        context
    }

    /// Touches the keys of `parts` batches, and runs one without data: what a batch keeps so that
    /// it can be put back goes with the next one.
    fn touch(&self, context: &StreamingContext, parts: u64) {
        let input = context.input::<(u64, u64)>("from..to").unwrap();
        for part in 0..parts {
            let range = (self.keys * part / parts, self.keys * (part + 1) / parts);
            input.send(&range).unwrap().wait().unwrap();
            context.run_batch().unwrap();
        }
        context.run_batch().unwrap();
    }

    fn run(&self) {
        let dir = tempfile::tempdir().unwrap();
        let per_key = |bytes: i64| bytes as f64 / self.keys as f64;

        let context = self.open(dir.path());
        let empty = in_use();
        self.touch(&context, 5);
        let filled = per_key(in_use() - empty);
        self.touch(&context, 1);
        let touched = per_key(in_use() - empty);
        assert_eq!(context.states()[0].keys, self.keys);
        context.stop(StopMode::Graceful).unwrap();
        drop(context);

        let context = self.open(dir.path());
        assert_eq!(context.states()[0].keys, self.keys);
        let restored = per_key(in_use() - empty);
        context.stop(StopMode::Immediate).unwrap();

        println!("filled {filled:.1}, touched {touched:.1}, restored {restored:.1} bytes a key");
        let most = self.at_most;
        assert!(filled < most, "filled: {filled:.1} bytes a key, not {most}");
        assert!(touched < filled + 4.0, "touched: {touched:.1} bytes a key");
        assert!(restored < filled, "restored: {restored:.1} bytes a key");
    }
}

fn number(n: u64) -> u64 {
    n
}

fn name(n: u64) -> String {
    format!("{n:011}")
}

fn account() -> [u64; 6] {
    [1; 6]
}

fn deposit(account: &mut [u64; 6]) {
    account[0] += 1;
}

/// In use were 84 bytes for a key and a state of 56 at a million keys, and 153 at 60,000: notes of
/// the first keys, room in last pages, and what batches kept for the next one.
///
/// A `String` of eleven letters is 24 bytes in the table and 11 elsewhere: with 48 bytes of state
/// that is 1.4 times what it says, before the index and its hash.
#[test]
fn a_key_with_its_state_takes_little_more_than_its_bytes() {
    for (groups, keys) in [
        (128, 60_000),
        (128, 100_000),
        (128, 210_000),
        (1024, 300_000),
    ] {
        let numbers = Case {
            key: number,
            new: account,
            change: deposit,
            groups,
            keys,
            at_most: 1.6 * 56.0,
        };
        numbers.run();
        let names = Case {
            key: name,
            new: account,
            change: deposit,
            groups,
            keys,
            at_most: 1.6 * 56.0 + 16.0 + 11.0,
        };
        names.run();
    }
}
