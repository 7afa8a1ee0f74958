//! New code over the log of a directory that is in use, into a new directory. That the same code
//! has the same states, whatever the program is, `random_graphs.rs` says.

use crate::common::broker::Broker;
use crate::common::{builder, send, unseeded_in};
use highwater_engine::checkpoint::testing::MemoryStore;
use highwater_engine::checkpoint::{
    AsBytes, Checkpoint, CheckpointError, Checkpoints, Comparison, LocalStore, StateDifference,
    Store,
};
use highwater_engine::wal::disk::{Disk, SimDisk};
use highwater_engine::{
    Advance, AdvanceLimit, Batch, BoxError, Bytes, DStream, Error, ErrorPolicy, Guarantee,
    OffsetContext, OffsetRange, ReadError, ReplayFrom, Replayed, Result, Sink, SinkContext, Source,
    StopMode, StreamScope, StreamingContext,
};
use parking_lot::Mutex;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A sink that must not be touched.
struct Untouched;

impl<T: 'static> Sink<T> for Untouched {
    fn guarantee(&self) -> Guarantee {
        Guarantee::Transactional
    }

    fn open(&mut self, _: &SinkContext) -> std::result::Result<(), BoxError> {
        panic!("an output was opened");
    }

    fn stage(&mut self, batch: &Batch, _: Vec<T>) -> std::result::Result<(), BoxError> {
        panic!("an output was staged in {batch}");
    }

    fn publish(&mut self, batch: &Batch) -> std::result::Result<(), BoxError> {
        panic!("an output was published in {batch}");
    }
}

/// Counts words, each so many times.
fn counts(ssc: &StreamScope, times: u64) -> DStream<(String, u64)> {
    let words = ssc
        .input::<String>("lines")
        .flat_map(|line: String| line.split(' ').map(str::to_owned).collect::<Vec<_>>());
    let words = words.map(move |word| (word, times));
    words.update_state_by_key("counts", |_word, new: &[u64], total: &mut Option<u64>| {
        *total = Some(total.unwrap_or(0) + new.iter().sum::<u64>());
    })
}

/// A program in use on `disk`, with checkpoints after batches 3 and 6, and two batches more.
fn running(disk: &SimDisk) -> StreamingContext {
    let context = builder(disk, 2).get_or_create(|ssc| {
        counts(ssc, 1).for_each_batch("out", |_, _| ());
        Ok(())
    });
    let context = context.unwrap();
    context.start().unwrap();
    for n in 0..8 {
        send(&context, &format!("to be {n}"));
        context.run_batch().unwrap();
    }
    context
}

fn files(disk: &SimDisk) -> Vec<(PathBuf, Option<Vec<u8>>)> {
    let files = disk.files().into_iter();
    let files = files.filter(|path| path.starts_with("/app"));
    files
        .map(|path| (path.clone(), disk.read_file(path)))
        .collect()
}

/// A replay by a program that counts so many times. The directory stays as it is.
fn replay(disk: &SimDisk, new: &str, from: &ReplayFrom, times: u64) -> Result<Replayed> {
    let before = files(disk);
    let told = Arc::new(AtomicU64::new(0));
    let its = Arc::clone(&told);
    let replayed = builder(disk, 1)
        .listener(move |_| {
            its.fetch_add(1, Ordering::SeqCst);
        })
        .replay_beside(new, from, |ssc| {
            counts(ssc, times).sink("out", Untouched);
            Ok(())
        });
    assert_eq!(files(disk), before, "the directory is only read");
    assert_eq!(
        told.load(Ordering::SeqCst),
        0,
        "it is no run of the program"
    );
    replayed
}

fn refused(replayed: Result<Replayed>) -> String {
    let error = replayed.unwrap_err();
    assert!(matches!(error, Error::Replay(_)), "{error:?}");
    error.to_string()
}

fn newest(disk: &SimDisk, place: &str) -> Checkpoint {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let store: Arc<dyn Store> = Arc::new(LocalStore::new(disk, place));
    let found = Checkpoints::inspect(&store).unwrap().remove(0);
    Checkpoint::of_manifest(store, found.manifest.unwrap())
}

