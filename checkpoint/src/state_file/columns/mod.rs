//! A payload by columns: the names of fields once, and the values of each field together.
//!
//! Nothing is known of the program's types. A payload is taken apart as the MessagePack that it is,
//! and put together again byte by byte: what is read is exactly what was written, whatever the
//! types are or have become. A payload that is something else is not taken apart.
//!
//! A map whose keys are names is a struct, as a rule. Each list of names that occurs is a *shape*
//! with one column for each name. What such a map leaves in its place is its shape's number.
//!
//! | file | holds |
//! |---|---|
//! | `value` | where a MessagePack value ends |
//! | `split` | a payload taken apart |
//! | `join` | the same put together again |

pub(crate) mod join;
pub(crate) mod split;
mod value;

/// No MessagePack value begins with this byte. The number of a shape follows it.
const SHAPE: u8 = 0xC1;

/// Shapes in a block: numbers have one byte. Other maps stay as they are.
const MAX_SHAPES: usize = 128;

/// Names in a shape.
const MAX_FIELDS: usize = 128;

/// Values that are nested deeper stay as they are.
const MAX_DEPTH: usize = 8;

/// How many values each item has, as bytes.
const COUNTS: usize = 0;

/// The keys, removed ones included.
const KEYS: usize = 1;

/// The states.
const STATES: usize = 2;

/// What follows the first value of an item.
const REST: usize = 3;

/// The columns of shapes come after these.
const FIRST: usize = 4;

/// The column that an item begins in. Removed keys come first, then keys and states in turns.
fn column_of(item: u64, removed: u64) -> usize {
    match item.checked_sub(removed) {
        Some(later) if later % 2 == 1 => STATES,
        _ => KEYS,
    }
}

#[cfg(test)]
mod tests {
    use super::join::join;
    use super::split::split;
    use crate::entries::append_item;
    use crate::merge::Payload;
    use proptest::prelude::*;

    /// MessagePack that may be nested, with maps of names, and of others.
    fn value() -> impl Strategy<Value = Vec<u8>> {
        let number = any::<u64>().prop_map(|n| [&[0xCF][..], &n.to_be_bytes()].concat());
        let bytes = proptest::collection::vec(any::<u8>(), 0..70);
        let texts = proptest::collection::vec(any::<u8>(), 0..300).prop_map(|bytes| text(&bytes));
        let binary = bytes.prop_map(|b| [&[0xC4, byte(b.len())][..], &b].concat());
        let small = prop_oneof![
            (0..=0x7F_u8).prop_map(|n| vec![n]),
            Just(vec![0xC0]),
            Just(vec![0xC3]),
            Just(vec![0xD6, 5, 1, 2, 3, 4]),
            Just(vec![0xCA, 1, 2, 3, 4]),
        ];
        prop_oneof![small, number, texts, binary].prop_recursive(12, 60, 6, |inner| {
            let list = proptest::collection::vec(inner.clone(), 0..6);
            let list = list.prop_map(|of| head(0x90, 0xDC, of.len(), &of.concat()));
            let names = prop_oneof![
                Just(vec!["id", "name", "lines"]),
                Just(vec!["id", "name", "price"]),
                Just(vec!["x"]),
                Just(vec![]),
                Just(vec!["x", "x"]),
            ];
            let known =
                (names, proptest::collection::vec(inner.clone(), 3)).prop_map(|(names, values)| {
                    let fields = names.iter().zip(values);
                    let fields: Vec<u8> = fields
                        .flat_map(|(name, value)| [text(name.as_bytes()), value].concat())
                        .collect();
                    head(0x80, 0xDE, names.len(), &fields)
                });
            let other = proptest::collection::vec((inner.clone(), inner), 0..20).prop_map(|of| {
                head(
                    0x80,
                    0xDE,
                    of.len(),
                    &of.iter()
                        .flat_map(|(k, v)| [k.clone(), v.clone()].concat())
                        .collect::<Vec<_>>(),
                )
            });
            prop_oneof![list, known.clone(), known, other]
        })
    }

    fn byte(len: usize) -> u8 {
        u8::try_from(len).unwrap()
    }

    fn text(bytes: &[u8]) -> Vec<u8> {
        let head = match bytes.len() {
            len @ 0..32 => vec![0xA0 | byte(len)],
            len @ 32..256 => vec![0xD9, byte(len)],
            len => vec![0xDA, byte(len >> 8), byte(len & 0xFF)],
        };
        [head, bytes.to_vec()].concat()
    }

    fn head(few: u8, many: u8, len: usize, content: &[u8]) -> Vec<u8> {
        match len {
            0..16 => [&[few | byte(len)][..], content].concat(),
            _ => [&[many, 0, byte(len)][..], content].concat(),
        }
    }

