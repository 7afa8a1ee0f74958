//! A durable HTTP endpoint: a POST is answered when its body is on stable storage, and refused when
//! it cannot be. `cargo run --release --example wal_axum` sends itself requests, checks and ends.

use axum::{Router, body::Bytes, extract::State, http::StatusCode, routing::post};
use highwater::wal::{Options, Wal, WalError};
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

type Answer = (StatusCode, String);

async fn ingest(State(log): State<Arc<Wal>>, body: Bytes) -> Result<String, Answer> {
    let lsn = log.append(&body).map_err(|e| refusal(&e))?;
    // Other requests go on meanwhile and share the flush.
    log.durable(lsn).await.map_err(|e| refusal(&e))?;
    Ok(lsn.to_string())
}

fn refusal(error: &WalError) -> Answer {
    let status = match error {
        full if full.is_no_space() => StatusCode::INSUFFICIENT_STORAGE, // try again later
        WalError::RecordTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        _ => StatusCode::SERVICE_UNAVAILABLE, // poisoned or closed: not before a restart
    };
    (status, error.to_string())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let options = Options::new().segment_size(64 << 10).max_bytes(256 << 10);
    let log = Arc::new(Wal::open_with("target/wal_axum.d", options)?);
    log.truncate_before(log.durable_lsn())?; // what an earlier run left
    let app = Router::new().route("/", post(ingest));
    let app = app.with_state(Arc::clone(&log));
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_io().build()?.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let server = listener.local_addr()?;
        tokio::spawn(axum::serve(listener, app).into_future());
        Ok(tokio::task::spawn_blocking(move || check(server, &log)).await?)
    })
}

fn check(server: SocketAddr, log: &Wal) {
    assert!(send(server, "hello").starts_with("HTTP/1.1 200"));
    let mut answers = (0..100).map(|_| send(server, &"x".repeat(16 << 10)));
    let full = answers.find(|answer| answer.starts_with("HTTP/1.1 507"));
    println!("{}", full.expect("256 KiB do not hold 100 requests"));
    log.truncate_before(log.durable_lsn()).expect("room again");
    assert!(send(server, "again").starts_with("HTTP/1.1 200"));
    log.close().expect("a clean end");
    assert!(send(server, "late").starts_with("HTTP/1.1 503"));
}

fn send(server: SocketAddr, body: &str) -> String {
    let mut stream = TcpStream::connect(server).expect("it listens");
    let head = "POST / HTTP/1.1\r\nHost: log\r\nConnection: close\r\nContent-Length:";
    write!(stream, "{head} {}\r\n\r\n{body}", body.len()).expect("it reads");
    std::io::read_to_string(stream).expect("it answers")
}