/// What differs in a state between the two checkpoints of a new directory.
fn difference(disk: &SimDisk, new: &str, state: &str) -> StateDifference {
    let before = newest(disk, &format!("{new}/before"));
    let after = newest(disk, &format!("{new}/checkpoints"));
    assert_eq!(before.manifest().batch, after.manifest().batch);
    assert_eq!(before.lsn(), after.lsn());
    let comparison = Comparison::new(&before, &after, &AsBytes).same_groups(true);
    comparison.state(state, |_| ()).unwrap()
}

#[test]
fn the_same_code_has_the_same_state_and_other_code_another_one() {
    let disk = SimDisk::new();
    let context = running(&disk);
    let replayed = replay(&disk, "/same", &ReplayFrom::Oldest, 1).unwrap();
    assert_eq!((replayed.from, replayed.batches), (Some((1, 3)), 3));
    assert_eq!((replayed.before, replayed.after.1), ((2, 6), 6));
    let same = difference(&disk, "/same", "counts");
    assert!(same.is_equal() && same.same == 8, "{same:?}");
    // All of it counts twice, from the beginning on.
    let all = ReplayFrom::Lsn(0);
    let replayed = replay(&disk, "/twice", &all, 2).unwrap();
    assert_eq!((replayed.from, replayed.batches), (None, 6));
    let twice = difference(&disk, "/twice", "counts");
    assert_eq!((twice.changed, twice.same), (8, 0), "{twice:?}");
    // After the first checkpoint only what came then.
    let replayed = replay(&disk, "/later", &ReplayFrom::Checkpoint(1), 2).unwrap();
    assert_eq!(replayed.from, Some((1, 3)));
    let later = difference(&disk, "/later", "counts");
    assert_eq!((later.changed, later.same), (5, 3), "{later:?}");
    // The program before goes on.
    send(&context, "more");
    context.run_batch().unwrap();
    context.stop(StopMode::Graceful).unwrap();
}

#[test]
fn the_new_code_may_rename_and_drop_and_keep_its_checkpoints_elsewhere() {
    let disk = SimDisk::new();
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let context = builder(&disk, 1)
        .checkpoint_store(Arc::clone(&store))
        .get_or_create(|ssc| {
            counts(ssc, 1).for_each_batch("out", |_, _| ());
            Ok(())
        });
    let context = context.unwrap();
    context.start().unwrap();
    for n in 0..6 {
        send(&context, &format!("to be {n}"));
        context.run_batch().unwrap();
    }
    let listed = store.list().unwrap();
    let named = |builder: highwater_engine::Builder, new: &str| {
        let from = ReplayFrom::Oldest;
        builder.replay_beside(new, &from, |ssc| {
            let words = ssc.input::<String>("lines").map(|line| (line, 1_u64));
            let state = words.update_state_by_key("kept", |_, new: &[u64], n: &mut Option<u64>| {
                *n = Some(n.unwrap_or(0) + new.len() as u64);
            });
            state.sink("out", Untouched);
            Ok(())
        })
    };
    let own = || builder(&disk, 1).checkpoint_store(Arc::clone(&store));
    // As in a start, what has no operator is not lost without a word.
    let error = named(own(), "/refused").unwrap_err();
    assert!(matches!(error, Error::Mismatch(_)), "{error:?}");
    let renamed = named(own().rename_state("counts", "kept"), "/renamed").unwrap();
    assert_eq!(
        renamed.recovery.states[0].renamed_from.as_deref(),
        Some("counts")
    );
    let kept = difference(&disk, "/renamed", "kept");
    assert!(kept.before.is_none() && kept.added == 8, "{kept:?}");
    let dropped = named(own().drop_state("counts"), "/dropped").unwrap();
    assert_eq!(dropped.recovery.dropped_states, [("counts".to_owned(), 5)]);
    assert_eq!(difference(&disk, "/dropped", "kept").added, 3);
    assert_eq!(store.list().unwrap(), listed, "the store is only read");
}