    fn payload(removed: &[Vec<u8>], entries: &[(Vec<u8>, Vec<u8>)]) -> Payload {
        let mut bytes = Vec::new();
        for key in removed {
            append_item(&mut bytes, key);
        }
        for (key, state) in entries {
            append_item(&mut bytes, key);
            append_item(&mut bytes, state);
        }
        Payload {
            removed: removed.len() as u64,
            entries: entries.len() as u64,
            bytes,
        }
    }

    fn comes_back(payload: &Payload) -> Result<(), TestCaseError> {
        let apart = split(payload);
        prop_assert!(apart.is_some());
        let apart = apart.unwrap();
        let len = payload.bytes.len() as u64;
        prop_assert!(
            apart.len() as u64 <= super::join::most(len),
            "{} of {len}",
            apart.len()
        );
        let joined = join(&apart, payload.removed, payload.entries, len);
        prop_assert_eq!(joined.as_ref(), Ok(&payload.bytes));
        Ok(())
    }

    proptest! {
        /// Every byte comes back.
        #[test]
        fn what_is_taken_apart_comes_back(
            removed in proptest::collection::vec(value(), 0..4),
            entries in proptest::collection::vec((value(), value()), 0..12),
            stamp in any::<bool>(),
        ) {
            let stamp: &[u8] = if stamp { &[0xD7, 1, 0, 0, 1, 2, 3, 4, 5, 6] } else { &[] };
            let entries: Vec<_> = entries
                .into_iter()
                .map(|(key, state)| (key, [&state, stamp].concat()))
                .collect();
            comes_back(&payload(&removed, &entries))?;
        }

        /// What is no MessagePack is left alone, or comes back as it was.
        #[test]
        fn other_bytes_are_never_changed(
            removed in 0..3_u64,
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
            items in proptest::collection::vec(
                proptest::collection::vec(any::<u8>(), 0..20), 0..8),
        ) {
            for bytes in [bytes, { let mut all = Vec::new(); items.iter().for_each(|i| append_item(&mut all, i)); all }] {
                for entries in 0..5 {
                    let payload = Payload { removed, entries, bytes: bytes.clone() };
                    if split(&payload).is_some() {
                        comes_back(&payload)?;
                    }
                }
            }
        }

        /// What was damaged is an error, or something else of the same length; never a panic.
        #[test]
        fn damaged_columns_are_no_reason_to_panic(
            entries in proptest::collection::vec((value(), value()), 1..6),
            at in any::<prop::sample::Index>(),
            to in any::<u8>(),
            cut in any::<bool>(),
        ) {
            let payload = payload(&[], &entries);
            let mut apart = split(&payload).unwrap();
            let at = at.index(apart.len());
            if cut { apart.truncate(at) } else { apart[at] = to }
            let len = payload.bytes.len() as u64;
            if let Ok(bytes) = join(&apart, 0, payload.entries, len) {
                prop_assert_eq!(bytes.len() as u64, len);
            }
        }
    }

    /// Many lists of names, long ones, names that are no text, and maps of other keys.
    #[test]
    fn maps_that_are_no_structs_come_back() {
        let field = |name: &str| [text(name.as_bytes()), vec![7]].concat();
        let many: Vec<_> = (0..400)
            .map(|n| (vec![1], head(0x80, 0xDE, 1, &field(&format!("name {n}")))))
            .collect();
        let long: Vec<u8> = (0..200).flat_map(|n| field(&format!("f{n}"))).collect();
        let long = vec![(vec![1], head(0x80, 0xDE, 200, &long)); 3];
        // A name that is written longer than it must be, and numbers of 32 bits.
        let odd = [&[0x81, 0xD9, 1, b'a', 7][..], &[0xDE, 0, 1, 0xA1, b'a', 7]];
        let odd: Vec<_> = odd.iter().map(|odd| (vec![1], odd.to_vec())).collect();
        let wide = vec![(vec![2], [&[0xDF, 0, 0, 0, 1, 0xA1, b'a', 7][..]].concat())];
        let deep: Vec<u8> = (0..5000)
            .flat_map(|_| [0x81, 0xA1, b'x'])
            .chain([7])
            .collect();
        for entries in [many, long, odd, wide, vec![(vec![2], deep)]] {
            comes_back(&payload(&[], &entries)).unwrap();
        }
        comes_back(&payload(&[], &[(vec![], vec![])])).unwrap();
        comes_back(&payload(&[], &[])).unwrap();
    }

    /// The names are there once.
    #[test]
    fn names_are_written_once() {
        let line = |n: u8| {
            let fields = [
                text(b"a long name"),
                vec![n],
                text(b"another name"),
                vec![7],
            ];
            head(0x80, 0xDE, 2, &fields.concat())
        };
        let entries: Vec<_> = (0..100).map(|n| (vec![n], line(n))).collect();
        let apart = split(&payload(&[], &entries)).unwrap();
        let found = apart.windows(11).filter(|part| part == b"a long name");
        assert_eq!(found.count(), 1);
        assert!(apart.len() < 900, "{}", apart.len());
    }
}
