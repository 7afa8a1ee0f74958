//! Certificate, key and client authorities, from PEM files.

use highwater_wal::disk::{Access, Disk};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{Error, RootCertStore, ServerConfig};
use xxhash_rust::xxh3::Xxh3;

/// No such file is longer.
const MAX_FILE_BYTES: usize = 1 << 20;

/// `path` from the root on: a later change of the working directory changes nothing then.
///
/// # Errors
/// If it is relative and there is no working directory.
pub(crate) fn resolve(path: &Path) -> Result<PathBuf, String> {
    std::path::absolute(path)
        .map_err(|e| format!("{path:?} cannot be found: {e}; give an absolute path"))
}

/// Where the certificate comes from.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    pub(crate) chain: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) client_ca: Option<PathBuf>,
}

/// What was in the files.
pub(crate) struct Contents {
    chain: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

impl Files {
    /// # Errors
    /// If a file cannot be read: which one, and why.
    pub(crate) fn read(&self, disk: &dyn Disk) -> Result<Contents, String> {
        let read = |what: &str, path: &Path| {
            read_file(disk, path).map_err(|e| {
                let path = path.display();
                format!("cannot read the {what} {path}: {e}: it must be a PEM file that this program may read")
            })
        };
        let client_ca = self.client_ca.as_deref();
        Ok(Contents {
            chain: read("certificate", &self.chain)?,
            key: read("private key", &self.key)?,
            client_ca: client_ca
                .map(|path| read("client authority", path))
                .transpose()?,
        })
    }
}

impl Contents {
    /// Other contents have another one.
    pub(crate) fn print(&self) -> u128 {
        let mut hash = Xxh3::new();
        let client_ca = self.client_ca.as_deref().unwrap_or_default();
        for part in [&*self.chain, &*self.key, client_ca] {
            hash.update(&part.len().to_le_bytes());
            hash.update(part);
        }
        hash.digest128()
    }

    /// What a server needs to speak with this certificate: TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1.
    ///
    /// # Errors
    /// If the contents are of no use: of which file, why, and what to do. Nothing of the key is in
    /// it.
    pub(crate) fn config(&self, files: &Files) -> Result<ServerConfig, String> {
        let chain = certificates(&self.chain, &files.chain)?;
        let key = private_key(&self.key, &files.key)?;
        // Said here: what else the program turns on decides what the default is.
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(|e| e.to_string())?;
        let builder = match (&self.client_ca, &files.client_ca) {
            (Some(bytes), Some(path)) => {
                let roots = Arc::new(authorities(bytes, path)?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
                let verifier = verifier.map_err(|e| format!("{}: {e}", path.display()))?;
                builder.with_client_cert_verifier(verifier)
            }
            _ => builder.with_no_client_auth(),
        };
        let config = builder.with_single_cert(chain, key);
        let mut config = config.map_err(|error| unfit(&error, files))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        if self.client_ca.is_some() {
            // A session that is taken up again would not look at the client's certificate.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        Ok(config)
    }
}

fn read_file(disk: &dyn Disk, path: &Path) -> io::Result<Vec<u8>> {
    let file = disk.open(path, Access::Read)?;
    let mut bytes = vec![0; MAX_FILE_BYTES + 1];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, filled as u64)? {
            0 => break,
            read => filled += read,
        }
    }
    if filled > MAX_FILE_BYTES {
        let reason = format!("it has more than {MAX_FILE_BYTES} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
    }
    bytes.truncate(filled);
    Ok(bytes)
}

fn certificates(pem: &[u8], path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let path = path.display();
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let all = all.map_err(|e| format!("{path} is no sound PEM file: {e}"))?;
    if all.is_empty() {
        return Err(format!(
            "{path} has no certificate in it: one begins with -----BEGIN CERTIFICATE-----, the one of this server first"
        ));
    }
    Ok(all)
}

fn private_key(pem: &[u8], path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    // What the parser says of it could have a part of it.
    PrivateKeyDer::from_pem_slice(pem).map_err(|_| {
        format!(
            "{} has no private key in it that can be read: one begins with -----BEGIN PRIVATE KEY-----, RSA or EC \
             before PRIVATE, and is not encrypted (`openssl pkey -in .. -out ..` takes a password off)",
            path.display()
        )
    })
}

fn authorities(pem: &[u8], path: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem, path)? {
        roots.add(certificate).map_err(|e| {
            format!(
                "{} has a certificate that is no authority: {e}",
                path.display()
            )
        })?;
    }
    Ok(roots)
}

fn unfit(error: &Error, files: &Files) -> String {
    let (chain, key) = (files.chain.display(), files.key.display());
    match error {
        Error::InconsistentKeys(_) => format!(
            "the key in {key} does not belong to the first certificate in {chain}: replace both, the certificate of \
             this server first"
        ),
        Error::InvalidCertificate(_) => {
            format!("the first certificate in {chain} cannot be used: {error}")
        }
        _ => format!(
            "the key in {key} cannot be used: {error}; take ECDSA (P-256, P-384), Ed25519, or RSA of 2048 bits or more"
        ),
    }
}
