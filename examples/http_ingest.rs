//! Orders over HTTP: a POST is answered with 200 when it is on the disk, and a retry counts once.
//! `cargo run --release --example http_ingest --features http` sends itself requests, also after
//! the process that answered them is gone, checks, and ends.

use highwater::prelude::*;
use highwater::{BatchMode, HttpOptions};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

fn open(dir: &Path, bound: &BoundAddress) -> highwater::Result<StreamingContext> {
    let options = HttpOptions::new().report_to(bound);
    StreamingContext::builder(dir)
        .batches(BatchMode::Manual)
        .get_or_create(|ssc| {
            ssc.http_with("orders", "127.0.0.1:0", options)
                .map(|order: Line| (order.to_string(), 1_u64))
                .reduce_by_key(|a, b| a + b)
                .print();
            Ok(())
        })
}

fn post(addr: SocketAddr, sequence: u64, body: &str) -> std::io::Result<String> {
    let mut shop = TcpStream::connect(addr)?;
    write!(
        shop,
        "POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Producer-Id: shop\r\nProducer-Seq: {sequence}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    shop.read_to_string(&mut answer)?;
    println!("{}", answer.lines().last().unwrap_or_default());
    Ok(answer)
}

fn main() -> Result<(), BoxError> {
    let dir = std::env::temp_dir().join(format!("highwater-http-{}", std::process::id()));
    let bound = BoundAddress::new();
    let context = open(&dir, &bound)?;
    context.start()?;
    let addr = bound.get().ok_or("it listens")?;
    let answer = post(addr, 0, r#"["tea", "cake"]"#)?;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(
        post(addr, 1, r#"["tea", "#)?.starts_with("HTTP/1.1 400"),
        "nothing of it is stored"
    );
    drop(context); // no batch has run, and no checkpoint was made

    let bound = BoundAddress::new();
    let context = open(&dir, &bound)?;
    context.start()?;
    let again = post(bound.get().ok_or("it listens")?, 0, r#"["tea", "cake"]"#)?;
    assert!(again.contains(r#""duplicates":2"#), "{again}");
    context.run_batch()?; // two orders, each once
    context.stop(StopMode::Graceful)?;
    Ok(())
}
