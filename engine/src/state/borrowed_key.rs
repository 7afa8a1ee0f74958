//! Keys that are looked up without being owned.

use crate::record::Key;
use serde::Serialize;
use std::hash::Hash;

/// What [`key_by_ref`](crate::DStream::key_by_ref) emits pairs of: `str`, `[u8]`, and every
/// [`Key`]. A key is copied into one buffer per chunk of the log. State owns it
/// ([`ToOwned::Owned`]: `String`, `Vec<u8>`, the key itself) only when it is new.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a borrowed key",
    label = "borrowed keys are `str`, `[u8]`, or a type that can be a key itself"
)]
pub trait BorrowedKey:
    ToOwned<Owned: Key> + Eq + Hash + Serialize + sealed::Sealed + 'static
{
    /// Keys of one chunk, one after the other.
    #[doc(hidden)]
    type Arena: Default + Clone + Send + 'static;

    /// Whether a copy in an arena costs little: bytes, and no allocation of its own.
    #[doc(hidden)]
    const CHEAP: bool;

    /// Copies a key into an arena; `None` if that is full.
    #[doc(hidden)]
    fn put(arena: &mut Self::Arena, key: &Self) -> Option<Span>;

    /// Forgets all keys; their memory is kept.
    #[doc(hidden)]
    fn clear(arena: &mut Self::Arena);

    /// The key that was put at `span`.
    #[doc(hidden)]
    fn get(arena: &Self::Arena, span: Span) -> &Self;
}

mod sealed {
    pub trait Sealed {}
    impl<K: super::Key> Sealed for K {}
    impl Sealed for str {}
    impl Sealed for [u8] {}
}

/// Where a key is in its arena.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// From one length of an arena to another; `None` beyond 4 GiB.
    #[inline]
    fn new(start: usize, end: usize) -> Option<Self> {
        let (start, end) = (u32::try_from(start).ok()?, u32::try_from(end).ok()?);
        Some(Self { start, end })
    }

    #[inline]
    fn range(self) -> std::ops::Range<usize> {
        let place = |at: u32| usize::try_from(at).expect("a place fits the address space");
        place(self.start)..place(self.end)
    }
}

impl<K: Key> BorrowedKey for K {
    type Arena = Vec<K>;
    const CHEAP: bool = false;

    fn put(arena: &mut Vec<K>, key: &K) -> Option<Span> {
        let span = Span::new(arena.len(), arena.len() + 1)?;
        arena.push(key.clone());
        Some(span)
    }

    fn clear(arena: &mut Vec<K>) {
        arena.clear();
    }

    fn get(arena: &Vec<K>, span: Span) -> &K {
        let key = arena.get(span.range().start);
        key.expect("a span is that of a key")
    }
}

impl BorrowedKey for str {
    type Arena = String;
    const CHEAP: bool = true;

    #[inline]
    fn put(arena: &mut String, key: &str) -> Option<Span> {
        let span = Span::new(arena.len(), arena.len() + key.len())?;
        arena.push_str(key);
        Some(span)
    }

    fn clear(arena: &mut String) {
        arena.clear();
    }

    #[inline]
    fn get(arena: &String, span: Span) -> &str {
        let key = arena.get(span.range());
        key.expect("a span is that of a key")
    }
}

impl BorrowedKey for [u8] {
    type Arena = Vec<u8>;
    const CHEAP: bool = true;

    #[inline]
    fn put(arena: &mut Vec<u8>, key: &[u8]) -> Option<Span> {
        let span = Span::new(arena.len(), arena.len() + key.len())?;
        arena.extend_from_slice(key);
        Some(span)
    }

    fn clear(arena: &mut Vec<u8>) {
        arena.clear();
    }

    #[inline]
    fn get(arena: &Vec<u8>, span: Span) -> &[u8] {
        let key = arena.get(span.range());
        key.expect("a span is that of a key")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::key_group::KeyGroups;
    use std::fmt::Debug;

    fn round_trips<Q: BorrowedKey + Debug + ?Sized>(keys: &[&Q]) {
        let (mut arena, groups) = (Q::Arena::default(), KeyGroups::new(8, 7));
        let spans: Vec<Span> = keys
            .iter()
            .map(|k| Q::put(&mut arena, k).unwrap())
            .collect();
        for (key, span) in keys.iter().zip(spans) {
            assert_eq!(Q::get(&arena, span), *key);
            let owned = (*key).to_owned();
            assert_eq!(groups.hash(*key).unwrap(), groups.hash(&owned).unwrap());
        }
    }

    #[test]
    fn keys_come_back_from_their_arena_and_hash_as_what_owns_them() {
        round_trips::<str>(&["", "a", "", "ä€🦀", "the"]);
        round_trips::<[u8]>(&[b"", b"\xff\x00", b"the"]);
        round_trips::<(String, u8)>(&[&("a".to_owned(), 1), &(String::new(), 2)]);
        assert_eq!(Span::new(0, 1 << 32), None, "an arena ends at 4 GiB");
    }
}
