//! Savepoints, and checkpoints whose log is gone: a new log goes on from them, also when the power
//! goes off before any operation of that.
#![allow(clippy::expect_used, reason = "test code")]

use crate::common::world::{GROUPS, LINES, World, check, line, uninterrupted};
use crate::common::{Seen, builder, send, unseeded, word_count};
use highwater_engine::checkpoint::entries::entries;
use highwater_engine::checkpoint::testing::{MemoryStore, Trouble, UnreliableStore};
use highwater_engine::checkpoint::{
    Checkpoint, CheckpointError, Checkpoints, LocalStore, Manifest, Store, Validity,
};
use highwater_engine::wal::disk::{ManualClock, SimDisk};
use highwater_engine::wal::{Lsn, Wal};
use highwater_engine::{
    BatchMode, Builder, CheckpointPolicy, ContextEvent, Error, LogGone, Mismatch, Result, StopMode,
    StreamingContext,
};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;

fn store() -> Arc<MemoryStore> {
    Arc::new(MemoryStore::new())
}

/// A copy of what a store has.
fn copy_of(store: &MemoryStore) -> Arc<MemoryStore> {
    let copy = MemoryStore::new();
    for file in store.list().unwrap() {
        let bytes = store.get_range(&file.name, 0, file.size).unwrap();
        copy.put_new(&file.name, &bytes).unwrap();
    }
    Arc::new(copy)
}

/// The log of a successor has an identity of its own.
fn elsewhere(disk: &SimDisk, workers: usize, savepoint: &Arc<MemoryStore>) -> Builder {
    let store: Arc<dyn Store> = savepoint.clone();
    builder(disk, workers).seed(8).from_savepoint_store(store)
}

/// A world that has run to group `at` on `disk`, and a savepoint of that.
fn saved(world: &World, disk: &SimDisk, at: u64) -> (StreamingContext, Arc<MemoryStore>) {
    let context = world.open(disk).unwrap();
    context.start().unwrap();
    world.run_to(&context, at - 1).unwrap();
    let input = context.input::<String>("lines").unwrap();
    for index in 0..LINES {
        let sent = input.send_once("client", at * LINES + index, &line(at, index));
        sent.unwrap().wait().unwrap();
    }
    let store = store();
    // Run by hand, it cuts a batch: that of group `at`.
    let savepoint = context.savepoint_into(store.clone()).unwrap();
    assert_eq!(savepoint.batch, at);
    assert!(savepoint.bytes > 0 && savepoint.lsn > Lsn::ZERO);
    (context, store)
}

/// What starts from a savepoint is what the first program would have been, whatever that does
/// meanwhile, with any number of workers. Its log goes on above, so that a retry of an old record
/// is told an LSN that is durable.
#[test]
fn a_program_goes_on_elsewhere_from_a_savepoint() {
    let (expected, _) = uninterrupted(1);
    for at in [1, 2, 5, 6, GROUPS] {
        for workers in [1, 2] {
            let what = format!("savepoint after group {at}, {workers} workers");
            let (first, disk) = (World::new(1), SimDisk::new());
            let (context, savepoint) = saved(&first, &disk, at);
            // The original goes on.
            first.run_to(&context, GROUPS).unwrap();
            context.stop(StopMode::Graceful).unwrap();
            check(&first, &expected, &what);
            // And so does the copy, in an empty directory.
            let (second, disk) = (World::new(workers), SimDisk::new());
            second
                .visible
                .lock()
                .extend(expected.range(..=at).map(|(b, r)| (*b, r.clone())));
            let open = || second.open_with(elsewhere(&disk, workers, &savepoint));
            let context = open().unwrap();
            let found = context.recovered();
            assert_eq!(found.checkpoint, Some((1, at)), "{what}");
            assert_eq!(
                (found.batches_to_replay, found.committed),
                (0, Some(at)),
                "{what}"
            );
            context.start().unwrap();
            let input = context.input::<String>("lines").unwrap();
            let again = input.send_once("client", at * LINES, &line(at, 0)).unwrap();
            assert!(
                again.is_duplicate(),
                "{what}: what was acknowledged there is known here"
            );
            again.wait().unwrap();
            drop(input);
            // The call may stay: there is a log now.
            drop(context);
            let context = open().unwrap();
            context.start().unwrap();
            second.run_to(&context, GROUPS).unwrap();
            context.stop(StopMode::Graceful).unwrap();
            drop(context);
            check(&second, &expected, &what);
            let again = open().unwrap();
            assert!(again.progress().last_batch >= Some(GROUPS), "{what}");
        }
    }
}

