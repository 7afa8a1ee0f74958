//! Scenarios that need a process of their own: the test binary starts itself again and runs only
//! its test `child`.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

const ROLE: &str = "HIGHWATER_WAL_ROLE";
const DIR: &str = "HIGHWATER_WAL_DIR";

/// What this process was started for, if it is a child: the role and the directory.
pub(crate) fn role() -> Option<(String, PathBuf)> {
    let role = std::env::var(ROLE).ok()?;
    Some((role, std::env::var_os(DIR).unwrap().into()))
}

/// Tells the parent something. On a line of its own: the test harness may have begun one.
pub(crate) fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    write!(out, "\n>{text}\n").unwrap();
    out.flush().unwrap();
}

/// This binary again, to play `role` in `dir`.
pub(crate) fn command(role: &str, dir: &Path) -> Command {
    command_under(&[], role, dir)
}

/// The same, started by the program `wrapper` (with its arguments).
pub(crate) fn command_under(wrapper: &[&str], role: &str, dir: &Path) -> Command {
    command_from(&std::env::current_exe().unwrap(), wrapper, role, dir)
}

/// The same, from a copy of this binary.
pub(crate) fn command_from(binary: &Path, wrapper: &[&str], role: &str, dir: &Path) -> Command {
    let words = wrapper.iter().map(OsStr::new).chain([binary.as_os_str()]);
    let words: Vec<_> = words.collect();
    let mut command = Command::new(words[0]);
    command
        .args(&words[1..])
        .args(["--exact", "child", "--nocapture", "--test-threads=1"])
        .env(ROLE, role)
        .env(DIR, dir)
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    command
}

/// A child that runs; killed when dropped.
pub(crate) struct Running {
    pub(crate) child: Child,
    said: BufReader<ChildStdout>,
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        Self { child, said }
    }

    /// The next thing that the child says; `None` once it is gone.
    pub(crate) fn hear(&mut self) -> Option<String> {
        loop {
            let mut line = String::new();
            // A child that is killed may leave half a line.
            if self.said.read_line(&mut line).unwrap() == 0 || !line.ends_with('\n') {
                return None;
            }
            if let Some(text) = line.strip_prefix('>') {
                return Some(text.trim_end().to_owned());
            }
        }
    }

    /// Expects the child to say exactly this next.
    pub(crate) fn expect(&mut self, text: &str) {
        assert_eq!(self.hear().as_deref(), Some(text));
    }

    /// Lets the child go on.
    pub(crate) fn tell(&mut self, text: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{text}").unwrap();
    }

    /// Everything else that it says, and how it ended.
    pub(crate) fn finish(mut self) -> (Vec<String>, ExitStatus) {
        let said = std::iter::from_fn(|| self.hear()).collect();
        (said, self.child.wait().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a child to its end, which must be a good one.
pub(crate) fn run(command: Command) -> Vec<String> {
    let (said, status) = Running::start(command).finish();
    assert!(status.success(), "the child ended with {status}: {said:?}");
    said
}

/// In a child: waits for the parent's word.
pub(crate) fn await_word() -> String {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

/// Whether a program can be started.
pub(crate) fn exists(program: &str) -> bool {
    Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok()
}
