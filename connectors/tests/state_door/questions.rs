//! What is asked, how keys are written, and what is refused.

use crate::client::{Client, escape};
use crate::program::{Counted, World, run};
use highwater_connectors::{ServeStates, StateDoorOptions};
use serde_json::json;

#[test]
fn keys_lists_and_names_are_answered() {
    let world = run();
    let mut client = Client::connect(world.addr());
    let early = client.get("/state/sums/a");
    assert_eq!(early.refusal(), (404, "no_such_key"));
    assert_eq!(
        (&early.body["batch"], &early.body["lsn"]),
        (&json!(null), &json!(0))
    );
    for (key, number) in [("a", 1), ("b", 2), ("c", 3)] {
        world.add(key, number);
    }
    let batch = world.batch();
    let answer = client.get("/state/sums/b");
    assert_eq!(answer.status, 200);
    let (lsn, time) = (&answer.body["lsn"], &answer.body["time_ms"]);
    assert!(lsn.as_u64() > Some(0) && time.as_u64() >= Some(1_700_000_000_000));
    let expected = json!({
        "key": "b", "value": 2, "batch": batch, "lsn": lsn, "time_ms": time, "recovering": false
    });
    assert_eq!(answer.body, expected);
    for (name, value) in [
        ("content-type", "application/json"),
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{answer:?}");
    }
    assert!(!answer.head.contains("access-control"), "{answer:?}");
    assert_eq!(client.get("/state/sums?key=%22b%22").body, expected);

    let missing = client.get("/state/sums/d");
    assert_eq!(missing.refusal(), (404, "no_such_key"));
    assert_eq!(
        (&missing.body["batch"], &missing.body["lsn"]),
        (&json!(batch), lsn)
    );

    let names = client.get("/state");
    let named: Vec<_> = ["sums", "numbers", "watched", "lines", "texts", "pairs"]
        .map(|name| json!({ "name": name }))
        .into();
    assert_eq!(names.body["states"], json!(named));
    assert_eq!(
        (&names.body["batch"], &names.body["lsn"]),
        (&json!(batch), lsn)
    );
}

#[test]
fn lists_say_whether_there_is_more() {
    let world = run();
    for key in ["a/1", "a/2", "a/3", "b"] {
        world.add(key, 1);
    }
    world.batch();
    let mut client = Client::connect(world.addr());
    let mut list = |query: &str| {
        let answer = client.get(&format!("/state/sums?{query}"));
        assert_eq!(answer.status, 200, "{answer:?}");
        let entries = answer.body["entries"].as_array().unwrap();
        let keys: Vec<_> = entries
            .iter()
            .map(|e| e["key"].as_str().unwrap().to_owned())
            .collect();
        assert!(entries.iter().all(|entry| entry["value"] == 1));
        (keys.join(" "), answer.body["more"].as_bool().unwrap())
    };
    for (query, keys, more) in [
        ("", "a/1 a/2 a/3 b", false),
        ("limit=4", "a/1 a/2 a/3 b", false),
        ("limit=3", "a/1 a/2 a/3", true),
        ("prefix=a%2F&limit=2", "a/1 a/2", true),
        ("prefix=a/&limit=2&after=a/2", "a/3", false),
        ("prefix=a/&limit=3", "a/1 a/2 a/3", false),
        ("after=b", "", false),
        ("prefix=c", "", false),
        ("prefix=&after=", "a/1 a/2 a/3 b", false),
    ] {
        assert_eq!(list(query), (keys.to_owned(), more), "{query}");
    }
}

#[test]
fn a_list_ends_where_it_becomes_too_long() {
    let world = World::new().serve(StateDoorOptions::new().max_answer_bytes(1000));
    for key in ["a", "b", "c"] {
        world.put("texts in", &(key.to_owned(), Counted("x".repeat(600))));
    }
    world.batch();
    let mut client = Client::connect(world.addr());
    for (target, keys, more) in [
        ("/state/texts", vec!["a"], true),
        ("/state/texts?after=a", vec!["b"], true),
        ("/state/texts?after=b", vec!["c"], false),
    ] {
        let answer = client.get(target);
        let entries = answer.body["entries"].as_array().unwrap();
        let found: Vec<_> = entries.iter().map(|e| e["key"].as_str().unwrap()).collect();
        assert_eq!(
            (found, &answer.body["more"]),
            (keys, &json!(more)),
            "{target}"
        );
    }
}

