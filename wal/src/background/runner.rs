//! A task that is run by a thread of its own, or by one that many logs share.

use crate::background::shared::{SharedThread, Slot};
use crate::background::task::{Next, Task};
use parking_lot::Mutex;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

/// Runs a task until [`Self::stop`].
#[derive(Debug, Default)]
pub(crate) struct Runner(Mutex<State>);

#[derive(Debug, Default)]
enum State {
    #[default]
    NotStarted,
    Own(JoinHandle<()>),
    Shared(Arc<Slot>, &'static SharedThread),
    Stopped,
}

impl Runner {
    /// Has the task run, unless that was started or stopped before: by the thread `shared` that
    /// logs share, or by one of its own, called `name`.
    ///
    /// # Errors
    /// The system starts no thread.
    pub(crate) fn start(
        &self,
        name: &str,
        task: &Arc<impl Task>,
        shared: Option<&'static SharedThread>,
    ) -> io::Result<()> {
        let mut state = self.0.lock();
        if !matches!(*state, State::NotStarted) {
            return Ok(());
        }
        let task: Arc<dyn Task> = Arc::clone(task) as _;
        *state = match shared {
            Some(thread) => State::Shared(thread.add(task)?, thread),
            None => {
                let thread = std::thread::Builder::new().name(name.to_owned());
                State::Own(thread.spawn(move || run(&*task))?)
            }
        };
        Ok(())
    }

    /// Whether [`Self::stop`] was called.
    pub(crate) fn is_stopped(&self) -> bool {
        matches!(*self.0.lock(), State::Stopped)
    }

    /// No step is run any more when this returns, but for one that calls it. The task has been told
    /// before: its next step is the last.
    pub(crate) fn stop(&self, task: &impl Task) {
        let state = std::mem::replace(&mut *self.0.lock(), State::Stopped);
        task.bell().ring();
        match state {
            State::NotStarted | State::Stopped => {}
            State::Shared(slot, thread) => thread.remove(&slot),
            // A waker that it calls may own the log.
            State::Own(thread) if thread.thread().id() == std::thread::current().id() => {}
            // Those who depend on the task have noticed if it panicked: see `Task::ended`.
            State::Own(thread) => drop(thread.join()),
        }
    }
}

fn run(task: &dyn Task) {
    let _ended = EndedOnDrop(task);
    loop {
        match task.step() {
            Next::Again => {}
            Next::Wait(deadline) => {
                task.clock().wait(task.bell().notify(), deadline);
            }
            Next::Done => return,
        }
    }
}

/// Tells the task, also when a step panics.
struct EndedOnDrop<'a>(&'a dyn Task);

impl Drop for EndedOnDrop<'_> {
    fn drop(&mut self) {
        self.0.ended();
    }
}
