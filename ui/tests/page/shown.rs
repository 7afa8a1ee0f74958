//! What is shown is what is so.

use crate::client::get;
use crate::program::{HOSTILE, START_MS, shown, shown_on};
use highwater::StopMode;
use highwater::disk::SimDisk;
use highwater_ui::UiOptions;
use serde_json::json;
use std::time::Duration;

#[test]
fn the_twins_say_what_the_program_did() {
    let shown = shown();
    for n in 0..5 {
        shown.send("a");
        if n == 2 {
            shown.send("bad");
        }
        shown.context.run_batch().unwrap();
        shown.clock.advance(Duration::from_secs(1));
    }
    shown.send("later");
    shown.clock.advance(Duration::from_secs(7));
    let twin = |name: &str| get(shown.addr(), &format!("/api/v1/{name}")).json();
    let sources = twin("sources");
    let lines = &sources["sources"][1];
    let expected = json!({
        "name": "lines", "stored": 7, "duplicates": 0, "skipped": 0, "forgotten": 0,
        "lag_records": 1, "lag_bytes": 6, "lag_ms": 7000, "rate_limit": null,
    });
    assert_eq!(*lines, expected);
    assert_eq!(sources["sources"][0]["name"], HOSTILE);
    let batches = twin("batches");
    let ids: Vec<u64> = (batches["batches"].as_array().unwrap().iter())
        .map(|batch| batch["id"].as_u64().unwrap())
        .collect();
    assert_eq!(ids, [5, 4, 3, 2, 1]);
    assert_eq!(batches["batches"][2]["records"], 2);
    assert_eq!(batches["interval_ms"], json!(null));
    let steps = batches["batches"][2]["steps"].as_array().unwrap();
    let steps: Vec<&str> = steps
        .iter()
        .map(|step| step["step"].as_str().unwrap())
        .collect();
    assert_eq!(steps, ["run", "stage", "commit", "publish", "checkpoint"]);
    let checkpoints = twin("checkpoints");
    assert_eq!(checkpoints["newest_batch"], 3);
    assert_eq!(checkpoints["checkpoints"][0]["batch"], 3);
    assert_eq!(checkpoints["published"], 1);
    let lineage = twin("lineage");
    let context = shown.context.lineage();
    assert_eq!(lineage["batches"], context.depth);
    assert_eq!(lineage["text"], context.to_string());
    let points = lineage["points"].as_array().unwrap();
    let depths: Vec<u64> = points
        .iter()
        .map(|at| at["batches"].as_u64().unwrap())
        .collect();
    assert_eq!(depths, [1, 2, 0, 1, 2]);
    let log = twin("log");
    let stats = shown.context.log().stats();
    assert_eq!(log["end_lsn"], stats.end_lsn.get());
    assert_eq!(log["durable_lsn"], stats.durable_lsn.get());
    assert_eq!(log["segments"].as_array().unwrap().len(), stats.segments);
    let letters = twin("dead-letters");
    assert_eq!(letters["open"], 1);
    assert_eq!(letters["operators"][0]["dead_letters"], 1);
    let graph = twin("graph");
    assert_eq!(
        graph["operators"].as_array().unwrap().len(),
        shown.context.operators().len()
    );
    assert_eq!(
        graph["states"][0],
        json!({ "name": "counts", "keys": 1, "changed_keys": 1 })
    );
    assert_eq!(twin("errors"), json!([]));
    assert_eq!(twin("receivers"), json!([]));
    assert_eq!(twin("config")["workers"], "1");
    let status = twin("status");
    assert_eq!(
        (&status["phase"], &status["last_batch"]),
        (&json!("steady"), &json!(5))
    );
    assert_eq!(status["at_ms"], START_MS + 12_000);
    // All of it in one look.
    let all = twin("all");
    assert_eq!((&all["sources"], &all["graph"]), (&sources, &graph));
}

