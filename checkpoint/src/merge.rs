//! Several blocks of one key group as one: what a reader of the checkpoint sees, and what replaces
//! them when a chain has become too long.
//!
//! The base comes first. A delta takes its removed keys away. Then each of its entries takes the
//! place of that of the same key, or goes to the end. So keys stay in the order of their creation,
//! and no block needs a number for that. A key that was removed and created again is in both parts
//! of the delta: it goes to the end.

use crate::entries::{append_item, entries, take};
use hashbrown::HashMap;
use hashbrown::HashSet;

/// The payload of a block, and how many items it has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Payload {
    pub(crate) removed: u64,
    pub(crate) entries: u64,
    pub(crate) bytes: Vec<u8>,
}

type Set<'a> = HashSet<&'a [u8], foldhash::fast::RandomState>;
type Places<'a> = HashMap<&'a [u8], usize, foldhash::fast::RandomState>;

/// What deltas change, together.
#[derive(Default)]
struct Overlay<'a> {
    removed: Set<'a>,
    /// In the order in which keys were removed, for the same bytes every time.
    removed_in_order: Vec<&'a [u8]>,
    entries: Vec<Option<(&'a [u8], &'a [u8])>>,
    places: Places<'a>,
}

impl<'a> Overlay<'a> {
    fn apply(&mut self, delta: &'a Payload) -> Result<(), String> {
        let mut rest = delta.bytes.as_slice();
        for _ in 0..delta.removed {
            let key = take(&mut rest).ok_or("it ends inside a removed key")?;
            if self.removed.insert(key) {
                self.removed_in_order.push(key);
            }
            if let Some(place) = self.places.remove(key)
                && let Some(entry) = self.entries.get_mut(place)
            {
                *entry = None;
            }
        }
        let mut found = 0;
        for entry in entries(rest) {
            let (key, value) = entry.map_err(|e| e.to_string())?;
            found += 1;
            let place = *self.places.entry(key).or_insert(self.entries.len());
            match self.entries.get_mut(place) {
                Some(there) => *there = Some((key, value)),
                None => self.entries.push(Some((key, value))),
            }
        }
        counted(found, delta.entries)
    }
}

fn counted(found: u64, expected: u64) -> Result<(), String> {
    match found == expected {
        true => Ok(()),
        false => Err(format!("it has {found} entries, {expected} were written")),
    }
}

/// Several deltas as one, the oldest first.
pub(crate) fn deltas(blocks: &[Payload]) -> Result<Payload, String> {
    let mut overlay = Overlay::default();
    blocks.iter().try_for_each(|delta| overlay.apply(delta))?;
    let mut all = Payload::default();
    for key in &overlay.removed_in_order {
        append_item(&mut all.bytes, key);
        all.removed += 1;
    }
    for (key, value) in overlay.entries.into_iter().flatten() {
        append_item(&mut all.bytes, key);
        append_item(&mut all.bytes, value);
        all.entries += 1;
    }
    Ok(all)
}

