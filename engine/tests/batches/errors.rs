//! Programs that are wrong, closures that panic, inputs that do not fit: clear errors, nothing
//! lost, nothing hangs.
#![allow(
    clippy::expect_used,
    clippy::cast_possible_truncation,
    clippy::needless_pass_by_value,
    reason = "test code"
)]

use crate::common;
use crate::common::{builder, send};
use highwater_engine::wal::disk::SimDisk;
use highwater_engine::wal::disk::sim::{Call, Fault, FaultKind};
use highwater_engine::{ContextState, Error, GraphError, StopMode, StreamScope, StreamingContext};

fn build(program: impl FnOnce(&StreamScope)) -> Result<StreamingContext, Error> {
    builder(&SimDisk::new(), 1).get_or_create(|ssc| {
        program(ssc);
        Ok(())
    })
}

fn mistakes(program: impl FnOnce(&StreamScope)) -> Vec<GraphError> {
    match build(program) {
        Err(Error::Graph(errors)) => errors.0,
        other => panic!("expected graph errors, got {other:?}"),
    }
}

#[test]
fn a_program_without_output_is_refused() {
    assert_eq!(mistakes(|_| {}), [GraphError::NoOutput]);
    let dangling = mistakes(|ssc| {
        let _ = ssc.input::<String>("lines").count();
    });
    assert_eq!(dangling, [GraphError::NoOutput]);
}

#[test]
fn a_name_used_twice_is_refused_with_both_places() {
    let found = mistakes(|ssc| {
        let lines = ssc.input::<String>("lines");
        lines.count().for_each_batch("lines", |_, _| ());
    });
    let [
        GraphError::DuplicateName {
            name,
            first,
            second,
        },
    ] = found.as_slice()
    else {
        panic!("{found:?}")
    };
    assert_eq!(name, "lines");
    assert!(
        first.starts_with("input at engine/tests/batches/errors.rs:")
            || first.contains("tests/batches/errors.rs:"),
        "{first}"
    );
    assert!(
        second.starts_with("for_each_batch at") && second.contains("tests/batches/errors.rs:"),
        "{second}"
    );
}

#[test]
fn all_mistakes_are_reported_at_once() {
    let found = mistakes(|ssc| {
        let _ = ssc.input::<String>("");
        let _ = ssc.input::<String>("two\nlines");
    });
    assert_eq!(found.len(), 3, "two bad names and no output: {found:?}");
}

#[test]
fn an_error_of_the_building_closure_comes_back() {
    let built = builder(&SimDisk::new(), 1).get_or_create(|_| Err("no configuration".into()));
    let error = built.unwrap_err();
    assert!(matches!(error, Error::Build(_)), "{error:?}");
    assert!(error.to_string().contains("no configuration"));
}

/// F64: a panic fails the batch with operator, batch and LSN; nothing hangs, nothing is committed,
/// nothing is lost.
#[test]
fn a_panicking_closure_fails_the_batch_and_names_the_record() {
    for workers in [1, 2] {
        let disk = SimDisk::new();
        let context = builder(&disk, workers)
            .get_or_create(|ssc| {
                ssc.input::<String>("lines")
                    .map(|line: String| {
                        assert!(line != "poison", "cannot digest {line}");
                        line
                    })
                    .for_each_batch("out", |_, _| ());
                Ok(())
            })
            .unwrap();
        context.start().unwrap();
        let input = context.input::<String>("lines").unwrap();
        input.send(&"fine".to_owned()).unwrap().wait().unwrap();
        let poison = input.send(&"poison".to_owned()).unwrap();
        let lsn = poison.lsn();
        poison.wait().unwrap();
        let error = context.run_batch().unwrap_err();
        let Error::Ended(cause) = &error else {
            panic!("{error:?}")
        };
        let Error::Batch(failure) = &**cause else {
            panic!("{cause:?}")
        };
        assert_eq!(
            (failure.batch.id, failure.lsn),
            (1, Some(lsn)),
            "{workers} workers"
        );
        assert!(
            failure.operator.starts_with("map (")
                && failure.operator.contains("tests/batches/errors.rs")
        );
        assert!(
            failure.message.contains("cannot digest poison"),
            "{failure}"
        );
        assert_eq!(context.context_state(), ContextState::Stopped);
        assert!(context.run_batch().is_err());
        assert!(matches!(
            input.send(&"late".to_owned()),
            Err(Error::Stopped)
        ));
        assert!(
            context.stop(StopMode::Graceful).is_err(),
            "a graceful stop cannot have processed everything"
        );
        drop((context, input));

        // The mended program takes up where the broken one stopped.
        let seen = common::Seen::default();
        let context = common::open_lines(&disk, workers, &seen);
        context.start().unwrap();
        assert_eq!(
            seen.lock()[&1],
            [("fine".to_owned(), 1), ("poison".to_owned(), 1)]
        );
    }
}

