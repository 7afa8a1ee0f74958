//! What a Prometheus server would scrape: every metric has a help text and buckets, and `promtool`
//! finds nothing to object to. The alerts of `docs/alerts` name metrics that exist, and do what
//! their tests say.
//!
//! `promtool` comes with Prometheus; without it that part prints that it is skipped.

use highwater::disk::SimDisk;
use highwater::metrics::{self, MetricKind, SECONDS_BUCKETS};
use highwater::prelude::*;
use highwater::{BatchMode, OutputRetry};
use highwater_ui::{DOOR_METRICS, Ui, UiOptions};
use metrics_exporter_prometheus::PrometheusBuilder;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

/// A program that does a little of everything.
fn run() {
    let failures = std::sync::atomic::AtomicU64::new(0);
    let context = StreamingContext::builder("/app")
        .disk(Arc::new(SimDisk::new()))
        .batches(BatchMode::Manual)
        .checkpoint(CheckpointPolicy::every_batches(1))
        .back_pressure(true)
        .output_retry(OutputRetry::forever().waits(Duration::ZERO, Duration::ZERO))
        .get_or_create(move |ssc| {
            let numbers = ssc.input::<u64>("numbers").on_error(ErrorPolicy::Skip);
            let small = numbers.try_map(|n: u64| (n < 90).then_some((n, 1_u64)).ok_or("too large"));
            small
                .named("small")
                .update_state_by_key("seen", |_, _, state: &mut Option<u64>| *state = Some(1))
                .for_each_batch("out", move |_, _| {
                    match failures.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
                        0 => Err("on purpose"),
                        _ => Ok(()),
                    }
                });
            Ok(())
        })
        .unwrap();
    let page = context.ui("127.0.0.1:0", UiOptions::new()).unwrap();
    ask(page.local_addr());
    context.start().unwrap();
    let numbers: Vec<u64> = (0..100).collect();
    let input = context.input::<u64>("numbers").unwrap();
    input.send_all(&numbers).unwrap().wait().unwrap();
    context.run_batch().unwrap();
    let _ = context.log().stats(); // as one does before a scrape
    context.stop(StopMode::Graceful).unwrap();
}

/// A request that the page answers, and one that it has nothing for.
fn ask(addr: SocketAddr) {
    for path in ["/health/live", "/nothing"] {
        let mut stream = TcpStream::connect(addr).unwrap();
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        stream.read_to_end(&mut Vec::new()).unwrap();
    }
}

/// Runs `promtool` on a document, or says that it is not there.
fn promtool(args: &[&str], input: &str) {
    let alerts = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/alerts");
    let mut command = Command::new("promtool");
    command.args(args).current_dir(alerts);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let Ok(mut child) = command.stderr(Stdio::piped()).spawn() else {
        eprintln!("skipped: there is no promtool (Debian: prometheus)");
        return;
    };
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success(), "promtool {args:?}: {said}");
}

#[test]
fn what_is_scraped_is_described_and_has_buckets() {
    let builder = PrometheusBuilder::new()
        .set_buckets(&SECONDS_BUCKETS)
        .unwrap();
    let handle = builder.install_recorder().unwrap();
    run();
    let text = handle.render();
    // All of these happened; the others are there when they happen.
    for expected in [
        "highwater_batches_total{application=\"highwater\"} 2",
        "highwater_output_failures_total",
        "highwater_records_skipped_total{application=\"highwater\",operator=",
        "highwater_source_records_total{application=\"highwater\",source=\"numbers\"} 100",
        "highwater_state_keys{application=\"highwater\",state=\"seen\"} 90",
        "highwater_wal_records_total{log=\"/app/log\"}",
        "highwater_build_info",
        "highwater_door_requests_total{door=\"page\",code=\"200\"} 1",
        "highwater_door_requests_total{door=\"page\",code=\"404\"} 1",
        "highwater_door_request_seconds_count{door=\"page\"} 2",
        "highwater_source_lag_records{application=\"highwater\",source=\"numbers\"} 0",
        "highwater_batch_step_seconds_count{application=\"highwater\",step=\"checkpoint\"}",
    ] {
        assert!(text.contains(expected), "{expected} in {text}");
    }
    let mut histograms = 0;
    for metric in metrics::all().chain(DOOR_METRICS) {
        let described = format!("# HELP {} {}\n", metric.name, metric.help);
        let is_there = text.contains(&format!("# TYPE {} ", metric.name));
        assert!(
            !is_there || text.contains(&described),
            "{described} in {text}"
        );
        if metric.kind == MetricKind::Histogram && is_there {
            let bucket = format!("{}_bucket{{", metric.name);
            let buckets = text
                .lines()
                .filter(|line| line.starts_with(&bucket))
                .count();
            let of_one = SECONDS_BUCKETS.len() + 1;
            assert!(buckets > 0 && buckets.is_multiple_of(of_one), "{text}");
            histograms += 1;
        }
    }
    assert!(histograms >= 4, "{histograms} in {text}");
    let names = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let names = names.filter_map(|line| line.split(' ').next());
    for name in names.filter(|name| name.starts_with("highwater_")) {
        let mut all = metrics::all().chain(DOOR_METRICS);
        let known = all.any(|metric| metric.name == name);
        assert!(known, "{name} is in no list");
    }
    promtool(&["check", "metrics"], &text);
}

#[test]
fn every_metric_says_what_it_is() {
    let mut names = std::collections::BTreeSet::new();
    for metric in metrics::all() {
        let name = metric.name;
        assert!(names.insert(name), "{name} is listed twice");
        assert!(
            metric.help.ends_with('.') || metric.help.contains("alert"),
            "{name}"
        );
        let is_total = name.ends_with("_total");
        assert_eq!(is_total, metric.kind == MetricKind::Counter, "{name}");
        let is_time = name.ends_with("_seconds");
        assert!(metric.kind != MetricKind::Histogram || is_time, "{name}");
        assert!(!name.ends_with("_ms") && !name.ends_with("_us"), "{name}");
    }
}

#[test]
fn the_alerts_name_metrics_that_exist_and_do_what_their_tests_say() {
    let rules = include_str!("../../docs/alerts/highwater.rules.yml");
    let expressions = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("expr: "));
    let mut named = 0;
    for expression in expressions {
        let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        for word in words.filter(|word| word.starts_with("highwater_")) {
            let suffix = ["_bucket", "_sum", "_count"];
            let of = suffix.iter().find_map(|suffix| word.strip_suffix(suffix));
            let known = |name: &str| metrics::all().any(|metric| metric.name == name);
            assert!(known(word) || of.is_some_and(known), "{word}");
            named += 1;
        }
    }
    assert!(named >= 12, "{named}");
    let tests = include_str!("../../docs/alerts/highwater.test.yml");
    for rule in rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
    {
        for expected in [format!("{rule}, fires"), format!("{rule}, stays quiet")] {
            assert!(tests.contains(&expected), "no test says: {expected}");
        }
    }
    promtool(&["check", "rules", "highwater.rules.yml"], "");
    promtool(&["test", "rules", "highwater.test.yml"], "");
}
