//! Keys, states and records whose serde form is not one to one, and keys of a changed type: what
//! was in memory before a stop is there after the start, or an error names it before anything is
//! lost.

use crate::common::builder;
use highwater_engine::wal::disk::SimDisk;
use highwater_engine::{Error, Key, Mismatch, Result, State, StopMode, StreamingContext, Value};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::fmt::Debug;
use std::net::IpAddr;
use std::sync::Arc;

type Counts<K> = Arc<Mutex<Vec<(K, u64)>>>;

/// A count by key that collects the output of the last batch; keys come from `make`.
fn counting<K: Key + Sync>(
    disk: &SimDisk,
    workers: usize,
    make: impl Fn(u32) -> K + Send + Sync + 'static,
) -> Result<(StreamingContext, Counts<K>)> {
    let seen = Counts::default();
    let out = Arc::clone(&seen);
    let context = builder(disk, workers).get_or_create(move |ssc| {
        ssc.input::<u32>("in")
            .map(move |n| (make(n), 1_u64))
            .update_state_by_key("counts", |_, new: &[u64], count: &mut Option<u64>| {
                *count = Some(count.unwrap_or(0) + new.iter().sum::<u64>());
            })
            .for_each_batch("out", move |_, records: Vec<(K, u64)>| {
                *out.lock() = records
            });
        Ok(())
    })?;
    context.start()?;
    Ok((context, seen))
}

fn send(context: &StreamingContext, keys: std::ops::Range<u32>) {
    let input = context.input::<u32>("in").unwrap();
    keys.for_each(|n| input.send(&n).unwrap().wait().unwrap());
}

