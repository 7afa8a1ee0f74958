//! A program that only collects what its source stored, on a simulated disk.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    reason = "each test file uses its part, and a test fails by panicking"
)]

use highwater_connectors::Line;
use highwater_engine::wal::disk::{Disk, SimDisk};
use highwater_engine::{
    BatchMode, BoxError, DStream, Result, SourceStats, StreamScope, StreamingContext, wal,
};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// Longer than anything takes, so that a test that would hang fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What came out, by batch: a batch that runs again after a crash counts once.
#[derive(Debug, Clone, Default)]
pub(crate) struct Collected(Arc<(Mutex<Batches>, Condvar)>);

type Batches = BTreeMap<u64, Vec<String>>;

impl Collected {
    fn put(&self, batch: u64, lines: Vec<String>) {
        self.0.0.lock().unwrap().insert(batch, lines);
        self.0.1.notify_all();
    }

    /// A copy that goes its own way.
    pub(crate) fn fork(&self) -> Self {
        let batches = self.0.0.lock().unwrap().clone();
        Self(Arc::new((Mutex::new(batches), Condvar::new())))
    }

    pub(crate) fn put_lines(&self, batch: u64, lines: Vec<Line>) {
        self.put(batch, lines.into_iter().map(String::from).collect());
    }

    /// Everything, in order.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.0
            .0
            .lock()
            .unwrap()
            .values()
            .flatten()
            .cloned()
            .collect()
    }

    /// Everything, as soon as it is at least so many lines.
    pub(crate) fn wait_for(&self, count: usize) -> Vec<String> {
        let too_few = |batches: &mut Batches| batches.values().map(Vec::len).sum::<usize>() < count;
        let (guard, timeout) = self
            .0
            .1
            .wait_timeout_while(self.0.0.lock().unwrap(), PATIENCE, too_few)
            .unwrap();
        let lines: Vec<String> = guard.values().flatten().cloned().collect();
        assert!(
            !timeout.timed_out(),
            "{} of {count} lines came",
            lines.len()
        );
        lines
    }
}

/// A context on `disk` that collects the lines of `source`.
pub(crate) fn open(
    disk: Arc<dyn Disk>,
    mode: BatchMode,
    collected: &Collected,
    source: impl FnOnce(&StreamScope) -> DStream<Line>,
) -> Result<StreamingContext> {
    let collected = collected.clone();
    StreamingContext::builder("/app")
        .disk(disk)
        .log(wal::Options::new().segment_size(256 << 10))
        .batches(mode)
        .batch_interval(Duration::from_millis(5))
        .get_or_create(move |ssc| {
            source(ssc).for_each_batch("collect", move |batch, lines: Vec<Line>| {
                collected.put_lines(batch.id, lines);
            });
            Ok::<(), BoxError>(())
        })
}

/// [`open`] with batches by hand, on a clone of `disk`, started.
pub(crate) fn by_hand(
    disk: &SimDisk,
    collected: &Collected,
    source: impl FnOnce(&StreamScope) -> DStream<Line>,
) -> StreamingContext {
    let context = open(Arc::new(disk.clone()), BatchMode::Manual, collected, source).unwrap();
    context.start().unwrap();
    context
}

/// What the one source of `context` has done.
pub(crate) fn stats(context: &StreamingContext) -> SourceStats {
    context.sources().first().unwrap().1
}

/// A client of a line protocol.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    answers: BufReader<TcpStream>,
}

impl Client {
    pub(crate) fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let answers = BufReader::new(stream.try_clone().unwrap());
        Self { stream, answers }
    }

    pub(crate) fn send(&mut self, text: impl AsRef<[u8]>) {
        self.stream.write_all(text.as_ref()).unwrap();
    }

    /// The next answer; empty at the end of the connection.
    pub(crate) fn answer(&mut self) -> String {
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        answer.trim_end().to_owned()
    }

    /// The next answer, if there is one and the connection is there.
    pub(crate) fn try_answer(&mut self) -> Option<String> {
        let mut answer = String::new();
        let read = self.answers.read_line(&mut answer).ok()?;
        (read > 0).then(|| answer.trim_end().to_owned())
    }

    /// The LSN in the next answer, which must be `ok` for a line that was stored.
    pub(crate) fn ok(&mut self) -> u64 {
        self.lsn("")
    }

    /// The LSN in the next answer, which must be `ok` for a line that was not stored again.
    pub(crate) fn duplicate(&mut self) -> u64 {
        self.lsn(" duplicate")
    }

    fn lsn(&mut self, ending: &str) -> u64 {
        let answer = self.answer();
        let lsn = answer
            .strip_prefix("ok ")
            .and_then(|rest| rest.strip_suffix(ending));
        lsn.and_then(|lsn| lsn.parse().ok())
            .unwrap_or_else(|| panic!("the answer is {answer:?}, not ok <lsn>{ending}"))
    }

    /// Sends a line and waits for its `ok`.
    pub(crate) fn deliver(&mut self, line: &str) -> u64 {
        self.send(format!("{line}\n"));
        self.ok()
    }
}
