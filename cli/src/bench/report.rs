//! What `bench engine` prints: each figure beside the bound of the same run.

use crate::bench::bound::Bound;
use crate::bench::programs::Program;
use highwater_log::outcome::Result;
use highwater_log::output::{Output, render, table};
use serde::Serialize;
use std::time::Duration;

/// The report.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) dir: String,
    pub(crate) file_system: String,
    pub(crate) device: Option<String>,
    pub(crate) lines: usize,
    pub(crate) words: u64,
    pub(crate) vocabulary: u64,
    pub(crate) programs: Vec<Measured>,
    /// One durable record in a log of its own, in microseconds.
    pub(crate) flush_us: Spread,
    pub(crate) empty_batches: Vec<EmptyBatch>,
    pub(crate) latencies: Vec<Latency>,
    pub(crate) many_keys: Vec<ManyKeys>,
}

/// A state of many keys: `u64` with 48 bytes.
#[derive(Debug, Serialize)]
pub(crate) struct ManyKeys {
    pub(crate) workers: usize,
    pub(crate) keys: u64,
    /// Filling one hash map with the keys, in million keys per second.
    pub(crate) hash_map: f64,
    /// Batches that create keys, in million keys per second.
    pub(crate) fill: Spread,
    /// A batch that touches one key in a hundred, in million keys per second.
    pub(crate) touch: f64,
    /// The stop, with the checkpoint of all keys.
    pub(crate) checkpoint_seconds: f64,
    /// From opening to ready.
    pub(crate) restart_seconds: f64,
    pub(crate) first_batch_ms: f64,
}

/// A program with a number of workers.
#[derive(Debug, Serialize)]
pub(crate) struct Measured {
    pub(crate) program: Program,
    pub(crate) workers: usize,
    /// From the log to the result, in million lines per second.
    pub(crate) speed: Spread,
    /// Plain code of one thread in the same rounds.
    pub(crate) bound: Spread,
    /// The one by the other.
    pub(crate) ratio: f64,
}

/// A batch without records: cut durable, run, committed.
#[derive(Debug, Serialize)]
pub(crate) struct EmptyBatch {
    pub(crate) workers: usize,
    pub(crate) us: Spread,
}

/// From the source, before the record is stored, to the output of its batch, at half of the speed
/// that was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Latency {
    pub(crate) workers: usize,
    pub(crate) batch_interval_ms: u64,
    pub(crate) lines_per_second: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) max_ms: f64,
}

/// Several measurements of one thing.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// The spread of `values`; zeros if there are none.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or_default();
        Self {
            median: rounded(at(values.len() / 2)),
            min: rounded(at(0)),
            max: rounded(at(values.len().saturating_sub(1))),
        }
    }

    /// Speeds of work that took so long, in millions per second.
    pub(crate) fn of_speeds(count: usize, times: &[Duration]) -> Self {
        Self::of(times.iter().map(|time| millions_per_second(count, *time)))
    }

    /// Times, in microseconds.
    pub(crate) fn of_micros(times: &[Duration]) -> Self {
        Self::of(times.iter().map(|time| time.as_secs_f64() * 1e6))
    }

    fn text(self, decimals: usize) -> String {
        let Self { median, min, max } = self;
        format!("{median:.decimals$} ({min:.decimals$}-{max:.decimals$})")
    }
}

fn millions_per_second(count: usize, time: Duration) -> f64 {
    let count = u32::try_from(count).map_or(f64::INFINITY, f64::from);
    count / time.as_secs_f64().max(1e-9) / 1e6
}

/// Four digits after the point are more than a machine repeats.
pub(crate) fn rounded(number: f64) -> f64 {
    (number * 1e4).round() / 1e4
}

