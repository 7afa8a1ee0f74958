//! The HTTP receiver beside a bare route of axum over the log, and beside another durable server if
//! there is one: `wrk` with one thread and 50 connections sends bodies of 256 bytes.
//!
//! ```text
//! cargo bench --bench http --features http [-- --seconds 10 --rounds 5 --rival PATH]
//! ```
//!
//! Each server is a process of its own, with its directory below `target`. They take turns; printed
//! are medians of all rounds, with the lowest and the highest. `PATH` is a `durable-streams` server
//! (0.1.5); it is run with durability `wal`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a benchmark fails by panicking, and measures time"
)]

use axum::{Router, body::Bytes, extract::State, http::StatusCode, routing::post};
use highwater::prelude::*;
use highwater::wal::{Options, Wal};
use highwater::{BatchMode, HttpOptions};
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

/// What is measured: who answers, and what the requests carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subject {
    Bare,
    Door,
    DoorNumbered,
    DoorKeyed,
    Rival,
}

impl Subject {
    fn name(self) -> &'static str {
        match self {
            Self::Bare => "a bare axum route over the log",
            Self::Door => "ssc.http",
            Self::DoorNumbered => "ssc.http, Producer-Id and Producer-Seq",
            Self::DoorKeyed => "ssc.http, Idempotency-Key",
            Self::Rival => "durable-streams, wal",
        }
    }

    /// What `wrk` runs.
    fn script(self) -> String {
        let head = "wrk.method = 'POST'\nwrk.body = string.rep('x', 256)\nwrk.headers['Content-Type'] = 'text/plain'\n";
        let request = match self {
            Self::Bare | Self::Door | Self::Rival => "",
            // More producers than connections: none has two requests under way.
            Self::DoorNumbered => {
                "n = 0\nfunction request()\n n = n + 1\n wrk.headers['Producer-Id'] = 'p' .. (n % 1000)\n \
                 wrk.headers['Producer-Seq'] = math.floor(n / 1000)\n return wrk.format()\nend\n"
            }
            Self::DoorKeyed => {
                "n = 0\nfunction request()\n n = n + 1\n wrk.headers['Idempotency-Key'] = 'key-' .. n\n return wrk.format()\nend\n"
            }
        };
        format!("{head}{request}")
    }
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let value = |name: &str| {
        let at = args.iter().position(|arg| arg == name)?;
        args.get(at + 1).cloned()
    };
    if let (Some(server), Some(dir)) = (value("--serve"), value("--dir")) {
        return serve(&server, dir.as_ref());
    }
    if !args.iter().any(|arg| arg == "--bench") {
        return; // a test run builds it, and there is nothing to measure
    }
    let seconds = value("--seconds").map_or(10, |text| text.parse().unwrap());
    let rounds: usize = value("--rounds").map_or(5, |text| text.parse().unwrap());
    let rival = value("--rival").map(PathBuf::from);
    let mut subjects = vec![
        Subject::Bare,
        Subject::Door,
        Subject::DoorNumbered,
        Subject::DoorKeyed,
    ];
    subjects.extend(rival.is_some().then_some(Subject::Rival));
    let mut results = vec![Vec::new(); subjects.len()];
    for round in 0..rounds {
        for (subject, results) in subjects.iter().zip(&mut results) {
            let measured = measure(*subject, seconds, rival.as_deref());
            println!("{round} {}: {measured:?}", subject.name());
            results.push(measured);
        }
    }
    println!("\n| | requests per second | p50 | p99 |\n|---|---|---|---|");
    for (subject, results) in subjects.iter().zip(&results) {
        let of = |part: fn(&Measured) -> f64| median(results.iter().map(part).collect());
        let [rate, p50, p99] = [of(|m| m.per_second), of(|m| m.p50_ms), of(|m| m.p99_ms)];
        println!(
            "| {} | {:.0} ({:.0}-{:.0}) | {:.2} ms ({:.2}-{:.2}) | {:.2} ms ({:.2}-{:.2}) |",
            subject.name(),
            rate.1,
            rate.0,
            rate.2,
            p50.1,
            p50.0,
            p50.2,
            p99.1,
            p99.0,
            p99.2
        );
    }
}

/// The lowest, the middle, the highest.
fn median(mut values: Vec<f64>) -> (f64, f64, f64) {
    values.sort_by(f64::total_cmp);
    (
        values[0],
        values[values.len() / 2],
        values[values.len() - 1],
    )
}

