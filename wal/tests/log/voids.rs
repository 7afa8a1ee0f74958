//! Records that were taken back: no reader shows them, whatever happened since.

use crate::common::contents;
use highwater_wal::disk::sim::{Call, Fault, FaultKind};
use highwater_wal::disk::{Disk, SimDisk};
use highwater_wal::inspect::{self, Log};
use highwater_wal::{Background, Lsn, Options, StreamId, Tailed, Wal, WalError, WritePath};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

fn disk(sim: &SimDisk) -> Arc<dyn Disk> {
    Arc::new(sim.clone())
}

fn options(sim: &SimDisk) -> Options {
    Options::new()
        .segment_size(16 << 10)
        .write_path(WritePath::PageCache)
        .background(Background::Inline)
        .log_id_seed(5)
        .disk(disk(sim))
}

fn open_at(sim: &SimDisk, dir: &str) -> Wal {
    Wal::open_with(dir, options(sim)).unwrap()
}

fn open(sim: &SimDisk) -> Wal {
    open_at(sim, "/log")
}

fn texts(log: &Wal) -> Vec<String> {
    let texts = contents(log).into_iter().map(String::from_utf8);
    texts.map(Result::unwrap).collect()
}

/// A log of a to f, of which c and d are void.
fn with_void(log: &Wal) -> [Lsn; 6] {
    let lsns = ["a", "b", "c", "d"].map(|text| log.append(text).unwrap());
    let void = log.void(lsns[2], log.end_lsn()).unwrap();
    let last = ["e", "f"].map(|text| log.append(text).unwrap());
    assert!(lsns[3] < void && void < last[0]);
    log.sync().unwrap();
    [lsns[0], lsns[1], lsns[2], lsns[3], last[0], last[1]]
}

#[test]
fn every_reader_passes_over_what_was_taken_back() {
    let sim = SimDisk::new();
    let log = open(&sim);
    let lsns = with_void(&log);
    let end = log.durable_lsn();
    assert_eq!(texts(&log), ["a", "b", "e", "f"]);
    // From within the range, too.
    let read = |from, to| {
        let records = log.read_range(from, to).unwrap();
        records.map(|r| r.unwrap().lsn).collect::<Vec<_>>()
    };
    assert_eq!(read(lsns[3], end), lsns[4..]);
    assert_eq!(read(lsns[2], lsns[4]), []);
    let mut reader = log.read_from(Lsn::ZERO).unwrap();
    let mut frames = 0;
    while let Some(frame) = reader.next_frame().unwrap() {
        assert!(![lsns[2], lsns[3]].contains(&frame.lsn));
        frames += 1;
    }
    assert_eq!(frames, 4);
    assert_eq!(
        log.read_from(Lsn::ZERO)
            .unwrap()
            .only(StreamId::DEFAULT)
            .count(),
        4
    );
    let chunk = log.chunk(Lsn::ZERO, end).unwrap();
    assert_eq!(chunk.frames().count(), 4);
    assert_eq!(chunk.unchecked_frames().count(), 4);
    assert_eq!(chunk.frames_of(StreamId::DEFAULT).count(), 4);
    let chunks = log.chunks(Lsn::ZERO, end, 1).unwrap();
    let split: usize = chunks.iter().map(|chunk| chunk.frames().count()).sum();
    assert_eq!(split, 4);
    let voided = log
        .scan_headers(Lsn::ZERO, end)
        .unwrap()
        .map(Result::unwrap);
    let voided: Vec<_> = voided.filter(|f| f.is_void).map(|f| f.lsn).collect();
    assert_eq!(voided, lsns[2..4]);
    let tail = log.tail(Lsn::ZERO).unwrap();
    log.close().unwrap();
    assert_eq!(
        tail.map(|r| r.unwrap().lsn).collect::<Vec<_>>(),
        [lsns[0], lsns[1], lsns[4], lsns[5]]
    );
}

