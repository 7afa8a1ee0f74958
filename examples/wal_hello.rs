//! The log alone: append, make durable, open again, read.
//!
//! `cargo run --example wal_hello [DIR]`; run it twice and the records of the first run are still
//! there.

use highwater::wal::{Lsn, Wal};

fn main() -> highwater::wal::Result<()> {
    let dir = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "target/wal_hello.d".to_owned());

    let log = Wal::open(&dir)?;
    println!("{dir} ends at LSN {}", log.end_lsn());

    // Ordered, but not yet durable ...
    let first = log.append("hello")?;
    let last = log.append("log")?;
    // ... now both are: one flush serves everything below.
    log.sync_to(last)?;
    assert!(last < log.durable_lsn());

    // All of these or, after a crash, none.
    let range = log.append_batch(["one", "frame", "of three"])?;
    log.sync_to(range.first)?;
    log.close()?;

    // Opening recovers what is there.
    let log = Wal::open(&dir)?;
    for record in log.read_from(first)? {
        let record = record?;
        println!(
            "{:>6}  {}",
            record.lsn,
            String::from_utf8_lossy(&record.payload)
        );
    }
    println!("{} records in all", log.read_from(Lsn::ZERO)?.count());
    Ok(())
}
