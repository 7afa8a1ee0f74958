//! A program that counts a corpus, batch by batch, and the source that feeds it.

use crate::bench::corpus::Corpus;
use crate::bench::programs::{INTERVAL, Program};
use crate::fail::OrFail;
use highwater::disk::Clock;
use highwater::{
    BatchMode, BoxError, CheckpointPolicy, Line, Receiver, SourceContext, StreamingContext,
};
use highwater_log::outcome::{Failure, Result};
use parking_lot::Mutex;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, channel};
use std::time::Duration;

/// Records in a frame of the log, as a busy receiver would store them.
const FRAME: usize = 512;
/// A corpus is one batch.
const MAX_BATCH_BYTES: u64 = 8 << 30;
/// Out of the way: checkpoints are measured elsewhere.
const BATCHES_PER_CHECKPOINT: u64 = 1_000_000;

/// A running program with a corpus that it has not read yet.
#[derive(Debug)]
pub(crate) struct Workload {
    /// Dropped before the context, whose source waits for it.
    go: mpsc::Sender<()>,
    context: StreamingContext,
    fed: Mutex<mpsc::Receiver<std::result::Result<(), String>>>,
    /// What the output of the newest batch added up to.
    result: Arc<AtomicU64>,
}

/// Stores the corpus each time it is told to.
struct Feeder {
    corpus: Arc<Corpus>,
    go: Mutex<mpsc::Receiver<()>>,
    fed: mpsc::Sender<std::result::Result<(), String>>,
}

impl Receiver for Feeder {
    fn run(&mut self, source: &SourceContext) -> std::result::Result<(), BoxError> {
        while self.go.lock().recv().is_ok() {
            let stored = store(source, &self.corpus).map_err(|e| e.to_string());
            self.fed.send(stored)?;
        }
        Ok(())
    }
}

fn store(source: &SourceContext, corpus: &Corpus) -> highwater::Result<()> {
    let mut last = None;
    let mut frame = Vec::with_capacity(FRAME);
    for line in corpus.lines() {
        frame.push(line.as_bytes());
        if frame.len() == FRAME {
            last = Some(source.append(&frame)?);
            frame.clear();
        }
    }
    if !frame.is_empty() {
        last = Some(source.append(&frame)?);
    }
    last.map_or(Ok(()), |lsn| source.sync_to(lsn))
}

impl Workload {
    /// Starts `program` in the new directory `dir`.
    pub(crate) fn start(
        dir: &Path,
        program: Program,
        workers: NonZeroUsize,
        corpus: &Arc<Corpus>,
    ) -> Result<Self> {
        let ((go, told), (fed, finished)) = (channel(), channel());
        let feeder = Feeder {
            corpus: Arc::clone(corpus),
            go: Mutex::new(told),
            fed,
        };
        let result = Arc::new(AtomicU64::new(0));
        let sum = Arc::clone(&result);
        let context = StreamingContext::builder(dir)
            .application("highwater-bench")
            .batches(BatchMode::Manual)
            .batch_interval(INTERVAL)
            .checkpoint(CheckpointPolicy::every_batches(BATCHES_PER_CHECKPOINT))
            .max_unprocessed_bytes(MAX_BATCH_BYTES)
            .max_batch_bytes(MAX_BATCH_BYTES)
            .workers(workers)
            .get_or_create(move |ssc| {
                let lines = ssc.source("corpus", "lines", Arc::new(Line::decode), feeder);
                let tell = move |total| sum.store(total, Ordering::Relaxed);
                program.build(ssc, &lines, tell);
                Ok(())
            })
            .or_fail()?;
        context.start().or_fail()?;
        Ok(Self {
            go,
            context,
            fed: Mutex::new(finished),
            result,
        })
    }

    /// Stores the corpus once, durably, and then runs it as one batch. Returns how long the batch
    /// took, from the cut to the commit, and what its output added up to.
    pub(crate) fn round(&self, clock: &dyn Clock) -> Result<(Duration, u64)> {
        let ended = |_| Failure::Io("the source of the bench has ended".to_owned());
        self.go.send(()).map_err(|_| ended(mpsc::RecvError))?;
        self.fed
            .lock()
            .recv()
            .map_err(ended)?
            .map_err(Failure::Io)?;
        self.empty_batch(clock)
    }

    /// Runs a batch of what is there, which may be nothing.
    pub(crate) fn empty_batch(&self, clock: &dyn Clock) -> Result<(Duration, u64)> {
        let start = clock.now();
        self.context.run_batch().or_fail()?;
        let took = clock.now().saturating_sub(start);
        Ok((took, self.result.load(Ordering::Relaxed)))
    }
}
