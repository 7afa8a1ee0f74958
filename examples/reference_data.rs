//! A join with reference data. What is part of the program (the names of goods) is joined as it is;
//! what changes while it runs (prices) is broadcast: a batch sees the list that came before it.
//! `cargo run --example reference_data`
use highwater::prelude::*;
use highwater::{BatchMode, Broadcast, Result};
use std::collections::BTreeMap;

type Prices = BTreeMap<u32, u64>;

/// A line of the bill for each order of an article, of which so many are wanted.
fn bill(orders: &DStream<(u32, u64)>, prices: Broadcast<Prices>) -> DStream<String> {
    let names = [(7, "tea"), (8, "cake"), (9, "milk")].map(|(id, name)| (id, name.to_owned()));
    let named = orders.left_outer_join_static(names);
    named.map(move |(article, (wanted, name))| {
        let price = prices
            .get()
            .and_then(|prices| prices.get(&article).copied());
        match (name, price) {
            (Some(name), Some(cents)) => format!("{wanted} x {name} = {} cents", wanted * cents),
            (Some(name), None) => format!("{wanted} x {name}: no price yet"),
            (None, _) => format!("article {article} is not known"),
        }
    })
}

fn main() -> std::result::Result<(), BoxError> {
    let dir = tempfile::tempdir()?;
    let open = || -> Result<StreamingContext> {
        let builder = StreamingContext::builder(dir.path()).batches(BatchMode::Manual);
        let context = builder.get_or_create(|ssc| {
            let prices = ssc.broadcast("prices", ssc.input::<Prices>("price lists"));
            bill(&ssc.input("orders"), prices).print();
            Ok(())
        })?;
        context.start()?;
        Ok(context)
    };
    let mut context = open()?;
    for (tea, orders) in [
        (Some(250), vec![(7, 2)]), // the list comes with this batch: the next one sees it
        (None, vec![(7, 2), (8, 1), (5, 1)]),
        (Some(300), vec![]),
        (None, vec![(7, 2)]),
    ] {
        if let Some(cents) = tea {
            let prices = Prices::from([(7, cents), (8, 420)]);
            context.input("price lists")?.send(&prices)?.wait()?;
        }
        context
            .input::<(u32, u64)>("orders")?
            .send_all(&orders)?
            .wait()?;
        context.run_batch()?;
    }
    drop(context); // as a crash would: the prices are in the log, and in checkpoints
    context = open()?;
    context.input("orders")?.send(&(8_u32, 3_u64))?.wait()?;
    Ok(context.stop(StopMode::Graceful)?)
}
