//! Which records of a log are printed, and how.

use crate::args::{DumpArgs, PayloadFormat};
use crate::engine_records;
use crate::log::dump::decoder::{Decoder, Question};
use crate::log::open::Owner;
use crate::outcome::Result;
use crate::output::Output;
use crate::text;
use highwater::wal::inspect::DumpedFrame;
use highwater::wal::{FrameKind, Lsn, StreamId};
use serde::Serialize;
use serde_json::Value;
use std::ops::ControlFlow;
use std::time::Duration;

/// Chooses what is printed, and prints it.
pub(crate) struct Printer<'a> {
    args: &'a DumpArgs,
    owner: Owner,
    decoder: Option<Decoder>,
    /// Records that may still be printed.
    left: u64,
}

impl<'a> Printer<'a> {
    pub(crate) fn new(args: &'a DumpArgs, owner: Owner) -> Result<Self> {
        let timeout = Duration::from_secs(args.decoder_timeout);
        let decoder = args.decoder.as_deref();
        Ok(Self {
            args,
            owner,
            decoder: decoder
                .map(|exe| Decoder::start(exe, timeout))
                .transpose()?,
            left: args.limit.unwrap_or(u64::MAX),
        })
    }

    /// The LSN at which printing begins.
    pub(crate) fn from(&self) -> u64 {
        self.args.from
    }

    /// Whether nothing from `position` on is asked for.
    pub(crate) fn has_all_before(&self, position: Lsn) -> bool {
        self.left == 0 || self.args.to.is_some_and(|to| position.get() >= to)
    }

    /// Prints what is asked for of a frame. Breaks when nothing after it is asked for.
    pub(crate) fn frame(
        &mut self,
        frame: &DumpedFrame,
        out: &mut Output,
    ) -> Result<ControlFlow<()>> {
        if self.has_all_before(frame.lsn) {
            return Ok(ControlFlow::Break(()));
        }
        let holds_records = matches!(
            frame.kind,
            FrameKind::Data | FrameKind::Batch | FrameKind::Control
        );
        let of_stream = |stream| holds_records && frame.stream == StreamId(stream);
        if frame.lsn.get() < self.args.from || !self.args.stream.is_none_or(of_stream) {
            return Ok(ControlFlow::Continue(()));
        }
        for mut row in rows(frame, self.owner, self.args) {
            if self.left == 0 {
                break;
            }
            self.left -= 1;
            if let (Some(decoder), Payload::Undecoded(bytes)) = (&mut self.decoder, &row.payload) {
                let question = Question::new(frame.lsn, row.index, row.kind, row.stream, bytes);
                let answer = decoder.decode(&question)?;
                row.payload = if self.args.log.json {
                    Payload::Decoded(value(answer))
                } else {
                    Payload::Text(text::printable(&answer))
                };
            }
            if self.args.log.json {
                out.json(&row)?
            } else {
                out.line(row.to_text())?
            }
        }
        Ok(match self.left {
            0 => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        })
    }

    pub(crate) fn finish(self) -> Result<()> {
        self.decoder.map_or(Ok(()), Decoder::finish)
    }
}

/// An answer of a decoder: what it is in JSON if it is JSON, else text.
fn value(answer: String) -> Value {
    serde_json::from_str(&answer).unwrap_or(Value::String(answer))
}

/// A record as it is printed.
#[derive(Debug, Serialize)]
struct Row {
    lsn: u64,
    /// Number in its batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<usize>,
    kind: &'static str,
    stream: u16,
    length: usize,
    #[serde(flatten)]
    payload: Payload,
}

#[derive(Debug, Serialize)]
enum Payload {
    #[serde(rename = "payload")]
    Text(String),
    #[serde(rename = "payload_base64")]
    Base64(String),
    #[serde(rename = "payload_hex")]
    Hex(String),
    #[serde(rename = "decoded")]
    Decoded(Value),
    /// For the decoder.
    #[serde(skip)]
    Undecoded(Vec<u8>),
    #[serde(rename = "durable_lsn")]
    DurableLsn(u64),
    #[serde(untagged)]
    None {},
}