#[derive(Clone, Copy, Debug)]
struct Measured {
    per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
}

fn measure(subject: Subject, seconds: u32, rival: Option<&Path>) -> Measured {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("http-bench");
    let _ = std::fs::remove_dir_all(&target);
    std::fs::create_dir_all(&target).unwrap();
    let script = target.join("post.lua");
    std::fs::write(&script, subject.script()).unwrap();
    let dir = target.join("data");
    let (mut server, url) = match subject {
        Subject::Rival => start_rival(rival.unwrap(), &dir),
        _ => start(subject, &dir),
    };
    let wrk = Command::new("wrk")
        .args(["-t1", "-c50", "--latency", &format!("-d{seconds}"), "-s"])
        .arg(&script)
        .arg(&url)
        .output()
        .expect("wrk (a package of Debian)");
    server.kill().unwrap();
    server.wait().unwrap();
    let text = String::from_utf8(wrk.stdout).unwrap();
    assert!(!text.contains("Non-2xx"), "{text}");
    let after = |name: &str| {
        let line = text
            .lines()
            .find(|line| line.trim_start().starts_with(name));
        let line = line.unwrap_or_else(|| panic!("no {name} in {text}"));
        line.split_whitespace().nth(1).unwrap().to_owned()
    };
    Measured {
        per_second: after("Requests/sec:").parse().unwrap(),
        p50_ms: ms(&after("50%")),
        p99_ms: ms(&after("99%")),
    }
}

/// A time as `wrk` writes it.
fn ms(text: &str) -> f64 {
    for (unit, factor) in [("us", 1e-3), ("ms", 1.0), ("s", 1e3)] {
        if let Some(number) = text.strip_suffix(unit) {
            return number.parse::<f64>().unwrap() * factor;
        }
    }
    panic!("{text} is no time")
}

/// A server, and its URL.
fn start(subject: Subject, dir: &Path) -> (Child, String) {
    let name = if subject == Subject::Bare {
        "bare"
    } else {
        "door"
    };
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--serve", name, "--dir"])
        .arg(dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    output.read_line(&mut line).unwrap();
    (child, format!("http://{}/", line.trim()))
}

fn start_rival(program: &Path, dir: &Path) -> (Child, String) {
    // Free again when the line is done.
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
    let port = free.unwrap().port();
    let mut child = Command::new(program)
        .args(["--host", "127.0.0.1", "--port", &port.to_string()])
        .args(["--durability", "wal", "--data-dir"])
        .arg(dir)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let url = format!("http://127.0.0.1:{port}/v1/stream/bench");
    loop {
        let made = Command::new("curl")
            .args([
                "-sf",
                "-o",
                "/dev/null",
                "-X",
                "PUT",
                "-H",
                "Content-Type: text/plain",
                &url,
            ])
            .status();
        if made.unwrap().success() {
            return (child, url);
        }
        assert_eq!(child.try_wait().unwrap(), None, "the rival has ended");
    }
}

/// A server that runs until it is killed.
fn serve(name: &str, dir: &Path) {
    match name {
        "bare" => bare(dir),
        _ => door(dir),
    }
}

fn listening(addr: SocketAddr) {
    println!("{addr}");
    std::io::stdout().flush().unwrap();
}

fn bare(dir: &Path) {
    async fn ingest(State(log): State<Arc<Wal>>, body: Bytes) -> Result<String, StatusCode> {
        let lsn = log
            .append(&body)
            .map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
        let durable = log.durable(lsn).await;
        durable.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
        Ok(lsn.to_string())
    }
    let log = Arc::new(Wal::open_with(dir, Options::new()).unwrap());
    let app = Router::new().route("/", post(ingest)).with_state(log);
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_io().build().unwrap();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        listening(listener.local_addr().unwrap());
        axum::serve(listener, app).await.unwrap();
    });
}

/// A pipeline that counts what comes.
fn door(dir: &Path) {
    let bound = BoundAddress::new();
    let options = HttpOptions::new().report_to(&bound);
    let context = StreamingContext::builder(dir)
        .batches(BatchMode::Clock)
        .batch_interval(Duration::from_millis(100))
        .get_or_create(|ssc| {
            ssc.http_with("lines", "127.0.0.1:0", options)
                .count()
                .for_each_batch("count", |_, _: Vec<u64>| ());
            Ok(())
        })
        .unwrap();
    context.start().unwrap();
    listening(bound.get().unwrap());
    context.await_termination().unwrap();
}
