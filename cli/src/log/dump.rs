//! `highwater log dump`: the records.

use super::decoder::{Decoder, Question};
use super::follow::follow;
use super::{Opened, Owner, open, with_advice};
use crate::args::{DumpArgs, PayloadFormat};
use crate::decode;
use crate::outcome::{Failure, Outcome, Result};
use crate::output::{Output, tell};
use crate::text;
use highwater::wal::inspect::{DumpedFrame, Log, SegmentState};
use highwater::wal::{FrameKind, Lsn, StreamId, WalError};
use serde::Serialize;
use serde_json::Value;
use std::ops::ControlFlow;
use std::time::Duration;

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
    #[serde(rename = "attested_lsn")]
    Attested(u64),
    #[serde(untagged)]
    None {},
}

/// Runs the command.
pub(crate) fn dump(args: &DumpArgs, out: &mut Output) -> Result<Outcome> {
    if let Some(to) = args.to.filter(|to| *to <= args.from) {
        return Err(Failure::Usage(format!(
            "--to {to} is not behind --from {}: the range is empty",
            args.from
        )));
    }
    let Opened { log, owner, .. } = open(&args.log.dir)?;
    let start = start(&log, Lsn::new(args.from))?;
    let mut printer = Printer::new(args, owner)?;
    let outcome = if args.follow {
        follow(log, start, &mut printer, out)
    } else {
        print_all(&log, start, &mut printer, out)
    }?;
    printer.finish()?;
    Ok(outcome)
}

fn print_all(
    log: &Log,
    start: Lsn,
    printer: &mut Printer<'_>,
    out: &mut Output,
) -> Result<Outcome> {
    let frames = match log.frames(start) {
        Ok(frames) => frames,
        Err(error) => return damaged(error, out),
    };
    let end = frames.log_end();
    for frame in frames {
        let frame = match frame {
            Ok(frame) => frame,
            Err(WalError::Truncated { asked, first }) => {
                let what = "were truncated meanwhile and are not shown";
                tell(format!("LSNs {asked} to {first} {what}"));
                continue;
            }
            Err(error) => return damaged(error, out),
        };
        if printer.frame(&frame, out)?.is_break() {
            break;
        }
    }
    let from = printer.args.from;
    if from >= end.get() {
        tell(format!(
            "there is nothing from LSN {from} on: the log ends at LSN {end}"
        ));
    }
    Ok(Outcome::Clean)
}

/// Chooses what is printed, and prints it.
pub(crate) struct Printer<'a> {
    args: &'a DumpArgs,
    owner: Owner,
    decoder: Option<Decoder>,
    /// Records that may still be printed.
    left: u64,
}

impl<'a> Printer<'a> {
    fn new(args: &'a DumpArgs, owner: Owner) -> Result<Self> {
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

    /// Whether nothing from `position` on is asked for.
    pub(crate) fn has_all_before(&self, position: Lsn) -> bool {
        self.left == 0 || self.args.to.is_some_and(|to| position.get() >= to)
    }

    /// Prints what is asked for of a frame. Breaks when nothing behind it is asked for.
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

    fn finish(self) -> Result<()> {
        self.decoder.map_or(Ok(()), Decoder::finish)
    }
}

/// An answer of a decoder: what it is in JSON if it is JSON, else text.
fn value(answer: String) -> Value {
    serde_json::from_str(&answer).unwrap_or(Value::String(answer))
}

/// Where to begin reading so that every frame from `from` on is seen: at the start of its segment.
fn start(log: &Log, from: Lsn) -> Result<Lsn> {
    if from == Lsn::ZERO {
        return Ok(from);
    }
    if from < log.first_lsn() {
        let first = log.first_lsn();
        return Err(Failure::Usage(format!(
            "LSN {from} was truncated: the log starts at LSN {first}"
        )));
    }
    let segments = log.segments()?;
    let live = segments
        .iter()
        .filter(|s| !matches!(s.state, SegmentState::Truncated));
    Ok(live
        .map(|s| s.base)
        .filter(|base| *base <= from)
        .max()
        .unwrap_or(from))
}

/// What comes before the damage was printed; nothing behind it can be trusted to be complete.
fn damaged(error: WalError, out: &mut Output) -> Result<Outcome> {
    out.flush()?;
    match error {
        WalError::Corrupt { .. } => Err(Failure::Finding(with_advice(&error))),
        _ => Err(error.into()),
    }
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
        let decoded = kind != "data" && engines;
        row(index, kind, bytes.len(), payload(bytes, decoded, args))
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
        FrameKind::Watermark | FrameKind::Seal | FrameKind::Close | FrameKind::Padding
            if !args.all =>
        {
            Vec::new()
        }
        FrameKind::Watermark => vec![row(None, "watermark", frame.payload.len(), attested(frame))],
        FrameKind::Seal => vec![row(None, "seal", 0, Payload::None {})],
        FrameKind::Padding => {
            vec![row(None, "padding", frame.payload.len(), Payload::None {})]
        }
        FrameKind::Close => vec![row(None, "close", frame.payload.len(), attested(frame))],
    }
}

fn attested(frame: &DumpedFrame) -> Payload {
    frame
        .attested()
        .map_or(Payload::None {}, |lsn| Payload::Attested(lsn.get()))
}

fn payload(bytes: &[u8], decoded: bool, args: &DumpArgs) -> Payload {
    if args.decoder.is_some() && !decoded {
        return Payload::Undecoded(bytes.to_vec());
    }
    match args.payload {
        PayloadFormat::None => Payload::None {},
        PayloadFormat::Hex => Payload::Hex(text::hex(bytes)),
        PayloadFormat::Text => {
            let value = if decoded {
                decode::to_json(bytes)
            } else {
                None
            };
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
            Payload::Attested(lsn) => format!("everything below LSN {lsn} was durable"),
            Payload::None {} => String::new(),
        };
        let line = format!(
            "{place:<14} {:<9} {:>3} {:>6}  {payload}",
            self.kind, self.stream, self.length
        );
        line.trim_end().to_owned()
    }
}
