//! A test of one's own pipeline: the power is cut before every operation of the disk, and the
//! result must be as if nothing had happened.
//!
//! cargo run --example test_a_pipeline
use highwater::prelude::*;
use highwater::testing::{Collector, Input, Pipeline, TestContext, crash_matrix, records};

/// The pipeline: how much each account has. It takes a stream, so that a test can give it one.
fn balances(transfers: &DStream<(String, i64)>) -> DStream<(String, i64)> {
    transfers.update_state_by_key_changed(
        "balances",
        |_account, amounts: &[i64], balance: &mut StateGuard<i64>| {
            *balance.get_or_insert_with(|| 0) += amounts.iter().sum::<i64>();
        },
    )
}

/// What `main` would give to `get_or_create`, with an input for the socket and a collector for
/// the database.
fn pipeline(ssc: &StreamScope, out: &Collector) -> Result<(), highwater::BoxError> {
    out.collect("balances", &balances(&ssc.input("transfers")));
    Ok(())
}

fn transfer(account: &str, amount: i64) -> highwater::testing::Records {
    records::<(String, i64)>("transfers", [(account.to_owned(), amount)])
}

fn main() -> highwater::Result<()> {
    // Step by step.
    let mut test = TestContext::start(Pipeline::new(pipeline))?;
    test.run_batch([transfer("ann", 10), transfer("bob", 5)])?;
    test.send([transfer("ann", -3)])?; // acknowledged, not processed
    test.cut_power(1);
    test.restart()?;
    let batch = test.run_batch([])?;
    let balances = test.output::<(String, i64)>("balances");
    assert_eq!(balances.get(&batch.id), Some(&vec![("ann".to_owned(), 7)]));

    // At every operation of the disk.
    let input = Input::new()
        .batch([transfer("ann", 10), transfer("bob", 5)])
        .empty_batches(2)
        .batch([transfer("ann", -3)]);
    println!("{}", crash_matrix(pipeline, &input));
    Ok(())
}
