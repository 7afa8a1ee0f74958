//! Encryption: with which certificate, and taking up a new one without a restart.

use crate::access::certificate::{Files, resolve};
use crate::error::BoxError;
use highwater_wal::disk::Disk;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

/// The certificate of a server, and which clients it lets in.
///
/// TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1. The files are PEM. They are read when the server
/// starts, which fails if they are of no use, and again when they have
/// changed: the server looks itself when clients come, at most every ten seconds, and
/// [`Self::reload`] has it look now.
///
/// A new certificate is for connections that begin after it; the others go on with the old one. One
/// that is of no use (half written, with the key of another one) is reported, and the old one
/// stays. Replace each file by renaming a new one to its name.
///
/// Clones share the certificate: keep one, and give the other to the options.
///
/// ```
/// use highwater_http::Tls;
/// let tls = Tls::files("/etc/shop/chain.pem", "/etc/shop/key.pem");
/// // It goes to the options of the server. Where the program handles a signal of its own:
/// tls.reload()?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct Tls {
    files: Result<Files, String>,
    pub(crate) handshake_timeout: Duration,
    check_every: Duration,
    shared: Arc<Shared>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("files", &self.files)
            .field("handshake_timeout", &self.handshake_timeout)
            .field("check_every", &self.check_every)
            .finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Shared {
    /// Held while files are read: what was read first is also taken up first.
    reading: Mutex<()>,
    loaded: Mutex<Loaded>,
}

#[derive(Default)]
struct Loaded {
    /// What the server that was opened last reads; `None` before one is.
    from: Option<(Files, Arc<dyn Disk>)>,
    config: Option<Arc<ServerConfig>>,
    /// Of the contents that `config` was made of.
    print: u128,
    checked: Option<Instant>,
    /// What was wrong when it was reported last.
    reported: Option<String>,
}

impl Tls {
    /// The certificate of the server, followed by those that lead to its authority, and its private
    /// key.
    #[must_use]
    pub fn files(chain: impl AsRef<Path>, key: impl AsRef<Path>) -> Self {
        let files = resolve(chain.as_ref()).and_then(|chain| {
            Ok(Files {
                chain,
                key: resolve(key.as_ref())?,
                client_ca: None,
            })
        });
        Self {
            files,
            handshake_timeout: Duration::from_secs(10),
            check_every: Duration::from_secs(10),
            shared: Arc::default(),
        }
    }

    /// Lets only clients in that have a certificate of one of these authorities. Lists of revoked
    /// certificates are not read: give an authority that signs for this purpose alone, and short
    /// times. Without it any client may connect, and tokens say who may write.
    ///
    /// ```
    /// # use highwater_http::Tls;
    /// let tls = Tls::files("chain.pem", "key.pem").client_ca("senders.pem");
    /// # let _ = tls;
    /// ```
    #[must_use]
    pub fn client_ca(self, path: impl AsRef<Path>) -> Self {
        let files = self.files.and_then(|files| {
            let client_ca = Some(resolve(path.as_ref())?);
            Ok(Files { client_ca, ..files })
        });
        // A clone that was made before is not to have, or give, what has this authority.
        Self {
            files,
            shared: Arc::default(),
            ..self
        }
    }

    /// A client whose handshake is not done after so long is cut off. Default 10 s.
    #[must_use]
    pub fn handshake_timeout(mut self, time: Duration) -> Self {
        self.handshake_timeout = time;
        self
    }

    /// How often the server looks whether the files have changed, at most: it looks when a client
    /// connects. Default 10 s. With zero, each time.
    #[must_use]
    pub fn check_every(mut self, time: Duration) -> Self {
        self.check_every = time;
        self
    }

    /// Reads the files again, now. Before the server starts it does nothing.
    ///
    /// # Errors
    /// If they are of no use: the error names the file and what is wrong with it. The certificate
    /// that there was stays.
    pub fn reload(&self) -> io::Result<()> {
        let reloaded = self.read_again();
        reloaded.map_err(|reason| io::Error::new(io::ErrorKind::InvalidData, reason))
    }

    /// How long a handshake may take.
    #[must_use]
    pub fn handshake_time(&self) -> Duration {
        self.handshake_timeout
    }

    pub(crate) fn has_client_ca(&self) -> bool {
        self.files.as_ref().is_ok_and(|f| f.client_ca.is_some())
    }

    /// Reads the files for a server that begins.
    ///
    /// # Errors
    /// If they are of no use.
    pub fn open(&self, disk: Arc<dyn Disk>) -> Result<(), String> {
        let files = self.files.clone()?;
        let _reading = lock(&self.shared.reading);
        let contents = files.read(&*disk)?;
        let config = Some(Arc::new(contents.config(&files)?));
        *lock(&self.shared.loaded) = Loaded {
            from: Some((files, disk)),
            config,
            print: contents.print(),
            checked: Some(Instant::now()),
            reported: None,
        };
        Ok(())
    }

    /// For the handshake of a client, with the certificate that is there now.
    /// What is wrong with the files that are there now goes to `report_error`.
    ///
    /// # Errors
    /// If [`Self::open`] was not called.
    pub fn acceptor(&self, report_error: impl Fn(String)) -> Result<TlsAcceptor, BoxError> {
        if self.is_check_due()
            && let Err(reason) = tokio::task::block_in_place(|| self.read_again())
        {
            self.report(reason, report_error);
        }
        let config = lock(&self.shared.loaded).config.clone();
        let config = config.ok_or("a client came before the certificate was read")?;
        Ok(TlsAcceptor::from(config))
    }

    fn is_check_due(&self) -> bool {
        let now = Instant::now();
        let mut loaded = lock(&self.shared.loaded);
        let last = loaded.checked;
        let is_due = last.is_none_or(|last| now.duration_since(last) >= self.check_every);
        if is_due {
            loaded.checked = Some(now);
        }
        is_due
    }

    /// Takes up what is in the files, if it is another certificate.
    fn read_again(&self) -> Result<(), String> {
        let _reading = lock(&self.shared.reading);
        let (from, print) = {
            let loaded = lock(&self.shared.loaded);
            (loaded.from.clone(), loaded.print)
        };
        let Some((files, disk)) = from else {
            return Ok(());
        };
        let contents = files.read(&*disk)?;
        let new = match contents.print() {
            same if same == print => None,
            new => Some((Arc::new(contents.config(&files)?), new)),
        };
        let mut loaded = lock(&self.shared.loaded);
        loaded.reported = None;
        if let Some((config, print)) = new {
            (loaded.config, loaded.print) = (Some(config), print);
            tracing::info!(chain = %files.chain.display(), "a new certificate is in use");
        }
        Ok(())
    }

    /// Once, and not for each client.
    fn report(&self, reason: String, report_error: impl Fn(String)) {
        let mut loaded = lock(&self.shared.loaded);
        if loaded.reported.as_ref() == Some(&reason) {
            return;
        }
        let error = format!("the certificate that was there stays in use: {reason}");
        loaded.reported = Some(reason);
        drop(loaded);
        report_error(error);
    }
}

/// Nothing behind these locks is ever left half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
