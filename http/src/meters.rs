//! What each server counts, by its name.

use crate::service::Service;
use highwater_wal::{Metric, MetricKind};
use hyper::StatusCode;
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use std::sync::OnceLock;
use std::time::Duration;

const OF_DOOR: &[&str] = &["door"];

/// The metrics of the servers. `door` is the name of one: of the source that receives, `states`,
/// `page`, or what a program has named.
pub const METRICS: &[Metric] = &[
    Metric::new(
        "highwater_door_requests_total",
        MetricKind::Counter,
        &["door", "code"],
        "Requests that were answered, by the status of the answer.",
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

/// The lowest status, and how many there may be.
const FIRST_STATUS: usize = 100;
const STATUSES: usize = 900;

/// Those of one server.
pub(crate) struct Meters {
    door: String,
    /// By status, from the first answer that has it on.
    requests: Vec<OnceLock<Counter>>,
    seconds: Histogram,
    connections: Gauge,
}

impl Meters {
    pub(crate) fn new(service: &impl Service) -> Self {
        METRICS.iter().for_each(Metric::describe);
        let door = service.name().to_owned();
        let labels = || [("door", door.clone())];
        Self {
            seconds: histogram!("highwater_door_request_seconds", &labels()),
            connections: gauge!("highwater_door_connections", &labels()),
            requests: (0..STATUSES).map(|_| OnceLock::new()).collect(),
            door,
        }
    }

    /// A request was answered.
    pub(crate) fn answered(&self, status: StatusCode, took: Duration) {
        let place = usize::from(status.as_u16()).saturating_sub(FIRST_STATUS);
        if let Some(counter) = self.requests.get(place) {
            let counter = counter.get_or_init(|| {
                let labels = [
                    ("door", self.door.clone()),
                    ("code", status.as_str().to_owned()),
                ];
                counter!("highwater_door_requests_total", &labels)
            });
            counter.increment(1);
        }
        self.seconds.record(took);
    }

    /// A connection was closed at once.
    pub(crate) fn refused(&self) {
        let labels = [("door", self.door.clone())];
        counter!("highwater_door_connections_refused_total", &labels).increment(1);
    }

    /// A connection has a place, until the returned value is dropped.
    pub(crate) fn connected(&self) -> Connected {
        self.connections.increment(1.0);
        Connected(self.connections.clone())
    }
}

/// A connection that is open.
pub(crate) struct Connected(Gauge);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}
