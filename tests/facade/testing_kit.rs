//! `highwater::testing`, as a user has it: it passes what is right, and it objects to pipelines
//! and engines that are wrong on purpose.
#![allow(
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "test code, which reads the lists of saved cuts"
)]

use highwater::disk::Access;
use highwater::prelude::*;
use highwater::testing::{
    Collector, CrashFailure, CrashMatrix, Input, Pipeline, TestContext, crash_matrix, records,
};
use highwater::{BoxError, Builder, Cheat, StateSpec};
use std::io::ErrorKind;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A running count of words.
fn word_count(lines: &DStream<String>) -> DStream<(String, u64)> {
    let words = lines.flat_map(|line: String| {
        let words = line.split(' ').map(str::to_owned);
        words.collect::<Vec<_>>()
    });
    words.map(|word| (word, 1_u64)).update_state_by_key_changed(
        "counts",
        |_, ones: &[u64], total: &mut Option<u64>| {
            *total.get_or_insert(0) += ones.iter().sum::<u64>();
        },
    )
}

fn counts(ssc: &StreamScope, out: &Collector) -> Result<(), BoxError> {
    let counts = word_count(&ssc.input::<String>("lines"));
    out.collect("counts", &counts);
    let lines = counts.map(|(word, n)| format!("{word} {n}"));
    lines.save_as_text_files("files", "/out/counts");
    Ok(())
}

/// Eight batches; the log rotates, and checkpoints truncate it.
fn lines() -> Input {
    let pad = "x".repeat(4_000);
    (0..8_u32).fold(Input::new(), |input, n| {
        let lines = [format!("a b{} {pad}", n % 3), format!("a c{n}")];
        match n {
            5 => input.empty_batches(1),
            _ => input.batch([records::<String>("lines", lines)]),
        }
    })
}

fn one() -> [NonZeroUsize; 1] {
    [NonZeroUsize::MIN]
}

#[test]
fn a_pipeline_that_is_right_survives_every_cut() {
    let report = crash_matrix(counts, &lines());
    assert!(report.operations > 300, "{report}");
    assert_eq!(
        report.cuts, report.operations,
        "every operation of both runs"
    );
    assert!(report.cuts_in_recovery > 20, "{report}");
    assert!(report.to_string().contains("power cuts at"));
}

/// Windows, timeouts and counters are states like any other.
#[test]
fn windows_timeouts_and_counters_are_compared_too() {
    let pipeline = |ssc: &StreamScope, out: &Collector| {
        let seen = ssc.counter("seen");
        let keys = ssc.input::<u64>("n").map(move |n| {
            seen.add(1);
            (n % 3, n)
        });
        let second = Duration::from_secs(1);
        let window = keys.reduce_by_key_and_window("window", |a, b| a + b, second * 3, second);
        out.collect("window", &window);
        let spec = StateSpec::new(
            |_, key: &u64, n: Option<u64>, state: &mut KeyState<'_, u64>| {
                if state.is_timing_out() {
                    return Some((*key, 0));
                }
                let sum = state.get().copied().unwrap_or(0) + n.unwrap_or(0);
                state.update(sum);
                Some((*key, sum))
            },
        );
        let sums = keys.map_with_state_spec("sums", spec.timeout(second * 2));
        out.collect("sums", &sums.flat_map(|record| record));
        Ok(())
    };
    let input = Input::new()
        .batch([records::<u64>("n", 0_u64..7)])
        .empty_batches(4)
        .batch([records::<u64>("n", [1_u64, 5])])
        .batch([]);
    let report = crash_matrix(pipeline, &input);
    assert!(report.cuts > 100, "{report}");
}

fn failure(pipeline: Pipeline, list: &Path) -> CrashFailure {
    let matrix = CrashMatrix::new(pipeline, &lines()).workers(one());
    *matrix.save_failures_in(list).run().unwrap_err()
}

