//! A follower in a thread of its own reads records as they become durable, across segments, and
//! ends with the log.
//!
//! `cargo run --release --example wal_follow`. A follower pins the log from where it stands: what
//! it has not read is not truncated. To end it before its log see `Tail::stopper`; tasks await
//! `Tail::recv`. To follow a log that another process writes, see `highwater::wal::inspect`.

use highwater::wal::{Options, Wal};
use std::thread;

const READINGS: u64 = 20_000;

fn main() -> highwater::wal::Result<()> {
    // Small segments, so that the follower crosses several.
    let options = Options::new().segment_size(64 << 10);
    let log = Wal::open_with("target/wal_follow.d", options)?;
    let start = log.durable_lsn();
    log.truncate_before(start)?; // what an earlier run left

    let followed = thread::scope(|scope| {
        let tail = log.tail(start)?;
        let follower = scope.spawn(move || {
            let (mut expected, mut segments) = (0, 1);
            for record in tail {
                let record = record?; // a failed sync or damage ends the tail with its error
                let reading =
                    u64::from_le_bytes(record.payload.as_ref().try_into().expect("8 bytes"));
                assert_eq!(reading, expected, "in order, each once");
                if record.lsn.bytes_since(start) > segments * (64 << 10) {
                    segments += 1;
                }
                expected += 1;
            }
            Ok::<_, highwater::wal::WalError>((expected, segments))
        });

        for reading in 0..READINGS {
            let lsn = log.append(reading.to_le_bytes())?;
            if reading % 100 == 99 {
                log.sync_to(lsn)?; // the follower sees these hundred now, not before
            }
        }
        log.close()?; // ends the follower, when it has read everything
        follower.join().expect("no thread panics")
    })?;

    println!(
        "followed {} records through {} segments",
        followed.0, followed.1
    );
    assert_eq!(followed.0, READINGS);
    assert!(followed.1 > 5);
    Ok(())
}
