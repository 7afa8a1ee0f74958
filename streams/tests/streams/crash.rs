//! The power is cut before each operation of the disk.

use crate::model::{Model, Op, Told, append};
use crate::saved_seeds;
use crate::world::{ask, expected, open, program, seen};
use highwater_disk::CrashTest;
use highwater_streams::{Streams, Then};
use proptest::prelude::*;
use std::error::Error;

type BoxError = Box<dyn Error + Send + Sync>;

/// How far a program has come: how many of its ops were asked, and how many are acknowledged.
#[derive(Debug, Clone, Default, PartialEq)]
struct Progress {
    asked: usize,
    told: usize,
}

/// The model after each number of ops.
fn models(program: &[Op]) -> Vec<Model> {
    let mut all = vec![Model::default()];
    for op in program {
        let mut next = all.last().unwrap().clone();
        next.apply(op);
        all.push(next);
    }
    all
}

/// Runs a program. Only every second answer is waited for: the others come with the next one.
fn run(
    streams: &mut Option<Streams>,
    program: &[Op],
    progress: &mut Progress,
    reopen: impl Fn() -> Result<Streams, BoxError>,
) -> Result<(), BoxError> {
    let models = models(program);
    *streams = Some(reopen()?);
    for (n, op) in program.iter().enumerate() {
        if matches!(op, Op::Reopen) {
            *streams = None;
            *streams = Some(reopen()?);
        }
        let open = streams.as_ref().ok_or("it is open")?;
        match op {
            Op::Tend => open.tend()?,
            Op::Checkpoint => open.checkpoint()?,
            _ => {}
        }
        progress.asked = n + 1;
        let asked = ask(open, &models[n], op)?;
        // What a deleted fork shared is free when that lasts: a program waits for it.
        let is_delete = matches!(op, Op::Delete { .. });
        if n % 2 == 0 && n + 1 < program.len() && !is_delete {
            continue;
        }
        match asked.wait()? {
            // A frame of its own: everything before it lasts.
            Told::Created { is_new: true, .. }
            | Told::Appended {
                is_duplicate: false,
                ..
            }
            | Told::Deleted => progress.told = n + 1,
            _ => {}
        }
    }
    Ok(())
}

/// What is left is what the model has after some op: not before one that was acknowledged.
fn check(streams: &Streams, program: &[Op], progress: &mut Progress) -> Result<(), BoxError> {
    let models = models(program);
    let found = seen(streams)?;
    let first = (progress.told..=progress.asked).find(|n| expected(&models[*n]) == found);
    let Some(n) = first else {
        return Err(format!("{found:?} is left after {progress:?} of {program:?}").into());
    };
    // What was shown stays.
    progress.told = n;
    let model = (n..=progress.asked)
        .rev()
        .find(|n| expected(&models[*n]) == found);
    let model = &models[model.ok_or("it was found from the other end")?];
    retries_are_recognised(streams, &models[n], model)
}

/// A request of each producer is repeated: it counted once, if the data that came with it is there.
fn retries_are_recognised(streams: &Streams, low: &Model, high: &Model) -> Result<(), BoxError> {
    for name in 0..crate::model::NAMES.len() {
        let json = high.is_json(name);
        for sends in low.newest_requests(name) {
            let body = append(json, &[b"1"], Then::Open, Some(sends), &None);
            match streams.append(crate::model::NAMES[name], &body)?.wait()? {
                Ok(appended) if appended.is_duplicate => {}
                Err(
                    highwater_streams::Refusal::StaleEpoch { .. }
                    | highwater_streams::Refusal::Gone,
                ) => {}
                other => return Err(format!("a retry of {sends:?} is told {other:?}").into()),
            }
        }
    }
    Ok(())
}

fn cut_everywhere(program: &[Op], seeds: std::ops::Range<u64>) -> Result<u64, String> {
    let test = CrashTest::new(
        |disk, progress: &mut Progress| {
            let mut streams = None;
            run(&mut streams, program, progress, || Ok(open(disk.clone())?))
        },
        |disk, progress| {
            let streams = open(disk.clone())?;
            check(&streams, program, progress)?;
            // It goes on, and what it was shown is there after one more restart.
            drop(streams);
            let streams = open(disk)?;
            check(&streams, program, progress)
        },
    );
    let report = test
        .seeds(seeds)
        .run()
        .map_err(|failure| failure.to_string())?;
    Ok(report.cuts)
}

fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").map_or(25, |n| n.parse().unwrap())
}

/// The last op must be acknowledged, so that something is.
fn acknowledged(mut program: Vec<Op>) -> Vec<Op> {
    program.push(Op::Create {
        name: 3,
        json: false,
        messages: vec![],
        then: Then::Open,
    });
    program
}

proptest! {
    #![proptest_config(saved_seeds::config(cases(), env!("CARGO_MANIFEST_DIR"), "crash"))]

    #[test]
    fn every_cut_of_every_program_keeps_the_promises(program in program(25), seed in 0..1000_u64) {
        cut_everywhere(&acknowledged(program), seed..seed + 1).map_err(TestCaseError::fail)?;
    }
}

/// A program that meets everything: both kinds of streams, producers, forks, deletion, restarts,
/// several segments.
#[test]
fn the_busy_program_survives_every_cut() {
    let create = |name, json| Op::Create {
        name,
        json,
        messages: vec![30],
        then: Then::Open,
    };
    let send = |name, json, len, then| Op::Append {
        name,
        json,
        messages: vec![len, 3],
        then,
        producer: Some((0, 0, 0)),
        sequence: None,
    };
    let mut busy = vec![create(0, true), create(1, false)];
    for round in 0..6 {
        busy.push(send(0, true, 700 + round, Then::Open));
        busy.push(send(1, false, 2900 + round, Then::Open));
    }
    busy.push(Op::Tend);
    busy.push(Op::Fork {
        name: 2,
        source: 0,
        at: 50,
    });
    busy.push(send(2, true, 50, Then::Open));
    busy.push(Op::Checkpoint);
    busy.push(send(0, true, 20, Then::Open));
    busy.push(Op::Checkpoint);
    busy.push(Op::Reopen);
    busy.push(Op::Delete { name: 0 });
    busy.push(send(2, true, 60, Then::Closed));
    busy.push(Op::Delete { name: 2 });
    busy.push(Op::Checkpoint);
    busy.push(create(0, false));
    busy.push(send(0, false, 800, Then::Open));
    busy.push(send(1, false, 9, Then::Closed));
    let cuts = cut_everywhere(&busy, 0..1).unwrap();
    assert!(cuts > 40, "{cuts}");
}

/// The check sees a lost message, and one that was never sent.
#[test]
fn the_check_objects_to_what_is_not_in_the_model() {
    let disk = std::sync::Arc::new(highwater_disk::SimDisk::new());
    let streams = open(disk).unwrap();
    let program = [Op::Create {
        name: 0,
        json: false,
        messages: vec![5],
        then: Then::Open,
    }];
    let mut progress = Progress { asked: 1, told: 1 };
    check(&streams, &program, &mut progress).unwrap_err();
    let told = ask(&streams, &Model::default(), &program[0])
        .unwrap()
        .wait()
        .unwrap();
    assert_eq!(
        told,
        Told::Created {
            is_new: true,
            end: 5
        }
    );
    check(&streams, &program, &mut progress).unwrap();
    let other = append(false, &[b"x"], Then::Open, None, &None);
    streams
        .append("a", &other)
        .unwrap()
        .wait()
        .unwrap()
        .unwrap();
    check(&streams, &program, &mut progress).unwrap_err();
}