/// A closure that is not a function of its input answers otherwise when a batch is replayed.
fn impure() -> Pipeline {
    let calls = Arc::new(AtomicU64::new(0));
    Pipeline::new(move |ssc, out| {
        let calls = Arc::clone(&calls);
        let numbered = ssc.input::<String>("lines").map(move |_| {
            let call = calls.fetch_add(1, Ordering::Relaxed);
            ("all".to_owned(), call)
        });
        let sums = numbered.update_state_by_key_changed(
            "sums",
            |_, new: &[u64], sum: &mut Option<u64>| {
                *sum.get_or_insert(0) += new.iter().sum::<u64>()
            },
        );
        out.collect("sums", &sums);
        Ok(())
    })
}

#[test]
fn an_impure_closure_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let found = failure(impure(), &dir.path().join("list.txt"));
    assert_eq!(found.cut, None, "{found}");
    assert!(
        found.what.contains("two undisturbed runs differ"),
        "{found}"
    );
}

/// A file that is appended to batch by batch has a batch twice after a crash.
fn appending() -> Pipeline {
    Pipeline::new(|ssc, _| {
        let lines = ssc.input::<String>("lines");
        lines.sink("append", Appending::default());
        Ok(())
    })
}

#[derive(Default)]
struct Appending {
    disk: Option<Arc<dyn highwater::disk::Disk>>,
}

impl highwater::Sink<String> for Appending {
    fn guarantee(&self) -> highwater::Guarantee {
        highwater::Guarantee::Transactional // which is not true
    }
    fn open(&mut self, context: &highwater::SinkContext) -> Result<(), BoxError> {
        self.disk = Some(Arc::clone(&context.disk));
        Ok(())
    }
    fn stage(&mut self, batch: &Batch, records: Vec<String>) -> Result<(), BoxError> {
        let disk = self.disk.as_ref().expect("the sink is open");
        let path = Path::new("/appended");
        let file = match disk.open(path, Access::ReadWrite) {
            Ok(file) => file,
            Err(e) if e.kind() == ErrorKind::NotFound => disk.create_new(path)?,
            Err(e) => return Err(e.into()),
        };
        let line = format!("{batch} {}\n", records.len());
        assert_eq!(file.write_at(line.as_bytes(), file.len()?)?, line.len());
        file.sync()?;
        disk.sync_dir(Path::new("/"))?;
        Ok(())
    }
}

/// The cut is saved, with its operation, and tried first the next time.
#[test]
fn a_sink_that_appends_is_found_and_the_cut_is_saved() {
    let dir = tempfile::tempdir().unwrap();
    let list = dir.path().join("cuts").join("appending.txt");
    let first = failure(appending(), &list);
    assert!(first.what.contains("/appended"), "{first}");
    assert!(first.cut.is_some_and(|cut| cut > 0), "{first}");
    assert!(first.operation.contains('/'), "{first}");
    let saved = std::fs::read_to_string(&list).unwrap();
    assert_eq!(saved.lines().count(), 1, "{saved}");
    assert!(
        saved.contains(&format!("cut {} #", first.cut.unwrap())),
        "{saved}"
    );

    // A cut further on that fails as well, put into the list by hand, comes first.
    let later = (first.cut.unwrap() + 1..).find(|at| {
        let line = format!("seed 7 workers 1 cut {at}\n{saved}");
        std::fs::write(&list, line).unwrap();
        failure(appending(), &list).cut == Some(*at)
    });
    assert!(later.is_some());

    std::fs::write(&list, "seed 7 workers one\n").unwrap();
    let refused = failure(appending(), &list);
    assert!(refused.what.contains("this is no cut"), "{refused}");
}

/// Engines that cheat, as those of the rigs of the engine itself.
#[test]
fn an_engine_that_cheats_is_found() {
    for cheat in [Cheat::PublishBeforeCommit, Cheat::TruncateBeforeCheckpoint] {
        let dir = tempfile::tempdir().unwrap();
        let cheating = Pipeline::new(counts).configure(move |b: Builder| b.cheat(cheat));
        let found = failure(cheating, &dir.path().join("list.txt"));
        assert!(found.cut.is_some(), "{cheat:?}: {found}");
    }
}

