//! What a server counts, and that its README says so.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use highwater_http::METRICS;
use highwater_http::body::Told;
use highwater_http::server::Bound;
use highwater_http::service::{Access, Service};
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

/// Answers with the path as its status.
struct Echo(Access);

impl Service for Echo {
    type Body = Told;

    fn name(&self) -> &'static str {
        "echo"
    }

    fn access(&self) -> &Access {
        &self.0
    }

    fn report_error(&self, _reason: String) {}

    async fn answer(&self, request: Request<Incoming>) -> Response<Told> {
        let status = request.uri().path().trim_start_matches('/').parse();
        let mut answer = Response::new(Told::whole("said"));
        *answer.status_mut() = StatusCode::from_u16(status.unwrap()).unwrap();
        answer
    }

    fn has_no_place(&self) -> Response<Told> {
        Response::new(Told::whole("no place"))
    }
}

fn connect(addr: SocketAddr) -> TcpStream {
    TcpStream::connect(addr).unwrap()
}

fn ask(stream: &mut TcpStream, path: &str) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut said = Vec::new();
    while !said.ends_with(b"said") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        said.extend(byte);
    }
}

#[test]
fn each_request_and_each_connection_counts() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    recorder.install().unwrap();
    let bound = Bound::listen("127.0.0.1:0").unwrap();
    let server = bound.start("echo", Echo(Access::new(10, 2))).unwrap();
    let addr = server.local_addr();
    let (mut first, mut second) = (connect(addr), connect(addr));
    ask(&mut first, "/200");
    ask(&mut first, "/200");
    ask(&mut second, "/404");
    // The address has as many as it may have: the third one is closed.
    let mut third = connect(addr);
    assert_eq!(third.read(&mut [0]).unwrap(), 0);
    let seen = || -> BTreeMap<String, DebugValue> {
        let metrics = snapshotter.snapshot().into_vec().into_iter();
        let metrics = metrics.map(|(key, _, help, value)| {
            assert!(help.is_some(), "{key:?} has no help text");
            let labels = key
                .key()
                .labels()
                .map(|label| format!("{}={}", label.key(), label.value()));
            let labels: Vec<String> = labels.collect();
            (format!("{} {}", key.key().name(), labels.join(" ")), value)
        });
        metrics.collect()
    };
    let found = seen();
    let value = |name: &str| {
        found
            .get(name)
            .unwrap_or_else(|| panic!("{name} in {found:?}"))
    };
    assert_eq!(
        *value("highwater_door_requests_total door=echo code=200"),
        DebugValue::Counter(2)
    );
    assert_eq!(
        *value("highwater_door_requests_total door=echo code=404"),
        DebugValue::Counter(1)
    );
    assert_eq!(
        *value("highwater_door_connections door=echo"),
        DebugValue::Gauge(2.0.into())
    );
    assert_eq!(
        *value("highwater_door_connections_refused_total door=echo"),
        DebugValue::Counter(1)
    );
    match value("highwater_door_request_seconds door=echo") {
        DebugValue::Histogram(samples) => assert_eq!(samples.len(), 3),
        other => panic!("{other:?}"),
    }
    let names: BTreeSet<&str> = found
        .keys()
        .map(|key| key.split(' ').next().unwrap())
        .collect();
    let listed: BTreeSet<&str> = METRICS.iter().map(|metric| metric.name).collect();
    assert_eq!(names, listed);
    let readme = include_str!("../README.md");
    for metric in METRICS {
        let said = metric.help.trim_end_matches('.').to_lowercase();
        assert!(
            readme.contains(metric.name) && readme.to_lowercase().contains(&said),
            "{said}"
        );
    }
    drop((first, second));
    drop(server);
    // A look takes what there was: since then two have gone.
    assert_eq!(
        seen().get("highwater_door_connections door=echo"),
        Some(&DebugValue::Gauge((-2.0).into()))
    );
}