/// The power goes off before every operation of a start from a savepoint, and of the life after it.
#[test]
fn a_start_from_a_savepoint_survives_a_power_cut_before_every_operation() {
    let (expected, _) = uninterrupted(1);
    let (_context, savepoint) = saved(&World::new(1), &SimDisk::new(), 4);
    for cut in 0.. {
        let (world, disk) = (World::new(1), SimDisk::new());
        world
            .visible
            .lock()
            .extend(expected.range(..=4).map(|(b, r)| (*b, r.clone())));
        let life = |disk: &SimDisk| -> Result<()> {
            let context = world.open_with(elsewhere(disk, 1, &savepoint))?;
            context.start()?;
            world.run_to(&context, GROUPS)?;
            context.stop(StopMode::Graceful)
        };
        disk.cut_power_before(cut);
        let whole = life(&disk).is_ok() && disk.power_cut_at().is_none();
        disk.cut_power_now();
        let disk = disk.restart_after_power_cut(cut);
        life(&disk).unwrap_or_else(|e| panic!("cut {cut}: {e}"));
        check(&world, &expected, &format!("cut {cut}"));
        if whole {
            assert!(cut > 50, "{cut} operations are too few to be a life");
            break;
        }
    }
}

/// While a savepoint is written no checkpoint is retired, and afterwards they are again.
#[test]
fn a_savepoint_is_whole_and_leaves_nothing_behind() {
    let (world, disk) = (World::new(1), SimDisk::new());
    let (context, savepoint) = saved(&world, &disk, 5);
    let dynamic: Arc<dyn Store> = savepoint.clone();
    let found = Checkpoints::inspect(&dynamic).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].validity, Validity::Valid);
    let manifest = found[0].manifest.as_ref().unwrap();
    assert_eq!(manifest.chain, [1], "it needs no other checkpoint");
    // A second one needs another place.
    let refused = context.savepoint_into(savepoint.clone()).unwrap_err();
    assert!(
        refused.to_string().contains("a place of its own"),
        "{refused}"
    );
    let refused = context.stop_with_savepoint_into(savepoint).unwrap_err();
    assert!(
        refused.to_string().contains("a place of its own"),
        "{refused}"
    );
    world.run_to(&context, GROUPS).unwrap();
    context.stop(StopMode::Graceful).unwrap();
    let manifests = disk.files().into_iter();
    let manifests = manifests.filter(|file| file.to_string_lossy().contains("manifest"));
    assert_eq!(manifests.count(), 2, "older checkpoints are retired");
}

/// A copy that fails is no savepoint, and the program goes on.
#[test]
fn a_savepoint_that_cannot_be_written_is_none() {
    let (expected, _) = uninterrupted(1);
    let (world, disk) = (World::new(1), SimDisk::new());
    let context = world.open(&disk).unwrap();
    context.start().unwrap();
    world.run_to(&context, 3).unwrap();
    let store = UnreliableStore::new(store(), 3, 1).only(&[Trouble::CredentialsExpired]);
    let store = Arc::new(store);
    let refused = context.savepoint_into(store).unwrap_err();
    assert!(
        matches!(refused, Error::Checkpoint(CheckpointError::Io { .. })),
        "{refused}"
    );
    world.run_to(&context, GROUPS).unwrap();
    context.stop(StopMode::Graceful).unwrap();
    check(&world, &expected, "after a savepoint that failed");
}

