//! The engine: word count from the log to the result, and the round trip of an empty batch.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::needless_pass_by_value,
    reason = "test code"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "benches measure with the real clock on the real disk"
)]

mod support;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use highwater::prelude::*;
use highwater::wal::disk::ManualClock;
use highwater::{BatchMode, BoxError, Receiver, SourceContext};
use std::collections::{HashMap, VecDeque};
use std::hint::black_box;
use std::num::NonZeroUsize;
use std::sync::mpsc::{Receiver as Done, Sender as Tell, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use support::{print_machine, scratch, sized};

const WORDS_PER_LINE: u64 = 10;
const VOCABULARY: u64 = 100_000;

/// Lines of ten words, the words Zipf-like over the vocabulary (the harmonic distribution by
/// inversion).
fn lines(count: u64) -> Vec<String> {
    let mut seed = 42_u64;
    let mut next = || {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (seed >> 11) as f64 / (1_u64 << 53) as f64
    };
    let mut word = || format!("w{}", ((VOCABULARY as f64).powf(next()) - 1.0).floor());
    (0..count)
        .map(|_| {
            (0..WORDS_PER_LINE)
                .map(|_| word())
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect()
}

/// Stores the same lines each time it is told to.
struct Feeder {
    lines: Arc<Vec<String>>,
    go: Mutex<Done<()>>,
    done: Tell<()>,
}

impl Receiver for Feeder {
    fn run(&mut self, source: &SourceContext) -> Result<(), BoxError> {
        while self.go.lock().unwrap().recv().is_ok() {
            for group in self.lines.chunks(512) {
                let records: Vec<&[u8]> = group.iter().map(|l| l.as_bytes()).collect();
                let _ = source.append(&records)?;
            }
            self.done.send(())?;
        }
        Ok(())
    }
}

/// How the words of a line become keys.
#[derive(Clone, Copy)]
enum Keys {
    Owned,
    Borrowed,
}

/// The counts of the words that a batch has.
fn counts(lines: &DStream<Line>, keys: Keys) -> DStream<u64> {
    match keys {
        Keys::Owned => lines
            .flat_map_into(|line: Line, out| {
                line.split_ascii_whitespace()
                    .for_each(|w| out.emit(w.to_owned()))
            })
            .map(|word| (word, 1_u64))
            .update_state_by_key_changed("counts", |_word, new, total: &mut Option<u64>| {
                *total = Some(total.unwrap_or(0) + new.iter().sum::<u64>());
            })
            .map(|(_, count)| count),
        Keys::Borrowed => lines
            .key_by_ref::<str, u64>(|line, out| {
                line.split_ascii_whitespace().for_each(|w| out.emit(w, 1))
            })
            .reduce(|total, n| *total += n)
            .update_state("counts", |_word, n, total: &mut KeyState<'_, u64>| {
                total.update(total.get().copied().unwrap_or(0) + n)
            })
            .map(|_, count| *count),
    }
}

fn word_count(c: &mut Criterion) {
    let corpus = Arc::new(lines(sized(400_000, 200)));
    let mut group = c.benchmark_group("word_count");
    group
        .sample_size(10)
        .measurement_time(Duration::from_secs(10));
    group.throughput(Throughput::Elements(corpus.len() as u64));
    let all = [
        (1, Keys::Owned),
        (2, Keys::Owned),
        (1, Keys::Borrowed),
        (2, Keys::Borrowed),
    ];
    for (workers, keys) in all {
        let dir = scratch();
        let ((go, told), (done, finished)) = (channel(), channel());
        let feeder = Feeder {
            lines: Arc::clone(&corpus),
            go: Mutex::new(told),
            done,
        };
        let total = Arc::new(Mutex::new(0_u64));
        let seen = Arc::clone(&total);
        let context = StreamingContext::builder(dir.path())
            .batches(BatchMode::Manual)
            .checkpoint(CheckpointPolicy::every_batches(1_000_000))
            .max_unprocessed_bytes(1 << 30)
            .workers(NonZeroUsize::new(workers).unwrap())
            .get_or_create(|ssc| {
                let decode = Arc::new(Line::decode);
                let lines = ssc.source("feeder", "lines", decode, feeder);
                counts(&lines, keys)
                    .transform(|counts, _| vec![counts.iter().sum::<u64>()])
                    .for_each_batch("total", move |_, sums| {
                        *seen.lock().unwrap() = sums.iter().sum()
                    });
                Ok(())
            })
            .unwrap();
        context.start().unwrap();
        let name = match keys {
            Keys::Owned => format!("lines, {workers} workers"),
            Keys::Borrowed => format!("lines, borrowed keys, {workers} workers"),
        };
        group.bench_function(name, |b| {
            b.iter_custom(|iterations| {
                let mut took = Duration::ZERO;
                for _ in 0..iterations {
                    go.send(()).unwrap();
                    finished.recv().unwrap();
                    let start = Instant::now();
                    context.run_batch().unwrap();
                    took += start.elapsed();
                }
                took
            });
        });
        println!(
            "  sum of the changed counts of the last batch: {}",
            total.lock().unwrap()
        );
        drop(go);
    }
}

/// A count of each word in the last 60 batches, emitted with every batch: 100,000 keys.
fn windowed_count(c: &mut Criterion) {
    const PANES: u64 = 60;
    let corpus = Arc::new(lines(sized(20_000, 200)));
    let mut group = c.benchmark_group("windowed_count");
    group.sample_size(10);
    group.throughput(Throughput::Elements(corpus.len() as u64));
    for has_inverse in [false, true] {
        let dir = scratch();
        let ((go, told), (done, finished)) = (channel(), channel());
        let feeder = Feeder {
            lines: Arc::clone(&corpus),
            go: Mutex::new(told),
            done,
        };
        let clock = Arc::new(ManualClock::new(1_700_000_000_000));
        let shared: Arc<ManualClock> = Arc::clone(&clock);
        let emitted = Arc::new(Mutex::new(0_usize));
        let seen = Arc::clone(&emitted);
        let context = StreamingContext::builder(dir.path())
            .batches(BatchMode::Manual)
            .clock(shared)
            .batch_interval(Duration::from_secs(1))
            .checkpoint(CheckpointPolicy::every_batches(1_000_000))
            .max_unprocessed_bytes(1 << 30)
            .get_or_create(|ssc| {
                let decode = Arc::new(Line::decode);
                let words = ssc.source("feeder", "lines", decode, feeder).flat_map_into(
                    |line: Line, out| {
                        line.split_ascii_whitespace()
                            .for_each(|w| out.emit((w.to_owned(), 1_u64)));
                    },
                );
                let (length, slide) = (Duration::from_secs(PANES), Duration::from_secs(1));
                let (add, subtract) = (|a, b| a + b, |a, b| a - b);
                let counts = if has_inverse {
                    words.reduce_by_key_and_window_inverse("counts", add, subtract, length, slide)
                } else {
                    words.reduce_by_key_and_window("counts", add, length, slide)
                };
                counts.for_each_batch("emitted", move |_, counts: Vec<(String, u64)>| {
                    *seen.lock().unwrap() = counts.len();
                });
                Ok(())
            })
            .unwrap();
        context.start().unwrap();
        let batch = || {
            clock.advance(Duration::from_secs(1));
            go.send(()).unwrap();
            finished.recv().unwrap();
            let start = Instant::now();
            context.run_batch().unwrap();
            start.elapsed()
        };
        for _ in 0..PANES {
            batch();
        }
        let name = if has_inverse {
            "with an inverse"
        } else {
            "without"
        };
        group.bench_function(name, |b| {
            b.iter_custom(|iterations| (0..iterations).map(|_| batch()).sum());
        });
        println!("  keys of the last window: {}", emitted.lock().unwrap());
        drop(go);
    }
    let mut window = PlainWindow::default();
    for _ in 0..PANES {
        window.slide(&corpus, PANES);
    }
    group.bench_function("bound: hash maps of one thread", |b| {
        b.iter(|| window.slide(&corpus, PANES).len());
    });
}

/// The same window in a plain program: a map of totals, and a map for each batch that is in it.
#[derive(Default)]
struct PlainWindow {
    totals: HashMap<String, u64>,
    batches: VecDeque<HashMap<String, u64>>,
}

impl PlainWindow {
    fn slide(&mut self, lines: &[String], panes: u64) -> Vec<(String, u64)> {
        let mut batch = HashMap::<String, u64>::new();
        for word in lines.iter().flat_map(|line| line.split_ascii_whitespace()) {
            match batch.get_mut(word) {
                Some(count) => *count += 1,
                None => drop(batch.insert(word.to_owned(), 1)),
            }
        }
        if self.batches.len() as u64 == panes
            && let Some(old) = self.batches.pop_front()
        {
            for (word, count) in old {
                if let Some(total) = self.totals.get_mut(&word) {
                    *total -= count;
                    if *total == 0 {
                        self.totals.remove(&word);
                    }
                }
            }
        }
        for (word, count) in &batch {
            match self.totals.get_mut(word) {
                Some(total) => *total += count,
                None => drop(self.totals.insert(word.clone(), *count)),
            }
        }
        self.batches.push_back(batch);
        let totals = self.totals.iter();
        totals.map(|(word, total)| (word.clone(), *total)).collect()
    }
}

/// A window with so many keys, of which so many change with each slide.
const KEYS: u64 = 100_000;
const CHANGED: u64 = 1_000;

/// What a slide changes: keys that no other batch of the window has, twice.
fn slide(number: u64) -> impl Iterator<Item = (u64, u64)> {
    let first = number * sized(CHANGED, 10);
    (first..first + sized(CHANGED, 10)).flat_map(|key| [(key, 1), (key, 2)])
}

/// A window of 100,000 keys, of which 1,000 change with each slide: what a slide costs in all, and
/// what it costs a plain program of one thread, whose window is a map of totals and a queue of the
/// batches that are in it. Both give all keys with every slide.
fn sliding_keys(c: &mut Criterion) {
    let panes = sized(KEYS / CHANGED, 10);
    let mut group = c.benchmark_group("sliding_keys");
    group.sample_size(10);
    for has_inverse in [false, true] {
        let dir = scratch();
        let clock = Arc::new(ManualClock::new(1_700_000_000_000));
        let shared: Arc<ManualClock> = Arc::clone(&clock);
        let emitted = Arc::new(Mutex::new(0_usize));
        let seen = Arc::clone(&emitted);
        let second = Duration::from_secs(1);
        let context = StreamingContext::builder(dir.path())
            .batches(BatchMode::Manual)
            .clock(shared)
            .batch_interval(second)
            .checkpoint(CheckpointPolicy::every_batches(1_000_000))
            .workers(NonZeroUsize::MIN)
            .get_or_create(|ssc| {
                let pairs = ssc.input::<(u64, u64)>("pairs");
                let length = second * panes as u32;
                let (add, subtract) = (|a, b| a + b, |a, b| a - b);
                let some = |_: &u64, total: &u64| *total > 0;
                let totals = if has_inverse {
                    pairs.reduce_by_key_and_window_inverse_with_filter(
                        "totals", add, subtract, length, second, some,
                    )
                } else {
                    pairs.reduce_by_key_and_window("totals", add, length, second)
                };
                totals.for_each_batch("emitted", move |_, totals: Vec<(u64, u64)>| {
                    *seen.lock().unwrap() = totals.len();
                });
                Ok(())
            })
            .unwrap();
        context.start().unwrap();
        let pairs = context.input::<(u64, u64)>("pairs").unwrap();
        let mut number = 0;
        let mut batch = || {
            clock.advance(second);
            let records: Vec<(u64, u64)> = slide(number).collect();
            number += 1;
            pairs.send_all(&records).unwrap().wait().unwrap();
            let start = Instant::now();
            context.run_batch().unwrap();
            start.elapsed()
        };
        for _ in 0..panes + 1 {
            batch();
        }
        let name = match has_inverse {
            true => "with an inverse",
            false => "without",
        };
        group.bench_function(name, |b| {
            b.iter_custom(|iterations| (0..iterations).map(|_| batch()).sum());
        });
        println!("  keys of the last window: {}", emitted.lock().unwrap());
    }
    let mut totals = HashMap::<u64, u64>::new();
    let mut window = VecDeque::<Vec<(u64, u64)>>::new();
    let mut number = 0;
    let mut batch = || {
        let records: Vec<(u64, u64)> = slide(number).collect();
        number += 1;
        let start = Instant::now();
        if window.len() as u64 == panes
            && let Some(old) = window.pop_front()
        {
            for (key, n) in old {
                let total = totals.entry(key).or_default();
                *total -= n;
                if *total == 0 {
                    totals.remove(&key);
                }
            }
        }
        for (key, n) in &records {
            *totals.entry(*key).or_default() += n;
        }
        window.push_back(records);
        let emitted: Vec<(u64, u64)> = totals.iter().map(|(key, n)| (*key, *n)).collect();
        black_box(emitted);
        start.elapsed()
    };
    for _ in 0..panes + 1 {
        batch();
    }
    group.bench_function("bound: a map and a queue", |b| {
        b.iter_custom(|iterations| (0..iterations).map(|_| batch()).sum());
    });
}

/// Two streams of so many records, with as many keys.
fn sides() -> [Vec<(u64, u64)>; 2] {
    let count = sized(100_000, 100);
    let side = |odd: u64| (0..count).map(move |n| (n.wrapping_mul(odd) % count, n));
    [side(7_919).collect(), side(104_729).collect()]
}

/// A join of two streams, each with 100,000 records, of which all have one partner; beside two hash
/// maps of one thread.
fn join(c: &mut Criterion) {
    let [left, right] = sides();
    let mut group = c.benchmark_group("join");
    group.sample_size(10);
    group.throughput(Throughput::Elements(left.len() as u64 * 2));
    for workers in [1, 2] {
        let dir = scratch();
        let joined = Arc::new(Mutex::new(0_usize));
        let seen = Arc::clone(&joined);
        let context = StreamingContext::builder(dir.path())
            .batches(BatchMode::Manual)
            .checkpoint(CheckpointPolicy::every_batches(1_000_000))
            .max_unprocessed_bytes(1 << 30)
            .workers(NonZeroUsize::new(workers).unwrap())
            .get_or_create(|ssc| {
                let (left, right) = (ssc.input::<(u64, u64)>("left"), ssc.input("right"));
                left.join(&right).for_each_batch(
                    "joined",
                    move |_, pairs: Vec<(u64, (u64, u64))>| {
                        *seen.lock().unwrap() = pairs.len();
                    },
                );
                Ok(())
            })
            .unwrap();
        context.start().unwrap();
        let send = |name: &str, records: &[(u64, u64)]| {
            let input = context.input::<(u64, u64)>(name).unwrap();
            for records in records.chunks(1000) {
                input.send_all(records).unwrap().wait().unwrap();
            }
        };
        group.bench_function(format!("{workers} workers"), |b| {
            b.iter_custom(|iterations| {
                let mut took = Duration::ZERO;
                for _ in 0..iterations {
                    send("left", &left);
                    send("right", &right);
                    let start = Instant::now();
                    context.run_batch().unwrap();
                    took += start.elapsed();
                }
                took
            });
        });
        assert_eq!(*joined.lock().unwrap(), left.len(), "each has one partner");
    }
    group.bench_function("bound: two hash maps", |b| {
        b.iter(|| {
            let mut by_key = HashMap::<u64, (Vec<u64>, Vec<u64>)>::new();
            for (key, value) in &left {
                by_key.entry(*key).or_default().0.push(*value);
            }
            for (key, value) in &right {
                by_key.entry(*key).or_default().1.push(*value);
            }
            let mut pairs = Vec::new();
            for (key, (left, right)) in &by_key {
                for v in left {
                    pairs.extend(right.iter().map(|w| (*key, (*v, *w))));
                }
            }
            black_box(pairs).len()
        });
    });
}

fn empty_batch(c: &mut Criterion) {
    let mut group = c.benchmark_group("empty_batch");
    for workers in [1, 2] {
        let dir = scratch();
        let context = StreamingContext::builder(dir.path())
            .batches(BatchMode::Manual)
            .checkpoint(CheckpointPolicy::every_batches(1_000_000))
            .workers(NonZeroUsize::new(workers).unwrap())
            .get_or_create(|ssc| {
                ssc.input::<String>("words")
                    .map(|word| (word, 1_u64))
                    .update_state_by_key_changed("counts", |_word, new, total: &mut Option<u64>| {
                        *total = Some(total.unwrap_or(0) + new.iter().sum::<u64>());
                    })
                    .for_each_batch("nothing", |_, _| ());
                Ok(())
            })
            .unwrap();
        context.start().unwrap();
        group.bench_function(
            format!("cut durable, run, commit, {workers} workers"),
            |b| {
                b.iter(|| context.run_batch().unwrap());
            },
        );
    }
}

fn machine(_: &mut Criterion) {
    print_machine();
}

criterion_group!(
    benches,
    machine,
    word_count,
    windowed_count,
    sliding_keys,
    join,
    empty_batch
);
criterion_main!(benches);
