//! `serve`: the streams of a directory over HTTP.

use crate::args::ServeArgs;
use crate::message::tell;
use highwater_disk::{Access, Disk, OsDisk};
use highwater_log::outcome::{Failure, Outcome, Result};
use highwater_log::output::Output;
use highwater_serve::{ServeError, ServeOptions, StreamServer, Tls};
use highwater_streams::{Options, Retention, Streams};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Serves until SIGTERM or SIGINT. Says where it is when it can be reached.
pub(crate) fn serve(args: &ServeArgs, out: &mut Output) -> Result<Outcome> {
    let options = serve_options(args)?;
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
    let scheme = if args.cert.is_some() { "https" } else { "http" };
    let stats = streams.stats();
    out.line(format!(
        "{} streams at {scheme}://{}/v1/stream/...",
        stats.streams,
        server.local_addr()
    ))?;
    out.flush()?;
    signals.forever().next();
    tell("stopping");
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

fn serve_options(args: &ServeArgs) -> Result<ServeOptions> {
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
    for (name, secret) in args
        .tokens
        .as_deref()
        .map(tokens)
        .transpose()?
        .unwrap_or_default()
    {
        options = options.token(&name, &secret);
    }
    Ok(options)
}

/// The tokens of a file: a name and a secret in each line.
fn tokens(path: &Path) -> Result<Vec<(String, String)>> {
    let shown = path.display();
    let text = read(path).map_err(|e| Failure::Io(format!("{shown}: {e}")))?;
    let mut tokens = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let Some((name, secret)) = line.trim().split_once(' ') else {
            let number = number + 1;
            return Err(Failure::Usage(format!(
                "{shown}:{number}: a line must have a name, a space and a secret"
            )));
        };
        tokens.push((name.to_owned(), secret.trim().to_owned()));
    }
    match tokens.is_empty() {
        true => Err(Failure::Usage(format!("{shown} has no token"))),
        false => Ok(tokens),
    }
}

/// No file of tokens is longer.
const MAX_TOKENS_BYTES: usize = 1 << 20;

fn read(path: &Path) -> std::io::Result<String> {
    let invalid = |what: String| std::io::Error::new(std::io::ErrorKind::InvalidData, what);
    let file = OsDisk::new().open(path, Access::Read)?;
    let mut bytes = vec![0; MAX_TOKENS_BYTES + 1];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, filled as u64)? {
            0 => break,
            read => filled += read,
        }
    }
    if filled > MAX_TOKENS_BYTES {
        return Err(invalid(format!(
            "it has more than {MAX_TOKENS_BYTES} bytes"
        )));
    }
    bytes.truncate(filled);
    String::from_utf8(bytes).map_err(|_| invalid("it is not UTF-8".to_owned()))
}
