//! Names of the files of one output, and reading a batch from a name.

use crate::paths::resolve;
use std::path::{Path, PathBuf};

/// What the name of a staged file ends in.
const STAGED: &str = ".staged";
/// What the name of the marker ends in.
const MARKER: &str = ".highwater";

/// What comes between a batch and the number of its part.
const PART: &str = "-part-";

/// How an output names its files: `<dir>/<base>-<time in ms>-<batch id, ten digits><ending>`, with
/// `-part-<number, five digits>` before the ending if each worker writes a file of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Names {
    pub(super) dir: PathBuf,
    base: String,
    /// Empty, or a dot and the suffix.
    ending: String,
}

/// A file of the output, from its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) name: String,
    pub(super) time_ms: u64,
    pub(super) batch: u64,
    pub(super) stage: FileState,
}

/// Whether a file is staged or published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileState {
    Staged,
    Published,
}

impl Names {
    /// Resolves the path of `prefix` now: a later change of the working directory changes nothing.
    pub(super) fn resolve(prefix: &Path, suffix: &str) -> Result<Self, String> {
        let suffix = suffix.strip_prefix('.').unwrap_or(suffix);
        let ending = match suffix {
            "" => String::new(),
            suffix => format!(".{suffix}"),
        };
        let bytes = prefix.as_os_str().as_encoded_bytes();
        let is_directory = bytes.ends_with(b"/") || bytes.ends_with(b"/.");
        let base = prefix.file_name().filter(|_| !is_directory);
        let Some(base) = base
            .and_then(|base| base.to_str())
            .filter(|_| !ending.contains(['/', '\n']))
        else {
            return Err(format!(
                "the prefix must end in the beginning of a file name, and suffix be part of one, such as \"out/counts\" and \
                 \"txt\": here they are {prefix:?} and {suffix:?}"
            ));
        };
        if is_ambiguous(base, &ending) {
            return Err(format!(
                "prefix {prefix:?} and suffix {suffix:?} make names that another output could have: a suffix may not hold \
                 a batch's numbers, nor \"{STAGED}\" or \"{MARKER}\" with a hidden prefix; choose others"
            ));
        }
        let dir = resolve(prefix.parent().unwrap_or(Path::new("")))?;
        Ok(Self {
            dir,
            base: base.to_owned(),
            ending,
        })
    }

    /// The name under which a batch, or a part of it, is published.
    pub(super) fn file(&self, time_ms: u64, batch: u64, part: Option<u32>) -> String {
        let part = part.map_or_else(String::new, |part| format!("{PART}{part:05}"));
        format!("{}-{time_ms}-{batch:010}{part}{}", self.base, self.ending)
    }

