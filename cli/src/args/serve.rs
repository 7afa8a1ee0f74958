//! `serve`: its arguments.

use clap::Args;
use std::path::PathBuf;

/// What to serve, and where.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// The directory of the streams; it is made if it is not there
    #[arg(value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// Where to listen; port 0 takes any
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:4437")]
    pub(crate) listen: String,
    /// A file with tokens, one `NAME SECRET` in each line: only clients that know one are served
    #[arg(long, value_name = "FILE")]
    pub(crate) tokens: Option<PathBuf>,
    /// A certificate, followed by those that lead to its authority, as PEM
    #[arg(long, value_name = "FILE", requires = "key")]
    pub(crate) cert: Option<PathBuf>,
    /// The private key of the certificate, as PEM
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(crate) key: Option<PathBuf>,
    /// Serve on an address that other machines reach without encryption, or without tokens
    #[arg(long)]
    pub(crate) insecure: bool,
    /// Let pages of this origin use the server from a browser; `*` lets all
    #[arg(long, value_name = "ORIGIN")]
    pub(crate) allow_origin: Option<String>,
    /// How many streams there may be
    #[arg(long, value_name = "COUNT", default_value_t = 10_000_000)]
    pub(crate) max_streams: usize,
    /// How long the log may be, in bytes; then appends are refused until streams are deleted
    #[arg(long, value_name = "BYTES")]
    pub(crate) max_log_bytes: Option<u64>,
    /// Keep so many bytes of a stream that does not say how much itself
    #[arg(long, value_name = "BYTES")]
    pub(crate) retain_bytes: Option<u64>,
    /// Keep data of a stream so long, unless it says itself how long
    #[arg(long, value_name = "SECONDS")]
    pub(crate) retain_seconds: Option<u64>,
    /// How long a read with `live=long-poll` waits
    #[arg(long, value_name = "SECONDS", default_value_t = 20.0)]
    pub(crate) long_poll: f64,
}