/// A range that is void before its frame is durable could come back after a crash: what a reader
/// had passed over would be there again.
#[test]
fn nothing_is_void_before_that_is_durable() {
    let sim = SimDisk::new();
    // What is not synced is in the memory of the process.
    let open =
        |sim: &SimDisk| Wal::open_with("/log", options(sim).write_path(WritePath::Direct)).unwrap();
    let log = open(&sim);
    let first = log.append("a").unwrap();
    log.sync_to(first).unwrap();
    let void = log.void(first, log.end_lsn()).unwrap();
    assert_eq!(texts(&log), ["a"]);
    sim.cut_power_now();
    drop(log);
    let sim = sim.restart_after_power_cut(1);
    let log = open(&sim);
    assert_eq!(texts(&log), ["a"], "the frame was not durable");
    assert!(log.end_lsn() >= void);
    let void = log.void(first, log.end_lsn()).unwrap();
    log.sync_to(void).unwrap();
    assert_eq!(texts(&log), Vec::<String>::new());
}

/// The control file is written in between, for another reason.
#[test]
fn the_control_file_takes_nothing_back_that_is_not_durable() {
    let sim = SimDisk::new();
    let open = |sim: &SimDisk| {
        let options = options(sim).segment_size(8 << 10).min_segment_size(8 << 10);
        Wal::open_with("/log", options.write_path(WritePath::Direct)).unwrap()
    };
    let log = open(&sim);
    while log.stats().segments < 4 {
        let _lsn = log.append([0; 900]).unwrap();
    }
    let last = log.append("last").unwrap();
    log.sync().unwrap();
    let _void = log.void(last, log.end_lsn()).unwrap();
    log.truncate_before(last).unwrap();
    assert!(log.first_lsn() > Lsn::ZERO);
    sim.cut_power_now();
    drop(log);
    let log = open(&sim.restart_after_power_cut(1));
    assert_eq!(contents(&log).pop().unwrap(), b"last");
}

/// A tail that was opened before passes over them, too, if it has not come to them.
#[test]
fn a_tail_passes_over_what_was_taken_back_meanwhile() {
    let sim = SimDisk::new();
    let log = open(&sim);
    let mut tail = log.tail(log.end_lsn()).unwrap();
    let next = |tail: &mut highwater_wal::Tail| match tail.next_timeout(Duration::ZERO).unwrap() {
        Tailed::Record(record) => Some(record.payload.to_vec()),
        Tailed::TimedOut | Tailed::Ended => None,
    };
    assert_eq!(next(&mut tail), None);
    let _lsns = with_void(&log);
    for text in ["a", "b", "e", "f"] {
        assert_eq!(next(&mut tail).unwrap(), text.as_bytes());
    }
    assert_eq!(next(&mut tail), None);
}

/// Once with `LOG` written after it, once before: then recovery finds the frame.
#[test]
fn it_stays_void_after_every_restart() {
    for progress in [64, 1 << 30] {
        let sim = SimDisk::new();
        let open = |sim: &SimDisk| {
            Wal::open_with("/log", options(sim).progress_interval(progress)).unwrap()
        };
        let log = open(&sim);
        let _lsns = with_void(&log);
        let mut killed = sim.kill_process();
        drop(log);
        for round in 0..3 {
            let log = open(&killed);
            assert_eq!(
                texts(&log),
                ["a", "b", "e", "f"],
                "{progress}, round {round}"
            );
            match round {
                0 => {
                    drop(log);
                }
                _ => {
                    let again = killed.kill_process();
                    drop(log);
                    killed = again;
                }
            }
        }
    }
}

