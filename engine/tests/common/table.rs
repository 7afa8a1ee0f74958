//! Tables of operators: input batches beside the batches that must come out.
//!
//! A [`Table`] is run with one, two and three workers and with small chunks. It is stopped in the
//! middle and started again; it is killed and loses power in the middle, and its producers resend.
//! Each time every batch must be what the table says. Every run must also agree with the first one
//! to the order of the records, whatever order the table asks for.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code"
)]

use super::builder;
use highwater_engine::wal::disk::{ManualClock, SimDisk};
use highwater_engine::{
    CheckpointPolicy, DStream, Record, Result, StopMode, StreamScope, StreamingContext, Value,
};
use parking_lot::Mutex;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

/// Time between two batches, in milliseconds.
pub(crate) const INTERVAL_MS: u64 = 1000;

/// When batch 0 would have been; batch `n` has the time `START_MS + n * INTERVAL_MS`.
pub(crate) const START_MS: u64 = 1_700_000_000_000;

/// Checkpoints are this rare where a run is meant to replay everything.
const NEVER: u64 = 1000;

/// Chunks of so many log bytes hold about one record.
const SMALL_CHUNKS: u64 = 64;

/// As large as by default.
const LARGE_CHUNKS: u64 = 512 << 10;

/// More records of one batch are not meant: each record has the number of its batch times this.
const MAX_RECORDS: u64 = 1_000_000;

/// A record as it is compared: what decides its order, and what it is.
type Row = (String, String);

/// The rows of every output of a batch.
type Rows = Vec<Vec<Row>>;

/// What came out, by batch and output.
type Seen = Arc<Mutex<BTreeMap<(u64, usize), Vec<Row>>>>;

/// Sends records, numbered from the number given on.
type SendFn = Box<dyn Fn(&StreamingContext, u64) -> Result<()>>;

/// Records of one source, one frame each.
pub(crate) struct Records {
    source: String,
    count: usize,
    send: SendFn,
}

/// Records for the input `source`. Those of one batch are sent in the order in which they stand.
pub(crate) fn records<T: Value>(
    source: &str,
    records: impl IntoIterator<Item = impl Into<T>>,
) -> Records {
    let records: Vec<T> = records.into_iter().map(Into::into).collect();
    let name = source.to_owned();
    Records {
        source: source.to_owned(),
        count: records.len(),
        send: Box::new(move |context, first| {
            let input = context.input::<T>(&name)?;
            for (record, number) in records.iter().zip(first..) {
                input.send_once("producer", number, record)?.wait()?;
            }
            Ok(())
        }),
    }
}

/// The outputs of a program: a stream, or a tuple of them. A `DStream` is compared in its order,
/// [`ByKey`] for each key alone, [`AnyOrder`] without one.
pub(crate) trait Outputs {
    /// What is expected of a batch.
    type Batch;

    fn attach(self, seen: &Seen, next: &mut usize);

    fn rows(batch: Self::Batch, rows: &mut Rows);
}

/// A stream of a keyed operator: the order in which keys come is not said.
pub(crate) struct ByKey<K, V>(pub(crate) DStream<(K, V)>);

/// A stream whose order is not said.
pub(crate) struct AnyOrder<T>(pub(crate) DStream<T>);

fn attach<T: Record>(
    stream: &DStream<T>,
    seen: &Seen,
    next: &mut usize,
    row: impl Fn(&T) -> Row + Send + Sync + 'static,
) {
    let (seen, output) = (Arc::clone(seen), *next);
    *next += 1;
    stream.for_each_batch(&format!("out{output}"), move |batch, records: Vec<T>| {
        let rows: Vec<Row> = records.iter().map(&row).collect();
        let before = seen.lock().insert((batch.id, output), rows.clone());
        assert!(
            before.is_none_or(|before| before == rows),
            "{batch} ran again with another result"
        );
    });
}

fn exact<T: Debug>(record: &T) -> Row {
    (String::new(), format!("{record:?}"))
}

fn by_key<K: Debug, V: Debug>(record: &(K, V)) -> Row {
    (format!("{:?}", record.0), format!("{record:?}"))
}

fn any_order<T: Debug>(record: &T) -> Row {
    (format!("{record:?}"), format!("{record:?}"))
}

impl<T: Record + Debug> Outputs for DStream<T> {
    type Batch = Vec<T>;

    fn attach(self, seen: &Seen, next: &mut usize) {
        attach(&self, seen, next, exact);
    }

    fn rows(batch: Vec<T>, rows: &mut Rows) {
        rows.push(batch.iter().map(exact).collect());
    }
}

impl<K: Record + Debug, V: Record + Debug> Outputs for ByKey<K, V> {
    type Batch = Vec<(K, V)>;

    fn attach(self, seen: &Seen, next: &mut usize) {
        attach(&self.0, seen, next, by_key);
    }

    fn rows(batch: Vec<(K, V)>, rows: &mut Rows) {
        rows.push(batch.iter().map(by_key).collect());
    }
}