/// The outputs of a program that has stopped with a savepoint are taken over by the one that starts
/// from it; those of a program that goes on are not.
#[test]
fn a_stop_with_a_savepoint_is_final() {
    for stops in [true, false] {
        let (world, disk) = (World::new(1), SimDisk::new());
        let context = world.open(&disk).unwrap();
        context.start().unwrap();
        world.run_to(&context, 4).unwrap();
        let store = store();
        match stops {
            true => context.stop_with_savepoint_into(store.clone()).unwrap(),
            false => context.savepoint_into(store.clone()).unwrap(),
        };
        let dynamic: Arc<dyn Store> = store.clone();
        let id = Checkpoints::inspect(&dynamic).unwrap()[0]
            .manifest
            .clone()
            .unwrap()
            .log_id;
        let copy = SimDisk::new();
        let copied = World::new(1)
            .open_with(elsewhere(&copy, 1, &store))
            .unwrap();
        copied.start().unwrap();
        let own = SimDisk::clone(&copy);
        copied.stop(StopMode::Graceful).unwrap();
        let checkpoints: Arc<dyn Store> =
            Arc::new(LocalStore::new(Arc::new(own), "/app/checkpoints"));
        let newest = Checkpoints::inspect(&checkpoints).unwrap()[0]
            .manifest
            .clone()
            .unwrap();
        let predecessors = newest.metadata.get("predecessors").cloned();
        let expected = stops.then(|| serde_json::json!([format!("{id:032x}")]));
        assert_eq!(predecessors, expected);
        // A context that has stopped can copy its last checkpoint again, if that is one.
        let again = context.stop_with_savepoint_into(self::store());
        assert!(again.is_ok(), "{again:?}");
    }
}

/// F62: checkpoints elsewhere outlive the disk of the log. The start says what is lost, and goes on
/// only when it is told which checkpoint to go on from.
#[test]
fn a_lost_log_is_refused_until_its_loss_is_accepted() {
    let (expected, _) = uninterrupted(1);
    let store = store();
    let own = |disk: &SimDisk, seed: u64, store: &Arc<MemoryStore>| {
        let dynamic: Arc<dyn Store> = store.clone();
        builder(disk, 1).seed(seed).checkpoint_store(dynamic)
    };
    let (world, disk) = (World::new(1), SimDisk::new());
    let context = world.open_with(own(&disk, 7, &store)).unwrap();
    context.start().unwrap();
    world.run_to(&context, 8).unwrap(); // a checkpoint after every third
    drop(context);
    let (log_id, first) = (newest(&store).log_id, newest(&store).number);
    assert_eq!(newest(&store).batch.id, 6);
    for cut in 0.. {
        let (store, disk) = (copy_of(&store), SimDisk::new());
        let before = store.list().unwrap();
        for accepted in [None, Some(first + 1), Some(first - 1)] {
            let built = own(&disk, 8, &store);
            let built = match accepted {
                Some(number) => built.accept_loss(number),
                None => built,
            };
            let refused = world.open_with(built).unwrap_err();
            let Error::Mismatch(Mismatch::LogGone(gone)) = &refused else {
                panic!("{refused}");
            };
            let LogGone {
                checkpoint,
                batch,
                lsn,
                log_id: of,
                ..
            } = &**gone;
            assert_eq!((*checkpoint, *batch, *of), (first, 6, log_id));
            let text = refused.to_string();
            for part in [
                ".accept_loss(",
                &format!("LSN {lsn}"),
                "Put the log back",
                "/app/log",
            ] {
                assert!(text.contains(part), "{part} in {text}");
            }
            assert_eq!(disk.files().len(), 0, "nothing was changed");
            assert_eq!(store.list().unwrap(), before);
        }
        // What the lost batches have shown is known to the sink alone.
        let world = World::new(1);
        world
            .visible
            .lock()
            .extend(expected.range(..=6).map(|(b, r)| (*b, r.clone())));
        let life = |disk: &SimDisk| -> Result<()> {
            let context = world.open_with(own(disk, 8, &store).accept_loss(first))?;
            context.start()?;
            world.run_to(&context, GROUPS)?;
            context.stop(StopMode::Graceful)
        };
        disk.cut_power_before(cut);
        let whole = life(&disk).is_ok() && disk.power_cut_at().is_none();
        disk.cut_power_now();
        let disk = disk.restart_after_power_cut(cut);
        life(&disk).unwrap_or_else(|e| panic!("cut {cut}: {e}"));
        check(&world, &expected, &format!("cut {cut}"));
        // It is a log like any other, and the lost one does not come back.
        assert_ne!(newest(&store).log_id, log_id);
        let back = world.open_with(own(&SimDisk::new(), 9, &store).accept_loss(first));
        assert!(matches!(back, Err(Error::Mismatch(Mismatch::LogGone(_)))));
        if whole {
            break;
        }
    }
}

