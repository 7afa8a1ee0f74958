//! An object store as a place of checkpoints: what is created once, what is known after a failure
//! (F57 to F61), and what is never told.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking"
)]

mod common;

use common::contract::{NAME, holds_files, one_of_eight_writers_wins};
use common::{WRITER, check, lsn, options, publish};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
#[cfg(feature = "hdfs")]
use highwater_checkpoint::object_store::local::LocalFileSystem;
use highwater_checkpoint::object_store::memory::InMemory;
use highwater_checkpoint::object_store::path::Path;
use highwater_checkpoint::object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult,
    Result,
};
use highwater_checkpoint::{
    CallLimits, CheckpointError, Checkpoints, Options, Ownership, RemoteStore, Store,
};
use std::collections::VecDeque;
use std::fmt;
use std::io::ErrorKind;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How a request goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    /// As usual.
    None,
    /// It is not done, and the answer is this status.
    Status(u16),
    /// It is done, and the answer is this status, or none for 0.
    Done(u16),
    /// It is done, and no answer ever comes.
    DoneInSilence,
    /// It is not done, and the answer is that the file exists.
    FalseConflict,
    /// One bit of it is changed.
    Flipped,
    /// The last byte of it, or of the answer, is missing.
    Short,
}

/// An object store in memory whose next requests go wrong in turn.
#[derive(Debug, Default)]
struct Failing {
    inner: InMemory,
    puts: Mutex<VecDeque<Trouble>>,
    gets: Mutex<VecDeque<Trouble>>,
    deletes: Mutex<VecDeque<Trouble>>,
    /// It replaces files although it was told not to.
    replaces: bool,
    /// What was created, with each try.
    tries: Mutex<Vec<String>>,
}

impl fmt::Display for Failing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("failing")
    }
}

fn next(troubles: &Mutex<VecDeque<Trouble>>) -> Trouble {
    troubles
        .lock()
        .unwrap()
        .pop_front()
        .unwrap_or(Trouble::None)
}

fn answer(status: u16, path: &Path) -> Error {
    let (path, store) = (path.to_string(), "test");
    let source = match status {
        0 => "connection reset by peer".into(),
        _ => format!("Server returned non-2xx status code: {status} Some Words: ").into(),
    };
    match status {
        403 => Error::PermissionDenied { path, source },
        404 => Error::NotFound { path, source },
        409 => Error::AlreadyExists { path, source },
        _ => Error::Generic { store, source },
    }
}

#[async_trait::async_trait]
impl ObjectStore for Failing {
    async fn put_opts(&self, at: &Path, sent: PutPayload, opts: PutOptions) -> Result<PutResult> {
        assert_eq!(opts.mode, PutMode::Create);
        let opts = match self.replaces {
            true => PutMode::Overwrite.into(),
            false => opts,
        };
        self.tries.lock().unwrap().push(at.to_string());
        let mut bytes = Vec::new();
        sent.iter().for_each(|part| bytes.extend_from_slice(part));
        match next(&self.puts) {
            Trouble::None => self.inner.put_opts(at, sent, opts).await,
            Trouble::Status(status) => Err(answer(status, at)),
            Trouble::Done(status) => {
                self.inner.put_opts(at, sent, opts).await?;
                Err(answer(status, at))
            }
            Trouble::DoneInSilence => {
                self.inner.put_opts(at, sent, opts).await?;
                std::future::pending().await
            }
            Trouble::FalseConflict => Err(answer(409, at)),
            Trouble::Flipped => {
                bytes[0] ^= 1;
                self.inner.put_opts(at, bytes.into(), opts).await
            }
            Trouble::Short => {
                bytes.pop();
                self.inner.put_opts(at, bytes.into(), opts).await
            }
        }
    }

    async fn put_multipart_opts(
        &self,
        _: &Path,
        _: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        panic!("an upload in parts could be abandoned, and is not create-only everywhere");
    }

    async fn get_opts(&self, at: &Path, options: GetOptions) -> Result<GetResult> {
        match next(&self.gets) {
            Trouble::Status(status) => Err(answer(status, at)),
            Trouble::Short => {
                let mut found = self.inner.get_opts(at, options).await?;
                let (meta, range) = (found.meta.clone(), found.range.clone());
                let mut bytes = found.bytes().await?;
                bytes.truncate(bytes.len() - 1);
                let again = InMemory::new();
                again.put(at, bytes.into()).await?;
                found = again.get(at).await?;
                Ok(GetResult {
                    meta,
                    range,
                    ..found
                })
            }
            _ => self.inner.get_opts(at, options).await,
        }
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        match next(&self.deletes) {
            Trouble::Status(status) => {
                let failed = move |at: Result<Path>| Err(answer(status, &at.unwrap()));
                locations.map(failed).boxed()
            }
            _ => self.inner.delete_stream(locations),
        }
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        panic!("nothing is copied");
    }
}

