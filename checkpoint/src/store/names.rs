//! The names of the files of a checkpoint. Nothing else is ever opened or removed.

use crate::hex::parse_u64;

/// Ending of files that are being written.
pub(crate) const TMP_SUFFIX: &str = ".tmp";

/// The largest number that a file name has room for.
pub(crate) const MAX_NUMBER: u64 = 9_999_999_999;

const NUMBER_DIGITS: usize = 10;
const ATTEMPT_DIGITS: usize = 16;
const PART_DIGITS: usize = 5;

/// The largest part number that a file name has room for.
pub(crate) const MAX_PART: u32 = 99_999;

const MAX_NAME_LEN: usize = 120;

/// What a file name means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Name {
    /// The manifest of a checkpoint.
    Manifest {
        /// Number of the checkpoint.
        number: u64,
    },
    /// A part of the state of a checkpoint.
    State(StateName),
    /// A manifest or state file that was being written.
    Temporary,
    /// The file of another program.
    Unknown,
}

/// A state file: checkpoint, attempt at writing it, part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct StateName {
    pub(crate) number: u64,
    pub(crate) attempt: u64,
    pub(crate) part: u32,
}

impl Name {
    pub(crate) fn parse(name: &str) -> Self {
        if let Some(rest) = name.strip_suffix(TMP_SUFFIX) {
            let inner = rest
                .rsplit_once('.')
                .map_or(Self::Unknown, |(inner, _)| Self::parse(inner));
            return match inner {
                Self::Manifest { .. } | Self::State(_) => Self::Temporary,
                Self::Temporary | Self::Unknown => Self::Unknown,
            };
        }
        manifest(name)
            .or_else(|| StateName::parse(name).map(Self::State))
            .unwrap_or(Self::Unknown)
    }
}

impl StateName {
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let rest = name.strip_prefix("state-")?.strip_suffix(".hws")?;
        let mut fields = rest.split('-');
        let number = decimal(fields.next()?, NUMBER_DIGITS)?;
        let attempt = fields.next()?;
        let part = u32::try_from(decimal(fields.next()?, PART_DIGITS)?).ok()?;
        if fields.next().is_some() || attempt.len() != ATTEMPT_DIGITS {
            return None;
        }
        let attempt = parse_u64(attempt)?;
        Some(Self {
            number,
            attempt,
            part,
        })
    }
}

impl std::fmt::Display for StateName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "state-{:010}-{:016x}-{:05}.hws",
            self.number, self.attempt, self.part
        )
    }
}

/// Name of the manifest of checkpoint `number`.
pub(crate) fn manifest_name(number: u64) -> String {
    format!("manifest-{number:010}.json")
}

/// Whether a store may use `name`: one plain component, so that no manifest can point out of the
/// store.
pub(crate) fn is_safe(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.' || b == b'-';
    name.len() <= MAX_NAME_LEN
        && name.bytes().all(plain)
        && name.bytes().next().is_some_and(|b| b.is_ascii_lowercase())
}

fn manifest(name: &str) -> Option<Name> {
    let digits = name.strip_prefix("manifest-")?.strip_suffix(".json")?;
    Some(Name::Manifest {
        number: decimal(digits, NUMBER_DIGITS)?,
    })
}

fn decimal(digits: &str, len: usize) -> Option<u64> {
    let exact = digits.len() == len && digits.bytes().all(|b| b.is_ascii_digit());
    exact.then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_back() {
        let state = StateName {
            number: 7,
            attempt: 0xabc,
            part: 12,
        };
        assert_eq!(
            state.to_string(),
            "state-0000000007-0000000000000abc-00012.hws"
        );
        assert_eq!(Name::parse(&state.to_string()), Name::State(state));
        assert_eq!(
            Name::parse(&manifest_name(MAX_NUMBER)),
            Name::Manifest { number: MAX_NUMBER }
        );
        assert_eq!(Name::parse(&format!("{state}.0.tmp")), Name::Temporary);
    }

    /// F42, F87: files of other programs are never taken for ours.
    #[test]
    fn other_names_are_unknown() {
        for name in [
            "",
            "core",
            "manifest-1.json",
            "manifest-+000000001.json",
            "manifest-0000000001.json~",
            "manifest-0000000001.json.tmp",
            "notes.0.tmp",
            "state-0000000001-0000000000000ABC-00000.hws",
            "state-0000000001-0000000000000abc-00000.hws.0.tmp.0.tmp",
            "../state-0000000001-0000000000000abc-00000.hws",
            "state-0000000001-0000000000000abc-00000-1.hws",
        ] {
            assert_eq!(Name::parse(name), Name::Unknown, "{name}");
        }
    }

    /// F87: no name leads out of the store.
    #[test]
    fn unsafe_names() {
        let long = "a".repeat(MAX_NAME_LEN + 1);
        for name in [
            "",
            ".",
            "..",
            ".hidden",
            "a/b",
            "/etc/passwd",
            "a\\b",
            "a\0b",
            "A",
            "ä",
            &long,
        ] {
            assert!(!is_safe(name), "{name:?}");
        }
        assert!(is_safe(&manifest_name(1)));
    }
}
