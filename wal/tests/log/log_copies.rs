//! Copies of a log from a position on: same records, same LSNs, and the log itself untouched.

use crate::common;
use crate::saved_seeds;
use highwater_wal::disk::sim::Rng;
use highwater_wal::disk::{Disk, SimDisk};
use highwater_wal::inspect::{DumpedFrame, Log};
use highwater_wal::{Background, Finding, Lsn, Options, StreamId, Wal, WalError, WritePath};
use std::path::PathBuf;
use std::sync::Arc;

fn disk(sim: &SimDisk) -> Arc<dyn Disk> {
    Arc::new(sim.clone())
}

fn options(sim: &SimDisk) -> Options {
    let options = Options::new()
        .segment_size(8 << 10)
        .write_path(WritePath::PageCache)
        .background(Background::Inline);
    options.log_id_seed(5).disk(disk(sim))
}

/// Appends records of every kind, and syncs.
fn fill(log: &Wal, rng: &mut Rng, count: u64) -> Vec<Lsn> {
    let mut lsns = Vec::new();
    for n in 0..count {
        let payload =
            vec![u8::try_from(n % 251).unwrap(); usize::try_from(rng.below(900)).unwrap()];
        lsns.push(match n % 3 {
            0 => log.append_control(StreamId(2), payload).unwrap(),
            1 => {
                log.append_batch_to(StreamId(7), [payload, vec![], vec![9; 300]])
                    .unwrap()
                    .first
            }
            _ => log.append(payload).unwrap(),
        });
    }
    log.sync().unwrap();
    lsns
}

/// What the frames at or after `from` say, without the file that they are in.
fn frames(log: &Log, from: Lsn) -> Vec<(Lsn, Lsn, StreamId, Vec<u8>)> {
    let all = log.frames(Lsn::ZERO).unwrap().map(Result::unwrap);
    let after = all.filter(|frame: &DumpedFrame| frame.lsn >= from);
    after
        .map(|frame| (frame.lsn, frame.end_lsn, frame.stream, frame.payload))
        .collect()
}

fn files(sim: &SimDisk, dir: &str) -> Vec<(PathBuf, Option<Vec<u8>>)> {
    let files = sim.files().into_iter().filter(|path| path.starts_with(dir));
    files
        .map(|path| (path.clone(), sim.read_file(path)))
        .collect()
}

fn look(sim: &SimDisk, dir: &str) -> Log {
    Log::open(disk(sim), dir).unwrap()
}

#[test]
fn a_copy_has_the_same_frames_at_the_same_lsns_while_the_log_is_in_use() {
    for seed in saved_seeds::seeds(0..40) {
        let mut rng = Rng::new(seed);
        let sim = SimDisk::new();
        let options = match seed % 2 {
            0 => options(&sim),
            _ => options(&sim).compression(common::zstd()),
        };
        let log = Wal::open_with("/log", options.clone()).unwrap();
        let count = rng.below(120) + 1;
        let lsns = fill(&log, &mut rng, count);
        let any = |rng: &mut Rng| lsns[usize::try_from(rng.below(count)).unwrap()];
        if rng.below(2) == 0 {
            log.truncate_before(any(&mut rng)).unwrap();
        }
        let from = any(&mut rng).max(log.first_lsn());
        // In use, closed, or left by a crash.
        let log = match rng.below(3) {
            0 => Some(log),
            1 => {
                log.close().unwrap();
                None
            }
            _ => {
                drop(log);
                None
            }
        };
        let before = files(&sim, "/log");
        let source = look(&sim, "/log");
        let copied = source.copy_from(from, "/copy").unwrap();
        assert_eq!(files(&sim, "/log"), before, "{seed}: the log is untouched");
        assert!(copied.first_lsn <= from && copied.first_lsn >= source.first_lsn());
        assert!(from.bytes_since(copied.first_lsn) < 8 << 10, "{seed}");
        let copy = look(&sim, "/copy");
        assert_eq!(copy.log_id(), source.log_id());
        let all = frames(&copy, Lsn::ZERO);
        assert_eq!(all, frames(&source, copied.first_lsn), "{seed}");
        assert_eq!(all.len() as u64, copied.frames);
        // It is a log like any other: it opens, shows what was there, and goes on.
        let new = Wal::open_with("/copy", options.clone()).unwrap();
        assert_eq!(new.first_lsn(), copied.first_lsn);
        let last = lsns.last().unwrap();
        assert!(
            new.read_from(from)
                .unwrap()
                .any(|record| record.unwrap().lsn == *last)
        );
        let appended = new.append("more").unwrap();
        new.sync_to(appended).unwrap();
        assert!(appended >= copied.end_lsn);
        drop(log);
    }
}