impl Failing {
    fn with(puts: &[Trouble], gets: &[Trouble]) -> Arc<Self> {
        Arc::new(Self {
            puts: Mutex::new(puts.iter().copied().collect()),
            gets: Mutex::new(gets.iter().copied().collect()),
            ..Self::default()
        })
    }

    fn tries(&self) -> usize {
        self.tries.lock().unwrap().len()
    }
}

/// Patient enough for any machine, impatient with a server that is silent.
const LIMITS: CallLimits = CallLimits {
    call: Duration::from_secs(60),
    request: Duration::from_millis(200),
    pause: Duration::from_millis(1),
};

fn around(store: Arc<dyn ObjectStore>) -> RemoteStore {
    let store = RemoteStore::new(store, "some/prefix", "test://place").unwrap();
    store.with_limits(LIMITS)
}

#[test]
fn files_are_created_once_also_by_eight_writers() {
    // The double for HDFS, which knows creating and nothing else of conditions, as it does.
    #[cfg(feature = "hdfs")]
    let dir = tempfile::tempdir().unwrap();
    let stores: Vec<Arc<dyn ObjectStore>> = vec![
        Arc::new(InMemory::new()),
        #[cfg(feature = "hdfs")]
        Arc::new(LocalFileSystem::new_with_prefix(dir.path()).unwrap()),
    ];
    for inner in stores {
        holds_files(&around(Arc::clone(&inner)));
        one_of_eight_writers_wins(20, || Arc::new(around(Arc::clone(&inner))));
    }
}

/// The files of a prefix, not those of places below it or beside it.
#[test]
fn a_listing_is_of_one_prefix() {
    let inner: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    for (prefix, name) in [("a", "one"), ("a/b", "two"), ("ab", "three"), ("", "four")] {
        let store = RemoteStore::new(Arc::clone(&inner), prefix, "test").unwrap();
        store.put_new(name, b"1").unwrap();
    }
    for (prefix, names) in [("a", ["one"]), ("a/b", ["two"]), ("", ["four"])] {
        let store = RemoteStore::new(Arc::clone(&inner), prefix, "test").unwrap();
        let listed: Vec<String> = store.list().unwrap().into_iter().map(|f| f.name).collect();
        assert_eq!(listed, names);
    }
}

/// The whole protocol, from two writers.
#[test]
fn checkpoints_are_published_fenced_and_found_again() {
    let inner: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let store = Arc::new(around(inner));
    let shared = |writer| Options {
        ownership: Ownership::Shared,
        ..options(writer)
    };
    let mut zombie = Checkpoints::open(store.clone(), shared(1)).unwrap();
    for n in 1..=3 {
        publish(&mut zombie, n).unwrap();
        zombie.retire().unwrap();
    }
    let mut checkpoints = Checkpoints::open(store.clone(), shared(2)).unwrap();
    check(&checkpoints.newest().unwrap().unwrap(), 3);
    publish(&mut checkpoints, 4).unwrap();
    let before = store.list().unwrap();
    for error in [
        zombie.retire().unwrap_err(),
        publish(&mut zombie, 4).unwrap_err(),
    ] {
        assert!(
            matches!(error, CheckpointError::Fenced { writer: 2, .. }),
            "{error}"
        );
    }
    let after = store.list().unwrap();
    assert!(before.iter().all(|file| after.contains(file)));
    let retired = checkpoints.retire().unwrap();
    assert_eq!(retired.oldest_needed_lsn, Some(lsn(3)));
    let mut next = Checkpoints::open(store, shared(3)).unwrap();
    check(&next.newest().unwrap().unwrap(), 4);
}

/// F57: whatever a request to create does, in the end the file is there as it was sent, once.
#[test]
fn what_passes_is_tried_again_until_the_file_is_there() {
    use Trouble::{Done, DoneInSilence, FalseConflict, Short, Status};
    for (puts, gets, tries) in [
        (vec![Status(503), Status(500), Status(429)], vec![], 4),
        (vec![Status(0)], vec![], 2),
        // Done, and answered with a failure, or not at all; "exists" is then our own file.
        (vec![Done(500)], vec![], 2),
        (vec![Done(0)], vec![], 2),
        (vec![DoneInSilence], vec![], 2),
        // S3 answers so when two requests conflict, and stores nothing.
        (vec![FalseConflict, FalseConflict], vec![], 3),
        (vec![Status(500), FalseConflict, Done(503)], vec![], 4),
        // It cannot be read back at first, or not all of it.
        (vec![], vec![Status(500), Short, Status(404)], 4),
    ] {
        let inner = Failing::with(&puts, &gets);
        let store = around(inner.clone());
        let result = store.put_new(NAME, b"content");
        assert!(result.is_ok(), "{puts:?} {gets:?}: {result:?}");
        assert_eq!(store.get(NAME, 100).unwrap(), b"content");
        assert_eq!(inner.tries(), tries, "{puts:?} {gets:?}");
    }
}

