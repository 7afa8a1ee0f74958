//! Programs of ten thousand operators in a row build, run, stop and start again. Each operator
//! called the next one: a long chain used up the stack of a worker.

use crate::common::builder;
use highwater_engine::wal::disk::SimDisk;
use highwater_engine::{DStream, StopMode, StreamScope};
use parking_lot::Mutex;
use std::sync::Arc;

const LENGTH: u64 = 10_000;

type Pair = (u64, u64);

/// Records that take their room on the stack, in every operator.
type Wide = (u64, [u64; 32]);

/// Runs `program` twice on one directory, each time on one batch; returns what came out.
fn run(program: impl Fn(&StreamScope, DStream<Pair>) -> DStream<Pair>) -> Vec<Vec<Pair>> {
    let (disk, seen) = (SimDisk::new(), Arc::new(Mutex::new(Vec::new())));
    for workers in [1, 2] {
        let seen = Arc::clone(&seen);
        let context = builder(&disk, workers)
            .get_or_create(|ssc| {
                let out = program(ssc, ssc.input::<Pair>("in"));
                out.for_each_batch("out", move |_, records| seen.lock().push(records));
                Ok(())
            })
            .unwrap();
        context.start().unwrap();
        let input = context.input::<Pair>("in").unwrap();
        input.send_all(&[(1, 1), (2, 2)]).unwrap().wait().unwrap();
        context.run_batch().unwrap();
        context.stop(StopMode::Immediate).unwrap();
    }
    std::mem::take(&mut *seen.lock())
}

/// The same with an operator that counts in wide records.
fn counting(step: impl Fn(&DStream<Wide>) -> DStream<Wide>) {
    let out = run(|_, input| {
        let wide = input.map(|(key, value)| (key, [value; 32]));
        let wide = (0..LENGTH).fold(wide, |stream, _| step(&stream));
        wide.map_values(|values| values[7])
    });
    assert_eq!(out, [[(1, LENGTH + 1), (2, LENGTH + 2)]; 2]);
}

fn next(values: [u64; 32]) -> [u64; 32] {
    values.map(|value| value + 1)
}

#[test]
fn ten_thousand_maps_in_a_row() {
    counting(|stream| stream.map(|(key, values)| (key, next(values))));
}

#[test]
fn ten_thousand_filters_in_a_row() {
    let out = run(|_, input| {
        let wide = input.map(|(key, value)| (key, [value; 32]));
        let some = (0..LENGTH).fold(wide, |stream, n| {
            stream.filter(move |(key, _)| *key != 2 || n < 9000)
        });
        some.map_values(|values| values[7])
    });
    assert_eq!(out, [[(1, 1)]; 2]);
}

#[test]
fn ten_thousand_flat_maps_in_a_row() {
    counting(|stream| stream.flat_map(|(key, values)| Some((key, next(values)))));
    counting(|stream| stream.flat_map_into(|(key, values), out| out.emit((key, next(values)))));
}

#[test]
fn ten_thousand_map_values_in_a_row() {
    counting(|stream| stream.map_values(next));
    counting(|stream| stream.flat_map_values(|values| [next(values)]));
}

/// Every union of the row adds the records once more, in the order of the log.
#[test]
fn ten_thousand_unions_in_a_row() {
    for swapped in [false, true] {
        let out = run(|_, input| {
            let more = input.persist();
            (0..LENGTH).fold(more.clone(), |all, _| {
                if swapped {
                    more.union(&all)
                } else {
                    all.union(&more)
                }
            })
        });
        let copies = usize::try_from(LENGTH).unwrap() + 1;
        let expected = [vec![(1, 1); copies], vec![(2, 2); copies]].concat();
        assert!(
            out.iter().all(|batch| *batch == expected),
            "swapped: {swapped}"
        );
        assert_eq!(out.len(), 2);
    }
}

/// What came of whole batches is not mixed up by the way through the unions.
#[test]
fn ten_thousand_unions_of_whole_batches_in_a_row() {
    let out = run(|_, input| {
        let whole = input.transform(|batch, _| batch);
        let more = input.persist();
        (0..LENGTH).fold(whole, |all, n| match n {
            7000 => all.union(&more.count().map(|n| (9, n))),
            _ => all.union(&more.filter(|_| false)),
        })
    });
    assert_eq!(out, [[(1, 1), (2, 2), (9, 2)]; 2]);
}
