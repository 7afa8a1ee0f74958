//! Creating a file of a checkpoint.

use crate::store::Store;
use crate::store::error::StoreError;
use std::io;

/// Creates a file. If the answer to a successful creation was lost, the store reports "exists" when
/// asked again: a file with exactly our bytes is ours.
pub(crate) fn put_or_find(store: &dyn Store, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
    match store.put_new(name, bytes) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            match store.get(name, bytes.len() as u64) {
                Ok(found) if found == bytes => Ok(()),
                _ => Err(e),
            }
        }
        result => result,
    }
}
