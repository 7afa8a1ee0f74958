//! Entries and state as bytes: a version, then MessagePack. The log has the checksums.

use crate::error::StoreError;
use highwater_wal::{Lsn, StreamId};
use openraft::{LogId, NodeId, Vote};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Of the entries.
pub(crate) const ENTRIES: StreamId = StreamId(0);
/// Of the state.
pub(crate) const STATE: StreamId = StreamId(1);

/// The first byte of each record.
const VERSION: u8 = 1;

/// What a node knows beside its entries. Each record of it is whole: the newest counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound = "")]
pub(crate) struct State<N: NodeId> {
    pub(crate) vote: Option<Vote<N>>,
    pub(crate) committed: Option<LogId<N>>,
    /// Entries up to this one are gone.
    pub(crate) purged: Option<LogId<N>>,
    /// Entries below this LSN do not count.
    pub(crate) start: u64,
}

impl<N: NodeId> Default for State<N> {
    fn default() -> Self {
        Self {
            vote: None,
            committed: None,
            purged: None,
            start: 0,
        }
    }
}

pub(crate) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, StoreError> {
    let mut bytes = vec![VERSION];
    rmp_serde::encode::write(&mut bytes, value)?;
    Ok(bytes)
}

pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8], lsn: Lsn) -> Result<T, StoreError> {
    let bad = |what: String| StoreError::Decode { lsn, what };
    match bytes.split_first() {
        Some((&VERSION, rest)) => rmp_serde::from_slice(rest)
            .map_err(|e| bad(format!("{e}; did the types of the program change?"))),
        Some((version, _)) => Err(bad(format!(
            "it has version {version}, this program knows {VERSION}"
        ))),
        None => Err(bad("it is empty".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_read_as_it_is_written() {
        let state = State::<u64> {
            vote: Some(Vote::new(3, 1)),
            committed: None,
            purged: Some(LogId::default()),
            start: 4096,
        };
        let bytes = encode(&state).expect("it has bytes");
        let read: State<u64> = decode(&bytes, Lsn::ZERO).expect("it is whole");
        assert_eq!(read, state);
    }

    /// Bytes of version 1 stay readable.
    #[test]
    fn bytes_of_version_1_are_known() {
        let state = State::<u64> {
            vote: Some(Vote::new_committed(3, 1)),
            committed: None,
            purged: None,
            start: 8,
        };
        let bytes = encode(&state).expect("it has bytes");
        let expected = [1, 0x94, 0x92, 0x92, 3, 1, 0xc3, 0xc0, 0xc0, 8];
        assert_eq!(bytes, expected);
    }

    #[test]
    fn other_bytes_are_refused_with_the_reason() {
        for (bytes, why) in [
            (&[][..], "empty"),
            (&[2, 0x90][..], "version 2"),
            (&[1, 0xc1][..], "types of the program"),
        ] {
            let read: Result<State<u64>, _> = decode(bytes, Lsn::new(64));
            let error = read.expect_err("it is no state").to_string();
            assert!(error.contains(why) && error.contains("LSN 64"), "{error}");
        }
    }
}
