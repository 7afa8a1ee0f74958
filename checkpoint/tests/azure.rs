//! Checkpoints in Azure Blob Storage, on a real server of its protocol that the test starts.
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
use servers::{ACCOUNT_KEY, azure, with_server};
use std::io::ErrorKind;

#[test]
fn a_container_holds_files() {
    with_server(azure, "a_container_holds_files", |url| {
        holds_files(&*open_url(url).unwrap());
    });
}

/// F58, F59.
#[test]
fn one_of_eight_writers_wins_in_a_container() {
    with_server(azure, "one_of_eight_writers_wins_in_a_container", |url| {
        one_of_eight_writers_wins(5, || open_url(url).unwrap());
    });
}

#[test]
fn checkpoints_outlive_their_process() {
    with_server(azure, "checkpoints_outlive_their_process", |url| {
        for n in 1..=4 {
            let store = open_url(url).unwrap();
            let mut checkpoints = Checkpoints::open(store, options(n)).unwrap();
            if let Some(newest) = checkpoints.newest().unwrap() {
                check(&newest, n - 1);
            }
            publish(&mut checkpoints, n).unwrap();
            checkpoints.retire().unwrap();
        }
    });
}

/// What the caller may not do, and a place that is missing: neither looks like a missing file, and
/// no message has the key.
#[test]
fn refusals_are_told_without_credentials() {
    with_server(azure, "refusals_are_told_without_credentials", |_| {
        let store = open_url("az://not-there/word-count").unwrap();
        let missing = store.prepare().unwrap_err();
        let told = missing.to_string();
        assert!(
            told.contains("ContainerNotFound") && told.contains("AZURE_"),
            "{told}"
        );
        let read = store.get("state-a", 1).unwrap_err();
        assert_ne!(read.kind(), ErrorKind::NotFound, "{read}");
        let all = format!("{store:?} {told} {missing:?} {read:?} {}", store.place());
        assert!(!all.contains(ACCOUNT_KEY), "{all}");
    });
}
