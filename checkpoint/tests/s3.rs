//! Checkpoints in S3, on a real server of its protocol that the test starts.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;
#[path = "../../tests/support/servers.rs"]
mod servers;

use common::contract::{holds_files, one_of_eight_writers_wins};
use common::{check, options, publish};
use highwater_checkpoint::{Checkpoints, open_url};
use servers::{SECRET_KEY, s3, with_server};
use std::sync::Arc;

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
            let begin = "cannot prepare s3://not-there/word-count: the store answers 404 Not Found: NoSuchBucket";
            assert!(
                told.starts_with(begin) && told.contains("AWS_REGION"),
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
