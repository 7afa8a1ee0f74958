//! Comments fit beside a diff, and use plain words.

use crate::{documents, read, relative, rust_files};

const MAX_COMMENT_COLUMNS: usize = 100;

/// Comment lines that are too long. A row of a table and a line without a space, such as an
/// address, cannot be broken; in a block of code the code decides.
fn wide_comments(text: &str) -> Vec<String> {
    let mut code = false;
    let mut wide = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim_end();
        let Some(comment) = line.trim_start().strip_prefix("//") else {
            continue;
        };
        let comment = comment.trim_start_matches(['/', '!']).trim();
        code ^= comment.starts_with("```");
        let unbroken = comment.starts_with('|') || !comment.contains(' ') || code;
        if line.chars().count() > MAX_COMMENT_COLUMNS && !unbroken {
            wide.push(format!("{}: {comment}", number + 1));
        }
    }
    wide
}

#[test]
fn comments_fit_beside_a_diff() {
    let mut broken = Vec::new();
    for path in rust_files() {
        let wide = wide_comments(&read(&path));
        broken.extend(
            wide.into_iter()
                .map(|line| format!("{}:{line}", relative(&path))),
        );
    }
    assert!(
        broken.is_empty(),
        "comments of more than {MAX_COMMENT_COLUMNS} columns:\n{}",
        broken.join("\n")
    );
    let wide = format!("    /// {}\n", "word ".repeat(20));
    assert_eq!(wide_comments(&wide).len(), 1, "and this one is seen");
}

/// Words for which plain English has others: "a reader", "another process", "the caller".
const UNPLAIN: [&str; 5] = ["whoever", "whomever", "whom", "somebody", "what stands"];

/// The words of [`UNPLAIN`] in a text.
fn unplain(text: &str) -> Vec<&'static str> {
    let lower = text.to_lowercase();
    let is_word = |at: usize, word: &str| {
        let letter = |c: Option<char>| c.is_some_and(char::is_alphabetic);
        !letter(lower[..at].chars().next_back()) && !letter(lower[at + word.len()..].chars().next())
    };
    UNPLAIN
        .into_iter()
        .filter(|word| lower.match_indices(word).any(|(at, _)| is_word(at, word)))
        .collect()
}

#[test]
fn the_words_are_plain() {
    assert_eq!(
        unplain("Whoever asks, and somebody's own"),
        ["whoever", "somebody"]
    );
    assert_eq!(unplain("the whole of it"), [""; 0]);
    let mut broken = Vec::new();
    for path in rust_files().into_iter().chain(documents()) {
        let name = relative(&path);
        if name.starts_with("tests/tidy/") {
            continue;
        }
        for (number, line) in read(&path).lines().enumerate() {
            for word in unplain(line) {
                broken.push(format!("{name}:{}: {word}", number + 1));
            }
        }
    }
    assert!(
        broken.is_empty(),
        "{} words:\n{}",
        broken.len(),
        broken.join("\n")
    );
}
