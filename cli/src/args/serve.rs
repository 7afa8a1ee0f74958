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
    /// Serve streams to Kafka clients too, at this address
    ///
    /// The topic `t` is the stream `/v1/stream/t`, its partition n the stream `/v1/stream/t/n`.
    /// With `--tokens` clients use SASL, PLAIN: the name and the secret of a token.
    #[cfg(feature = "kafka")]
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) kafka: Option<String>,
    /// What Kafka clients are told to connect to, where that is not the address that they reach
    #[cfg(feature = "kafka")]
    #[arg(long, value_name = "HOST:PORT", requires = "kafka")]
    pub(crate) kafka_advertised: Option<String>,
    /// A topic, and how many partitions it has: what is missing of it is created
    #[cfg(feature = "kafka")]
    #[arg(long, value_name = "NAME[:PARTITIONS]", requires = "kafka", value_parser = topic)]
    pub(crate) kafka_topic: Vec<(String, u32)>,
    /// Create the topics that Kafka clients ask for
    #[cfg(feature = "kafka")]
    #[arg(long, requires = "kafka")]
    pub(crate) kafka_create: bool,
    /// How long a read with `live=long-poll` waits
    #[arg(long, value_name = "SECONDS", default_value_t = 20.0)]
    pub(crate) long_poll: f64,
}

#[cfg(feature = "kafka")]
fn topic(text: &str) -> Result<(String, u32), String> {
    let (name, partitions) = text.rsplit_once(':').unwrap_or((text, "1"));
    let partitions = partitions
        .parse()
        .map_err(|_| format!("{partitions:?} is no number of partitions"))?;
    Ok((name.to_owned(), partitions))
}
