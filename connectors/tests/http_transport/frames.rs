//! A client of HTTP/2 that can send any frame: also those that no honest client sends.

use crate::client::patient;
use std::io::{self, Read, Write};

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

/// Of DATA and HEADERS; of SETTINGS and PING the same bit says that it is the answer.
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// The code of a GOAWAY or RST_STREAM.
    pub(crate) fn code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }
}

/// How a request ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Answer(u16, String),
    Reset(u32),
    /// The connection ended, with this code if there was one.
    Ended(Option<u32>),
}

impl Outcome {
    pub(crate) fn status(&self) -> u16 {
        match self {
            Self::Answer(status, _) => *status,
            _ => 0,
        }
    }
}

pub(crate) struct Http2<S> {
    pub(crate) stream: S,
    next: u32,
    asked: usize,
}

impl<S: Read + Write> Http2<S> {
    /// Begins a connection, with settings of its own.
    pub(crate) fn with_settings(mut stream: S, settings: &[(u16, u32)]) -> Self {
        stream
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            .unwrap();
        let mut client = Self {
            stream,
            next: 1,
            asked: 0,
        };
        // Answers refer to no earlier ones: so their status can be read here.
        let settings = [(1, 0)].iter().chain(settings);
        let payload = settings.flat_map(|(id, value): &(u16, u32)| {
            let (id, value) = (id.to_be_bytes(), value.to_be_bytes());
            id.into_iter().chain(value)
        });
        let payload: Vec<u8> = payload.collect();
        client.send(SETTINGS, 0, 0, &payload);
        client
    }

    pub(crate) fn on(stream: S) -> Self {
        Self::with_settings(stream, &[])
    }

    pub(crate) fn try_send(
        &mut self,
        kind: u8,
        flags: u8,
        stream: u32,
        payload: &[u8],
    ) -> io::Result<()> {
        let frame = frame(kind, flags, stream, payload);
        patient(self.stream.write_all(&frame))?;
        self.stream.flush()
    }

