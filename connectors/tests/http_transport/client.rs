//! A receiver, and clients of it that speak HTTP/1.1, with and without encryption.

use crate::common::{Collected, PATIENCE, by_hand};
use highwater_connectors::{BoundAddress, HttpOptions, Sources, Tls};
use highwater_engine::StreamingContext;
use highwater_engine::wal::disk::{Disk, SimDisk};
use highwater_http::tokio_rustls::rustls::crypto::ring;
use highwater_http::tokio_rustls::rustls::pki_types::pem::PemObject;
use highwater_http::tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use highwater_http::tokio_rustls::rustls::version::{TLS12, TLS13};
use highwater_http::tokio_rustls::rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;

macro_rules! file {
    ($name:literal) => {
        include_bytes!(concat!("certificates/", $name)).as_slice()
    };
}

pub(crate) const AUTHORITY: &[u8] = file!("authority.pem");
pub(crate) const OTHERS: &[u8] = file!("others.pem");
pub(crate) const FIRST: [&[u8]; 2] = [file!("first.pem"), file!("first.key")];
pub(crate) const SECOND: [&[u8]; 2] = [file!("second.pem"), file!("second.key")];
pub(crate) const CLIENT: [&[u8]; 2] = [file!("client.pem"), file!("client.key")];
pub(crate) const STRANGER: [&[u8]; 2] = [file!("stranger.pem"), file!("stranger.key")];
pub(crate) const LOCKED_KEY: &[u8] = file!("locked.key");

/// What the log and the certificates are on, and what the program collects.
pub(crate) struct World {
    pub(crate) disk: SimDisk,
    pub(crate) collected: Collected,
}

impl World {
    pub(crate) fn new() -> Self {
        let disk = SimDisk::new();
        disk.create_dir_all(Path::new("/tls")).unwrap();
        let collected = Collected::default();
        let world = Self { disk, collected };
        world.put(FIRST);
        world
    }

    /// The certificate of the server from now on.
    pub(crate) fn put(&self, [chain, key]: [&[u8]; 2]) {
        self.disk.put_file("/tls/chain.pem", chain);
        self.disk.put_file("/tls/key.pem", key);
    }

    pub(crate) fn tls() -> Tls {
        Tls::files("/tls/chain.pem", "/tls/key.pem")
    }

    pub(crate) fn serve(&self, options: HttpOptions) -> (StreamingContext, SocketAddr) {
        let bound = BoundAddress::new();
        let options = options.report_to(&bound);
        let context = by_hand(&self.disk, &self.collected, |ssc| {
            ssc.http_with("events", "127.0.0.1:0", options)
        });
        (context, bound.get().unwrap())
    }
}

pub(crate) fn connect(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// How a client encrypts.
pub(crate) struct Encryption {
    pub(crate) versions: &'static [&'static SupportedProtocolVersion],
    pub(crate) protocols: &'static [&'static [u8]],
    /// Its own certificate and key.
    pub(crate) own: Option<[&'static [u8]; 2]>,
}

static ALL_VERSIONS: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];

impl Default for Encryption {
    fn default() -> Self {
        Self {
            versions: ALL_VERSIONS,
            protocols: &[],
            own: None,
        }
    }
}

pub(crate) type TlsStream = StreamOwned<ClientConnection, TcpStream>;

impl Encryption {
    pub(crate) fn http2() -> Self {
        Self {
            protocols: &[b"h2"],
            ..Self::default()
        }
    }

    fn config(&self) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        let authority = CertificateDer::from_pem_slice(AUTHORITY).unwrap();
        roots.add(authority).unwrap();
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(self.versions)
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match self.own {
            None => builder.with_no_client_auth(),
            Some([chain, key]) => {
                let chain = vec![CertificateDer::from_pem_slice(chain).unwrap()];
                let key = PrivateKeyDer::from_pem_slice(key).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        config.alpn_protocols = self.protocols.iter().map(|p| p.to_vec()).collect();
        config
    }

    /// Connects, and does the handshake as far as it is this side's.
    pub(crate) fn connect(&self, addr: SocketAddr) -> io::Result<TlsStream> {
        let name = ServerName::try_from("localhost").unwrap();
        let mut connection = ClientConnection::new(Arc::new(self.config()), name).unwrap();
        let mut stream = connect(addr);
        while connection.is_handshaking() {
            connection.complete_io(&mut stream)?;
        }
        Ok(StreamOwned::new(connection, stream))
    }
}

/// The certificate that the server has shown, as a file would have it.
pub(crate) fn shows(stream: &TlsStream, [chain, _]: [&[u8]; 2]) -> bool {
    let expected = CertificateDer::from_pem_slice(chain).unwrap();
    stream.conn.peer_certificates().unwrap()[0] == expected
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: serde_json::Value,
}

/// A client of HTTP/1.1.
pub(crate) struct Client<S> {
    stream: BufReader<S>,
}

impl Client<TcpStream> {
    pub(crate) fn connect(addr: SocketAddr) -> Self {
        Self::on(connect(addr))
    }
}

impl<S: Read + Write> Client<S> {
    pub(crate) fn on(stream: S) -> Self {
        let stream = BufReader::new(stream);
        Self { stream }
    }

    pub(crate) fn stream(&mut self) -> &mut S {
        self.stream.get_mut()
    }

    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream().write_all(bytes.as_ref())?;
        self.stream().flush()
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).unwrap();
    }

    pub(crate) fn post(&mut self, text: &str) -> Option<Answer> {
        let length = text.len();
        let request =
            format!("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{text}");
        self.try_send(request).ok()?;
        self.answer()
    }

    /// Stores a line; the answer is 200.
    pub(crate) fn store(&mut self, text: &str) {
        let answer = self.post(text).expect("an answer");
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    /// The next answer; `None` if the connection ends before it.
    pub(crate) fn answer(&mut self) -> Option<Answer> {
        let mut head = String::new();
        loop {
            let before = head.len();
            if self.read_line(&mut head)? == 0 {
                return None;
            }
            if head.len() - before == 2 {
                break;
            }
        }
        let head = head.to_ascii_lowercase();
        let length = head.split("content-length: ").nth(1);
        let length = length.map_or("0", |rest| rest.split("\r\n").next().unwrap());
        let mut body = vec![0; length.parse().unwrap()];
        self.stream.read_exact(&mut body).ok()?;
        Some(Answer {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            body: serde_json::from_slice(&body).unwrap_or_default(),
        })
    }

    fn read_line(&mut self, line: &mut String) -> Option<usize> {
        patient(self.stream.read_line(line)).ok()
    }

    /// Waits until the server has closed the connection.
    pub(crate) fn wait_for_end(&mut self) {
        let mut rest = Vec::new();
        let _ = patient(self.stream.read_to_end(&mut rest));
    }
}

/// A connection that neither goes on nor ends is a failure of the test.
pub(crate) fn patient<T>(result: io::Result<T>) -> io::Result<T> {
    if let Err(error) = &result {
        let kind = error.kind();
        assert_ne!(kind, io::ErrorKind::WouldBlock, "the server does nothing");
        assert_ne!(kind, io::ErrorKind::TimedOut, "the server does nothing");
    }
    result
}
