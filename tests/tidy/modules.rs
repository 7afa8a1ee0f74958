//! Modules of a crate import each other in one direction: no cycle of files, and none of folders.
//!
//! A file depends on the file that defines a name, not on those that pass it on: a `pub use` is
//! followed to its end and is no dependency itself. Unit tests are left out.

use crate::{production_lines, read, root};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A module by its path from the root of the crate; the root is empty.
type Module = Vec<String>;

/// The source files of one crate.
struct Crate {
    files: BTreeMap<Module, File>,
}

struct File {
    /// Its code, without comments, strings and unit tests.
    code: String,
    /// Names that it imports or passes on: name and path.
    names: Vec<(String, Vec<String>)>,
}

impl Crate {
    /// The crate whose root is `lib`.
    fn of(lib: &Path) -> Self {
        let mut found = Self {
            files: BTreeMap::new(),
        };
        found.add(lib.to_owned(), Vec::new());
        found
    }

    fn add(&mut self, path: PathBuf, module: Module) {
        let code = code_of(&production_lines(&read(&path)).join("\n"));
        let stem = path.file_stem().unwrap().to_string_lossy();
        let dir = match stem.as_ref() {
            "lib" | "mod" => path.parent().unwrap().to_owned(),
            _ => path.with_extension(""),
        };
        let children: Vec<String> = words_after(&code, "mod")
            .into_iter()
            .filter_map(|rest| Some(rest.split_once(';')?.0.trim().to_owned()))
            .filter(|name| is_name(name))
            .collect();
        let names = statements(&code)
            .into_iter()
            .flat_map(|(_, tree)| paths(&tree))
            .collect();
        self.files.insert(module.clone(), File { code, names });
        for child in children {
            let file = [format!("{child}.rs"), format!("{child}/mod.rs")]
                .map(|name| dir.join(name))
                .into_iter()
                .find(|file| file.exists());
            let mut module = module.clone();
            module.push(child);
            if let Some(file) = file {
                self.add(file, module);
            }
        }
    }

    /// The file in which the last name of `path` is defined, seen from `module`; `None` if it is of
    /// another crate.
    fn resolve(&self, module: &Module, path: &[String], depth: usize) -> Option<Module> {
        assert!(depth < 100, "a path that leads in a circle: {path:?}");
        let (head, rest) = path.split_first()?;
        match head.as_str() {
            "crate" => return Some(self.walk(Vec::new(), rest, depth)),
            "self" => return Some(self.walk(module.clone(), rest, depth)),
            "super" => {
                let parent = module.split_last()?.1.to_vec();
                return Some(self.walk(parent, rest, depth));
            }
            _ => {}
        }
        let mut child = module.clone();
        child.push(head.clone());
        if self.files.contains_key(&child) {
            return Some(self.walk(child, rest, depth));
        }
        let (_, target) = self
            .files
            .get(module)?
            .names
            .iter()
            .find(|(name, to)| name == head && to.first() != Some(head))?;
        let path: Vec<String> = target.iter().chain(rest).cloned().collect();
        self.resolve(module, &path, depth + 1)
    }

    fn walk(&self, module: Module, path: &[String], depth: usize) -> Module {
        let Some((head, rest)) = path.split_first() else {
            return module;
        };
        if head == "super" {
            let parent = module.split_last().map_or(Vec::new(), |(_, p)| p.to_vec());
            return self.walk(parent, rest, depth);
        }
        let mut child = module.clone();
        child.push(head.clone());
        if self.files.contains_key(&child) {
            return self.walk(child, rest, depth);
        }
        let passed_on = self.resolve(&module, path, depth + 1);
        passed_on.unwrap_or(module)
    }

    /// Which file depends on which.
    fn edges(&self) -> BTreeSet<(Module, Module)> {
        let mut edges = BTreeSet::new();
        for (module, file) in &self.files {
            let mut used: Vec<Vec<String>> = Vec::new();
            let mut body = file.code.clone();
            for (public, tree) in statements(&file.code) {
                body = body.replace(&tree, "");
                if !public {
                    used.extend(paths(&tree).into_iter().map(|(_, path)| path));
                }
            }
            used.extend(qualified(&body));
            for path in used {
                if let Some(target) = self.resolve(module, &path, 0)
                    && target != *module
                {
                    edges.insert((module.clone(), target));
                }
            }
        }
        edges
    }

