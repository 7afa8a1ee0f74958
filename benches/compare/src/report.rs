//! The tables, as markdown.

use crate::engines::NOT_RANKED;
use crate::results::{DurableCell, Rank, Results, Summary};
use crate::trace::Seen;

/// Prints everything but the machine and the targets.
pub fn print(results: &Results) {
    print_engines(results);
    print_durable(results);
    print_without_sync(results);
    print_replay(results);
}

fn print_engines(results: &Results) {
    println!("\n## Who takes part\n");
    println!("| | role | setting | calls per durable append, 1 thread (strace) |");
    println!("|---|---|---|---|");
    for engine in &results.engines {
        let role = format!("{:?}", engine.role).to_lowercase();
        let calls = match &engine.calls {
            None => "not watched: needs strace and `--parts trace`".to_owned(),
            Some(seen) if seen.syncs_each() => seen.to_string(),
            Some(seen) => format!("**{seen}: not ranked**"),
        };
        println!(
            "| {} | {role} | {} | {calls} |",
            engine.name, engine.setting
        );
    }
    for (name, reason) in NOT_RANKED {
        println!("| {name} | not run, not ranked | {reason} | |");
    }
}

fn print_durable(results: &Results) {
    let mut last = None;
    for cell in &results.durable {
        let shape = (cell.size, cell.threads);
        if last != Some(shape) {
            last = Some(shape);
            println!(
                "\n## Durable appends, {}, {}\n",
                bytes(cell.size),
                threads(cell.threads)
            );
            println!(
                "| | appends/s | records per flush | p50 µs | p99 µs | p99.9 µs | max µs | calls seen |"
            );
            println!("|---|---|---|---|---|---|---|---|");
        }
        print_durable_row(results, cell);
    }
}

fn print_durable_row(results: &Results, cell: &DurableCell) {
    let runs = || cell.runs.iter();
    let per_flush = Summary::of(runs().filter_map(|r| per_flush(r.records, r.flushes)));
    let per_flush = match results.rank(cell) {
        Rank::Ranked => per_flush.map_or("FUA".to_owned(), |s| spread(s, |v| format!("{v:.2}"))),
        Rank::NoFlush => "no flush: not ranked".to_owned(),
        Rank::Unknown => "not counted: not ranked".to_owned(),
    };
    let latency = |values: Summary| format!("{:.0}", values.median);
    let columns = [
        Summary::of(runs().map(|r| r.p50_us)),
        Summary::of(runs().map(|r| r.p99_us)),
        Summary::of(runs().map(|r| r.p999_us)),
        Summary::of(runs().map(|r| r.max_us)),
    ];
    let columns = columns.map(|c| c.map_or(String::new(), latency));
    let rate = Summary::of(runs().map(|r| r.per_second));
    println!(
        "| {} | {} | {per_flush} | {} | {} |",
        cell.engine,
        rate.map_or(String::new(), |s| spread(s, count)),
        columns.join(" | "),
        results
            .calls(cell.engine)
            .map_or("-".to_owned(), Seen::to_string)
    );
}

/// Records that shared one flush of the device, if it flushed at all.
pub fn per_flush(records: u64, flushes: Option<u64>) -> Option<f64> {
    let flushes = flushes.filter(|f| *f > 0)?;
    Some(records as f64 / flushes as f64)
}

fn print_without_sync(results: &Results) {
    if results.without_sync.is_empty() {
        return;
    }
    println!("\n## Appends without sync\n");
    println!("| | record | threads | appends/s, all threads | MiB/s |");
    println!("|---|---|---|---|---|");
    for cell in &results.without_sync {
        let Some(rate) = Summary::of(cell.runs.iter().copied()) else {
            continue;
        };
        println!(
            "| {} | {} | {} | {} | {:.0} |",
            cell.engine,
            bytes(cell.size),
            cell.threads,
            spread(rate, count),
            rate.median * cell.size as f64 / f64::from(1 << 20)
        );
    }
}

fn print_replay(results: &Results) {
    if results.replay.is_empty() {
        return;
    }
    println!("\n## Opening after a crash, and replay\n");
    println!("| | log | open ms | replay GiB/s | checked and handed out | result hash |");
    println!("|---|---|---|---|---|---|");
    for cell in &results.replay {
        let facts = results.engines.iter().find(|e| e.name == cell.engine);
        let open = Summary::of(cell.runs.iter().map(|r| r.open_ms));
        let speed = Summary::of(cell.runs.iter().map(|r| r.gib_per_second));
        println!(
            "| {} | {} MiB of {} | {} | {} | {} | {} |",
            cell.engine,
            cell.bytes >> 20,
            bytes(cell.size),
            open.map_or(String::new(), |s| spread(s, |v| format!("{v:.1}"))),
            speed.map_or(String::new(), |s| spread(s, |v| format!("{v:.2}"))),
            facts.and_then(|f| f.replays).unwrap_or_default(),
            cell.runs.first().map_or("", |r| &r.hash)
        );
    }
}

/// `median (min-max)`.
pub fn spread(summary: Summary, format: impl Fn(f64) -> String) -> String {
    format!(
        "{} ({}-{})",
        format(summary.median),
        format(summary.min),
        format(summary.max)
    )
}

fn count(value: f64) -> String {
    match value {
        v if v >= 1e6 => format!("{:.2}M", v / 1e6),
        v if v >= 1e4 => format!("{:.1}k", v / 1e3),
        v => format!("{v:.0}"),
    }
}

pub fn bytes(size: usize) -> String {
    if size >= 1024 && size.is_multiple_of(1024) {
        format!("{} KiB", size / 1024)
    } else {
        format!("{size} B")
    }
}

pub fn threads(count: u64) -> String {
    if count == 1 {
        "1 thread".to_owned()
    } else {
        format!("{count} threads")
    }
}
