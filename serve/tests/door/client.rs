//! A server of a test, and requests to it.

use highwater_serve::{ServeOptions, StreamServer};
use highwater_streams::{Options, Streams};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

pub(crate) struct World {
    pub(crate) streams: Arc<Streams>,
    pub(crate) server: StreamServer,
    _dir: tempfile::TempDir,
}

pub(crate) fn world(options: ServeOptions) -> World {
    let dir = tempfile::tempdir().unwrap();
    let streams = Arc::new(Streams::open(dir.path(), Options::new()).unwrap());
    let server = StreamServer::start(Arc::clone(&streams), "127.0.0.1:0", options).unwrap();
    World {
        streams,
        server,
        _dir: dir,
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(n, _)| n == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// A request that is under way.
pub(crate) struct Asked(pub(crate) BufReader<TcpStream>);

impl World {
    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Asked {
        let addr = self.server.local_addr();
        let mut stream = TcpStream::connect(addr).unwrap();
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\ncontent-length: {}\r\n",
            body.len()
        );
        if !headers.iter().any(|(name, _)| *name == "host") {
            request += &format!("host: {addr}\r\n");
        }
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        request += "connection: close\r\n\r\n";
        request += body;
        stream.write_all(request.as_bytes()).unwrap();
        Asked(BufReader::new(stream))
    }

    pub(crate) fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        self.send(method, path, headers, body).answer()
    }

    pub(crate) fn text(&self, path: &str, body: &str) {
        let text = [("content-type", "text/plain")];
        assert_eq!(self.ask("PUT", path, &text, body).status, 201);
    }
}

impl Asked {
    pub(crate) fn head(&mut self) -> Answer {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        let status = line.split(' ').nth(1).unwrap_or("0").parse().unwrap();
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).unwrap();
            let Some((name, value)) = line.trim_end().split_once(": ") else {
                return Answer {
                    status,
                    headers,
                    body: String::new(),
                };
            };
            headers.push((name.to_lowercase(), value.to_owned()));
        }
    }

    pub(crate) fn answer(mut self) -> Answer {
        let mut answer = self.head();
        self.0.read_to_string(&mut answer.body).unwrap();
        answer
    }

    /// Lines up to one that has a text.
    pub(crate) fn lines_to(&mut self, text: &str) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).unwrap() == 0 {
                panic!("no {text:?} in {lines:?}");
            }
            lines.push(line.trim_end().to_owned());
            if line.contains(text) {
                return lines;
            }
        }
    }
}