#[test]
fn every_key_can_be_written() {
    let world = run();
    let keys = [
        "",
        "a/b",
        "100%",
        "%41",
        "42",
        "null",
        "é/ü 日本",
        "a+b",
        "a b",
        "..",
        ".",
        "a?b#c&d=e",
        "\"q\"",
        "\\",
        "\n\u{0}",
        "key",
        "changes",
        "//",
    ];
    for (number, key) in keys.iter().enumerate() {
        world.add(key, i64::try_from(10 * number + 1).unwrap());
    }
    world.put("numbered", &(42_u64, 7_i64));
    world.batch();
    let mut client = Client::connect(world.addr());
    for (number, key) in keys.iter().enumerate() {
        let json = serde_json::to_string(key).unwrap();
        for target in [
            format!("/state/sums/{}", escape(key)),
            format!("/state/%73ums?key={}", escape(&json)),
        ] {
            let answer = client.get(&target);
            assert_eq!(answer.status, 200, "{key:?} {answer:?}");
            let (key, value) = (json!(key), json!(10 * number + 1));
            assert_eq!((&answer.body["key"], &answer.body["value"]), (&key, &value));
        }
    }
    // As it is written: in a path a plus is a plus, in a query it is a space.
    assert_eq!(client.get("/state/sums/a+b").body["key"], "a+b");
    assert_eq!(client.get("/state/sums?key=%22a+b%22").body["key"], "a b");
    assert_eq!(
        client.get("/state/sums/a%3fb%23c&d=e").body["key"],
        "a?b#c&d=e"
    );
    for target in [
        "/state/numbers/42",
        "/state/numbers?key=42",
        "/state/numbers?key=+42+",
    ] {
        let answer = client.get(target);
        assert_eq!(
            (&answer.body["key"], &answer.body["value"]),
            (&json!(42), &json!(7))
        );
    }
}

#[test]
fn what_is_no_question_is_refused() {
    let world = run();
    world.add("a", 1);
    world.batch();
    let mut client = Client::connect(world.addr());
    let long = "1".repeat(30);
    let long = format!("/state/sums/a?min_lsn={long}");
    for (target, status, error, reason) in [
        ("/", 404, "no_such_path", "/state/{name}"),
        ("/states", 404, "no_such_path", "/state/{name}"),
        ("/state/sums/a/b", 404, "no_such_path", "%2F"),
        ("/state/sums/a/", 404, "no_such_path", "%2F"),
        ("/changes", 404, "no_such_path", "/changes/{name}"),
        ("/changes/sums/a", 404, "no_such_path", "/changes/{name}"),
        ("/state/nothing/a", 404, "no_such_state", "sums, numbers"),
        ("/state/nothing", 404, "no_such_state", "\"nothing\""),
        ("/state/", 404, "no_such_state", "\"\""),
        ("/changes/nothing", 404, "no_such_state", "\"nothing\""),
        ("/state/numbers/x", 400, "no_key", "no key of the state"),
        ("/state/numbers/", 400, "no_key", "no key of the state"),
        ("/state/numbers/-1", 400, "no_key", "no key of the state"),
        (
            "/state/numbers?key=%2242%22",
            400,
            "no_key",
            "no key of the state",
        ),
        ("/state/sums?key=a", 400, "no_key", "no key of the state"),
        ("/state/sums?key=", 400, "no_key", "no key of the state"),
        ("/state/sums/%", 400, "bad_request", "hexadecimal"),
        ("/state/sums/%4", 400, "bad_request", "hexadecimal"),
        ("/state/sums/%zz", 400, "bad_request", "hexadecimal"),
        ("/state/sums/%ff", 400, "bad_request", "UTF-8"),
        ("/state/%ff/a", 400, "bad_request", "UTF-8"),
        ("/state/sums?prefix=%f", 400, "bad_request", "hexadecimal"),
        ("/state/sums/a?", 200, "", ""),
        ("/state/sums/a?a", 400, "bad_request", "name=value"),
        ("/state/sums/a?&", 400, "bad_request", "name=value"),
        ("/state/sums/a?recovering", 400, "bad_request", "name=value"),
        ("/state/sums/a?wait_ms=1&", 400, "bad_request", "name=value"),
        (
            "/state/sums/a?wait_ms=1&wait_ms=1",
            400,
            "bad_request",
            "twice",
        ),
        (
            "/state/sums/a?wait_ms=1&wait%5fms=1",
            400,
            "bad_request",
            "twice",
        ),
        ("/state/sums/a?Wait_ms=1", 400, "bad_request", "\"Wait_ms\""),
        ("/state/sums/a?key=1", 400, "bad_request", "\"key\""),
        ("/state/sums/a?limit=1", 400, "bad_request", "\"limit\""),
        (
            "/state/sums?key=%22a%22&limit=1",
            400,
            "bad_request",
            "\"limit\"",
        ),
        ("/state/sums?offset=1", 400, "bad_request", "\"offset\""),
        ("/state?limit=1", 400, "bad_request", "\"limit\""),
        ("/changes/sums?min_lsn=1", 400, "bad_request", "\"min_lsn\""),
        ("/state/sums?limit=0", 400, "bad_request", "from 1 to 1000"),
        (
            "/state/sums?limit=1001",
            400,
            "bad_request",
            "from 1 to 1000",
        ),
        ("/state/sums?limit=", 400, "bad_request", "a number"),
        ("/state/sums?limit=-1", 400, "bad_request", "a number"),
        ("/state/sums?limit=%2B1", 400, "bad_request", "a number"),
        ("/state/sums?limit=+1", 400, "bad_request", "a number"),
        ("/state/sums?limit=1e2", 400, "bad_request", "a number"),
        (
            "/state/sums/a?wait_ms=10001",
            400,
            "bad_request",
            "from 0 to 10000",
        ),
        ("/state/sums/a?min_lsn=0x10", 400, "bad_request", "a number"),
        (
            "/state/sums/a?min_lsn=18446744073709551616",
            400,
            "bad_request",
            "a number",
        ),
        (&long, 400, "bad_request", "a number"),
        (
            "/state/sums/a?recovering=yes",
            400,
            "bad_request",
            "true or false",
        ),
        (
            "/state/sums/a?recovering=",
            400,
            "bad_request",
            "true or false",
        ),
        ("/state/sums/a?recovering=false", 200, "", ""),
    ] {
        let answer = client.get(target);
        assert_eq!(answer.refusal(), (status, error), "{target} {answer:?}");
        assert!(answer.reason().contains(reason), "{target} {answer:?}");
    }
}

