//! Waiting for a stream to change. One thread follows the durable frontier for all who wait.

use crate::interface::position::Position;
use crate::shared::core::Core;
use highwater_wal::Lsn;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Streams that are woken before the durable frontier is looked at again.
const BATCH: usize = 1024;

/// Ready once a stream has more than it had, is closed, or is gone: then read again. It is also
/// ready when the log has failed or is closed. To drop it is to wait no longer.
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct Changed {
    core: Arc<Core>,
    stream: u64,
    after: u64,
    name: Option<u64>,
}

impl Changed {
    pub(crate) fn new(core: &Arc<Core>, stream: u64, after: Position) -> Self {
        Self {
            core: Arc::clone(core),
            stream,
            after: after.get(),
            name: None,
        }
    }

    fn has_changed(&self) -> bool {
        let durable = self.core.durable();
        let mut part = self.core.table.of_number(self.stream);
        let Some(stream) = part.numbered(self.stream) else {
            return true;
        };
        stream.settle(durable);
        let seen = stream.visible();
        if let Some(lsn) = stream.unsettled() {
            // Appended before it was known that this waits.
            self.core.expect(lsn, self.stream);
        }
        seen.tail > self.after || seen.is_closed || seen.is_deleted
    }
}

impl Future for Changed {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let waiters = &self.core.waiters;
        let name = self.name.unwrap_or_else(|| waiters.name());
        // First entered, then looked: what changes in between wakes it.
        waiters.enter(self.stream, name, cx.waker().clone());
        let is_over = waiters.are_over();
        self.name = Some(name);
        match is_over || self.has_changed() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }
}

impl Drop for Changed {
    fn drop(&mut self) {
        if let Some(name) = self.name {
            self.core.waiters.leave(self.stream, name);
        }
    }
}

/// Wakes those whose streams have changed, up to what is durable now.
pub(crate) fn wake(core: &Core) {
    let mut streams = Vec::new();
    loop {
        core.waiters.changed(core.durable(), BATCH, &mut streams);
        if streams.is_empty() {
            return;
        }
        for stream in streams.drain(..) {
            core.settle(stream);
            core.waiters.wake(stream);
        }
    }
}

/// Follows the durable frontier until the log is closed, or has failed.
pub(crate) fn follow(core: &Core) {
    let watch = core.wal.watch_durable();
    let mut seen = Lsn::ZERO;
    while let Ok(durable) = watch.changed_after(seen) {
        seen = durable;
        wake(core);
    }
    core.waiters.end();
}
