//! A server between a client and a server of an object store: what passes through it goes wrong in
//! turn.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "test code")]

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// How a request goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// It is not passed on, and answered with this status and code.
    Status(u16, &'static str),
    /// It is not passed on, and the connection ends.
    Reset,
    /// It is passed on, and the connection ends without an answer.
    AnswerLost,
    /// It is passed on, and the answer ends in its middle.
    BrokenOff,
    /// It is passed on, and no answer comes.
    Silence,
}

/// What an answer to a wrong signature repeats.
pub(crate) const REPEATED: &str = "repeated-by-the-server";

/// A server on a port of its own, for as long as the process lives.
#[derive(Debug, Clone)]
pub(crate) struct Proxy {
    pub(crate) port: u16,
    wrong: Arc<Mutex<VecDeque<(&'static str, Wrong)>>>,
    /// The method of each request.
    seen: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    /// In front of the server on port `to`.
    pub(crate) fn start(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Self {
            port: listener.local_addr().unwrap().port(),
            wrong: Arc::default(),
            seen: Arc::default(),
        };
        let this = proxy.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let this = this.clone();
                // A connection that ends is what the client is to see.
                std::thread::spawn(move || this.serve(&stream.unwrap(), to));
            }
        });
        proxy
    }

    /// The next request of that method goes wrong.
    pub(crate) fn next(&self, method: &'static str, wrong: Wrong) {
        self.wrong.lock().unwrap().push_back((method, wrong));
    }

    /// The methods of the requests since the last call.
    pub(crate) fn seen(&self) -> Vec<String> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }

    fn wrong(&self, method: &str) -> Option<Wrong> {
        let mut wrong = self.wrong.lock().unwrap();
        let is_next = wrong.front().is_some_and(|(m, _)| *m == method);
        if is_next {
            wrong.pop_front().map(|w| w.1)
        } else {
            None
        }
    }

    /// Requests of one connection, until it ends.
    fn serve(&self, client: &TcpStream, to: u16) -> std::io::Result<()> {
        client.set_nodelay(true)?;
        let mut reader = BufReader::new(client);
        let mut writer = client;
        loop {
            let Some((head, body)) = message(&mut reader)? else {
                return Ok(());
            };
            let method = head.split(' ').next().unwrap_or_default();
            self.seen.lock().unwrap().push(method.to_owned());
            let wrong = self.wrong(method);
            match wrong {
                Some(Wrong::Status(status, code)) => {
                    let body = format!(
                        "<Error><Code>{code}</Code><Message>Why.</Message><AWSAccessKeyId>{REPEATED}</AWSAccessKeyId></Error>"
                    );
                    let len = body.len();
                    let head = format!("HTTP/1.1 {status} Words\r\nContent-Length: {len}\r\n\r\n");
                    // An answer to HEAD has no body.
                    let body = if method == "HEAD" { "" } else { &body };
                    writer.write_all(format!("{head}{body}").as_bytes())?;
                    continue;
                }
                Some(Wrong::Reset) => return client.shutdown(std::net::Shutdown::Both),
                _ => {}
            }
            let server = TcpStream::connect(("127.0.0.1", to))?;
            let mut to_server = &server;
            let closing = head.replacen("\r\n", "\r\nConnection: close\r\n", 1);
            to_server.write_all(closing.as_bytes())?;
            to_server.write_all(&body)?;
            let mut answer = Vec::new();
            to_server.read_to_end(&mut answer)?;
            match wrong {
                Some(Wrong::AnswerLost) => return client.shutdown(std::net::Shutdown::Both),
                Some(Wrong::Silence) => {
                    // Until the client gives up.
                    let _ = reader.fill_buf();
                    return Ok(());
                }
                Some(Wrong::BrokenOff) => {
                    answer.pop();
                    writer.write_all(&answer)?;
                    return client.shutdown(std::net::Shutdown::Both);
                }
                _ => {}
            }
            writer.write_all(&answer)?;
            // The server has closed its side, and so its answer may have no length.
            return client.shutdown(std::net::Shutdown::Both);
        }
    }
}

/// The head of a request, and its body.
pub(crate) fn message(reader: &mut impl BufRead) -> std::io::Result<Option<(String, Vec<u8>)>> {
    let (mut head, mut len) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            len = value.trim().parse().unwrap();
        }
        head.push_str(&line);
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; len];
    reader.read_exact(&mut body)?;
    Ok(Some((head, body)))
}
