//! Ten thousand clients that say nothing, or half of something, at a server in a process of its
//! own: what each of them costs it, and what a good client notices.

use crate::client::Client;
use highwater_connectors::{BoundAddress, HttpOptions, Line, Sources};
use highwater_engine::wal::disk::{Clock, OsClock};
use highwater_engine::{BoxError, StreamingContext};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

const DIRECTORY: &str = "HIGHWATER_TEST_IDLE_DIRECTORY";
const CLIENTS: usize = 10_000;
/// What one of them may take of the server's memory: a head is 16 KiB at most, and these say less.
const MOST_BYTES: usize = 24 << 10;

/// As many descriptors as the system allows this process.
fn many_descriptors() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let all = Rlimit {
        current: limit.maximum,
        ..limit
    };
    setrlimit(Resource::Nofile, all).unwrap();
    limit.maximum.unwrap_or(u64::MAX)
}

/// The process that serves: says where it listens.
#[test]
fn child() -> Result<(), BoxError> {
    let Ok(dir) = std::env::var(DIRECTORY) else {
        return Ok(());
    };
    many_descriptors();
    let bound = BoundAddress::new();
    let options = HttpOptions::new()
        .max_connections(2 * CLIENTS)
        .max_connections_per_address(2 * CLIENTS)
        .head_timeout(Duration::from_hours(1))
        .report_to(&bound);
    let context = StreamingContext::builder(dir).get_or_create(move |ssc| {
        ssc.http_with("events", "127.0.0.1:0", options)
            .for_each_batch("out", |_, _: Vec<Line>| ());
        Ok::<(), BoxError>(())
    })?;
    context.start()?;
    println!("\nlistens {}", bound.get().ok_or("no address")?);
    std::io::stdout().flush()?;
    context.await_termination()?;
    Ok(())
}

struct Server {
    child: Child,
    addr: SocketAddr,
}

impl Server {
    fn start(dir: &std::path::Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "idle::child", "--nocapture", "--test-threads=1"])
            .env(DIRECTORY, dir)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let addr = output.lines().map_while(Result::ok).find_map(|line| {
            let addr = line.strip_prefix("listens ")?;
            addr.parse().ok()
        });
        let addr = addr.unwrap();
        Self { child, addr }
    }

    /// Its memory, in bytes.
    #[allow(clippy::disallowed_methods, reason = "what Linux tells of a process")]
    fn resident_bytes(&self) -> usize {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib: usize = line
            .unwrap()
            .trim()
            .trim_end_matches(" kB")
            .parse()
            .unwrap();
        kib << 10
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a good client waits for each of its answers; printed, not judged.
fn good(addr: SocketAddr, beside: &str) {
    let mut client = Client::connect(addr);
    let clock = OsClock::new();
    let mut waits: Vec<Duration> = (0..500)
        .map(|_| {
            let began = clock.now();
            client.store("good");
            clock.now() - began
        })
        .collect();
    waits.sort();
    let (p50, p99) = (waits[250], waits[495]);
    println!("good client beside {beside}: p50 {p50:?}, p99 {p99:?}");
}

#[test]
#[cfg(target_os = "linux")]
fn ten_thousand_others_take_little_memory_and_keep_no_good_client_out() {
    if many_descriptors() < CLIENTS as u64 + 200 {
        println!("skipped: this process may have too few descriptors");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir.path().join("app"));
    good(server.addr, "none");
    let before = server.resident_bytes();
    let mut others: Vec<TcpStream> = (0..CLIENTS)
        .map(|count| {
            let mut other = TcpStream::connect(server.addr).unwrap();
            if count % 2 == 0 {
                other.write_all(b"POST / HTTP/1.1\r\nHost: local").unwrap();
            }
            other
        })
        .collect();
    // When this one is answered, those before it are connections of the server.
    good(server.addr, "10,000 that are silent");
    let after = server.resident_bytes();
    let each = after.saturating_sub(before) / CLIENTS;
    println!("each of {CLIENTS} connections takes {each} bytes");
    assert!(each < MOST_BYTES, "{each} bytes for each connection");
    // Some of them go on: all at once, byte by byte, false, and gone in the middle.
    let ends = AtomicBool::new(false);
    thread::scope(|scope| {
        let noise = scope.spawn(|| {
            let mut count = 0_usize;
            while !ends.load(Ordering::Relaxed) {
                count += 1;
                let last = others.len() - 1;
                let byte = [b"x: ", b"\r\n\r", b"\0\xff\x80"][count % 3];
                let _ = others[count % last].write_all(byte);
                if count.is_multiple_of(7) {
                    others[count % last] = TcpStream::connect(server.addr).unwrap();
                }
            }
            count
        });
        good(server.addr, "10,000 that mean harm");
        ends.store(true, Ordering::Relaxed);
        println!("{} pieces of noise", noise.join().unwrap());
    });
    let most = before + CLIENTS * MOST_BYTES;
    let found = server.resident_bytes();
    assert!(found < most, "{found} bytes, at most {most}");
}
