//! Crash tests of a program: what they find, what they refuse, and the line that a failure prints.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::needless_pass_by_value,
    reason = "a test fails by panicking, in its helpers too, which are what a crash test takes"
)]

use highwater_disk::sim::{CrashFailure, CrashTest, crash_test};
use highwater_disk::{Access, Disk, DiskFile, SimDisk};
use std::cell::Cell;
use std::error::Error;
use std::io;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

/// A list of bytes in a file: the simplest log there is.
struct List(Arc<dyn DiskFile>);

impl List {
    fn open(disk: &SimDisk) -> io::Result<Self> {
        if disk.read_file("/list").is_some() {
            return Ok(Self(disk.open(Path::new("/list"), Access::ReadWrite)?));
        }
        let file = disk.create_new(Path::new("/list"))?;
        disk.sync_dir(Path::new("/"))?;
        Ok(Self(file))
    }

    fn push(&self, at: usize, sync: bool) -> io::Result<()> {
        self.0.write_all_at(&[7], at as u64)?;
        if sync { self.0.sync() } else { Ok(()) }
    }
}

/// Pushes ten bytes, acknowledges each.
fn push_ten(sync: bool) -> impl Fn(Arc<SimDisk>, &mut usize) -> Outcome {
    move |disk, pushed| {
        let list = List::open(&disk)?;
        for at in 0..10 {
            list.push(at, sync)?;
            *pushed += 1;
        }
        Ok(())
    }
}

fn all_there(disk: Arc<SimDisk>, pushed: &mut usize) -> Outcome {
    let list = disk.read_file("/list").unwrap_or_default();
    let found = list.iter().take_while(|byte| **byte == 7).count();
    if found < *pushed {
        return Err(format!("{found} of {pushed} are left").into());
    }
    *pushed = found;
    Ok(())
}

/// With a recovery that has an operation of the disk.
fn all_there_and_durable(disk: Arc<SimDisk>, pushed: &mut usize) -> Outcome {
    all_there(Arc::clone(&disk), pushed)?;
    Ok(List::open(&disk)?.0.sync()?)
}

fn failure_of(test: &CrashTest<'_, usize>) -> CrashFailure {
    *test.run().unwrap_err()
}

#[test]
fn the_power_is_cut_before_each_operation_and_at_the_end() {
    let report = crash_test(push_ten(true), all_there_and_durable);
    assert_eq!((report.operations, report.cuts), (22, 23));
    assert_eq!(report.restarts, 23);
    assert!(report.cuts_in_recovery > 0, "{report}");

    let several = CrashTest::new(push_ten(true), all_there_and_durable).seeds(3..8);
    let report = several.cut_recovery_every(0).run().unwrap();
    assert_eq!((report.restarts, report.cuts_in_recovery), (115, 0));

    let few = CrashTest::new(push_ten(true), all_there_and_durable).max_cuts(5);
    let report = few.run().unwrap();
    assert_eq!((report.operations, report.cuts), (22, 5));
}

/// What it is for: an acknowledgement before the sync.
#[test]
fn an_acknowledgement_before_the_sync_is_caught_and_its_cut_can_be_repeated() {
    let broken = || CrashTest::new(push_ten(false), all_there);
    let failure = failure_of(&broken());
    assert!(failure.what.ends_with(" are left"), "{failure}");
    let operation = failure.operation.clone().unwrap();
    assert!(operation.contains(" /list"), "{operation}");
    let cut = failure.cut.clone().unwrap();
    let paste = format!(
        "HIGHWATER_CRASH=\"{cut}\" cargo test -p highwater-disk \
         an_acknowledgement_before_the_sync_is_caught_and_its_cut_can_be_repeated -- --exact"
    );
    assert_eq!(failure.paste.as_deref(), Some(&*paste));
    assert!(failure.to_string().contains(&paste), "{failure}");

    assert_eq!(failure_of(&broken().only(&cut)), failure);
    let mended = CrashTest::new(push_ten(true), all_there).only(&cut);
    let report = mended.run().unwrap();
    assert_eq!((report.cuts, report.only), (1, Some(cut)));
}

/// A recovery that is not safe itself: it takes the list apart, and puts it together.
#[test]
fn a_recovery_that_cannot_be_interrupted_is_caught() {
    let check = |disk: Arc<SimDisk>, pushed: &mut usize| {
        all_there(Arc::clone(&disk), pushed)?;
        let list = List::open(&disk)?;
        list.0.set_len(0)?;
        list.0.sync()?;
        for at in 0..*pushed {
            list.push(at, true)?;
        }
        Ok(())
    };
    let test = || CrashTest::new(push_ten(true), check);
    test().cut_recovery_every(0).seeds(0..5).run().unwrap();
    let failure = failure_of(&test().cut_recovery_every(1));
    assert!(
        failure.what.contains("a cut in the recovery ("),
        "{failure}"
    );
    let cut = failure.cut.clone().unwrap();
    assert!(cut.contains(" again="), "{cut}");
    assert_eq!(failure_of(&test().only(cut)), failure);
}

