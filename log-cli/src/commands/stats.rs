//! `highwater-log stats`: what is in a log.

use crate::args::LogArgs;
use crate::commands::damage::FoundDamage;
use crate::commands::open::{note, open};
use crate::commands::progress::Progress;
use crate::outcome::{Outcome, Result};
use crate::output::{Output, render, table};
use crate::program::Program;
use crate::text;
use highwater_wal::Lsn;
use highwater_wal::inspect::{Amount, Histogram, LogStats};
use serde::Serialize;

/// What is printed.
#[derive(Debug, Serialize)]
struct Row {
    log_id: String,
    from_lsn: u64,
    end_lsn: u64,
    segments: u64,
    total: Sum,
    kinds: Vec<Named>,
    streams: Vec<Named>,
    record_bytes: Spread,
    batch_records: Spread,
    durable_lsn_records: u64,
    group_bytes: Spread,
    group_records: Spread,
    overhead: Overhead,
    compression: Compression,
    finding: Option<FoundDamage>,
    /// What cannot be known.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'static str>,
}

#[derive(Debug, Serialize)]
struct Sum {
    frames: u64,
    records: u64,
    record_bytes: u64,
    log_bytes: u64,
}

#[derive(Debug, Serialize)]
struct Named {
    name: String,
    #[serde(flatten)]
    sum: Sum,
}

#[derive(Debug, Serialize)]
struct Overhead {
    frame_headers: u64,
    padding: u64,
    batch_lengths: u64,
    own_frames: u64,
    segment_headers: u64,
    sealed_rests: u64,
    /// All of them.
    bytes: u64,
    /// Part of the log that is no record, in percent.
    percent: f64,
}

#[derive(Debug, Serialize)]
struct Compression {
    frames: u64,
    stored_bytes: u64,
    raw_bytes: u64,
    /// Raw by stored bytes of the compressed frames; none if there are none.
    ratio: Option<f64>,
}

/// How numbers are spread.
#[derive(Debug, Serialize)]
struct Spread {
    count: u64,
    min: Option<u64>,
    mean: f64,
    p50: Option<u64>,
    p99: Option<u64>,
    max: Option<u64>,
    /// By powers of two.
    histogram: Vec<Bucket>,
}

#[derive(Debug, Serialize)]
struct Bucket {
    from: u64,
    to: u64,
    count: u64,
}

impl From<&Amount> for Sum {
    fn from(amount: &Amount) -> Self {
        Self {
            frames: amount.frames,
            records: amount.records,
            record_bytes: amount.record_bytes,
            log_bytes: amount.log_bytes,
        }
    }
}

impl From<&Histogram> for Spread {
    fn from(of: &Histogram) -> Self {
        let buckets = of.powers_of_two().into_iter().map(|(range, count)| Bucket {
            from: *range.start(),
            to: *range.end(),
            count,
        });
        Self {
            count: of.count(),
            min: of.min(),
            mean: rounded(of.mean()),
            p50: of.quantile(0.5),
            p99: of.quantile(0.99),
            max: of.max(),
            histogram: buckets.collect(),
        }
    }
}

impl Row {
    fn new(log_id: u128, stats: &LogStats) -> Self {
        let named = |name: String, amount: &Amount| Named {
            name,
            sum: amount.into(),
        };
        let kinds = stats.kinds.iter();
        let streams = stats.streams.iter();
        let c = stats.compressed;
        Self {
            log_id: format!("{log_id:032x}"),
            from_lsn: stats.from_lsn.get(),
            end_lsn: stats.end_lsn.get(),
            segments: stats.segments,
            total: (&stats.total).into(),
            kinds: kinds
                .map(|(kind, amount)| named(kind.to_string(), amount))
                .collect(),
            streams: streams
                .map(|(id, amount)| named(id.to_string(), amount))
                .collect(),
            record_bytes: (&stats.record_sizes).into(),
            batch_records: (&stats.batch_records).into(),
            durable_lsn_records: stats.durable_lsn_records,
            group_bytes: (&stats.group_bytes).into(),
            group_records: (&stats.group_records).into(),
            overhead: overhead(stats),
            compression: Compression {
                frames: c.frames,
                stored_bytes: c.stored_bytes,
                raw_bytes: c.raw_bytes,
                ratio: (c.stored_bytes > 0).then(|| ratio(c.raw_bytes, c.stored_bytes)),
            },
            finding: stats.damage.as_ref().map(FoundDamage::new),
            note: None,
        }
    }
}