/// Counts 40 keys once as `Old`, stops, and counts them once more as `New`: every key must be there
/// once, with two.
fn goes_on<Old: Key + Sync, New: Key + Sync + Debug>(
    old: impl Fn(u32) -> Old + Send + Sync + 'static,
    new: impl Fn(u32) -> New + Copy + Send + Sync + 'static,
) -> u64 {
    let disk = SimDisk::new();
    let (context, _) = counting(&disk, 1, old).unwrap();
    send(&context, 0..40);
    context.stop(StopMode::Graceful).unwrap();
    drop(context);
    let mut moved = 0;
    // Once more after that: the checkpoint in between holds the keys where they belong now.
    for (round, workers) in [(2, 3), (3, 2)] {
        let (context, seen) = counting(&disk, workers, new).unwrap();
        let report = context.recovered().states[0].clone();
        assert_eq!((&*report.name, report.keys), ("counts", 40));
        if round == 2 {
            moved = report.moved_keys;
        } else {
            assert_eq!(report.moved_keys, 0, "moved keys stay where they are");
        }
        send(&context, 0..40);
        context.stop(StopMode::Graceful).unwrap();
        let counts = seen.lock().clone();
        assert_eq!(counts.len(), 40, "{counts:?}");
        for n in 0..40 {
            assert!(
                counts.contains(&(new(n), round)),
                "{:?} in {counts:?}",
                new(n)
            );
        }
    }
    moved
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
struct Account {
    tenant: String,
    user: u32,
}

fn account(user: u32) -> Account {
    Account {
        tenant: "acme".into(),
        user,
    }
}

/// Every key existed twice after its fields had changed places: the old count was never found
/// again.
#[test]
fn a_key_whose_fields_change_places_keeps_its_state() {
    #[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
    struct Reordered {
        user: u32,
        tenant: String,
    }
    let moved = goes_on(account, |user| Reordered {
        user,
        tenant: "acme".into(),
    });
    assert!(moved > 10, "{moved} keys moved");
    assert_eq!(goes_on(account, account), 0);
}

#[test]
fn a_key_that_gains_or_loses_a_field_keeps_its_state() {
    #[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
    struct Gained {
        tenant: String,
        user: u32,
        #[serde(default)]
        region: Option<String>,
    }
    #[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
    struct Lost {
        user: u32,
    }
    let gained = |user| Gained {
        tenant: "acme".into(),
        user,
        region: None,
    };
    goes_on(account, gained);
    goes_on(account, |user| Lost { user });
}

#[test]
fn keys_of_wider_optional_and_other_types_of_the_same_bytes_keep_their_state() {
    goes_on(|n| n, u64::from);
    goes_on(|n| n, Some);
    goes_on(|n| n, i64::from);
    goes_on(|n| (7_u32, n), |n| vec![7, n]);
    goes_on(u32::to_be_bytes, |n: u32| n.to_be_bytes().to_vec());
    goes_on(|n| (n, "x".to_owned()), |n| (u64::from(n), "x".to_owned()));
    goes_on(Some, |n| n);
}

#[test]
fn a_key_whose_variant_was_renamed_with_an_alias_keeps_its_state() {
    #[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
    enum Old {
        Click(u32),
        View(u32),
    }
    #[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
    enum New {
        #[serde(alias = "Click")]
        Tap(u32),
        View(u32),
    }
    let old = |n| {
        if n % 2 == 0 {
            Old::Click(n)
        } else {
            Old::View(n)
        }
    };
    let new = |n| {
        if n % 2 == 0 {
            New::Tap(n)
        } else {
            New::View(n)
        }
    };
    goes_on(old, new);
}

#[test]
fn two_keys_that_become_one_are_refused_with_the_state_the_key_and_what_to_do() {
    #[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
    struct Lost {
        tenant: String,
    }
    let disk = SimDisk::new();
    let (context, _) = counting(&disk, 1, account).unwrap();
    send(&context, 0..3);
    context.stop(StopMode::Graceful).unwrap();
    drop(context);
    let lost = |_| Lost {
        tenant: "acme".into(),
    };
    let error = counting(&disk, 1, lost).map(drop).unwrap_err();
    assert!(matches!(error, Error::Mismatch(Mismatch::SameKey { .. })));
    let text = error.to_string();
    for part in [
        "state \"counts\"",
        "\"tenant\": \"acme\"",
        ".drop_state(\"counts\")",
        "Lost",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    // Nothing was changed.
    let (context, seen) = counting(&disk, 1, account).unwrap();
    context.run_batch().unwrap();
    assert_eq!(seen.lock().len(), 3);
}

/// A key with a part that serde does not see was two keys in memory and one after a restart.
#[test]
fn a_key_that_would_come_back_as_another_fails_its_batch_with_operator_and_key() {
    #[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
    struct Hidden {
        id: u32,
        #[serde(skip)]
        region: u32,
    }
    let disk = SimDisk::new();
    let hidden = |id| Hidden { id, region: id % 2 };
    let (context, _) = counting(&disk, 1, hidden).unwrap();
    send(&context, 0..2);
    let text = context.run_batch().unwrap_err().to_string();
    for part in [
        "update_state_by_key \"counts\"",
        "{\"id\": 1}",
        "serde(skip)",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

/// Equality that is wider than the bytes puts equal keys into different key groups: here reading
/// back changes the bytes.
#[test]
fn a_key_that_is_changed_by_reading_it_back_is_refused_even_if_it_is_equal() {
    #[derive(Clone, Debug, Serialize, Deserialize)]
    #[serde(from = "String", into = "String")]
    struct Caseless(String);
    impl From<String> for Caseless {
        fn from(name: String) -> Self {
            Self(name.to_lowercase())
        }
    }
    impl From<Caseless> for String {
        fn from(name: Caseless) -> Self {
            name.0
        }
    }
    impl PartialEq for Caseless {
        fn eq(&self, other: &Self) -> bool {
            self.0.eq_ignore_ascii_case(&other.0)
        }
    }
    impl Eq for Caseless {}
    impl std::hash::Hash for Caseless {
        fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
            self.0.to_lowercase().hash(state);
        }
    }
    let disk = SimDisk::new();
    let (context, _) = counting(&disk, 1, |n| Caseless(format!("NAME{n}"))).unwrap();
    send(&context, 0..20);
    let text = context.run_batch().unwrap_err().to_string();
    assert!(text.contains("serialises to something else"), "{text}");
}

/// Equal at any scale, as decimals are; it serialises with its scale.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Price {
    digits: u64,
    scale: u32,
}

impl Price {
    fn normal(&self) -> (u64, u32) {
        let (mut digits, mut scale) = (self.digits, self.scale);
        while scale > 0 && digits.is_multiple_of(10) {
            (digits, scale) = (digits / 10, scale - 1);
        }
        (digits, scale)
    }
}

impl PartialEq for Price {
    fn eq(&self, other: &Self) -> bool {
        self.normal() == other.normal()
    }
}

impl Eq for Price {}

impl std::hash::Hash for Price {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.normal().hash(state);
    }
}

fn price(n: u32) -> Price {
    match n % 2 {
        0 => Price {
            digits: 5,
            scale: 0,
        },
        _ => Price {
            digits: 5000,
            scale: 3,
        },
    }
}

/// Equal keys of different bytes were one key where they met in a piece of the log, and two where
/// they did not.
#[test]
fn equal_keys_that_serialise_differently_are_refused() {
    let disk = SimDisk::new();
    let (context, _) = counting(&disk, 1, price).unwrap();
    send(&context, 0..1);
    context.run_batch().unwrap();
    send(&context, 1..2);
    let text = context.run_batch().unwrap_err().to_string();
    for part in [
        "update_state_by_key \"counts\"",
        "\"digits\": 5000",
        "serialises to something else",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    // Stateless operators too: each sees its batch.
    for grouping in [true, false] {
        let disk = SimDisk::new();
        let context = builder(&disk, 1)
            .chunk_bytes(1)
            .get_or_create(move |ssc| {
                let pairs = ssc.input::<u32>("in").map(|n| (price(n), 1_u64));
                match grouping {
                    true => pairs.group_by_key().for_each_batch("out", |_, _| ()),
                    false => pairs
                        .reduce_by_key(|a, b| a + b)
                        .for_each_batch("out", |_, _| ()),
                }
                Ok(())
            })
            .unwrap();
        context.start().unwrap();
        send(&context, 0..2);
        let text = context.run_batch().unwrap_err().to_string();
        assert!(text.contains("serialises to something else"), "{text}");
    }
}

/// The same by a change of the type: keys that differed are equal now.
#[test]
fn keys_that_become_equal_are_refused_at_start_also_in_different_groups() {
    let disk = SimDisk::new();
    #[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
    struct Exact {
        digits: u64,
        scale: u32,
    }
    let exact = |n| {
        let Price { digits, scale } = price(n);
        Exact { digits, scale }
    };
    let (context, _) = counting(&disk, 1, exact).unwrap();
    send(&context, 0..2);
    context.stop(StopMode::Graceful).unwrap();
    drop(context);
    let error = counting(&disk, 1, price).map(drop).unwrap_err();
    assert!(
        matches!(error, Error::Mismatch(Mismatch::SameKey { .. })),
        "{error}"
    );
}

/// A checkpoint whose manifest counts other entries than its blocks hold, as a foreign tool
/// could leave it.
#[test]
fn a_count_of_entries_that_is_not_that_of_the_manifest_is_refused() {
    use highwater_engine::checkpoint::{
        Checkpoints, LocalStore, Meta, Options, Ownership, StateMeta,
    };
    let disk = SimDisk::new();
    let (context, _) = counting(&disk, 1, |n| n).unwrap();
    send(&context, 0..5);
    context.stop(StopMode::Graceful).unwrap();
    drop(context);
    let store = LocalStore::new(Arc::new(disk.clone()), "/app/checkpoints");
    let options = Options {
        ownership: Ownership::Sole,
        ..Options::default()
    };
    let mut checkpoints = Checkpoints::open(Arc::new(store), options).unwrap();
    let newest = checkpoints.newest().unwrap().unwrap();
    let manifest = newest.manifest().clone();
    let meta = Meta {
        parent: None,
        log_id: manifest.log_id,
        application: manifest.application.clone(),
        created_ms: manifest.created_ms,
        batch: manifest.batch,
        lsn: manifest.lsn,
        metadata: manifest.metadata.clone(),
        states: manifest
            .states
            .iter()
            .map(|s| StateMeta {
                name: s.name.clone(),
                kind: s.kind.clone(),
                codec: s.codec.clone(),
                fingerprint: s.fingerprint.clone(),
                anew: true,
            })
            .collect(),
    };
    let mut writer = checkpoints.begin(meta).unwrap();
    for state in &manifest.states {
        for group in newest.groups(&state.name).unwrap() {
            let group = group.key_group;
            let read = newest.read_group(&state.name, group).unwrap().unwrap();
            writer
                .add_block(&state.name, group, read.entries + 1, &read.bytes)
                .unwrap();
        }
    }
    writer.publish().unwrap();
    drop(checkpoints);
    let error = counting(&disk, 1, |n| n).map(drop).unwrap_err();
    assert!(
        matches!(error, Error::Mismatch(Mismatch::Entries { .. })),
        "{error}"
    );
    for part in [
        "state \"counts\"",
        "entries are there",
        ".drop_state(\"counts\")",
    ] {
        assert!(error.to_string().contains(part), "{part} in {error}");
    }
}

/// A program that keeps one value in a state and emits it in every batch.
fn keeping<S: State + Sync>(
    disk: &SimDisk,
    value: S,
) -> Result<(StreamingContext, Arc<Mutex<Vec<S>>>)> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let out = Arc::clone(&seen);
    let context = builder(disk, 1).get_or_create(move |ssc| {
        ssc.input::<u8>("in")
            .map(|key| (key, ()))
            .update_state_by_key("kept", move |_, new: &[()], state: &mut Option<S>| {
                if !new.is_empty() {
                    *state = Some(value.clone());
                }
            })
            .for_each_batch("out", move |_, records: Vec<(u8, S)>| {
                *out.lock() = records.into_iter().map(|(_, state)| state).collect();
            });
        Ok(())
    })?;
    context.start()?;
    Ok((context, seen))
}

/// Stops after a batch and a checkpoint: what is in the state afterwards, or why it was refused,
/// and when.
fn state_after_restart<S: State + Sync>(value: &S) -> Result<S, String> {
    let disk = SimDisk::new();
    let (context, _) = keeping(&disk, value.clone()).unwrap();
    context
        .input::<u8>("in")
        .unwrap()
        .send(&9)
        .unwrap()
        .wait()
        .unwrap();
    context.run_batch().map_err(|e| format!("batch: {e}"))?;
    context
        .stop(StopMode::Graceful)
        .map_err(|e| format!("checkpoint: {e}"))?;
    drop(context);
    let (context, seen) = keeping(&disk, value.clone()).unwrap();
    context.run_batch().unwrap();
    let kept = seen.lock()[0].clone();
    Ok(kept)
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Profile {
    nickname: Option<Option<String>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Cart {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    items: Vec<u32>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Amount {
    Cents(i64),
    Euros(f64),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "t")]
enum Event {
    Big { number: u128 },
    Small,
}

#[test]
fn a_state_with_an_option_in_an_option_fails_its_batch_and_names_the_key() {
    for error in [
        state_after_restart(&Profile {
            nickname: Some(None),
        })
        .unwrap_err(),
        state_after_restart(&Some(())).unwrap_err(),
        state_after_restart(&vec![(1, Some(None::<u8>))]).unwrap_err(),
    ] {
        assert!(
            error.starts_with("batch: "),
            "as soon as it arrives: {error}"
        );
        for part in ["update_state_by_key \"kept\"", "state of the key 9", "enum"] {
            assert!(error.contains(part), "{part} in {error}");
        }
    }
}

/// The graceful stop said that all was well, and no start could read the state any more.
#[test]
fn a_state_that_does_not_read_back_is_refused_by_the_checkpoint_which_names_the_key() {
    for (error, part) in [
        (
            state_after_restart(&Cart { items: vec![] }).unwrap_err(),
            "missing field `items`",
        ),
        (
            state_after_restart(&Event::Big { number: 7 }).unwrap_err(),
            "does not read back",
        ),
    ] {
        assert!(error.starts_with("checkpoint: "), "{error}");
        for part in ["state \"kept\"", "key 9", "Nothing is lost", part] {
            assert!(error.contains(part), "{part} in {error}");
        }
    }
}

/// After the refusal: the program is corrected, started again, and goes on from the log.
#[test]
fn what_a_refused_checkpoint_would_have_held_is_still_in_the_log() {
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Corrected {
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        items: Vec<u32>,
    }
    let disk = SimDisk::new();
    let (context, _) = keeping(&disk, Cart { items: vec![] }).unwrap();
    context
        .input::<u8>("in")
        .unwrap()
        .send(&9)
        .unwrap()
        .wait()
        .unwrap();
    context.run_batch().unwrap();
    context.stop(StopMode::Graceful).unwrap_err();
    drop(context);
    let (context, seen) = keeping(&disk, Corrected { items: vec![] }).unwrap();
    context.stop(StopMode::Graceful).unwrap();
    assert_eq!(*seen.lock(), [Corrected { items: vec![] }]);
}

#[test]
fn states_that_survive_are_kept() {
    fn kept<S: State + Sync + PartialEq + Debug>(value: S) {
        assert_eq!(state_after_restart(&value), Ok(value));
    }
    kept(Amount::Euros(3.0));
    kept(Amount::Cents(3));
    kept(Event::Small);
    kept(u128::MAX);
    kept(('x', f64::MAX, i64::MIN, Some(3_u8), None::<u8>, ()));
    kept(Cart { items: vec![1] });
    kept(std::collections::HashMap::from([
        (1_u8, "a".to_owned()),
        (2, "b".to_owned()),
    ]));
    kept(std::collections::HashSet::from([1_u8, 2, 3, 4, 5, 6, 7, 8]));
    kept(vec![None, Some(1_u8)]);
}

/// A path that is not UTF-8, a time before 1970: they serialise as an error, when the checkpoint
/// came.
#[test]
fn a_state_that_does_not_serialise_fails_the_batch_that_brings_it() {
    use std::os::unix::ffi::OsStringExt;
    let path = std::path::PathBuf::from(std::ffi::OsString::from_vec(vec![0xFF]));
    let error = state_after_restart(&path).unwrap_err();
    assert!(
        error.starts_with("batch: ") && error.contains("key 9"),
        "{error}"
    );
}

fn input_comes_back_as<T: Value + Sync + Debug>(value: &T) -> Result<T, String> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let out = Arc::clone(&seen);
    let disk = SimDisk::new();
    let program = builder(&disk, 1).get_or_create(move |ssc| {
        ssc.input::<T>("in")
            .for_each_batch("out", move |_, records| *out.lock() = records);
        Ok(())
    });
    let context = program.unwrap();
    context.start().unwrap();
    let sent = context.input::<T>("in").unwrap().send(value);
    sent.and_then(highwater_engine::Ack::wait)
        .map_err(|e| e.to_string())?;
    context.run_batch().unwrap();
    let mut records = seen.lock().clone();
    Ok(records.remove(0))
}

/// They were acknowledged; then every start failed in the batch that held them.
#[test]
fn a_record_that_would_not_come_back_is_refused_by_send() {
    for error in [
        input_comes_back_as(&Some(None::<u64>)).unwrap_err(),
        input_comes_back_as(&Some(())).unwrap_err(),
        input_comes_back_as(&Cart { items: vec![] }).unwrap_err(),
        input_comes_back_as(&Event::Big { number: 7 }).unwrap_err(),
        input_comes_back_as(&Profile {
            nickname: Some(None),
        })
        .unwrap_err(),
    ] {
        assert!(
            error.contains("input \"in\"") && error.contains("not accepted"),
            "{error}"
        );
    }
}

#[test]
fn records_that_survive_come_back_as_they_were() {
    fn kept<T: Value + Sync + PartialEq + Debug>(value: T) {
        assert_eq!(input_comes_back_as(&value), Ok(value));
    }
    kept(Amount::Euros(3.0));
    kept(IpAddr::from([10, 0, 0, 1]));
    kept(0.1_f32);
    kept(u128::MAX);
    kept(Cart { items: vec![1] });
}