#[test]
fn a_place_that_is_gone_or_not_there_is_refused() {
    let disk = SimDisk::new();
    let context = running(&disk);
    // The log begins at a later segment, and checkpoint 3 takes the place of 1.
    for n in 0..60 {
        send(&context, &format!("{n} {}", "long ".repeat(60)));
        context.run_batch().unwrap();
    }
    let number = newest(&disk, "/app/checkpoints").number();
    let text = refused(replay(&disk, "/a", &ReplayFrom::Checkpoint(1), 1));
    let usable = format!("usable are: {number}, {}", number - 1);
    assert!(
        text.contains("no checkpoint 1") && text.contains(&usable),
        "{text}"
    );
    let text = refused(replay(&disk, "/a", &ReplayFrom::Lsn(0), 1));
    assert!(text.contains("the log begins only at LSN"), "{text}");
    let text = refused(replay(&disk, "/a", &ReplayFrom::Checkpoint(number), 1));
    assert!(text.contains("no batch lies between"), "{text}");
    let text = refused(replay(&disk, "/app/new", &ReplayFrom::Oldest, 1));
    assert!(text.contains("must lie outside"), "{text}");
    // A checkpoint that comes before what is left of the log.
    let oldest = newest(&disk, "/app/checkpoints").lsn();
    replay(&disk, "/b", &ReplayFrom::Lsn(oldest - 1), 1).unwrap();
    let text = refused(replay(&disk, "/b", &ReplayFrom::Oldest, 1));
    assert!(text.contains("/b is not empty"), "{text}");
    let gone = builder(&SimDisk::new(), 1).replay_beside("/c", &ReplayFrom::Oldest, |ssc| {
        counts(ssc, 1).sink("out", Untouched);
        Ok(())
    });
    assert!(matches!(gone, Err(Error::Log(_))), "{gone:?}");
}

#[test]
fn a_savepoint_is_a_beginning_as_long_as_the_log_reaches_back_to_it() {
    let place = tempfile::tempdir().unwrap();
    let url = format!("file://{}", place.path().join("saved").display());
    let from = ReplayFrom::Savepoint(url.clone());
    let disk = SimDisk::new();
    let context = builder(&disk, 1).get_or_create(|ssc| {
        counts(ssc, 1).for_each_batch("out", |_, _| ());
        Ok(())
    });
    let context = context.unwrap();
    context.start().unwrap();
    send(&context, "to be");
    context.savepoint(&url).unwrap();
    let text = refused(replay(&disk, "/early", &from, 1));
    assert!(text.contains("no batch lies between"), "{text}");
    send(&context, "or not to be");
    let other = format!("file://{}", place.path().join("other").display());
    context.savepoint(&other).unwrap();
    let replayed = replay(&disk, "/new", &from, 2).unwrap();
    assert_eq!((replayed.batches, replayed.after.1), (1, 2));
    let found = difference(&disk, "/new", "counts");
    assert_eq!((found.changed, found.same), (4, 0), "{found:?}");
    // Another log has another identity.
    let stranger = SimDisk::new();
    let context_of_stranger = builder(&stranger, 1).seed(8).get_or_create(|ssc| {
        counts(ssc, 1).for_each_batch("out", |_, _| ());
        Ok(())
    });
    let context_of_stranger = context_of_stranger.unwrap();
    context_of_stranger.start().unwrap();
    for _ in 0..3 {
        context_of_stranger.run_batch().unwrap();
    }
    let error = replay(&stranger, "/new", &from, 1).unwrap_err();
    let is_of_another = matches!(error, Error::Checkpoint(CheckpointError::OtherLog { .. }));
    assert!(is_of_another, "{error:?}");
    // Once the log begins after it, it is too old.
    for n in 0..60 {
        send(&context, &format!("{n} {}", "long ".repeat(60)));
        context.run_batch().unwrap();
    }
    let error = replay(&disk, "/late", &from, 1).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("but the log begins only at"), "{text}");
}

