//! States are asked for while the program runs.
//!
//! | file | holds |
//! |---|---|
//! | `answers` | what is asked, beside a model; what is refused |
//! | `meanwhile` | questions while a batch runs, fails, or is committed |
//! | `restarts` | after a crash no answer goes back |
//! | `changes` | what each batch changes |
//! | `gate` | a program whose user code waits for the test |
//! | `json` | the same in JSON |

mod answers;
mod changes;
mod gate;
mod json;
mod meanwhile;
mod restarts;

use crate::common::builder;
use highwater_engine::wal::Lsn;
use highwater_engine::wal::disk::{ManualClock, SimDisk};
use highwater_engine::{Builder, Result, StateGuard, StreamScope, StreamingContext};
use std::sync::Arc;

/// An addition to a key; the key is gone when its sum is a multiple of ten.
pub(super) type Addition = (String, i64);

/// The sums of what was added to each key, as the state "sums".
pub(super) fn program(ssc: &StreamScope) -> Result<(), highwater_engine::BoxError> {
    let added = ssc.input::<Addition>("added");
    let sums = added.update_state_by_key_changed(
        "sums",
        |_: &String, new: &[i64], sum: &mut StateGuard<i64>| {
            *sum.get_or_insert_with(|| 0) += new.iter().sum::<i64>();
            if sum.get().is_some_and(|sum| sum % 10 == 0) {
                sum.remove();
            }
        },
    );
    sums.for_each_batch("out", |_, _: Vec<Addition>| ());
    Ok(())
}

pub(super) fn open_with(builder: Builder) -> Result<StreamingContext> {
    builder.get_or_create(program)
}

pub(super) fn open(disk: &SimDisk, workers: usize) -> StreamingContext {
    open_with(builder(disk, workers)).unwrap()
}

/// Adds to a key.
pub(super) fn add(context: &StreamingContext, key: &str, number: i64) {
    let _lsn = add_at(context, key, number);
}

/// The same; where that is in the log.
pub(super) fn add_at(context: &StreamingContext, key: &str, number: i64) -> Lsn {
    let input = context.input::<Addition>("added").unwrap();
    let ack = input.send(&(key.to_owned(), number)).unwrap();
    let lsn = ack.lsn();
    ack.wait().unwrap();
    lsn
}

/// The same by a clock that the test moves.
pub(super) fn open_by_clock(disk: &SimDisk) -> (StreamingContext, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(1_700_000_000_000));
    let builder = builder(disk, 1).clock(Arc::<ManualClock>::clone(&clock));
    (open_with(builder).unwrap(), clock)
}

pub(super) fn random(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
    *seed >> 33
}