impl<T: Record + Debug> Outputs for AnyOrder<T> {
    type Batch = Vec<T>;

    fn attach(self, seen: &Seen, next: &mut usize) {
        attach(&self.0, seen, next, any_order);
    }

    fn rows(batch: Vec<T>, rows: &mut Rows) {
        rows.push(batch.iter().map(any_order).collect());
    }
}

impl<A: Outputs, B: Outputs> Outputs for (A, B) {
    type Batch = (A::Batch, B::Batch);

    fn attach(self, seen: &Seen, next: &mut usize) {
        self.0.attach(seen, next);
        self.1.attach(seen, next);
    }

    fn rows(batch: Self::Batch, rows: &mut Rows) {
        A::rows(batch.0, rows);
        B::rows(batch.1, rows);
    }
}

/// Puts rows into the order in which they are compared. Rows of one key keep theirs.
fn comparable(mut rows: Vec<Row>) -> Vec<String> {
    rows.sort_by(|a, b| a.0.cmp(&b.0));
    rows.into_iter().map(|(_, record)| record).collect()
}

struct TableBatch {
    input: Vec<Records>,
    /// `None`: no output is called.
    expected: Option<Rows>,
}

/// A program, its input batches, and what must come out of each.
///
/// ```ignore
/// Table::new(|ssc| ssc.input::<u64>("in").map(|n| n + 1))
///     .batch([records("in", [1_u64, 2])], vec![2, 3])
///     .batch([], vec![])
///     .batch([records("in", [7_u64])], vec![8])
///     .check();
/// ```
pub(crate) struct Table<S: Outputs> {
    program: Box<dyn Fn(&StreamScope) -> S>,
    batches: Vec<TableBatch>,
}

/// One run of a table.
#[derive(Debug, Clone, Copy)]
struct Run {
    workers: usize,
    chunk_bytes: u64,
    /// A checkpoint is taken after every so many batches.
    every: u64,
}

/// How a life ends.
#[derive(Debug, Clone, Copy)]
enum End {
    /// After the last batch.
    Finished,
    /// A graceful stop, which cuts and runs this batch.
    Stop(u64),
    /// The process goes without a word after this batch. What was given to the kernel stays.
    KilledAfter(u64),
    /// The same after the input of this batch was sent, before its cut.
    KilledBefore(u64),
    /// The power fails before this operation of the disk.
    PowerCut(u64),
}

impl<S: Outputs> Table<S> {
    /// A table of `program`, which is built anew for each life.
    pub(crate) fn new(program: impl Fn(&StreamScope) -> S + 'static) -> Self {
        Self {
            program: Box::new(program),
            batches: Vec::new(),
        }
    }

    /// The next batch: what is sent, and what comes out.
    pub(crate) fn batch(
        mut self,
        input: impl IntoIterator<Item = Records>,
        expected: S::Batch,
    ) -> Self {
        let mut rows = Rows::new();
        S::rows(expected, &mut rows);
        self.batches.push(TableBatch {
            input: input.into_iter().collect(),
            expected: Some(rows),
        });
        self
    }

    /// The next batch, in which no output is called: no window ends there.
    pub(crate) fn silent(mut self, input: impl IntoIterator<Item = Records>) -> Self {
        self.batches.push(TableBatch {
            input: input.into_iter().collect(),
            expected: None,
        });
        self
    }

    /// Runs the table in all ways.
    ///
    /// # Panics
    /// If a batch comes out otherwise. If the table says too little: fewer than three batches, none
    /// without input, none with output.
    pub(crate) fn check(self) {
        self.refuse_what_proves_nothing();
        let run = Run {
            workers: 1,
            chunk_bytes: LARGE_CHUNKS,
            every: 2,
        };
        let first = self.check_lives(run, &[(run, End::Finished)], None);
        for workers in 1..=3 {
            for chunk_bytes in [SMALL_CHUNKS, LARGE_CHUNKS] {
                let run = Run {
                    workers,
                    chunk_bytes,
                    ..run
                };
                self.check_lives(run, &[(run, End::Finished)], Some(&first));
                self.check_interrupted(run, &first);
            }
        }
    }

    /// Ends the run at every batch, in every way, and goes on with another number of workers.
    fn check_interrupted(&self, run: Run, first: &Outcome) {
        for at in 1..self.batches.len() as u64 {
            for end in [
                End::Stop(at),
                End::KilledAfter(at),
                End::KilledBefore(at + 1),
            ] {
                for every in [1, NEVER] {
                    let before = Run { every, ..run };
                    let after = Run {
                        workers: 1 + (run.workers + usize::try_from(at).unwrap()) % 3,
                        ..before
                    };
                    let lives = [(before, end), (after, End::Finished)];
                    self.check_lives(run, &lives, Some(first));
                }
            }
        }
        // Before a tenth of all operations, others with each number of workers.
        for operation in (run.workers as u64..first.operations).step_by(11) {
            let after = Run {
                workers: 1 + run.workers % 3,
                ..run
            };
            let lives = [(run, End::PowerCut(operation)), (after, End::Finished)];
            self.check_lives(run, &lives, Some(first));
        }
    }