#[test]
fn a_program_that_differs_from_run_to_run_is_told_so() {
    let runs = Cell::new(0_usize);
    let restless = |disk: Arc<SimDisk>, pushed: &mut usize| {
        runs.set(runs.get() + 1);
        if runs.get() == 2 {
            disk.create_new(Path::new("/once"))?;
        }
        push_ten(true)(disk, pushed)
    };
    let failure = failure_of(&CrashTest::new(restless, all_there));
    let told = "operation 0 is Create /list in one and Create /once in the other";
    assert!(failure.what.contains(told), "{failure}");
    assert!(failure.what.contains("Background::Inline"), "{failure}");

    let longer = |disk: Arc<SimDisk>, pushed: &mut usize| {
        runs.set(runs.get() + 1);
        push_ten(true)(Arc::clone(&disk), pushed)?;
        if runs.get().is_multiple_of(2) {
            List::open(&disk)?.push(10, true)?;
        }
        Ok(())
    };
    let failure = failure_of(&CrashTest::new(longer, all_there));
    assert!(failure.what.contains("operation 22 is "), "{failure}");

    let counting = |disk: Arc<SimDisk>, pushed: &mut usize| {
        runs.set(runs.get() + 1);
        push_ten(true)(disk, pushed)?;
        *pushed -= runs.get() % 2;
        Ok(())
    };
    let failure = failure_of(&CrashTest::new(counting, all_there));
    assert!(failure.what.contains("acknowledge different"), "{failure}");
}

#[test]
fn what_proves_nothing_is_refused() {
    let says = |test: CrashTest<'_, usize>, words: &str| {
        let failure = failure_of(&test);
        assert!(failure.what.contains(words), "{failure}");
        assert_eq!((failure.cut, failure.paste), (None, None));
    };
    let idle = |_: Arc<SimDisk>, pushed: &mut usize| {
        *pushed = 1;
        Ok(())
    };
    says(CrashTest::new(idle, all_there), "makes no operation");
    let silent = |disk: Arc<SimDisk>, _: &mut usize| push_ten(true)(disk, &mut 0);
    says(CrashTest::new(silent, all_there), "acknowledges nothing");
    let failing = |_: Arc<SimDisk>, _: &mut usize| Err("no".into());
    says(CrashTest::new(failing, all_there), "fails undisturbed: no");
    let panicking = |_: Arc<SimDisk>, _: &mut usize| panic!("{}", "never");
    let words = "fails undisturbed: panicked: never";
    says(CrashTest::new(panicking, all_there), words);
    let suicidal = |disk: Arc<SimDisk>, pushed: &mut usize| {
        disk.cut_power_now();
        push_ten(true)(disk, pushed)
    };
    says(CrashTest::new(suicidal, all_there), "cuts the power itself");
    let strict = |_: Arc<SimDisk>, _: &mut usize| Err("not so".into());
    let words = "the check fails without a power cut: not so";
    says(CrashTest::new(push_ten(true), strict), words);
    let seedless = CrashTest::new(push_ten(true), all_there).seeds(3..3);
    says(seedless, "there is no seed");
    let nameless = CrashTest::new(push_ten(true), all_there).only("12");
    says(nameless, "\"12\" names no cut");
}

#[test]
fn a_cut_that_never_comes_is_told() {
    let far = CrashTest::new(push_ten(true), all_there).only("op=23 seed=0");
    let failure = failure_of(&far);
    assert!(
        failure.what.contains("ended after 22 operations"),
        "{failure}"
    );
    let end = CrashTest::new(push_ten(true), all_there).only("op=22 seed=0");
    assert_eq!(end.run().unwrap().cuts, 1);
}

/// The line that is printed runs one cut alone, in a process of its own.
#[test]
fn the_line_of_a_failure_is_followed() {
    let broken = CrashTest::new(push_ten(false), all_there);
    if std::env::var("HIGHWATER_CRASH").is_ok() {
        println!("said: {}", broken.run().unwrap_err());
        return;
    }
    let failure = failure_of(&broken);
    let line = failure.paste.as_ref().unwrap();
    let (setting, command) = line.split_once("\" ").unwrap();
    let (name, value) = setting.split_once("=\"").unwrap();
    let test = command
        .strip_prefix("cargo test -p highwater-disk ")
        .unwrap();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(test.replace(" -- ", " ").split(' '))
        .arg("--nocapture")
        .env(name, value)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(said.contains(&format!("said: {failure}")), "{said}");
    assert!(said.contains("1 passed"), "{said}");
}