fn rows(frame: &DumpedFrame, owner: Owner, args: &DumpArgs) -> Vec<Row> {
    let row = |index, kind, length, payload| Row {
        lsn: frame.lsn.get(),
        index,
        kind,
        stream: frame.stream.0,
        length,
        payload,
    };
    let engines = owner == Owner::Engine;
    let of_record = |kind, index, bytes: &[u8]| {
        let decode: Option<Decode> = match kind {
            "mark" if engines => Some(engine_records::envelope),
            "engine" if engines => Some(engine_records::control),
            _ => None,
        };
        row(index, kind, bytes.len(), payload(bytes, decode, args))
    };
    match frame.kind {
        FrameKind::Data => vec![of_record("data", None, &frame.payload)],
        FrameKind::Control => {
            let kind = if engines && frame.stream == StreamId(0) {
                "engine"
            } else {
                "control"
            };
            vec![of_record(kind, None, &frame.payload)]
        }
        FrameKind::Batch => {
            let records = frame.records().into_iter().enumerate();
            let kind = |index| {
                if engines && index == 0 {
                    "mark"
                } else {
                    "data"
                }
            };
            records
                .map(|(index, bytes)| of_record(kind(index), Some(index), bytes))
                .collect()
        }
        FrameKind::DurableLsn | FrameKind::Seal | FrameKind::Close | FrameKind::Padding
            if !args.all =>
        {
            Vec::new()
        }
        FrameKind::DurableLsn => vec![row(
            None,
            "durable-lsn",
            frame.payload.len(),
            durable_lsn(frame),
        )],
        FrameKind::Seal => vec![row(None, "seal", 0, Payload::None {})],
        FrameKind::Padding => {
            vec![row(None, "padding", frame.payload.len(), Payload::None {})]
        }
        FrameKind::Close => vec![row(None, "close", frame.payload.len(), durable_lsn(frame))],
    }
}

fn durable_lsn(frame: &DumpedFrame) -> Payload {
    frame
        .durable_lsn()
        .map_or(Payload::None {}, |lsn| Payload::DurableLsn(lsn.get()))
}

/// Turns a record of an engine into JSON.
type Decode = fn(&[u8]) -> Option<Value>;

fn payload(bytes: &[u8], decode: Option<Decode>, args: &DumpArgs) -> Payload {
    if args.decoder.is_some() && decode.is_none() {
        return Payload::Undecoded(bytes.to_vec());
    }
    match args.payload {
        PayloadFormat::None => Payload::None {},
        PayloadFormat::Hex => Payload::Hex(text::hex(bytes)),
        PayloadFormat::Text => {
            let value = decode.and_then(|decode| decode(bytes));
            match (value, std::str::from_utf8(bytes)) {
                (Some(value), _) => Payload::Decoded(value),
                (None, Ok(text)) if args.log.json => Payload::Text(text.to_owned()),
                (None, Err(_)) if args.log.json => Payload::Base64(text::base64(bytes)),
                (None, _) => Payload::Text(text::escaped(bytes)),
            }
        }
    }
}

impl Row {
    fn to_text(&self) -> String {
        let place = self.index.map_or(self.lsn.to_string(), |index| {
            format!("{}.{index}", self.lsn)
        });
        let payload = match &self.payload {
            Payload::Text(text) | Payload::Base64(text) | Payload::Hex(text) => text.clone(),
            Payload::Decoded(value) => text::printable(&value.to_string()),
            Payload::Undecoded(bytes) => text::escaped(bytes),
            Payload::DurableLsn(lsn) => format!("everything below LSN {lsn} was durable"),
            Payload::None {} => String::new(),
        };
        let line = format!(
            "{place:<14} {:<9} {:>3} {:>6}  {payload}",
            self.kind, self.stream, self.length
        );
        line.trim_end().to_owned()
    }
}
