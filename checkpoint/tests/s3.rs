//! Checkpoints in S3, on a real server of its protocol that the test starts.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;
#[path = "../../tests/support/proxy.rs"]
mod proxy;
#[path = "../../tests/support/servers.rs"]
mod servers;

use common::contract::{holds_files, one_of_eight_writers_wins};
use common::{check, options, publish};
use highwater_checkpoint::object_store::RetryConfig;
use highwater_checkpoint::object_store::aws::AmazonS3Builder;
use highwater_checkpoint::{CallLimits, Checkpoints, RemoteStore, Store, open_url};
use proxy::{Proxy, REPEATED, Wrong};
use servers::{SECRET_KEY, s3, with_server};
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

#[test]
fn a_bucket_holds_files() {
    with_server(s3, "a_bucket_holds_files", |url| {
        holds_files(&*open_url(url).unwrap());
    });
}

/// F58, F59: eight processes, as far as the server can tell. The server answers one request after
/// the other, or two of them could win: see `servers`.
#[test]
fn one_of_eight_writers_wins_in_a_bucket() {
    with_server(s3, "one_of_eight_writers_wins_in_a_bucket", |url| {
        one_of_eight_writers_wins(5, || open_url(url).unwrap());
    });
}

/// Of a file over 1 MiB only the length is looked at after it was stored.
#[test]
fn large_files_are_stored_and_read_in_ranges() {
    with_server(s3, "large_files_are_stored_and_read_in_ranges", |url| {
        let store = open_url(url).unwrap();
        let bytes: Vec<u8> = (0..5_000_000_u32).map(|i| i.to_le_bytes()[0]).collect();
        store.put_new("state-large", &bytes).unwrap();
        assert_eq!(store.len("state-large").unwrap(), 5_000_000);
        let middle = store
            .get_range("state-large", 1_234_567, 1_000_000)
            .unwrap();
        assert!(middle == bytes[1_234_567..2_234_567]);
        assert!(store.get("state-large", 5_000_000).unwrap() == bytes);
    });
}

/// S3 lists 1000 files in a page, and removes as many with a request.
#[test]
fn listings_and_removals_of_more_than_a_page() {
    with_server(s3, "listings_and_removals_of_more_than_a_page", |url| {
        let store = &*open_url(url).unwrap();
        std::thread::scope(|scope| {
            for part in 0..4 {
                scope.spawn(move || {
                    for i in 0..280 {
                        let name = format!("state-{part}-{i}");
                        store.put_new(&name, b"x").unwrap();
                    }
                });
            }
        });
        let mut names: Vec<String> = store.list().unwrap().into_iter().map(|f| f.name).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 1120);
        store.delete(&names).unwrap();
        assert_eq!(store.list().unwrap(), []);
    });
}

#[test]
fn checkpoints_outlive_their_process() {
    with_server(s3, "checkpoints_outlive_their_process", |url| {
        for n in 1..=4 {
            let store = open_url(url).unwrap();
            let mut checkpoints = Checkpoints::open(store, options(n)).unwrap();
            if let Some(newest) = checkpoints.newest().unwrap() {
                check(&newest, n - 1);
            }
            publish(&mut checkpoints, n).unwrap();
            checkpoints.retire().unwrap();
        }
        let store = open_url(url).unwrap();
        let found = Checkpoints::inspect(&store).unwrap();
        assert_eq!(found.iter().map(|c| c.number).collect::<Vec<_>>(), [4, 3]);
    });
}

/// The error of a start says what to look at, and nothing that anybody could use.
#[test]
fn a_bucket_that_is_missing_is_told_without_credentials() {
    with_server(
        s3,
        "a_bucket_that_is_missing_is_told_without_credentials",
        |_| {
            let store = open_url("s3://not-there/word-count").unwrap();
            let error = Checkpoints::open(Arc::clone(&store), options(1)).unwrap_err();
            let told = error.to_string();
            let begin = "cannot prepare s3://not-there/word-count: GET http://127.0.0.1:";
            assert!(
                told.starts_with(begin)
                    && told.contains("/not-there?.. is answered 404 Not Found: NoSuchBucket: ")
                    && told.contains("AWS_REGION"),
                "{told}"
            );
            let written = store.put_new("state-a", b"x").unwrap_err();
            assert!(written.is_determinate(), "{written}");
            let read = store.get("state-a", 1).unwrap_err();
            assert_ne!(read.kind(), std::io::ErrorKind::NotFound, "{read}");
            let all = format!(
                "{store:?} {told} {error:?} {written:?} {read:?} {}",
                store.place()
            );
            for secret in [SECRET_KEY, "AKIATEST"] {
                assert!(!all.contains(secret), "{all}");
            }
        },
    );
}

/// The bucket of the server, asked through another port.
fn through(port: u16) -> RemoteStore {
    let s3 = AmazonS3Builder::from_env()
        .with_endpoint(format!("http://127.0.0.1:{port}"))
        .with_bucket_name("checkpoints")
        .with_retry(RetryConfig {
            max_retries: 0,
            ..RetryConfig::default()
        });
    let store = RemoteStore::new(Arc::new(s3.build().unwrap()), "faults", "s3://faults").unwrap();
    store.with_limits(CallLimits {
        call: Duration::from_secs(60),
        request: Duration::from_secs(2),
        pause: Duration::from_millis(1),
    })
}

fn port_of_server() -> u16 {
    let endpoint = std::env::var("AWS_ENDPOINT_URL").unwrap();
    endpoint.rsplit(':').next().unwrap().parse().unwrap()
}

