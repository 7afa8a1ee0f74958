//! A thousand producers send to a process that is killed again and again.

use crate::client::Client;
use highwater_connectors::{BoundAddress, HttpOptions, Line, Sources};
use highwater_engine::{BatchMode, BoxError, CheckpointPolicy, StreamingContext, wal};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

const DIRECTORY: &str = "HIGHWATER_TEST_HTTP_DIRECTORY";
const PRODUCERS: usize = 1000;
const REQUESTS: usize = 8;
/// Each has a connection.
const THREADS: usize = 125;
const KILLS: usize = 6;

type Counts = Arc<Mutex<BTreeMap<String, u64>>>;

/// Counts each line; the newest counts of all are in `counts`.
fn program(
    dir: &Path,
    mode: BatchMode,
    bound: &BoundAddress,
    counts: &Counts,
) -> Result<StreamingContext, BoxError> {
    let options = HttpOptions::new().report_to(bound);
    let counts = Arc::clone(counts);
    let context = StreamingContext::builder(dir)
        .log(wal::Options::new().segment_size(1 << 20))
        .batches(mode)
        .batch_interval(Duration::from_millis(20))
        .checkpoint(CheckpointPolicy::every_batches(5))
        .get_or_create(move |ssc| {
            ssc.http_with("lines", "127.0.0.1:0", options)
                .map(|line: Line| (String::from(line), 1_u64))
                .update_state_by_key(
                    "lines counted",
                    |_, new: &[u64], count: &mut Option<u64>| {
                        *count.get_or_insert_default() += new.iter().sum::<u64>();
                    },
                )
                .for_each_batch("newest", move |_, all: Vec<(String, u64)>| {
                    *counts.lock().unwrap() = all.into_iter().collect();
                });
            Ok::<(), BoxError>(())
        })?;
    context.start()?;
    Ok(context)
}

/// The process that gets killed: says where it listens.
#[test]
fn child() -> Result<(), BoxError> {
    let Ok(dir) = std::env::var(DIRECTORY) else {
        return Ok(());
    };
    let bound = BoundAddress::new();
    let context = program(dir.as_ref(), BatchMode::Clock, &bound, &Counts::default())?;
    println!("\nlistens {}", bound.get().ok_or("no address")?);
    std::io::stdout().flush()?;
    context.await_termination()?;
    Ok(())
}

fn spawn(dir: &Path) -> (Child, SocketAddr) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kills::child", "--nocapture", "--test-threads=1"])
        .env(DIRECTORY, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let addr = output.lines().map_while(Result::ok).find_map(|line| {
        let addr = line.strip_prefix("listens ")?;
        Some(addr.parse().unwrap())
    });
    (child, addr.expect("the child listens"))
}

/// What the parent and its senders tell each other.
#[derive(Default)]
struct Board {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// The number of the newest life, and where it listens.
    life: Option<(usize, SocketAddr)>,
    answered: usize,
}

impl Board {
    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
        self.changed.notify_all();
    }

    fn wait<T>(&self, found: impl Fn(&State) -> Option<T>) -> T {
        let state = self.state.lock().unwrap();
        let state = self
            .changed
            .wait_while(state, |state| found(state).is_none());
        found(&state.unwrap()).unwrap()
    }

    /// A connection to the newest life.
    fn connect(&self) -> Client {
        let mut dead = None;
        loop {
            let (life, addr) = self.wait(|state| state.life.filter(|life| Some(life.0) > dead));
            match TcpStream::connect(addr) {
                Ok(stream) => return Client::of(stream),
                Err(_) => dead = Some(life), // nothing listens there any more
            }
        }
    }
}

fn line(producer: usize, request: usize) -> String {
    format!("{producer}-{request}")
}

/// Sends the requests of some producers in turn, each until it is answered with 200. Some are sent
/// once more. Returns how many were recognised.
fn send_all(producers: Range<usize>, board: &Board) -> u64 {
    let (mut client, mut duplicates) = (board.connect(), 0);
    for request in 0..REQUESTS {
        for producer in producers.clone() {
            let (id, sequence) = (format!("p{producer}"), request.to_string());
            let key = line(producer, request);
            let numbered = [("Producer-Id", &*id), ("Producer-Seq", &*sequence)];
            let headers = match producer % 3 {
                0 => numbered.to_vec(),
                1 => [&numbered[..], &[("Producer-Epoch", "1")]].concat(),
                _ => vec![("Idempotency-Key", &*key)],
            };
            let mut left = 1 + usize::from(producer % 5 == 0);
            while left > 0 {
                client.send(&headers, key.as_bytes());
                match client.try_answer() {
                    Some(answer) if answer.status == 200 => {
                        duplicates += answer.accepted().2;
                        left -= 1;
                    }
                    Some(answer) => assert!([429, 503].contains(&answer.status), "{answer:?}"),
                    None => client = board.connect(),
                }
            }
            board.change(|state| state.answered += 1);
        }
    }
    duplicates
}

/// F67, F69: of all that is answered nothing is lost, and nothing counts twice, whenever the
/// process dies.
#[test]
fn a_thousand_producers_lose_and_double_nothing_while_the_process_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app");
    let (board, total) = (Board::default(), PRODUCERS * REQUESTS);
    let each = PRODUCERS / THREADS;
    let duplicates: u64 = thread::scope(|scope| {
        let board = &board;
        let senders = (0..THREADS).map(|at| at * each..(at + 1) * each);
        let senders: Vec<_> = senders
            .map(|producers| scope.spawn(move || send_all(producers, board)))
            .collect();
        for life in 0..=KILLS {
            let (mut child, addr) = spawn(&path);
            board.change(|state| state.life = Some((life, addr)));
            let enough = total * (life + 1) / (KILLS + 1);
            board.wait(|state| (state.answered >= enough).then_some(()));
            child.kill().unwrap();
            child.wait().unwrap();
        }
        senders
            .into_iter()
            .map(|sender| sender.join().unwrap())
            .sum()
    });
    // Besides those that were sent twice on purpose.
    let on_purpose = (total / 5) as u64;
    assert!(
        duplicates > on_purpose,
        "no answer was ever lost with its process: {duplicates}"
    );

    let counts = Counts::default();
    let context = program(&path, BatchMode::Manual, &BoundAddress::new(), &counts).unwrap();
    context.run_batch().unwrap();
    let expected = (0..PRODUCERS).flat_map(|p| (0..REQUESTS).map(move |r| (line(p, r), 1)));
    let (counts, expected) = (counts.lock().unwrap(), expected.collect::<BTreeMap<_, _>>());
    let wrong: Vec<_> = expected
        .iter()
        .filter(|(line, _)| counts.get(*line) != Some(&1))
        .collect();
    assert!(
        wrong.is_empty() && counts.len() == total,
        "{} {wrong:?}",
        counts.len()
    );
}
