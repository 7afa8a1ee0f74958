//! A client that sends exactly what it is told to, and reads answers and feeds.

use crate::common::PATIENCE;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

/// An answer: status, headers in lower case, body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Value,
}

impl Answer {
    /// The status, and what programs read of a refusal.
    pub(crate) fn refusal(&self) -> (u16, &str) {
        (self.status, self.body["error"].as_str().unwrap_or_default())
    }

    pub(crate) fn reason(&self) -> &str {
        self.body["reason"].as_str().unwrap_or_default()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    answers: BufReader<TcpStream>,
}

impl Client {
    pub(crate) fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let answers = BufReader::new(stream.try_clone().unwrap());
        Self { stream, answers }
    }

    pub(crate) fn send(&mut self, method: &str, target: &str, headers: &str) {
        let head = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
        self.stream.write_all(head.as_bytes()).unwrap();
    }

    pub(crate) fn get(&mut self, target: &str) -> Answer {
        self.send("GET", target, "");
        self.answer()
    }

    pub(crate) fn with(&mut self, target: &str, headers: &str) -> Answer {
        self.send("GET", target, headers);
        self.answer()
    }

    /// The head of the next answer; empty at the end of the connection.
    pub(crate) fn head(&mut self) -> String {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") && self.answers.read_line(&mut head).unwrap() > 0 {}
        head.to_ascii_lowercase()
    }

    pub(crate) fn answer(&mut self) -> Answer {
        let head = self.head();
        let length = head.split("content-length: ").nth(1);
        let length = length.unwrap_or_else(|| panic!("no answer: {head:?}"));
        let length = length.split("\r\n").next().unwrap().parse().unwrap();
        let mut body = vec![0; length];
        self.answers.read_exact(&mut body).unwrap();
        Answer {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            body: serde_json::from_slice(&body).unwrap(),
            head,
        }
    }

    /// What comes until the connection ends.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        self.answers.read_to_end(&mut rest).unwrap();
        rest
    }
}

/// An event of a feed.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Event {
    pub(crate) name: String,
    pub(crate) id: Option<u64>,
    pub(crate) data: Value,
}

/// A client that follows changes.
pub(crate) struct Feed {
    client: Client,
    /// What was read and is no whole event yet.
    text: Vec<u8>,
}

impl Feed {
    pub(crate) fn follow(addr: SocketAddr, state: &str, headers: &str) -> Self {
        let mut client = Client::connect(addr);
        client.send("GET", &format!("/changes/{state}"), headers);
        let head = client.head();
        assert!(head.starts_with("http/1.1 200 "), "{head}");
        assert!(
            head.contains("content-type: text/event-stream\r\n"),
            "{head}"
        );
        assert!(head.contains("cache-control: no-store\r\n"), "{head}");
        Self {
            client,
            text: Vec::new(),
        }
    }

    /// A chunk of the body; false after the last one.
    fn read_chunk(&mut self) -> bool {
        let mut length = String::new();
        self.client.answers.read_line(&mut length).unwrap();
        let length = usize::from_str_radix(length.trim_end(), 16);
        let mut chunk = vec![0; length.expect("a chunk: the feed has not broken off") + 2];
        self.client.answers.read_exact(&mut chunk).unwrap();
        chunk.truncate(chunk.len() - 2);
        self.text.extend(&chunk);
        !chunk.is_empty()
    }

    /// The next lines up to an empty one; `None` at the end of the feed.
    pub(crate) fn block(&mut self) -> Option<String> {
        loop {
            let end = self.text.windows(2).position(|pair| pair == b"\n\n");
            if let Some(end) = end {
                let block = self.text.drain(..end + 2).collect();
                return Some(String::from_utf8(block).unwrap());
            }
            if !self.read_chunk() {
                assert_eq!(self.text, b"", "a part of an event");
                return None;
            }
        }
    }

    /// The next event; `None` at the end of the feed.
    pub(crate) fn try_next(&mut self) -> Option<Event> {
        // A feed that only shows that it is there, a minute long, is a failure of the test.
        for _ in 0..4 {
            let block = self.block()?;
            let mut event = Event::default();
            for line in block.lines() {
                match line.split_once(": ") {
                    Some(("event", name)) => name.clone_into(&mut event.name),
                    Some(("id", id)) => event.id = Some(id.parse().unwrap()),
                    Some(("data", data)) => event.data = serde_json::from_str(data).unwrap(),
                    _ => assert!(line.is_empty() || line == ":", "{block:?}"),
                }
            }
            if !event.name.is_empty() {
                return Some(event);
            }
        }
        panic!("the feed tells nothing");
    }

    pub(crate) fn next(&mut self) -> Event {
        self.try_next().expect("an event")
    }

    pub(crate) fn is_at_its_end(&mut self) -> bool {
        self.try_next().is_none()
    }
}

/// A client's copy of a state, by the JSON of its keys.
pub(crate) type Copied = BTreeMap<String, Value>;

/// Reads everything into `copy`, page by page; the newest batch of a page.
pub(crate) fn read_all(addr: SocketAddr, state: &str, limit: usize, copy: &mut Copied) -> u64 {
    let mut client = Client::connect(addr);
    let (mut after, mut newest) = (String::new(), 0);
    copy.clear();
    loop {
        let page = client.get(&format!("/state/{state}?limit={limit}{after}"));
        assert_eq!(page.status, 200, "{page:?}");
        newest = newest.max(page.body["batch"].as_u64().unwrap_or(0));
        let entries = page.body["entries"].as_array().unwrap();
        for entry in entries {
            copy.insert(entry["key"].to_string(), entry["value"].clone());
        }
        if page.body["more"] == false {
            return newest;
        }
        after = format!(
            "&after={}",
            escape(entries.last().unwrap()["key"].as_str().unwrap())
        );
    }
}

/// A change is made to a copy.
pub(crate) fn apply(copy: &mut Copied, change: &Event) {
    let key = change.data["key"].to_string();
    match change.data["deleted"] == true {
        true => copy.remove(&key),
        false => copy.insert(key, change.data["value"].clone()),
    };
}

/// Every byte escaped.
pub(crate) fn escape(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
