//! Rotation, truncation, recycling, and what holds them back.

use crate::common::{contents, options};
use highwater_wal::disk::sim::{Call, Fault, FaultKind};
use highwater_wal::disk::{Disk, SimDisk};
use highwater_wal::{Background, FrameKind, Lsn, Options, Wal, WalError, WritePath};
use std::sync::Arc;

fn on(sim: &SimDisk) -> Options {
    let disk: Arc<dyn Disk> = Arc::new(sim.clone());
    options().disk(disk).background(Background::Inline)
}

/// Appends so many records of 1000 bytes and syncs.
fn fill(log: &Wal, n: usize, byte: u8) -> Vec<Lsn> {
    let lsns = (0..n)
        .map(|_| log.append(vec![byte; 1000]).unwrap())
        .collect();
    log.sync().unwrap();
    lsns
}

fn segment_files(sim: &SimDisk) -> usize {
    sim.files()
        .iter()
        .filter(|path| path.extension().is_some_and(|e| e == "wal"))
        .count()
}

#[test]
fn truncation_frees_whole_segments_and_says_where_the_log_starts() {
    let sim = SimDisk::new();
    let log = Wal::open_with("/log", on(&sim)).unwrap();
    let lsns = fill(&log, 90, 1);
    let before = segment_files(&sim);
    log.truncate_before(lsns[70]).unwrap();
    // Some files are kept for recycling, the others are gone.
    assert!(segment_files(&sim) < before && log.stats().bytes_truncated > 0);
    let first = log.first_lsn();
    assert!(first > Lsn::ZERO && first <= lsns[70]);
    let kept: Vec<_> = log
        .read_from(Lsn::ZERO)
        .unwrap()
        .map(|r| r.unwrap().lsn)
        .collect();
    assert_eq!(
        kept,
        lsns.iter()
            .copied()
            .filter(|lsn| *lsn >= first)
            .collect::<Vec<_>>()
    );
    assert!(
        matches!(log.read_from(lsns[0]), Err(WalError::Truncated { first: f, .. }) if f == first)
    );
    assert!(matches!(
        log.retain(lsns[0]),
        Err(WalError::Truncated { .. })
    ));
    drop(log);
    let log = Wal::open_with("/log", on(&sim)).unwrap();
    assert_eq!(log.first_lsn(), first);
    assert_eq!(contents(&log).len(), kept.len());
}

#[test]
fn only_durable_segments_are_truncated() {
    let sim = SimDisk::new();
    let log = Wal::open_with("/log", on(&sim).write_path(WritePath::PageCache)).unwrap();
    for _ in 0..60 {
        let _ = log.append(vec![1; 1000]).unwrap();
    }
    log.truncate_before(Lsn::new(u64::MAX)).unwrap();
    assert_eq!(log.first_lsn(), Lsn::ZERO);
    log.sync().unwrap();
    log.truncate_before(Lsn::new(u64::MAX)).unwrap();
    assert!(log.first_lsn() > Lsn::ZERO && log.first_lsn() < log.durable_lsn());
}

/// What is not synced stands in memory on the direct path, so there is a bound: the tail and one
/// segment before it.
#[test]
fn appends_without_sync_do_not_fill_the_memory() {
    let sim = SimDisk::new();
    let log = Wal::open_with("/log", on(&sim).write_path(WritePath::Direct)).unwrap();
    for n in 0..200_usize {
        let _ = log.append(vec![n.to_le_bytes()[0]; 1000]).unwrap();
        let unsynced = log.end_lsn().bytes_since(log.durable_lsn());
        assert!(unsynced <= 2 * (16 << 10), "{unsynced} bytes at {n}");
    }
    assert!(log.stats().segments > 10);
    let mut read = log.read_from(Lsn::ZERO).unwrap();
    for n in 0..190_usize {
        let record = read.next().unwrap().unwrap();
        assert_eq!(&record.payload[..], vec![n.to_le_bytes()[0]; 1000]);
    }
}

#[test]
fn guards_and_readers_hold_truncation_back() {
    let sim = SimDisk::new();
    let log = Wal::open_with("/log", on(&sim)).unwrap();
    let lsns = fill(&log, 60, 1);
    let mut guard = log.retain(lsns[30]).unwrap();
    let mut reader = log.read_from(lsns[20]).unwrap();
    log.truncate_before(log.durable_lsn()).unwrap();
    assert!(log.first_lsn() <= lsns[20]);
    assert_eq!(
        reader.by_ref().map(|r| r.unwrap().lsn).collect::<Vec<_>>(),
        lsns[20..]
    );
    drop(reader);
    log.truncate_before(log.durable_lsn()).unwrap();
    assert!(log.first_lsn() > lsns[14] && log.first_lsn() <= lsns[30]);
    guard.advance(lsns[50]);
    guard.advance(lsns[40]);
    assert_eq!(guard.lsn(), lsns[50]);
    log.truncate_before(log.durable_lsn()).unwrap();
    assert!(log.first_lsn() > lsns[30] && log.first_lsn() <= lsns[50]);
    drop(guard);
    log.truncate_before(log.durable_lsn()).unwrap();
    assert!(log.first_lsn() > lsns[44]);
}

