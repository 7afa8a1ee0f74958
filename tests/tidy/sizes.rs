//! Files and functions stay small enough to be read at once.

use crate::{is_test_code, production_lines, read, relative, rust_files};
use std::collections::BTreeMap;

const MAX_FILE_LINES: usize = 500;
const MAX_FUNCTION_LINES: usize = 70;

#[test]
fn files_and_functions_stay_small() {
    let mut broken = Vec::new();
    for path in rust_files().iter().filter(|p| !is_test_code(p)) {
        let text = read(path);
        let lines = without_examples(production_lines(&text));
        if lines.len() > MAX_FILE_LINES {
            broken.push(format!("{} has {} lines", relative(path), lines.len()));
        }
        broken.extend(
            long_functions(&lines)
                .into_iter()
                .map(|f| format!("{}: {f}", relative(path))),
        );
    }
    assert!(
        broken.is_empty(),
        "over {MAX_FILE_LINES} lines a file or {MAX_FUNCTION_LINES} a function:\n{}",
        broken.join("\n")
    );
}

/// The lines that are no example: those in documentation are tests.
fn without_examples(lines: Vec<&str>) -> Vec<&str> {
    let mut example = false;
    let outside = |line: &&str| {
        let line = line.trim_start();
        let comment = line.strip_prefix("///").or(line.strip_prefix("//!"));
        let fence = comment.is_some_and(|comment| comment.trim_start().starts_with("```"));
        // An example without an end takes nothing that is no comment.
        example = comment.is_some() && example ^ fence;
        !example && !fence
    };
    lines.into_iter().filter(outside).collect()
}

#[test]
fn examples_do_not_count() {
    let text = "/// Does it.\n/// ```\n/// it();\n/// ```\npub fn it() {}\n/// ```\nfn open() {}\n";
    let left = without_examples(text.lines().collect());
    assert_eq!(left, ["/// Does it.", "pub fn it() {}", "fn open() {}"]);
}

/// Functions over the bound; in formatted code a function ends at the first `}` that stands as far
/// in as its `fn`.
fn long_functions(lines: &[&str]) -> Vec<String> {
    let mut open: BTreeMap<usize, (usize, String)> = BTreeMap::new();
    let mut long = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let indent = line.len() - code.len();
        let head = ["pub(crate) ", "pub(super) "]
            .iter()
            .find_map(|visible| code.strip_prefix(visible))
            .unwrap_or(code);
        let declares = head
            .split('(')
            .next()
            .is_some_and(|head| head.split(' ').any(|word| word == "fn"));
        if declares && !code.starts_with("//") && !code.ends_with(';') {
            open.insert(indent, (number, code.chars().take(60).collect()));
        } else if code == "}"
            && let Some((start, name)) = open.remove(&indent)
            && number - start > MAX_FUNCTION_LINES
        {
            long.push(format!("{name}.. has {} lines", number - start));
        }
    }
    long
}

/// A function of the crate alone was not measured: its line begins with `pub(crate)`, which has a
/// bracket of its own.
#[test]
fn functions_of_every_visibility_are_measured() {
    for visible in [
        "",
        "pub ",
        "pub(crate) ",
        "pub(super) ",
        "pub const ",
        "pub(crate) async ",
    ] {
        let mut text = format!("    {visible}fn long(&self) -> Result<()> {{\n");
        text.push_str(&"        work();\n".repeat(MAX_FUNCTION_LINES + 1));
        text.push_str("    }\n");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(long_functions(&lines).len(), 1, "{visible}");
        assert!(long_functions(&lines[..40]).is_empty());
    }
}