#[test]
fn panics_after_a_shuffle_and_in_outputs_fail_the_batch_too() {
    type Program = fn(&StreamScope);
    let programs: [(&str, Program); 4] = [
        ("update_state_by_key \"s\"", |ssc| {
            ssc.input::<String>("lines")
                .map(|l: String| (l, 1_u64))
                .update_state_by_key("s", |_, _, _: &mut Option<u64>| panic!("in state"))
                .for_each_batch("out", |_, _| ());
        }),
        ("reduce_by_key", |ssc| {
            ssc.input::<String>("lines")
                .map(|_: String| (1_u8, 1_u64))
                .reduce_by_key(|_, _| panic!("in reduce"))
                .for_each_batch("out", |_, _| ());
        }),
        ("transform", |ssc| {
            let none = ssc
                .input::<String>("lines")
                .transform(|_, _| -> Vec<String> { panic!("in transform") });
            none.for_each_batch("out", |_, _| ());
        }),
        ("for_each_batch \"out\"", |ssc| {
            ssc.input::<String>("lines")
                .for_each_batch("out", |_, _| -> () { panic!("in output") });
        }),
    ];
    for (operator, program) in programs {
        for workers in [1, 2] {
            let context = builder(&SimDisk::new(), workers)
                .get_or_create(|ssc| {
                    program(ssc);
                    Ok(())
                })
                .unwrap();
            context.start().unwrap();
            send(&context, "one");
            send(&context, "two");
            let error = context.run_batch().unwrap_err().to_string();
            assert!(
                error.contains(operator) && error.contains("panicked: in "),
                "{operator}: {error}"
            );
            assert!(error.contains("batch 1"), "{error}");
        }
    }
}

#[test]
fn an_output_that_returns_an_error_stops_the_context_with_it() {
    let context = build(|ssc| {
        ssc.input::<String>("lines")
            .for_each_batch("db", |_, _| Err::<(), _>("connection refused"));
    })
    .unwrap();
    context.start().unwrap();
    let error = context.run_batch().unwrap_err().to_string();
    assert!(
        error.contains("for_each_batch \"db\"") && error.contains("connection refused"),
        "{error}"
    );
    assert!(context.await_termination().is_err());
}

#[test]
fn inputs_are_asked_for_by_name_and_type() {
    let context =
        build(|ssc| ssc.input::<u64>("numbers").for_each_batch("out", |_, _| ())).unwrap();
    let error = context.input::<String>("numbers").unwrap_err().to_string();
    assert!(
        error.contains("carries u64") && error.contains("String"),
        "{error}"
    );
    let error = context.input::<u64>("nubmers").unwrap_err().to_string();
    assert!(
        error.contains("no input \"nubmers\"") && error.contains("numbers"),
        "{error}"
    );
}

#[test]
fn the_life_cycle_is_enforced() {
    let context =
        build(|ssc| ssc.input::<u64>("numbers").for_each_batch("out", |_, _| ())).unwrap();
    assert_eq!(context.context_state(), ContextState::Initialized);
    assert!(matches!(context.run_batch(), Err(Error::LifeCycle(_))));
    context.start().unwrap();
    assert!(matches!(context.start(), Err(Error::LifeCycle(_))));
    context.stop(StopMode::Graceful).unwrap();
    assert_eq!(context.context_state(), ContextState::Stopped);
    assert!(matches!(context.start(), Err(Error::LifeCycle(_))));
    context.stop(StopMode::Graceful).unwrap();
    context.await_termination().unwrap();
}

