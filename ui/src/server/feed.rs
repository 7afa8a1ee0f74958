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
