//! Spark's RecoverableNetworkWordCount with state: counts words that come over TCP, without end.
//!
//! * `cargo run --example network_word_count 127.0.0.1:9999` listens there: type lines into `nc
//!   127.0.0.1 9999`, see `ok` when each is durable. Kill it at any time and start it again: no
//!   line that was answered is lost or counted twice.
//! * Without an address it sends itself a few lines and stops. Run it twice: the counts go on.

use highwater::prelude::*;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let addr = std::env::args().nth(1);
    let bound = BoundAddress::new();
    let options = ListenOptions::new().report_to(&bound);

    let context = StreamingContext::builder("target/network_word_count.d")
        .batch_interval(Duration::from_millis(500))
        .checkpoint(CheckpointPolicy::every_batches(10))
        .get_or_create(|ssc| {
            ssc.socket_listen_with("lines", addr.as_deref().unwrap_or("127.0.0.1:0"), options)
                .flat_map_into(|line: Line, out| {
                    line.split_whitespace()
                        .for_each(|word| out.emit(word.to_owned()));
                })
                .map(|word| (word, 1_u64))
                .update_state_by_key("counts", |_word, new, total: &mut Option<u64>| {
                    *total = Some(total.unwrap_or(0) + new.iter().sum::<u64>());
                })
                .print();
            Ok::<(), highwater::BoxError>(())
        })?;
    context.start()?;
    println!("{}", context.lineage());

    match (addr, bound.get()) {
        (None, Some(own)) => {
            feed(own)?;
            context.stop(StopMode::Graceful)?;
        }
        _ => context.await_termination()?,
    }
    Ok(())
}

/// Sends a few lines and waits until each is durable.
fn feed(addr: SocketAddr) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(addr)?;
    let answers = BufReader::new(stream.try_clone()?).lines();
    stream.write_all(b"to be or not to be\nthat is the question\n")?;
    for answer in answers.take(2) {
        println!("the server says: {}", answer?);
    }
    Ok(())
}
