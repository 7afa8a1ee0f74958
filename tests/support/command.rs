//! Runs a built binary and looks at what it says. The module above names it (`EXE`), and the crate
//! of the disk (`disk`).

use super::EXE;
use super::disk::{Access, Disk, DiskFile, OsDisk};
use serde_json::Value;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

/// The result of a command.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    /// Checks the exit code; shows everything if it is another one.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}\n{}", self.out, self.err);
        self
    }

    /// Every line as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Vec<Value> {
        self.out
            .lines()
            .map(|line| serde_json::from_str(line).expect(line))
            .collect()
    }
}

/// A command with the built binary; temporary files go into `tmp`.
pub(crate) fn command(tmp: &Path) -> Command {
    let mut command = Command::new(EXE);
    command.env("TMPDIR", tmp).env_remove("RUST_LOG");
    command
}

/// Runs the built binary.
pub(crate) fn run<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Ran {
    run_in(&std::env::temp_dir(), args)
}

/// Runs the built binary with its temporary files in `tmp`.
pub(crate) fn run_in<S: AsRef<OsStr>>(tmp: &Path, args: impl IntoIterator<Item = S>) -> Ran {
    ran(command(tmp).args(args).output().unwrap())
}

fn ran(output: Output) -> Ran {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran {
        code: output.status.code(),
        out: text(output.stdout),
        err: text(output.stderr),
    }
}

/// Flips a bit of a file.
pub(crate) fn damage(file: &Path, offset: u64) {
    let file = open(file);
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    byte[0] ^= 0x10;
    file.write_all_at(&byte, offset).unwrap();
}

/// The paths in a directory, sorted.
pub(crate) fn paths(dir: &Path) -> Vec<PathBuf> {
    OsDisk::new()
        .list(dir)
        .unwrap()
        .into_iter()
        .map(|e| dir.join(e.name))
        .collect()
}

/// Writes a file.
pub(crate) fn write(path: &Path, bytes: &[u8]) {
    OsDisk::new()
        .create_new(path)
        .unwrap()
        .write_all_at(bytes, 0)
        .unwrap();
}

fn open(path: &Path) -> Arc<dyn DiskFile> {
    OsDisk::new().open(path, Access::ReadWrite).unwrap()
}
