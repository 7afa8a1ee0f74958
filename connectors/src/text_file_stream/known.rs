//! What is known of files that were read, also by earlier runs. It is kept among the producers of
//! the source.

use highwater_engine::SourceContext;
use highwater_engine::wal::Lsn;
use highwater_engine::wal::disk::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;

/// Begins the name of a producer that records that the loss of a half-read file was reported. Those
/// of files begin with a digit.
const REPORTED: &str = "vanished:";

/// What distinguishes a file from another one of the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) len: u64,
    pub(super) modified_ms: u64,
}

/// The version of a file of which something was taken last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) identity: Identity,
    /// So many bytes were handled.
    pub(super) taken: u64,
    /// So many lines of it are in the log, if this run has taken all of them.
    pub(super) lines: Option<u64>,
    /// Its loss was reported.
    pub(super) reported: bool,
}

/// The newest version of each file, by escaped name.
pub(super) type Known = BTreeMap<String, Version>;

/// A file's name, escaped, so that names that are not UTF-8 stay different.
pub(super) fn escaped(name: &OsStr) -> String {
    name.as_encoded_bytes().escape_ascii().to_string()
}

impl Identity {
    pub(super) fn of(entry: &Entry) -> Self {
        Self {
            len: entry.len,
            modified_ms: entry.modified_ms,
        }
    }

    /// The file's name among the producers.
    pub(super) fn producer(self, name: &OsStr) -> String {
        self.producer_of(&escaped(name))
    }

    pub(super) fn producer_of(self, escaped: &str) -> String {
        format!("{}:{}:{escaped}", self.len, self.modified_ms)
    }

    fn parse(producer: &str) -> Option<(Self, &str)> {
        let (len, rest) = producer.split_once(':')?;
        let (modified_ms, name) = rest.split_once(':')?;
        let identity = Self {
            len: len.parse().ok()?,
            modified_ms: modified_ms.parse().ok()?,
        };
        Some((identity, name))
    }

    /// How a file has changed.
    pub(super) fn difference(self, now: Self) -> String {
        let (was, is) = (self.len, now.len);
        match was.cmp(&is) {
            std::cmp::Ordering::Less => format!("it grew from {was} to {is} bytes"),
            std::cmp::Ordering::Greater => format!("it shrank from {was} to {is} bytes"),
            std::cmp::Ordering::Equal => format!(
                "it still has {is} bytes, but was last changed at {} ms instead of {} ms (touched, restored, or another \
                 file of this name)",
                now.modified_ms, self.modified_ms
            ),
        }
    }
}

impl Version {
    pub(super) fn new(identity: Identity, taken: u64) -> Self {
        Self {
            identity,
            taken,
            // What earlier runs took was not counted.
            lines: (taken == 0).then_some(0),
            reported: false,
        }
    }

    /// Something of it is in the log, and something is not.
    pub(super) fn is_half(self) -> bool {
        self.taken > 0 && self.taken < self.identity.len
    }
}

/// The files among the producers of the source.
pub(super) fn load(source: &SourceContext) -> Known {
    from_producers(source.producers())
}

fn from_producers(producers: Vec<(String, u64, Lsn)>) -> Known {
    let mut newest: BTreeMap<String, (Lsn, Version)> = BTreeMap::new();
    let mut reported = BTreeSet::new();
    for (producer, taken, lsn) in producers {
        if let Some(vanished) = producer.strip_prefix(REPORTED) {
            reported.insert((vanished.to_owned(), taken));
        } else if let Some((identity, name)) = Identity::parse(&producer) {
            let version = Version::new(identity, taken);
            let known = newest.entry(name.to_owned()).or_insert((lsn, version));
            if known.0 <= lsn {
                *known = (lsn, version);
            }
        }
    }
    let known = newest.into_iter().map(|(name, (_, version))| {
        let reported = reported.contains(&(version.identity.producer_of(&name), version.taken));
        (
            name,
            Version {
                reported,
                ..version
            },
        )
    });
    known.collect()
}

/// Takes out the files that are not `there`; returns the half-read ones whose loss was not reported
/// yet.
pub(super) fn take_vanished(known: &mut Known, there: &BTreeSet<String>) -> Vec<(String, Version)> {
    let mut vanished = Vec::new();
    known.retain(|name, version| {
        let stays = there.contains(name);
        if !stays && version.is_half() && !version.reported {
            vanished.push((name.clone(), *version));
        }
        stays
    });
    vanished
}

/// The producer that records that the loss of this version was reported, with its `taken` as the
/// number.
pub(super) fn reported_as(name: &str, version: Version) -> String {
    format!("{REPORTED}{}", version.identity.producer_of(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(len: u64, modified_ms: u64, taken: u64) -> Version {
        Version::new(Identity { len, modified_ms }, taken)
    }

    #[test]
    fn the_newest_version_of_a_name_counts_and_names_are_read_back() {
        let odd = OsStr::new("a:b \u{e9}\\x");
        let old = version(5, 10, 5);
        let new = version(9, 7, 3);
        let entry = |v: Version, lsn| (v.identity.producer(odd), v.taken, Lsn::new(lsn));
        let known = from_producers(vec![
            entry(new, 16),
            entry(old, 8),
            ("x".to_owned(), 1, Lsn::new(24)),
        ]);
        assert_eq!(known, Known::from([(escaped(odd), new)]));
    }

    #[test]
    fn a_half_read_file_that_is_gone_is_told_once() {
        let (half, whole) = (version(9, 7, 3), version(9, 7, 9));
        let producers = |reported: bool| {
            let mut all = vec![
                (half.identity.producer(OsStr::new("half")), 3, Lsn::new(8)),
                (whole.identity.producer(OsStr::new("whole")), 9, Lsn::new(8)),
                (half.identity.producer(OsStr::new("there")), 3, Lsn::new(8)),
            ];
            all.extend(reported.then(|| (reported_as("half", half), 3, Lsn::new(16))));
            all
        };
        let there = BTreeSet::from(["there".to_owned()]);
        let mut known = from_producers(producers(false));
        let vanished = take_vanished(&mut known, &there);
        assert_eq!(vanished, [("half".to_owned(), half)]);
        assert_eq!(known.len(), 1);
        let mut known = from_producers(producers(true));
        assert_eq!(take_vanished(&mut known, &there), []);
    }
}
