//! Whether a value comes back from the codec as it went in.
//!
//! Serde does not promise it. MessagePack writes `Some(None)` as it writes `None`. A field that is
//! skipped when it is empty needs a default to be read. An internally tagged enum cannot read
//! 128-bit numbers. What a serializer can see of this is refused before it is lost. What it cannot
//! see (`#[serde(skip)]` in a value that cannot be compared) is documented at
//! [`State`](crate::State) and [`Key`].

use crate::codec::exact::is_exact;
use crate::codec::message_pack;
use crate::codec::shape::{ShapeError, Visitor, visit};
use crate::record::Key;
use rmpv::Value as Tree;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Longest rendering of a key or value in a message, in bytes.
const SHOWN: usize = 160;

/// Refuses what the codec would change without a word: an `Option` whose content is written as
/// `None` is. Writes nothing; for numbers and strings it compiles to next to nothing.
pub(crate) fn check<T: Serialize + ?Sized>(value: &T) -> Result<(), String> {
    visit(value, &mut Shape { in_some: false }).map_err(|e| e.to_string())
}

/// Encodes `value` and makes sure that it can be read back.
pub(crate) fn encode<T: Serialize + DeserializeOwned>(value: &T) -> Result<Vec<u8>, String> {
    check(value)?;
    let bytes = message_pack::encode(value).map_err(|e| e.to_string())?;
    read_back::<T>(&bytes)?;
    Ok(bytes)
}

/// Whether `bytes`, written from a `T`, read back as a `T` that is written in the same way.
pub(crate) fn read_back<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Result<(), String> {
    let value: T = message_pack::decode(bytes).map_err(|e| unreadable(&e))?;
    let again = message_pack::encode(&value).map_err(|e| e.to_string())?;
    if same(bytes, &again) {
        return Ok(());
    }
    Err(format!(
        "it reads back as something else: {} was written, {} comes back",
        show(bytes),
        show(&again)
    ))
}

/// `key` as it comes back from a checkpoint, which must be equal. The copy borrows nothing: it is
/// what state keeps.
pub(crate) fn own<K: Key>(key: &K) -> Result<K, String> {
    if is_exact::<K>() {
        return Ok(key.clone());
    }
    let bytes = message_pack::encode(key).map_err(|e| format!("a key does not serialise: {e}"))?;
    let fault = |what: String| format!("the key {} cannot be kept: {what}", show(&bytes));
    check(key).map_err(fault)?;
    let owned: K = message_pack::decode(&bytes).map_err(|e| fault(unreadable(&e)))?;
    if owned == *key {
        return Ok(owned);
    }
    Err(fault(
        "what is read back is another key. Does its type skip a field (#[serde(skip)]) that `Eq` compares?".to_owned(),
    ))
}

/// Whether `value`, which was read from `written`, is written so again; maps and sets in any order.
pub(crate) fn is_written_as<T: Serialize + 'static>(value: &T, written: &[u8]) -> bool {
    is_exact::<T>() || message_pack::encode(value).is_ok_and(|again| same(written, &again))
}

fn unreadable(error: &str) -> String {
    format!(
        "what was written does not read back: {error}. A field that is skipped needs #[serde(default)]"
    )
}

/// What the codec wrote, for a message; long ones are cut.
pub(crate) fn show(mut bytes: &[u8]) -> String {
    let Ok(tree) = rmpv::decode::read_value(&mut bytes) else {
        return "(unreadable)".to_owned();
    };
    let mut text = tree.to_string();
    if text.len() > SHOWN {
        let end = (0..=SHOWN).rev().find(|at| text.is_char_boundary(*at));
        text.truncate(end.unwrap_or(0));
        text.push('…');
    }
    text
}

/// A value, for a message.
pub(crate) fn show_value<T: Serialize + ?Sized>(value: &T) -> String {
    message_pack::encode(value)
        .map_or_else(|_| "(does not serialise)".to_owned(), |bytes| show(&bytes))
}

/// Whether two encodings are of equal values: a hash map or set comes back in another order.
fn same(a: &[u8], b: &[u8]) -> bool {
    a == b || sorted(a).is_some_and(|a| sorted(b) == Some(a))
}

fn sorted(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let tree = rmpv::decode::read_value(&mut bytes).ok()?;
    written(&sort(tree))
}

fn sort(tree: Tree) -> Tree {
    match tree {
        Tree::Array(mut items) => {
            items = items.into_iter().map(sort).collect();
            items.sort_by_cached_key(written);
            Tree::Array(items)
        }
        Tree::Map(mut entries) => {
            entries = entries
                .into_iter()
                .map(|(k, v)| (sort(k), sort(v)))
                .collect();
            entries.sort_by_cached_key(|(key, value)| (written(key), written(value)));
            Tree::Map(entries)
        }
        other => other,
    }
}

fn written(tree: &Tree) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    rmpv::encode::write_value(&mut out, tree).ok()?;
    Some(out)
}

/// Looks for what is written as `None` directly inside a `Some`.
struct Shape {
    in_some: bool,
}

impl Shape {
    fn filled(&mut self) -> Result<(), ShapeError> {
        self.in_some = false;
        Ok(())
    }

