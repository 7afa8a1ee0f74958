//! What changes, for a page that is open: everything first, then whatever is another than before.

use crate::server::look::Looks;
use hyper::body::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio::time::{MissedTickBehavior, interval};

/// A browser whose connection breaks comes back after so long.
const RETRY: &str = "retry: 1000\n\n";

/// A page that is open.
pub(super) struct Feed {
    pub(super) looks: Arc<Looks>,
    pub(super) events: mpsc::Sender<Bytes>,
    pub(super) tick: Duration,
    /// Its place among them.
    pub(super) place: OwnedSemaphorePermit,
}

impl Feed {
    /// Tells it until it is closed, or the server ends.
    pub(super) async fn run(self, mut stop: watch::Receiver<bool>) {
        tokio::select! {
            biased;
            _ = stop.wait_for(|stopped| *stopped) => {}
            () = self.events.closed() => {}
            () = self.tell() => {}
        }
        drop(self.place);
    }

    async fn tell(&self) {
        let mut ticks = interval(self.tick);
        // A page that takes nothing for a while needs no more of them afterwards.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut told: Vec<u64> = Vec::new();
        let mut id = 0_u64;
        let mut piece = RETRY.to_owned();
        loop {
            ticks.tick().await;
            // Of all pages the first one looks.
            let seen = self.looks.not_older_than(self.tick / 2).await;
            let events = seen.events();
            if events.len() != told.len() {
                told = vec![0; events.len()];
            }
            for (event, told) in events.iter().zip(&mut told) {
                if event.print != *told {
                    *told = event.print;
                    id += 1;
                    piece += &format!("id: {id}\n{}", event.text);
                }
            }
            if piece.is_empty() {
                piece.push_str(":\n\n"); // both ends notice when the other one has gone
            }
            if self
                .events
                .send(std::mem::take(&mut piece).into())
                .await
                .is_err()
            {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{Observed, Snapshot};
    use std::sync::atomic::{AtomicU64, Ordering};
    use tokio::runtime::Builder;
    use tokio::sync::Semaphore;
    use tokio::time::timeout;

    /// Each look is another one.
    #[derive(Default)]
    struct Changing(AtomicU64);

    impl Observed for Changing {
        fn snapshot(&self) -> Result<Snapshot, String> {
            Err(self.0.fetch_add(1, Ordering::Relaxed).to_string())
        }
    }

    #[test]
    fn a_page_that_takes_nothing_holds_no_other_up_and_is_told_no_more() {
        let runtime = Builder::new_multi_thread().enable_time().build().unwrap();
        let looks = Arc::new(Looks::new(Arc::new(Changing::default())));
        let places = Arc::new(Semaphore::new(2));
        let (_stop, stopped) = watch::channel(false);
        let open = || {
            let (events, told) = mpsc::channel(1);
            let place = Arc::clone(&places).try_acquire_owned().unwrap();
            let feed = Feed {
                looks: Arc::clone(&looks),
                events,
                tick: Duration::from_millis(1),
                place,
            };
            (feed, told)
        };
        runtime.block_on(async {
            let (stuck, mut untaken) = open();
            tokio::spawn(stuck.run(stopped.clone()));
            let (other, mut told) = open();
            tokio::spawn(other.run(stopped.clone()));
            for _ in 0..50 {
                let next = timeout(Duration::from_secs(60), told.recv()).await;
                assert!(next.unwrap().is_some());
            }
            // One piece was put down for it, and one waits: the rest was never made.
            let first = untaken.recv().await.unwrap();
            assert!(first.starts_with(RETRY.as_bytes()));
            let mut pieces = 1;
            while untaken.try_recv().is_ok() {
                pieces += 1;
            }
            assert!(pieces <= 3, "{pieces} pieces for one that takes none");
            drop((untaken, told));
            // Both places are free again.
            let both = places.acquire_many(2);
            drop(
                timeout(Duration::from_secs(60), both)
                    .await
                    .unwrap()
                    .unwrap(),
            );
        });
    }
}
