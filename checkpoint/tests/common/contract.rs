//! What every store does.
#![allow(dead_code, reason = "each test file uses a part")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use super::{check, options, publish};
use highwater_checkpoint::{CheckpointError, Checkpoints, Options, Ownership, Published, Store};
use std::io::ErrorKind;
use std::sync::{Arc, Barrier};

pub(crate) const NAME: &str = "state-0000000001-0000000000000abc-00000.hws";

/// Files are created once, read in parts, and removed.
pub(crate) fn holds_files(store: &dyn Store) {
    store.prepare().unwrap();
    store.prepare().unwrap();
    let before = store.list().unwrap().len();
    store.put_new(NAME, b"0123456789").unwrap();
    for again in [&b"0123456789"[..], b"other"] {
        let error = store.put_new(NAME, again).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
        assert!(!error.is_determinate());
    }
    assert_eq!(store.len(NAME).unwrap(), 10);
    assert_eq!(store.get(NAME, 10).unwrap(), b"0123456789");
    let kind = |error: std::io::Error| error.kind();
    assert_eq!(
        store.get(NAME, 9).map_err(kind),
        Err(ErrorKind::FileTooLarge)
    );
    assert_eq!(store.get_range(NAME, 3, 4).unwrap(), b"3456");
    assert_eq!(store.get_range(NAME, 9, 1).unwrap(), b"9");
    assert_eq!(store.get_range(NAME, 10, 0).unwrap(), b"");
    for (offset, len) in [(3, 8), (10, 1), (11, 0), (11, 5), (u64::MAX, 2)] {
        let range = store.get_range(NAME, offset, len).map_err(kind);
        assert_eq!(range, Err(ErrorKind::UnexpectedEof), "{offset} {len}");
    }
    let absent = Err(ErrorKind::NotFound);
    assert_eq!(store.len("state-b").map_err(kind), absent);
    assert_eq!(
        store.get("state-b", 1).map_err(kind),
        Err(ErrorKind::NotFound)
    );
    assert_eq!(
        store.get_range("state-b", 0, 1).map_err(kind),
        Err(ErrorKind::NotFound)
    );
    for name in ["../a", "a/b", "", "A"] {
        let error = store.put_new(name, b"").unwrap_err();
        assert!(error.is_determinate() && error.kind() == ErrorKind::InvalidInput);
        assert_eq!(store.len(name).map_err(kind), Err(ErrorKind::InvalidInput));
        let error = store.delete(&[name.to_owned()]).unwrap_err();
        assert!(error.is_determinate(), "{error}");
    }
    store.put_new("state-empty", b"").unwrap();
    assert_eq!(store.get("state-empty", 0).unwrap(), b"");
    let sizes = |wanted: &str| {
        let files = store.list().unwrap().into_iter();
        files
            .filter(|f| f.name == wanted)
            .map(|f| f.size)
            .collect::<Vec<_>>()
    };
    assert_eq!((sizes(NAME), sizes("state-empty")), (vec![10], vec![0]));
    let gone = [NAME, "state-b", "state-empty"].map(str::to_owned);
    store.delete(&gone).unwrap();
    assert_eq!(store.list().unwrap().len(), before);
    assert_eq!(store.len(NAME).map_err(kind), Err(ErrorKind::NotFound));
}

/// Eight writers publish the same number at once, again and again: one has published, and the
/// others know of it. `open` gives each a store of its own, in the same place.
pub(crate) fn one_of_eight_writers_wins(rounds: u64, open: impl Fn() -> Arc<dyn Store> + Sync) {
    for n in 1..=rounds {
        let start = Barrier::new(8);
        let store = &open;
        let race = |writer: u64| {
            let options = Options {
                ownership: Ownership::Shared,
                ..options(writer)
            };
            let mut checkpoints = Checkpoints::open(store(), options).unwrap();
            start.wait();
            (writer, publish(&mut checkpoints, n))
        };
        let results: Vec<(u64, Result<Published, CheckpointError>)> = std::thread::scope(|scope| {
            let race = &race;
            let writers: Vec<_> = (0..8)
                .map(|w| scope.spawn(move || race(n * 10 + w)))
                .collect();
            writers.into_iter().map(|w| w.join().unwrap()).collect()
        });
        let winners: Vec<u64> = results
            .iter()
            .filter(|r| r.1.is_ok())
            .map(|r| r.0)
            .collect();
        let [winner] = winners[..] else {
            panic!("round {n}: {results:?}");
        };
        for (writer, result) in results {
            match result {
                Ok(published) => assert_eq!(published.number, n),
                Err(CheckpointError::Fenced { number, writer }) => {
                    assert_eq!((number, writer), (n, winner));
                }
                Err(other) => panic!("round {n}, writer {writer}: {other}"),
            }
        }
        let mut found = Checkpoints::open(open(), options(1)).unwrap();
        let newest = found.newest().unwrap().unwrap();
        assert_eq!(newest.manifest().writer, winner);
        check(&newest, n);
    }
}