impl Report {
    /// Prints it for people.
    pub(crate) fn print(&self, out: &mut Output) -> Result<()> {
        let device = self.device.as_ref();
        out.line(format!(
            "{} on {}{}: {} lines, {} words, {} different ones at most",
            self.dir,
            self.file_system,
            device.map_or(String::new(), |d| format!(" ({d})")),
            self.lines,
            self.words,
            self.vocabulary,
        ))?;
        out.line("medians (lowest-highest); speeds from the log to the result\n")?;
        let mut rows = table(&["", "#workers", "#million lines/s", "#of the bound"]);
        let mut bound = "";
        for measured in &self.programs {
            let beside = Bound::title(measured.program);
            if beside != bound {
                bound = beside;
                let cells = [beside, "", &measured.bound.text(3), "1.00x"];
                rows.add_row(cells.map(str::to_owned));
            }
            rows.add_row([
                measured.program.title().to_owned(),
                measured.workers.to_string(),
                measured.speed.text(3),
                format!("{:.2}x", measured.ratio),
            ]);
        }
        out.line(render(&rows))?;
        out.line("")?;
        let mut rows = table(&["", "#workers", "#µs"]);
        rows.add_row([
            "bound: one durable record in a log".to_owned(),
            String::new(),
            self.flush_us.text(1),
        ]);
        for empty in &self.empty_batches {
            rows.add_row([
                "empty batch: cut durable, run, committed".to_owned(),
                empty.workers.to_string(),
                empty.us.text(1),
            ]);
        }
        out.line(render(&rows))?;
        self.print_latencies(out)?;
        self.print_many_keys(out)
    }

    fn print_many_keys(&self, out: &mut Output) -> Result<()> {
        let Some(first) = self.many_keys.first() else {
            return Ok(());
        };
        out.line("")?;
        let state = format!("state of {} keys (u64 to 48 bytes)", first.keys);
        let mut rows = table(&[&state, "#workers", "#"]);
        for of in &self.many_keys {
            let row =
                |what: &str, figure: String| [what.to_owned(), of.workers.to_string(), figure];
            rows.add_row(row(
                "bound: a hash map is filled, million keys/s",
                format!("{:.2}", of.hash_map),
            ));
            rows.add_row(row(
                "keys created in batches, million keys/s",
                of.fill.text(2),
            ));
            rows.add_row(row(
                "one key in 100 touched, million keys/s",
                format!("{:.2}", of.touch),
            ));
            rows.add_row(row(
                "stop with a checkpoint, s",
                format!("{:.2}", of.checkpoint_seconds),
            ));
            rows.add_row(row("restart, s", format!("{:.2}", of.restart_seconds)));
            rows.add_row(row(
                "first batch after it, ms",
                format!("{:.1}", of.first_batch_ms),
            ));
        }
        out.line(render(&rows))
    }

    fn print_latencies(&self, out: &mut Output) -> Result<()> {
        if self.latencies.is_empty() {
            return Ok(());
        }
        out.line("")?;
        let mut rows = table(&[
            "from source to output at half load",
            "#workers",
            "#lines/s",
            "#p50 ms",
            "#p99 ms",
            "#max ms",
        ]);
        for latency in &self.latencies {
            rows.add_row([
                format!("batches of {} ms", latency.batch_interval_ms),
                latency.workers.to_string(),
                format!("{:.0}", latency.lines_per_second),
                format!("{:.1}", latency.p50_ms),
                format!("{:.1}", latency.p99_ms),
                format!("{:.1}", latency.max_ms),
            ]);
        }
        out.line(render(&rows))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_median_lowest_and_highest() {
        let spread = Spread::of([3.0, 1.0, 2.0]);
        assert_eq!(spread.text(1), "2.0 (1.0-3.0)");
        assert_eq!(Spread::of([]).text(0), "0 (0-0)");
        let times = [Duration::from_millis(10), Duration::from_millis(40)];
        assert_eq!(Spread::of_speeds(10_000, &times).max, 1.0);
        assert_eq!(Spread::of_micros(&times).min, 10_000.0);
    }
}
