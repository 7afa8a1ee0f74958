//! How the page is begun, and how it ends.

use crate::server::door::Door;
use crate::server::options::UiOptions;
use crate::snapshot::Observed;
use highwater::{Error, Result, StreamingContext, disk::Disk};
use highwater_http::server::{Bound, Server};
use std::net::SocketAddr;
use std::sync::Arc;

/// Shows a program in a browser.
pub trait Ui {
    /// Serves a page at `addr` (`host:port`, port 0 for any) that shows what the program does,
    /// until the server is stopped or dropped. Best begun before the context starts: then it shows
    /// the recovery, too. It does not keep the context running, and shows afterwards how it ended.
    ///
    /// | path | what |
    /// |---|---|
    /// | `/` | the page. It follows the program by itself; without scripts it is loaded again and again |
    /// | `/api/v1/status`, `sources`, `batches`, `checkpoints`, `lineage`, `log`, `receivers`, `dead-letters`, `graph`, `errors`, `config`, `all` | what the page shows, as JSON: the fields of [`Snapshot`](crate::Snapshot) |
    /// | `/metrics` | what [`UiOptions::metrics`] says |
    /// | `/health/live` | 200 as long as the server is there |
    /// | `/health/ready` | 200 while batches run; 503 before the start, during a recovery and after the end, with the state line |
    ///
    /// GET and HEAD only: nothing can be changed. Its scripts, styles and charts are its own; it
    /// asks no other server for anything.
    ///
    /// ```
    /// # use highwater::{BatchMode, StopMode, StreamingContext};
    /// use highwater_ui::{Ui, UiOptions};
    /// # use std::io::{Read, Write};
    /// # let context = StreamingContext::builder("/app")
    /// #     .disk(std::sync::Arc::new(highwater::disk::SimDisk::new()))
    /// #     .batches(BatchMode::Manual)
    /// #     .get_or_create(|ssc| {
    /// #         ssc.input::<u64>("numbers").for_each_batch("out", |_, _| ());
    /// #         Ok(())
    /// #     })?;
    /// let page = context.ui("127.0.0.1:0", UiOptions::new())?;
    /// println!("see http://{}", page.local_addr());
    /// context.start()?;
    /// # let mut client = std::net::TcpStream::connect(page.local_addr())?;
    /// # client.write_all(b"GET /health/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    /// # let mut answer = String::new();
    /// # client.read_to_string(&mut answer)?;
    /// # assert!(answer.contains("Steady: Batches are run by hand."), "{answer}");
    /// # context.stop(StopMode::Graceful)?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Setting`] if the address cannot be bound, or can be reached from other machines
    /// without [`UiOptions::insecure`]; if a certificate is of no use.
    fn ui(&self, addr: &str, options: UiOptions) -> Result<UiServer>;
}

impl Ui for StreamingContext {
    fn ui(&self, addr: &str, options: UiOptions) -> Result<UiServer> {
        let observed = Arc::new(self.observer());
        let served = serve(observed, addr, options, self.disk());
        served.map_err(|why| Error::Setting(format!("the page cannot be served: {why}")))
    }
}

/// Serves a page of anything that can be observed. `disk` is where certificates are read from.
///
/// # Errors
/// What keeps it from being served, for people.
pub fn serve(
    observed: Arc<dyn Observed>,
    addr: &str,
    options: UiOptions,
    disk: Arc<dyn Disk>,
) -> std::result::Result<UiServer, String> {
    if let Some(tls) = &options.access.tls {
        tls.open(disk)?;
    }
    let listener = Bound::listen(addr).map_err(|e| format!("cannot listen on {addr}: {e}"))?;
    let bound = listener.addr();
    if let Some(fault) = options.access.exposure(bound, "UiOptions") {
        return Err(fault);
    }
    let is_local = bound.ip().is_loopback();
    let door = Door::new(observed, options, listener.stopped(), is_local);
    let server = listener.start("highwater-page", door);
    let server = server.map_err(|e| format!("no thread for it: {e}"))?;
    tracing::info!(address = %bound, "serving a page");
    Ok(UiServer { server })
}

/// A server of a page. Dropped, it stops.
#[derive(Debug)]
#[must_use = "it stops when it is dropped"]
pub struct UiServer {
    server: Server,
}

impl UiServer {
    /// Where it listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// Stops it. When it returns, no thread or socket of it is left.
    pub fn stop(self) {
        drop(self);
    }
}
