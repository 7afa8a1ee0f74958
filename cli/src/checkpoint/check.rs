//! `highwater checkpoint check`: asks a program what it would do with a directory.

use crate::args::CheckArgs;
use crate::outcome::{Failure, Outcome, Result};
use crate::output::Output;
use highwater::DryRunAnswer;
use highwater::disk::{Access, Clock, Disk, OsClock, OsDisk};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// Runs the command. Nothing in the directory is changed.
pub(crate) fn check(args: &CheckArgs, out: &mut Output) -> Result<Outcome> {
    let disk = OsDisk::new();
    let dir = disk
        .resolve(&args.dir)
        .map_err(|e| Failure::io("cannot find", &args.dir, &e))?;
    let file = AnswerFile::new();
    let program = args.program.display();
    let child = Command::new(&args.program)
        .args(&args.arguments)
        .env("HIGHWATER_DRY_RUN", &dir)
        .env("HIGHWATER_DRY_RUN_ANSWER", &file.path)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .map_err(|e| Failure::Io(format!("{program} cannot be run: {e}")))?;
    let ended = ended(child, Duration::from_secs(args.timeout))?;
    let Some(answer) = file.read(&disk)? else {
        let how = ended.map_or_else(
            || format!("was ended after {} s", args.timeout),
            |status| format!("ended with {status}"),
        );
        return Err(Failure::Io(format!(
            "{program} {how} and has not answered: it must come to Builder::get_or_create, and be built with this version of \
             Highwater or a later one. What it needs for that goes after `--`"
        )));
    };
    out.show(args.json, &answer, |answer, out| match answer {
        DryRunAnswer::Fits(report) => {
            out.line(report.to_string().trim_end())?;
            out.line("\nthe program fits: nothing was changed")
        }
        DryRunAnswer::Refused(why) => {
            out.line("the program would be REFUSED, and nothing changed:\n")?;
            out.line(why)
        }
    })?;
    Ok(Outcome::clean_if(matches!(answer, DryRunAnswer::Fits(_))))
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
            "highwater-check-{}-{}.json",
            std::process::id(),
            OsClock::new().now().as_nanos()
        );
        Self {
            path: std::env::temp_dir().join(unique),
        }
    }

    fn read(&self, disk: &OsDisk) -> Result<Option<DryRunAnswer>> {
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