#[test]
fn the_start_of_the_log_and_its_very_end_can_be_copied() {
    let sim = SimDisk::new();
    let log = Wal::open_with("/log", options(&sim)).unwrap();
    let source = look(&sim, "/log");
    let empty = source.copy_from(Lsn::ZERO, "/empty").unwrap();
    assert_eq!((empty.first_lsn, empty.frames), (Lsn::ZERO, 0));
    fill(&log, &mut Rng::new(1), 50);
    let source = look(&sim, "/log");
    let end = source.frames(Lsn::ZERO).unwrap().log_end();
    let last = source.copy_from(end, "/end").unwrap();
    assert_eq!(last.end_lsn, end);
    let all = source.copy_from(Lsn::ZERO, "/all").unwrap();
    assert_eq!((all.first_lsn, all.end_lsn), (Lsn::ZERO, end));
    assert!(last.frames < all.frames);
}

#[test]
fn what_is_gone_damaged_or_in_the_way_is_refused() {
    let sim = SimDisk::new();
    let log = Wal::open_with("/log", options(&sim)).unwrap();
    let lsns = fill(&log, &mut Rng::new(3), 90);
    log.truncate_before(lsns[60]).unwrap();
    let source = look(&sim, "/log");
    let gone = source.copy_from(lsns[0], "/gone").unwrap_err();
    assert!(matches!(gone, WalError::Truncated { .. }), "{gone}");
    let beyond = source.copy_from(Lsn::new(1 << 40), "/beyond").unwrap_err();
    assert!(matches!(beyond, WalError::BeyondEnd { .. }), "{beyond}");
    let inside = source.copy_from(lsns[70], "/log/copy").unwrap_err();
    assert!(inside.to_string().contains("must lie outside"), "{inside}");
    source.copy_from(lsns[70], "/copy").unwrap();
    let taken = source.copy_from(lsns[70], "/copy").unwrap_err();
    assert!(taken.to_string().contains("not empty"), "{taken}");
    // A byte in the middle is another one: what is copied is no log.
    log.close().unwrap();
    let frames = look(&sim, "/log").frames(lsns[65]).unwrap();
    let frame = frames
        .map(Result::unwrap)
        .find(|frame| !frame.payload.is_empty());
    let frame = frame.unwrap();
    let file = disk(&sim)
        .open(&frame.file, highwater_wal::disk::Access::ReadWrite)
        .unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, frame.offset + 16).unwrap();
    file.write_all_at(&[byte[0] ^ 1], frame.offset + 16)
        .unwrap();
    let damaged = look(&sim, "/log").copy_from(lsns[62], "/damaged");
    let damaged = damaged.unwrap_err();
    assert!(
        matches!(&damaged, WalError::Corrupt { finding, .. } if *finding == Finding::CorruptProven),
        "{damaged:?}"
    );
    assert!(Log::open(disk(&sim), "/damaged").is_err(), "it is no log");
    // A segment that is gone ends the log for a reader, and is no end for a copy.
    let log = look(&sim, "/log");
    let segments = log.segments().unwrap();
    let held = segments.iter().find(|segment| segment.base > lsns[75]);
    disk(&sim).remove_file(&held.unwrap().file).unwrap();
    let holed = look(&sim, "/log").copy_from(lsns[70], "/holed");
    let holed = holed.unwrap_err();
    assert!(
        matches!(&holed, WalError::Corrupt { finding, .. } if *finding == Finding::MissingSegment),
        "{holed:?}"
    );
    assert!(Log::open(disk(&sim), "/holed").is_err(), "it is no log");
}
