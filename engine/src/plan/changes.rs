//! Renames, drops and conversions: what the code asks for where names and types on disk are not its
//! own.

use crate::codec::{message_pack, round_trip};
use crate::error::{Error, Result};
use crate::record::{State, Value};
use crate::state::table::block::migrate;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// Converts encoded bytes: a key group of a state, or a record of an input.
pub(crate) type Migration =
    Arc<dyn Fn(&[u8]) -> std::result::Result<Vec<u8>, String> + Send + Sync>;

/// Renames, drops and conversions of one kind of named thing.
#[derive(Clone, Default)]
pub(crate) struct Changes {
    renamed: Vec<(String, String)>,
    dropped: Vec<String>,
    migrated: BTreeMap<String, Vec<Migration>>,
}

impl Changes {
    pub(crate) fn rename(&mut self, old: &str, new: &str) {
        self.renamed.push((old.to_owned(), new.to_owned()));
    }

    pub(crate) fn drop(&mut self, name: &str) {
        self.dropped.push(name.to_owned());
    }

    pub(crate) fn migrate_state<Old: State, New: State>(
        &mut self,
        name: &str,
        convert: impl Fn(Old) -> New + Send + Sync + 'static,
    ) {
        self.migrate(name, Arc::new(move |bytes| migrate(bytes, &convert)));
    }

    pub(crate) fn migrate_record<Old: Value, New: Value>(
        &mut self,
        name: &str,
        convert: impl Fn(Old) -> New + Send + Sync + 'static,
    ) {
        let migration = move |bytes: &[u8]| {
            let old = message_pack::decode(bytes)
                .map_err(|e| format!("as {}: {e}", std::any::type_name::<Old>()))?;
            round_trip::encode(&convert(old))
        };
        self.migrate(name, Arc::new(migration));
    }

    fn migrate(&mut self, name: &str, migration: Migration) {
        let migrations = self.migrated.entry(name.to_owned());
        migrations.or_default().push(migration);
    }

    /// What the code calls `name`. Renames are followed, one after the other, until one leads to a
    /// name that is taken on disk: that one has been applied before.
    pub(crate) fn current_name<'a>(
        &'a self,
        name: &'a str,
        on_disk: impl Fn(&str) -> bool,
    ) -> &'a str {
        let mut current = name;
        while let Some(next) = self.target(current)
            && !on_disk(next)
        {
            current = next;
        }
        current
    }

    /// The next name of `name`, if it is renamed.
    pub(crate) fn target(&self, name: &str) -> Option<&str> {
        let mut renames = self.renamed.iter();
        renames.find_map(|(old, new)| (old == name).then_some(new.as_str()))
    }

    /// How often each name is dropped.
    pub(crate) fn drops(&self) -> BTreeMap<String, usize> {
        let mut drops = BTreeMap::new();
        for name in &self.dropped {
            *drops.entry(name.clone()).or_default() += 1;
        }
        drops
    }

    /// How often `name` is dropped.
    pub(crate) fn drops_of(&self, name: &str) -> usize {
        self.dropped.iter().filter(|d| *d == name).count()
    }

    /// The conversions of `name`, oldest first.
    pub(crate) fn migrations(&self, name: &str) -> &[Migration] {
        self.migrated.get(name).map_or(&[], Vec::as_slice)
    }

    /// Names that have conversions.
    pub(crate) fn migrated(&self) -> impl Iterator<Item = &str> {
        self.migrated.keys().map(String::as_str)
    }

    /// Refuses renames that contradict each other: `call` is the name of the method.
    pub(crate) fn check(&self, call: &str) -> Result<()> {
        for (at, (old, new)) in self.renamed.iter().enumerate() {
            let before = self.renamed.iter().take(at);
            if let Some((_, other)) = before.clone().find(|(o, n)| o == old && n != new) {
                return Err(Error::Setting(format!(
                    "{call}(\"{old}\", ..) is called twice, with \"{other}\" and with \"{new}\": one of them is wrong. To rename \
                     once more, call {call}(\"{other}\", \"{new}\")"
                )));
            }
            let mut passed = BTreeSet::from([old.as_str()]);
            let mut name = new.as_str();
            while passed.insert(name) {
                match self.target(name) {
                    Some(next) => name = next,
                    None => break,
                }
            }
            if self.target(name).is_some() {
                return Err(Error::Setting(format!(
                    "{call}(\"{old}\", \"{new}\") and other calls lead back to \"{name}\", so it is not clear which name is the \
                     old one. To exchange two names, start once with a third name in between"
                )));
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Changes")
            .field("renamed", &self.renamed)
            .field("dropped", &self.dropped)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn renames(pairs: &[(&str, &str)]) -> Changes {
        let mut changes = Changes::default();
        pairs.iter().for_each(|(old, new)| changes.rename(old, new));
        changes
    }

    #[test]
    fn renames_are_followed_until_a_name_that_is_taken() {
        let changes = renames(&[("a", "b"), ("b", "c")]);
        changes.check("rename_state").unwrap();
        assert_eq!(changes.current_name("a", |_| false), "c");
        assert_eq!(changes.current_name("a", |name| name == "c"), "b");
        assert_eq!(changes.current_name("a", |name| name == "b"), "a");
        assert_eq!(changes.current_name("x", |_| false), "x");
    }

    /// Exchanged names were both taken for renames of long ago: each state went on under the other
    /// one's name.
    #[test]
    fn names_that_are_exchanged_are_refused() {
        for cycle in [&[("a", "b"), ("b", "a")][..], &[("a", "a")]] {
            let error = renames(cycle)
                .check("rename_state")
                .unwrap_err()
                .to_string();
            assert!(
                error.contains("rename_state(\"a\"") && error.contains("third name"),
                "{error}"
            );
        }
    }

    #[test]
    fn one_name_cannot_become_two() {
        let error = renames(&[("a", "b"), ("a", "c")]).check("rename_source");
        let error = error.unwrap_err().to_string();
        assert!(error.contains("\"b\" and with \"c\""), "{error}");
        renames(&[("a", "b"), ("a", "b")])
            .check("rename_source")
            .unwrap();
    }
}
