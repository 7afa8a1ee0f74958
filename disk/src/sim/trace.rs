//! The trace of a simulated disk: every call in order, so that two runs can be compared.

use crate::call::Call;
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hasher};
use std::io;
use std::path::Path;

/// The calls since tracing began, one line each.
#[derive(Debug, Clone, Default)]
pub(super) struct Trace {
    lines: Vec<String>,
}

impl Trace {
    /// Notes a call, how it ended, and what the file at `path` holds after it.
    pub(super) fn note(
        &mut self,
        call: Call,
        path: &Path,
        target: Option<&Path>,
        failed: Option<&io::Error>,
        content: Option<&[u8]>,
    ) {
        let mut line = format!("{call:?} {}", path.display());
        let written = match target {
            Some(target) => write!(line, " to {}", target.display()),
            None => Ok(()),
        };
        let written = written.and_then(|()| match failed {
            Some(error) => write!(line, ": {:?}", error.kind()),
            None => Ok(()),
        });
        let written = written.and_then(|()| match content {
            Some(bytes) => write!(line, ", {} bytes {:016x}", bytes.len(), hash(bytes)),
            None => Ok(()),
        });
        written.expect("a string takes everything");
        self.lines.push(line);
    }

    pub(super) fn lines(&self) -> &[String] {
        &self.lines
    }
}

/// The same in every process: two runs are compared by it.
fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}
