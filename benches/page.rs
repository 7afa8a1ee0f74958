//! What pages that are open cost the program: its processor time with none, one and ten of them.
//!
//! `cargo bench --bench page`. A word count with batches of 100 ms, and records in each; the time
//! of the whole process by the system's count, over ten seconds each, three rounds in turns.
#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]

use highwater::prelude::*;
use highwater::{
    BoxError,
    disk::{Clock, OsClock},
};
use highwater_ui::{Ui, UiOptions};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

const ROUNDS: usize = 3;

/// How long each is measured: short where it is only tried.
fn length() -> Duration {
    match std::env::args().any(|arg| arg == "--bench") {
        true => Duration::from_secs(10),
        false => Duration::from_millis(300),
    }
}

/// Processor time of this process so far, in seconds.
fn processor_seconds() -> f64 {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    used.tv_sec as f64 + used.tv_nsec as f64 / 1e9
}

/// A page that is open, until `ends`: it takes what comes, and counts its bytes.
fn page(
    addr: SocketAddr,
    ends: &Arc<AtomicBool>,
    bytes: &Arc<AtomicU64>,
) -> thread::JoinHandle<()> {
    let (ends, bytes) = (Arc::clone(ends), Arc::clone(bytes));
    thread::spawn(move || {
        let mut stream = TcpStream::connect(addr).unwrap();
        stream
            .write_all(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .unwrap();
        let mut buffer = [0; 65536];
        while !ends.load(Ordering::Relaxed) {
            let read = stream.read(&mut buffer).unwrap() as u64;
            bytes.fetch_add(read, Ordering::Relaxed);
        }
    })
}

fn main() -> Result<(), BoxError> {
    let dir = tempfile::tempdir()?;
    let context = StreamingContext::builder(dir.path().join("app"))
        .batch_interval(Duration::from_millis(100))
        .get_or_create(|ssc| {
            ssc.input::<String>("lines")
                .map(|word| (word, 1_u64))
                .update_state_by_key("counts", |_, new, total: &mut StateGuard<u64>| {
                    *total.get_or_insert_with(|| 0) += new.iter().sum::<u64>();
                })
                .for_each_batch("newest", |_, _| ());
            Ok(())
        })?;
    let server = context.ui("127.0.0.1:0", UiOptions::new())?;
    context.start()?;
    let clock = Arc::new(OsClock::new());
    let ended = Arc::new(AtomicBool::new(false));
    let (lines, stop) = (context.input::<String>("lines")?, Arc::clone(&ended));
    let beat = Arc::<OsClock>::clone(&clock);
    let sender = thread::spawn(move || {
        let words: Vec<String> = (0..100).map(|n| format!("word {n}")).collect();
        let mut due = beat.now();
        while !stop.load(Ordering::Relaxed) {
            lines.send_all(&words).unwrap().wait().unwrap();
            due += Duration::from_millis(50);
            wait_until(&*beat, due);
        }
    });
    let length = length();
    let mut shares: [Vec<f64>; 3] = Default::default();
    for round in 0..ROUNDS {
        for (pages, shares) in [0, 1, 10].into_iter().zip(&mut shares) {
            let (ends, bytes) = (Arc::new(AtomicBool::new(false)), Arc::default());
            let open: Vec<_> = (0..pages)
                .map(|_| page(server.local_addr(), &ends, &bytes))
                .collect();
            let (from, used) = (clock.now(), processor_seconds());
            wait_until(&*clock, from + length);
            let share = (processor_seconds() - used) / (clock.now() - from).as_secs_f64() * 100.0;
            shares.push(share);
            println!(
                "round {round}, {pages} pages: {share:.2} % of a core, {:.0} bytes a second",
                bytes.load(Ordering::Relaxed) as f64 / length.as_secs_f64()
            );
            ends.store(true, Ordering::Relaxed);
            open.into_iter().for_each(|page| page.join().unwrap());
        }
    }
    let median = |shares: &[f64]| {
        let mut sorted = shares.to_vec();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied().unwrap()
    };
    let [none, one, ten] = shares.each_ref().map(|shares| median(shares));
    println!(
        "medians: {none:.2} %; one page {:+.2} %, ten pages {:+.2} %",
        one - none,
        ten - none
    );
    ended.store(true, Ordering::Relaxed);
    sender.join().unwrap();
    context.stop(StopMode::Immediate)?;
    Ok(())
}

fn wait_until(clock: &dyn Clock, at: Duration) {
    let notify = Arc::new(highwater::disk::Notify::default());
    let _ = clock.wait(&notify, Some(at));
}
