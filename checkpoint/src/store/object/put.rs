//! Creating a file, and making sure that it is what was sent.

use crate::store::object::failure::Failure;
use crate::store::object::get;
use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStore, PutMode, PutPayload};
use std::io;

/// Up to this length a file is read back even if the store has compared a hash of what it got.
const READ_BACK_BYTES: u64 = 1 << 20;

/// Whether a store compares a hash of what it gets with one that it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hashes {
    #[cfg_attr(
        not(feature = "s3"),
        allow(dead_code, reason = "S3 is the one that is known to do so")
    )]
    /// Yes: of a long file only the length is looked at.
    Compared,
    /// Not known: every file is read back.
    Unknown,
}

/// One try at creating a file. `doubt`: an earlier try may have created it.
///
/// "Exists" is not believed. A conflict of two requests is answered so by S3, after which there may
/// be no file, and so is our own file after an answer that was lost.
pub(super) async fn create(
    store: &dyn ObjectStore,
    path: &Path,
    bytes: Bytes,
    hashes: Hashes,
    doubt: bool,
) -> Result<(), Failure> {
    let payload = PutPayload::from(bytes.clone());
    let put = store.put_opts(path, payload, PutMode::Create.into()).await;
    let Err(error) = put else {
        // Whatever is wrong now, the file is there.
        return verify(store, path, &bytes, hashes)
            .await
            .map_err(Failure::in_doubt);
    };
    let failure = Failure::from(error);
    if failure.kind() != io::ErrorKind::AlreadyExists {
        return Err(failure);
    }
    let found = get::equals(store, path, &bytes).await;
    match found.map_err(Failure::in_doubt)? {
        None => Err(failure.passing()),
        Some(true) if doubt => Ok(()),
        Some(_) => Err(failure),
    }
}

async fn verify(
    store: &dyn ObjectStore,
    path: &Path,
    bytes: &[u8],
    hashes: Hashes,
) -> Result<(), Failure> {
    let sent = bytes.len() as u64;
    let is_same = match hashes {
        Hashes::Compared if sent > READ_BACK_BYTES => {
            let stored = get::len(store, path).await;
            stored.map(|stored| Some(stored == sent))
        }
        _ => get::equals(store, path, bytes).await,
    };
    match is_same {
        Ok(Some(true)) => Ok(()),
        Ok(Some(false)) => {
            let text = "the store has other bytes than it was sent";
            Err(Failure::doubtful(io::ErrorKind::InvalidData, text))
        }
        Ok(None) => Err(unseen()),
        Err(failure) if failure.kind() == io::ErrorKind::NotFound => Err(unseen()),
        Err(failure) => Err(failure),
    }
}

fn unseen() -> Failure {
    let text = "the file cannot be found after it was stored";
    Failure::doubtful(io::ErrorKind::Other, text).passing()
}
