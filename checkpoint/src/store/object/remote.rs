//! An object store as a place of checkpoints.

use crate::store::error::StoreError;
use crate::store::names::is_safe;
use crate::store::object::calls::{CallLimits, Calls, Try};
use crate::store::object::failure::Failure;
use crate::store::object::get;
use crate::store::object::put::{Hashes, create};
use crate::store::reading::Reading;
use crate::store::{Store, StoredFile};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{Error, ObjectStore};
use std::fmt;
use std::io;
use std::sync::Arc;

/// The file by which [`Store::prepare`] finds out whether the store refuses to replace files.
const PROBE: &str = "create-only.probe";

/// A prefix of an object store as a [`Store`].
///
/// * A file is created by one conditional request (`If-None-Match: *`, or what the store has for
///   it). There are no multipart uploads, so no parts are left behind. A file of more than 5 GiB
///   (the limit of S3) cannot be stored; state files have 64 MiB, if
///   [`Options::state_file_bytes`](crate::Options::state_file_bytes) is not changed.
/// * What was stored is read back before a call returns. Of files over 1 MiB only the length is
///   asked for, if the store has compared a hash already, as S3 does with a signed request.
/// * Each call is tried again with growing pauses until its bound in time ([`CallLimits`]), unless
///   the store has refused it for good.
/// * Calls may be made from any thread, also from one that runs a runtime of its own; they block
///   it.
///
/// Make one with [`open_url`](crate::open_url), or around an object store of your own:
///
/// ```
/// use highwater_checkpoint::object_store::memory::InMemory;
/// use highwater_checkpoint::{RemoteStore, Store};
/// use std::sync::Arc;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = RemoteStore::new(Arc::new(InMemory::new()), "word-count", "memory")?;
/// store.prepare()?;
/// store.put_new("state-a", b"bytes")?;
/// assert_eq!(store.get("state-a", 100)?, b"bytes");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RemoteStore {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    place: String,
    hashes: Hashes,
    limits: CallLimits,
    /// What to look at when the store cannot be used at all.
    hint: &'static str,
    calls: Arc<Calls>,
}

impl RemoteStore {
    /// The files under `prefix` of an object store. `place` is its name in messages; it must not
    /// hold credentials.
    ///
    /// Retries of the object store itself should be off: those of this type know what each of them
    /// may have done.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] for a prefix with an empty part, `.` or `..`; any error of
    /// starting threads.
    pub fn new(
        store: Arc<dyn ObjectStore>,
        prefix: &str,
        place: impl Into<String>,
    ) -> io::Result<Self> {
        Self::with_calls(Calls::new()?, store, prefix, place.into())
    }

    pub(crate) fn with_calls(
        calls: Arc<Calls>,
        store: Arc<dyn ObjectStore>,
        prefix: &str,
        place: String,
    ) -> io::Result<Self> {
        let prefix = Path::parse(prefix)
            .map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e.to_string()))?;
        Ok(Self {
            store,
            prefix,
            place,
            hashes: Hashes::Unknown,
            limits: CallLimits::default(),
            hint: "",
            calls,
        })
    }

    /// The same store with other bounds.
    #[must_use]
    pub fn with_limits(self, limits: CallLimits) -> Self {
        Self { limits, ..self }
    }

    #[cfg(any(feature = "s3", feature = "gcs", feature = "azure", feature = "hdfs"))]
    pub(crate) fn of_cloud(self, hashes: Hashes, hint: &'static str) -> Self {
        Self {
            hashes,
            hint,
            ..self
        }
    }

    fn path(&self, name: &str) -> Result<Path, Failure> {
        if is_safe(name) {
            return Ok(self.prefix.clone().join(name));
        }
        let text = format!("{name:?} is no name of a checkpoint file");
        Err(Failure::refused(io::ErrorKind::InvalidInput, text))
    }

    fn make<T: Send + 'static>(
        &self,
        bytes: u64,
        mut attempt: impl FnMut(Arc<dyn ObjectStore>, bool) -> Try<T> + Send + 'static,
    ) -> Result<T, Failure> {
        let store = Arc::clone(&self.store);
        let attempt = move |doubt| attempt(Arc::clone(&store), doubt);
        self.calls.make(self.limits, bytes, attempt)
    }

    fn create(&self, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        let (path, hashes) = (self.path(name)?, self.hashes);
        let len = bytes.len() as u64;
        let bytes = Bytes::copy_from_slice(bytes);
        self.make(len, move |store, doubt| {
            let (path, bytes) = (path.clone(), bytes.clone());
            Box::pin(async move { create(&*store, &path, bytes, hashes, doubt).await })
        })
    }

    /// A store that lets one writer replace the file of another would have two engines believe
    /// that each owns it.
    fn check_create_only(&self) -> Result<(), Failure> {
        for content in ["Files here are created once.", "This must not be seen."] {
            match self.create(PROBE, content.as_bytes()) {
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
                Err(e) => return Err(e),
            }
        }
        let text = "the store replaces a file although it was asked to create it only if there is none \
                    (If-None-Match); two engines could overwrite each other's checkpoints here";
        Err(Failure::refused(io::ErrorKind::Unsupported, text))
    }
}

