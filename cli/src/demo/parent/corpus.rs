//! The text that is counted, and the true count.

use highwater::disk::{Access, Disk, EntryKind};
use highwater_log::outcome::{Failure, Result};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

/// A longer line is sent in parts, cut between words.
const MAX_LINE: usize = 8 << 10;

/// A line holds at least one word, and a source takes lines up to a limit.
const MAX_WORD: usize = 512 << 10;

/// Count of every word.
pub(crate) type Counts = BTreeMap<String, u64>;

/// Text, ready to be sent.
#[derive(Debug, Default)]
pub(crate) struct Corpus {
    /// How many files it comes from.
    pub(crate) files: usize,
    /// Its bytes.
    pub(crate) bytes: u64,
    /// Its lines, without their ends.
    pub(crate) lines: Vec<String>,
    /// How often each word occurs, counted in one pass over the files as they were read: not over
    /// the lines.
    pub(crate) counts: Counts,
}

impl Corpus {
    /// Reads `files`, or, if there are none, what lies below the directory `root`.
    pub(crate) fn read(disk: &dyn Disk, files: &[PathBuf], root: &Path) -> Result<Self> {
        let found = if files.is_empty() {
            find(disk, root)?
        } else {
            files.to_vec()
        };
        let mut corpus = Self::default();
        for path in &found {
            let bytes =
                read_file(disk, path).map_err(|e| Failure::io("cannot read the text", path, &e))?;
            corpus.add(&String::from_utf8_lossy(&bytes));
            if corpus.lines.iter().any(|line| line.len() > MAX_WORD) {
                let text = format!(
                    "{} has a word of more than {MAX_WORD} bytes: is it text?",
                    path.display()
                );
                return Err(Failure::Usage(text));
            }
        }
        if corpus.lines.is_empty() {
            return Err(Failure::Usage(if files.is_empty() {
                format!(
                    "there is no text (*.md, *.rs) below {}: name some files",
                    root.display()
                )
            } else {
                "the files are empty: there is nothing to count".to_owned()
            }));
        }
        Ok(corpus)
    }

    /// Adds the text of a file.
    pub(crate) fn add(&mut self, text: &str) {
        self.files += 1;
        self.bytes += text.len() as u64;
        for word in text.split_whitespace() {
            match self.counts.get_mut(word) {
                Some(count) => *count += 1,
                None => drop(self.counts.insert(word.to_owned(), 1)),
            }
        }
        text.lines().for_each(|line| parts(line, &mut self.lines));
    }
}

/// A line, in parts if it is long. Only blanks are lost where it is cut.
fn parts(line: &str, lines: &mut Vec<String>) {
    let mut rest = line.trim_end();
    while rest.len() > MAX_LINE {
        let window = rest
            .get(..rest.floor_char_boundary(MAX_LINE))
            .unwrap_or(rest);
        // A word longer than the limit goes as it is.
        let cut = window
            .rfind(char::is_whitespace)
            .filter(|at| *at > 0)
            .or_else(|| rest.find(char::is_whitespace));
        let Some((part, tail)) = cut.and_then(|at| rest.split_at_checked(at)) else {
            break;
        };
        lines.push(part.to_owned());
        rest = tail.trim_start();
    }
    lines.push(rest.to_owned());
}

/// Every `.md` and `.rs` file below `root`, but not in build output and hidden directories.
fn find(disk: &dyn Disk, root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut dirs = vec![root.to_owned()];
    while let Some(dir) = dirs.pop() {
        let entries = disk
            .list(&dir)
            .map_err(|e| Failure::io("cannot look for text in", &dir, &e))?;
        for entry in entries {
            let path = dir.join(&entry.name);
            let hidden = entry.name.as_encoded_bytes().starts_with(b".");
            match entry.kind {
                EntryKind::Directory if !hidden && entry.name != "target" => dirs.push(path),
                EntryKind::File if !hidden && is_text(&path) => found.push(path),
                _ => {}
            }
        }
    }
    found.sort_unstable();
    Ok(found)
}

fn is_text(path: &Path) -> bool {
    path.extension()
        .is_some_and(|e| [OsStr::new("md"), OsStr::new("rs")].contains(&e))
}

/// A whole file.
pub(crate) fn read_file(disk: &dyn Disk, path: &Path) -> io::Result<Vec<u8>> {
    let file = disk.open(path, Access::Read)?;
    let len = usize::try_from(file.len()?).map_err(|_| io::ErrorKind::FileTooLarge)?;
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(lines: &[String]) -> Counts {
        let mut counts = Counts::new();
        let words = lines.iter().flat_map(|l| l.split_whitespace());
        words.for_each(|w| *counts.entry(w.to_owned()).or_default() += 1);
        counts
    }

    #[test]
    fn lines_have_the_words_of_the_text_however_long_they_are() {
        let mut corpus = Corpus::default();
        let long = "wörter und noch mehr ".repeat(2000);
        let endless = "x".repeat(3 * MAX_LINE);
        corpus.add(&format!(
            "one two\r\n\n  three\u{2003}one\n{long}\n{endless} end\n{endless}"
        ));
        assert_eq!(words(&corpus.lines), corpus.counts);
        assert_eq!(corpus.counts.get("one"), Some(&2));
        assert_eq!(corpus.counts.get("mehr"), Some(&2000));
        let longest = corpus
            .lines
            .iter()
            .filter(|l| !l.contains("xx"))
            .map(String::len)
            .max();
        assert!(longest.unwrap() <= MAX_LINE);
        assert_eq!(
            corpus.lines.iter().filter(|l| l.len() > MAX_LINE).count(),
            2,
            "words that cannot be cut"
        );
    }
}