    /// Files, and within each folder its files and folders, that depend on each other in a circle.
    fn cycles(&self) -> Vec<String> {
        let edges = self.edges();
        let named = |module: &Module| match module.as_slice() {
            [] => "lib".to_owned(),
            names => names.join("::"),
        };
        let files = edges.iter().map(|(a, b)| (named(a), named(b)));
        let mut cycles = circles(&files.collect());
        let folders: BTreeSet<&[String]> = self
            .files
            .keys()
            .filter_map(|module| module.split_last().map(|(_, parent)| parent))
            .collect();
        for folder in folders {
            let child = |module: &Module| -> Option<String> {
                let below = module.strip_prefix(folder)?;
                let first = below.first().map(String::as_str);
                (!module.is_empty()).then(|| first.unwrap_or("mod").to_owned())
            };
            let edges = edges
                .iter()
                .filter_map(|(a, b)| Some((child(a)?, child(b)?)));
            let edges = edges.filter(|(a, b)| a != b).collect();
            let place = named(&folder.to_vec());
            cycles.extend(
                circles(&edges)
                    .into_iter()
                    .map(|c| format!("in {place}: {c}")),
            );
        }
        cycles
    }
}

/// Each set of nodes that reach each other, as text.
fn circles(edges: &BTreeSet<(String, String)>) -> Vec<String> {
    let reach = |from: &String| {
        let mut seen: BTreeSet<&String> = BTreeSet::new();
        let mut next = vec![from];
        while let Some(node) = next.pop() {
            for (_, to) in edges.iter().filter(|(a, _)| a == node) {
                if seen.insert(to) {
                    next.push(to);
                }
            }
        }
        seen
    };
    let nodes: BTreeSet<&String> = edges.iter().flat_map(|(a, b)| [a, b]).collect();
    let reached: BTreeMap<&String, BTreeSet<&String>> =
        nodes.iter().map(|node| (*node, reach(node))).collect();
    let circle = |node: &&String| -> Option<String> {
        let there = &reached[*node];
        let members: Vec<&str> = there
            .iter()
            .filter(|other| reached[**other].contains(*node))
            .map(|name| name.as_str())
            .collect();
        (members.len() > 1).then(|| members.join(", "))
    };
    let found: BTreeSet<String> = nodes.iter().filter_map(circle).collect();
    found.into_iter().collect()
}

/// Code without line comments and without the content of strings.
fn code_of(text: &str) -> String {
    let mut code = String::new();
    for line in text.lines() {
        let (mut quoted, mut escaped) = (false, false);
        let mut previous = ' ';
        for character in line.chars() {
            if quoted {
                quoted = escaped || character != '"';
                escaped = character == '\\' && !escaped;
                continue;
            }
            if character == '/' && previous == '/' {
                code.pop();
                break;
            }
            quoted = character == '"' && previous != '\'';
            code.push(character);
            previous = character;
        }
        code.push('\n');
    }
    code
}

/// What follows each whole word `word`.
fn words_after<'a>(code: &'a str, word: &str) -> Vec<&'a str> {
    code.match_indices(word)
        .filter(|(at, _)| {
            let before = code[..*at].chars().next_back();
            let after = code[at + word.len()..].chars().next();
            before.is_none_or(|c| c.is_whitespace()) && after == Some(' ')
        })
        .map(|(at, _)| &code[at + word.len()..])
        .collect()
}

/// The `use` statements: whether each passes names on, and its tree.
fn statements(code: &str) -> Vec<(bool, String)> {
    let mut found = Vec::new();
    let mut public = false;
    for statement in code.split_inclusive(';') {
        for rest in words_after(statement, "use") {
            let before = &statement[..statement.len() - rest.len() - "use".len()];
            let last = before.lines().next_back().unwrap_or_default().trim();
            public = last.starts_with("pub");
            if let Some(tree) = rest.strip_suffix(';') {
                found.push((public, tree.to_owned()));
            }
        }
    }
    let _ = public;
    found
}