    fn empty(&mut self) -> Result<(), ShapeError> {
        if self.in_some {
            return Err(ShapeError(NESTED.to_owned()));
        }
        Ok(())
    }
}

const NESTED: &str = "it holds an `Option` inside an `Option`, or `Some(())`. MessagePack writes `Some(None)` and `Some(())` \
    as it writes `None`, so they would come back as `None`: use an enum with a variant for each case";

impl Visitor for Shape {
    fn word(&mut self, _: u64) -> Result<(), ShapeError> {
        self.filled()
    }
    fn bytes(&mut self, _: &[u8]) -> Result<(), ShapeError> {
        self.filled()
    }
    fn product(&mut self) -> Result<(), ShapeError> {
        self.filled()
    }
    fn none(&mut self) -> Result<(), ShapeError> {
        self.empty()
    }
    fn unit(&mut self) -> Result<(), ShapeError> {
        self.empty()
    }
    fn some(&mut self) -> Result<(), ShapeError> {
        self.empty()?;
        self.in_some = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use std::collections::{HashMap, HashSet};

    fn refused<T: Serialize + DeserializeOwned>(value: &T) -> String {
        encode(value).unwrap_err()
    }

    #[test]
    fn an_option_in_an_option_is_refused_however_it_is_wrapped() {
        #[derive(Serialize, Deserialize)]
        struct Wrapper(Option<u8>);
        #[derive(Serialize, Deserialize)]
        struct Deep {
            list: Vec<(u8, Option<Option<u8>>)>,
        }
        assert!(refused(&Some(None::<u8>)).contains("Some(None)"));
        assert!(refused(&Some(Some(3_u8))).contains("Option"));
        assert!(refused(&Some(())).contains("Some(())"));
        assert!(refused(&Some(Wrapper(None))).contains("enum"));
        assert!(
            refused(&Deep {
                list: vec![(1, Some(Some(1))), (2, Some(None))]
            })
            .contains("enum")
        );
        assert!(refused(&Some(Box::new(None::<u8>))).contains("enum"));
    }

    #[test]
    fn plain_options_units_and_collections_are_kept() {
        #[derive(Serialize, Deserialize)]
        struct Unit;
        encode(&(None::<u8>, Some(3_u8), ())).unwrap();
        encode(&Some(Unit)).unwrap();
        encode(&Some(Vec::<Option<u8>>::new())).unwrap();
        encode(&Some(vec![None, Some(1_u8)])).unwrap();
        encode(&Some([(); 0])).unwrap();
        encode(&(u128::MAX, i128::MIN, f64::NAN, 'x', 0.1_f32)).unwrap();
    }

    /// Their order changes with every instance; that is no change of the value.
    #[test]
    fn hash_maps_and_sets_are_kept_although_their_order_changes() {
        let set: HashSet<u64> = (0..100).collect();
        let map: HashMap<String, HashSet<u64>> =
            (0..50).map(|i| (format!("k{i}"), set.clone())).collect();
        for _ in 0..10 {
            encode(&map).unwrap();
        }
    }

    #[test]
    fn a_skipped_field_without_a_default_is_refused() {
        #[derive(Serialize, Deserialize)]
        struct Cart {
            #[serde(skip_serializing_if = "Vec::is_empty")]
            items: Vec<u32>,
        }
        encode(&Cart { items: vec![1] }).unwrap();
        assert!(refused(&Cart { items: vec![] }).contains("missing field `items`"));
    }

    #[test]
    fn a_default_that_is_not_what_was_skipped_is_refused() {
        fn one() -> u8 {
            1
        }
        fn is_zero(n: &u8) -> bool {
            *n == 0
        }
        #[derive(Serialize, Deserialize)]
        struct Count {
            #[serde(default = "one", skip_serializing_if = "is_zero")]
            n: u8,
        }
        encode(&Count { n: 1 }).unwrap();
        let text = refused(&Count { n: 0 });
        assert!(
            text.contains("something else") && text.contains("\"n\""),
            "{text}"
        );
    }

    #[test]
    fn a_tagged_enum_with_a_128_bit_number_is_refused() {
        #[derive(Serialize, Deserialize)]
        #[serde(tag = "t")]
        enum Event {
            A { big: u128 },
        }
        assert!(refused(&Event::A { big: 1 }).contains("does not read back"));
    }

    #[test]
    fn a_key_that_hides_a_field_from_serde_is_refused_and_shown() {
        #[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
        struct Hidden {
            id: u8,
            #[serde(skip)]
            region: u8,
        }
        own(&Hidden { id: 1, region: 0 }).map(drop).unwrap();
        let text = own(&Hidden { id: 1, region: 7 }).map(drop).unwrap_err();
        assert!(
            text.contains("{\"id\": 1}") && text.contains("serde(skip)"),
            "{text}"
        );
    }

    #[test]
    fn a_long_value_is_cut_in_a_message() {
        let text = show(&message_pack::encode(&"ä".repeat(1000)).unwrap());
        assert!(text.len() < SHOWN + 4 && text.ends_with('…'), "{text}");
    }
}
