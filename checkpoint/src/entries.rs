//! What the payload of a block is: items, each with its length before it.
//!
//! A block has removed keys first, then entries, each a key and a value. What they mean is the
//! engine's business.

use std::fmt::Display;

/// Appends an item that `write` writes: `u32` length, then the bytes.
///
/// # Errors
/// What `write` returns, and an item of 4 GiB or more. `out` is of no further use then.
pub fn append<E: Display>(
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<(), String> {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    write(out).map_err(|e| format!("it does not serialise: {e}"))?;
    let len = u32::try_from(out.len() - at - 4)
        .map_err(|_| "an entry is larger than 4 GiB".to_owned())?;
    if let Some(place) = out.get_mut(at..at + 4) {
        place.copy_from_slice(&len.to_le_bytes());
    }
    Ok(())
}

/// Appends an item whose bytes are at hand; it was an item of a block before.
pub(crate) fn append_item(out: &mut Vec<u8>, item: &[u8]) {
    let len = u32::try_from(item.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(item);
}

/// Takes the next item off `rest`; `None` if there is no whole one.
pub fn take<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (len, tail) = rest.split_first_chunk::<4>()?;
    let len = usize::try_from(u32::from_le_bytes(*len)).ok()?;
    let (item, tail) = tail.split_at_checked(len)?;
    *rest = tail;
    Some(item)
}

/// The entries of a block without removed keys, key and value, in order. The last item is an error
/// if the bytes end inside of an entry.
pub fn entries(bytes: &[u8]) -> impl Iterator<Item = Result<(&[u8], &[u8]), Truncated>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let entry = take(&mut rest).and_then(|key| take(&mut rest).map(|value| (key, value)));
        if entry.is_none() {
            rest = &[];
        }
        Some(entry.ok_or(Truncated))
    })
}

/// The bytes of a block end inside of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the block ends inside an entry")]
pub struct Truncated;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_back_and_a_cut_is_noticed() {
        let mut bytes = Vec::new();
        for (key, value) in [("a", ""), ("", "long value"), ("key", "v")] {
            append_item(&mut bytes, key.as_bytes());
            append_item(&mut bytes, value.as_bytes());
        }
        let found: Vec<_> = entries(&bytes).map(Result::unwrap).collect();
        assert_eq!(found[1], (&b""[..], &b"long value"[..]));
        assert_eq!(found.len(), 3);
        let whole: Vec<usize> = (0..=bytes.len())
            .filter(|cut| entries(&bytes[..*cut]).all(|entry| entry.is_ok()))
            .collect();
        assert_eq!(whole.len(), 4, "only where an entry ends: {whole:?}");
    }
}
