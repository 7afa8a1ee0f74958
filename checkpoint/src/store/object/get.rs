//! Reading files of an object store.

use crate::store::object::failure::Failure;
use bytes::Bytes;
use futures_util::StreamExt;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt};
use std::io;

/// Length of a file.
pub(super) async fn len(store: &dyn ObjectStore, path: &Path) -> Result<u64, Failure> {
    Ok(store.head(path).await?.size)
}

/// The whole file, if it has at most `max` bytes.
pub(super) async fn whole(
    store: &dyn ObjectStore,
    path: &Path,
    max: u64,
) -> Result<Vec<u8>, Failure> {
    let found = store.get(path).await?;
    let size = found.meta.size;
    if size > max {
        let text = format!("{size} bytes, at most {max} are accepted");
        return Err(Failure::refused(io::ErrorKind::FileTooLarge, text));
    }
    collect(found.into_stream(), size).await
}

/// `len` bytes from `offset` on.
pub(super) async fn range(
    store: &dyn ObjectStore,
    path: &Path,
    offset: u64,
    len: u64,
) -> Result<Vec<u8>, Failure> {
    let end = offset.checked_add(len).ok_or_else(too_short)?;
    if len == 0 {
        // No request can ask for nothing.
        return match self::len(store, path).await? < end {
            true => Err(too_short()),
            false => Ok(Vec::new()),
        };
    }
    let options = GetOptions {
        range: Some(GetRange::Bounded(offset..end)),
        ..GetOptions::default()
    };
    let found = match store.get_opts(path, options).await {
        Ok(found) => found,
        Err(error) => {
            let failure = Failure::from(error);
            // A range that begins after the end is refused, by each store in its own way.
            let may_be_short = failure.kind() != io::ErrorKind::NotFound;
            let is_short =
                may_be_short && self::len(store, path).await.is_ok_and(|size| size < end);
            return Err(if is_short { too_short() } else { failure });
        }
    };
    if found.meta.size < end {
        return Err(too_short());
    }
    if found.range != (offset..end) {
        let text = format!("asked for bytes {offset}..{end}, got {:?}", found.range);
        return Err(Failure::doubtful(io::ErrorKind::InvalidData, text).passing());
    }
    collect(found.into_stream(), len).await
}

type Stream = futures_util::stream::BoxStream<'static, object_store::Result<Bytes>>;

/// The `len` bytes of an answer that has announced them.
async fn collect(mut stream: Stream, len: u64) -> Result<Vec<u8>, Failure> {
    let capacity = usize::try_from(len)
        .map_err(|_| Failure::refused(io::ErrorKind::OutOfMemory, "too long for this machine"))?;
    let mut bytes = Vec::with_capacity(capacity);
    while let Some(part) = stream.next().await {
        bytes.extend_from_slice(&part?);
    }
    if bytes.len() == capacity {
        return Ok(bytes);
    }
    let text = format!("{} bytes came of {len}", bytes.len());
    Err(Failure::doubtful(io::ErrorKind::InvalidData, text).passing())
}

/// Whether a file has exactly these bytes; `None` if there is none. Holds no second copy.
pub(super) async fn equals(
    store: &dyn ObjectStore,
    path: &Path,
    bytes: &[u8],
) -> Result<Option<bool>, Failure> {
    let found = match store.get(path).await.map_err(Failure::from) {
        Ok(found) => found,
        Err(failure) if failure.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(failure) => return Err(failure),
    };
    if found.meta.size != bytes.len() as u64 {
        return Ok(Some(false));
    }
    let (mut rest, mut stream) = (bytes, found.into_stream());
    while let Some(part) = stream.next().await {
        match rest.strip_prefix(&*part?) {
            Some(after) => rest = after,
            None => return Ok(Some(false)),
        }
    }
    match rest.is_empty() {
        true => Ok(Some(true)),
        // The answer broke off.
        false => {
            let text = format!("{} bytes are missing at the end of an answer", rest.len());
            Err(Failure::doubtful(io::ErrorKind::InvalidData, text).passing())
        }
    }
}

fn too_short() -> Failure {
    Failure::refused(io::ErrorKind::UnexpectedEof, "the file ends before")
}
