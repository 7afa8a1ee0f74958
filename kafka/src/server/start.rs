//! The server: how it starts and stops.

use crate::door::{Door, Memory};
use crate::options::KafkaOptions;
use crate::server::connection::host_and_port;
use crate::server::listen;
use crate::topics::{Looked, MAX_PARTITIONS, Topics, is_name};
use highwater_http::service::STOP_GRACE;
use highwater_http::{Meters, serve};
use highwater_streams::Streams;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread::{self, JoinHandle};
use std::{fmt, io};
use tokio::sync::watch;

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KafkaError {
    /// The address cannot be listened on, or there is no thread.
    #[error("topics cannot be served at {addr}: {source}")]
    Listen {
        /// As it was given.
        addr: String,
        /// Why.
        source: io::Error,
    },
    /// A setting.
    #[error("topics are not served at {addr}: {what}")]
    BadOptions {
        /// As it was given.
        addr: String,
        /// What is wrong, and what to do.
        what: String,
    },
    /// A topic could not be created.
    #[error(transparent)]
    Streams(#[from] highwater_streams::Error),
}

/// A server of streams as topics. Dropped, it stops; the streams stay open.
///
/// ```
/// use highwater_kafka::{KafkaOptions, KafkaServer};
/// use highwater_streams::{Options, Streams};
/// use std::sync::Arc;
/// # let dir = tempfile::tempdir()?;
/// let streams = Arc::new(Streams::open(dir.path(), Options::new())?);
/// let options = KafkaOptions::new().topic("orders", 1);
/// let server = KafkaServer::start(Arc::clone(&streams), "127.0.0.1:0", options)?;
/// println!("kcat -P -b {} -t orders", server.local_addr());
/// drop(server);
/// streams.close()?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[must_use = "it stops when it is dropped"]
pub struct KafkaServer {
    addr: SocketAddr,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for KafkaServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaServer")
            .field("addr", &self.addr)
            .finish_non_exhaustive()
    }
}

impl KafkaServer {
    /// Serves the streams at `addr` (`host:port`, port 0 for any) to Kafka clients.
    ///
    /// # Errors
    /// [`KafkaError::Listen`]; [`KafkaError::BadOptions`] for a topic that cannot be called so, or
    /// has other partitions than it is to have; for a token or certificate that cannot be used; for
    /// an address that other machines reach without encryption, or without asking who they are.
    /// [`KafkaError::Streams`] if a topic cannot be created.
    pub fn start(
        streams: Arc<Streams>,
        addr: &str,
        options: KafkaOptions,
    ) -> Result<Self, KafkaError> {
        let cannot = |source| KafkaError::Listen {
            addr: addr.to_owned(),
            source,
        };
        let bad = |what| KafkaError::BadOptions {
            addr: addr.to_owned(),
            what,
        };
        check(&options).map_err(bad)?;
        if let Some(tls) = &options.access.tls {
            tls.open(streams.disk()).map_err(bad)?;
        }
        let (listener, bound) = serve::listen(addr).map_err(cannot)?;
        if let Some(what) = options.access.exposure(bound, "KafkaOptions") {
            return Err(bad(what));
        }
        let (stop, stopped) = watch::channel(false);
        let topics = Topics {
            streams: Arc::clone(&streams),
            prefix: options.prefix.clone(),
            retention: options.retention,
        };
        let door = Arc::new(Door {
            topics,
            cluster: format!("{:032x}", streams.log_id()),
            meters: Meters::new("kafka"),
            requests: Memory::new(options.max_requests_bytes),
            answers: Memory::new(options.max_answers_bytes),
            stopped,
            options,
            streams,
        });
        let thread = run(listener, door).map_err(cannot)?;
        let thread = thread.map_err(|not_begun| match not_begun {
            NotBegun::NoThreads(error) => cannot(error),
            NotBegun::BadTopic(what) => bad(what),
            NotBegun::Streams(error) => error.into(),
        })?;
        tracing::info!(address = %bound, "serving topics");
        Ok(Self {
            addr: bound,
            stop,
            thread: Some(thread),
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Stops it: what was appended is answered, and answers that are on their way have two seconds.
    /// When it returns, no thread or socket of it is left.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for KafkaServer {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What is wrong with the options.
fn check(options: &KafkaOptions) -> Result<(), String> {
    if let Some(what) = options.access.bad_token() {
        return Err(what);
    }
    if let Some(advertised) = &options.advertised
        && host_and_port(advertised).is_none()
    {
        return Err(format!(
            "clients cannot connect to {advertised:?}: say host:port"
        ));
    }
    for (topic, partitions) in &options.topics {
        if !is_name(topic) {
            return Err(format!(
                "{topic:?} is no name of a topic: those have 1 to 249 letters, digits, dots, _ and -"
            ));
        }
        if !(1..=MAX_PARTITIONS).contains(partitions) {
            return Err(format!(
                "the topic {topic:?} cannot have {partitions} partitions: a topic has 1 to {MAX_PARTITIONS}"
            ));
        }
    }
    Ok(())
}

/// Why a server has not begun.
enum NotBegun {
    NoThreads(io::Error),
    BadTopic(String),
    Streams(highwater_streams::Error),
}

impl From<highwater_streams::Error> for NotBegun {
    fn from(error: highwater_streams::Error) -> Self {
        Self::Streams(error)
    }
}

/// Creates the topics that there are to be.
async fn declare(door: &Door) -> Result<(), NotBegun> {
    let bad = |what| Err(NotBegun::BadTopic(what));
    for (topic, partitions) in &door.options.topics {
        if let Err(refusal) = door.topics.create(topic, *partitions).await? {
            return bad(format!("the topic {topic:?} is not created: {refusal}"));
        }
        match door.topics.look(topic).await? {
            Looked::Partitions(found) if found == *partitions => {}
            Looked::Partitions(found) if found > *partitions => {
                return bad(format!(
                    "the topic {topic:?} has {found} partitions already, and {partitions} would hide some: say {found}"
                ));
            }
            _ => {
                return bad(format!(
                    "a stream that has bytes has the name of the topic {topic:?}, or of one of its {partitions} partitions"
                ));
            }
        }
    }
    Ok(())
}

/// Begins to serve, with a runtime and threads of its own: the caller may be a task of another one.
fn run(listener: TcpListener, door: Arc<Door>) -> io::Result<Result<JoinHandle<()>, NotBegun>> {
    let (begun, has_begun) = sync_channel(1);
    let thread = thread::Builder::new().name("highwater-kafka".to_owned());
    let thread = thread.spawn(move || {
        let runtime = match serve::runtime("highwater-kafka") {
            Ok(runtime) => runtime,
            Err(error) => return drop(begun.send(Err(NotBegun::NoThreads(error)))),
        };
        let declared = runtime.block_on(declare(&door));
        let is_declared = declared.is_ok();
        let _ = begun.send(declared);
        if !is_declared {
            return;
        }
        let served = runtime.block_on(listen::listen(listener, door));
        // Tasks that are left are cut off: they have had their time.
        runtime.shutdown_timeout(STOP_GRACE);
        if let Err(error) = served {
            tracing::error!(%error, "the Kafka server has ended");
        }
    })?;
    Ok(match has_begun.recv() {
        Ok(Ok(())) | Err(_) => Ok(thread),
        Ok(Err(not_begun)) => Err(not_begun),
    })
}
