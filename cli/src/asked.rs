//! A program that is asked by its environment, and answers in a file.

use highwater::disk::{Access, Clock, Disk, OsClock, OsDisk};
use highwater_log::outcome::{Failure, Result};
use serde::de::DeserializeOwned;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// A program, and how long it may take.
pub(crate) struct Asked<'a> {
    pub(crate) program: &'a Path,
    pub(crate) arguments: &'a [OsString],
    /// In seconds.
    pub(crate) timeout: u64,
}

impl Asked<'_> {
    /// Runs the program with these variables, and `answer` for the file of the answer, until it
    /// ends.
    ///
    /// # Errors
    /// If it cannot be run, takes too long, or ends without an answer.
    pub(crate) fn ask<A: DeserializeOwned>(
        &self,
        variables: &[(&str, &OsStr)],
        answer: &str,
    ) -> Result<A> {
        let file = AnswerFile::new();
        let program = self.program.display();
        let child = Command::new(self.program)
            .args(self.arguments)
            .envs(variables.iter().copied())
            .env(answer, &file.path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .map_err(|e| Failure::Io(format!("{program} cannot be run: {e}")))?;
        let ended = ended(child, Duration::from_secs(self.timeout))?;
        if let Some(answer) = file.read(&OsDisk::new())? {
            return Ok(answer);
        }
        let how = ended.map_or_else(
            || format!("was ended after {} s", self.timeout),
            |status| format!("ended with {status}"),
        );
        Err(Failure::Io(format!(
            "{program} {how} and has not answered: it must come to Builder::get_or_create, and be built with this version of \
             Highwater or a later one. What it needs for that goes after `--`"
        )))
    }
}

/// How the child has ended; `None` if it had to be, because the time was up.
fn ended(mut child: Child, timeout: Duration) -> Result<Option<ExitStatus>> {
    let failed = |e| Failure::Io(format!("the program cannot be waited for: {e}"));
    let (tell, told) = channel();
    let pid = child.id();
    let waiting = std::thread::spawn(move || {
        let _ = tell.send(child.wait());
    });
    let status = match told.recv_timeout(timeout) {
        Ok(status) => Some(status.map_err(failed)?),
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
            let pid = i32::try_from(pid).ok();
            if let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) {
                // It may end at this moment.
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
            None
        }
    };
    let _panicked = waiting.join();
    Ok(status)
}

/// Where the program writes its answer; removed in the end.
struct AnswerFile {
    path: PathBuf,
}

impl AnswerFile {
    fn new() -> Self {
        let unique = format!(
            "highwater-answer-{}-{}.json",
            std::process::id(),
            OsClock::new().now().as_nanos()
        );
        Self {
            path: std::env::temp_dir().join(unique),
        }
    }

    fn read<A: DeserializeOwned>(&self, disk: &OsDisk) -> Result<Option<A>> {
        let failed = |e| Failure::io("cannot read", &self.path, &e);
        let file = match disk.open(&self.path, Access::Read) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(failed)?,
        };
        let len = usize::try_from(file.len().map_err(failed)?).unwrap_or(usize::MAX);
        let mut bytes = vec![0; len];
        file.read_exact_at(&mut bytes, 0).map_err(failed)?;
        let answer = serde_json::from_slice(&bytes).map_err(|e| {
            Failure::Io(format!(
                "the program is built with another version of Highwater, whose answer is not understood: {e}"
            ))
        })?;
        Ok(Some(answer))
    }
}

impl Drop for AnswerFile {
    fn drop(&mut self) {
        let disk = OsDisk::new();
        let _ = disk.remove_file(&self.path);
        let _ = disk.remove_file(&self.path.with_extension("tmp"));
    }
}
