//! Requests to replay letters: files in `dead-letters/requests` that any process may write. The
//! program takes them in before its next cut, or at its next start.

use crate::dead_letters::letter::LetterId;
use crate::error::{Error, Result};
use highwater_checkpoint::{LocalStore, Store};
use highwater_wal::disk::Disk;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A request is not longer, in bytes.
const MAX_REQUEST: u64 = 16 << 20;

/// Which dead letters are meant: all, those of one operator, those with certain identities.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DeadLetterFilter {
    /// Only those of this operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<String>,
    /// Only those with these identities ([`DeadLetter::id`](crate::DeadLetter::id)); all if there
    /// are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<String>,
}

impl DeadLetterFilter {
    /// All dead letters.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// Only those of `operator`.
    #[must_use]
    pub fn operator(mut self, operator: &str) -> Self {
        self.operator = Some(operator.to_owned());
        self
    }

    /// Only the one with this identity, and those of earlier calls.
    #[must_use]
    pub fn id(mut self, id: &str) -> Self {
        self.ids.push(id.to_owned());
        self
    }

    pub(crate) fn wants(&self, id: &LetterId) -> bool {
        let operator = self.operator.as_ref();
        operator.is_none_or(|operator| *operator == id.operator)
            && (self.ids.is_empty() || self.ids.contains(&id.to_string()))
    }
}

/// The requests of a directory.
#[derive(Debug)]
pub(crate) struct Requests {
    dir: PathBuf,
    files: LocalStore,
}

impl Requests {
    /// Those of the engine's directory `dir`.
    pub(crate) fn of(disk: Arc<dyn Disk>, dir: &Path) -> Self {
        let dir = dir.join("dead-letters").join("requests");
        Self {
            files: LocalStore::new(disk, dir.clone()),
            dir,
        }
    }

    /// Adds a request; durable when this returns.
    pub(crate) fn add(&self, filter: &DeadLetterFilter) -> Result<()> {
        let bytes = serde_json::to_vec_pretty(filter).map_err(|e| self.failed(&e.to_string()))?;
        self.files.prepare().map_err(|e| self.io(&e))?;
        let numbers = self.files.list().map_err(|e| self.io(&e))?;
        let numbers = numbers.iter().filter_map(|file| number(&file.name));
        let mut next = numbers.max().unwrap_or(0).saturating_add(1);
        loop {
            match self.files.put_new(&name(next), &bytes) {
                // Another process was faster.
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => next = next.saturating_add(1),
                put => return put.map_err(|e| self.io(&e)),
            }
        }
    }

    /// The requests, oldest first. One that cannot be read is reported and removed: a person may
    /// ask again.
    pub(crate) fn all(&self) -> Result<Vec<(String, DeadLetterFilter)>> {
        let files = match self.files.list() {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            files => files.map_err(|e| self.io(&e))?,
        };
        let mut names: Vec<String> = files.into_iter().map(|file| file.name).collect();
        names.retain(|name| number(name).is_some());
        names.sort_by_key(|name| number(name));
        let mut requests = Vec::new();
        for name in names {
            let bytes = self
                .files
                .get(&name, MAX_REQUEST)
                .map_err(|e| self.io(&e))?;
            match serde_json::from_slice(&bytes) {
                Ok(filter) => requests.push((name, filter)),
                Err(error) => {
                    tracing::warn!(request = name, dir = %self.dir.display(), %error, "this request to replay dead letters cannot be read, and is removed");
                    self.remove(&name)?;
                }
            }
        }
        Ok(requests)
    }

    /// Removes a request; it is gone for good when this returns.
    pub(crate) fn remove(&self, name: &str) -> Result<()> {
        let removed = self.files.delete(&[name.to_owned()]);
        removed.map_err(|e| self.io(&e))
    }

    fn io(&self, error: &impl std::fmt::Display) -> Error {
        self.failed(&error.to_string())
    }

    fn failed(&self, what: &str) -> Error {
        Error::DeadLetterRequest {
            dir: self.dir.clone(),
            what: what.to_owned(),
        }
    }
}

fn name(number: u64) -> String {
    format!("request-{number:010}.json")
}

fn number(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("request-")?.strip_suffix(".json")?;
    let are_digits = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    are_digits.then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refused::place::Place;
    use highwater_wal::Lsn;
    use highwater_wal::disk::SimDisk;

    #[test]
    fn requests_come_back_in_order_until_they_are_removed() {
        let disk = SimDisk::new();
        let requests = || Requests::of(Arc::new(disk.clone()), Path::new("/app"));
        assert_eq!(requests().all().unwrap(), []);
        let first = DeadLetterFilter::all().operator("parse");
        let second = DeadLetterFilter::all().id("parse/8.1.0");
        requests().add(&first).unwrap();
        requests().add(&second).unwrap();
        let all = requests().all().unwrap();
        let names: Vec<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            names,
            ["request-0000000001.json", "request-0000000002.json"]
        );
        requests().remove(names[0]).unwrap();
        let left = requests().all().unwrap();
        assert_eq!(left, [(names[1].to_owned(), second.clone())]);
        let id = |operator: &str, lsn| LetterId {
            operator: operator.to_owned(),
            batch: 1,
            place: Place::Log {
                lsn: Lsn::new(lsn),
                index: 1,
                input: 0,
            },
        };
        assert!(first.wants(&id("parse", 8)) && !first.wants(&id("other", 8)));
        assert!(second.wants(&id("parse", 8)) && !second.wants(&id("parse", 16)));
    }
}