    /// The path of a published file.
    pub(super) fn published(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The path of a file that is staged to become `name`.
    pub(super) fn staged(&self, name: &str) -> PathBuf {
        self.dir.join(format!(".{name}{STAGED}"))
    }

    /// The path of the marker.
    pub(super) fn marker(&self) -> PathBuf {
        let (base, ending) = (&self.base, &self.ending);
        self.dir.join(format!(".{base}{ending}{MARKER}"))
    }

    /// Where the marker of an output of the log `log` is written before it gets its name. The
    /// outputs of a program open one after the other. (Short, so that every prefix that leaves room
    /// for a staged file's name leaves room for it.)
    pub(super) fn marker_tmp(&self, log: &str) -> PathBuf {
        self.dir.join(format!(".highwater-{log}.tmp"))
    }

    /// For messages: a pattern of the names.
    pub(super) fn pattern(&self) -> String {
        let pattern = format!("{}-*{}", self.base, self.ending);
        self.dir.join(pattern).display().to_string()
    }

    /// The file of the directory entry `entry`, if its name is one of this output.
    pub(super) fn parse(&self, entry: &str) -> Option<Found> {
        let staged = entry
            .strip_prefix('.')
            .and_then(|entry| entry.strip_suffix(STAGED))
            .and_then(|name| self.parse_as(name, FileState::Staged));
        staged.or_else(|| self.parse_as(entry, FileState::Published))
    }

    fn parse_as(&self, name: &str, stage: FileState) -> Option<Found> {
        let numbers = name
            .strip_prefix(&self.base)?
            .strip_prefix('-')?
            .strip_suffix(&self.ending)?;
        let (numbers, part) = match numbers.split_once(PART) {
            Some((numbers, part)) => (numbers, Some(part.parse().ok()?)),
            None => (numbers, None),
        };
        let (time, batch) = numbers.split_once('-')?;
        let (time_ms, batch) = (time.parse().ok()?, batch.parse().ok()?);
        // Another output whose prefix begins with this one has something else than two numbers
        // here. Another program may write numbers in another way.
        (self.file(time_ms, batch, part) == name).then(|| Found {
            name: name.to_owned(),
            time_ms,
            batch,
            stage,
        })
    }
}

/// Whether names made of `base` and `ending` could be made of others too, or be staged files or
/// markers of others.
fn is_ambiguous(base: &str, ending: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let numbered = |piece: &str| {
        let of_part = piece.rsplit_once(PART).filter(|(_, number)| digits(number));
        let piece = of_part.map_or(piece, |(batch, _)| batch);
        let mut parts = piece.rsplitn(3, '-');
        let batch = parts.next().is_some_and(|id| id.len() >= 10 && digits(id));
        batch && parts.next().is_some_and(digits) && parts.next().is_some()
    };
    let hidden = base.starts_with('.') && (ending.contains(STAGED) || ending.contains(MARKER));
    hidden || ending.split('.').any(numbered)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(prefix: &str, suffix: &str) -> Names {
        Names::resolve(Path::new(prefix), suffix).unwrap()
    }

    #[test]
    fn a_name_is_read_back_by_the_output_that_made_it_and_by_no_other() {
        let outputs = [
            names("/out/a", ""),
            names("/out/a", "txt"),
            names("/out/a", "1"),
            names("/out/a-1", ""),
            names("/out/a-1", "txt"),
            names("/out/a-1-0000000001", ""),
            names("/out/a-1-0000000001-part-00000", ""),
            names("/out/a-part-00000", ""),
            names("/out/a-part-00000", "part-00000"),
            names("/out/a-1-0000000001.txt", ""),
            names("/out/.a", ""),
            names("/out/a.txt", "txt"),
        ];
        for (i, maker) in outputs.iter().enumerate() {
            for (time_ms, batch) in [(0, 1), (1000, 9_999_999_999), (7, 10_000_000_000)] {
                for part in [None, Some(0), Some(99_999), Some(100_000)] {
                    let name = maker.file(time_ms, batch, part);
                    let staged = format!(".{name}{STAGED}");
                    for (j, reader) in outputs.iter().enumerate() {
                        let found = |stage| Found {
                            name: name.clone(),
                            time_ms,
                            batch,
                            stage,
                        };
                        let expected = |stage| (i == j).then(|| found(stage));
                        assert_eq!(
                            reader.parse(&name),
                            expected(FileState::Published),
                            "{name}"
                        );
                        assert_eq!(
                            reader.parse(&staged),
                            expected(FileState::Staged),
                            "{staged}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn numbers_that_no_output_writes_are_others() {
        for name in [
            "a-1-1",
            "a-01-0000000001",
            "a-1-00000000001",
            "a-+1-0000000001",
            "a-1-0000000001.txt.staged",
            "a-99999999999999999999-0000000001",
            "a--1-0000000001",
            "a-1-0000000001-part-0",
            "a-1-0000000001-part-000000",
            "a-1-0000000001-part-",
            "a-1-0000000001-part-00000-part-00001",
        ] {
            assert_eq!(names("/out/a", "").parse(name), None, "{name}");
        }
    }

    #[test]
    fn a_prefix_or_suffix_that_makes_no_clear_name_is_refused() {
        for (prefix, suffix) in [
            ("/out/", "txt"),
            ("/out/.", ""),
            ("..", ""),
            (".", ""),
            ("", ""),
            ("/out/a", "x/y"),
            ("/out/a", "x-1-0000000001"),
            ("/out/a", "x-1-0000000001.gz"),
            ("/out/a", "x-1-0000000001-part-00000"),
            ("/out/.a", "staged"),
            ("/out/.a", "highwater"),
        ] {
            let error = Names::resolve(Path::new(prefix), suffix).unwrap_err();
            assert!(error.contains("prefix"), "{error}");
        }
    }
}
