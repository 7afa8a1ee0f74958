//! A live read as server-sent events.

use crate::beside::beside;
use crate::cursor;
use crate::event::{self, Encoding, Reached};
use highwater_streams::{From, Page, Position, Streams};
use hyper::body::Bytes;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio::time::{Instant, sleep_until};

/// A client that follows a stream.
pub(crate) struct Feed {
    pub(crate) streams: Arc<Streams>,
    pub(crate) name: String,
    pub(crate) encoding: Encoding,
    pub(crate) cursor: Option<u64>,
    pub(crate) page_bytes: usize,
    pub(crate) until: Instant,
    pub(crate) events: mpsc::Sender<Bytes>,
    pub(crate) stopped: watch::Receiver<bool>,
    /// Its place among those that wait.
    pub(crate) place: OwnedSemaphorePermit,
}

impl Feed {
    /// Tells the client of the first page and all that follows, until the stream ends, the client
    /// leaves, its time is over, or the server stops.
    pub(crate) async fn run(mut self, first: Page) {
        let mut stopped = self.stopped.clone();
        let (events, until) = (self.events.clone(), self.until);
        tokio::select! {
            biased;
            _ = stopped.wait_for(|stopped| *stopped) => {}
            () = events.closed() => {}
            () = sleep_until(until) => {}
            () = self.follow(first) => {}
        }
        drop(self.place);
    }

    async fn follow(&mut self, first: Page) {
        let number = first.stream.number;
        let mut page = first;
        loop {
            let length = event::whole_part(&page, self.encoding);
            let cut = (page.data.len() - length) as u64;
            let next = Position::new(page.next.get() - cut);
            let reached = match (page.is_up_to_date, page.stream.is_closed) {
                (true, true) => Reached::Closed,
                (true, false) => Reached::End,
                (false, _) => Reached::Part,
            };
            let mut text = match length {
                0 => String::new(),
                length => event::data(&page, length, self.encoding),
            };
            let cursor = cursor::next(self.streams.wall_ms(), self.cursor);
            self.cursor = Some(cursor);
            text.push_str(&event::control(next, cursor, reached));
            drop(page);
            // It waits here until the client has taken what went before.
            if self.events.send(text.into()).await.is_err() || reached == Reached::Closed {
                return;
            }
            if reached == Reached::End {
                self.streams.changed(number, next).await;
            }
            let (name, from) = (&self.name, From::Position(next));
            let read = beside(|| self.streams.read_on(name, from, self.page_bytes));
            page = match read {
                Ok(decision) => match decision.told().await {
                    Ok(Ok(page)) if page.stream.number == number => page,
                    // It is gone, or what follows is: the client learns it when it asks again.
                    _ => return,
                },
                Err(error) => {
                    tracing::warn!(%error, "a client cannot be told of a stream");
                    return;
                }
            };
        }
    }
}