fn overhead(stats: &LogStats) -> Overhead {
    let o = stats.overhead;
    let bytes = o.frame_headers
        + o.padding
        + o.batch_lengths
        + o.own_frames
        + o.segment_headers
        + o.sealed_rests;
    Overhead {
        frame_headers: o.frame_headers,
        padding: o.padding,
        batch_lengths: o.batch_lengths,
        own_frames: o.own_frames,
        segment_headers: o.segment_headers,
        sealed_rests: o.sealed_rests,
        bytes,
        percent: ratio(100 * bytes, (bytes + stats.total.record_bytes).max(1)),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
fn ratio(a: u64, b: u64) -> f64 {
    rounded(a as f64 / b as f64)
}

fn rounded(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}

/// Runs the command.
pub(crate) fn stats(args: &LogArgs, program: &Program, out: &mut Output) -> Result<Outcome> {
    let log = open(&args.dir, program)?.log;
    let bar = Progress::new();
    let stats = log.stats(Lsn::ZERO, |progress| bar.show(progress));
    drop(bar);
    let row = Row {
        note: note(&log),
        ..Row::new(log.log_id(), &stats?)
    };
    out.show(args.json, &row, print)?;
    Ok(match row.finding {
        None => Outcome::Clean,
        Some(_) => Outcome::Finding,
    })
}

fn print(row: &Row, out: &mut Output) -> Result<()> {
    out.line(format!(
        "log {}: LSN {} to {}, {} segments",
        row.log_id, row.from_lsn, row.end_lsn, row.segments
    ))?;
    if let Some(note) = row.note {
        out.line(format!("note: {note}"))?;
    }
    out.line("")?;
    print_sums("kind", &row.kinds, Some(&row.total), out)?;
    print_sums("stream", &row.streams, None, out)?;
    let mut spreads = table(&["", "#count", "#min", "#mean", "#p50", "#p99", "#max"]);
    for (name, spread) in [
        ("record size, bytes", &row.record_bytes),
        ("records per batch", &row.batch_records),
        ("commit group, bytes", &row.group_bytes),
        ("commit group, records", &row.group_records),
    ] {
        let number = |n: Option<u64>| n.map_or("-".to_owned(), text::grouped);
        spreads.add_row([
            name.to_owned(),
            text::grouped(spread.count),
            number(spread.min),
            format!("{:.1}", spread.mean),
            number(spread.p50),
            number(spread.p99),
            number(spread.max),
        ]);
    }
    out.line(render(&spreads))?;
    out.line("")?;
    print_histogram(&row.record_bytes, out)?;
    print_overhead(row, out)?;
    if let Some(finding) = &row.finding {
        out.line("")?;
        out.line(match row.note {
            None => "counted up to the first damage:",
            Some(_) => "counted around damage, of which this is the first:",
        })?;
        out.line(finding.to_text())?;
    }
    Ok(())
}

fn print_sums(title: &str, sums: &[Named], total: Option<&Sum>, out: &mut Output) -> Result<()> {
    let mut rows = table(&[title, "#frames", "#records", "#record bytes", "#log bytes"]);
    let mut add = |name: &str, sum: &Sum| {
        let numbers = [sum.frames, sum.records, sum.record_bytes, sum.log_bytes];
        let cells = numbers.map(text::grouped);
        rows.add_row(std::iter::once(name.to_owned()).chain(cells));
    };
    for named in sums {
        add(&named.name, &named.sum);
    }
    if let Some(total) = total {
        add("all", total);
    }
    out.line(render(&rows))?;
    out.line("")
}

/// A bar of at most 40 characters for each power of two.
fn print_histogram(spread: &Spread, out: &mut Output) -> Result<()> {
    let most = spread.histogram.iter().map(|bucket| bucket.count).max();
    let most = most.unwrap_or(1);
    let mut rows = table(&["#record size", "#records", ""]);
    for bucket in &spread.histogram {
        let width = (u128::from(bucket.count) * 40).div_ceil(u128::from(most));
        rows.add_row([
            if bucket.from == bucket.to {
                text::grouped(bucket.from)
            } else {
                format!(
                    "{}-{}",
                    text::grouped(bucket.from),
                    text::grouped(bucket.to)
                )
            },
            text::grouped(bucket.count),
            "#".repeat(usize::try_from(width).unwrap_or(40)),
        ]);
    }
    out.line(render(&rows))?;
    out.line("")
}

fn print_overhead(row: &Row, out: &mut Output) -> Result<()> {
    let o = &row.overhead;
    out.line(format!(
        "{} durable-LSN records; {} of the log are no records ({:.1} %): frame headers {}, padding {}, lengths in batches {}, own \
         frames {}, segment headers {}, rests of sealed segments {}",
        text::grouped(row.durable_lsn_records),
        text::bytes(o.bytes),
        o.percent,
        text::bytes(o.frame_headers),
        text::bytes(o.padding),
        text::bytes(o.batch_lengths),
        text::bytes(o.own_frames),
        text::bytes(o.segment_headers),
        text::bytes(o.sealed_rests),
    ))?;
    let c = &row.compression;
    match c.ratio {
        None => out.line("no frame is compressed"),
        Some(ratio) => out.line(format!(
            "{} frames are compressed: {} as {} ({ratio:.2} to 1)",
            text::grouped(c.frames),
            text::bytes(c.raw_bytes),
            text::bytes(c.stored_bytes),
        )),
    }
}
