//! What many streams cost: appending to them, their memory, opening them, reading an old position.
//!
//! `cargo bench -p highwater-streams` measures; as a test it runs tiny, and checks what it reads.
//! DIR in the environment says where; it needs some 3 GB there.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a bench measures time, on files of its own"
)]

use highwater_streams::{Append, From, NewStream, Options, Position, Producer, Streams};
use std::path::Path;
use std::time::Instant;

const TEXT: Option<&str> = Some("text/plain");
const BODY: [u8; 256] = [b'x'; 256];

/// How much is done.
#[derive(Clone, Copy)]
struct Size {
    appends: u64,
    rounds: usize,
    counts: [u64; 3],
    many: u64,
    segments: [u64; 3],
}

const FULL: Size = Size {
    appends: 400_000,
    rounds: 3,
    counts: [1, 1_000, 100_000],
    many: 1_000_000,
    segments: [1, 100, 1_000],
};

const TINY: Size = Size {
    appends: 300,
    rounds: 1,
    counts: [1, 10, 100],
    many: 1_000,
    segments: [1, 3, 5],
};

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
    throughput(&dir.path().join("throughput"), size);
    memory(&dir.path().join("memory"), size);
    old_positions(&dir.path().join("old"), size);
}

fn name(n: u64) -> String {
    format!("/v1/stream/customer-{n:012}")
}

fn create(streams: &Streams, from: u64, to: u64) {
    let new = NewStream {
        content_type: TEXT,
        ..NewStream::default()
    };
    let mut last = None;
    for n in from..to {
        last = Some(streams.create(&name(n), &new).unwrap());
    }
    if let Some(last) = last {
        last.wait().unwrap().unwrap();
    }
}

/// A sequence of numbers that looks random, the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Which stream is next.
#[derive(Clone, Copy)]
enum Choice {
    Uniform,
    /// The nth is chosen as often as 1 / n says.
    Zipf,
}

impl Choice {
    fn next(self, random: &mut Random, count: u64) -> u64 {
        match self {
            Self::Uniform => random.next() % count,
            // The inverse of the integral of 1 / x.
            Self::Zipf => (((count as f64).ln() * random.unit()).exp() as u64 - 1).min(count - 1),
        }
    }
}

/// Appends without waiting for each: every 256th is waited for, as if so many clients were there.
fn appends(streams: &Streams, names: &[String], choice: Choice, size: Size) -> f64 {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let request = Append {
        content_type: TEXT,
        messages: &[&BODY],
        ..Append::default()
    };
    let begun = Instant::now();
    for n in 0..size.appends {
        let which = choice.next(&mut random, names.len() as u64) as usize;
        let decision = streams.append(&names[which], &request).unwrap();
        if n % 256 == 255 || n + 1 == size.appends {
            decision.wait().unwrap().unwrap();
        }
    }
    size.appends as f64 / begun.elapsed().as_secs_f64()
}

fn throughput(dir: &Path, size: Size) {
    println!("appends of 256 bytes by one thread, 256 under way, in thousands a second:");
    println!(
        "{:>10} {:>9} {:>9} {:>14}",
        "streams", "uniform", "zipf", "after restart"
    );
    let mut opened: Vec<_> = size
        .counts
        .iter()
        .map(|count| {
            let dir = dir.join(count.to_string());
            let streams = Streams::open(&dir, Options::new()).unwrap();
            create(&streams, 0, *count);
            let names: Vec<String> = (0..*count).map(name).collect();
            (dir, Some(streams), names, [0.0_f64; 3])
        })
        .collect();
    // All in turn, and the best of each: other work of the machine comes and goes.
    for _ in 0..size.rounds {
        for (dir, streams, names, best) in &mut opened {
            for (at, choice) in [Choice::Uniform, Choice::Zipf].into_iter().enumerate() {
                let rate = appends(streams.as_ref().unwrap(), names, choice, size);
                best[at] = best[at].max(rate);
            }
            *streams = None;
            let again = Streams::open(&*dir, Options::new()).unwrap();
            best[2] = best[2].max(appends(&again, names, Choice::Uniform, size));
            *streams = Some(again);
        }
    }
    for (_, _, names, best) in &opened {
        let [uniform, zipf, again] = best.map(|rate| rate / 1000.0);
        println!(
            "{:>10} {uniform:>9.0} {zipf:>9.0} {again:>14.0}",
            names.len()
        );
    }
}

