//! Threads that work for all logs of the process whose options say so: two in all. Each runs while
//! there are such logs.

use crate::background::task::{Next, Task};
use highwater_disk::{Clock, Notify, OsClock};
use parking_lot::Mutex;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::thread::ThreadId;
use std::time::Duration;

/// Makes segments and moves memory, for all logs that share threads.
pub(crate) static MAINTENANCE: LazyLock<SharedThread> =
    LazyLock::new(|| SharedThread::new("highwater-wal-shared-maintenance"));

/// Flushes for all logs that share threads.
pub(crate) static FLUSHER: LazyLock<SharedThread> =
    LazyLock::new(|| SharedThread::new("highwater-wal-shared-flush"));

/// A thread that runs the tasks of many logs, a step of each in turn.
#[derive(Debug)]
pub(crate) struct SharedThread {
    name: &'static str,
    /// Rung by the bell of every task.
    notify: Arc<Notify>,
    clock: OsClock,
    tasks: Mutex<Tasks>,
}

#[derive(Debug, Default)]
struct Tasks {
    slots: Vec<Arc<Slot>>,
    /// The thread that runs them; none when there are none.
    thread: Option<ThreadId>,
}

/// A task of one log.
#[derive(Debug)]
pub(crate) struct Slot {
    task: Arc<dyn Task>,
    is_removed: AtomicBool,
    /// Locked during a step: when the next one is due, by the thread's clock.
    due: Mutex<Option<Duration>>,
}

impl SharedThread {
    fn new(name: &'static str) -> Self {
        Self {
            name,
            notify: Arc::default(),
            clock: OsClock::new(),
            tasks: Mutex::default(),
        }
    }

    /// What the bells of its tasks ring.
    pub(crate) fn notify(&self) -> &Arc<Notify> {
        &self.notify
    }

    /// Runs the steps of `task` from now on, whose bell rings [`Self::notify`].
    ///
    /// # Errors
    /// The system starts no thread.
    pub(crate) fn add(&'static self, task: Arc<dyn Task>) -> io::Result<Arc<Slot>> {
        let slot = Arc::new(Slot {
            task,
            is_removed: AtomicBool::new(false),
            due: Mutex::new(Some(Duration::ZERO)),
        });
        let mut tasks = self.tasks.lock();
        if tasks.thread.is_none() {
            let thread = std::thread::Builder::new().name(self.name.to_owned());
            tasks.thread = Some(thread.spawn(|| self.run())?.thread().id());
        }
        tasks.slots.push(Arc::clone(&slot));
        drop(tasks);
        self.notify.notify_one();
        Ok(slot)
    }

    /// No step of the task is run any more when this returns, but for one that calls it.
    pub(crate) fn remove(&self, slot: &Arc<Slot>) {
        slot.is_removed.store(true, Ordering::Release);
        let mut tasks = self.tasks.lock();
        tasks.slots.retain(|other| !Arc::ptr_eq(other, slot));
        let is_own = tasks.thread == Some(std::thread::current().id());
        drop(tasks);
        self.notify.notify_one();
        if !is_own {
            // Waits for a step that is being run.
            drop(slot.due.lock());
        }
    }

    fn run(&self) {
        loop {
            let slots = {
                let mut tasks = self.tasks.lock();
                if tasks.slots.is_empty() {
                    tasks.thread = None;
                    return;
                }
                tasks.slots.clone()
            };
            let mut next = None;
            for slot in slots {
                let due = self.step(&slot);
                next = next.into_iter().chain(due).min();
            }
            if next.is_none_or(|next| next > self.clock.now()) {
                self.clock.wait(&self.notify, next);
            }
        }
    }

    /// One step of the task, if it is due or was rung for. Returns when the next one is due.
    fn step(&self, slot: &Arc<Slot>) -> Option<Duration> {
        let mut due = slot.due.lock();
        let rung = slot.task.bell().take();
        let now = self.clock.now();
        if slot.is_removed.load(Ordering::Acquire) || !(rung || due.is_some_and(|due| due <= now)) {
            return *due;
        }
        // A panic is the end of one log, not of the others.
        let next = catch_unwind(AssertUnwindSafe(|| slot.task.step())).unwrap_or(Next::Done);
        *due = match next {
            Next::Again => Some(Duration::ZERO),
            Next::Wait(deadline) => deadline.map(|deadline| {
                let left = deadline.saturating_sub(slot.task.clock().now());
                self.clock.now().saturating_add(left)
            }),
            Next::Done => {
                slot.task.ended();
                let mut tasks = self.tasks.lock();
                tasks.slots.retain(|other| !Arc::ptr_eq(other, slot));
                None
            }
        };
        *due
    }
}
