//! The envelope of a frame, and frames that are not the engine's.

use crate::common::builder;
use highwater_engine::wal::disk::SimDisk;
use highwater_engine::wal::{FrameKind, Lsn, StreamId};
use highwater_engine::{Error, Mismatch, StopMode, StreamScope, StreamingContext};
use parking_lot::Mutex;
use std::sync::Arc;

type Lines = Arc<Mutex<Vec<String>>>;

/// A program of these inputs, whose records are gathered.
fn open(
    disk: &SimDisk,
    inputs: &[&str],
    lines: &Lines,
) -> highwater_engine::Result<StreamingContext> {
    let inputs: Vec<String> = inputs.iter().map(|name| (*name).to_owned()).collect();
    let lines = Arc::clone(lines);
    let program = move |ssc: &StreamScope| {
        for name in &inputs {
            let lines = Arc::clone(&lines);
            ssc.input::<String>(name).for_each_batch(
                &format!("out of {name}"),
                move |_, records| {
                    lines.lock().extend(records);
                },
            );
        }
        Ok(())
    };
    let context = builder(disk, 1).get_or_create(program)?;
    context.start()?;
    Ok(context)
}

fn send(context: &StreamingContext, input: &str, records: &[&str]) {
    let records: Vec<String> = records.iter().map(|record| (*record).to_owned()).collect();
    let input = context.input::<String>(input).unwrap();
    input.send_all(&records).unwrap().wait().unwrap();
}

/// First number and count of every frame of the stream that the log still has.
fn numbers(context: &StreamingContext, stream: u16) -> Vec<(u64, u32)> {
    let mut frames = context.log().read_from(context.log().first_lsn()).unwrap();
    let mut numbers = Vec::new();
    while let Some(frame) = frames.next_frame().unwrap() {
        if frame.kind == FrameKind::Batch && frame.stream == StreamId(stream) {
            let envelope = frame.records().next().unwrap().bytes().to_vec();
            if envelope.len() < 32 {
                continue; // a foreign one
            }
            let count = u32::from_le_bytes(envelope[4..8].try_into().unwrap());
            let first = u64::from_le_bytes(envelope[8..16].try_into().unwrap());
            numbers.push((first, count));
        }
    }
    numbers
}

/// Also across a kill, a graceful stop whose checkpoint covers all frames, and a run of a program
/// that does not have the source.
#[test]
fn the_records_of_a_source_are_numbered_without_gaps() {
    let (disk, lines) = (SimDisk::new(), Lines::default());
    let mut next = 0;
    for (life, end) in [
        Some(StopMode::Graceful),
        None,
        Some(StopMode::Immediate),
        Some(StopMode::Graceful),
        Some(StopMode::Graceful),
    ]
    .into_iter()
    .enumerate()
    {
        let inputs: &[&str] = if life == 3 { &["b"] } else { &["a", "b"] };
        let context = open(&disk, inputs, &lines).unwrap();
        if life == 3 {
            send(&context, "b", &["x"]);
        } else {
            for records in [&["1", "2", "3"][..], &["4"]] {
                send(&context, "a", records);
                let count = u32::try_from(records.len()).unwrap();
                let found = numbers(&context, 1);
                assert_eq!(found.last(), Some(&(next, count)), "life {life}");
                next += u64::from(count);
            }
        }
        context.run_batch().unwrap();
        if life == 2 {
            // What the fourth program does not have must be covered.
            context.stop(StopMode::Graceful).unwrap();
        }
        if let Some(end) = end {
            context.stop(end).unwrap();
        }
    }
    assert_eq!(next, 16);
}

/// Streams that no source of the directory has: recovery refused the whole log because of them.
#[test]
fn frames_of_others_are_skipped_and_their_streams_are_not_given_to_sources() {
    let (disk, lines) = (SimDisk::new(), Lines::default());
    let context = open(&disk, &["a"], &lines).unwrap();
    send(&context, "a", &["1"]);
    let log = context.log();
    // The stream that the next source would get, and others.
    for stream in [2, 3, 700] {
        let foreign = [b"\xff".as_slice(), b"foreign"];
        let _ = log.append_batch_to(StreamId(stream), foreign).unwrap();
        let _ = log.append_control(StreamId(stream), b"foreign").unwrap();
    }
    log.sync().unwrap();
    context.run_batch().unwrap();
    drop(context);
    for _ in 0..3 {
        let context = open(&disk, &["a", "b", "c"], &lines).unwrap();
        send(&context, "b", &["2"]);
        send(&context, "c", &["3"]);
        context.run_batch().unwrap();
        let of = |stream| numbers(&context, stream).len();
        assert_eq!(of(2) + of(3) + of(700), 0);
        assert!(of(701) > 0 && of(702) > 0);
        context.stop(StopMode::Graceful).unwrap();
        lines.lock().sort();
        assert_eq!(*lines.lock(), ["1", "2", "3"]);
        lines.lock().truncate(1);
    }
}

/// A log that another program fills is not taken for an empty one.
#[test]
fn a_log_without_a_program_but_with_frames_is_refused() {
    let disk = SimDisk::new();
    let options = highwater_engine::wal::Options::new().disk(Arc::new(disk.clone()));
    let log = highwater_engine::wal::Wal::open_with("/app/log", options).unwrap();
    let _ = log.append_batch_to(StreamId(1), [b"foreign"]).unwrap();
    log.sync().unwrap();
    log.close().unwrap();
    drop(log);
    let error = open(&disk, &["a"], &Lines::default()).unwrap_err();
    assert!(
        matches!(error, Error::Mismatch(Mismatch::NoCheckpoint { .. })),
        "{error}"
    );
}

/// A record of a newer version is named, with its place.
#[test]
fn an_engine_record_of_a_newer_version_is_refused() {
    let (disk, lines) = (SimDisk::new(), Lines::default());
    let context = open(&disk, &["a"], &lines).unwrap();
    let lsn = context
        .log()
        .append_control(StreamId(0), [3, 0x80])
        .unwrap();
    context.log().sync().unwrap();
    drop(context);
    let error = open(&disk, &["a"], &lines).unwrap_err();
    assert!(
        matches!(&error, Error::EngineLog { lsn: at, .. } if *at == lsn),
        "{error}"
    );
    assert!(error.to_string().contains("version is 3"), "{error}");
    assert!(lsn > Lsn::ZERO);
}
