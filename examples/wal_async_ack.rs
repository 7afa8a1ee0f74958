//! Many tasks on one thread, each waiting for its own record: they share the flushes.
//!
//! `cargo run --release --example wal_async_ack`. `Wal::durable` is a plain future: any other
//! executor does as well as tokio.

use highwater::wal::{Lsn, Wal, WalError};
use std::sync::Arc;
use tokio::task::JoinSet;

const CLIENTS: usize = 64;
const ORDERS: usize = 100;

/// What a request handler does: in the log first, answered when that is durable.
async fn accept(log: &Wal, order: &str) -> Result<Lsn, WalError> {
    let lsn = log.append(order)?; // does not wait
    log.durable(lsn).await?; // the thread runs the other tasks meanwhile
    Ok(lsn)
}

async fn client(log: Arc<Wal>, client: usize) -> Result<(), WalError> {
    for order in 0..ORDERS {
        let lsn = accept(&log, &format!("order {order} of client {client}")).await?;
        assert!(lsn < log.durable_lsn());
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let log = Arc::new(Wal::open("target/wal_async_ack.d")?);
    let start = log.end_lsn();

    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    runtime.block_on(async {
        let mut clients: JoinSet<_> = (0..CLIENTS).map(|n| client(Arc::clone(&log), n)).collect();
        while let Some(done) = clients.join_next().await {
            done??;
        }
        Ok::<_, Box<dyn std::error::Error>>(())
    })?;

    let stats = log.stats();
    println!(
        "{} records durable in {} flushes: {:.1} records per flush; half of the syncs took at most {:?}",
        stats.records,
        stats.groups,
        stats.records_per_group(),
        stats.sync.p50,
    );
    assert!(stats.groups < stats.records, "tasks share flushes");
    assert_eq!(log.read_from(start)?.count(), CLIENTS * ORDERS);
    log.truncate_before(log.durable_lsn())?; // the next run need not keep this one's
    log.close()?;
    Ok(())
}