/// F45: one writer; the second is told who holds the directory.
#[test]
fn a_directory_in_use_is_refused_with_the_holders_pid() {
    let disk = SimDisk::new();
    let program = |ssc: &StreamScope| {
        ssc.input::<u64>("numbers").for_each_batch("out", |_, _| ());
        Ok(())
    };
    let first = builder(&disk, 1).get_or_create(program).unwrap();
    let error = builder(&disk, 1)
        .get_or_create(program)
        .unwrap_err()
        .to_string();
    assert!(error.contains(&std::process::id().to_string()), "{error}");
    drop(first);
    builder(&disk, 1).get_or_create(program).unwrap();
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let program = |_: &StreamScope| Ok(());
    let zero = builder(&SimDisk::new(), 1).batch_interval(std::time::Duration::ZERO);
    assert!(zero.get_or_create(program).is_err());
    assert!(
        builder(&SimDisk::new(), 1)
            .key_groups(0)
            .get_or_create(program)
            .is_err()
    );
    let bounds = builder(&SimDisk::new(), 1)
        .max_batch_bytes(100)
        .max_unprocessed_bytes(10);
    assert!(bounds.get_or_create(program).is_err());
}

/// Found in review: each union doubled the room that the sequence key of a chunk needs, and the
/// 55th in a row overflowed it. They were refused then; now the order needs no more room.
#[test]
fn unions_may_be_nested_as_deep_as_one_likes_and_may_not_be_empty() {
    let disk = SimDisk::new();
    let seen = std::sync::Arc::new(parking_lot::Mutex::new(0));
    let counted = std::sync::Arc::clone(&seen);
    let context = builder(&disk, 2)
        .get_or_create(move |ssc| {
            let lines = ssc.input::<String>("lines");
            let joined = (0..150).fold(lines.clone(), |joined, _| joined.union(&lines));
            joined.for_each_batch("out", move |_, records| *counted.lock() += records.len());
            Ok(())
        })
        .unwrap();
    context.start().unwrap();
    send(&context, "one");
    context.run_batch().unwrap();
    assert_eq!(*seen.lock(), 151);

    let empty = builder(&SimDisk::new(), 1).get_or_create(|ssc| {
        ssc.union::<String>([]).for_each_batch("out", |_, _| ());
        Ok(())
    });
    let text = empty.unwrap_err().to_string();
    assert!(
        text.contains("union at") && text.contains("no stream"),
        "{text}"
    );
}

/// Found as a newcomer: `fn main() -> highwater::Result<()>` prints errors by their `Debug`, and
/// the derived one hid what to do in struct syntax.
#[test]
fn an_error_that_leaves_main_speaks_in_words() {
    let error = build(|_| {}).unwrap_err();
    assert_eq!(format!("{error:?}"), error.to_string());
    assert!(format!("{error:?}").starts_with("the program has no output: end at least one"));
}

struct Unstartable;

impl highwater_engine::Receiver for Unstartable {
    fn open(
        &mut self,
        _: &highwater_engine::SourceContext,
    ) -> Result<(), highwater_engine::BoxError> {
        Err("no such device".into())
    }
    fn run(
        &mut self,
        _: &highwater_engine::SourceContext,
    ) -> Result<(), highwater_engine::BoxError> {
        Ok(())
    }
}

/// Found in review: a waiter in another thread took a start that had failed for a tidy end.
#[test]
fn a_failed_start_is_no_tidy_end_for_those_who_wait() {
    let context = build(|ssc| {
        ssc.source(
            "device",
            "lines",
            std::sync::Arc::new(|_| Ok(())),
            Unstartable,
        )
        .for_each_batch("out", |_, _: Vec<()>| ());
    })
    .unwrap();
    let error = context.start().unwrap_err();
    assert!(matches!(error, Error::Source { .. }), "{error}");
    let waiting = context.await_termination().unwrap_err().to_string();
    assert!(waiting.contains("could not start"), "{waiting}");
}

/// `Error::Log` of a failed sync has its cause: down the chain of sources stands the error of the
/// operating system.
#[test]
fn an_error_of_the_log_leads_to_the_error_of_the_system() {
    let disk = SimDisk::new();
    let context = common::open(&disk, 1, &common::Seen::default()).unwrap();
    context.start().unwrap();
    disk.fail(Fault::new(Call::SyncMap, FaultKind::Eio));
    let input = context.input::<String>("lines").unwrap();
    let error = input.send(&"x".to_owned()).and_then(|ack| ack.wait());
    let error = error.unwrap_err();
    assert!(matches!(error, Error::Log(_)), "{error}");
    let first = std::error::Error::source(&error).unwrap();
    let first = first.downcast_ref::<std::io::Error>().unwrap();
    let mut last: &(dyn std::error::Error + 'static) = first;
    while let Some(next) = last.source() {
        last = next;
    }
    let last = last.downcast_ref::<std::io::Error>().unwrap();
    assert_eq!(last.raw_os_error(), Some(5), "{error}");
}
