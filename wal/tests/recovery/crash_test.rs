//! A key-value store of a user, crash-tested in ten lines; and broken ones, which are caught.

use highwater_wal::disk::sim::{CrashFailure, CrashTest};
use highwater_wal::disk::{Disk, SimDisk, crash_test};
use highwater_wal::{Background, Lsn, Options, Result, StreamId, Wal, WalError};
use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;

type Values = BTreeMap<String, String>;

/// When a store says that a change is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Promise {
    /// After the sync.
    Kept,
    /// Before it.
    Early,
    /// Of every tenth change before it.
    SometimesEarly,
}

/// A map in memory, and the log from which it is rebuilt.
struct Store {
    log: Wal,
    values: Values,
    promise: Promise,
    changes: u64,
}

impl Store {
    fn open(disk: Arc<dyn Disk>, promise: Promise) -> Result<Self> {
        let options = Options::new().disk(disk).background(Background::Inline);
        let log = Wal::open_with("/store", options.segment_size(8 << 10))?;
        let mut values = Values::new();
        for record in log.read_from(Lsn::ZERO)? {
            let record = record?;
            if record.stream == SNAPSHOT {
                values.clear();
            }
            apply(&mut values, &String::from_utf8_lossy(&record.payload));
        }
        Ok(Self {
            log,
            values,
            promise,
            changes: 0,
        })
    }

    fn change(&mut self, record: &str) -> Result<()> {
        let lsn = self.log.append(record)?;
        self.changes += 1;
        let early = match self.promise {
            Promise::Kept => false,
            Promise::Early => true,
            Promise::SometimesEarly => self.changes.is_multiple_of(10),
        };
        if !early {
            self.log.sync_to(lsn)?;
        }
        apply(&mut self.values, record);
        Ok(())
    }

    /// Writes all values anew, and frees what is older.
    fn compact(&mut self) -> Result<()> {
        let pairs = self.values.iter().map(|(k, v)| format!("{k}={v}"));
        let all = pairs.collect::<Vec<_>>().join("\n");
        let snapshot = self.log.append_to(SNAPSHOT, all)?;
        self.log.sync_to(snapshot)?;
        self.log.truncate_before(snapshot)
    }
}

const SNAPSHOT: StreamId = StreamId(1);

/// Lines of "key=value", or "key" alone for one that is deleted.
fn apply(values: &mut Values, record: &str) {
    for line in record.lines() {
        match line.split_once('=') {
            Some((key, value)) => drop(values.insert(key.to_owned(), value.to_owned())),
            None => drop(values.remove(line)),
        }
    }
}

fn changes() -> Vec<String> {
    let two = |n: u32| [format!("{}={n:0100}", n % 7), format!("{}", n % 5)];
    (0..60).flat_map(two).collect()
}

fn after(changes: usize) -> Values {
    let mut values = Values::new();
    let all = self::changes();
    all.iter().take(changes).for_each(|c| apply(&mut values, c));
    values
}

type Outcome = std::result::Result<(), Box<dyn Error + Send + Sync>>;

fn program(promise: Promise) -> impl Fn(Arc<SimDisk>, &mut usize) -> Outcome {
    move |disk, changed| {
        let mut store = Store::open(disk, promise)?;
        for change in changes() {
            store.change(&change)?;
            *changed += 1;
            if changed.is_multiple_of(25) {
                store.compact()?;
            }
        }
        Ok(())
    }
}

fn check(disk: Arc<SimDisk>, changed: &mut usize) -> Outcome {
    let mut store = Store::open(disk, Promise::Kept)?;
    let there = (*changed..=changes().len()).find(|n| after(*n) == store.values);
    *changed = there.ok_or("an acknowledged change is lost")?;
    // It goes on, too.
    if let Some(next) = changes().get(*changed) {
        store.change(next)?;
        *changed += 1;
    }
    store.compact()?;
    Ok(())
}

#[test]
fn a_store_on_the_log_survives_every_power_cut() {
    let report = crash_test(program(Promise::Kept), check);
    println!("{report}");
    assert!(report.cuts > 150, "{report}");
    assert!(report.cuts_in_recovery > 40, "{report}");
    let several = CrashTest::new(program(Promise::Kept), check).seeds(0..3);
    let report = several.cut_recovery_every(1).run().unwrap();
    assert_eq!(report.cuts_in_recovery, 3 * report.cuts);
}

/// Each of these is caught, with a cut that can be made again.
#[test]
fn a_store_that_promises_too_early_is_caught() {
    for promise in [Promise::Early, Promise::SometimesEarly] {
        let test = || CrashTest::new(program(promise), check);
        let failure: CrashFailure = *test().run().unwrap_err();
        assert!(failure.what.ends_with("change is lost"), "{failure}");
        let operation = failure.operation.as_ref().unwrap();
        assert!(operation.contains("/store/"), "{operation}");
        let paste = failure.paste.as_ref().unwrap();
        assert!(paste.starts_with("HIGHWATER_CRASH=\"op="), "{paste}");
        assert!(paste.ends_with(
            "-p highwater-wal crash_test::a_store_that_promises_too_early_is_caught -- --exact"
        ));
        let cut = failure.cut.clone().unwrap();
        assert_eq!(*test().only(&cut).run().unwrap_err(), failure);
        CrashTest::new(program(Promise::Kept), check)
            .only(cut)
            .run()
            .unwrap();
    }
}

/// The ordinary log has threads: that is the first thing that a user meets.
#[test]
fn a_store_whose_log_has_threads_is_told_what_to_do() {
    let threads = |disk: Arc<SimDisk>, changed: &mut usize| {
        let log = Wal::open_with("/store", Options::new().disk(disk).segment_size(8 << 10))?;
        for change in changes() {
            log.sync_to(log.append(&change)?)?;
            *changed += 1;
        }
        log.close()?;
        Ok(())
    };
    // By chance the threads may do the same twice, hardly ten times.
    let told = (0..10).any(|_| {
        let ended = CrashTest::new(threads, |_, _| Ok(())).max_cuts(1).run();
        ended.is_err_and(|failure| failure.what.contains("Background::Inline"))
    });
    assert!(told);
}

/// What a dead process says counts for nothing; what fails before the cut does.
#[test]
fn an_error_of_the_store_itself_is_no_power_cut() {
    let greedy = |disk: Arc<SimDisk>, changed: &mut usize| {
        let store = Store::open(disk, Promise::Kept)?;
        store.log.sync_to(store.log.append("1=1")?)?;
        *changed = 1;
        let refused: WalError = store.log.append(vec![0; 1 << 20]).unwrap_err();
        Err(refused.into())
    };
    let failure = CrashTest::new(greedy, check).run().unwrap_err();
    assert!(
        failure.what.starts_with("the program fails undisturbed: "),
        "{failure}"
    );
}
