//! What Highwater wants to reach, as ratios within one run: absolute figures drift with the
//! machine.

use crate::engines::Role;
use crate::report::{bytes, per_flush, spread, threads};
use crate::results::{DurableCell, Rank, ReplayCell, Results, Summary};

const GIB: f64 = (1_u64 << 30) as f64;
const SMALL: [usize; 2] = [100, 1024];
const LARGE: usize = 16 << 10;

/// Prints the table; a target whose cells were not run is left out.
pub fn print(results: &Results) {
    let mut table = Table::default();
    durable(results, &mut table);
    without_sync(results, &mut table);
    replay(results, &mut table);
    if table.0.is_empty() {
        return;
    }
    println!("\n## Targets\n");
    println!("| highwater-wal | target | measured | against | |");
    println!("|---|---|---|---|---|");
    for row in table.0 {
        println!("{row}");
    }
}

#[derive(Default)]
struct Table(Vec<String>);

enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Table {
    fn add(&mut self, what: &str, bound: &Bound, unit: &str, measured: Summary, against: &str) {
        let (sign, limit, hit) = match *bound {
            Bound::AtLeast(limit) => ("≥", limit, measured.median >= limit),
            Bound::AtMost(limit) => ("≤", limit, measured.median <= limit),
        };
        let verdict = if hit { "hit" } else { "**missed**" };
        let measured = spread(measured, |v| format!("{v:.2}"));
        self.0.push(format!(
            "| {what} | {sign} {limit}{unit} | {measured}{unit} | {against} | {verdict} |"
        ));
    }
}

fn durable(results: &Results, table: &mut Table) {
    let ranked = |cell: &&DurableCell| results.rank(cell) == Rank::Ranked;
    for ours in cells(results, Role::Ours).filter(ranked) {
        let what = format!("{}, {}", bytes(ours.size), threads(ours.threads));
        let rival = match (ours.threads, ours.size) {
            (1, _) => Some(1.0),
            (_, LARGE) => Some(1.5),
            (8, _) => Some(1.5),
            (64, _) => Some(1.3),
            _ => None,
        };
        if let Some(target) = rival
            && let Some((ratio, who)) = ratio_to_best(results, ours, Role::Rival)
        {
            table.add(&what, &Bound::AtLeast(target), "x", ratio, &who);
        }
        if ours.threads == 8
            && SMALL.contains(&ours.size)
            && let Some((ratio, who)) = ratio_to_best(results, ours, Role::Bound)
        {
            table.add(&what, &Bound::AtLeast(0.95), "x", ratio, &who);
        }
        if ours.threads == 8
            && let Some(shared) = Summary::of(
                ours.runs
                    .iter()
                    .filter_map(|r| per_flush(r.records, r.flushes)),
            )
        {
            let what = format!("{what}: records per flush");
            table.add(&what, &Bound::AtLeast(7.0), "", shared, "");
        }
        if let Some(tail) = Summary::of(ours.runs.iter().map(|r| r.p99_us / r.p50_us)) {
            let what = format!("{what}: p99 to p50");
            table.add(&what, &Bound::AtMost(3.0), "x", tail, "itself");
        }
    }
}

fn cells(results: &Results, role: Role) -> impl Iterator<Item = &DurableCell> {
    results
        .durable
        .iter()
        .filter(move |cell| results.role(cell.engine) == Some(role))
}

/// Run by run, so that what slows the machine for a while slows both sides of a ratio.
fn ratio_to_best(results: &Results, ours: &DurableCell, role: Role) -> Option<(Summary, String)> {
    let others: Vec<&DurableCell> = cells(results, role)
        .filter(|cell| (cell.size, cell.threads) == (ours.size, ours.threads))
        .filter(|cell| results.rank(cell) == Rank::Ranked)
        .collect();
    let rate = |cell: &DurableCell| Summary::of(cell.runs.iter().map(|r| r.per_second));
    let best = others.iter().copied().max_by(|a, b| {
        let (a, b) = (rate(a).map(|s| s.median), rate(b).map(|s| s.median));
        a.partial_cmp(&b).expect("rates are numbers")
    })?;
    let ratios = ours.runs.iter().enumerate().filter_map(|(run, mine)| {
        let rivals = others.iter().filter_map(|cell| cell.runs.get(run));
        let fastest = rivals.map(|r| r.per_second).max_by(f64::total_cmp)?;
        Some(mine.per_second / fastest)
    });
    Some((Summary::of(ratios)?, best.engine.to_owned()))
}

