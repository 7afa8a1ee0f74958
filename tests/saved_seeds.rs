//! Failing seeds of random tests are saved, with the smallest plan that fails and the commit, and
//! tried first.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "test code, which reads the lists"
)]

#[path = "support/saved_seeds.rs"]
mod saved_seeds;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestError, TestRunner};
use saved_seeds::{SavedSeeds, all_seeds, config, each_seed, line_to_paste, seeds};
use std::cell::{Cell, RefCell};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::Command;

/// A property that fails for every program with a step of 700 and more: how many programs were
/// tried until one failed, and the smallest.
fn fail(list: &Path) -> (u32, Vec<u32>) {
    let mut runner = TestRunner::new(Config {
        cases: 10_000,
        failure_persistence: Some(Box::new(SavedSeeds::of(list.to_owned()))),
        ..Config::default()
    });
    let (tried, failed) = (Cell::new(0), Cell::new(false));
    let programs = proptest::collection::vec(0..1000_u32, 0..4);
    let outcome = runner.run(&programs, |program| {
        tried.set(tried.get() + u32::from(!failed.get()));
        if program.iter().any(|step| *step >= 700) {
            failed.set(true);
            return Err(TestCaseError::fail("a large step"));
        }
        Ok(())
    });
    match outcome {
        Err(TestError::Fail(_, smallest)) => (tried.get(), smallest),
        other => panic!("it fails: {other:?}"),
    }
}

#[test]
fn a_failing_program_is_saved_with_its_smallest_form_and_tried_first() {
    let dir = tempfile::tempdir().unwrap();
    let list = dir.path().join("seeds/rig.txt");
    let (_, smallest) = fail(&list);
    assert_eq!(smallest, [700]);
    let text = fs::read_to_string(&list).unwrap();
    let parts: Vec<&str> = text.trim_end().split(" # ").collect();
    assert!(parts[0].starts_with("cc "), "{text}");
    assert!(parts[1].starts_with("commit "), "{text}");
    assert!(
        parts[2].contains("[700]") || parts[2].contains("700"),
        "{text}"
    );

    for _ in 0..5 {
        let (tried, _) = fail(&list);
        assert_eq!(tried, 1, "the saved one comes first");
    }
    assert_eq!(
        fs::read_to_string(&list).unwrap(),
        text,
        "and is not saved again"
    );
}

#[test]
fn a_failing_seed_is_saved_with_the_fewest_steps_and_tried_first() {
    let dir = tempfile::tempdir().unwrap();
    let list = dir.path().join("seeds/rig.txt");
    let runs = RefCell::new(Vec::new());
    let run = |seed: u64, steps: u32| {
        runs.borrow_mut().push((seed, steps));
        assert!(seed != 5 || steps < 37, "seed 5 fails at step 37");
    };
    let campaign = |plan: &str| {
        runs.borrow_mut().clear();
        catch_unwind(AssertUnwindSafe(|| each_seed(&list, plan, 0..9, 120, run))).is_err()
    };
    assert!(campaign("a plan"), "the failure is not swallowed");
    let text = fs::read_to_string(&list).unwrap();
    assert!(text.starts_with("seed 5 steps 37 # commit "), "{text}");
    assert!(text.ends_with(" # a plan\n"), "{text}");

    assert!(campaign("a plan"));
    assert_eq!(*runs.borrow(), [(5, 37)], "the saved one comes first");

    // Another plan has its own seeds.
    assert!(campaign("another plan"));
    assert_eq!(runs.borrow()[0], (0, 120));
    assert_eq!(fs::read_to_string(&list).unwrap().lines().count(), 2);
}

/// What this test prints in a process of its own, with one seed alone.
fn said_with(seed: &str, test: &str) -> String {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env("HIGHWATER_SEED", seed)
        .output()
        .unwrap();
    assert!(!child.status.success(), "the seed fails again");
    format!(
        "{}{}",
        String::from_utf8_lossy(&child.stdout),
        String::from_utf8_lossy(&child.stderr)
    )
}

#[test]
fn a_failing_seed_prints_the_line_that_runs_it_alone() {
    let line = line_to_paste(5);
    if !all_seeds() {
        for seed in seeds(0..9) {
            println!("runs {seed};");
            assert_ne!(seed, 5);
        }
    }
    assert!(
        line.starts_with("HIGHWATER_SEED=\"5\" cargo test -p highwater "),
        "{line}"
    );
    let (_, test) = line.split_once("-p highwater ").unwrap();
    let test = test.strip_suffix(" -- --exact").unwrap();
    let said = said_with("5", test);
    assert!(
        said.contains("runs 5;") && !said.contains("runs 4;"),
        "{said}"
    );
    assert!(
        said.contains(&format!("this seed alone: {line}\n")),
        "{said}"
    );
}

#[test]
fn a_failing_program_of_proptest_runs_alone() {
    let dir = tempfile::tempdir().unwrap();
    let list = dir.path().join("seeds/rig.txt");
    if !all_seeds() {
        let settings = config(10_000, dir.path().to_str().unwrap(), "rig");
        let tried = Cell::new(0);
        let programs = proptest::collection::vec(0..1000_u32, 0..4);
        let outcome = TestRunner::new(settings).run(&programs, |program| {
            tried.set(tried.get() + 1);
            println!("tries {};", tried.get());
            prop_assert!(program.iter().all(|step| *step < 700));
            Ok(())
        });
        assert!(outcome.is_ok(), "it fails with {}", tried.get());
    }
    fail(&list);
    let text = fs::read_to_string(&list).unwrap();
    let seed = text.split(" # ").next().unwrap();
    let test = line_to_paste(seed);
    let (_, test) = test.split_once("-p highwater ").unwrap();
    let said = said_with(seed, test.strip_suffix(" -- --exact").unwrap());
    let failed_at = said.find("it fails with ").unwrap();
    assert!(said[..failed_at].contains("tries 1;"), "{said}");
}
