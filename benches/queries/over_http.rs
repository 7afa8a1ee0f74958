//! The same over HTTP: a record is posted, and answered when it is durable; its position goes into
//! a question, whose answer contains it. One client, one connection to each server.

use crate::{Addition, Run, Size, fill, send};
use highwater::prelude::*;
use highwater::{HttpOptions, StateDoorOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream: BufReader::new(stream),
        }
    }

    /// The body of an answer with status 200.
    fn ask(&mut self, request: &str) -> String {
        self.stream.get_mut().write_all(request.as_bytes()).unwrap();
        let (mut line, mut length) = (String::new(), 0);
        self.stream.read_line(&mut line).unwrap();
        assert!(line.contains(" 200 "), "{line}");
        while line != "\r\n" {
            line.clear();
            self.stream.read_line(&mut line).unwrap();
            let lower = line.to_ascii_lowercase();
            if let Some(value) = lower.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).unwrap();
        String::from_utf8(body).unwrap()
    }
}

fn lsn_of(answer: &str) -> u64 {
    let (_, rest) = answer.split_once("\"lsn\":").unwrap();
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next();
    digits.unwrap().parse().unwrap()
}

/// From sending a record to an answer that contains it, while others send `per_second`.
pub(crate) fn readable(size: Size, interval: Duration, per_second: f64) -> Vec<Duration> {
    let posted = BoundAddress::new();
    let run = start(interval, &posted);
    fill(&run, size.keys);
    crate::rest(Duration::from_secs_f64(size.seconds / 5.0)); // batches catch up
    let states = run
        .context
        .serve_states("127.0.0.1:0", StateDoorOptions::new());
    let states = states.unwrap();
    let stop = AtomicBool::new(false);
    let took = std::thread::scope(|scope| {
        scope.spawn(|| send(&run, size.keys, Some(per_second), &stop));
        let mut sender = Client::connect(posted.get().unwrap());
        let mut asker = Client::connect(states.local_addr());
        let post = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 7\r\n\r\n[[5,1]]";
        let (began, mut took) = (Instant::now(), Vec::new());
        while began.elapsed().as_secs_f64() < size.seconds {
            let sent = Instant::now();
            let lsn = lsn_of(&sender.ask(post));
            let get =
                format!("GET /state/sums/5?min_lsn={lsn} HTTP/1.1\r\nHost: localhost\r\n\r\n");
            asker.ask(&get);
            took.push(sent.elapsed());
        }
        stop.store(true, Ordering::Relaxed);
        took
    });
    drop(states);
    let mut took = took;
    took.sort_unstable();
    took
}

fn start(interval: Duration, posted: &BoundAddress) -> Run {
    let dir = crate::support::scratch();
    let options = HttpOptions::new().report_to(posted);
    let context = StreamingContext::builder(dir.path().join("app"))
        .batch_interval(interval)
        .get_or_create(|ssc| {
            let posted = ssc.http_json::<Addition>("posted", "127.0.0.1:0", options);
            ssc.input::<Addition>("added")
                .union(&posted)
                .update_state_by_key_changed(
                    "sums",
                    |_: &u64, new: &[u64], sum: &mut StateGuard<u64>| {
                        *sum.get_or_insert_with(|| 0) += new.iter().sum::<u64>();
                    },
                )
                .for_each_batch("nowhere", |_, _| ());
            Ok(())
        })
        .unwrap();
    context.start().unwrap();
    Run { context, _dir: dir }
}