fn memory(dir: &Path, size: Size) {
    let streams = Streams::open(dir, Options::new()).unwrap();
    let begun = Instant::now();
    create(&streams, 0, size.many);
    println!(
        "\n{} streams with names of {} bytes:",
        size.many,
        name(0).len()
    );
    println!("  created in {:.2?}", begun.elapsed());
    let begun = Instant::now();
    streams.checkpoint().unwrap();
    println!(
        "  a checkpoint of what has changed in {:.2?}",
        begun.elapsed()
    );
    println!(
        "  {} bytes of memory each",
        streams.table_bytes() as u64 / size.many
    );
    streams.close().unwrap();
    drop(streams);
    let begun = Instant::now();
    let streams = Streams::open(dir, Options::new()).unwrap();
    println!("  opened in {:.2?}", begun.elapsed());
    assert_eq!(streams.stats().streams as u64, size.many);
    let producer = Some(Producer {
        id: "0b1c2d3e-4f50-6172-8394-a5b6c7d8e9f0",
        epoch: 0,
        sequence: 0,
    });
    let request = Append {
        content_type: TEXT,
        messages: &[b"x"],
        producer,
        ..Append::default()
    };
    let before = streams.table_bytes() as u64;
    let some = size.many / 10;
    for n in 0..some {
        let decision = streams.append(&name(n), &request).unwrap();
        if n + 1 == some {
            decision.wait().unwrap().unwrap();
        }
    }
    streams.checkpoint().unwrap();
    streams.tend().unwrap();
    println!(
        "  {} bytes more for one with a producer, whose id has 36",
        (streams.table_bytes() as u64 - before) / some
    );
}

/// Tells whether the system has let go of what it holds of files in memory.
fn drop_caches() -> bool {
    let _ = std::process::Command::new("sync").status();
    std::fs::write("/proc/sys/vm/drop_caches", "3").is_ok()
}

/// A stream with one append in each segment, the others being full of another one.
fn old_positions(dir: &Path, size: Size) {
    const SEGMENT: u64 = 512 << 10;
    println!("\nreading the first of 256 bytes of a stream with one append in each segment:");
    for segments in size.segments {
        let dir = dir.join(segments.to_string());
        let options = || Options::new().segment_bytes(SEGMENT);
        let streams = Streams::open(&dir, options()).unwrap();
        create(&streams, 0, 2);
        let filling = vec![b'y'; 60 << 10];
        for segment in 0..segments {
            for which in [1, 0] {
                let body: &[u8] = if which == 1 { &filling } else { &BODY };
                let repeat = if which == 1 && segments > 1 { 8 } else { 1 };
                for _ in 0..repeat {
                    let request = Append {
                        content_type: TEXT,
                        messages: &[body],
                        ..Append::default()
                    };
                    let decision = streams.append(&name(which), &request).unwrap();
                    if segment % 16 == 0 || segment + 1 == segments {
                        decision.wait().unwrap().unwrap();
                    }
                }
            }
        }
        streams.checkpoint().unwrap();
        let first = || {
            let begun = Instant::now();
            let page = streams
                .read(&name(0), From::Position(Position::new(0)), 256)
                .unwrap();
            assert_eq!(page.wait().unwrap().unwrap().data, BODY);
            begun.elapsed()
        };
        let cold = drop_caches();
        let elapsed = first();
        let again = first();
        let state = if cold {
            "from the disk"
        } else {
            "as it was in memory"
        };
        println!(
            "  across {segments:>5} segments: {elapsed:.0?} {state}, {again:.0?} the second time"
        );
    }
}
