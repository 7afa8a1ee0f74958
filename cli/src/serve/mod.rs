//! `serve`: the streams of a directory over HTTP, and to Kafka clients.
//!
//! | file | holds |
//! |---|---|
//! | `kafka` | the door for Kafka clients |
//! | `tokens` | the file with the tokens of clients |

#[cfg(feature = "kafka")]
mod kafka;
mod tokens;

use crate::args::ServeArgs;
use crate::message::tell;
use highwater_log::outcome::{Failure, Outcome, Result};
use highwater_log::output::Output;
use highwater_serve::{ServeError, ServeOptions, StreamServer, Tls};
use highwater_streams::{Options, Retention, Streams};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::sync::Arc;
use std::time::Duration;

/// Serves until SIGTERM or SIGINT. Says where it is when it can be reached.
pub(crate) fn serve(args: &ServeArgs, out: &mut Output) -> Result<Outcome> {
    let tokens = args.tokens.as_deref().map(tokens::read).transpose()?;
    let tokens = tokens.unwrap_or_default();
    let options = serve_options(args, &tokens)?;
    // Before there is anything to stop.
    let mut signals =
        Signals::new([SIGTERM, SIGINT]).map_err(|e| Failure::Io(format!("signals: {e}")))?;
    let open = Streams::open(&args.dir, stream_options(args));
    let streams = open.map_err(|e| Failure::Io(format!("{}: {e}", args.dir.display())))?;
    let streams = Arc::new(streams);
    let server = StreamServer::start(Arc::clone(&streams), &args.listen, options);
    let server = server.map_err(|error| match error {
        error @ ServeError::BadOptions { .. } => Failure::Usage(error.to_string()),
        error => Failure::Io(error.to_string()),
    })?;
    // Nothing is said before all doors are open, and topics that are to be are there.
    #[cfg(feature = "kafka")]
    let topics = kafka::serve(args, &tokens, &streams)?;
    let scheme = if args.cert.is_some() { "https" } else { "http" };
    let stats = streams.stats();
    out.line(format!(
        "{} streams at {scheme}://{}/v1/stream/...",
        stats.streams,
        server.local_addr()
    ))?;
    #[cfg(feature = "kafka")]
    if let Some(topics) = &topics {
        out.line(format!("topics at {} (Kafka)", topics.local_addr()))?;
    }
    out.flush()?;
    signals.forever().next();
    tell("stopping");
    #[cfg(feature = "kafka")]
    drop(topics);
    server.stop();
    streams
        .checkpoint()
        .map_err(|e| Failure::Io(e.to_string()))?;
    streams.close().map_err(|e| Failure::Io(e.to_string()))?;
    Ok(Outcome::Clean)
}

fn stream_options(args: &ServeArgs) -> Options {
    let retention = Retention {
        bytes: args.retain_bytes,
        age_ms: args.retain_seconds.map(|s| s.saturating_mul(1000)),
        positions: None,
    };
    let options = Options::new()
        .max_streams(args.max_streams)
        .retention(retention);
    match args.max_log_bytes {
        Some(bytes) => options.max_log_bytes(bytes),
        None => options,
    }
}

fn serve_options(args: &ServeArgs, tokens: &[(String, String)]) -> Result<ServeOptions> {
    let long_poll = Duration::try_from_secs_f64(args.long_poll);
    let long_poll = long_poll.map_err(|e| Failure::Usage(format!("--long-poll: {e}")))?;
    let mut options = ServeOptions::new().long_poll(long_poll);
    if let Some(origin) = &args.allow_origin {
        options = options.allow_origin(origin);
    }
    if let (Some(cert), Some(key)) = (&args.cert, &args.key) {
        options = options.tls(Tls::files(cert, key));
    }
    if args.insecure {
        options = options.insecure();
    }
    for (name, secret) in tokens {
        options = options.token(name, secret);
    }
    Ok(options)
}