/// A base and the deltas after it, the oldest first, as a base.
pub(crate) fn base(base: Payload, later: &[Payload]) -> Result<Payload, String> {
    if later.is_empty() {
        return Ok(base);
    }
    if base.removed > 0 {
        return Err("a base has removed keys".to_owned());
    }
    let mut overlay = Overlay::default();
    later.iter().try_for_each(|delta| overlay.apply(delta))?;
    let mut all = Payload {
        bytes: Vec::with_capacity(base.bytes.len()),
        ..Payload::default()
    };
    let mut put = |key: &[u8], value: &[u8]| {
        append_item(&mut all.bytes, key);
        append_item(&mut all.bytes, value);
        all.entries += 1;
    };
    let mut found = 0;
    for entry in entries(&base.bytes) {
        let (key, value) = entry.map_err(|e| e.to_string())?;
        found += 1;
        if overlay.removed.contains(key) {
            continue; // if it was created again it comes below
        }
        let changed = overlay.places.get(key).copied();
        let changed = changed.and_then(|place| overlay.entries.get_mut(place)?.take());
        put(key, changed.map_or(value, |(_, value)| value));
    }
    counted(found, base.entries)?;
    for (key, value) in overlay.entries.into_iter().flatten() {
        put(key, value);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What a block holds, by number: keys are bytes, values too.
    #[derive(Debug, Clone, Default)]
    struct Delta {
        removed: Vec<u8>,
        entries: Vec<(u8, u8)>,
    }

    fn payload(delta: &Delta) -> Payload {
        let mut bytes = Vec::new();
        for key in &delta.removed {
            append_item(&mut bytes, &[*key]);
        }
        for (key, value) in &delta.entries {
            append_item(&mut bytes, &[*key]);
            append_item(&mut bytes, &[*value]);
        }
        Payload {
            removed: delta.removed.len() as u64,
            entries: delta.entries.len() as u64,
            bytes,
        }
    }

    /// A table of keys in the order of creation, and a delta for what a random step does to it.
    fn step(table: &mut Vec<(u8, u8)>, actions: &[(u8, u8, bool)]) -> Delta {
        let before = table.clone();
        for (key, value, removes) in actions {
            let at = table.iter().position(|(k, _)| k == key);
            match (at, removes) {
                (Some(at), true) => drop(table.remove(at)),
                (Some(at), false) => table[at].1 = *value,
                (None, true) => {}
                (None, false) => table.push((*key, *value)),
            }
        }
        let gone = |(key, _): &&(u8, u8)| actions.iter().any(|(k, _, r)| k == key && *r);
        let removed: Vec<u8> = before.iter().filter(gone).map(|(key, _)| *key).collect();
        let touched = |(key, _): &&(u8, u8)| actions.iter().any(|(k, ..)| k == key);
        Delta {
            removed,
            entries: table.iter().filter(touched).copied().collect(),
        }
    }

    proptest! {
        /// Contents and order, however a chain is put together.
        #[test]
        fn a_chain_is_what_the_table_was(
            base_keys in proptest::collection::btree_map(0..30_u8, any::<u8>(), 0..20),
            steps in proptest::collection::vec(
                proptest::collection::vec((0..30_u8, any::<u8>(), any::<bool>()), 0..8),
                0..9,
            ),
            split in any::<prop::sample::Index>(),
        ) {
            let mut table: Vec<(u8, u8)> = base_keys.into_iter().rev().collect();
            let first = Delta { removed: vec![], entries: table.clone() };
            let chain: Vec<Payload> = steps.iter().map(|s| payload(&step(&mut table, s))).collect();
            let expected = payload(&Delta { removed: vec![], entries: table });
            prop_assert_eq!(&base(payload(&first), &chain).unwrap(), &expected);
            let at = split.index(chain.len() + 1);
            let (older, newer) = chain.split_at(at);
            let merged = [deltas(older).unwrap(), deltas(newer).unwrap()];
            prop_assert_eq!(&base(payload(&first), &merged).unwrap(), &expected);
            let early = base(payload(&first), older).unwrap();
            prop_assert_eq!(&base(early, newer).unwrap(), &expected);
        }
    }

    #[test]
    fn what_is_cut_or_counted_wrongly_is_an_error() {
        let base_block = payload(&Delta {
            removed: vec![],
            entries: vec![(1, 1), (2, 2)],
        });
        let delta = payload(&Delta {
            removed: vec![1],
            entries: vec![(3, 3)],
        });
        for cut in 0..delta.bytes.len() {
            let short = Payload {
                bytes: delta.bytes[..cut].to_vec(),
                ..delta.clone()
            };
            assert!(
                base(base_block.clone(), std::slice::from_ref(&short)).is_err(),
                "{cut}"
            );
            assert!(deltas(&[short]).is_err(), "{cut}");
        }
        let counted = Payload {
            entries: 3,
            ..base_block
        };
        assert!(base(counted, &[delta]).is_err());
    }
}