    fn refuse_what_proves_nothing(&self) {
        let count = self.batches.len();
        assert!(count >= 3, "{count} batches cannot be cut in the middle");
        let is_empty = |batch: &TableBatch| batch.input.iter().all(|records| records.count == 0);
        assert!(
            self.batches.iter().any(is_empty),
            "no batch is without input: say what comes out of an empty one"
        );
        assert!(
            self.batches.iter().any(|batch| !is_empty(batch)),
            "no batch has input"
        );
        let outputs = self.expected().next().map_or(0, |(_, rows)| rows.len());
        assert!(outputs > 0, "nothing is expected of any batch");
        for output in 0..outputs {
            let mut batches = self.expected();
            assert!(
                batches.any(|(_, rows)| !rows[output].is_empty()),
                "nothing ever comes out of output {output}"
            );
        }
    }

    /// Batches in which outputs are called, by number.
    fn expected(&self) -> impl Iterator<Item = (u64, &Rows)> {
        let batches = (1..).zip(&self.batches);
        batches.filter_map(|(number, batch)| Some((number, batch.expected.as_ref()?)))
    }

    /// Lives one after the other on one disk, then compares.
    fn check_lives(&self, run: Run, lives: &[(Run, End)], first: Option<&Outcome>) -> Outcome {
        let seen = Seen::default();
        let (mut disk, wall) = (SimDisk::new(), Cell::new(START_MS));
        for (number, (run, end)) in (0_u64..).zip(lives) {
            if let End::PowerCut(operation) = end {
                disk.cut_power_before(*operation);
            }
            let lived = self.live(&disk, *run, *end, &wall, &seen);
            match end {
                End::PowerCut(operation) => disk = disk.restart_after_power_cut(*operation),
                _ => lived.unwrap_or_else(|e| panic!("life {number} of {lives:?}: {e}")),
            }
            if matches!(end, End::KilledAfter(_) | End::KilledBefore(_)) {
                disk = disk.kill_process();
            }
        }
        let seen = std::mem::take(&mut *seen.lock());
        for ((number, output), rows) in &seen {
            let at = usize::try_from(number - 1).unwrap();
            let silent = self.batches.get(at).is_some_and(|b| b.expected.is_none());
            assert!(
                !silent,
                "batch {number} of output {output} has {rows:?}, {lives:?}"
            );
        }
        for (number, rows) in self.expected() {
            for (output, expected) in rows.iter().enumerate() {
                let found = seen.get(&(number, output)).cloned();
                let found = found.unwrap_or_else(|| panic!("batch {number} is missing, {lives:?}"));
                assert_eq!(
                    comparable(found),
                    comparable(expected.clone()),
                    "batch {number} of output {output}, {lives:?}"
                );
            }
        }
        if let Some(first) = first {
            assert_eq!(
                seen, first.seen,
                "the order differs from that of the first run, {run:?}, {lives:?}"
            );
        }
        Outcome {
            seen,
            operations: disk.mutations(),
        }
    }

    /// One life: what was not cut yet is sent again. Every batch has its own time; `wall` is the
    /// wall clock, which goes on from life to life.
    fn live(
        &self,
        disk: &SimDisk,
        run: Run,
        end: End,
        wall: &Cell<u64>,
        seen: &Seen,
    ) -> Result<()> {
        let clock = Arc::new(ManualClock::new(wall.get()));
        let shared: Arc<ManualClock> = Arc::clone(&clock);
        let context = builder(disk, run.workers)
            .clock(shared)
            .seed(7)
            .chunk_bytes(run.chunk_bytes)
            .checkpoint(CheckpointPolicy::every_batches(run.every))
            .get_or_create(|ssc| {
                (self.program)(ssc).attach(seen, &mut 0);
                Ok(())
            })?;
        context.start()?;
        let done = context.progress().last_batch.unwrap_or(0);
        for (batch, number) in self
            .batches
            .iter()
            .zip(1..)
            .skip(usize::try_from(done).unwrap())
        {
            let time = START_MS + number * INTERVAL_MS;
            clock.advance(Duration::from_millis(time.saturating_sub(wall.get())));
            wall.set(wall.get().max(time));
            let mut next = number * MAX_RECORDS;
            for records in &batch.input {
                (records.send)(&context, next)?;
                next += records.count as u64;
            }
            match end {
                End::Stop(at) if at == number => return context.stop(StopMode::Graceful),
                End::KilledBefore(at) if at == number => return Ok(()),
                _ => {}
            }
            let batch = context.run_batch()?;
            assert_eq!(batch.id, number, "every batch of the table is one");
            assert_eq!(batch.time_ms, time, "the time of batch {number}");
            if matches!(end, End::KilledAfter(at) if at == number) {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// What came out of a run.
struct Outcome {
    seen: BTreeMap<(u64, usize), Vec<Row>>,
    /// Operations of the disk.
    operations: u64,
}
