//! Which records of a log are printed, and how.

use crate::args::{DumpArgs, PayloadFormat};
use crate::commands::dump::decoder::{Decoder, Question};
use crate::commands::open::Owner;
use crate::outcome::Result;
use crate::output::Output;
use crate::program::{EngineRecords, Program};
use crate::text;
use highwater_wal::inspect::DumpedFrame;
use highwater_wal::{FrameKind, Lsn, StreamId};
use serde::Serialize;
use serde_json::Value;
use std::ops::ControlFlow;
use std::time::Duration;

/// Chooses what is printed, and prints it.
pub(crate) struct Printer<'a> {
    args: &'a DumpArgs,
    program: &'a Program,
    /// What is known of its records, if an engine writes the log.
    engine: Option<&'static dyn EngineRecords>,
    decoder: Option<Decoder>,
    /// Frames before this LSN are not printed.
    from: u64,
    /// Records that are still left out, of those that are asked for otherwise.
    skip: u64,
    /// Records that may still be printed.
    left: u64,
}

impl<'a> Printer<'a> {
    pub(crate) fn new(args: &'a DumpArgs, owner: Owner, program: &'a Program) -> Result<Self> {
        let timeout = Duration::from_secs(args.decoder_timeout);
        let decoder = args.decoder.as_deref();
        Ok(Self {
            args,
            program,
            engine: program.engine.filter(|_| owner == Owner::Engine),
            decoder: decoder
                .map(|exe| Decoder::start(exe, timeout))
                .transpose()?,
            from: 0,
            skip: 0,
            left: args.limit.unwrap_or(u64::MAX),
        })
    }