fn without_sync(results: &Results, table: &mut Table) {
    let ours = |size: usize, threads: u64| {
        results.without_sync.iter().find(|cell| {
            results.role(cell.engine) == Some(Role::Ours)
                && (cell.size, cell.threads) == (size, threads)
        })
    };
    if let Some(cell) = ours(100, 1)
        && let Some(rate) = Summary::of(cell.runs.iter().map(|r| r / 1e6))
    {
        let what = "without sync, 100 B, 1 thread";
        table.add(what, &Bound::AtLeast(8.0), " M/s", rate, "");
    }
    for size in SMALL {
        if let (Some(one), Some(two)) = (ours(size, 1), ours(size, 2))
            && let Some(ratio) = Summary::of(two.runs.iter().zip(&one.runs).map(|(t, o)| t / o))
        {
            let what = format!("without sync, {}, 2 threads in total", bytes(size));
            table.add(&what, &Bound::AtLeast(1.0), "x", ratio, "itself, 1 thread");
        }
    }
    if let Some(cell) = ours(1024, 1)
        && let Some(speed) = Summary::of(cell.runs.iter().map(|r| r * 1024.0 / GIB))
    {
        let what = "without sync, 1 KiB, 1 thread";
        table.add(what, &Bound::AtLeast(2.5), " GiB/s", speed, "");
    }
}

fn replay(results: &Results, table: &mut Table) {
    let ours: Vec<&ReplayCell> = results
        .replay
        .iter()
        .filter(|cell| results.role(cell.engine) == Some(Role::Ours))
        .collect();
    let log = |cell: &ReplayCell| format!("{} MiB of {}", cell.bytes >> 20, bytes(cell.size));
    for cell in &ours {
        if let Some(open) = Summary::of(cell.runs.iter().map(|r| r.open_ms)) {
            let what = format!("open after a crash, {}", log(cell));
            table.add(&what, &Bound::AtMost(30.0), " ms", open, "");
        }
    }
    // The long log need not fit the page cache: it shows how opening grows, not how fast replay is.
    if let Some(cell) = ours.first()
        && let Some(speed) = Summary::of(cell.runs.iter().map(|r| r.gib_per_second))
    {
        let what = format!("replay, {}", log(cell));
        table.add(&what, &Bound::AtLeast(5.0), " GiB/s", speed, "");
    }
    if let [short, long] = ours[..] {
        let runs = long.runs.iter().zip(&short.runs);
        if let Some(growth) = Summary::of(runs.map(|(l, s)| l.open_ms / s.open_ms)) {
            let what = format!("open after a crash, {}", log(long));
            let against = format!("itself, {}", log(short));
            table.add(&what, &Bound::AtMost(1.5), "x", growth, &against);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::tests::of;

    #[test]
    fn the_best_rival_is_the_fastest_that_flushed() {
        let results = of(&[
            ("ours", Role::Ours, 300.0, 80, Some(10)),
            ("slow", Role::Rival, 100.0, 80, Some(10)),
            ("honest", Role::Rival, 200.0, 80, Some(10)),
            ("liar", Role::Rival, 900.0, 80, Some(1)),
            ("bound", Role::Bound, 400.0, 80, Some(10)),
        ]);
        let ours = &results.durable[0];
        let (ratio, who) = ratio_to_best(&results, ours, Role::Rival).expect("a rival");
        assert_eq!((ratio.median, who.as_str()), (1.5, "honest"));
        let mut table = Table::default();
        durable(&results, &mut table);
        let table = table.0.join("\n");
        assert!(
            table.contains("≥ 1.5x | 1.50 (1.50-1.50)x | honest | hit"),
            "{table}"
        );
        assert!(
            table.contains("≥ 0.95x | 0.75 (0.75-0.75)x | bound | **missed**"),
            "{table}"
        );
    }

    #[test]
    fn without_flushes_of_our_own_no_target_is_judged() {
        let results = of(&[
            ("ours", Role::Ours, 300.0, 800, Some(10)),
            ("honest", Role::Rival, 200.0, 80, Some(10)),
        ]);
        let mut table = Table::default();
        durable(&results, &mut table);
        assert!(table.0.is_empty(), "{:?}", table.0);
    }
}
