//! The server of states: how it starts and stops.
//!
//! It has what it needs to ask, and not the context: that ends when its owner lets it.

use crate::state_door::door::{Door, Served};
use crate::state_door::options::StateDoorOptions;
use crate::state_door::turns::Turns;
use highwater_engine::{Error, Result, StreamingContext};
use highwater_http::server::{Bound, Server};
use std::net::SocketAddr;
use std::time::Duration;

/// Serves the states of a program over HTTP.
pub trait ServeStates {
    /// Answers questions to the states of the program, over HTTP at `addr` (`host:port`, port 0 for
    /// any), until the server is stopped or dropped. It may begin before the context starts.
    ///
    /// Answers are JSON, and as of the end of a batch whose outputs are committed: what
    /// [`StateReader`](highwater_engine::StateReader) says of them. Each names its `batch` (`null`
    /// before the first one), the `lsn` below which every record is in it, its `time_ms`, and
    /// whether the program is `recovering`.
    ///
    /// | request | answer |
    /// |---|---|
    /// | `GET /state` | `{"states": [{"name"}, ..], ..}` |
    /// | `GET /state/{name}/{key}` | `{"key", "value", ..}`; the key as text, with `%2F` for a slash |
    /// | `GET /state/{name}?key=..` | the same; the key as JSON |
    /// | `GET /state/{name}` | `{"entries": [{"key", "value"}, ..], "more", ..}`, ascending by the text of the key; with `prefix`, `after` (a text) and `limit` |
    /// | `GET /changes/{name}` | what each batch changes: server-sent events, see below |
    ///
    /// The first four also take `min_lsn`: the answer waits until the record at this position is in
    /// it, at most `wait_ms`; and `recovering=true`. `HEAD` is answered without a body. A list
    /// looks at all keys: states are kept by hash.
    ///
    /// | status, with `{"error", "reason"}` | when |
    /// |---|---|
    /// | 400 `no_key`, `bad_request` | no key of the state; a parameter that is unknown, there twice, or out of its bounds |
    /// | 401, 403 | no token, or none of [`StateDoorOptions::token`], if there are any; on a loopback address, a `Host` that is none, or a page of another site |
    /// | 404 `no_such_key`, with `batch` and `lsn` | the key has no state |
    /// | 404 `no_such_state`, `no_such_path` | |
    /// | 405 | another method than GET and HEAD |
    /// | 500 `not_json` | JSON cannot write the state, such as a map whose keys are lists |
    /// | 503 `recovering`, with `Retry-After` | batches are replayed after a restart, and `recovering=true` was not said |
    /// | 503 `busy`, `not_started`, with `Retry-After` | too many clients wait, list, or follow changes; the context was not started yet |
    /// | 503 `stopped` | the context has stopped, or the server stops |
    /// | 504 `not_there_yet`, with `batch` and `lsn` | the wait is over |
    ///
    /// **Changes.** The first event, `from` with `{"batch"}`, says after which batch changes are
    /// told. A client that follows first and then reads everything misses nothing: it applies all
    /// events, in their order, to what it has read. For each batch there come `change` events,
    /// `{"key", "value"}` or `{"key", "value": null, "deleted": true}`, in no order, and then
    /// `batch` with `{"id", "lsn", "time_ms"}`. `reset` instead of `from`, or later, says that
    /// changes are missing: the client reads everything again. It comes when the client does not
    /// take its events for ten seconds while batches go on, or is behind by more than 10,000
    /// changes, when workers were lost, and when `Last-Event-ID` names another batch than the
    /// newest one: nothing is kept for clients that have gone.
    ///
    /// **Bounds.** A wait takes no thread. Four lists are read at a time, and 64 wait for that;
    /// 1,024 questions wait for a batch. A client that follows has one batch in memory.
    ///
    /// While the server is there its states are asked for: their operators clone each key and state
    /// that a batch changes. [`StateDoorOptions::only`] says which ones.
    ///
    /// ```
    /// use highwater_connectors::{ServeStates, StateDoorOptions};
    /// # use highwater_engine::{BatchMode, StateGuard, StopMode, StreamingContext, wal};
    /// # use std::io::{Read, Write};
    /// # let context = StreamingContext::builder("/app")
    /// #     .disk(std::sync::Arc::new(wal::disk::SimDisk::new()))
    /// #     .batches(BatchMode::Manual)
    /// #     .get_or_create(|ssc| {
    /// #         ssc.input::<(String, u64)>("visits")
    /// #             .update_state_by_key_changed("counts", |_, new, count: &mut StateGuard<u64>| {
    /// #                 *count.get_or_insert_with(|| 0) += new.iter().sum::<u64>();
    /// #             })
    /// #             .for_each_batch("out", |_, _| ());
    /// #         Ok(())
    /// #     })?;
    /// let server = context.serve_states("127.0.0.1:0", StateDoorOptions::new())?;
    /// context.start()?;
    /// context.input::<(String, u64)>("visits")?.send(&("home".to_owned(), 2))?.wait()?;
    /// # context.run_batch()?;
    /// // curl http://127.0.0.1:<port>/state/counts/home
    /// # let mut client = std::net::TcpStream::connect(server.local_addr())?;
    /// # client.write_all(b"GET /state/counts/home HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    /// # let mut answer = String::new();
    /// # client.read_to_string(&mut answer)?;
    /// assert!(answer.contains(r#"{"key":"home","value":2,"batch":1,"#));
    /// server.stop();
    /// # context.stop(StopMode::Graceful)?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Setting`] if the address cannot be bound, or can be reached from other machines
    /// without [`StateDoorOptions::insecure`]; if a token is too short, or a certificate of no use.
    /// [`AskError::NoSuchState`](highwater_engine::AskError::NoSuchState) for a name of
    /// [`StateDoorOptions::only`].
    fn serve_states(&self, addr: &str, options: StateDoorOptions) -> Result<StateServer>;
}

