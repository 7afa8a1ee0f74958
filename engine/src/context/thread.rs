//! One thread of a context, and waiting for its end.

use crate::error::{Error, Result};
use crate::flag::Flag;
use highwater_wal::disk::Clock;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// A thread of the context.
#[derive(Debug)]
pub(crate) struct Thread {
    name: String,
    /// A `JoinHandle` cannot be waited for with a deadline.
    ended: Arc<Flag>,
    handle: JoinHandle<()>,
}

/// Held by the thread: its end drops this, also by a panic.
struct SetOnDrop(Arc<Flag>);

impl Drop for SetOnDrop {
    fn drop(&mut self) {
        self.0.set();
    }
}

impl Thread {
    /// Starts a thread. The first word of `name`, which says what it is, becomes its name for the
    /// operating system.
    pub(crate) fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<Self> {
        let ended = Arc::new(Flag::default());
        let at_end = SetOnDrop(Arc::clone(&ended));
        let kind = name.split(' ').next().unwrap_or_default();
        let handle = std::thread::Builder::new()
            .name(format!("highwater-{kind}"))
            .spawn(move || {
                let _at_end = at_end;
                work();
            })
            .map_err(|e| Error::Worker(format!("the {name} thread could not start: {e}")))?;
        let name = name.to_owned();
        Ok(Self {
            name,
            ended,
            handle,
        })
    }

    /// What it is, and of what.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.is_set()
    }

    /// Waits until the thread ends or the clock reaches `deadline`; whether it has ended.
    pub(crate) fn wait_until(&self, clock: &dyn Clock, deadline: Option<Duration>) -> bool {
        self.ended.wait_until(clock, deadline)
    }

    /// Waits until the thread ends, and calls `report` whenever another `every` has passed.
    pub(crate) fn wait_reporting(
        &self,
        clock: &dyn Clock,
        every: Duration,
        mut report: impl FnMut(),
    ) {
        while !self.wait_until(clock, Some(clock.now().saturating_add(every))) {
            report();
        }
    }

    /// Joins the thread; logs if it panicked.
    pub(crate) fn join(self) {
        if self.handle.join().is_err() {
            tracing::error!(
                thread = self.name,
                "a thread of the streaming context panicked"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use highwater_wal::disk::ManualClock;
    use std::sync::mpsc;

    #[test]
    fn a_thread_that_panics_has_ended() {
        let (go, wait) = mpsc::channel::<()>();
        let thread = Thread::spawn("test of a panic", move || {
            wait.recv().unwrap();
            panic!("on purpose");
        });
        let thread = thread.unwrap();
        assert!(!thread.has_ended());
        go.send(()).unwrap();
        assert!(thread.wait_until(&ManualClock::new(0), None));
        assert!(thread.handle.join().is_err());
    }

    #[test]
    fn waiting_is_reported_until_the_thread_ends() {
        let clock = Arc::new(ManualClock::new(0));
        let (go, wait) = mpsc::channel::<()>();
        let thread = Thread::spawn("test of a wait", move || {
            let _closed = wait.recv();
        })
        .unwrap();
        let (moved, ended) = (Arc::clone(&clock), Arc::clone(&thread.ended));
        let mover = std::thread::spawn(move || {
            while !ended.is_set() {
                moved.advance(Duration::from_secs(1));
                std::thread::yield_now();
            }
        });
        let (mut reports, mut go) = (0, Some(go));
        thread.wait_reporting(&*clock, Duration::from_secs(1), || {
            reports += 1;
            if reports == 3 {
                go = None;
            }
        });
        assert!(reports >= 3, "{reports}");
        mover.join().unwrap();
        thread.join();
    }
}
