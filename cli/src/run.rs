//! `run`: a program as a child, started again when it fails.

use crate::args::RunArgs;
use crate::message::tell;
use highwater::{BoxError, RestartPolicy, supervise};
use highwater_log::outcome::{Failure, Outcome, Result};
use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::SIGTERM;
use signal_hook::iterator::{Handle, Signals};
use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// Runs the program. Its exit code is the command's; 128 and the signal if one ended it.
pub(crate) fn run(args: &RunArgs) -> Result<Outcome> {
    let (program, arguments) = args.program.split_first().ok_or_else(|| {
        Failure::Usage("name the program: highwater run [--supervise] -- PROGRAM".to_owned())
    })?;
    let failures = match args.supervise {
        true => args.max_failures,
        false => 1,
    };
    let first = Duration::from_millis(args.pause_ms);
    let policy = RestartPolicy::new()
        .pauses(first, Duration::from_secs(60).max(first))
        .max_failures(failures);
    let child = Arc::new(Mutex::new(None));
    let forwarding = Forwarding::start(&child)?;
    let mut last = None;
    let ended = supervise(&policy, || {
        let status = run_child(program, arguments, &child)?;
        last = Some(status);
        match status.success() {
            true => Ok(()),
            false => Err(format!("{} ended with {status}", program.display()).into()),
        }
    });
    forwarding.end();
    match (ended, last) {
        (Ok(()), _) => Ok(Outcome::Clean),
        (Err(error), Some(status)) => {
            if args.supervise {
                tell(error.to_string());
            }
            Ok(Outcome::Code(code(status)))
        }
        (Err(error), None) => Err(Failure::Io(error.to_string())),
    }
}

/// What a shell reports for it.
fn code(status: ExitStatus) -> u8 {
    let code = status.code();
    let code = code.or_else(|| status.signal().map(|signal| signal.saturating_add(128)));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

fn run_child(
    program: &OsString,
    arguments: &[OsString],
    running: &Mutex<Option<Pid>>,
) -> Result<ExitStatus, BoxError> {
    let cannot = |e| format!("{} cannot be run: {e}", program.display());
    let mut child = {
        // Under the lock: no signal comes between the start and the note of it.
        let mut running = running.lock();
        let child = Command::new(program).args(arguments).spawn();
        let child = child.map_err(cannot)?;
        *running = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        child
    };
    let ended = child.wait();
    *running.lock() = None;
    Ok(ended?)
}

/// A thread that hands SIGTERM on to the child. SIGINT from a terminal reaches the child anyway.
struct Forwarding {
    handle: Handle,
    thread: JoinHandle<()>,
}

impl Forwarding {
    fn start(child: &Arc<Mutex<Option<Pid>>>) -> Result<Self> {
        let mut signals = Signals::new([SIGTERM])
            .map_err(|e| Failure::Io(format!("SIGTERM cannot be waited for: {e}")))?;
        let (handle, child) = (signals.handle(), Arc::clone(child));
        let thread = std::thread::spawn(move || {
            for _ in signals.forever() {
                if let Some(pid) = *child.lock()
                    && let Err(error) = kill_process(pid, Signal::TERM)
                {
                    tell(format!("SIGTERM did not reach the program: {error}"));
                }
            }
        });
        Ok(Self { handle, thread })
    }

    fn end(self) {
        self.handle.close();
        let _panicked = self.thread.join();
    }
}
