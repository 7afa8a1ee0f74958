//! Webhooks: a delivery is answered with 200 when it is on the disk, and one that comes again
//! counts once. `cargo run --release --example http_ingest --features http` delivers to itself,
//! also after the process that answered is gone, checks, and ends.

use highwater::prelude::*;
use highwater::{BatchMode, HttpOptions};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
struct Order {
    item: String,
    cents: u64,
}

fn open(dir: &Path, bound: &BoundAddress) -> highwater::Result<StreamingContext> {
    let options = HttpOptions::new().report_to(bound);
    let options = options.key_header("X-Delivery").require_id();
    StreamingContext::builder(dir)
        .batches(BatchMode::Manual)
        .get_or_create(|ssc| {
            ssc.http_json::<Order>("orders", "127.0.0.1:0", options)
                .map(|order| (order.item, order.cents))
                .reduce_by_key(|a, b| a + b)
                .print();
            Ok(())
        })
}

fn deliver(addr: SocketAddr, id: &str, body: &str) -> std::io::Result<String> {
    let head = "POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: ";
    let named = format!("{head}application/json\r\nX-Delivery: {id}\r\n");
    let (mut shop, length) = (TcpStream::connect(addr)?, body.len());
    write!(shop, "{named}Content-Length: {length}\r\n\r\n{body}")?;
    let mut answer = String::new();
    shop.read_to_string(&mut answer)?;
    Ok(answer)
}

fn main() -> Result<(), BoxError> {
    let dir = std::env::temp_dir().join(format!("highwater-http-{}", std::process::id()));
    let tea = r#"[{"item": "tea", "cents": 250}, {"item": "cake", "cents": 400}]"#;
    let mut all = String::new();
    for life in 0..2 {
        let bound = BoundAddress::new();
        let context = open(&dir, &bound)?;
        context.start()?;
        let addr = bound.get().ok_or("it listens")?;
        all += &deliver(addr, "d-1", tea)?; // in the second life it comes again
        all += &deliver(addr, "d-2", r#"{"item": "tea", "cents": -1}"#)?; // no Order
        if life == 1 {
            context.run_batch()?; // two orders, each once
        } // otherwise: no batch has run, no checkpoint was made
    }
    println!("{all}");
    assert!(all.matches(" 200 ").count() == 2 && all.contains(r#""duplicates":2"#));
    assert_eq!(all.matches("element 1: invalid value").count(), 2);
    Ok(())
}
