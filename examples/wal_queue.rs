//! A bounded queue with acknowledgements: producers wait when it is full, two consumers each deal
//! with every order, and what was acknowledged does not come again.
//!
//! `cargo run --release --example wal_queue`, also again and again, and killed in between

use highwater::wal::{Background, Cursor, Options, Result, Wal, WalError};

const ORDERS: u64 = 20_000;

fn main() -> Result<()> {
    let options = Options::new().segment_size(64 << 10).max_bytes(1 << 20);
    let log = Wal::open_with("target/wal_queue.d", options.background(Background::Thread))?;
    let [billing, shipping] = ["billing", "shipping"].map(|name| log.cursor(name));
    std::thread::scope(|threads| {
        let produce = threads.spawn(|| produce(&log));
        let bill = threads.spawn(|| consume(&log, billing?));
        let ship = threads.spawn(|| consume(&log, shipping?));
        for thread in [produce, bill, ship] {
            thread.join().expect("no thread panics")?;
        }
        Result::Ok(())
    })?;
    let stats = log.stats();
    println!(
        "{} bytes of log were freed, {} are left",
        stats.bytes_truncated, stats.disk_bytes
    );
    log.close()
}

fn order(n: u64) -> String {
    format!("order {n} of run {}:", std::process::id())
}

fn produce(log: &Wal) -> Result<()> {
    let mut last = log.end_lsn();
    for n in 0..ORDERS {
        last = loop {
            match log.append(format!("{} a pot of tea and two scones", order(n))) {
                // The slower consumer has to make room.
                Err(WalError::LogFull { .. }) => log.sync().and_then(|()| log.wait_for_room())?,
                appended => break appended?,
            }
        };
    }
    log.sync_to(last)
}

fn consume(log: &Wal, mut cursor: Cursor) -> Result<()> {
    let mut orders = cursor.tail()?;
    let last = order(ORDERS - 1);
    for n in 1.. {
        let order = orders.next().expect("the log is open")?;
        // Deal with it here. Then acknowledge it: it costs nothing, and is durable with the next
        // group of the producer.
        cursor.advance(order.next_lsn)?;
        let is_last = order.payload.starts_with(last.as_bytes());
        if n % 1_000 == 0 || is_last {
            cursor.commit()?;
            log.truncate_before(cursor.position())?;
        }
        if is_last {
            break;
        }
    }
    println!("{} has dealt with everything", cursor.name());
    Ok(())
}
