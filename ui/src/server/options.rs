//! Settings of the page.

use highwater_http::Tls;
use highwater_http::service::Access;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Connections, in all and from one address. A page that is open has one.
const MAX_CONNECTIONS: usize = 64;

/// What tells the metrics of the program.
type Metrics = dyn Fn() -> String + Send + Sync;

/// Settings of [`Ui`](crate::Ui).
///
/// ```
/// use highwater_ui::UiOptions;
/// use std::time::Duration;
/// let options = UiOptions::new().tick(Duration::from_millis(500));
/// # let _ = options;
/// ```
#[derive(Clone)]
pub struct UiOptions {
    pub(super) access: Access,
    pub(super) tick: Duration,
    pub(super) max_readers: usize,
    pub(super) metrics: Option<Arc<Metrics>>,
}

impl fmt::Debug for UiOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UiOptions")
            .field("access", &self.access)
            .field("tick", &self.tick)
            .field("max_readers", &self.max_readers)
            .finish_non_exhaustive()
    }
}

impl Default for UiOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl UiOptions {
    /// Pages that are open are brought up to date every second; 32 of them, 64 connections.
    #[must_use]
    pub fn new() -> Self {
        Self {
            access: Access::new(MAX_CONNECTIONS, MAX_CONNECTIONS),
            tick: Duration::from_secs(1),
            max_readers: 32,
            metrics: None,
        }
    }

    /// How often pages that are open are brought up to date: at least every 250 ms, which is the
    /// least. Without an open page nothing is looked at. Default 1 s.
    #[must_use]
    pub fn tick(mut self, time: Duration) -> Self {
        self.tick = time.max(Duration::from_millis(250));
        self
    }

    /// How many pages may be open at a time; others are answered with 503, and try again. Default
    /// 32.
    #[must_use]
    pub fn max_readers(mut self, count: usize) -> Self {
        self.max_readers = count;
        self
    }

    /// What `GET /metrics` answers, in the text format of Prometheus. The program has chosen its
    /// exporter: this asks it. Without it `/metrics` is 404.
    ///
    /// ```
    /// # use highwater_ui::UiOptions;
    /// # fn render() -> String { String::new() }
    /// // let handle = PrometheusBuilder::new().install_recorder()?;
    /// let options = UiOptions::new().metrics(move || render()); // handle.render()
    /// # let _ = options;
    /// ```
    #[must_use]
    pub fn metrics(mut self, render: impl Fn() -> String + Send + Sync + 'static) -> Self {
        self.metrics = Some(Arc::new(render));
        self
    }

    /// Encrypts all connections. With a [client authority](Tls::client_ca) the page may be on an
    /// address that other machines reach.
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.access.tls = Some(tls);
        self
    }

    /// Lets it listen on an address that other machines reach without encryption, or without asking
    /// who they are: then everyone there sees the names and sizes of the program, and its errors.
    /// Without this, it does not start on an address that is not of the loopback interface, unless
    /// it has TLS with a client authority. A proxy that asks for a login is the other way.
    #[must_use]
    pub fn insecure(mut self) -> Self {
        self.access.insecure = true;
        self
    }
}