/// F57: what a connection and a server can do to a request to create, an answer to it, and a look
/// at what is there.
#[test]
fn a_file_is_stored_once_whatever_the_connection_does() {
    with_server(
        s3,
        "a_file_is_stored_once_whatever_the_connection_does",
        |_| {
            let proxy = Proxy::start(port_of_server());
            let store = through(proxy.port);
            for (i, (wrong, tries)) in [
                (&[("PUT", Wrong::Status(503, "SlowDown"))][..], 2),
                (
                    &[
                        ("PUT", Wrong::Status(500, "InternalError")),
                        ("PUT", Wrong::Status(429, "")),
                    ],
                    3,
                ),
                (
                    &[("PUT", Wrong::Status(409, "ConditionalRequestConflict"))],
                    2,
                ),
                (&[("PUT", Wrong::Reset)], 2),
                // It was stored: the next try finds it there, and that it is ours.
                (&[("PUT", Wrong::AnswerLost)], 2),
                (
                    &[
                        ("PUT", Wrong::AnswerLost),
                        ("PUT", Wrong::Status(503, "SlowDown")),
                    ],
                    3,
                ),
                (&[("PUT", Wrong::Silence)], 2),
                // It cannot be read back at first.
                (&[("GET", Wrong::BrokenOff)], 2),
                (&[("GET", Wrong::Reset)], 2),
                (&[("GET", Wrong::Status(500, "InternalError"))], 2),
            ]
            .into_iter()
            .enumerate()
            {
                for (method, wrong) in wrong {
                    proxy.next(method, *wrong);
                }
                let name = format!("state-{i}");
                let result = store.put_new(&name, b"0123456789");
                assert!(result.is_ok(), "{wrong:?}: {result:?}");
                let puts = proxy
                    .seen()
                    .iter()
                    .filter(|method| *method == "PUT")
                    .count();
                assert_eq!(puts, tries, "{wrong:?}");
                assert_eq!(store.get(&name, 10).unwrap(), b"0123456789");
                proxy.seen();
            }
        },
    );
}

/// F60: what a refusal tells, and what it does not.
#[test]
fn refusals_say_what_is_known_and_no_secret() {
    with_server(s3, "refusals_say_what_is_known_and_no_secret", |_| {
        let proxy = Proxy::start(port_of_server());
        let store = through(proxy.port);
        for (status, code, kind) in [
            (403, "SignatureDoesNotMatch", ErrorKind::PermissionDenied),
            (403, "RequestTimeTooSkewed", ErrorKind::PermissionDenied),
            (401, "Unauthorized", ErrorKind::PermissionDenied),
            (400, "ExpiredToken", ErrorKind::InvalidInput),
        ] {
            proxy.next("PUT", Wrong::Status(status, code));
            let error = store.put_new("state-a", b"x").unwrap_err();
            assert!(error.is_determinate() && error.kind() == kind, "{error:?}");
            let told = format!("{error} {error:?}");
            let answer = format!("/checkpoints/faults/state-a is answered {status} ");
            assert!(
                told.contains(&answer) && told.contains(&format!(": {code}: Why.")),
                "{told}"
            );
            assert!(
                !told.contains(REPEATED) && !told.contains(SECRET_KEY),
                "{told}"
            );
            // A try before it may have been done.
            proxy.next("PUT", Wrong::Status(500, "InternalError"));
            proxy.next("PUT", Wrong::Status(status, code));
            assert!(!store.put_new("state-a", b"x").unwrap_err().is_determinate());
        }
        assert_eq!(
            store.len("state-a").unwrap_err().kind(),
            ErrorKind::NotFound
        );
    });
}

/// No connection: nothing was asked, so nothing can have happened. A connection that says nothing:
/// anything can.
#[test]
fn a_server_that_is_not_there_leaves_no_doubt() {
    with_server(s3, "a_server_that_is_not_there_leaves_no_doubt", |_| {
        let limits = CallLimits {
            call: Duration::from_millis(500),
            request: Duration::from_millis(400),
            pause: Duration::from_millis(1),
        };
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let silent = through(port).with_limits(limits);
        let error = silent.put_new("state-a", b"x").unwrap_err();
        assert!(
            !error.is_determinate() && error.kind() == ErrorKind::TimedOut,
            "{error}"
        );
        drop((listener, silent));
        let error = through(port)
            .with_limits(limits)
            .put_new("state-a", b"x")
            .unwrap_err();
        assert!(
            error.is_determinate() && error.kind() == ErrorKind::TimedOut,
            "{error}"
        );
        assert!(error.to_string().contains("Connection refused"), "{error}");
    });
}

/// F57: an answer that breaks off is asked for again, and never taken for a short file.
#[test]
fn reads_and_removals_go_on_after_a_broken_connection() {
    with_server(
        s3,
        "reads_and_removals_go_on_after_a_broken_connection",
        |_| {
            let proxy = Proxy::start(port_of_server());
            let store = through(proxy.port);
            store.put_new("state-a", b"0123456789").unwrap();
            for wrong in [
                Wrong::BrokenOff,
                Wrong::Reset,
                Wrong::Silence,
                Wrong::Status(500, "InternalError"),
                Wrong::Status(503, "SlowDown"),
            ] {
                proxy.next("GET", wrong);
                assert_eq!(
                    store.get("state-a", 10).unwrap(),
                    b"0123456789",
                    "{wrong:?}"
                );
                proxy.next("GET", wrong);
                assert_eq!(
                    store.get_range("state-a", 2, 3).unwrap(),
                    b"234",
                    "{wrong:?}"
                );
                proxy.next("GET", wrong);
                assert_eq!(store.list().unwrap().len(), 1, "{wrong:?}");
            }
            proxy.next("POST", Wrong::AnswerLost);
            proxy.next("POST", Wrong::Status(503, "SlowDown"));
            store.delete(&["state-a".to_owned()]).unwrap();
            assert_eq!(store.list().unwrap(), []);
        },
    );
}
