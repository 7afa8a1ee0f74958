//! Bad records: with their place, left out when the client asks for that, read as a type.

use crate::client::{Client, serve};
use crate::common::{Collected, stats};
use highwater_connectors::{BoundAddress, HttpOptions, Sources};
use highwater_engine::wal::disk::SimDisk;
use highwater_engine::{BatchMode, BoxError, StopMode, StreamingContext};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

const NDJSON: &str = "application/x-ndjson";

#[test]
fn with_on_error_skip_the_good_lines_are_stored_and_the_bad_ones_told() {
    let (disk, collected) = (SimDisk::new(), Collected::default());
    let (context, addr) = serve(&disk, &collected, HttpOptions::new());
    let mut client = Client::connect(addr);
    let body = "1\n{\n\n2\n}\n";
    let refused = client.post_to("/", NDJSON, body);
    let reason = refused.body["reason"].as_str().unwrap();
    assert!(
        refused.status == 400 && reason.starts_with("line 2: no JSON"),
        "{refused:?}"
    );

    let stored = client.post_to("/?on_error=skip", NDJSON, body);
    assert_eq!(stored.accepted().1, 2);
    let skipped = &stored.body["skipped"];
    assert_eq!(skipped["count"], 2, "{stored:?}");
    assert_eq!(
        [&skipped["first"][0]["at"], &skipped["first"][1]["at"]],
        ["line 2", "line 5"]
    );
    assert!(client.post_to("/?on_error=skip", NDJSON, "3").body["skipped"]["count"] == 0);
    assert!(
        client
            .post_to("/", NDJSON, "4")
            .body
            .get("skipped")
            .is_none()
    );

    let nothing = client.post_to("/?on_error=skip", NDJSON, "{\n}");
    assert_eq!(
        (nothing.status, &nothing.body["stored"]),
        (400, &false.into())
    );
    assert_eq!(client.post_to("/?on_error=no", NDJSON, "5").status, 400);
    assert_eq!(
        stats(&context).skipped,
        5,
        "a refused request counts once, a skipped line too"
    );
    context.run_batch().unwrap();
    assert_eq!(collected.lines(), ["1", "2", "3", "4"]);
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Order {
    id: u64,
    cents: i64,
}

type Orders = Arc<Mutex<Vec<Order>>>;

fn orders(disk: &SimDisk, seen: &Orders) -> (StreamingContext, SocketAddr) {
    let (bound, seen) = (BoundAddress::new(), Arc::clone(seen));
    let options = HttpOptions::new().report_to(&bound);
    let context = StreamingContext::builder("/app")
        .disk(Arc::new(disk.clone()))
        .batches(BatchMode::Manual)
        .get_or_create(move |ssc| {
            let orders = ssc.http_json::<Order>("orders", "127.0.0.1:0", options);
            orders.for_each_batch("out", move |_, orders| {
                seen.lock().unwrap().extend(orders);
            });
            Ok::<(), BoxError>(())
        })
        .unwrap();
    context.start().unwrap();
    (context, bound.get().unwrap())
}

/// A record that its source cannot read would fail its batch for ever.
#[test]
fn what_is_no_value_of_the_type_is_refused_at_the_door_with_its_place() {
    let (disk, seen) = (SimDisk::new(), Orders::default());
    let (context, addr) = orders(&disk, &seen);
    let mut client = Client::connect(addr);
    let order = |id: u64| format!("{{\"id\": {id}, \"cents\": -5, \"note\": \"\"}}");
    let bad = "{\"id\": -1, \"cents\": 0}";
    for (content_type, body, place) in [
        (
            NDJSON,
            format!("{}\n\n{bad}\n", order(0)),
            "line 3: invalid value: integer `-1`",
        ),
        (
            "application/json",
            format!("[{}, {}, {bad}]", order(0), order(1)),
            "element 3: invalid",
        ),
        ("application/json", bad.to_owned(), "element 1: invalid"),
        (
            "application/octet-stream",
            bad.to_owned(),
            "the body: invalid",
        ),
        (
            "text/plain",
            format!("{}\nno JSON", order(0)),
            "line 2: expected",
        ),
    ] {
        let refused = client.post_to("/", content_type, body);
        let reason = refused.body["reason"].as_str().unwrap();
        assert!(
            refused.status == 400 && reason.starts_with(place),
            "{refused:?}"
        );
    }
    let two = format!("{}\n{bad}\n{}", order(1), order(2));
    let stored = client.post_to("/?on_error=skip", NDJSON, &two);
    assert_eq!(stored.accepted().1, 2);
    assert_eq!(stored.body["skipped"]["first"][0]["at"], "line 2");
    let array = format!("[{bad}, {}]", order(3));
    assert_eq!(
        client
            .post_to("/?on_error=skip", "application/json", array)
            .accepted()
            .1,
        1
    );
    context.stop(StopMode::Immediate).unwrap();
    drop(context);

    let (context, addr) = orders(&disk, &seen);
    Client::connect(addr)
        .post_to("/", "application/json", order(4))
        .accepted();
    context.run_batch().unwrap();
    let expected: Vec<Order> = (1..=4).map(|id| Order { id, cents: -5 }).collect();
    assert_eq!(*seen.lock().unwrap(), expected);
}
