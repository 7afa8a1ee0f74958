//! Two streams in one log: one flush makes both durable, one guard keeps what a slow consumer still
//! needs.
//!
//! `cargo run --release --example wal_streams`

use highwater::wal::{Lsn, Options, StreamId, Wal};

const ORDERS: StreamId = StreamId(1);
const PAYMENTS: StreamId = StreamId(2);

fn main() -> highwater::wal::Result<()> {
    let options = Options::new().segment_size(64 << 10);
    let log = Wal::open_with("target/wal_streams.d", options)?;
    log.truncate_before(log.durable_lsn())?; // what an earlier run left
    let start = log.end_lsn();

    let mut audited = Lsn::ZERO;
    for n in 0..2_000 {
        // A batch is atomic: after a crash both lines of the order are there, or none.
        let lines = [format!("order {n}: tea"), format!("order {n}: scones")];
        let order = log.append_batch_to(ORDERS, &lines)?;
        let _ = log.append_batch_to(PAYMENTS, [format!("payment {n}")])?;
        if n == 1_000 {
            audited = order.first;
        }
    }
    log.sync()?; // one flush for both

    // A stream is a label: readers see the log in its order and take what is theirs.
    let records: Vec<_> = log.read_from(start)?.collect::<Result<_, _>>()?;
    let count = |stream| records.iter().filter(|r| r.stream == stream).count();
    assert_eq!((count(ORDERS), count(PAYMENTS)), (4_000, 2_000));

    // The auditor needs everything from order 1000 on: truncation stops there.
    let mut auditor = log.retain_as(audited, "the auditor")?;
    log.truncate_before(log.durable_lsn())?;
    for hold in log.holds() {
        println!(
            "{} keeps {} bytes from LSN {}",
            hold.name, hold.bytes, hold.lsn
        );
    }
    assert!(start < log.first_lsn() && log.first_lsn() <= audited);
    let kept = log.read_from(audited)?.next().expect("it is kept")?;
    assert_eq!(&kept.payload[..], b"order 1000: tea");

    // It has caught up: whole segments before it are freed.
    auditor.advance(log.durable_lsn());
    log.truncate_before(log.durable_lsn())?;
    assert!(audited < log.first_lsn());
    println!("{} bytes truncated", log.stats().bytes_truncated);
    log.close()
}