/// A source that keeps its own data is asked for what past batches had, and not to forget anything;
/// one whose data is gone is named.
#[test]
fn sources_that_keep_their_own_data_are_read_if_they_can_be() {
    let disk = SimDisk::new();
    let broker = Arc::new(Broker::default());
    broker.trouble.keeps.store(true, Ordering::SeqCst);
    let program = |broker: &Arc<Broker>, ssc: &StreamScope| {
        let words = broker.stream(ssc, "words").map(|word| (word, 1_u64));
        words.update_state_by_key("counts", |_, new: &[u64], total: &mut Option<u64>| {
            *total = Some(total.unwrap_or(0) + new.len() as u64);
        })
    };
    let context = builder(&disk, 1).get_or_create(|ssc| {
        program(&broker, ssc).for_each_batch("out", |_, _| ());
        Ok(())
    });
    let context = context.unwrap();
    context.start().unwrap();
    for n in 0..7 {
        broker.push("p", format!("word {n}"));
        context.run_batch().unwrap();
    }
    // Up to now it has kept what it was told to forget.
    broker.trouble.keeps.store(false, Ordering::SeqCst);
    let reads = broker.reads.load(Ordering::SeqCst);
    let replay = |new: &str| {
        let from = ReplayFrom::Oldest;
        builder(&disk, 1).replay_beside(new, &from, |ssc| {
            program(&broker, ssc).sink("out", Untouched);
            Ok(())
        })
    };
    let replayed = replay("/new").unwrap();
    assert_eq!(replayed.batches, 3);
    assert!(difference(&disk, "/new", "counts").is_equal());
    assert_eq!(broker.reads.load(Ordering::SeqCst), reads + 3);
    assert_eq!(broker.first("p"), 0, "nothing was released");
    broker.forget("p", 5);
    let error = replay("/gone").unwrap_err().to_string();
    assert!(error.contains("it begins at offset 5"), "{error}");
}

/// A source that has one record in each batch once it is open.
struct Opened {
    times: Arc<AtomicU64>,
    is_empty: bool,
}

