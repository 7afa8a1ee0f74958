//! Chromium, driven by `page.mjs` under Node.
//!
//! `npm install --prefix target/browser playwright-core@1.65.1 axe-core@4.14.1` brings the
//! packages, Debian's `chromium` the browser.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

const REQUIRED: &str = "HIGHWATER_REQUIRE_BROWSER";

/// The browser, which answers each thing that it is told to do.
pub(crate) struct Browser {
    child: Child,
    told: ChildStdin,
    says: BufReader<ChildStdout>,
}

fn missing() -> Option<String> {
    let runs = |program: &str| {
        let tried = Command::new(program).arg("--version").output();
        tried.is_ok_and(|output| output.status.success())
    };
    if !runs("node") {
        return Some("there is no node".to_owned());
    }
    if chromium().is_none() {
        return Some("there is no chromium in /usr/bin".to_owned());
    }
    let packages = packages();
    let found = ["playwright-core", "axe-core"]
        .iter()
        .all(|name| packages.join(name).is_dir());
    (!found).then(|| format!("there are no packages in {}", packages.display()))
}

fn chromium() -> Option<&'static Path> {
    let path = Path::new("/usr/bin/chromium");
    path.exists().then_some(path)
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn packages() -> PathBuf {
    root().join("target/browser/node_modules")
}

impl Browser {
    /// `None`, with a sentence, where it cannot be had.
    pub(crate) fn start(url: &str) -> Option<Self> {
        if let Some(why) = missing() {
            assert!(
                std::env::var_os(REQUIRED).is_none(),
                "{REQUIRED} is set, and {why}"
            );
            println!("skipped: {why}");
            return None;
        }
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser/page.mjs");
        let mut child = Command::new("node")
            .arg(script)
            .arg(url)
            .env("CHROMIUM", chromium().unwrap())
            .env("PACKAGES", packages())
            .env("PICTURES", root().join("docs/images"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Some(Self {
            told: child.stdin.take().unwrap(),
            says: BufReader::new(child.stdout.take().unwrap()),
            child,
        })
    }

    pub(crate) fn does(&mut self, what: &str) {
        writeln!(self.told, "{what}").unwrap();
        let mut line = String::new();
        self.says.read_line(&mut line).unwrap();
        assert_eq!(line.trim_end(), "ok", "\"{what}\" in the browser");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