fn newest(store: &Arc<MemoryStore>) -> Manifest {
    let dynamic: Arc<dyn Store> = store.clone();
    Checkpoints::inspect(&dynamic).unwrap()[0]
        .manifest
        .clone()
        .unwrap()
}

/// F59, F86: the engine that ran on the lost log comes back after another one has gone on without
/// it.
#[test]
fn a_log_that_was_given_up_is_refused_when_it_comes_back() {
    let store = store();
    let start = |disk: &SimDisk, accept: Option<u64>| {
        let dynamic: Arc<dyn Store> = store.clone();
        let built = unseeded(disk, 1).checkpoint(CheckpointPolicy::every_batches(1));
        let built = built.checkpoint_store(dynamic);
        let built = accept.into_iter().fold(built, Builder::accept_loss);
        let seen = Seen::default();
        built.get_or_create(move |ssc| {
            word_count(ssc).for_each_batch("collect", move |batch, records| {
                seen.lock().insert(batch.id, records);
            });
            Ok(())
        })
    };
    let old = SimDisk::new();
    let context = start(&old, None).unwrap();
    context.start().unwrap();
    send(&context, "to be");
    context.run_batch().unwrap();
    // Its machine is taken for lost, while it goes on.
    let number = newest(&store).number;
    let successor = start(&SimDisk::new(), Some(number)).unwrap();
    successor.start().unwrap();
    send(&context, "or not");
    let ran = (0..3).try_for_each(|_| context.run_batch().map(drop));
    let fenced =
        matches!(&ran, Err(Error::Ended(why)) if why.to_string().contains("another writer"));
    assert!(fenced, "{ran:?}");
    drop(context);
    let refused = start(&old, None).map(drop).unwrap_err();
    let other = matches!(refused, Error::Checkpoint(CheckpointError::OtherLog { .. }));
    assert!(other, "{refused}");
    successor.run_batch().unwrap();
    successor.stop(StopMode::Graceful).unwrap();
}

/// A log that was made and has no records is no reason to forget the checkpoints.
#[test]
fn an_empty_log_in_the_way_is_named() {
    let (world, disk) = (World::new(1), SimDisk::new());
    let (_context, savepoint) = saved(&world, &SimDisk::new(), 4);
    let options = highwater_engine::wal::Options::new()
        .disk(Arc::new(disk.clone()))
        .background(highwater_engine::wal::Background::Inline);
    drop(Wal::open_with("/app/log", options).unwrap());
    let refused = world
        .open_with(elsewhere(&disk, 1, &savepoint))
        .map(drop)
        .unwrap_err();
    assert!(
        matches!(refused, Error::Mismatch(Mismatch::EmptyLog { .. })),
        "{refused}"
    );
    assert!(
        refused.to_string().contains("remove that directory"),
        "{refused}"
    );
}

/// What would be refused after the log is made is refused before.
#[test]
fn a_savepoint_of_another_program_makes_nothing() {
    let world = World::new(1);
    let (_context, savepoint) = saved(&world, &SimDisk::new(), 2);
    let disk = SimDisk::new();
    let others: [fn(Builder) -> Builder; 2] = [|b| b.application("till"), |b| b.key_groups(4)];
    for (other, says) in others.into_iter().zip(["till", "set .key_groups(8)"]) {
        let refused = world.open_with(other(elsewhere(&disk, 1, &savepoint)));
        let refused = refused.map(drop).unwrap_err().to_string();
        assert!(refused.contains(says), "{refused}");
        assert_eq!(disk.files().len(), 0);
    }
    let empty = world.open_with(elsewhere(&disk, 1, &store()));
    let refused = empty.map(drop).unwrap_err().to_string();
    assert!(refused.contains("there is no savepoint"), "{refused}");
    let bad = world.open_with(builder(&disk, 1).from_savepoint("nowhere"));
    let refused = bad.map(drop).unwrap_err().to_string();
    assert!(refused.contains("from_savepoint"), "{refused}");
}