impl ServeStates for StreamingContext {
    fn serve_states(&self, addr: &str, options: StateDoorOptions) -> Result<StateServer> {
        let cannot = |why: String| Error::Setting(format!("states cannot be served: {why}"));
        let access = &options.access;
        if let Some(fault) = access.bad_token() {
            return Err(cannot(fault));
        }
        if let Some(tls) = &access.tls {
            tls.open(self.disk()).map_err(cannot)?;
        }
        let names = options.only.clone();
        let states = names.unwrap_or_else(|| self.state_names());
        let states = states.iter().map(|name| {
            let strict = self.json_state(name)?.timeout(Duration::ZERO);
            let early = strict.clone().while_recovering();
            Ok(Served { early, strict })
        });
        let states = states.collect::<Result<Vec<_>>>()?;
        let listener = Bound::listen(addr);
        let listener = listener.map_err(|e| cannot(format!("cannot listen on {addr}: {e}")))?;
        let bound = listener.addr();
        if let Some(fault) = access.exposure(bound, "StateDoorOptions") {
            return Err(cannot(fault));
        }
        let door = Door {
            turns: Turns::new(&options),
            options,
            states,
            stop: listener.stopped(),
            is_local: bound.ip().is_loopback(),
        };
        let server = listener.start("highwater-state", door);
        let server = server.map_err(|e| cannot(format!("no thread for it: {e}")))?;
        tracing::info!(address = %bound, "serving states");
        Ok(StateServer { server })
    }
}

/// A server of states. Dropped, it stops.
#[derive(Debug)]
#[must_use = "it stops when it is dropped"]
pub struct StateServer {
    server: Server,
}

impl StateServer {
    /// Where it listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// Stops it: clients that wait are answered with 503, feeds end, and answers that are on their
    /// way have two seconds. When it returns, no thread or socket of it is left.
    pub fn stop(self) {
        drop(self);
    }
}
