//! Who is served, and what is refused.

use crate::client::{Client, ask, follow, get};
use crate::program::{shown, shown_on};
use highwater::disk::SimDisk;
use highwater_ui::{Ui, UiOptions};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

#[test]
fn nothing_can_be_changed() {
    let shown = shown();
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
        let answer = ask(shown.addr(), method, "/", "Content-Length: 0\r\n");
        assert_eq!(
            (answer.status, answer.header("allow")),
            (405, Some("get, head")),
            "{method}"
        );
    }
    let page = get(shown.addr(), "/");
    let head = ask(shown.addr(), "HEAD", "/", "");
    assert_eq!((head.status, &*head.body), (200, ""));
    assert_eq!(head.header("content-type"), page.header("content-type"));
}

#[test]
fn every_answer_has_the_policy() {
    let shown = shown();
    let paths = [
        "/",
        "/api/v1/status",
        "/nothing",
        "/metrics",
        "/health/live",
        "/favicon.ico",
    ];
    for path in paths {
        let answer = get(shown.addr(), path);
        let policy = answer.header("content-security-policy").unwrap();
        assert!(
            policy.starts_with("default-src 'none'; script-src 'self';"),
            "{policy}"
        );
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
        assert_eq!(
            answer.header("x-content-type-options"),
            Some("nosniff"),
            "{path}"
        );
        assert_eq!(
            answer.header("referrer-policy"),
            Some("no-referrer"),
            "{path}"
        );
    }
    for path in [
        "/nothing",
        "/api/v1/nothing",
        "/assets/page.js",
        "/assets/../Cargo.toml",
    ] {
        let answer = get(shown.addr(), path);
        assert_eq!(
            (answer.status, &*answer.json()["error"].to_string()),
            (404, "\"no_such_path\"")
        );
    }
}

#[test]
fn assets_are_kept_by_browsers_under_names_that_change_with_them() {
    let shown = shown();
    let page = get(shown.addr(), "/").body;
    let names: Vec<&str> = (page.split('"'))
        .filter(|part| part.starts_with("assets/"))
        .collect();
    assert_eq!(names.len(), 4, "{names:?}");
    for name in names {
        let asset = get(shown.addr(), &format!("/{name}"));
        assert_eq!(asset.status, 200, "{name}");
        assert_eq!(
            asset.header("cache-control"),
            Some("public, max-age=31536000, immutable")
        );
        let kind = if name.ends_with(".js") {
            "text/javascript"
        } else {
            "text/css"
        };
        assert!(asset.header("content-type").unwrap().starts_with(kind));
    }
}

/// A page of another site that the browser shows may not read this one: not under a name of its own
/// for this machine, nor by a request that the browser marks.
#[test]
fn other_sites_are_not_served() {
    let shown = shown();
    let mut client = Client::connect(shown.addr());
    client.send("GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n");
    assert!(client.head().starts_with("http/1.1 403 "));
    let cross = ask(
        shown.addr(),
        "GET",
        "/api/v1/status",
        "Sec-Fetch-Site: cross-site\r\n",
    );
    assert_eq!(cross.status, 403);
    let same = ask(
        shown.addr(),
        "GET",
        "/events",
        "Sec-Fetch-Site: same-site\r\n",
    );
    assert_eq!(same.status, 403);
}

#[test]
fn an_address_that_others_reach_needs_a_word() {
    let shown = shown();
    let refused = shown.context.ui("0.0.0.0:0", UiOptions::new()).unwrap_err();
    let message = refused.to_string();
    assert!(
        message.contains("can be reached from other machines"),
        "{message}"
    );
    assert!(message.contains("UiOptions::insecure()"), "{message}");
    shown
        .context
        .ui("0.0.0.0:0", UiOptions::new().insecure())
        .unwrap()
        .stop();
    let taken = shown.addr().to_string();
    let message = shown
        .context
        .ui(&taken, UiOptions::new())
        .unwrap_err()
        .to_string();
    assert!(
        message.contains(&taken) && message.contains("cannot listen"),
        "{message}"
    );
}

#[test]
fn metrics_are_those_of_the_programs_exporter() {
    let asked = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&asked);
    let options = UiOptions::new().metrics(move || {
        format!(
            "asked_total {}\n",
            counter.fetch_add(1, Ordering::Relaxed) + 1
        )
    });
    let shown = shown_on(&SimDisk::new(), options);
    assert_eq!(get(shown.addr(), "/metrics").body, "asked_total 1\n");
    let answer = get(shown.addr(), "/metrics");
    assert_eq!(answer.body, "asked_total 2\n");
    assert_eq!(
        answer.header("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    let without = shown_on(&SimDisk::new(), UiOptions::new());
    assert_eq!(get(without.addr(), "/metrics").status, 404);
}

#[test]
fn so_many_pages_may_be_open() {
    let shown = shown_on(&SimDisk::new(), UiOptions::new().max_readers(2));
    let first = follow(shown.addr());
    let _second = follow(shown.addr());
    let refused = get(shown.addr(), "/events");
    assert_eq!(
        (refused.status, refused.header("retry-after")),
        (503, Some("1"))
    );
    drop(first);
    // Its place is free when the server has noticed.
    while get_status(shown.addr()) == 503 {
        std::thread::yield_now();
    }
}

fn get_status(addr: std::net::SocketAddr) -> u16 {
    let mut client = Client::connect(addr);
    client.send("GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client.head().split(' ').nth(1).unwrap().parse().unwrap()
}
