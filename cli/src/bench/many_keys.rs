//! A state of many keys: filled, touched, written into a checkpoint and read again.

use crate::bench::report::{ManyKeys, Spread, rounded};
use crate::fail::OrFail;
use highwater::disk::Clock;
use highwater::{
    BatchMode, BoxError, CheckpointPolicy, StateGuard, StopMode, StreamScope, StreamingContext,
};
use highwater_log::outcome::{Failure, Result};
use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Duration;

/// The state is filled in so many batches.
const BATCHES: u64 = 10;
/// One key in so many is touched afterwards.
const TOUCHED: u64 = 100;
/// Out of the way: the only checkpoint is that of the stop.
const BATCHES_PER_CHECKPOINT: u64 = 1_000_000;

/// What is kept of a key: 48 bytes.
type Account = [u64; 6];

/// Measures `keys` keys in the new directory `dir`, beside one hash map that is filled with the
/// same keys.
pub(crate) fn measure(
    dir: &Path,
    keys: u64,
    workers: NonZeroUsize,
    clock: &dyn Clock,
) -> Result<ManyKeys> {
    let hash_map = filled_hash_map(keys, clock);
    let context = open(dir, workers)?;
    let part = |n: u64| keys.saturating_mul(n) / BATCHES;
    let mut fill = Vec::new();
    for n in 0..BATCHES {
        fill.push(batch(&context, (part(n), part(n + 1), 1), clock)?);
    }
    let touch = batch(&context, (0, keys, TOUCHED), clock)?;
    let checkpoint = took(clock, || context.stop(StopMode::Graceful).or_fail())?;
    drop(context);
    let mut again = None;
    let restart = took(clock, || {
        again = Some(open(dir, workers)?);
        Ok(())
    })?;
    let context = again.ok_or_else(|| Failure::Finding("the program did not start".to_owned()))?;
    let found: u64 = context.states().iter().map(|state| state.keys).sum();
    let first_batch = batch(&context, (0, 1, 1), clock)?;
    context.stop(StopMode::Immediate).or_fail()?;
    if found != keys {
        let what = format!("{found} keys came back of a state of {keys}");
        return Err(Failure::Finding(what));
    }
    let millions = |keys: u64, time: Duration| {
        let keys = u32::try_from(keys).map_or(f64::INFINITY, f64::from);
        keys / time.as_secs_f64().max(1e-9) / 1e6
    };
    let seconds = |time: Duration| rounded(time.as_secs_f64());
    Ok(ManyKeys {
        workers: workers.get(),
        keys,
        hash_map: rounded(millions(keys, hash_map)),
        fill: Spread::of(
            (0..)
                .zip(&fill)
                .map(|(n, time)| millions(part(n + 1) - part(n), *time)),
        ),
        touch: rounded(millions(keys.div_ceil(TOUCHED), touch)),
        checkpoint_seconds: seconds(checkpoint),
        restart_seconds: seconds(restart),
        first_batch_ms: rounded(first_batch.as_secs_f64() * 1e3),
    })
}

fn open(dir: &Path, workers: NonZeroUsize) -> Result<StreamingContext> {
    let context = StreamingContext::builder(dir)
        .application("highwater-bench")
        .batches(BatchMode::Manual)
        .checkpoint(CheckpointPolicy::every_batches(BATCHES_PER_CHECKPOINT))
        .workers(workers)
        .get_or_create(program)
        .or_fail()?;
    context.start().or_fail()?;
    Ok(context)
}

fn program(ssc: &StreamScope) -> std::result::Result<(), BoxError> {
    let ranges = ssc.input::<(u64, u64, u64)>("ranges");
    let keys = ranges.flat_map_into(|(from, to, step): (u64, u64, u64), out| {
        let mut key = from;
        while key < to {
            out.emit((key, ()));
            key += step;
        }
    });
    let accounts = keys.update_state_by_key_changed(
        "accounts",
        |_: &u64, _: &[()], account: &mut StateGuard<Account>| {
            let [visits, ..] = account.get_or_insert_with(Account::default);
            *visits += 1;
        },
    );
    accounts
        .count()
        .for_each_batch("count", |_, _: Vec<u64>| ());
    Ok(())
}

/// Runs a batch with the keys of a range. Returns how long it took, from the cut to the commit.
fn batch(
    context: &StreamingContext,
    range: (u64, u64, u64),
    clock: &dyn Clock,
) -> Result<Duration> {
    let input = context.input::<(u64, u64, u64)>("ranges").or_fail()?;
    input.send(&range).or_fail()?.wait().or_fail()?;
    took(clock, || {
        context.run_batch().or_fail()?;
        Ok(())
    })
}

fn took(clock: &dyn Clock, work: impl FnOnce() -> Result<()>) -> Result<Duration> {
    let start = clock.now();
    work()?;
    Ok(clock.now().saturating_sub(start))
}

/// How long a hash map takes to be filled, without anything else.
fn filled_hash_map(keys: u64, clock: &dyn Clock) -> Duration {
    let start = clock.now();
    let mut accounts: HashMap<u64, Account, foldhash::fast::RandomState> = HashMap::default();
    for key in 0..keys {
        let [visits, ..] = accounts.entry(key).or_default();
        *visits += 1;
    }
    let took = clock.now().saturating_sub(start);
    drop(accounts);
    took
}