/// What will not pass ends the call at once, and says whether anything can have happened.
#[test]
fn refusals_say_what_is_known() {
    use Trouble::{Done, Status};
    for (puts, kind, known, tries) in [
        (vec![Status(403)], ErrorKind::PermissionDenied, true, 1),
        (vec![Status(404)], ErrorKind::NotFound, true, 1),
        (vec![Status(400)], ErrorKind::InvalidInput, true, 1),
        (
            vec![Status(429), Status(403)],
            ErrorKind::PermissionDenied,
            true,
            2,
        ),
        // The credentials expired between two tries; the first may have been done.
        (
            vec![Status(503), Status(403)],
            ErrorKind::PermissionDenied,
            false,
            2,
        ),
        (
            vec![Done(500), Status(403)],
            ErrorKind::PermissionDenied,
            false,
            2,
        ),
    ] {
        let inner = Failing::with(&puts, &[]);
        let error = around(inner.clone()).put_new(NAME, b"content").unwrap_err();
        let found = (error.kind(), error.is_determinate(), inner.tries());
        assert_eq!(found, (kind, known, tries), "{puts:?}: {error}");
    }
}

/// F57: never two contents under one name.
#[test]
fn the_file_of_another_is_never_taken_for_ours() {
    for trouble in [Trouble::None, Trouble::Status(500), Trouble::FalseConflict] {
        let inner = Failing::with(&[], &[]);
        let store = around(inner.clone());
        store.put_new(NAME, b"theirs!").unwrap();
        inner.puts.lock().unwrap().push_back(trouble);
        let error = store.put_new(NAME, b"content").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{trouble:?}");
        assert_eq!(store.get(NAME, 100).unwrap(), b"theirs!");
    }
}

/// A store that keeps other bytes than it was sent is found out before anything relies on them.
#[test]
fn what_is_stored_is_read_back() {
    for trouble in [Trouble::Flipped, Trouble::Short] {
        let store = around(Failing::with(&[trouble], &[]));
        let error = store.put_new(NAME, b"content").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        assert!(!error.is_determinate());
    }
}

/// Fencing rests on a file that is never replaced: a store that replaces is refused at the start.
#[test]
fn a_store_that_replaces_files_is_refused() {
    let inner = Arc::new(Failing {
        replaces: true,
        ..Failing::default()
    });
    let error = Checkpoints::open(Arc::new(around(inner)), options(WRITER)).unwrap_err();
    let told = error.to_string();
    assert!(
        told.starts_with("cannot prepare test://place: the store replaces a file"),
        "{told}"
    );
}

/// A silent server costs a bound in time, and leaves doubt.
#[test]
fn a_silent_server_ends_in_doubt() {
    let inner = Failing::with(&[Trouble::DoneInSilence], &[]);
    let store = around(inner).with_limits(CallLimits {
        call: Duration::from_millis(50),
        ..LIMITS
    });
    let error = store.put_new(NAME, b"content").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(!error.is_determinate());
}

#[test]
fn removals_are_tried_again() {
    let inner = Failing::with(&[], &[]);
    let store = around(inner.clone());
    store.put_new(NAME, b"content").unwrap();
    let names = [NAME.to_owned()];
    for (troubles, kind) in [
        (
            vec![Trouble::Status(403)],
            Some(ErrorKind::PermissionDenied),
        ),
        (vec![Trouble::Status(503), Trouble::Status(0)], None),
        (vec![Trouble::Status(404)], None),
    ] {
        *inner.deletes.lock().unwrap() = troubles.into();
        let error = store.delete(&names).err();
        assert_eq!(error.as_ref().map(|e| e.kind()), kind);
        assert!(error.is_none_or(|e| !e.is_determinate()));
    }
    assert!(store.list().unwrap().is_empty());
}

/// An answer that breaks off is asked for again, and never taken for a short file.
#[test]
fn reads_are_tried_again() {
    let inner = Failing::with(&[], &[]);
    let store = around(inner.clone());
    store.put_new(NAME, b"0123456789").unwrap();
    let troubles = [Trouble::Short, Trouble::Status(500), Trouble::Status(0)];
    let again = || *inner.gets.lock().unwrap() = troubles.into();
    again();
    assert_eq!(store.get(NAME, 10).unwrap(), b"0123456789");
    again();
    assert_eq!(store.get_range(NAME, 2, 3).unwrap(), b"234");
    inner.gets.lock().unwrap().push_back(Trouble::Status(403));
    let refused = store.len(NAME).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
}

/// A user's program may be asynchronous: neither a call nor dropping the store may panic there.
#[test]
fn a_store_may_be_used_and_dropped_inside_of_a_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        let store = around(Arc::new(InMemory::new()));
        store.prepare().unwrap();
        store.put_new(NAME, b"content").unwrap();
        assert_eq!(store.get(NAME, 10).unwrap(), b"content");
        drop(store);
    });
}

#[test]
fn a_prefix_leads_nowhere_else() {
    for prefix in ["a//b", "a/../b", "./a"] {
        let store = RemoteStore::new(Arc::new(InMemory::new()), prefix, "test");
        assert_eq!(
            store.unwrap_err().kind(),
            ErrorKind::InvalidInput,
            "{prefix}"
        );
    }
}
