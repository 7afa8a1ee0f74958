//! F53, F54, F63 through the facade: a word count with text files, the power cut before every disk
//! operation of a ten-batch run, one worker and two. State and committed files must equal the
//! uninterrupted run's, byte for byte.

use highwater::disk::{ManualClock, SimDisk};
use highwater::prelude::*;
use highwater::{BatchMode, wal};
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const BATCHES: u64 = 10;
const LINES: u64 = 2;

fn line(batch: u64, index: u64) -> String {
    let long = "pad".repeat(100);
    format!("all b{} w{} {long}", batch % 3, (batch * LINES + index) % 5)
}

/// What is left when everything is over: the visible files, and the counts of the last batch.
type Outcome = (BTreeMap<PathBuf, String>, Vec<(String, u64)>);

fn live(disk: &SimDisk, workers: usize) -> highwater::Result<Vec<(String, u64)>> {
    let last = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&last);
    // The clock stands at the same time in each life, so that file names can be compared.
    let clock = Arc::new(ManualClock::new(1_700_000_000_000));
    let context = StreamingContext::builder("/app")
        .disk(Arc::new(disk.clone()))
        .clock(clock)
        .log(
            wal::Options::new()
                .segment_size(8 << 10)
                .background(wal::Background::Inline),
        )
        .batches(BatchMode::Manual)
        .batch_interval(Duration::from_secs(1))
        .checkpoint(CheckpointPolicy::every_batches(3))
        .workers(NonZeroUsize::new(workers).unwrap())
        .seed(7) // the order of keys follows from the hash seed of the directory
        .key_groups(8)
        .get_or_create(move |ssc| {
            let counts = ssc
                .input::<String>("lines")
                .flat_map_into(|line: String, out| {
                    line.split(' ').for_each(|w| out.emit(w.to_owned()))
                })
                .map(|word| (word, 1_u64))
                .update_state_by_key("counts", |_, new, total: &mut Option<u64>| {
                    *total = Some(total.unwrap_or(0) + new.iter().sum::<u64>());
                });
            counts
                .map(|(word, count)| format!("{word} {count}"))
                .save_as_text_files("files", "/out/counts");
            counts.for_each_batch("last", move |_, records| *seen.lock().unwrap() = records);
            Ok(())
        })?;
    context.start()?;
    let input = context.input::<String>("lines")?;
    for batch in context.progress().last_batch.unwrap_or(0) + 1..=BATCHES {
        for index in 0..LINES {
            input
                .send_once("client", batch * LINES + index, &line(batch, index))?
                .wait()?;
        }
        context.run_batch()?;
    }
    context.stop(StopMode::Graceful)?;
    let last = last.lock().unwrap().clone();
    Ok(last)
}

/// The output. (Its marker holds the identity of the log, which is another one each time.)
fn files(disk: &SimDisk) -> BTreeMap<PathBuf, String> {
    let found = disk.files().into_iter().filter(|f| f.starts_with("/out"));
    let (marker, found): (Vec<_>, Vec<_>) =
        found.partition(|f| f == Path::new("/out/.counts.highwater"));
    assert_eq!(marker.len(), 1, "the output says whose it is");
    found
        .into_iter()
        .map(|f| {
            (
                f.clone(),
                String::from_utf8(disk.read_file(&f).unwrap()).unwrap(),
            )
        })
        .collect()
}

fn uninterrupted(workers: usize) -> (Outcome, u64) {
    let disk = SimDisk::new();
    let last = live(&disk, workers).unwrap();
    let files = files(&disk);
    assert!(files.len() as u64 >= BATCHES, "{:?}", files.keys());
    ((files, last), disk.mutations())
}

/// Files of the ten batches; a later life adds those of its own final batches.
fn of_the_batches(files: &BTreeMap<PathBuf, String>) -> BTreeMap<PathBuf, String> {
    let number = |path: &PathBuf| {
        path.to_string_lossy()
            .rsplit('-')
            .next()?
            .parse::<u64>()
            .ok()
    };
    files
        .iter()
        .filter(|(p, _)| number(p).is_none_or(|n| n <= BATCHES))
        .map(|(p, t)| (p.clone(), t.clone()))
        .collect()
}

fn cut_everywhere(workers: usize) {
    let ((expected, counts), mutations) = uninterrupted(workers);
    let expected = of_the_batches(&expected);
    for cut in 0..mutations {
        let disk = SimDisk::new();
        disk.cut_power_before(cut);
        let _ = live(&disk, workers);
        let disk = disk.restart_after_power_cut(cut);
        let last = live(&disk, workers).unwrap_or_else(|e| panic!("cut before {cut}: {e}"));
        assert_eq!(
            of_the_batches(&files(&disk)),
            expected,
            "files after a cut before mutation {cut}"
        );
        assert_eq!(last, counts, "state after a cut before mutation {cut}");
        // What was published is durable: it is there after another cut.
        disk.cut_power_now();
        let disk = disk.restart_after_power_cut(cut + 1);
        assert_eq!(
            of_the_batches(&files(&disk)),
            expected,
            "files after a second cut, {cut}"
        );
    }
}

#[test]
fn one_worker() {
    cut_everywhere(1);
}

#[test]
fn two_workers() {
    cut_everywhere(2);
}

#[test]
fn the_number_of_workers_changes_no_byte() {
    assert_eq!(uninterrupted(1).0, uninterrupted(3).0);
}
