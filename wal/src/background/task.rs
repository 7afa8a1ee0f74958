//! What a background thread does for a log, in steps: so that one thread can serve many logs.

use highwater_disk::{Clock, Notify};
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Work beside the appends. One thread at a time runs its steps.
pub(crate) trait Task: Debug + Send + Sync + 'static {
    /// Does a piece of the work.
    fn step(&self) -> Next;

    /// By which clock its deadlines are.
    fn clock(&self) -> &dyn Clock;

    /// Wakes it.
    fn bell(&self) -> &Bell;

    /// Nothing runs it any more: it is done, or a step panicked.
    fn ended(&self);
}

/// When the next step comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// At once.
    Again,
    /// When the bell rings, or at the deadline if there is one.
    Wait(Option<Duration>),
    /// Never.
    Done,
}

/// Wakes the thread that runs a task.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    notify: Arc<Notify>,
    /// Among the tasks of one thread: this one is meant.
    rung: AtomicBool,
}

impl Bell {
    /// One that wakes a thread which waits for `notify`.
    pub(crate) fn new(notify: &Arc<Notify>) -> Self {
        Self {
            notify: Arc::clone(notify),
            rung: AtomicBool::new(false),
        }
    }

    /// A step is run soon that sees what came before this call.
    pub(crate) fn ring(&self) {
        // Release pairs with the acquire in `take`.
        self.rung.store(true, Ordering::Release);
        self.notify.notify_one();
    }

    /// Whether it rang since the last call.
    pub(crate) fn take(&self) -> bool {
        self.rung.swap(false, Ordering::AcqRel)
    }

    pub(crate) fn notify(&self) -> &Arc<Notify> {
        &self.notify
    }
}
