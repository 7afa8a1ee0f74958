//! A dry run says what a start does, and changes nothing.
#![allow(clippy::expect_used, reason = "test code")]

use crate::common::{builder, unseeded};
use highwater_engine::checkpoint::Store;
use highwater_engine::checkpoint::testing::MemoryStore;
use highwater_engine::wal::disk::SimDisk;
use highwater_engine::{
    BoxError, Builder, Error, Mismatch, RecoveryReport, Result, State, StateCodec, StopMode,
    StreamScope, StreamingContext, Value,
};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::Arc;

type Files = Vec<(PathBuf, Option<Vec<u8>>)>;

fn files(disk: &SimDisk) -> Files {
    let files = disk.files().into_iter();
    files
        .map(|path| (path.clone(), disk.read_file(path)))
        .collect()
}

/// What a dry run says is what the start then does; and the dry run changes nothing.
fn tried(
    disk: &SimDisk,
    configured: impl Fn(Builder) -> Builder,
    program: fn(&StreamScope) -> std::result::Result<(), BoxError>,
) -> std::result::Result<(RecoveryReport, StreamingContext), String> {
    let (before, operations) = (files(disk), disk.mutations());
    let dry = configured(builder(disk, 1)).dry_run(program);
    assert_eq!(files(disk), before, "nothing was changed");
    assert_eq!(disk.mutations(), operations, "nothing was written");
    let started = configured(builder(disk, 1)).get_or_create(program);
    match (dry, started) {
        (Ok(mut report), Ok(context)) => {
            let mut real = context.recovered().clone();
            (report.loaded_in, real.loaded_in) = Default::default();
            // Opening makes a log, or may append a record of its own.
            let more = real.bytes_to_replay - report.bytes_to_replay;
            assert!(more <= 4096 + 256, "{more}");
            real.bytes_to_replay = report.bytes_to_replay;
            assert_eq!(report, real);
            Ok((report, context))
        }
        (Err(dry), Err(real)) => {
            assert_eq!(dry.to_string(), real.to_string());
            Err(dry.to_string())
        }
        (dry, real) => panic!("{dry:?}, and {:?}", real.map(drop)),
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Sale {
    cents: u64,
    shop: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Renamed {
    #[serde(alias = "cents")]
    amount: u64,
    shop: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Added {
    cents: u64,
    shop: String,
    #[serde(default)]
    currency: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Removed {
    cents: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Retyped {
    cents: String,
    shop: String,
}

/// Keeps the last value of each key.
fn last_of<S: State + Value>(ssc: &StreamScope, input: &str, state: &str) {
    let keyed = ssc.input::<(String, S)>(input);
    let last = keyed.update_state_by_key(state, |_, new: &[S], last: &mut Option<S>| {
        if let Some(newest) = new.last() {
            *last = Some(newest.clone());
        }
    });
    last.for_each_batch(&format!("out of {state}"), |_, _| ());
}

fn sale(cents: u64) -> Sale {
    Sale {
        cents,
        shop: "Oslo".to_owned(),
    }
}

fn two_states(ssc: &StreamScope) -> std::result::Result<(), BoxError> {
    last_of::<Sale>(ssc, "sales", "last");
    last_of::<u64>(ssc, "numbers", "highest");
    Ok(())
}

/// A directory with three keys in `last`, two in `highest`, and two records of `sales` after the
/// checkpoint.
fn directory() -> SimDisk {
    let disk = SimDisk::new();
    let context = builder(&disk, 1).get_or_create(two_states).unwrap();
    context.start().unwrap();
    let sales = context.input::<(String, Sale)>("sales").unwrap();
    let numbers = context.input::<(String, u64)>("numbers").unwrap();
    for (key, cents) in [("a", 1), ("b", 2), ("c", 3)] {
        sales
            .send(&(key.to_owned(), sale(cents)))
            .unwrap()
            .wait()
            .unwrap();
    }
    for key in ["x", "y"] {
        numbers.send(&(key.to_owned(), 7)).unwrap().wait().unwrap();
    }
    for _ in 0..3 {
        context.run_batch().unwrap();
    }
    for cents in [8, 9] {
        sales
            .send(&("a".to_owned(), sale(cents)))
            .unwrap()
            .wait()
            .unwrap();
    }
    context.run_batch().unwrap();
    drop((context, sales, numbers));
    disk.kill_process()
}

fn as_it_was(builder: Builder) -> Builder {
    builder
}

#[test]
fn a_program_that_has_not_changed_fits() {
    let disk = directory();
    let (report, _context) = tried(&disk, as_it_was, two_states).unwrap();
    assert_eq!(report.checkpoint, Some((1, 3)));
    assert_eq!(report.batches_to_replay, 1);
    let states: Vec<_> = report
        .states
        .iter()
        .map(|s| (s.name.as_str(), s.keys))
        .collect();
    assert_eq!(states, [("last", 3), ("highest", 2)]);
    let sources: Vec<_> = report
        .sources
        .iter()
        .map(|s| (s.name.as_str(), s.records_to_replay))
        .collect();
    assert_eq!(sources, [("sales", 2), ("numbers", 0)]);
    assert!(report.new_states.is_empty() && report.dropped_states.is_empty());
    assert!(report.new_operators.is_empty() && report.gone_operators.is_empty());
    assert!(report.changed_settings.is_empty());
    let text = report.to_string();
    for line in [
        "from checkpoint 1, after batch 3",
        "state \"last\": 3 keys\n",
        "source \"sales\": 2 records to replay",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    let new = SimDisk::new();
    let (report, _context) = tried(&new, as_it_was, two_states).unwrap();
    assert_eq!(report.checkpoint, None);
    assert!(report.sources.iter().all(|source| source.is_new));
}

/// Each change of a type, what becomes of it, and the state afterwards.
#[test]
fn changed_types_are_filled_left_out_or_refused() {
    fn with<S: State + Value>(ssc: &StreamScope) -> std::result::Result<(), BoxError> {
        // The records that wait have their own type, which does not change here.
        let sales = ssc.input::<(String, Sale)>("sales");
        let last = sales.map(|(key, sale)| (key, serde_json::to_value(sale).unwrap().to_string()));
        let last = last.update_state_by_key("last", |_, _: &[String], _: &mut Option<S>| {});
        last.for_each_batch("out of last", |_, _| ());
        last_of::<u64>(ssc, "numbers", "highest");
        Ok(())
    }
    let (report, _) = tried(&directory(), as_it_was, with::<Added>).unwrap();
    assert_eq!(report.states[0].defaulted_fields, ["currency"]);
    assert!(
        report
            .to_string()
            .contains("3 keys, with defaults for currency"),
        "{report}"
    );
    let (report, _) = tried(&directory(), as_it_was, with::<Removed>).unwrap();
    assert_eq!(report.states[0].ignored_fields, ["value: shop"]);
    assert!(
        report.to_string().contains("WITHOUT value: shop"),
        "{report}"
    );
    let (report, _) = tried(&directory(), as_it_was, with::<Renamed>).unwrap();
    assert!(report.states[0].ignored_fields.is_empty());
    let refused = tried(&directory(), as_it_was, with::<Retyped>)
        .map(drop)
        .unwrap_err();
    for part in [
        "state \"last\"",
        "#[serde(default)]",
        ".migrate_state::<Old, New>(\"last\", ..)",
        ".drop_state(\"last\")",
    ] {
        assert!(refused.contains(part), "{part} in {refused}");
    }
    let converted = |builder: Builder| {
        builder.migrate_state("last", |sale: Sale| Retyped {
            cents: sale.cents.to_string(),
            shop: sale.shop,
        })
    };
    let (report, _) = tried(&directory(), converted, with::<Retyped>).unwrap();
    assert_eq!(report.states[0].conversions, 1);
    assert!(
        report.to_string().contains("migrated by 1 conversions"),
        "{report}"
    );
}

fn renamed(ssc: &StreamScope) -> std::result::Result<(), BoxError> {
    last_of::<Sale>(ssc, "purchases", "newest");
    last_of::<u64>(ssc, "numbers", "highest");
    Ok(())
}

fn one_state(ssc: &StreamScope) -> std::result::Result<(), BoxError> {
    last_of::<Sale>(ssc, "sales", "last");
    Ok(())
}

fn three_states(ssc: &StreamScope) -> std::result::Result<(), BoxError> {
    last_of::<u64>(ssc, "more", "third");
    last_of::<u64>(ssc, "numbers", "highest"); // and the order is another one
    last_of::<Sale>(ssc, "sales", "last");
    Ok(())
}

fn other_kind(ssc: &StreamScope) -> std::result::Result<(), BoxError> {
    let sales = ssc
        .input::<(String, Sale)>("sales")
        .map(|(key, sale)| (key, sale.cents));
    sales
        .reduce_by_key_and_window(
            "last",
            |a, b| a + b,
            std::time::Duration::from_secs(2),
            std::time::Duration::from_secs(1),
        )
        .for_each_batch("out of last", |_, _| ());
    last_of::<u64>(ssc, "numbers", "highest");
    Ok(())
}

/// Operators and sources that come, go, and change their names or places.
#[test]
fn changed_programs_are_told_apart() {
    let renames = |builder: Builder| {
        builder
            .rename_state("last", "newest")
            .rename_source("sales", "purchases")
    };
    let (report, _) = tried(&directory(), renames, renamed).unwrap();
    assert_eq!(report.states[0].renamed_from.as_deref(), Some("last"));
    assert_eq!(report.sources[0].renamed_from.as_deref(), Some("sales"));
    assert!(
        report
            .new_operators
            .iter()
            .any(|o| o.contains("\"newest\"")),
        "{report}"
    );
    assert!(
        report.gone_operators.iter().any(|o| o.contains("\"last\"")),
        "{report}"
    );
    let refused = tried(&directory(), as_it_was, renamed)
        .map(drop)
        .unwrap_err();
    assert!(
        refused.contains(".rename_source(\"sales\", \"new name\")"),
        "{refused}"
    );
    let half = |builder: Builder| builder.rename_source("sales", "purchases");
    let refused = tried(&directory(), half, renamed).map(drop).unwrap_err();
    assert!(
        refused.contains(".rename_state(\"last\", \"new name\")"),
        "{refused}"
    );
    let refused = tried(&directory(), as_it_was, one_state)
        .map(drop)
        .unwrap_err();
    assert!(refused.contains(".drop_state(\"highest\")"), "{refused}");
    let drops = |builder: Builder| builder.drop_state("highest").drop_source("numbers");
    let (report, _) = tried(&directory(), drops, one_state).unwrap();
    assert_eq!(report.dropped_states, [("highest".to_owned(), 2)]);
    assert!(
        report
            .to_string()
            .contains("state \"highest\": 2 keys are DROPPED"),
        "{report}"
    );
    let drops = |builder: Builder| {
        builder
            .drop_source("sales")
            .drop_state("last")
            .drop_source("numbers")
    };
    let (report, _) = tried(&directory(), drops, two_states).unwrap();
    assert_eq!(report.dropped_states, [("last".to_owned(), 3)]);
    assert_eq!(report.new_states, ["last"], "it begins anew");
    assert_eq!(
        report.dropped_sources,
        [("numbers".to_owned(), 0), ("sales".to_owned(), 2)]
    );
    let (report, _) = tried(&directory(), as_it_was, three_states).unwrap();
    assert_eq!(report.new_states, ["third"]);
    let keys: Vec<_> = report
        .states
        .iter()
        .map(|s| (s.name.as_str(), s.keys))
        .collect();
    assert_eq!(keys, [("highest", 2), ("last", 3)]);
    let refused = tried(&directory(), as_it_was, other_kind)
        .map(drop)
        .unwrap_err();
    assert!(
        refused.contains("was written by update_state_by_key"),
        "{refused}"
    );
}

#[test]
fn settings_that_have_changed_are_listed_and_those_that_are_fixed_refused() {
    let others = |builder: Builder| {
        builder
            .workers(2.try_into().unwrap())
            .max_batch_bytes(1 << 20)
    };
    let (report, _) = tried(&directory(), others, two_states).unwrap();
    let changed = report
        .changed_settings
        .iter()
        .map(|s| (s.name.as_str(), s.then.as_str(), s.now.as_str()));
    let expected = [
        ("max_batch_bytes", "67108864", "1048576"),
        ("workers", "1", "2"),
    ];
    assert_eq!(changed.collect::<Vec<_>>(), expected);
    let groups = |builder: Builder| builder.key_groups(16);
    let refused = tried(&directory(), groups, two_states)
        .map(drop)
        .unwrap_err();
    assert!(
        refused.contains("created with 8 key groups and the program asks for 16"),
        "{refused}"
    );
    let application = |builder: Builder| builder.application("till");
    let refused = tried(&directory(), application, two_states)
        .map(drop)
        .unwrap_err();
    assert!(refused.contains(".application(\"highwater\")"), "{refused}");
}

/// The number of workers changes nothing, there and back.
#[test]
fn any_number_of_workers_has_the_same_state() {
    let run = |workers: &[usize]| {
        let mut disk = SimDisk::new();
        for (life, workers) in (0_u64..).zip(workers) {
            let context = builder(&disk, *workers).get_or_create(two_states).unwrap();
            context.start().unwrap();
            let numbers = context.input::<(String, u64)>("numbers").unwrap();
            for n in 0..50 {
                numbers
                    .send(&(format!("key {}", n % 17 + life), n))
                    .unwrap()
                    .wait()
                    .unwrap();
            }
            context.run_batch().unwrap();
            context.stop(StopMode::Graceful).unwrap();
            drop((context, numbers));
            disk = disk.kill_process();
        }
        digest(&disk)
    };
    let expected = run(&[1, 1, 1]);
    assert_eq!(run(&[1, 2, 1]), expected);
    assert_eq!(run(&[3, 1, 2]), expected);
}

/// 600 sales in the state `last`, in a checkpoint laid out as `codec` says.
fn many_sales(codec: StateCodec) -> SimDisk {
    let disk = SimDisk::new();
    change_sales(&disk, codec, 0..600);
    disk.kill_process()
}

fn change_sales(disk: &SimDisk, codec: StateCodec, keys: std::ops::Range<u64>) {
    let builder = builder(disk, 1).state_codec(codec);
    let context = builder.get_or_create(two_states).unwrap();
    context.start().unwrap();
    let sales = context.input::<(String, Sale)>("sales").unwrap();
    let numbers = context.input::<(String, u64)>("numbers").unwrap();
    for n in keys {
        let record = (format!("key {n}"), sale(n * 7919));
        sales.send(&record).unwrap().wait().unwrap();
    }
    for n in 0..100 {
        numbers
            .send(&(format!("key {n}"), n))
            .unwrap()
            .wait()
            .unwrap();
    }
    context.run_batch().unwrap();
    context.stop(StopMode::Graceful).unwrap();
}

fn state_bytes(disk: &SimDisk) -> u64 {
    use highwater_engine::checkpoint::{Checkpoints, LocalStore};
    let store: Arc<dyn Store> =
        Arc::new(LocalStore::new(Arc::new(disk.clone()), "/app/checkpoints"));
    let newest = Checkpoints::inspect(&store).unwrap().remove(0);
    newest.manifest.unwrap().state_bytes()
}

/// Named, compact and back, changes on top of each: the same entries, byte by byte, and nothing is
/// said but that the setting has changed.
#[test]
fn the_codec_may_change_there_and_back() {
    use StateCodec::{Compact, Named};
    let bytes = [Named, Compact].map(|codec| state_bytes(&many_sales(codec)));
    println!("{bytes:?} bytes");
    assert_ne!(bytes[0], bytes[1], "laid out alike");
    let run = |codecs: [StateCodec; 4]| {
        let mut disk = many_sales(codecs[0]);
        for (life, pair) in (1_u64..).zip(codecs.windows(2)) {
            let (then, now) = (pair[0], pair[1]);
            let configured = |builder: Builder| builder.state_codec(now);
            let (report, context) = tried(&disk, configured, two_states).unwrap();
            assert_eq!((report.states[0].keys, report.states[1].keys), (600, 100));
            let changed: Vec<_> = report.changed_settings.iter().map(|s| &*s.name).collect();
            assert_eq!(changed == ["state_codec"], then != now, "{changed:?}");
            assert!(report.states.iter().all(|state| {
                state.ignored_fields.is_empty() && state.defaulted_fields.is_empty()
            }));
            drop(context);
            disk = disk.kill_process();
            change_sales(&disk, now, life * 20..life * 20 + 50);
            disk = disk.kill_process();
        }
        digest(&disk)
    };
    let expected = run([Named; 4]);
    assert_eq!(run([Compact; 4]), expected);
    assert_eq!(run([Named, Compact, Named, Compact]), expected);
    assert_eq!(run([Compact, Named, Named, Compact]), expected);
}

/// A type that has changed is treated alike, whatever the codec of the checkpoint.
#[test]
fn a_changed_type_is_the_same_change_in_each_codec() {
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Reordered {
        shop: String,
        cents: u64,
    }
    fn with<S: State + Value>(ssc: &StreamScope) -> std::result::Result<(), BoxError> {
        let sales = ssc.input::<(String, Sale)>("sales");
        let sales = sales.map(|(key, _)| (key, ()));
        let last = sales.update_state_by_key("last", |_, _: &[()], _: &mut Option<S>| {});
        last.for_each_batch("out of last", |_, _| ());
        last_of::<u64>(ssc, "numbers", "highest");
        Ok(())
    }
    type Program = fn(&StreamScope) -> std::result::Result<(), BoxError>;
    let programs: [Program; 6] = [
        with::<Sale>,
        with::<Reordered>,
        with::<Added>,
        with::<Removed>,
        with::<Renamed>,
        with::<Retyped>,
    ];
    for (at, program) in programs.into_iter().enumerate() {
        let found = [StateCodec::Named, StateCodec::Compact].map(|codec| {
            let configured = |builder: Builder| builder.state_codec(codec);
            let disk = many_sales(codec);
            let tried = tried(&disk, configured, program);
            tried.map(|(report, _context)| (report.states, report.changed_settings))
        });
        assert_eq!(found[0], found[1]);
        assert_eq!(found[0].is_err(), at == 5, "{:?}", found[0]);
    }
}

/// Every entry of the newest checkpoint, in order.
fn digest(disk: &SimDisk) -> Vec<(String, u32, Vec<u8>)> {
    use highwater_engine::checkpoint::{Checkpoint, Checkpoints, LocalStore};
    let store: Arc<dyn Store> =
        Arc::new(LocalStore::new(Arc::new(disk.clone()), "/app/checkpoints"));
    let newest = Checkpoints::inspect(&store)
        .unwrap()
        .remove(0)
        .manifest
        .unwrap();
    let newest = Checkpoint::of_manifest(store, newest);
    let mut all = Vec::new();
    for state in ["last", "highest"] {
        for group in newest.groups(state).unwrap() {
            let found = newest.read_group(state, group.key_group).unwrap().unwrap();
            all.push((state.to_owned(), group.key_group, found.bytes));
        }
    }
    assert!(all.len() > 4);
    all
}

/// The program before may still run: nothing is locked. What it does meanwhile does not matter.
#[test]
fn a_directory_in_use_can_be_looked_at() {
    let disk = SimDisk::new();
    let context = builder(&disk, 1).get_or_create(two_states).unwrap();
    context.start().unwrap();
    let numbers = context.input::<(String, u64)>("numbers").unwrap();
    for n in 0..20 {
        numbers
            .send(&(format!("key {n}"), n))
            .unwrap()
            .wait()
            .unwrap();
        context.run_batch().unwrap();
        let report = builder(&disk, 1).dry_run(two_states).unwrap();
        let cut = report.checkpoint.map_or(0, |(_, batch)| batch) + report.batches_to_replay;
        assert_eq!(cut, n + 1);
        // The record of the newest commit may not have left the memory of the process.
        assert!(report.committed.unwrap_or(0) >= n);
    }
}

/// What a start refuses without a program being at fault, it says in a dry run as well.
#[test]
fn damage_and_foreign_parts_are_refused_alike() {
    // Every checkpoint is damaged.
    let disk = directory();
    for file in disk.files() {
        if file.to_string_lossy().ends_with(".hws") {
            disk.edit(&file, |bytes| bytes[70] ^= 1);
        }
    }
    let refused = tried(&disk, as_it_was, two_states).map(drop).unwrap_err();
    assert!(
        refused.contains("none of the 1 checkpoints is usable"),
        "{refused}"
    );
    // The same without a log: it was taken for a new directory.
    let logs: Vec<_> = disk
        .files()
        .into_iter()
        .filter(|f| f.starts_with("/app/log"))
        .collect();
    logs.iter().for_each(|file| disk.delete_file(file));
    let refused = tried(&disk, as_it_was, two_states).map(drop).unwrap_err();
    assert!(
        refused.contains("none of the 1 checkpoints is usable"),
        "{refused}"
    );
    // The checkpoints of another directory.
    let (disk, other) = (directory(), SimDisk::new());
    let context = unseeded(&other, 1).get_or_create(two_states).unwrap();
    context.start().unwrap();
    context.stop(StopMode::Graceful).unwrap();
    drop(context);
    for file in disk
        .files()
        .into_iter()
        .filter(|f| f.starts_with("/app/checkpoints"))
    {
        disk.delete_file(&file);
    }
    for file in other
        .files()
        .into_iter()
        .filter(|f| f.starts_with("/app/checkpoints"))
    {
        disk.put_file(&file, other.read_file(&file).unwrap());
    }
    let refused = tried(&disk, as_it_was, two_states).map(drop).unwrap_err();
    assert!(refused.contains("belongs to log"), "{refused}");
}

/// A start from a savepoint whose power goes off has left a log without records and without
/// checkpoints. A dry run took that for a new directory.
#[test]
fn a_start_from_a_savepoint_that_was_cut_short_is_told_as_it_goes_on() {
    let disk = directory();
    let context = builder(&disk, 1).get_or_create(two_states).unwrap();
    context.start().unwrap();
    let store = Arc::new(MemoryStore::new());
    context.stop_with_savepoint_into(store.clone()).unwrap();
    let from = |builder: Builder| {
        let store: Arc<dyn Store> = store.clone();
        builder.seed(8).from_savepoint_store(store)
    };
    for cut in 0.. {
        let new = SimDisk::new();
        new.cut_power_before(cut);
        drop(from(builder(&new, 1)).get_or_create(two_states));
        let is_whole = new.power_cut_at().is_none();
        new.cut_power_now();
        let new = new.restart_after_power_cut(cut);
        let before = files(&new);
        let mut dry = from(builder(&new, 1)).dry_run(two_states).unwrap();
        assert_eq!(files(&new), before, "cut {cut}");
        let started = from(builder(&new, 1)).get_or_create(two_states).unwrap();
        let mut real = started.recovered().clone();
        (dry.loaded_in, real.loaded_in) = Default::default();
        // What a start appends to the log is its own.
        (dry.bytes_to_replay, real.bytes_to_replay) = (0, 0);
        (dry.record_versions, real.record_versions) = (None, None);
        assert_eq!(dry, real, "cut {cut}");
        assert_eq!(dry.states[0].keys, 3, "cut {cut}");
        if is_whole {
            break;
        }
    }
    // A log without records that begins too low is in the way, in both.
    let new = SimDisk::new();
    let options = highwater_engine::wal::Options::new().disk(Arc::new(new.clone()));
    drop(highwater_engine::wal::Wal::open_with("/app/log", options).unwrap());
    let dry = from(builder(&new, 1)).dry_run(two_states).map(drop);
    let real = from(builder(&new, 1)).get_or_create(two_states).map(drop);
    for refused in [dry, real] {
        let is_named = matches!(&refused, Err(Error::Mismatch(Mismatch::EmptyLog { .. })));
        assert!(is_named, "{refused:?}");
    }
}

/// A savepoint is looked at as well, before a directory is made from it.
#[test]
fn a_start_from_a_savepoint_can_be_tried() {
    let disk = directory();
    let context = builder(&disk, 1).get_or_create(two_states).unwrap();
    context.start().unwrap();
    let store = Arc::new(MemoryStore::new());
    context.stop_with_savepoint_into(store.clone()).unwrap();
    let new = SimDisk::new();
    let from = |builder: Builder| {
        let store: Arc<dyn Store> = store.clone();
        builder.seed(8).from_savepoint_store(store)
    };
    let report = from(builder(&new, 1)).dry_run(two_states).unwrap();
    assert_eq!(new.files().len(), 0);
    assert_eq!(report.states[0].keys, 3);
    let refused = from(builder(&new, 1)).dry_run(one_state).map(drop);
    let why = matches!(
        &refused,
        Err(Error::Mismatch(
            Mismatch::SourceGone { .. } | Mismatch::StateWithoutOperator { .. }
        ))
    );
    assert!(why, "{refused:?}");
    let started: Result<StreamingContext> = from(builder(&new, 1)).get_or_create(two_states);
    let started = started.unwrap();
    assert_eq!(started.recovered().states, report.states);
    assert_eq!(started.recovered().sources, report.sources);
}