/// The names of a tree of imports, and their paths.
fn paths(tree: &str) -> Vec<(String, Vec<String>)> {
    let tree = tree.trim();
    let Some((head, rest)) = tree.split_once('{') else {
        let (path, name) = tree.split_once(" as ").unwrap_or((tree, ""));
        let path: Vec<String> = path
            .split("::")
            .map(|part| part.trim().to_owned())
            .collect();
        let name = match name.trim() {
            "" => path.last().cloned().unwrap_or_default(),
            name => name.to_owned(),
        };
        return vec![(name, path)];
    };
    let inner = rest.rsplit_once('}').map_or(rest, |(inner, _)| inner);
    let head: Vec<String> = head
        .split("::")
        .map(|part| part.trim().to_owned())
        .filter(|part| !part.is_empty())
        .collect();
    let mut found = Vec::new();
    for branch in branches(inner) {
        for (name, path) in paths(branch) {
            let own = path == ["self"];
            let mut whole = head.clone();
            whole.extend(path.into_iter().filter(|_| !own));
            let name = match own && name == "self" {
                true => whole.last().cloned().unwrap_or_default(),
                false => name,
            };
            found.push((name, whole));
        }
    }
    found
}

/// The parts of a list, split at the commas that are in no inner braces.
fn branches(list: &str) -> Vec<&str> {
    let (mut found, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, character) in list.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                found.push(list[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    found.push(list[start..].trim());
    found.retain(|branch| !branch.is_empty());
    found
}

/// Paths in the code itself: `crate::a::B`, `module::function`.
fn qualified(code: &str) -> Vec<Vec<String>> {
    let word = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    code.split(|c: char| !word(c))
        .filter(|path| path.contains("::"))
        .map(|path| path.split("::").map(str::to_owned).collect::<Vec<_>>())
        .filter(|path| path.iter().all(|part| is_name(part)))
        .filter(|path| path[0].chars().next().is_some_and(char::is_lowercase))
        .collect()
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || c == '_')
}

/// The crates whose modules may not depend on each other in circles.
const CRATES: [&str; 9] = [
    "disk",
    "wal",
    "log-cli",
    "checkpoint",
    "engine",
    "http",
    "connectors",
    "ui",
    "cli",
];

#[test]
fn modules_import_each_other_in_one_direction() {
    let mut broken = Vec::new();
    for name in CRATES {
        let lib = root().join(name).join("src/lib.rs");
        let cycles = Crate::of(&lib).cycles();
        broken.extend(cycles.into_iter().map(|cycle| format!("{name}: {cycle}")));
    }
    assert!(
        broken.is_empty(),
        "files or folders that depend on each other in a circle:\n{}",
        broken.join("\n")
    );
}

/// A small crate with these files, and its cycles.
fn cycles_of(files: &[(&str, &str)]) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    Crate::of(&dir.path().join("lib.rs")).cycles()
}

#[test]
fn a_cycle_is_seen_however_it_is_written() {
    let lib = ("lib.rs", "mod a;\nmod b;\npub use b::B;\n");
    let b = ("b.rs", "use crate::a::A;\npub struct B(A);\n");
    for a in [
        "use crate::b::B;",
        "use crate::{b::{self, B}};",
        "use crate::B;", // passed on by the root
        "pub(crate) fn f() { crate::b::g(); }",
        "use super::b;\nfn f() { b::g(); }",
    ] {
        assert_eq!(
            cycles_of(&[lib, b, ("a.rs", a)]),
            ["a, b", "in lib: a, b"],
            "{a}"
        );
    }
    for a in [
        "// use crate::b::B;",
        "const S: &str = \"crate::b::B\";",
        "fn f() {}\n#[cfg(test)]\nmod tests { use crate::b::B; }",
        "use std::b::B;",
    ] {
        assert_eq!(cycles_of(&[lib, b, ("a.rs", a)]), [""; 0], "{a}");
    }
}

#[test]
fn folders_may_not_depend_on_each_other_in_circles_either() {
    let found = cycles_of(&[
        ("lib.rs", "mod a;\nmod b;\n"),
        (
            "a/mod.rs",
            "pub(crate) mod one;\npub(crate) mod two;\npub(crate) use two::Two;\n",
        ),
        ("a/one.rs", "use crate::b::B;\n"),
        ("a/two.rs", "pub(crate) struct Two;\n"),
        ("b.rs", "use crate::a::Two;\npub(crate) struct B;\n"),
    ]);
    assert_eq!(found, ["in lib: a, b"]);
}