#[test]
fn a_state_that_is_no_json_is_told() {
    let world = run();
    world.put("pairs in", &("odd".to_owned(), vec![(1_u8, 2_u8)]));
    world.put("pairs in", &("even".to_owned(), Vec::<(u8, u8)>::new()));
    world.batch();
    let mut client = Client::connect(world.addr());
    for target in ["/state/pairs/odd", "/state/pairs"] {
        let answer = client.get(target);
        assert_eq!(answer.refusal(), (500, "not_json"), "{target}");
    }
    let even = client.get("/state/pairs/even");
    assert_eq!((even.status, &even.body["value"]), (200, &json!({})));
}

#[test]
fn states_are_only_read() {
    let world = run();
    world.add("a", 1);
    world.batch();
    let head = |target: &str| {
        let mut client = Client::connect(world.addr());
        client.send("HEAD", target, "Connection: close\r\n");
        let head = client.head();
        assert_eq!(client.rest(), b"", "{head}");
        head
    };
    let whole = Client::connect(world.addr()).get("/state/sums/a");
    let found = head("/state/sums/a");
    let length = whole.header("content-length").unwrap();
    assert!(found.starts_with("http/1.1 200 "), "{found}");
    assert!(
        found.contains(&format!("content-length: {length}\r\n")),
        "{found}"
    );
    assert!(head("/state/sums/b").starts_with("http/1.1 404 "));
    let feed = head("/changes/sums");
    assert!(
        feed.starts_with("http/1.1 200 ") && feed.contains("text/event-stream"),
        "{feed}"
    );
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "get"] {
        let mut client = Client::connect(world.addr());
        client.send(method, "/state/sums/a", "");
        let answer = client.answer();
        assert_eq!(answer.refusal(), (405, "method_not_allowed"));
        assert_eq!(answer.header("allow"), Some("get, head"));
        assert_eq!(client.rest(), b"");
    }
    for body in ["Content-Length: 1\r\n", "Transfer-Encoding: chunked\r\n"] {
        let mut client = Client::connect(world.addr());
        client.send("GET", "/state/sums/a", body);
        assert_eq!(client.answer().refusal(), (400, "bad_request"));
        assert_eq!(client.rest(), b"");
    }
}

#[test]
fn only_some_states_are_served_if_the_program_says_so() {
    let world = World::new();
    let context = world.open();
    let only = |names: &[&str]| {
        let options = StateDoorOptions::new().only(names.iter().copied());
        context.serve_states("127.0.0.1:0", options)
    };
    let error = only(&["sums", "nothing"]).unwrap_err().to_string();
    assert!(error.contains("no state \"nothing\""), "{error}");
    let server = only(&["numbers"]).unwrap();
    context.start().unwrap();
    let mut client = Client::connect(server.local_addr());
    assert_eq!(
        client.get("/state").body["states"],
        json!([{ "name": "numbers" }])
    );
    assert_eq!(
        client.get("/state/sums/a").refusal(),
        (404, "no_such_state")
    );
    let none = only(&[]).unwrap();
    let mut client = Client::connect(none.local_addr());
    assert_eq!(client.get("/state?min_lsn=1").body, json!({ "states": [] }));
}