/// One more batch, by the clock.
fn tick(context: &StreamingContext, clock: &ManualClock) {
    let next = context.progress().last_batch.unwrap_or(0) + 1;
    clock.advance(Duration::from_secs(1));
    context.await_batch(next).unwrap();
}

/// While a savepoint is copied batches go on, and so do checkpoints, and none that is being read is
/// removed. What is copied is what was there at the end of one batch.
#[test]
fn batches_and_checkpoints_go_on_while_a_savepoint_is_copied() {
    const KEYS: u64 = 50;
    let open = |builder: Builder, clock: &Arc<ManualClock>| {
        let built = builder
            .clock(Arc::<ManualClock>::clone(clock))
            .batches(BatchMode::Clock)
            .checkpoint(CheckpointPolicy::every_batches(1));
        let context = built.get_or_create(|ssc| {
            let keys = ssc.input::<u64>("keys").map(|key| (key, ()));
            let visits = keys.update_state_by_key(
                "visits",
                |_key, _new: &[()], visits: &mut Option<u64>| {
                    *visits = Some(visits.unwrap_or(0) + 1);
                },
            );
            visits.for_each_batch("out", |_, _| ());
            Ok(())
        });
        context.unwrap()
    };
    let clock = Arc::new(ManualClock::new(1_700_000_000_000));
    let running = Arc::new(Mutex::new(None::<StreamingContext>));
    let slow = {
        let (clock, running) = (Arc::clone(&clock), Arc::clone(&running));
        UnreliableStore::new(store(), 1, 1)
            .only(&[Trouble::Slow])
            .when_slow(move || {
                // The copying thread reads: four checkpoints are published before it goes on.
                let context = match std::thread::current().name() {
                    Some("saver") => running.lock().take(),
                    _ => None,
                };
                let Some(context) = context else { return };
                let published = context.checkpoints().published;
                while context.checkpoints().published < published + 4 {
                    tick(&context, &clock);
                }
            })
    };
    let slow: Arc<dyn Store> = Arc::new(slow);
    let disk = SimDisk::new();
    let context = open(
        builder(&disk, 1).checkpoint_store(Arc::clone(&slow)),
        &clock,
    );
    context.start().unwrap();
    let keys: Vec<u64> = (0..KEYS).collect();
    let input = context.input::<u64>("keys").unwrap();
    input.send_all(&keys).unwrap().wait().unwrap();
    let first = context.progress().last_batch.unwrap_or(0) + 1;
    tick(&context, &clock);
    let target = store();
    *running.lock() = Some(context.clone());
    let saver = {
        let (context, target) = (context.clone(), target.clone());
        let named = std::thread::Builder::new().name("saver".to_owned());
        named.spawn(move || context.savepoint_into(target)).unwrap()
    };
    while !saver.is_finished() {
        tick(&context, &clock);
    }
    assert!(running.lock().is_none(), "the copy has read from the store");
    let savepoint = saver.join().unwrap().unwrap();
    let listed = || {
        slow.list()
            .unwrap()
            .iter()
            .filter(|f| f.name.starts_with("manifest"))
            .count()
    };
    let published = context.checkpoints().published;
    while listed() > 2 {
        tick(&context, &clock);
        assert!(
            context.checkpoints().published < published + 20,
            "they are retired again"
        );
    }
    let refused = context.savepoint_into(target.clone()).unwrap_err();
    assert!(
        refused.to_string().contains("a place of its own"),
        "{refused}"
    );
    context.stop(StopMode::Graceful).unwrap();
    let late = context.savepoint_into(store()).unwrap_err();
    assert!(late.to_string().contains("must be active"), "{late}");
    // Every key was visited in every batch since the first.
    let dynamic: Arc<dyn Store> = target;
    let manifest = Checkpoints::inspect(&dynamic).unwrap()[0]
        .manifest
        .clone()
        .unwrap();
    assert_eq!(manifest.batch.id, savepoint.batch);
    let whole = Checkpoint::of_manifest(dynamic, manifest);
    let mut found = 0;
    for group in whole.groups("visits").unwrap() {
        let group = whole
            .read_group("visits", group.key_group)
            .unwrap()
            .unwrap();
        for entry in entries(&group.bytes) {
            let (_, value) = entry.unwrap();
            let visits: u64 = rmp_serde::from_slice(value).unwrap();
            assert_eq!(visits, savepoint.batch - first + 1);
            found += 1;
        }
    }
    assert_eq!(found, KEYS);
}

