//! `highwater log dump`: the records.

use super::{FoundDamage, Opened, Owner, open};
use crate::args::{DumpArgs, PayloadFormat};
use crate::decode;
use crate::outcome::{Failure, Outcome, Result};
use crate::output::Output;
use crate::text;
use highwater::wal::inspect::{DumpedFrame, Log, SegmentState};
use highwater::wal::{FrameKind, Lsn, StreamId, WalError};
use serde::Serialize;
use serde_json::Value;

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
    #[serde(rename = "attested_lsn")]
    Attested(u64),
    #[serde(untagged)]
    None {},
}

/// Runs the command.
pub(crate) fn dump(args: &DumpArgs, out: &mut Output) -> Result<Outcome> {
    let Opened { log, owner } = open(&args.log.dir)?;
    let mut left = args.limit.unwrap_or(u64::MAX);
    let from = Lsn::new(args.from);
    let frames = log.frames(start(&log, from)?);
    let frames = match frames {
        Ok(frames) => frames,
        Err(error) => return damaged(&error, out),
    };
    for frame in frames {
        let frame = match frame {
            Ok(frame) => frame,
            Err(error) => return damaged(&error, out),
        };
        if frame.lsn < from {
            continue;
        }
        for row in rows(&frame, owner, args) {
            if left == 0 {
                return Ok(Outcome::Clean);
            }
            left -= 1;
            if args.log.json {
                out.json(&row)?
            } else {
                out.line(row.to_text())?
            }
        }
    }
    Ok(Outcome::Clean)
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
fn damaged(error: &WalError, out: &mut Output) -> Result<Outcome> {
    match error {
        WalError::Corrupt { .. } => {
            out.flush()?;
            let mut text = FoundDamage::new(error).to_text();
            text.push_str("\n  next    `highwater log verify` lists every damage");
            Err(Failure::Finding(text))
        }
        _ => Err(Failure::Io(error.to_string())),
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
            Payload::Decoded(value) => value.to_string(),
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
