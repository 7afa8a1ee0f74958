//! A store in memory.

use crate::store::error::StoreError;
use crate::store::names::is_safe;
use crate::store::{Store, StoredFile};
use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A [`Store`] that is gone when it is dropped.
#[derive(Debug, Default)]
pub struct MemoryStore {
    files: Mutex<BTreeMap<String, Vec<u8>>>,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn files(&self) -> MutexGuard<'_, BTreeMap<String, Vec<u8>>> {
        // No call leaves it half changed.
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn named(name: &str) -> io::Result<&str> {
    is_safe(name)
        .then_some(name)
        .ok_or(io::ErrorKind::InvalidInput.into())
}

impl Store for MemoryStore {
    fn place(&self) -> String {
        "memory".to_owned()
    }

    fn prepare(&self) -> io::Result<()> {
        Ok(())
    }

    fn put_new(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let name = named(name).map_err(StoreError::determinate)?;
        let mut files = self.files();
        if files.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        files.insert(name.to_owned(), bytes.to_vec());
        Ok(())
    }

    fn len(&self, name: &str) -> io::Result<u64> {
        let files = self.files();
        let bytes = files.get(named(name)?).ok_or(io::ErrorKind::NotFound)?;
        Ok(bytes.len() as u64)
    }

    fn get_range(&self, name: &str, offset: u64, len: u64) -> io::Result<Vec<u8>> {
        let files = self.files();
        let bytes = files.get(named(name)?).ok_or(io::ErrorKind::NotFound)?;
        let end = offset.checked_add(len).and_then(|end| end.try_into().ok());
        let range = end.zip(offset.try_into().ok());
        let range = range.and_then(|(end, offset): (usize, usize)| bytes.get(offset..end));
        Ok(range.ok_or(io::ErrorKind::UnexpectedEof)?.to_vec())
    }

    fn list(&self) -> io::Result<Vec<StoredFile>> {
        let files = self.files();
        let files = files.iter().map(|(name, bytes)| StoredFile {
            name: name.clone(),
            size: bytes.len() as u64,
        });
        Ok(files.collect())
    }

    fn delete(&self, names: &[String]) -> Result<(), StoreError> {
        for name in names {
            named(name).map_err(StoreError::determinate)?;
        }
        self.files().retain(|name, _| !names.contains(name));
        Ok(())
    }
}