    pub(crate) fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.try_send(kind, flags, stream, payload).unwrap();
    }

    /// A number for a new request.
    pub(crate) fn number(&mut self) -> u32 {
        self.next += 2;
        self.next - 2
    }

    /// Begins a request to `authority`, without its body.
    pub(crate) fn begin(&mut self, authority: &str, headers: &[(&str, &str)]) -> u32 {
        self.begin_with(&head(authority, headers), 0)
    }

    /// Asks for `path`.
    pub(crate) fn get(&mut self, path: &str) -> u32 {
        self.begin_with(&head_of("GET", path, "localhost", &[]), END_STREAM)
    }

    fn begin_with(&mut self, block: &[u8], more: u8) -> u32 {
        let number = self.number();
        let parts: Vec<&[u8]> = block.chunks(16 << 10).collect();
        for (at, part) in parts.iter().enumerate() {
            let kind = if at == 0 { HEADERS } else { CONTINUATION };
            let is_last = at + 1 == parts.len();
            let flags = if is_last { END_HEADERS } else { 0 };
            let flags = if at == 0 { flags | more } else { flags };
            self.send(kind, flags, number, part);
        }
        number
    }

    pub(crate) fn post_to(
        &mut self,
        authority: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Outcome {
        let number = self.begin(authority, headers);
        self.send(DATA, END_STREAM, number, body.as_bytes());
        self.outcome(number)
    }

    pub(crate) fn post(&mut self, body: &str) -> Outcome {
        self.post_to("localhost", &[], body)
    }

    /// The next frame, and the answers that are due to it; `None` at the end of the connection.
    pub(crate) fn frame(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        patient(self.stream.read_exact(&mut head)).ok()?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        patient(self.stream.read_exact(&mut payload)).ok()?;
        if kind == PING && flags & ACK == 0 {
            // One comes every 20 seconds.
            self.asked += 1;
            assert!(self.asked < 4, "the server only asks whether we are there");
        }
        if [SETTINGS, PING].contains(&kind) && flags & ACK == 0 {
            let echo: &[u8] = if kind == PING { &payload } else { &[] };
            let _ = self.try_send(kind, ACK, 0, echo);
        }
        Some(Frame {
            kind,
            flags,
            stream: u32::from_be_bytes(stream),
            payload,
        })
    }

    /// What becomes of a request; frames of others are passed over.
    pub(crate) fn outcome(&mut self, number: u32) -> Outcome {
        let (mut status, mut body) = (0, Vec::new());
        let mut ended = None;
        while let Some(frame) = self.frame() {
            match frame.kind {
                GOAWAY => ended = Some(frame.code()),
                HEADERS if frame.stream == number => status = status_of(&frame.payload),
                DATA if frame.stream == number => body.extend_from_slice(&frame.payload),
                RST_STREAM if frame.stream == number => return Outcome::Reset(frame.code()),
                _ => continue,
            }
            let is_last = frame.flags & END_STREAM != 0 && [DATA, HEADERS].contains(&frame.kind);
            if frame.stream == number && is_last {
                return Outcome::Answer(status, String::from_utf8(body).unwrap());
            }
        }
        Outcome::Ended(ended)
    }

    /// Waits until everything that was sent so far has been read.
    pub(crate) fn ping(&mut self) -> bool {
        if self.try_send(PING, 0, 0, b"anything").is_err() {
            return false;
        }
        while let Some(frame) = self.frame() {
            if frame.kind == PING && frame.flags & ACK != 0 {
                return true;
            }
        }
        false
    }

    /// Reads until the connection ends, and gives the code of the last GOAWAY.
    pub(crate) fn end(&mut self) -> Option<u32> {
        let mut code = None;
        while let Some(frame) = self.frame() {
            if frame.kind == GOAWAY {
                code = Some(frame.code());
            }
        }
        code
    }
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![a, b, c, kind, flags];
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// The head of a POST to `/`; without a name of the server if `authority` is empty.
pub(crate) fn head(authority: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    head_of("POST", "/", authority, headers)
}

fn head_of(method: &str, path: &str, authority: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let fixed = [(":method", method), (":scheme", "http"), (":path", path)];
    let named = (!authority.is_empty()).then_some((":authority", authority));
    let mut block = Vec::new();
    for (name, value) in fixed.iter().chain(&named).chain(headers) {
        block.push(0); // as it is, and not to be remembered
        for text in [name, value] {
            push_length(&mut block, text.len());
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

/// A length, of 7 bits and then as many as it takes.
fn push_length(block: &mut Vec<u8>, length: usize) {
    let Some(mut rest) = length.checked_sub(127) else {
        block.push(u8::try_from(length).unwrap());
        return;
    };
    block.push(127);
    while rest >= 128 {
        block.push(u8::try_from(rest % 128 + 128).unwrap());
        rest /= 128;
    }
    block.push(u8::try_from(rest).unwrap());
}

/// The status that a head begins with.
pub(crate) fn status_of(block: &[u8]) -> u16 {
    const KNOWN: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
    // Before it, the size of the table may be said.
    let block = match block {
        [first, rest @ ..] if first & 0xe0 == 0x20 => rest,
        all => all,
    };
    match block {
        // In the table from the start.
        [first @ 0x88..=0x8e, ..] => KNOWN[usize::from(first - 0x88)],
        [0x48 | 0x08, length, rest @ ..] => {
            let text = &rest[..usize::from(length & 0x7f)];
            match length & 0x80 {
                0 => std::str::from_utf8(text).unwrap().parse().unwrap(),
                _ => digits(text),
            }
        }
        _ => panic!("no status: {block:x?}"),
    }
}

/// Digits in the code of Huffman that HTTP/2 has: 0 to 2 have 5 bits, the others 6.
fn digits(bytes: &[u8]) -> u16 {
    let bits: Vec<u8> = bytes
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1))
        .collect();
    let number = |bits: &[u8]| bits.iter().fold(0, |all, bit| all * 2 + u16::from(*bit));
    let (mut at, mut found) = (0, 0);
    while at + 5 <= bits.len() {
        let short = number(&bits[at..at + 5]);
        if short <= 2 {
            (found, at) = (found * 10 + short, at + 5);
            continue;
        }
        if at + 6 > bits.len() {
            break;
        }
        match number(&bits[at..at + 6]) {
            long @ 25..=31 => (found, at) = (found * 10 + long - 22, at + 6),
            _ => break, // the rest is filled with ones
        }
    }
    found
}
