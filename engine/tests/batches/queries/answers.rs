//! What is asked, beside a model; what is refused.

use super::{Addition, add, open, program, random};
use crate::common::{builder, send, word_count};
use highwater_engine::wal::disk::SimDisk;
use highwater_engine::{
    Answer, AskError, Error, KeyState, StateReader, StateSpec, StopMode, StreamingContext,
};
use std::collections::BTreeMap;
use std::time::Duration;

type Model = BTreeMap<String, i64>;

/// What one batch adds, to the program and to the model.
fn batch(context: &StreamingContext, model: &mut Model, seed: &mut u64) {
    let input = context.input::<Addition>("added").unwrap();
    for _ in 0..random(seed) % 40 {
        let key = format!("k{}", random(seed) % 60);
        let number = i64::try_from(random(seed) % 7).unwrap();
        input.send(&(key.clone(), number)).unwrap().wait().unwrap();
        *model.entry(key).or_default() += number;
    }
}

/// Keys whose sum is a multiple of ten at the end of a batch are gone, and begin anew.
fn ended(model: &mut Model) {
    model.retain(|_, sum| *sum % 10 != 0);
}

fn pairs(model: &Model) -> Vec<(String, i64)> {
    model.iter().map(|(k, s)| (k.clone(), *s)).collect()
}

/// All keys, by each of the ways to have them.
fn check(sums: &StateReader<String, i64>, model: &Model, batch: Option<u64>, seed: &mut u64) {
    for number in 0..60 {
        let key = format!("k{number}");
        let answer = sums.get(&key).unwrap();
        assert_eq!(
            (answer.value, answer.batch),
            (model.get(&key).copied(), batch)
        );
    }
    let keys: Vec<String> = (0..5).map(|_| format!("k{}", random(seed) % 70)).collect();
    let many = sums.get_many(&keys).unwrap();
    let expected = keys.iter().map(|key| model.get(key).copied());
    assert_eq!(many.value, expected.collect::<Vec<_>>());
    assert_eq!(sums.range(.., 1000).unwrap().value, pairs(model));
    let limit = usize::try_from(random(seed) % 9).unwrap();
    let range = sums
        .range("k2".to_owned()..="k41".to_owned(), limit)
        .unwrap();
    let expected = model.range("k2".to_owned()..="k41".to_owned()).take(limit);
    let expected: Vec<(String, i64)> = expected.map(|(k, s)| (k.clone(), *s)).collect();
    assert_eq!(range.value, expected);
    let chunks = sums.chunks().flat_map(|chunk| chunk.unwrap().value);
    assert_eq!(chunks.collect::<Model>(), *model);
}

#[test]
fn every_way_to_ask_says_what_the_model_says() {
    for workers in [1, 3] {
        let disk = SimDisk::new();
        let (mut model, mut seed) = (Model::new(), 7 + workers as u64);
        for life in 0..3 {
            let context = open(&disk, workers);
            context.start().unwrap();
            let sums = context.state::<String, i64>("sums").unwrap();
            let before = context.progress().last_batch;
            check(&sums, &model, before, &mut seed);
            let mut snapshots = Vec::new();
            for number in 0..12 {
                batch(&context, &mut model, &mut seed);
                let ran = context.run_batch().unwrap();
                ended(&mut model);
                check(&sums, &model, Some(ran.id), &mut seed);
                let answer = sums.get("k1").unwrap();
                assert_eq!((answer.lsn, answer.time_ms), (ran.to, ran.time_ms));
                if number % 3 == life % 3 {
                    let snapshot = sums.snapshot(Duration::from_secs(1000)).unwrap();
                    assert_eq!((snapshot.batch(), snapshot.lsn()), (Some(ran.id), ran.to));
                    snapshots.push((snapshot, model.clone()));
                }
                // Each still has what there was at its own batch.
                for (snapshot, then) in &snapshots {
                    assert_eq!(snapshot.range(.., 1000).unwrap(), pairs(then));
                    let chunks = snapshot.chunks().flat_map(Result::unwrap);
                    assert_eq!(chunks.collect::<Model>(), *then);
                    assert_eq!(snapshot.get("k7").unwrap(), then.get("k7").copied());
                }
            }
            context.stop(StopMode::Graceful).unwrap();
            assert!(matches!(sums.get("k1"), Err(Error::Stopped)));
            assert_eq!(sums.chunks().count(), 1, "it ends with the error");
            let (last, _) = snapshots.last().unwrap();
            assert_eq!(last.chunks().count(), 1);
        }
    }
}