/// The same figures, in words.
#[test]
fn the_page_has_the_figures_of_its_twins() {
    let shown = shown();
    for _ in 0..4 {
        shown.send("a");
        shown.context.run_batch().unwrap();
    }
    shown.send("b");
    shown.send("c");
    shown.clock.advance(Duration::from_secs(3));
    let page = get(shown.addr(), "/");
    assert_eq!(
        page.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    for part in [
        "<title>Steady \u{2013} shown \u{2013} Highwater</title>",
        "2 records (4 B) wait for a batch; the oldest was received 3.0 s ago.",
        "The newest is number 1, after batch 3, whose time is 1.0 s ago.",
        "A crash now would replay 1 batch",
        "No record is put aside.",
        "Nothing has failed since the start.",
        "update_state_by_key",
        "<td class=\"number\">6</td>", // stored
    ] {
        assert!(
            page.body.contains(part),
            "{part} is missing in {}",
            page.body
        );
    }
}

/// Names come from programs, errors from data: neither is HTML, nor a script.
#[test]
fn what_the_program_says_is_text() {
    let shown = shown();
    let page = get(shown.addr(), "/").body;
    assert!(!page.contains("<script>alert"), "{page}");
    assert!(
        page.contains("&lt;script&gt;alert(1)&lt;/script&gt;&quot;'&amp;"),
        "{page}"
    );
    // Nothing that the policy would refuse.
    assert!(
        !page.contains(" style=") && !page.contains(" onclick"),
        "{page}"
    );
    assert_eq!(page.matches("<script").count(), 2);
    assert_eq!(page.matches("<script src=\"assets/").count(), 2);
}

#[test]
fn a_start_a_recovery_and_an_end_have_their_phases() {
    let disk = SimDisk::new();
    let shown = shown_on(&disk, UiOptions::new());
    let phase = |addr| {
        let status = get(addr, "/api/v1/status").json();
        (status["phase"].as_str().unwrap().to_owned(), status)
    };
    let ready = |addr| get(addr, "/health/ready").status;
    assert_eq!(phase(shown.addr()).0, "not_started");
    assert_eq!(
        (
            ready(shown.addr()),
            get(shown.addr(), "/health/live").status
        ),
        (503, 200)
    );
    shown.context.start().unwrap();
    assert_eq!(
        (phase(shown.addr()).0.as_str(), ready(shown.addr())),
        ("steady", 200)
    );
    shown.send("a");
    shown.context.run_batch().unwrap();
    shown.send("down");
    shown.context.run_batch().unwrap_err();
    let (name, status) = phase(shown.addr());
    assert_eq!((name.as_str(), ready(shown.addr())), ("failed", 503));
    let failure = &status["failure"];
    assert!(
        failure["operator"].as_str().unwrap().starts_with("map"),
        "{failure}"
    );
    assert!(
        failure["message"]
            .as_str()
            .unwrap()
            .contains("the line is down"),
        "{failure}"
    );
    assert_eq!(failure["batch"], 2);
    // The position of the record that failed: the tools of the log show it.
    let lsn = failure["lsn"].as_u64().unwrap();
    let page = get(shown.addr(), "/").body;
    assert!(
        page.contains(&format!("<dt>LSN</dt><dd>{lsn}</dd>")),
        "{page}"
    );
    assert!(page.contains("data-phase=\"failed\""));
    let errors = get(shown.addr(), "/api/v1/errors").json();
    assert!(
        errors[0]["message"]
            .as_str()
            .unwrap()
            .contains("the line is down")
    );
    drop(shown.context);
    assert_eq!(
        phase(shown.page.local_addr()).0,
        "failed",
        "also without the context"
    );
}

#[test]
fn a_program_that_is_stopped_says_so_and_the_page_does_not_keep_it() {
    let shown = shown();
    shown.context.stop(StopMode::Graceful).unwrap();
    let status = get(shown.addr(), "/api/v1/status").json();
    assert_eq!(status["phase"], "stopped");
    let addr = shown.addr();
    shown.page.stop();
    assert!(
        std::net::TcpStream::connect(addr).is_err(),
        "nothing listens there any more"
    );
    // The log is free for the next one.
    drop(shown.context);
}
