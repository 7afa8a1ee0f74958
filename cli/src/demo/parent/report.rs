//! The tables at the end of the demo.

use crate::demo::child::event::Status;
use crate::demo::parent::verdict::Verdict;
use highwater_log::outcome::Result;
use highwater_log::output::{self, Output, render};
use highwater_log::text::{bytes, grouped, millis};
use std::time::Duration;

/// How the run went.
pub(crate) struct Report {
    pub(crate) took: Duration,
    pub(crate) sent: u64,
    pub(crate) resent: u64,
    pub(crate) acknowledged: u64,
    pub(crate) done: Status,
    pub(crate) kills: Vec<KillReport>,
    pub(crate) seed: u64,
}

/// A kill, and the recovery from it.
pub(crate) struct KillReport {
    /// Lines acknowledged by then.
    pub(crate) acknowledged: u64,
    pub(crate) phase: &'static str,
    /// How long the child had lived.
    pub(crate) age: Duration,
    /// From the next start to the moment when the child accepts connections; none if it was killed
    /// before.
    pub(crate) ready: Option<Duration>,
    /// From the next start to its first acknowledgement.
    pub(crate) first_ack: Option<Duration>,
    /// Lines sent again because their acknowledgement was lost or never given.
    pub(crate) resent: u64,
    pub(crate) recovered_from: String,
}

/// Prints everything.
pub(crate) fn print(report: &Report, verdict: &Verdict, out: &mut Output) -> Result<()> {
    let mut kills = output::table(&[
        "#kill",
        "#at line",
        "when",
        "#lived",
        "#started",
        "#first ack",
        "#sent again",
        "recovered from",
    ]);
    for (index, kill) in report.kills.iter().enumerate() {
        let time = |time: Option<Duration>| time.map_or("-".to_owned(), millis);
        kills.add_row([
            (index + 1).to_string(),
            grouped(kill.acknowledged),
            kill.phase.to_owned(),
            millis(kill.age),
            time(kill.ready),
            time(kill.first_ack),
            grouped(kill.resent),
            kill.recovered_from.clone(),
        ]);
    }
    out.line(render(&kills))?;
    out.line("")?;
    for (name, value) in rows(report, verdict) {
        out.line(format!("{name:<26} {value}"))?;
    }
    for word in &verdict.examples {
        out.line(format!(
            "  {:?} was counted {} times instead of {}",
            word.word, word.is, word.should_be
        ))?;
    }
    out.line("")?;
    out.line(if verdict.is_clean() {
        "OK: everything acknowledged was counted exactly once"
    } else {
        "FAILED: the count is wrong"
    })
}

fn rows(report: &Report, verdict: &Verdict) -> Vec<(&'static str, String)> {
    let Status {
        batches,
        replayed,
        checkpoints,
        records,
        flushes,
        duplicates,
        first_lsn,
        end_lsn,
    } = report.done;
    let per_second = u128::from(report.acknowledged) * 1000 / report.took.as_millis().max(1);
    let tenths = (records * 10).checked_div(flushes).unwrap_or(0);
    let invented = (verdict.invented > 0).then(|| ("lines never sent", grouped(verdict.invented)));
    let rows = vec![
        (
            "lines sent",
            format!(
                "{} (and {} of them again)",
                grouped(report.sent),
                grouped(report.resent)
            ),
        ),
        ("lines acknowledged", grouped(report.acknowledged)),
        ("lines lost", grouped(verdict.lost)),
        ("lines counted twice", grouped(verdict.twice)),
        ("lines in output files", grouped(verdict.written)),
        (
            "words compared",
            format!(
                "{} ({} distinct)",
                grouped(verdict.words),
                grouped(verdict.distinct)
            ),
        ),
        ("words with a wrong count", grouped(verdict.wrong)),
        (
            "kills (SIGKILL)",
            format!("{} (seed {})", report.kills.len(), report.seed),
        ),
        ("retries recognised", grouped(duplicates)),
        (
            "batches",
            format!(
                "{} ({} of them replayed)",
                grouped(batches),
                grouped(replayed)
            ),
        ),
        ("checkpoints", grouped(checkpoints)),
        ("log written", bytes(end_lsn)),
        ("log truncated", bytes(first_lsn)),
        (
            "records per flush",
            format!("{}.{}", tenths / 10, tenths % 10),
        ),
        (
            "time",
            format!("{} ({per_second} lines/s)", millis(report.took)),
        ),
    ];
    rows.into_iter().chain(invented).collect()
}