/// A checkpoint says which batches were cut and had not finished. If the log is lost then, they are
/// named.
#[test]
fn batches_that_were_cut_and_not_finished_are_named() {
    let clock = Arc::new(ManualClock::new(1_700_000_000_000));
    let memory = store();
    let (entered, on_entry) = std::sync::mpsc::channel();
    let (open_gate, gate) = std::sync::mpsc::channel::<()>();
    let (cut, on_cut) = std::sync::mpsc::channel();
    let gate = Mutex::new(gate);
    let dynamic: Arc<dyn Store> = memory.clone();
    let disk = SimDisk::new();
    let context = builder(&disk, 1)
        .clock(Arc::<ManualClock>::clone(&clock))
        .batches(BatchMode::Clock)
        .checkpoint(CheckpointPolicy::every_batches(1))
        .retain_checkpoints(100)
        .checkpoint_store(Arc::clone(&dynamic))
        .listener(move |event| {
            if let ContextEvent::BatchSubmitted { batch } = event {
                let _ = cut.send(*batch);
            }
        })
        .get_or_create(move |ssc| {
            let lines = ssc.input::<String>("lines").map(move |line: String| {
                let _ = entered.send(());
                let _ = gate.lock().recv();
                (line, 1_u64)
            });
            lines.for_each_batch("out", |_, _| ());
            Ok(())
        })
        .unwrap();
    context.start().unwrap();
    let mut batches = Vec::new();
    for line in ["a", "b", "c"] {
        send(&context, line);
        clock.advance(Duration::from_secs(1));
        batches.push(on_cut.recv().unwrap());
        if line == "a" {
            on_entry.recv().unwrap(); // it waits, and those after it with it
        }
    }
    (0..3).for_each(|_| open_gate.send(()).unwrap());
    context.await_batch(batches[2].id).unwrap();
    context.stop(StopMode::Graceful).unwrap();
    drop(context);
    let found = Checkpoints::inspect(&dynamic).unwrap();
    let manifests: Vec<Manifest> = found.into_iter().filter_map(|c| c.manifest).collect();
    let of_first = manifests
        .iter()
        .find(|m| m.batch.id == batches[0].id)
        .unwrap();
    let cut = |batch: &highwater_engine::Batch| {
        serde_json::json!({
            "first_batch": batch.id, "batch": batch.id, "time_ms": batch.time_ms,
            "from": batch.from, "to": batch.to,
        })
    };
    let expected = serde_json::json!({"batches": 2, "cuts": [cut(&batches[1]), cut(&batches[2])]});
    assert_eq!(of_first.metadata["incomplete"], expected);
    assert_eq!(
        manifests[0].metadata.get("incomplete"),
        None,
        "the last one has everything"
    );
    // The log is lost when only that one is there.
    let only_first = store();
    for file in memory.list().unwrap() {
        if file.name.contains(&format!("{:010}", of_first.number)) {
            let bytes = memory.get_range(&file.name, 0, file.size).unwrap();
            only_first.put_new(&file.name, &bytes).unwrap();
        }
    }
    let dynamic: Arc<dyn Store> = only_first;
    let refused = World::new(1).open_with(builder(&SimDisk::new(), 1).checkpoint_store(dynamic));
    let refused = refused.map(drop).unwrap_err().to_string();
    let named = |batch: &highwater_engine::Batch| {
        format!("{} (LSN {} to {})", batch.id, batch.from, batch.to)
    };
    let all = format!("{}, {}", named(&batches[1]), named(&batches[2]));
    assert!(refused.contains(&all), "{all} in {refused}");
}
