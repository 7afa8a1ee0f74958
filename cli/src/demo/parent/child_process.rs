//! One process of the child, from its start to its end.

use crate::args::ChildArgs;
use crate::demo::child::event::{Event, Ready, Status};
use highwater::disk::Clock;
use highwater_log::outcome::{Failure, Result};
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// How long the child may take to start or to stop.
const PATIENCE: Duration = Duration::from_secs(60);
/// How many lines of its standard error are kept.
const KEPT_ERRORS: usize = 20;

/// A running child.
pub(crate) struct ChildProcess {
    child: Mutex<Child>,
    heard: Arc<Heard>,
    readers: Vec<JoinHandle<()>>,
    clock: Arc<dyn Clock>,
    /// When it was started.
    pub(crate) started: Duration,
}

/// What was heard of the child so far.
#[derive(Default)]
struct Heard {
    state: Mutex<HeardState>,
    changed: Condvar,
}

#[derive(Default)]
struct HeardState {
    ready: Option<Ready>,
    status: Status,
    stopped: bool,
    ended: bool,
    errors: VecDeque<String>,
}

impl ChildProcess {
    /// Starts the child.
    pub(crate) fn spawn(args: &ChildArgs, clock: &Arc<dyn Clock>) -> Result<Self> {
        let program = std::env::current_exe()
            .map_err(|e| Failure::Io(format!("cannot find this program: {e}")))?;
        let mut command = Command::new(&program);
        command
            .arg("demo-child")
            .arg("--dir")
            .arg(&args.dir)
            .arg("--workers")
            .arg(args.workers.to_string());
        args.faults.pass_on(&mut command);
        let started = clock.now();
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .map_err(|e| Failure::io("cannot start", &program, &e))?;
        let heard = Arc::new(Heard::default());
        let mut readers = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            readers.push(read_lines(stdout, &heard, Heard::event, Heard::ended));
        }
        if let Some(stderr) = child.stderr.take() {
            readers.push(read_lines(stderr, &heard, Heard::error_line, |_| ()));
        }
        Ok(Self {
            child: Mutex::new(child),
            heard,
            readers,
            clock: Arc::clone(clock),
            started,
        })
    }

    /// Waits until the child's source accepts connections.
    pub(crate) fn await_ready(&self) -> Result<(Ready, Duration)> {
        self.await_state("start", |state| state.ready.clone())
            .map(|ready| (ready, self.age()))
    }

    /// Kills the child with SIGKILL. It may be dead already.
    pub(crate) fn kill(&self) {
        // The only error is that it was reaped already.
        let _ = self.child.lock().kill();
    }

    /// Time since the start.
    pub(crate) fn age(&self) -> Duration {
        self.clock.now() - self.started
    }

    /// Waits for the end of a killed child. Returns its last status, and whether it was ever ready.
    pub(crate) fn reap(mut self) -> (Status, bool) {
        self.kill();
        // Waiting fails only for a child that was waited for.
        let _ = self.child.lock().wait();
        for reader in self.readers.drain(..) {
            // They only read and cannot panic.
            let _ = reader.join();
        }
        let state = self.heard.state.lock();
        (state.status, state.ready.is_some())
    }

    /// Asks the child to stop, by closing its standard input, and waits until it has. Everything
    /// that it acknowledged is in its last checkpoint then.
    pub(crate) fn stop(self) -> Result<Status> {
        drop(self.child.lock().stdin.take());
        self.await_state("stop", |state| state.stopped.then_some(()))?;
        let exit = self
            .child
            .lock()
            .wait()
            .map_err(|e| Failure::Io(format!("cannot wait for the child: {e}")))?;
        if !exit.success() {
            return Err(self.failure(&format!("ended with {exit} after it had stopped")));
        }
        Ok(self.reap().0)
    }

    /// An error about the child, with the last lines of its standard error.
    pub(crate) fn failure(&self, what: &str) -> Failure {
        let state = self.heard.state.lock();
        let mut text = format!("the child {what}");
        for error_line in &state.errors {
            text.push_str("\n  child: ");
            text.push_str(error_line);
        }
        Failure::Finding(text)
    }

    fn await_state<T>(&self, what: &str, pick: impl Fn(&HeardState) -> Option<T>) -> Result<T> {
        let deadline = self.clock.now().saturating_add(PATIENCE);
        let mut state = self.heard.state.lock();
        loop {
            if let Some(picked) = pick(&state) {
                return Ok(picked);
            }
            let left = deadline.saturating_sub(self.clock.now());
            let ended = state.ended;
            if ended || left.is_zero() {
                drop(state);
                let why = if ended {
                    "ended".to_owned()
                } else {
                    format!("reported nothing for {PATIENCE:?}")
                };
                return Err(self.failure(&format!("did not {what}: it {why}")));
            }
            let _timed_out = self.heard.changed.wait_for(&mut state, left);
        }
    }
}

impl Drop for ChildProcess {
    fn drop(&mut self) {
        self.kill();
        // As in `reap`: no zombie is left.
        let _ = self.child.lock().wait();
    }
}

impl Heard {
    fn event(&self, line: &str) {
        // The last line of a killed child may be cut.
        let Ok(event) = serde_json::from_str(line) else {
            return;
        };
        let mut state = self.state.lock();
        match event {
            Event::Ready(ready) => state.ready = Some(ready),
            Event::Status(status) => state.status = status,
            Event::Stopped(status) => {
                state.status = status;
                state.stopped = true;
            }
        }
        self.changed.notify_all();
    }

    fn error_line(&self, line: &str) {
        let mut state = self.state.lock();
        if state.errors.len() == KEPT_ERRORS {
            state.errors.pop_front();
        }
        state.errors.push_back(line.to_owned());
    }

    fn ended(&self) {
        self.state.lock().ended = true;
        self.changed.notify_all();
    }
}

fn read_lines(
    pipe: impl Read + Send + 'static,
    heard: &Arc<Heard>,
    each: fn(&Heard, &str),
    at_end: fn(&Heard),
) -> JoinHandle<()> {
    let heard = Arc::clone(heard);
    std::thread::spawn(move || {
        let mut pipe = BufReader::new(pipe);
        let mut line = Vec::new();
        while pipe.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
            each(&heard, String::from_utf8_lossy(&line).trim_end());
            line.clear();
        }
        at_end(&heard);
    })
}
