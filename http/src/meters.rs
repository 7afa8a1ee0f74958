//! What each server counts, by its name.

use highwater_wal::{Metric, MetricKind};
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use std::fmt;
use std::sync::OnceLock;
use std::time::Duration;

const OF_DOOR: &[&str] = &["door"];

/// The metrics of the servers. `door` is the name of one: of the source that receives, `states`,
/// `page`, `streams`, `kafka`, or what a program has named.
pub const METRICS: &[Metric] = &[
    Metric::new(
        "highwater_door_requests_total",
        MetricKind::Counter,
        &["door", "code"],
        "Requests that were answered, by the code of the answer: a status of HTTP, or an error code of Kafka.",
    ),
    Metric::new(
        "highwater_door_request_seconds",
        MetricKind::Histogram,
        OF_DOOR,
        "From the head of a request to the beginning of its answer.",
    ),
    Metric::new(
        "highwater_door_connections",
        MetricKind::Gauge,
        OF_DOOR,
        "Connections that are open.",
    ),
    Metric::new(
        "highwater_door_connections_refused_total",
        MetricKind::Counter,
        OF_DOOR,
        "Connections that were closed at once, because their address had as many as it may have.",
    ),
];

/// How many codes there may be.
const CODES: usize = 1000;

/// Those of one server.
pub struct Meters {
    door: String,
    /// By code, from the first answer that has it on.
    requests: Vec<OnceLock<Counter>>,
    seconds: Histogram,
    connections: Gauge,
}

impl fmt::Debug for Meters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meters")
            .field("door", &self.door)
            .finish_non_exhaustive()
    }
}

impl Meters {
    /// Those of the server with this name.
    #[must_use]
    pub fn new(door: &str) -> Self {
        METRICS.iter().for_each(Metric::describe);
        let door = door.to_owned();
        let labels = || [("door", door.clone())];
        Self {
            seconds: histogram!("highwater_door_request_seconds", &labels()),
            connections: gauge!("highwater_door_connections", &labels()),
            requests: (0..CODES).map(|_| OnceLock::new()).collect(),
            door,
        }
    }

    /// A request was answered: with the code of its protocol.
    pub fn answered(&self, code: u16, took: Duration) {
        if let Some(counter) = self.requests.get(usize::from(code)) {
            let counter = counter.get_or_init(|| {
                let labels = [("door", self.door.clone()), ("code", code.to_string())];
                counter!("highwater_door_requests_total", &labels)
            });
            counter.increment(1);
        }
        self.seconds.record(took);
    }

    /// A connection was closed at once.
    pub fn refused(&self) {
        let labels = [("door", self.door.clone())];
        counter!("highwater_door_connections_refused_total", &labels).increment(1);
    }

    /// A connection has a place, until the returned value is dropped.
    pub fn connected(&self) -> Connected {
        self.connections.increment(1.0);
        Connected(self.connections.clone())
    }
}

/// A connection that is open.
#[must_use]
pub struct Connected(Gauge);

impl fmt::Debug for Connected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connected")
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}
