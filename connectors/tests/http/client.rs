//! A door, and a client of it that sends exactly what it is told to.

use crate::common::{Collected, PATIENCE, by_hand};
use highwater_connectors::{BoundAddress, HttpOptions, Sources};
use highwater_engine::StreamingContext;
use highwater_engine::wal::disk::SimDisk;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

pub(crate) fn serve(
    disk: &SimDisk,
    collected: &Collected,
    options: HttpOptions,
) -> (StreamingContext, SocketAddr) {
    let bound = BoundAddress::new();
    let options = options.report_to(&bound);
    let context = by_hand(disk, collected, |ssc| {
        ssc.http_with("events", "127.0.0.1:0", options)
    });
    (context, bound.get().unwrap())
}

/// An answer: status, headers in lower case, body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: serde_json::Value,
}

impl Answer {
    pub(crate) fn number(&self, name: &str) -> u64 {
        self.body[name]
            .as_u64()
            .unwrap_or_else(|| panic!("{self:?}"))
    }

    /// Its LSN, records and duplicates.
    pub(crate) fn accepted(&self) -> (u64, u64, u64) {
        assert_eq!(self.status, 200, "{self:?}");
        (
            self.number("lsn"),
            self.number("records"),
            self.number("duplicates"),
        )
    }
}

pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    pub(crate) answers: BufReader<TcpStream>,
}

impl Client {
    pub(crate) fn connect(addr: SocketAddr) -> Self {
        Self::of(TcpStream::connect(addr).unwrap())
    }

    pub(crate) fn of(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let answers = BufReader::new(stream.try_clone().unwrap());
        Self { stream, answers }
    }

    pub(crate) fn send(&mut self, headers: &[(&str, &str)], body: &[u8]) {
        let mut head = "POST / HTTP/1.1\r\nHost: localhost\r\n".to_owned();
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += &format!("Content-Length: {}\r\n\r\n", body.len());
        // If the connection is broken there is no answer.
        let _ = self.stream.write_all(&[head.as_bytes(), body].concat());
    }

    /// The next answer; `None` if the connection breaks before it.
    pub(crate) fn try_answer(&mut self) -> Option<Answer> {
        let mut head = String::new();
        loop {
            let before = head.len();
            if self.answers.read_line(&mut head).ok()? == 0 {
                return None;
            }
            if head.len() - before == 2 {
                break;
            }
        }
        let head = head.to_ascii_lowercase();
        let length = head.split("content-length: ").nth(1).unwrap();
        let length = length.split("\r\n").next().unwrap().parse().unwrap();
        let mut body = vec![0; length];
        self.answers.read_exact(&mut body).ok()?;
        Some(Answer {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            body: serde_json::from_slice(&body).unwrap(),
            head,
        })
    }

    pub(crate) fn answer(&mut self) -> Answer {
        self.try_answer().expect("an answer")
    }

    /// To a path with a query.
    pub(crate) fn post_to(
        &mut self,
        target: &str,
        content_type: &str,
        body: impl AsRef<[u8]>,
    ) -> Answer {
        let body = body.as_ref();
        let head = format!(
            "POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        self.stream.write_all(head.as_bytes()).unwrap();
        self.stream.write_all(body).unwrap();
        self.answer()
    }

    pub(crate) fn post(&mut self, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Answer {
        self.send(headers, body.as_ref());
        self.answer()
    }

    pub(crate) fn lines(&mut self, text: &str) -> Answer {
        self.post(&[("Content-Type", "text/plain")], text)
    }

    pub(crate) fn keyed(&mut self, key: &str, text: &str) -> Answer {
        let headers = [("Content-Type", "text/plain"), ("Idempotency-Key", key)];
        self.post(&headers, text)
    }

    /// With the number of an epoch.
    pub(crate) fn in_epoch(
        &mut self,
        id: &str,
        (epoch, sequence): (u64, u64),
        text: &str,
    ) -> Answer {
        let (epoch, sequence) = (epoch.to_string(), sequence.to_string());
        let headers = [
            ("Content-Type", "text/plain"),
            ("Producer-Id", id),
            ("Producer-Epoch", &epoch),
            ("Producer-Seq", &sequence),
        ];
        self.post(&headers, text)
    }

    pub(crate) fn numbered(&mut self, id: &str, sequence: u64, text: &str) -> Answer {
        let sequence = sequence.to_string();
        let headers = [
            ("Content-Type", "text/plain"),
            ("Producer-Id", id),
            ("Producer-Seq", &sequence),
        ];
        self.post(&headers, text)
    }
}