#[test]
fn what_proves_nothing_is_refused() {
    let refused = |pipeline: Pipeline, input: &Input| {
        let matrix = CrashMatrix::new(pipeline, input).workers(one());
        matrix.run().unwrap_err().to_string()
    };
    let without_input = refused(Pipeline::new(counts), &Input::new().empty_batches(3));
    assert!(without_input.contains("no records"), "{without_input}");
    let silent = Pipeline::new(|ssc, _| {
        let lines = ssc.input::<String>("lines");
        lines.for_each_batch("nothing", |_, _: Vec<String>| {});
        Ok(())
    });
    let silent = refused(silent, &lines());
    assert!(silent.contains("nothing is proven"), "{silent}");
    let broken = Pipeline::new(|ssc, out| {
        out.collect("out", &ssc.input::<u64>("other"));
        Ok(())
    });
    let broken = refused(broken, &lines());
    assert!(broken.contains("no input \"lines\""), "{broken}");
}

#[test]
fn cuts_are_bounded_and_spread() {
    let matrix = CrashMatrix::new(Pipeline::new(counts), &lines()).workers(one());
    let all = matrix.run().unwrap();
    let few = CrashMatrix::new(Pipeline::new(counts), &lines());
    let few = few.workers(one()).max_cuts(20).run().unwrap();
    assert_eq!(few.operations, all.operations);
    assert!((10..=20).contains(&few.cuts), "{few}");
}

/// Step by step: what was acknowledged and not processed is there after each kind of end.
#[test]
fn a_context_is_killed_cut_and_stopped_and_goes_on() {
    let mut test = TestContext::start(Pipeline::new(counts)).unwrap();
    let line = |text: &str| [records::<String>("lines", [text])];
    test.run_batch(line("a")).unwrap();
    test.send(line("a")).unwrap();
    test.kill();
    assert!(test.context().unwrap_err().to_string().contains("off"));
    assert!(test.send(line("a")).is_err());
    test.restart().unwrap();
    test.run_batch([]).unwrap();
    test.send(line("a")).unwrap();
    test.cut_power(3);
    test.restart().unwrap();
    test.run_batch(line("a b")).unwrap();
    test.stop().unwrap();
    test.restart().unwrap();
    test.run_batch(line("b")).unwrap();
    let counts = test.output::<(String, u64)>("counts");
    let all: Vec<Vec<(&str, u64)>> = counts
        .values()
        .map(|batch| {
            let mut batch: Vec<_> = batch.iter().map(|(word, n)| (word.as_str(), *n)).collect();
            batch.sort_unstable();
            batch
        })
        .collect();
    // The stop cuts a batch of its own.
    let expected: [&[(&str, u64)]; 5] = [
        &[("a", 1)],
        &[("a", 2)],
        &[("a", 4), ("b", 1)],
        &[],
        &[("b", 2)],
    ];
    assert_eq!(all, expected);
}

/// A deployment: another program on the same directory.
#[test]
fn another_program_goes_on_with_the_state() {
    let mut test = TestContext::start(Pipeline::new(counts)).unwrap();
    test.run_batch([records::<String>("lines", ["a a"])])
        .unwrap();
    test.stop().unwrap();
    test.replace(Pipeline::new(|ssc, out| {
        let doubled = word_count(&ssc.input::<String>("lines")).map(|(word, n)| (word, 2 * n));
        out.collect("doubled", &doubled);
        Ok(())
    }));
    test.restart().unwrap();
    let batch = test.run_batch([records::<String>("lines", ["a"])]).unwrap();
    let doubled = test.output::<(String, u64)>("doubled");
    assert_eq!(doubled[&batch.id], [("a".to_owned(), 6)]);
}

/// A batch of the test may have more records than a tenth of a second.
#[test]
fn a_rate_does_not_bound_the_input_of_a_test() {
    let pipeline = Pipeline::new(|ssc: &StreamScope, out: &Collector| {
        let numbers = ssc.input::<u64>("numbers").max_rate(10);
        out.collect("numbers", &numbers);
        Ok(())
    });
    let mut test = TestContext::start(pipeline).unwrap();
    test.run_batch([records::<u64>("numbers", 0_u64..50)])
        .unwrap();
    assert_eq!(test.output::<u64>("numbers")[&1].len(), 50);
}

#[test]
#[should_panic(expected = "no output \"count\" is collected (there is: counts)")]
fn an_output_that_is_not_there_is_named() {
    let test = TestContext::start(Pipeline::new(counts)).unwrap();
    let _ = test.output::<(String, u64)>("count");
}