    /// Which program prints.
    pub(crate) fn program(&self) -> &'a Program {
        self.program
    }

    /// Printing begins at `from`, without the first `skip` records there.
    pub(crate) fn begin(&mut self, from: Lsn, skip: u64) {
        (self.from, self.skip) = (from.get(), skip);
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
        if frame.lsn.get() < self.from || !self.args.stream.is_none_or(of_stream) {
            return Ok(ControlFlow::Continue(()));
        }
        for mut row in rows(frame, self.engine, self.args) {
            if self.left == 0 {
                break;
            }
            if self.skip > 0 && row.holds_record {
                self.skip -= 1;
                continue;
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
    /// It was taken back: readers do not get it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    void: bool,
    #[serde(flatten)]
    payload: Payload,
    /// Bytes of the payload that are not printed.
    #[serde(skip_serializing_if = "is_zero")]
    payload_left_out: usize,
    #[serde(skip)]
    holds_record: bool,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature that serde wants"
)]
fn is_zero(n: &usize) -> bool {
    *n == 0
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
    DurableAt { durable_lsn: u64, time: String },
    #[serde(untagged)]
    Void { void_from: u64, void_to: u64 },
    #[serde(untagged)]
    Cursor {
        cursor: String,
        /// Not there: it was removed.
        position: Option<u64>,
    },
    #[serde(untagged)]
    None {},
}

fn rows(
    frame: &DumpedFrame,
    engine: Option<&'static dyn EngineRecords>,
    args: &DumpArgs,
) -> Vec<Row> {
    let engines = engine.is_some();
    let of_record = |kind, index, bytes: &[u8]| {
        let decoded = engine.filter(|_| ["mark", "engine"].contains(&kind));
        let decoded = decoded.map(|engine| match kind {
            "mark" => engine.envelope(bytes),
            _ => engine.control(bytes),
        });
        let (payload, left_out) = payload(bytes, decoded, args);
        Row {
            index,
            payload_left_out: left_out,
            holds_record: true,
            ..Row::new(frame, kind, bytes.len(), payload)
        }
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
        _ if args.all => vec![own_frame(frame)],
        _ => Vec::new(),
    }
}

/// A frame of the log's own.
fn own_frame(frame: &DumpedFrame) -> Row {
    let none = Payload::None {};
    let (kind, payload) = match frame.kind {
        FrameKind::DurableLsn => ("durable-lsn", durable_lsn(frame)),
        FrameKind::DurableAt => ("durable-at", durable_at(frame)),
        FrameKind::Close => ("close", durable_lsn(frame)),
        FrameKind::Seal => ("seal", none),
        FrameKind::Padding => ("padding", none),
        FrameKind::Void => {
            let said = frame.void_range().map(|(from, to)| Payload::Void {
                void_from: from.get(),
                void_to: to.get(),
            });
            ("void", said.unwrap_or(none))
        }
        FrameKind::Cursor => {
            let said = frame.cursor().map(|(name, position)| Payload::Cursor {
                cursor: name,
                position: position.map(Lsn::get),
            });
            ("cursor", said.unwrap_or(none))
        }
        other => ("other", Payload::Text(other.to_string())),
    };
    Row::new(frame, kind, frame.payload.len(), payload)
}

fn durable_lsn(frame: &DumpedFrame) -> Payload {
    frame
        .durable_lsn()
        .map_or(Payload::None {}, |lsn| Payload::DurableLsn(lsn.get()))
}

fn durable_at(frame: &DumpedFrame) -> Payload {
    match (frame.durable_lsn(), frame.durable_at()) {
        (Some(lsn), Some(time)) => Payload::DurableAt {
            durable_lsn: lsn.get(),
            time: text::time(time),
        },
        _ => Payload::None {},
    }
}

/// So many bytes of a payload are printed for people.
const LIMIT: usize = 256;

/// How many bytes of a payload are printed.
fn limit(args: &DumpArgs) -> usize {
    match args.payload_limit {
        Some(0) => usize::MAX,
        Some(limit) => limit,
        None if args.log.json => usize::MAX,
        None => LIMIT,
    }
}

/// A payload as it is printed, and how many bytes of it are not. `decoded` is what the engine says
/// of it, if it is one of its records.
fn payload(bytes: &[u8], decoded: Option<Option<Value>>, args: &DumpArgs) -> (Payload, usize) {
    if args.decoder.is_some() && decoded.is_none() {
        return (Payload::Undecoded(bytes.to_vec()), 0);
    }
    let all = bytes;
    let bytes = text::cut(all, limit(args));
    let left_out = all.len() - bytes.len();
    let json = args.log.json;
    let shown = match (args.payload, decoded.flatten()) {
        (PayloadFormat::None, _) => return (Payload::None {}, 0),
        (PayloadFormat::Hex, _) => Payload::Hex(text::hex(bytes)),
        (_, Some(value)) => return (Payload::Decoded(value), 0),
        (PayloadFormat::Auto, None) if !json && !text::is_printable(all) => {
            Payload::Hex(format!("0x{}", text::hex(bytes)))
        }
        _ => match std::str::from_utf8(bytes) {
            Ok(text) if json => Payload::Text(text.to_owned()),
            Err(_) if json => Payload::Base64(text::base64(bytes)),
            _ => Payload::Text(text::escaped(bytes)),
        },
    };
    (shown, left_out)
}

impl Row {
    fn new(frame: &DumpedFrame, kind: &'static str, length: usize, payload: Payload) -> Self {
        Self {
            lsn: frame.lsn.get(),
            index: None,
            kind,
            stream: frame.stream.0,
            length,
            void: frame.is_void,
            payload,
            payload_left_out: 0,
            holds_record: false,
        }
    }

    fn to_text(&self) -> String {
        let place = self.index.map_or(self.lsn.to_string(), |index| {
            format!("{}.{index}", self.lsn)
        });
        let payload = match &self.payload {
            Payload::Text(text) | Payload::Base64(text) | Payload::Hex(text) => text.clone(),
            Payload::Decoded(value) => text::printable(&value.to_string()),
            Payload::Undecoded(bytes) => text::escaped(bytes),
            Payload::Void { void_from, void_to } => {
                format!("the records from LSN {void_from} up to {void_to} count no more")
            }
            Payload::Cursor { cursor, position } => match position {
                Some(position) => format!("the cursor {cursor:?} is at LSN {position}"),
                None => format!("the cursor {cursor:?} was removed"),
            },
            Payload::DurableAt { durable_lsn, time } => {
                format!("everything below LSN {durable_lsn} was durable at {time}")
            }
            Payload::DurableLsn(lsn) => format!("everything below LSN {lsn} was durable"),
            Payload::None {} => String::new(),
        };
        let left_out = match self.payload_left_out {
            0 => String::new(),
            bytes => format!(" ... and {bytes} bytes"),
        };
        let taken_back = match self.void {
            true => "  (taken back)",
            false => "",
        };
        let line = format!(
            "{place:<14} {:<9} {:>3} {:>6}  {payload}{left_out}{taken_back}",
            self.kind, self.stream, self.length
        );
        line.trim_end().to_owned()
    }
}
