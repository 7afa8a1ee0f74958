//! Every method that a user of the log can call has an example that runs: those of the log, and
//! those of the simulated disk that a test opens it on.

use crate::{production_lines, read, relative, root, rust_files};

/// Where the methods for users are.
const PLACES: [&str; 6] = [
    "wal/src/",
    "disk/src/sim/",
    "disk/src/call.rs",
    "disk/src/clock.rs",
    "disk/src/error.rs",
    "disk/src/file_system.rs",
];

/// Files whose functions are public for a test alone, and how the crate says so.
const HIDDEN: [(&str, &str); 1] = [(
    "wal/src/commit/group_commit.rs",
    "#[doc(hidden)]\npub use commit::group_commit;",
)];

/// The public functions without an example in their documentation. Other visibilities have a
/// bracket (`pub(crate)`).
fn without_example(text: &str) -> (usize, Vec<String>) {
    let lines = production_lines(text);
    let (mut seen, mut missing) = (0, Vec::new());
    for (at, line) in lines.iter().enumerate() {
        let head = line.trim_start().split('(').next().unwrap_or_default();
        if !head.starts_with("pub ") || !head.split(' ').any(|word| word == "fn") {
            continue;
        }
        // Documentation and attributes lie between the item before, or the start of the block, and
        // the function.
        let ends = |line: &&str| {
            let line = line.trim();
            line.is_empty() || !line.starts_with("///") && line.ends_with(['{', '}', ';'])
        };
        let above = lines[..at].iter().rev().take_while(|line| !ends(line));
        let above: Vec<&str> = above.map(|line| line.trim()).collect();
        let fences = above.iter().filter(|line| line.starts_with("/// ```"));
        let runs = fences.clone().count() >= 2
            && fences
                .clone()
                .all(|fence| ["/// ```", "/// ```no_run"].contains(fence));
        if above.contains(&"#[doc(hidden)]") {
            continue;
        }
        seen += 1;
        if !runs {
            missing.push(head.trim_start_matches("pub ").to_owned());
        }
    }
    (seen, missing)
}

#[test]
fn every_method_for_users_has_an_example() {
    let exports = read(&root().join("wal/src/lib.rs"));
    for (file, hidden) in HIDDEN {
        assert!(exports.contains(hidden), "{file} is for users now");
    }
    let (mut seen, mut broken) = (0, Vec::new());
    for path in rust_files() {
        let name = relative(&path);
        let for_users = PLACES.iter().any(|place| name.starts_with(place));
        if !for_users || HIDDEN.iter().any(|(file, _)| *file == name) {
            continue;
        }
        let (functions, missing) = without_example(&read(&path));
        seen += functions;
        broken.extend(missing.iter().map(|function| format!("{name}: {function}")));
    }
    assert!(
        seen > 150,
        "the functions are where this test looks: {seen}"
    );
    assert!(
        broken.is_empty(),
        "no example that runs:\n{}",
        broken.join("\n")
    );
}

#[test]
fn a_function_without_an_example_is_seen() {
    let with = "    /// Does it.\n    ///\n    /// ```\n    /// it();\n    /// ```\n    #[must_use]\n    \
                pub const fn it() {}\n";
    assert_eq!(without_example(with), (1, vec![]));
    let text = [
        "impl It {\n    /// Does it.\n    pub async fn it<T>(t: T) {}\n\n",
        with,
        "\n    /// ```text\n    /// no example\n    /// ```\n    pub fn other() {}\n",
        "\n    /// Not for users.\n    #[doc(hidden)]\n    pub fn hidden() {}\n",
        "\n    pub(crate) fn inside() {}\n}\n#[cfg(test)]\nmod tests {\n    pub fn of_a_test() {}\n}\n",
    ];
    assert_eq!(
        without_example(&text.concat()),
        (3, vec!["async fn it<T>".to_owned(), "fn other".to_owned()])
    );
}