impl fmt::Debug for RemoteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the object store: it knows credentials.
        f.debug_struct("RemoteStore")
            .field("place", &self.place)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl Store for RemoteStore {
    fn place(&self) -> String {
        self.place.clone()
    }

    fn prepare(&self) -> io::Result<()> {
        // A file that is missing and a bucket that is missing look alike to a later request.
        let prefix = self.prefix.clone();
        let listed = self.make(0, move |store, _| {
            let mut files = store.list(Some(&prefix));
            Box::pin(async move { Ok(files.next().await.transpose().map(drop)?) })
        });
        let checked = listed.and_then(|()| self.check_create_only());
        checked.map_err(|failure| failure.with(self.hint).into_io())
    }

    fn put_new(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.create(name, bytes).map_err(Failure::into_store)
    }

    fn len(&self, name: &str) -> io::Result<u64> {
        let path = self.path(name).map_err(Failure::into_io)?;
        let len = self.make(0, move |store, _| {
            let path = path.clone();
            Box::pin(async move { get::len(&*store, &path).await })
        });
        len.map_err(Failure::into_io)
    }

    fn get_range(&self, name: &str, offset: u64, len: u64) -> io::Result<Vec<u8>> {
        let path = self.path(name).map_err(Failure::into_io)?;
        let bytes = self.make(len, move |store, _| {
            let path = path.clone();
            Box::pin(async move { get::range(&*store, &path, offset, len).await })
        });
        bytes.map_err(Failure::into_io)
    }

    fn list(&self) -> io::Result<Vec<StoredFile>> {
        let prefix = self.prefix.clone();
        let listed = self.make(0, move |store, _| {
            let prefix = prefix.clone();
            Box::pin(async move { Ok(store.list_with_delimiter(Some(&prefix)).await?.objects) })
        });
        let files = listed.map_err(Failure::into_io)?.into_iter();
        let files = files.filter_map(|file| {
            Some(StoredFile {
                name: file.location.filename()?.to_owned(),
                size: file.size,
            })
        });
        Ok(files.collect())
    }

    fn delete(&self, names: &[String]) -> Result<(), StoreError> {
        let paths: Result<Vec<Path>, Failure> = names.iter().map(|n| self.path(n)).collect();
        let paths = paths.map_err(Failure::into_store)?;
        let deleted = self.make(0, move |store, _| {
            let paths = paths.clone().into_iter().map(Ok);
            let deleted = store.delete_stream(futures_util::stream::iter(paths).boxed());
            Box::pin(async move {
                let mut results = deleted.into_stream();
                while let Some(result) = results.next().await {
                    match result {
                        Ok(_) | Err(Error::NotFound { .. }) => {}
                        // Others may be gone.
                        Err(error) => return Err(Failure::from(error).in_doubt()),
                    }
                }
                Ok(())
            })
        });
        deleted.map_err(Failure::into_store)
    }

    fn reading(&self) -> Reading {
        Reading::FAR
    }

    fn get(&self, name: &str, max: u64) -> io::Result<Vec<u8>> {
        let path = self.path(name).map_err(Failure::into_io)?;
        let bytes = self.make(0, move |store, _| {
            let path = path.clone();
            Box::pin(async move { get::whole(&*store, &path, max).await })
        });
        bytes.map_err(Failure::into_io)
    }
}
