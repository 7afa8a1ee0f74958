//! The unit in `docs/running.md` is one that systemd accepts.
#![allow(
    clippy::disallowed_methods,
    reason = "test code, which reads the documentation"
)]

use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;

#[test]
fn systemd_accepts_the_unit() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("docs/running.md")).unwrap();
    let (_, unit) = text.split_once("```ini\n").unwrap();
    let (unit, _) = unit.split_once("```").unwrap();
    for needed in ["Restart=on-failure", "TimeoutStopSec=", "StateDirectory="] {
        assert!(unit.contains(needed), "{needed}");
    }
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("word-count.service");
    // The program must exist for systemd to be content.
    let program = std::env::current_exe().unwrap().display().to_string();
    let unit = unit.replace("/usr/local/bin/word-count", &program);
    std::fs::write(&path, unit).unwrap();
    let verified = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .arg(&path)
        .output();
    match verified {
        Ok(verified) => {
            let said = String::from_utf8_lossy(&verified.stderr).into_owned();
            assert!(verified.status.success(), "{said}");
            assert!(!said.contains("word-count.service"), "{said}");
        }
        Err(e) if e.kind() == ErrorKind::NotFound => {
            println!("systemd-analyze is not installed: the unit was only read");
        }
        Err(e) => panic!("{e}"),
    }
}
