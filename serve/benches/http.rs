//! Appends over HTTP, by how many streams there are: uniform and Zipf, and after a restart.
//!
//! `cargo bench -p highwater-serve` measures; as a test it runs tiny. DIR in the environment says
//! where. Clients and server share the machine.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::indexing_slicing,
    reason = "a bench measures time"
)]

use highwater_serve::{ServeOptions, StreamServer};
use highwater_streams::{NewStream, Options, Streams};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const TEXT: Option<&str> = Some("text/plain");

#[derive(Clone, Copy)]
struct Size {
    counts: [u64; 3],
    clients: u64,
    time: Duration,
    rounds: usize,
}

const FULL: Size = Size {
    counts: [1, 1_000, 100_000],
    clients: 50,
    time: Duration::from_secs(3),
    rounds: 3,
};

const TINY: Size = Size {
    counts: [1, 2, 3],
    clients: 2,
    time: Duration::from_millis(20),
    rounds: 1,
};

#[derive(Clone, Copy)]
enum Choice {
    Uniform,
    Zipf,
}

fn choose(choice: Choice, random: &mut u64, count: u64) -> u64 {
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    let unit = (*random >> 11) as f64 / (1_u64 << 53) as f64;
    match choice {
        Choice::Uniform => *random % count,
        Choice::Zipf => (((count as f64).ln() * unit).exp() as u64 - 1).min(count - 1),
    }
}

/// Requests on one connection, one after the other, until the time is over.
async fn client(
    addr: SocketAddr,
    choice: Choice,
    count: u64,
    seed: u64,
    until: Instant,
    done: Arc<AtomicU64>,
) {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut random = 0x9e37_79b9_7f4a_7c15 ^ (seed << 32);
    let body = "x".repeat(256);
    let mut answer = vec![0; 4096];
    while Instant::now() < until {
        let which = choose(choice, &mut random, count);
        let request = format!(
            "POST /v1/stream/customer-{which:012} HTTP/1.1\r\nhost: localhost\r\ncontent-type: text/plain\r\ncontent-length: 256\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut filled = 0;
        loop {
            let read = stream.read(&mut answer[filled..]).await.unwrap();
            let said = String::from_utf8_lossy(&answer[..filled]);
            assert!(
                read > 0,
                "the server has ended the connection after {said:?}"
            );
            filled += read;
            if answer[..filled].ends_with(b"\r\n\r\n") {
                break;
            }
        }
        let said = String::from_utf8_lossy(&answer[..filled]);
        assert!(said.starts_with("HTTP/1.1 204"), "{said}");
        done.fetch_add(1, Ordering::Relaxed);
    }
}

fn rate(
    runtime: &tokio::runtime::Runtime,
    addr: SocketAddr,
    choice: Choice,
    count: u64,
    size: Size,
) -> f64 {
    let done = Arc::new(AtomicU64::new(0));
    let begun = Instant::now();
    runtime.block_on(async {
        let clients: Vec<_> = (0..size.clients)
            .map(|seed| {
                tokio::spawn(client(
                    addr,
                    choice,
                    count,
                    seed + 1,
                    begun + size.time,
                    Arc::clone(&done),
                ))
            })
            .collect();
        for client in clients {
            client.await.unwrap();
        }
    });
    done.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64()
}

struct Run {
    dir: PathBuf,
    count: u64,
    streams: Arc<Streams>,
    server: Option<StreamServer>,
    rates: [Vec<f64>; 3],
}

fn start(streams: &Arc<Streams>) -> StreamServer {
    StreamServer::start(Arc::clone(streams), "127.0.0.1:0", ServeOptions::new()).unwrap()
}

fn open(dir: PathBuf, count: u64) -> Run {
    let streams = Arc::new(Streams::open(&dir, Options::new()).unwrap());
    let new = NewStream {
        content_type: TEXT,
        ..NewStream::default()
    };
    for n in 0..count {
        let made = streams
            .create(&format!("/v1/stream/customer-{n:012}"), &new)
            .unwrap();
        if n + 1 == count {
            made.wait().unwrap().unwrap();
        }
    }
    let server = Some(start(&streams));
    Run {
        dir,
        count,
        streams,
        server,
        rates: Default::default(),
    }
}

fn main() {
    // What a test runner asks first.
    if std::env::args().any(|argument| argument == "--list") {
        if !std::env::args().any(|argument| argument == "--ignored") {
            println!("tiny: test");
        }
        return;
    }
    let is_bench = std::env::args().any(|argument| argument == "--bench");
    let size = if is_bench { FULL } else { TINY };
    let place = std::env::var("DIR").unwrap_or_else(|_| std::env::temp_dir().display().to_string());
    let dir = tempfile::tempdir_in(place).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut runs: Vec<Run> = size
        .counts
        .iter()
        .map(|count| open(dir.path().join(count.to_string()), *count))
        .collect();
    // All in turn: other work of the machine comes and goes.
    for _ in 0..size.rounds {
        for run in &mut runs {
            let addr = run.server.as_ref().unwrap().local_addr();
            run.rates[0].push(rate(&runtime, addr, Choice::Uniform, run.count, size));
            run.rates[1].push(rate(&runtime, addr, Choice::Zipf, run.count, size));
            run.server = None;
            run.streams.close().unwrap();
            run.streams = Arc::new(Streams::open(&run.dir, Options::new()).unwrap());
            run.server = Some(start(&run.streams));
            let addr = run.server.as_ref().unwrap().local_addr();
            run.rates[2].push(rate(&runtime, addr, Choice::Uniform, run.count, size));
        }
    }
    println!(
        "POSTs of 256 bytes on {} connections, in thousands a second (median of {} rounds; lowest and highest):",
        size.clients, size.rounds
    );
    println!(
        "{:>8} {:>20} {:>20} {:>20}",
        "streams", "uniform", "zipf", "after a restart"
    );
    for run in &mut runs {
        let columns = run.rates.each_mut().map(|rates| {
            rates.sort_by(f64::total_cmp);
            let (low, high) = (rates[0] / 1e3, rates[rates.len() - 1] / 1e3);
            format!(
                "{:.1} ({low:.1} to {high:.1})",
                rates[rates.len() / 2] / 1e3
            )
        });
        println!(
            "{:>8} {:>20} {:>20} {:>20}",
            run.count, columns[0], columns[1], columns[2]
        );
    }
}
