//! One life of the child process, from its start to its death.

use super::event::{Event, Ready, Status};
use crate::args::ChildArgs;
use crate::outcome::{Failure, Result};
use highwater::disk::Clock;
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
const COMPLAINTS: usize = 20;

/// A running child.
pub(crate) struct Life {
    child: Mutex<Child>,
    said: Arc<Said>,
    listeners: Vec<JoinHandle<()>>,
    clock: Arc<dyn Clock>,
    /// When it was started.
    pub(crate) born: Duration,
}

/// What the child has said so far.
#[derive(Default)]
struct Said {
    words: Mutex<Words>,
    changed: Condvar,
}

#[derive(Default)]
struct Words {
    ready: Option<Ready>,
    status: Status,
    stopped: bool,
    silent: bool,
    complaints: VecDeque<String>,
}

impl Life {
    /// Starts the child.
    pub(crate) fn begin(args: &ChildArgs, clock: &Arc<dyn Clock>) -> Result<Self> {
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
        let born = clock.now();
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .map_err(|e| Failure::io("cannot start", &program, &e))?;
        let said = Arc::new(Said::default());
        let mut listeners = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            listeners.push(listen(stdout, &said, Said::event, Said::silent));
        }
        if let Some(stderr) = child.stderr.take() {
            listeners.push(listen(stderr, &said, Said::complaint, |_| ()));
        }
        Ok(Self {
            child: Mutex::new(child),
            said,
            listeners,
            clock: Arc::clone(clock),
            born,
        })
    }

    /// Waits until the child's source accepts connections.
    pub(crate) fn await_ready(&self) -> Result<(Ready, Duration)> {
        self.await_word("start", |words| words.ready.clone())
            .map(|ready| (ready, self.age()))
    }

    /// Kills the child with SIGKILL. It may be dead already.
    pub(crate) fn kill(&self) {
        // The only error is that it was reaped already.
        let _ = self.child.lock().kill();
    }

    /// Time since the start.
    pub(crate) fn age(&self) -> Duration {
        self.clock.now() - self.born
    }

    /// Buries a killed child; returns the last that was heard of it, and whether it had ever been
    /// ready.
    pub(crate) fn bury(mut self) -> (Status, bool) {
        self.kill();
        // Waiting fails only for a child that was waited for.
        let _ = self.child.lock().wait();
        for listener in self.listeners.drain(..) {
            // They only read and cannot panic.
            let _ = listener.join();
        }
        let words = self.said.words.lock();
        (words.status, words.ready.is_some())
    }

    /// Asks the child to stop, by closing its standard input, and waits until it has: everything
    /// that it acknowledged is in its last checkpoint then.
    pub(crate) fn stop(self) -> Result<Status> {
        drop(self.child.lock().stdin.take());
        self.await_word("stop", |words| words.stopped.then_some(()))?;
        let exit = self
            .child
            .lock()
            .wait()
            .map_err(|e| Failure::Io(format!("cannot wait for the child: {e}")))?;
        if !exit.success() {
            return Err(self.failure(&format!("ended with {exit} after it had stopped")));
        }
        Ok(self.bury().0)
    }

    /// An error about the child, with what it had to say.
    pub(crate) fn failure(&self, what: &str) -> Failure {
        let words = self.said.words.lock();
        let mut text = format!("the child {what}");
        for complaint in &words.complaints {
            text.push_str("\n  child: ");
            text.push_str(complaint);
        }
        Failure::Finding(text)
    }

    fn await_word<T>(&self, what: &str, pick: impl Fn(&Words) -> Option<T>) -> Result<T> {
        let deadline = self.clock.now().saturating_add(PATIENCE);
        let mut words = self.said.words.lock();
        loop {
            if let Some(picked) = pick(&words) {
                return Ok(picked);
            }
            let left = deadline.saturating_sub(self.clock.now());
            let silent = words.silent;
            if silent || left.is_zero() {
                drop(words);
                let why = if silent {
                    "ended".to_owned()
                } else {
                    format!("said nothing for {PATIENCE:?}")
                };
                return Err(self.failure(&format!("did not {what}: it {why}")));
            }
            let _timed_out = self.said.changed.wait_for(&mut words, left);
        }
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.kill();
        // As in `bury`: no zombie is left behind, whatever happened.
        let _ = self.child.lock().wait();
    }
}

impl Said {
    fn event(&self, line: &str) {
        // The last line of a killed child may be cut.
        let Ok(event) = serde_json::from_str(line) else {
            return;
        };
        let mut words = self.words.lock();
        match event {
            Event::Ready(ready) => words.ready = Some(ready),
            Event::Status(status) => words.status = status,
            Event::Stopped(status) => {
                words.status = status;
                words.stopped = true;
            }
        }
        self.changed.notify_all();
    }

    fn complaint(&self, line: &str) {
        let mut words = self.words.lock();
        if words.complaints.len() == COMPLAINTS {
            words.complaints.pop_front();
        }
        words.complaints.push_back(line.to_owned());
    }

    fn silent(&self) {
        self.words.lock().silent = true;
        self.changed.notify_all();
    }
}

fn listen(
    pipe: impl Read + Send + 'static,
    said: &Arc<Said>,
    heard: fn(&Said, &str),
    ended: fn(&Said),
) -> JoinHandle<()> {
    let said = Arc::clone(said);
    std::thread::spawn(move || {
        let mut pipe = BufReader::new(pipe);
        let mut line = Vec::new();
        while pipe.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
            heard(&said, String::from_utf8_lossy(&line).trim_end());
            line.clear();
        }
        ended(&said);
    })
}
