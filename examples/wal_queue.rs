//! A bounded queue with acknowledgements: producers wait when it is full, two consumers each deal
//! with every order, and what was acknowledged does not come again.
//!
//! `cargo run --release --example wal_queue`, also again and again, and killed in between

use highwater::wal::{Cursor, Options, Result, Wal, WalError};

const ORDERS: u64 = 20_000;

fn main() -> Result<()> {
    let options = Options::new().segment_size(64 << 10).max_bytes(1 << 20);
    let log = &Wal::open_with("target/wal_queue.d", options)?;
    let (billing, shipping) = (log.cursor("billing")?, log.cursor("shipping")?);
    std::thread::scope(|threads| {
        let producer = threads.spawn(|| produce(log));
        let consumers = [billing, shipping].map(|cursor| threads.spawn(|| consume(log, cursor)));
        for thread in consumers.into_iter().chain([producer]) {
            thread.join().expect("no thread panics")?;
        }
        Result::Ok(())
    })?;
    println!("{} bytes of log were freed", log.stats().bytes_truncated);
    log.close()
}

fn order(n: u64) -> String {
    format!("order {n} of run {}: tea and scones", std::process::id())
}

fn produce(log: &Wal) -> Result<()> {
    for n in 0..ORDERS {
        while let Err(error) = log.append(order(n)) {
            let WalError::LogFull { .. } = error else {
                return Err(error);
            };
            log.sync()?; // consumers see what is durable; the slower one makes room
            log.wait_for_room()?;
        }
    }
    log.sync()
}

fn consume(log: &Wal, mut cursor: Cursor) -> Result<()> {
    let last = order(ORDERS - 1);
    for (n, record) in cursor.tail()?.enumerate() {
        let record = record?;
        // Deal with it here. To acknowledge it costs nothing: it is durable with the next group.
        cursor.advance(record.next_lsn)?;
        let is_last = record.payload[..] == *last.as_bytes();
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