impl Source for Opened {
    fn open(&self, _: &OffsetContext) -> std::result::Result<(), BoxError> {
        self.times.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn advance(
        &self,
        source: &OffsetContext,
        _: &AdvanceLimit,
    ) -> std::result::Result<Advance, BoxError> {
        let from = source.position("p").unwrap_or(0);
        let some = (!self.is_empty).then(|| OffsetRange::new("p", from, from + 1));
        Ok(Advance::new(some))
    }

    fn read(
        &self,
        range: &OffsetRange,
        emit: &mut dyn FnMut(u64, Bytes),
    ) -> std::result::Result<(), ReadError> {
        if self.times.load(Ordering::SeqCst) == 0 {
            return Err(ReadError::Unavailable("it was not opened".into()));
        }
        emit(range.from, Bytes::from_static(b"word"));
        Ok(())
    }
}

/// A source that no batch needs may not even be reachable where the replay runs.
#[test]
fn sources_that_keep_their_own_data_are_opened_if_they_are_needed() {
    for is_empty in [false, true] {
        let disk = SimDisk::new();
        let program = move |ssc: &StreamScope, times: &Arc<AtomicU64>| {
            let source = Opened {
                times: Arc::clone(times),
                is_empty,
            };
            let decode =
                |bytes: Bytes| String::from_utf8(bytes.to_vec()).map_err(|error| error.to_string());
            let words = ssc.source_by_offset("opened", "words", Arc::new(decode), source);
            let words = words.map(|word| (word, 1_u64));
            words.update_state_by_key("counts", |_, new: &[u64], total: &mut Option<u64>| {
                *total = Some(total.unwrap_or(0) + new.len() as u64);
            })
        };
        let context = builder(&disk, 1).get_or_create(|ssc| {
            program(ssc, &Arc::default()).for_each_batch("out", |_, _| ());
            Ok(())
        });
        let context = context.unwrap();
        context.start().unwrap();
        for _ in 0..6 {
            context.run_batch().unwrap();
        }
        let times = Arc::new(AtomicU64::new(0));
        let replayed = builder(&disk, 1).replay_beside("/new", &ReplayFrom::Oldest, |ssc| {
            program(ssc, &times).sink("out", Untouched);
            Ok(())
        });
        assert_eq!(replayed.unwrap().batches, 3);
        assert!(difference(&disk, "/new", "counts").is_equal());
        assert_eq!(times.load(Ordering::SeqCst), u64::from(!is_empty));
    }
}

/// What a batch has refused is left out again, also by code that would not refuse it.
#[test]
fn what_was_refused_is_left_out_again() {
    let disk = SimDisk::new();
    let program = |ssc: &StreamScope, refuses: bool| {
        let lines = ssc.input::<String>("lines");
        let lines = lines.on_error(ErrorPolicy::Skip);
        let parsed = lines.try_map(move |line: String| match line.parse::<u64>() {
            Err(error) if refuses => Err(error),
            parsed => Ok(("all".to_owned(), parsed.unwrap_or(1000))),
        });
        parsed
            .named("parse")
            .update_state_by_key("sum", |_, new: &[u64], sum: &mut Option<u64>| {
                *sum = Some(sum.unwrap_or(0) + new.iter().sum::<u64>());
            })
    };
    let context = builder(&disk, 1).get_or_create(|ssc| {
        program(ssc, true).for_each_batch("out", |_, _| ());
        Ok(())
    });
    let context = context.unwrap();
    context.start().unwrap();
    for n in 0..6 {
        send(&context, &n.to_string());
        send(&context, "none");
        context.run_batch().unwrap();
    }
    // What only the new code fails on is in no list.
    let error = builder(&disk, 1).replay_beside("/more", &ReplayFrom::Lsn(0), |ssc| {
        let lines = ssc.input::<String>("lines").on_error(ErrorPolicy::Skip);
        let parsed = lines.try_map(|line: String| match line.as_str() {
            "3" => Err("it is a three"),
            _ => Ok(("all".to_owned(), 1_u64)),
        });
        let parsed = parsed.named("parse");
        parsed
            .update_state_by_key("sum", |_, _: &[u64], _: &mut Option<u64>| ())
            .sink("out", Untouched);
        Ok(())
    });
    let error = error.unwrap_err();
    assert!(matches!(error, Error::Batch(_)), "{error:?}");
    assert!(error.to_string().contains("it is a three"), "{error}");
    for (new, refuses) in [("/same", true), ("/other", false)] {
        let from = ReplayFrom::Lsn(0);
        let replayed = builder(&disk, 1).replay_beside(new, &from, |ssc| {
            program(ssc, refuses).sink("out", Untouched);
            Ok(())
        });
        assert_eq!(replayed.unwrap().batches, 6);
        for state in Comparison::new(
            &newest(&disk, &format!("{new}/before")),
            &newest(&disk, &format!("{new}/checkpoints")),
            &AsBytes,
        )
        .states()
        {
            let found = difference(&disk, new, &state);
            assert!(found.is_equal(), "{found:?}");
        }
    }
}

/// After a graceful stop the new directory has all that the old one had: the program goes on in
/// either. Its outputs are called for what is new, and not again for the past.
#[test]
fn the_new_directory_is_one_like_any_other() {
    let disk = SimDisk::new();
    let context = running(&disk);
    context.stop(StopMode::Graceful).unwrap();
    drop(context);
    let replayed = replay(&disk, "/new", &ReplayFrom::Oldest, 2).unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let its = Arc::clone(&seen);
    let context = unseeded_in(&disk, "/new", 2).get_or_create(move |ssc| {
        counts(ssc, 2).for_each_batch("out", move |batch, records: Vec<(String, u64)>| {
            its.lock().push((batch.id, records));
        });
        Ok(())
    });
    let context = context.unwrap();
    assert_eq!(context.recovered().checkpoint, Some(replayed.after));
    assert_eq!(context.recovered().batches_to_replay, 0);
    context.start().unwrap();
    send(&context, "be");
    context.run_batch().unwrap();
    let seen = seen.lock();
    assert_eq!(seen.len(), 1, "{seen:?}");
    let (batch, records) = &seen[0];
    assert_eq!(*batch, replayed.after.1 + 1);
    assert!(records.iter().any(|(word, _)| word == "be"), "{records:?}");
}

#[test]
fn where_a_replay_begins_is_written_as_text() {
    for (text, from) in [
        ("", ReplayFrom::Oldest),
        ("oldest", ReplayFrom::Oldest),
        ("7", ReplayFrom::Checkpoint(7)),
        ("lsn:4096", ReplayFrom::Lsn(4096)),
        ("s3://a/b", ReplayFrom::Savepoint("s3://a/b".to_owned())),
    ] {
        assert_eq!(text.parse::<ReplayFrom>().unwrap(), from);
        assert_eq!(from.to_string().parse::<ReplayFrom>().unwrap(), from);
    }
    for text in ["lsn:", "lsn:x", "-1", "newest", "lsn:s3://a"] {
        let error = text.parse::<ReplayFrom>().unwrap_err();
        assert!(matches!(error, Error::Setting(_)), "{error:?}");
    }
}
