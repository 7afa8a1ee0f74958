//! Receivers. Each runs on a thread of its own and stores what it receives through a
//! [`SourceContext`]. It acknowledges to its sender only what is durable: that is the whole of the
//! guarantee. The engine restarts a receiver that fails.

use crate::error::{BoxError, Result};
use crate::ingest::source_context::SourceContext;
use crate::observe::event::{ContextEvent, Events};
use crate::panics;
use parking_lot::Mutex;
use std::time::Duration;

/// How long a failed receiver rests before it is started again (Spark's default).
pub(crate) const RESTART_DELAY: Duration = Duration::from_secs(2);

/// Something that receives data and stores it in the log.
///
/// ```
/// use highwater_engine::{BoxError, Receiver, SourceContext};
/// use std::io::{BufRead, Write};
/// use std::net::TcpStream;
/// use std::time::Duration;
///
/// /// Lines of a server, each answered once it is durable.
/// struct Lines(String);
///
/// impl Receiver for Lines {
///     fn run(&mut self, source: &SourceContext) -> Result<(), BoxError> {
///         let mut server = TcpStream::connect(&self.0)?;
///         let stop = server.try_clone()?;
///         source.on_stop(move || drop(stop.shutdown(std::net::Shutdown::Both)));
///         for line in std::io::BufReader::new(server.try_clone()?).lines() {
///             let lsn = source.append_text(&[&line?])?;
///             source.sync_to(lsn)?; // durable: only now it is acknowledged
///             server.write_all(b"ok\n")?;
///         }
///         Ok(())
///     }
/// }
/// # let _ = |ssc: &highwater_engine::StreamScope| {
/// #     ssc.text_source("lines", "lines", str::to_owned, Lines("127.0.0.1:9".to_owned()))
/// # };
/// ```
pub trait Receiver: Send + 'static {
    /// Called once by [`StreamingContext::start`](crate::StreamingContext::start), before any
    /// batch: binds ports, looks at directories.
    ///
    /// # Errors
    /// Whatever keeps the source from working: the context then does not start.
    fn open(&mut self, source: &SourceContext) -> Result<(), BoxError> {
        let _ = source;
        Ok(())
    }

    /// Receives until [`SourceContext::is_stopping`]. Returning `Ok` ends the source for good.
    ///
    /// # Errors
    /// Anything: it is logged and counted, and after two seconds `run` is called again.
    fn run(&mut self, source: &SourceContext) -> Result<(), BoxError>;
}

/// Where the graph keeps a receiver until the context starts.
pub(crate) type ReceiverFactory = Mutex<Option<Box<dyn Receiver>>>;

/// Runs a receiver until it is done or the context stops, restarting it when it fails.
pub(crate) fn supervise(mut receiver: Box<dyn Receiver>, source: &SourceContext, events: &Events) {
    let name = || source.name().to_owned();
    while !source.is_stopping() {
        events.publish(&ContextEvent::ReceiverStarted { source: name() });
        let ended = panics::catch(|| receiver.run(source));
        match ended {
            Ok(()) => return,
            Err(error) if source.is_stopping() => {
                tracing::debug!(source = source.name(), %error, "receiver ended while stopping");
            }
            Err(error) => {
                source.report_error(&error);
                events.publish(&ContextEvent::ReceiverFailed {
                    source: name(),
                    message: error.to_string(),
                    restarts_in: RESTART_DELAY,
                });
                let _stopping = source.rest(RESTART_DELAY);
            }
        }
    }
}
