//! Marks: frames that say something about the log which stays true after them.

use crate::format::frame::FrameKind;
use crate::format::layout::MAX_CURSOR_NAME;
use std::sync::Arc;

/// What a mark says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mark {
    /// The records whose frames start in this range count no more.
    Void { from: u64, to: u64 },
    /// A named consumer has come so far; `None` if it was removed.
    Cursor {
        name: Arc<str>,
        position: Option<u64>,
    },
}

/// In place of a position: the cursor was removed.
const REMOVED: u64 = u64::MAX;

impl Mark {
    pub(crate) fn kind(&self) -> FrameKind {
        match self {
            Self::Void { .. } => FrameKind::Void,
            Self::Cursor { .. } => FrameKind::Cursor,
        }
    }

    /// The payload of its frame.
    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Void { from, to } => [from.to_le_bytes(), to.to_le_bytes()].concat(),
            Self::Cursor { name, position } => {
                let mut payload = position.unwrap_or(REMOVED).to_le_bytes().to_vec();
                payload.extend_from_slice(name.as_bytes());
                payload
            }
        }
    }

    /// What a frame of this kind, which starts at `lsn`, says; `None` if it is no mark, or not
    /// well-formed. A mark speaks only of what lies before it.
    pub(crate) fn decode(kind: FrameKind, payload: &[u8], lsn: u64) -> Option<Self> {
        let (first, rest) = payload.split_first_chunk()?;
        let first = u64::from_le_bytes(*first);
        match kind {
            FrameKind::Void => {
                let to = u64::from_le_bytes(rest.try_into().ok()?);
                (first < to && to <= lsn).then_some(Self::Void { from: first, to })
            }
            FrameKind::Cursor => {
                let name = std::str::from_utf8(rest).ok()?;
                let position = (first != REMOVED).then_some(first);
                let sound = is_cursor_name(name) && position.is_none_or(|at| at <= lsn);
                sound.then(|| Self::Cursor {
                    name: Arc::from(name),
                    position,
                })
            }
            _ => None,
        }
    }
}

/// Whether a cursor can be called `name`.
pub(crate) fn is_cursor_name(name: &str) -> bool {
    (1..=MAX_CURSOR_NAME).contains(&name.len()) && !name.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_mark_reads_back() {
        let name: Arc<str> = Arc::from("billing");
        for mark in [
            Mark::Void { from: 8, to: 64 },
            Mark::Cursor {
                name: Arc::clone(&name),
                position: Some(64),
            },
            Mark::Cursor {
                name,
                position: None,
            },
        ] {
            let payload = mark.encode();
            assert_eq!(Mark::decode(mark.kind(), &payload, 64), Some(mark));
        }
    }

    /// A void of what comes after it would take back records that are not written yet.
    #[test]
    fn a_mark_speaks_of_what_lies_before_it() {
        let void = Mark::Void { from: 8, to: 64 };
        assert_eq!(Mark::decode(FrameKind::Void, &void.encode(), 56), None);
        let cursor = Mark::Cursor {
            name: Arc::from("billing"),
            position: Some(64),
        };
        assert_eq!(Mark::decode(FrameKind::Cursor, &cursor.encode(), 56), None);
    }

    #[test]
    fn an_empty_range_and_a_bad_name_are_refused() {
        let empty = Mark::Void { from: 64, to: 64 };
        assert_eq!(Mark::decode(FrameKind::Void, &empty.encode(), 64), None);
        for name in ["", "a\nb", &"x".repeat(MAX_CURSOR_NAME + 1)] {
            let mut payload = 0_u64.to_le_bytes().to_vec();
            payload.extend_from_slice(name.as_bytes());
            assert_eq!(
                Mark::decode(FrameKind::Cursor, &payload, 64),
                None,
                "{name:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn junk_does_not_panic(payload in proptest::collection::vec(any::<u8>(), 0..200)) {
            for kind in [FrameKind::Void, FrameKind::Cursor, FrameKind::Data] {
                let _ = Mark::decode(kind, &payload, u64::MAX);
            }
        }
    }
}
