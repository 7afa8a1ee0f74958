//! States to measure: programs that keep one state a key, and how they are filled.
#![allow(dead_code, reason = "each bench uses its part")]

use highwater::prelude::*;
use highwater::{BatchMode, Builder, Sender, StateGuard};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// 48 bytes.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Account {
    balance: i64,
    deposits: u64,
    withdrawals: u64,
    opened: u64,
    last: u64,
    limit: u64,
}

impl Account {
    /// One that does not compress: numbers that look random, and change each time.
    pub(crate) fn change(&mut self, key: u64) {
        self.deposits += 1;
        let mut mixed = key ^ self.deposits.rotate_left(32);
        let mut next = || {
            // SplitMix64.
            mixed = mixed.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        };
        self.balance = i64::try_from(next() >> 1).unwrap_or(0);
        (self.withdrawals, self.opened) = (next(), next());
        (self.last, self.limit) = (next(), next());
    }
}

/// A state to measure: how its key is made of a number, and what is kept.
pub(crate) trait Measured: 'static {
    const NAME: &'static str;
    /// Bytes of key and state themselves.
    const RAW: u64;
    type Key: highwater::Key;
    type State: highwater::State;
    fn key(n: u64) -> Self::Key;
    fn update(state: &mut StateGuard<Self::State>);
}

pub(crate) struct Accounts;

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

pub(crate) struct NamedAccounts;

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

pub(crate) struct Counts;

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
pub(crate) const IN_RECORD: u64 = 10_000;

pub(crate) fn builder(dir: &Path) -> Builder {
    StreamingContext::builder(dir)
        .batches(BatchMode::Manual)
        .checkpoint(CheckpointPolicy::every_batches(u64::MAX))
        .max_unprocessed_bytes(1 << 30)
}

pub(crate) fn open<M: Measured>(dir: &Path) -> StreamingContext {
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

pub(crate) fn send(input: &Sender<Vec<u64>>, keys: impl Iterator<Item = u64>) {
    let keys: Vec<u64> = keys.collect();
    for record in keys.chunks(IN_RECORD as usize) {
        let _ = input.send(&record.to_vec()).unwrap();
    }
}

/// Fills the state through batches.
pub(crate) fn fill(context: &StreamingContext, keys: u64) {
    let input = context.input::<Vec<u64>>("keys").unwrap();
    let batch = (keys / 10).max(1);
    for from in (0..keys).step_by(batch as usize) {
        send(&input, from..(from + batch).min(keys));
        context.run_batch().unwrap();
    }
    // What the last batch has kept to be put back goes with the next one.
    context.run_batch().unwrap();
}
