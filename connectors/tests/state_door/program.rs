//! A program with states of several kinds, and their server.

use crate::common::PATIENCE;
use highwater_connectors::{BoundAddress, HttpOptions, Line, ServeStates, Sources};
use highwater_connectors::{StateDoorOptions, StateServer};
use highwater_engine::wal::disk::{ManualClock, SimDisk};
use highwater_engine::{
    BatchMode, BoxError, CheckpointPolicy, DStream, Key, State, StateGuard, StopMode, StreamScope,
    StreamingContext, Value,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// A text that counts how often it becomes JSON.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Counted(pub(crate) String);

static COUNTED: AtomicUsize = AtomicUsize::new(0);

/// How many of them were written as JSON.
pub(crate) fn counted() -> usize {
    COUNTED.load(Ordering::SeqCst)
}

impl Serialize for Counted {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            COUNTED.fetch_add(1, Ordering::SeqCst);
        }
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Counted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self)
    }
}

/// A key of which a test sees that it is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
pub(crate) struct Watched(String);

static ASKED: (Mutex<usize>, Condvar) = (Mutex::new(0), Condvar::new());

/// Waits until such a key was asked for `count` times.
pub(crate) fn wait_until_asked(count: usize) {
    let asked = ASKED.0.lock().unwrap();
    let (_asked, timeout) = ASKED
        .1
        .wait_timeout_while(asked, PATIENCE, |asked| *asked < count)
        .unwrap();
    assert!(!timeout.timed_out());
}

impl Serialize for Watched {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            *ASKED.0.lock().unwrap() += 1;
            ASKED.1.notify_all();
        }
        serializer.serialize_str(&self.0)
    }
}

/// The sums of what was added to each key; a key is gone when its sum is a multiple of ten.
fn sums<K: Key>(added: &DStream<(K, i64)>, name: &str) {
    let sums =
        added.update_state_by_key_changed(name, |_: &K, new: &[i64], sum: &mut StateGuard<i64>| {
            *sum.get_or_insert_with(|| 0) += new.iter().sum::<i64>();
            if sum.get().is_some_and(|sum| sum % 10 == 0) {
                sum.remove();
            }
        });
    sums.for_each_batch(&format!("{name} out"), |_, _: Vec<(K, i64)>| ());
}

/// What was put there last.
fn last<V: Value, S: State>(
    ssc: &StreamScope,
    name: &str,
    state: impl Fn(&V) -> S + Send + Sync + 'static,
) {
    let last = ssc
        .input::<(String, V)>(&format!("{name} in"))
        .update_state_by_key_changed(
            name,
            move |_: &String, new: &[V], last: &mut StateGuard<S>| {
                if let Some(new) = new.last() {
                    *last.get_or_insert_with(|| state(new)) = state(new);
                }
            },
        );
    last.map(|_| ())
        .for_each_batch(&format!("{name} out"), |_, _| ());
}

/// A state that JSON cannot write, unless it is empty.
type Pairs = BTreeMap<(u8, u8), u8>;

/// What stops the program inside a batch, if it is shut.
pub(crate) struct Gate {
    pub(crate) arrived: Mutex<Sender<()>>,
    pub(crate) leave: Mutex<Receiver<()>>,
}

pub(crate) struct World {
    pub(crate) disk: SimDisk,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) events: BoundAddress,
    pub(crate) mode: BatchMode,
    pub(crate) gate: Option<Arc<Gate>>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            disk: SimDisk::new(),
            clock: Arc::new(ManualClock::new(1_700_000_000_000)),
            events: BoundAddress::new(),
            mode: BatchMode::Manual,
            gate: None,
        }
    }

    /// Not started.
    pub(crate) fn open(&self) -> StreamingContext {
        let options = HttpOptions::new().report_to(&self.events);
        let gate = self.gate.clone();
        let program = move |ssc: &StreamScope| -> Result<(), BoxError> {
            let added = ssc.input::<(String, i64)>("added");
            let added = added.map(move |(key, number)| {
                assert_ne!(key, "boom", "an operator fails");
                if key == "slow"
                    && let Some(gate) = &gate
                {
                    gate.arrived.lock().unwrap().send(()).unwrap();
                    let left = gate.leave.lock().unwrap().recv_timeout(PATIENCE);
                    left.expect("the test lets it go on");
                }
                (key, number)
            });
            sums(&added, "sums");
            sums(&ssc.input::<(u64, i64)>("numbered"), "numbers");
            sums(&ssc.input::<(Watched, i64)>("watch"), "watched");
            let lines = ssc.http_with("events", "127.0.0.1:0", options);
            sums(&lines.map(|line: Line| (line.to_string(), 1)), "lines");
            last(ssc, "texts", Counted::clone);
            last(ssc, "pairs", |pairs: &Vec<(u8, u8)>| {
                pairs.iter().map(|pair| (*pair, 1)).collect::<Pairs>()
            });
            Ok(())
        };
        StreamingContext::builder("/app")
            .disk(Arc::new(self.disk.clone()))
            .clock(Arc::<ManualClock>::clone(&self.clock))
            .batches(self.mode)
            .batch_interval(Duration::from_millis(5))
            .checkpoint(CheckpointPolicy::every_batches(1000))
            .get_or_create(program)
            .unwrap()
    }

    pub(crate) fn serve(&self, options: StateDoorOptions) -> Running {
        let context = self.open();
        let server = context.serve_states("127.0.0.1:0", options).unwrap();
        context.start().unwrap();
        Running { context, server }
    }
}

/// A program that runs, and the server of its states.
pub(crate) struct Running {
    pub(crate) server: StateServer,
    pub(crate) context: StreamingContext,
}

pub(crate) fn run() -> Running {
    World::new().serve(StateDoorOptions::new())
}

impl Running {
    pub(crate) fn addr(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// Stores it; where it is in the log.
    pub(crate) fn put<T: Value>(&self, input: &str, value: &T) -> u64 {
        let ack = self.context.input::<T>(input).unwrap().send(value).unwrap();
        let lsn = ack.lsn().get();
        ack.wait().unwrap();
        lsn
    }

    pub(crate) fn add(&self, key: &str, number: i64) -> u64 {
        self.put("added", &(key.to_owned(), number))
    }

    pub(crate) fn batch(&self) -> u64 {
        self.context.run_batch().unwrap().id
    }

    pub(crate) fn stop(&self) {
        self.context.stop(StopMode::Graceful).unwrap();
    }
}