/// The last segment proves alone that everything is durable, so recovery would begin there, after
/// the frame that takes records back.
#[test]
fn a_void_between_the_control_file_and_the_last_segment_is_found() {
    let sim = SimDisk::new();
    let open = |sim: &SimDisk| {
        let options = options(sim).segment_size(8 << 10).min_segment_size(8 << 10);
        Wal::open_with("/log", options.progress_interval(1 << 30)).unwrap()
    };
    let log = open(&sim);
    let first = log.append("wrong").unwrap();
    log.sync_to(first).unwrap();
    let void = log.void(first, log.end_lsn()).unwrap();
    log.sync_to(void).unwrap();
    while log.stats().segments < 4 {
        let lsn = log.append(vec![b'x'; 900]).unwrap();
        log.sync_to(lsn).unwrap();
    }
    let killed = sim.kill_process();
    drop(log);
    let log = open(&killed);
    assert_eq!(
        log.read_from(Lsn::ZERO)
            .unwrap()
            .next()
            .unwrap()
            .unwrap()
            .payload
            .len(),
        900
    );
}

#[test]
fn repaired_salvaged_and_copied_logs_do_not_bring_it_back() {
    for without_log in [false, true] {
        let sim = SimDisk::new();
        let log = open(&sim);
        let _lsns = with_void(&log);
        log.close().unwrap();
        drop(log);
        let copied = Log::open(disk(&sim), "/log").unwrap();
        copied.copy_from(Lsn::ZERO, "/copied").unwrap();
        if without_log {
            sim.remove_file(Path::new("/log/LOG")).unwrap();
        }
        inspect::repair(&disk(&sim), "/log", "/repaired", |_| ()).unwrap();
        inspect::salvage(&disk(&sim), "/log", "/salvaged", |_| Ok(()), |_| ()).unwrap();
        for dir in ["/copied", "/repaired", "/salvaged"] {
            let log = open_at(&sim, dir);
            assert_eq!(texts(&log), ["a", "b", "e", "f"], "{dir}, {without_log}");
        }
    }
}

/// F34: the frame that takes records back is damaged, and so may be gone after a repair. `LOG`
/// knows what it said.
#[test]
fn a_damaged_void_brings_nothing_back_while_the_control_file_knows_it() {
    let sim = SimDisk::new();
    let log = open(&sim);
    let lsns = with_void(&log);
    log.close().unwrap();
    drop(log);
    let path = Path::new("/log/00000000000000000000.wal");
    let mut bytes = sim.read_file(path).unwrap();
    bytes[usize::try_from(lsns[3].get()).unwrap() + 24 + 17] ^= 1;
    sim.put_file(path, bytes);
    inspect::salvage(&disk(&sim), "/log", "/salvaged", |_| Ok(()), |_| ()).unwrap();
    assert_eq!(texts(&open_at(&sim, "/salvaged")), ["a", "b", "e", "f"]);
}

#[test]
fn tools_show_what_was_taken_back_as_such() {
    let sim = SimDisk::new();
    let log = open(&sim);
    let lsns = with_void(&log);
    let frames = Log::open(disk(&sim), "/log")
        .unwrap()
        .frames(Lsn::ZERO)
        .unwrap();
    let void: Vec<_> = frames
        .map(Result::unwrap)
        .filter(|f| f.is_void)
        .map(|f| f.lsn)
        .collect();
    assert_eq!(void, lsns[2..4]);
}

/// Also a tool that follows the log from before they were taken back.
#[test]
fn a_follower_in_another_process_shows_what_was_taken_back_as_such() {
    let sim = SimDisk::new();
    let log = open(&sim);
    let mut follow = Log::open(disk(&sim), "/log")
        .unwrap()
        .follow(Lsn::ZERO)
        .unwrap();
    assert!(follow.poll().unwrap().is_none());
    let lsns = with_void(&log);
    log.close().unwrap();
    let shown = std::iter::from_fn(|| follow.poll().unwrap());
    let void: Vec<_> = shown.filter(|f| f.is_void).map(|f| f.lsn).collect();
    assert_eq!(void, lsns[2..4]);
}