/// F9: recycled files are full of old intact frames; none of them is ever shown.
#[test]
fn recycled_segments_show_nothing_old() {
    let sim = SimDisk::new();
    let log = Wal::open_with("/log", on(&sim)).unwrap();
    let mut recycled = 0;
    for round in 0..20_u8 {
        fill(&log, 16, round);
        sim.fail(
            Fault::new(Call::Create, FaultKind::Enospc)
                .on(".wal")
                .forever(),
        );
        log.truncate_before(log.durable_lsn()).unwrap();
        // Without new files the next segment can only be a recycled one.
        recycled += usize::from(round > 1 && log.append(vec![round; 15 << 9]).is_ok());
        sim.clear_faults();
        for record in log.read_from(Lsn::ZERO).unwrap() {
            let record = record.unwrap();
            assert!(
                record.payload[0] + 1 >= round,
                "round {round} shows {:?}",
                record.payload[0]
            );
        }
    }
    assert!(recycled > 10, "{recycled}");
    drop(log);
    assert!(
        contents(&Wal::open_with("/log", on(&sim)).unwrap())
            .iter()
            .all(|r| r[0] >= 18)
    );
}

/// A payload that is still held keeps its bytes, whatever becomes of its segment.
#[test]
fn a_held_payload_survives_truncation_recycling_and_close() {
    for sim in [Some(SimDisk::new()), None] {
        let dir = tempfile::tempdir().unwrap();
        let options = || match &sim {
            Some(sim) => on(sim),
            None => options(),
        };
        let path = if sim.is_some() {
            "/log".into()
        } else {
            dir.path().to_owned()
        };
        let log = Wal::open_with(&path, options()).unwrap();
        fill(&log, 20, 7);
        let held = log
            .read_from(Lsn::ZERO)
            .unwrap()
            .next()
            .unwrap()
            .unwrap()
            .payload;
        for round in 0..5 {
            fill(&log, 40, round);
            log.truncate_before(log.durable_lsn()).unwrap();
        }
        fill(&log, 3, 9);
        // On the real disk alone: the simulator maps no file for writing twice, and a held payload
        // keeps the map.
        let late = sim
            .is_none()
            .then(|| log.read_from(Lsn::ZERO).unwrap().last().unwrap());
        log.close().unwrap();
        drop(log);
        let log = Wal::open_with(&path, options()).unwrap();
        for round in 0..5 {
            fill(&log, 40, round);
            log.truncate_before(log.durable_lsn()).unwrap();
        }
        assert!(held.iter().all(|b| *b == 7));
        if let Some(late) = late {
            assert!(late.unwrap().payload.iter().all(|b| *b == 9));
        }
    }
}

/// What falls far behind is read from the file, also by those that hold it; the log takes no more
/// memory however far it goes.
#[test]
#[expect(clippy::disallowed_methods, reason = "asks the kernel what is mapped")]
fn memory_behind_the_log_is_given_back_while_others_read_it() {
    let dir = tempfile::tempdir().unwrap();
    let direct = options().write_path(WritePath::Direct);
    let log = match Wal::open_with(dir.path(), direct.segment_size(1 << 20)) {
        Err(WalError::Io { source, .. }) if source.kind() == std::io::ErrorKind::Unsupported => {
            eprintln!("skipped: no direct I/O in {}", dir.path().display());
            return;
        }
        opened => opened.unwrap(),
    };
    let number = |index: u64| index.to_le_bytes().repeat(125);
    let mut held = Vec::new();
    let mut next = Lsn::ZERO;
    let shows_file = || {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let ours = dir.path().to_str().unwrap();
        maps.lines()
            .any(|line| line.contains(ours) && line.contains("r--p"))
    };
    // The thread gives back when it comes to it: some time in the first segment, long before the
    // last round.
    let mut shown = None;
    for index in 0..20_000 {
        let _lsn = log.append(number(index)).unwrap();
        if index % 50 == 49 {
            log.sync().unwrap();
            let records = log.read_from(next).unwrap();
            held.extend(records.map(|record| record.unwrap().payload));
            next = log.durable_lsn();
            assert_eq!(held.len() as u64, index + 1);
            if shown.is_none() && shows_file() {
                shown = Some(index);
            }
            if shown.is_some_and(|shown| index > shown + 2_000) {
                break;
            }
        }
    }
    assert!(shown.is_some(), "no memory was given back");
    for (index, payload) in (0..).zip(&held) {
        assert_eq!(**payload, *number(index), "record {index}");
    }
    let again = log.read_from(Lsn::ZERO).unwrap();
    assert!(
        again
            .zip(&held)
            .all(|(record, held)| record.unwrap().payload[..] == held[..])
    );
}