/// A reader that comes late, when nothing was kept for it, sees the next batch that ends.
#[test]
fn the_first_question_may_come_at_any_time() {
    let disk = SimDisk::new();
    let context = open(&disk, 1);
    context.start().unwrap();
    for round in 1..10 {
        add(&context, "a", 1);
        context.run_batch().unwrap();
        let sums = context.state::<String, i64>("sums").unwrap();
        assert_eq!(sums.get("a").unwrap().value, Some(round));
        let snapshot = sums.snapshot(Duration::from_secs(1000)).unwrap();
        drop(sums); // the snapshot still asks
        assert_eq!(snapshot.get("a").unwrap(), Some(round));
    }
}

#[test]
fn what_cannot_be_asked_is_refused_by_name() {
    let disk = SimDisk::new();
    let context = builder(&disk, 1)
        .get_or_create(|ssc| {
            program(ssc)?;
            let windows = ssc.input::<Addition>("others").reduce_by_key_and_window(
                "windows",
                |a, b| a + b,
                Duration::from_secs(3),
                Duration::from_secs(1),
            );
            windows.for_each_batch("to windows", |_, _: Vec<Addition>| ());
            Ok(())
        })
        .unwrap();
    let refused = |error: Error, parts: &[&str]| {
        let text = error.to_string();
        assert!(
            matches!(error, Error::Ask(AskError::NoSuchState(_))),
            "{text}"
        );
        parts
            .iter()
            .for_each(|part| assert!(text.contains(part), "{text}"));
    };
    refused(
        context.state::<String, u64>("sums").unwrap_err(),
        &[
            "alloc::string::String -> i64",
            "alloc::string::String -> u64",
        ],
    );
    refused(
        context.state::<u64, i64>("sums").unwrap_err(),
        &["alloc::string::String -> i64", "u64 -> i64"],
    );
    refused(
        context.state::<String, i64>("sum").unwrap_err(),
        &["\"sum\"", "it has: sums"],
    );
    refused(context.json_state("sum").unwrap_err(), &["\"sum\""]);
    refused(
        context.state::<String, i64>("windows").unwrap_err(),
        &["\"windows\"", "sums"],
    );
    assert_eq!(context.state_names(), ["sums"]);
    let sums = context.state::<String, i64>("sums").unwrap();
    assert!(matches!(sums.get("a"), Err(Error::LifeCycle(what)) if what.contains("started")));
    context.start().unwrap();
    assert_eq!(sums.get("a").unwrap().value, None);
}

#[test]
fn before_the_first_batch_there_is_what_the_state_begins_with() {
    let disk = SimDisk::new();
    let context = builder(&disk, 2)
        .get_or_create(|ssc| {
            let spec = StateSpec::new(
                |_, _: &String, new: Option<i64>, state: &mut KeyState<'_, i64>| {
                    state.update(state.get().copied().unwrap_or(0) + new.unwrap_or(0));
                },
            );
            let spec = spec.initial_state([("a".to_owned(), 5)]);
            let mapped = ssc
                .input::<Addition>("added")
                .map_with_state_spec("sums", spec);
            mapped.for_each_batch("out", |_, _: Vec<()>| ());
            Ok(())
        })
        .unwrap();
    context.start().unwrap();
    let sums = context.state::<String, i64>("sums").unwrap();
    let Answer { value, batch, .. } = sums.get("a").unwrap();
    assert_eq!((value, batch), (Some(5), None));
    add(&context, "a", 2);
    let id = context.run_batch().unwrap().id;
    let Answer { value, batch, .. } = sums.get("a").unwrap();
    assert_eq!((value, batch), (Some(7), Some(id)));
}

/// An operator that asks for its own state would wait for itself.
#[test]
fn operators_and_outputs_cannot_ask() {
    let disk = SimDisk::new();
    let asker = std::sync::Arc::new(parking_lot::Mutex::new(None::<StateReader<String, u64>>));
    let (in_operator, in_output) = (asker.clone(), asker.clone());
    let refusals = std::sync::Arc::new(parking_lot::Mutex::new(Vec::new()));
    let (of_operator, of_output) = (refusals.clone(), refusals.clone());
    let context = builder(&disk, 1)
        .get_or_create(move |ssc| {
            let asks = move |pair: (String, u64)| {
                let reader = in_operator.lock().clone().unwrap();
                of_operator
                    .lock()
                    .push(reader.get("a").unwrap_err().to_string());
                pair
            };
            word_count(ssc)
                .map(asks)
                .for_each_batch("out", move |_, _| {
                    let reader = in_output.lock().clone().unwrap();
                    of_output
                        .lock()
                        .push(reader.snapshot(Duration::ZERO).unwrap_err().to_string());
                });
            Ok(())
        })
        .unwrap();
    context.start().unwrap();
    *asker.lock() = Some(context.state("counts").unwrap());
    send(&context, "a b");
    context.run_batch().unwrap();
    let refusals = refusals.lock();
    assert_eq!(refusals.len(), 3);
    assert!(
        refusals
            .iter()
            .all(|text| text.contains("an operator or output cannot ask"))
    );
}
