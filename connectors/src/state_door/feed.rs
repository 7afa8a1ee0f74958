//! What each batch changes, as server-sent events.
//!
//! | event | data | when |
//! |---|---|---|
//! | `from` | `{"batch"}` | first: changes come from the batches after this one |
//! | `change` | `{"key", "value"}`, or `{"key", "value": null, "deleted": true}` | for each key that a batch has changed |
//! | `batch` | `{"id", "lsn", "time_ms"}` | all changes of this batch were told |
//! | `reset` | `{"batch"}` | changes are missing before those of the batches after this one |
//!
//! `from`, `batch` and `reset` have the batch as their id. One batch is in memory at a time: the
//! next one is looked at when the client has taken all of it.

use crate::state_door::turns::Scans;
use highwater_engine::{Answer, AskError, Error, JsonChanges, JsonEntry, Result};
use hyper::body::Bytes;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio::time::timeout;

/// Events are handed on in pieces of about this length.
const PIECE_BYTES: usize = 16 << 10;

/// A client that follows changes.
pub(super) struct Feed {
    pub(super) events: mpsc::Sender<Bytes>,
    pub(super) scans: Scans,
    pub(super) heartbeat: Duration,
    /// Its place among those that follow.
    pub(super) place: OwnedSemaphorePermit,
}

/// The client has gone, or the feed ends.
struct Over;

impl Feed {
    /// Tells the client of every batch, until it leaves or the program or the server stops.
    /// `last_read` is the batch that it says it has.
    pub(super) async fn run(
        self,
        changes: JsonChanges,
        last_read: Option<String>,
        mut stop: watch::Receiver<bool>,
    ) {
        tokio::select! {
            biased;
            _ = stop.wait_for(|stopped| *stopped) => {}
            () = self.events.closed() => {}
            _over = self.follow(changes, last_read) => {}
        }
        drop(self.place);
    }

    async fn follow(&self, changes: JsonChanges, last_read: Option<String>) -> Result<(), Over> {
        let mut changes = changes;
        let has_newest = last_read.is_none_or(|id| id == id_of(&changes).to_string());
        let begins = if has_newest { "from" } else { "reset" };
        self.send(position(begins, &changes)).await?;
        loop {
            // What was sent before is on its way: nothing is read ahead of that.
            drop(self.events.reserve().await.map_err(|_| Over)?);
            match timeout(self.heartbeat, changes.ready()).await {
                Err(_) => {
                    self.send(":\n\n".to_owned()).await?;
                    continue;
                }
                Ok(ready) => ready.map_err(|_| Over)?,
            }
            let next = self.scans.run(move || {
                let next = changes.next_batch();
                (changes, next)
            });
            let (read, next) = next.await.map_err(|_| Over)?;
            changes = read;
            match next {
                Ok(batch) => self.tell(&batch).await?,
                Err(Error::Ask(AskError::SnapshotGone { .. })) => {
                    self.send(position("reset", &changes)).await?;
                }
                // The workers are being built again.
                Err(Error::Ask(AskError::NotReady { .. })) => {}
                Err(error) => {
                    tracing::warn!(%error, "a client cannot be told of changes");
                    return Err(Over);
                }
            }
        }
    }

    async fn tell(&self, batch: &Answer<Vec<JsonEntry>>) -> Result<(), Over> {
        let mut piece = String::new();
        for JsonEntry { key, value, .. } in &batch.value {
            piece += &match value {
                Some(value) => {
                    format!("event: change\ndata: {{\"key\":{key},\"value\":{value}}}\n\n")
                }
                None => format!(
                    "event: change\ndata: {{\"key\":{key},\"value\":null,\"deleted\":true}}\n\n"
                ),
            };
            if piece.len() >= PIECE_BYTES {
                self.send(std::mem::take(&mut piece)).await?;
            }
        }
        let (id, lsn, time_ms) = (batch.batch.unwrap_or(0), batch.lsn.get(), batch.time_ms);
        piece += &format!(
            "event: batch\nid: {id}\ndata: {{\"id\":{id},\"lsn\":{lsn},\"time_ms\":{time_ms}}}\n\n"
        );
        self.send(piece).await
    }

    async fn send(&self, piece: String) -> Result<(), Over> {
        let sent = self.events.send(piece.into());
        sent.await.map_err(|_| Over)
    }
}

/// The batch that was read last; 0 before the first one.
fn id_of(changes: &JsonChanges) -> u64 {
    changes.read_up_to().unwrap_or(0)
}

/// An event that says where changes begin.
fn position(event: &str, changes: &JsonChanges) -> String {
    let id = id_of(changes);
    format!("event: {event}\nid: {id}\ndata: {{\"batch\":{id}}}\n\n")
}