#[test]
fn failing_to_note_the_new_start_truncates_nothing() {
    let sim = SimDisk::new();
    let log = Wal::open_with("/log", on(&sim)).unwrap();
    let lsns = fill(&log, 60, 1);
    for call in [Call::Write, Call::Sync, Call::Rename, Call::SyncDir] {
        sim.fail(Fault::new(call, FaultKind::Eio));
        assert!(
            matches!(log.truncate_before(lsns[50]), Err(WalError::Io { .. })),
            "{call:?}"
        );
        assert_eq!((log.first_lsn(), contents(&log).len()), (Lsn::ZERO, 60));
    }
    log.truncate_before(lsns[50]).unwrap();
    assert!(log.first_lsn() > Lsn::ZERO);
}

#[test]
fn the_segment_size_may_change_between_runs() {
    let sim = SimDisk::new();
    let mut lsns = Vec::new();
    for size in [16 << 10, 64 << 10, 8 << 10, 32 << 10] {
        let log = Wal::open_with("/log", on(&sim).segment_size(size)).unwrap();
        let max = on(&sim).segment_size(size).max_record();
        lsns.push(log.append(vec![1; max]).unwrap());
        lsns.extend(fill(&log, 30, 1));
    }
    let log = Wal::open_with("/log", on(&sim)).unwrap();
    let shown: Vec<_> = log
        .read_from(Lsn::ZERO)
        .unwrap()
        .map(|r| r.unwrap().lsn)
        .collect();
    assert_eq!(shown, lsns);
}

/// A chunk holds its bytes from the start: of a segment that nobody read yet, and when its file is
/// truncated and used again. It was mapped at its first reading only: taking its bytes before
/// panicked, reading behind a truncation failed.
#[test]
fn a_chunk_holds_its_bytes_whatever_becomes_of_the_log() {
    for path in [WritePath::Direct, WritePath::PageCache] {
        let sim = SimDisk::new();
        let log = Wal::open_with("/log", on(&sim).write_path(path)).unwrap();
        let first = fill(&log, 60, 1)[0];
        let chunk = || {
            let last = Lsn::new(first.get() / (16 << 10) * (16 << 10) + (16 << 10));
            log.chunk(first, last).unwrap()
        };
        let (read, unread) = (chunk(), chunk());
        let bytes = read.as_ref().to_vec();
        assert!(bytes.iter().filter(|byte| **byte == 1).count() > 10_000);
        log.truncate_before(log.durable_lsn()).unwrap();
        assert!(log.first_lsn() > first);
        let _ = fill(&log, 60, 2);
        assert!(read.as_ref() == bytes && unread.as_ref() == bytes);
        let mut records = Vec::new();
        for frame in unread.frames() {
            let frame = frame.unwrap();
            records.extend(frame.records().map(|record| record.to_vec()));
        }
        assert!(records.len() > 10 && records.iter().all(|record| *record == [1; 1000]));
    }
}

/// The lower-level ways to read give what the iterator gives.
#[test]
fn headers_chunks_and_frames_agree_with_the_records() {
    let sim = SimDisk::new();
    let log = Wal::open_with("/log", on(&sim)).unwrap();
    for n in 0..50_u8 {
        let _ = log.append(vec![n; 700]).unwrap();
        let _ = log
            .append_batch([vec![n; 10], vec![], vec![n; 300]])
            .unwrap();
    }
    log.sync().unwrap();
    let expected = contents(&log);
    let (from, to) = (log.first_lsn(), log.durable_lsn());

    let mut reader = log.read_from(from).unwrap();
    let mut by_frame = Vec::new();
    while let Some(frame) = reader.next_frame().unwrap() {
        by_frame.extend(frame.records().map(|record| record.to_vec()));
    }
    assert_eq!(by_frame, expected);

    let headers: Vec<_> = log
        .scan_headers(from, to)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert!(headers.windows(2).all(|pair| pair[0].lsn < pair[1].lsn));
    assert_eq!(
        headers
            .iter()
            .filter(|h| h.kind == FrameKind::Batch)
            .count(),
        50
    );

    for target in [1, 3000, 1 << 20] {
        let chunks = log.chunks(from, to, target).unwrap();
        let mut by_chunk = Vec::new();
        for chunk in &chunks {
            let again = log.chunk(chunk.from_lsn(), chunk.to_lsn()).unwrap();
            for frame in again.frames() {
                let frame = frame.unwrap();
                by_chunk.extend(frame.records().map(|record| record.to_payload().to_vec()));
            }
        }
        assert_eq!(by_chunk, expected, "target {target}");
    }
    assert!(
        matches!(log.chunk(from, to), Err(WalError::BadOptions { .. })),
        "crosses segments"
    );
}