/// A version that does not know voids would show the records.
#[test]
fn the_control_file_names_the_feature_before_the_first_void() {
    let sim = SimDisk::new();
    let log = Wal::open_with("/log", options(&sim).timestamps(false)).unwrap();
    let version = || {
        let bytes = sim.read_file(Path::new("/log/LOG")).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        json["format_version"].as_u64().unwrap()
    };
    let lsn = log.append("a").unwrap();
    assert_eq!(version(), 1);
    sim.fail(Fault::new(Call::Rename, FaultKind::Eio));
    let end = log.end_lsn();
    assert!(log.void(lsn, end).is_err());
    assert_eq!(log.end_lsn(), end, "and it was not appended");
    sim.clear_faults();
    let _void = log.void(lsn, end).unwrap();
    assert_eq!(version(), 2);
}

#[test]
fn a_void_is_forgotten_with_what_it_covers() {
    let sim = SimDisk::new();
    let log = open(&sim);
    let _lsns = with_void(&log);
    let names_it = || {
        let bytes = sim.read_file(Path::new("/log/LOG")).unwrap();
        String::from_utf8(bytes).unwrap().contains("\"voids\"")
    };
    while log.stats().segments < 3 {
        let _lsn = log.append(vec![b'x'; 900]).unwrap();
    }
    log.sync().unwrap();
    log.truncate_before(Lsn::new(1)).unwrap();
    log.close().unwrap();
    drop(log);
    assert!(names_it());
    let log = open(&sim);
    log.truncate_before(log.end_lsn()).unwrap();
    log.close().unwrap();
    assert!(!names_it());
}

#[test]
fn what_cannot_be_taken_back_is_refused() {
    let sim = SimDisk::new();
    let log = open(&sim);
    let lsn = log.append("a").unwrap();
    let (end, beyond) = (log.end_lsn(), Lsn::new(log.end_lsn().get() + 8));
    let error = log.void(lsn, beyond).unwrap_err();
    assert!(matches!(error, WalError::BeyondEnd { .. }), "{error}");
    for (from, to) in [(end, end), (end, lsn)] {
        let error = log.void(from, to).unwrap_err();
        assert!(matches!(error, WalError::BadOptions { .. }), "{error}");
        assert!(
            error.to_string().contains("nothing to take back"),
            "{error}"
        );
    }
    log.close().unwrap();
    let error = log.void(lsn, end).unwrap_err();
    assert!(matches!(error, WalError::Closed { .. }), "{error}");
}

/// `LOG` has a bound, and so has what it lists. Ranges that touch are one.
#[test]
fn so_many_ranges_can_be_void_and_no_more() {
    let sim = SimDisk::new();
    let log = Wal::open_with("/log", options(&sim).segment_size(1 << 20)).unwrap();
    let one = || {
        let (void, _kept) = (log.append("v").unwrap(), log.append("k").unwrap());
        log.void(void, Lsn::new(void.get() + 8))
    };
    for _ in 0..4096 {
        let _lsn = one().unwrap();
    }
    let error = one().unwrap_err();
    assert!(
        matches!(error, WalError::TooMany { most: 4096, .. }),
        "{error}"
    );
    let _all = log.void(Lsn::ZERO, log.end_lsn()).unwrap();
    let _lsn = one().unwrap();
    log.close().unwrap();
    drop(log);
    assert_eq!(texts(&open(&sim)).len(), 1);
}

/// A program at the bound of its log can still take records back.
#[test]
fn a_full_log_takes_records_back() {
    let sim = SimDisk::new();
    let options = options(&sim).max_bytes(64 << 10);
    let log = Wal::open_with("/log", options).unwrap();
    let first = log.append("a").unwrap();
    while log.append([0; 900]).is_ok() {}
    let void = log.void(first, log.end_lsn()).unwrap();
    log.sync_to(void).unwrap();
    assert_eq!(log.read_from(Lsn::ZERO).unwrap().count(), 0);
}
