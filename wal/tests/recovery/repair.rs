//! Repair and salvage: what they keep of a damaged log, and that they never touch it.

use crate::saved_seeds;
use highwater_wal::disk::sim::{Call, Fault, FaultKind, Rng};
use highwater_wal::disk::{Disk, SimDisk};
use highwater_wal::inspect::{self, DumpedFrame, Repaired, Salvaged};
use highwater_wal::{
    Background, Finding, FrameKind, Lsn, Options, RecordKind, StreamId, Wal, WalError, WritePath,
};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const SEGMENT_SIZE: u64 = 8 << 10;

fn disk(sim: &SimDisk) -> Arc<dyn Disk> {
    Arc::new(sim.clone())
}

fn options(sim: &SimDisk) -> Options {
    let options = Options::new()
        .segment_size(SEGMENT_SIZE)
        .write_path(WritePath::PageCache)
        .background(Background::Inline);
    options.log_id_seed(5).disk(disk(sim))
}

/// How the log was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    Closed,
    Killed,
}

/// A log of several segments with records of every kind.
fn build(left: Left) -> SimDisk {
    let sim = SimDisk::new();
    let log = Wal::open_with("/log", options(&sim)).unwrap();
    let mut rng = Rng::new(1);
    for n in 0..60_u8 {
        let size = |rng: &mut Rng| usize::try_from(rng.below(900)).unwrap();
        match n % 5 {
            0 => {
                let _ = log
                    .append_control(StreamId(2), vec![n; size(&mut rng)])
                    .unwrap();
            }
            1 => {
                let records = [vec![n; size(&mut rng)], vec![], vec![n; 3]];
                let _ = log.append_batch_to(StreamId(7), &records).unwrap();
            }
            2 => {
                let _ = log.append([]).unwrap();
            }
            _ => {
                let lsn = log.append(vec![n; size(&mut rng)]).unwrap();
                if n % 3 == 0 {
                    log.sync_to(lsn).unwrap();
                }
            }
        }
    }
    log.sync().unwrap();
    match left {
        Left::Closed => {
            log.close().unwrap();
            drop(log);
            sim
        }
        Left::Killed => {
            let killed = sim.kill_process();
            drop(log);
            killed
        }
    }
}

fn frames(sim: &SimDisk, dir: &str) -> Vec<DumpedFrame> {
    let log = inspect::Log::open(disk(sim), dir).unwrap();
    log.frames(Lsn::ZERO).unwrap().map(Result::unwrap).collect()
}

/// What a frame holds, wherever it stands.
type Content = (FrameKind, StreamId, Vec<u8>);

fn content(frame: &DumpedFrame) -> Content {
    (frame.kind, frame.stream, frame.payload.clone())
}

fn with_records(frame: &DumpedFrame) -> bool {
    matches!(
        frame.kind,
        FrameKind::Data | FrameKind::Batch | FrameKind::Control
    )
}

/// The bytes of a frame that mean something: padding does not.
fn extent(frame: &DumpedFrame) -> Range<u64> {
    frame.offset..frame.offset + 16 + frame.payload.len() as u64
}

fn segments(sim: &SimDisk) -> Vec<String> {
    let paths = sim
        .files()
        .into_iter()
        .map(|path| path.to_str().unwrap().to_owned());
    paths
        .filter(|path| path.starts_with("/log/") && path.ends_with(".wal"))
        .collect()
}

fn snapshot(sim: &SimDisk) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = sim
        .files()
        .into_iter()
        .filter(|path| path.starts_with("/log"));
    files
        .map(|path| (path.clone(), sim.read_file(&path).unwrap()))
        .collect()
}

/// Repairs, checks that nothing was touched and that the result is a log that can be used, and
/// returns its frames.
fn repair(sim: &SimDisk) -> (Repaired, Vec<DumpedFrame>) {
    let before = snapshot(sim);
    let repaired = inspect::repair(&disk(sim), "/log", "/repaired", |_| ()).unwrap();
    assert!(before == snapshot(sim), "repair touched the log");
    let kept: Vec<DumpedFrame> = frames(sim, "/repaired");
    let log = Wal::open_with("/repaired", options(sim)).unwrap();
    assert_eq!(log.log_id(), repaired.log_id);
    assert_eq!(log.recovery().end_lsn, repaired.end_lsn);
    let read: Vec<Lsn> = log
        .read_from(Lsn::ZERO)
        .unwrap()
        .map(|record| record.unwrap().lsn)
        .collect();
    assert_eq!(read.len() as u64, repaired.records);
    let lsn = log.append("goes on").unwrap();
    log.sync_to(lsn).unwrap();
    assert!(lsn >= repaired.end_lsn && repaired.end_lsn >= repaired.kept_until);
    log.close().unwrap();
    (repaired, kept)
}

/// Salvages, checks that nothing was touched and that every pair of LSNs is right, and returns what
/// was saved.
fn salvage(sim: &SimDisk) -> (Salvaged, Vec<(Lsn, Content)>) {
    let before = snapshot(sim);
    let mut saved = Vec::new();
    let mut new = Vec::new();
    let moved = |moved: &inspect::Moved<'_>| {
        saved.push((moved.frame.lsn, content(moved.frame)));
        new.push(moved.new_lsn);
        Ok(())
    };
    let salvaged = inspect::salvage(&disk(sim), "/log", "/salvaged", moved, |_| ()).unwrap();
    assert!(before == snapshot(sim), "salvage touched the log");
    let there: Vec<_> = frames(sim, "/salvaged")
        .iter()
        .filter(|frame| with_records(frame))
        .map(|frame| (frame.lsn, content(frame)))
        .collect();
    let expected: Vec<_> = new
        .into_iter()
        .zip(saved.iter().map(|(_, c)| c.clone()))
        .collect();
    assert_eq!(there, expected);
    assert_eq!(salvaged.frames, saved.len() as u64);
    (salvaged, saved)
}

/// Puts `fill` over a sector; returns the bytes that it changed.
fn overwrite(
    sim: &SimDisk,
    path: &str,
    at: usize,
    fill: usize,
    rng: &mut Rng,
) -> Option<Range<u64>> {
    let mut changed: Option<Range<u64>> = None;
    sim.edit(path, |bytes| {
        let end = (at + 512).min(bytes.len());
        for (place, byte) in bytes.iter_mut().enumerate().take(end).skip(at) {
            let new = match fill {
                0 => 0,
                1 => 0xFF,
                _ => rng.below(256).to_le_bytes()[0],
            };
            if *byte != new {
                let place = place as u64;
                let from = changed.as_ref().map_or(place, |range| range.start);
                changed = Some(from..place + 1);
            }
            *byte = new;
        }
    });
    changed
}

/// F44, F33, F34: every sector of every file of a small log, overwritten in three ways. Repair
/// keeps every frame before the first damaged one at its LSN, salvage every frame that is not
/// damaged, and both say what is gone.
#[test]
fn every_damaged_sector_costs_what_it_hits_and_no_more() {
    for left in [Left::Closed, Left::Killed] {
        let sim = build(left);
        let all = frames(&sim, "/log");
        let mut rng = Rng::new(3);
        let mut losses = 0;
        for path in segments(&sim) {
            let len = sim.read_file(&path).unwrap().len();
            for (at, fill) in (0..len)
                .step_by(512)
                .flat_map(|at| (0..3).map(move |f| (at, f)))
            {
                let copy = sim.snapshot();
                let changed = overwrite(&copy, &path, at, fill, &mut rng).unwrap_or(0..0);
                let what = format!("{left:?} {path} {at} fill {fill}");
                let hit = |frame: &DumpedFrame| {
                    let extent = extent(frame);
                    frame.file == Path::new(&path)
                        && extent.start < changed.end
                        && changed.start < extent.end
                };
                let first_hit = all.iter().position(hit).unwrap_or(all.len());
                let damaged = first_hit < all.len();

                let (repaired, kept) = repair(&copy);
                assert_eq!(
                    kept.len() as u64,
                    repaired.frames + seals_added(&repaired, &kept),
                    "{what}"
                );
                let same: Vec<_> = kept
                    .iter()
                    .take(first_hit)
                    .map(|f| (f.lsn, content(f)))
                    .collect();
                let expected: Vec<_> = all[..first_hit]
                    .iter()
                    .map(|f| (f.lsn, content(f)))
                    .collect();
                assert_eq!(same, expected, "{what}");
                assert!(
                    kept[first_hit..].iter().all(|f| f.kind == FrameKind::Seal),
                    "{what}"
                );

                let (salvaged, saved) = salvage(&copy);
                let intact: Vec<_> = all
                    .iter()
                    .filter(|frame| with_records(frame) && !hit(frame))
                    .map(|frame| (frame.lsn, content(frame)))
                    .collect();
                assert_eq!(saved, intact, "{what}");
                assert_eq!(repaired.lost.is_empty(), salvaged.lost.is_empty(), "{what}");
                if damaged {
                    losses += usize::from(!repaired.lost.is_empty());
                    let range = repaired
                        .lost
                        .ranges
                        .first()
                        .or(salvaged.torn.ranges.first());
                    // What only the last group of a killed log had is not known to have been there.
                    assert!(range.is_some() || left == Left::Killed, "{what}");
                    if let Some(range) = range {
                        assert_eq!(range.from, all[first_hit].lsn, "{what}");
                        assert_eq!(range.file, all[first_hit].file, "{what}");
                        assert_eq!(range.offset, all[first_hit].offset, "{what}");
                    }
                    if !repaired.lost.is_empty() {
                        let end = all.last().unwrap().end_lsn;
                        assert!(
                            repaired.end_lsn >= end,
                            "{what}: an LSN would be used twice"
                        );
                    }
                } else {
                    assert!(repaired.lost.is_empty(), "{what}: {:?}", repaired.lost);
                    assert_eq!(repaired.kept_until, repaired.end_lsn, "{what}");
                }
            }
        }
        assert!(losses > 100, "{losses}");
    }
}

/// Seals that repair has put where the old log had none: behind the cut.
fn seals_added(repaired: &Repaired, kept: &[DumpedFrame]) -> u64 {
    let behind = kept.iter().filter(|f| f.lsn >= repaired.kept_until);
    behind.count() as u64
}

/// F44: an intact log gives a copy that is the same in every respect.
#[test]
fn repairing_an_intact_log_copies_it() {
    for left in [Left::Closed, Left::Killed] {
        let sim = build(left);
        let all = frames(&sim, "/log");
        let (repaired, kept) = repair(&sim);
        assert!(repaired.lost.is_empty() && repaired.findings.is_empty());
        let place = |f: &DumpedFrame| (f.lsn, content(f));
        assert_eq!(
            kept.iter().map(place).collect::<Vec<_>>(),
            all.iter().map(place).collect::<Vec<_>>()
        );
        assert_eq!(repaired.end_lsn, all.last().unwrap().end_lsn);
    }
}

/// F44, F33: damage of headers and of `LOG` costs no record, because frames prove themselves.
#[test]
fn damaged_headers_and_meta_cost_nothing() {
    let sim = build(Left::Closed);
    let all = frames(&sim, "/log");
    let mut cases: Vec<(String, SimDisk)> = Vec::new();
    for path in segments(&sim) {
        let copy = sim.snapshot();
        copy.edit(&path, |bytes| bytes[..4096].fill(0x5A));
        cases.push((format!("header of {path}"), copy));
        let copy = sim.snapshot();
        copy.edit(&path, |bytes| bytes.extend([7; 4096]));
        cases.push((format!("junk behind {path}"), copy));
    }
    let paths = segments(&sim);
    let copy = sim.snapshot();
    copy.put_file(&paths[0], sim.read_file(&paths[1]).unwrap());
    copy.put_file(&paths[1], sim.read_file(&paths[0]).unwrap());
    cases.push(("swapped".to_owned(), copy));
    let copy = sim.snapshot();
    copy.edit("/log/LOG", |bytes| bytes.fill(0));
    cases.push(("damaged LOG".to_owned(), copy));
    let copy = sim.snapshot();
    copy.delete_file("/log/LOG");
    cases.push(("missing LOG".to_owned(), copy));
    for (what, sim) in cases {
        assert!(
            !inspect::Log::open(disk(&sim), "/log")
                .and_then(|log| log.verify(|_| ()))
                .is_ok_and(|report| report.is_ok()),
            "{what}"
        );
        let (repaired, kept) = repair(&sim);
        assert!(repaired.lost.is_empty(), "{what}: {:?}", repaired.lost);
        assert!(!repaired.findings.is_empty(), "{what}");
        let lsns = |frames: &[DumpedFrame]| frames.iter().map(|f| f.lsn).collect::<Vec<_>>();
        assert_eq!(lsns(&kept), lsns(&all), "{what}");
        let (salvaged, saved) = salvage(&sim);
        assert!(
            salvaged.lost.is_empty() && !salvaged.findings.is_empty(),
            "{what}"
        );
        assert_eq!(
            saved.len(),
            all.iter().filter(|f| with_records(f)).count(),
            "{what}"
        );
    }
}

/// F44, F37: with a segment missing, repair keeps what is before it, salvage the rest too.
#[test]
fn a_missing_segment_is_a_lost_range() {
    for left in [Left::Closed, Left::Killed] {
        let sim = build(left);
        let all = frames(&sim, "/log");
        let used: Vec<String> = segments(&sim)
            .into_iter()
            .filter(|path| all.iter().any(|f| f.file == Path::new(path)))
            .collect();
        for path in &used {
            let copy = sim.snapshot();
            copy.delete_file(path);
            let base: u64 = path
                .trim_start_matches("/log/")
                .trim_end_matches(".wal")
                .parse()
                .unwrap();
            let before = |f: &&DumpedFrame| f.lsn.get() < base;
            let (repaired, kept) = repair(&copy);
            assert_eq!(
                repaired.lost.ranges[0].from,
                Lsn::new(base),
                "{left:?} {path}"
            );
            assert_eq!(repaired.frames, all.iter().filter(before).count() as u64);
            assert!(
                kept.iter()
                    .all(|f| f.lsn.get() < base || f.kind == FrameKind::Seal)
            );
            assert!(
                all.iter().all(|f| f.lsn < repaired.end_lsn),
                "{left:?} {path}"
            );
            let (salvaged, saved) = salvage(&copy);
            let left_over = all
                .iter()
                .filter(|f| with_records(f) && f.file != Path::new(path));
            assert_eq!(saved.len(), left_over.count(), "{left:?} {path}");
            let range = &salvaged.lost.ranges[0];
            assert_eq!(range.from, Lsn::new(base));
            let last = path == used.last().unwrap();
            let known = left == Left::Closed || !last;
            assert_eq!(range.to.is_some(), known, "{left:?} {path}: {range:?}");
        }
    }
}

/// F44, F37: no crash cuts, removes or replaces a segment file. Where that befell the last one in
/// use nothing proves what it held, and it passed for torn, because a prepared one stands behind
/// it: both said that nothing was lost.
#[test]
fn what_no_crash_does_to_the_last_segment_in_use_is_a_loss() {
    let sim = build(Left::Killed);
    let all = segments(&sim);
    let (prepared, used) = (&all[all.len() - 1], &all[all.len() - 2]);
    sim.edit(prepared, |bytes| bytes[4096..].fill(0));
    let base = |path: &str| -> u64 {
        let name = path.trim_start_matches("/log/");
        name.trim_end_matches(".wal").parse().unwrap()
    };
    let first = sim.read_file(&all[0]).unwrap();
    let cut = |len: usize| move |bytes: &mut Vec<u8>| bytes.truncate(len);
    type Damage<'a> = Box<dyn Fn(&mut Vec<u8>) + 'a>;
    let mut damages: Vec<Damage<'_>> = vec![
        Box::new(|bytes| first.clone_into(bytes)),
        Box::new(|bytes| bytes[..4096].fill(0x55)),
    ];
    for len in [0, 100, 4095, 4096, 4500, 6000] {
        damages.push(Box::new(cut(len)));
    }
    for n in 0..=damages.len() {
        let copy = sim.snapshot();
        match damages.get(n) {
            Some(damage) => copy.edit(used, |bytes| {
                bytes[4096 + 16..].fill(0);
                damage(bytes);
            }),
            None => copy.delete_file(used),
        }
        let (repaired, _) = repair(&copy);
        let lost = &repaired.lost.ranges;
        assert!(
            lost.len() == 1 && lost[0].from.get() < base(prepared),
            "{n}: {lost:?}"
        );
        assert!(lost[0].from.get() >= base(used), "{n}: {lost:?}");
        assert!(
            repaired.end_lsn.get() >= base(prepared),
            "{n}: {repaired:?}"
        );
        let (salvaged, _) = salvage(&copy);
        assert_eq!(salvaged.lost.count, 1, "{n}: {:?}", salvaged.lost);
        assert_eq!(salvaged.lost.ranges[0].from, lost[0].from, "{n}");
    }
}

/// A prepared segment holds nothing, whatever becomes of it: a segment without a seal is the last
/// one.
#[test]
fn damage_to_a_prepared_segment_is_no_loss() {
    for left in [Left::Closed, Left::Killed] {
        let sim = build(left);
        let all = frames(&sim, "/log").len();
        let last = segments(&sim).pop().unwrap();
        let base: u64 = last["/log/".len()..last.len() - 4].parse().unwrap();
        let prepared = format!("/log/{:020}.wal", base + SEGMENT_SIZE);
        let foreign = vec![0x55; usize::try_from(SEGMENT_SIZE).unwrap()];
        for len in [0, 100, 4096, foreign.len()] {
            let copy = sim.snapshot();
            copy.put_file(&prepared, &foreign[..len]);
            let (repaired, kept) = repair(&copy);
            assert!(
                repaired.lost.is_empty(),
                "{left:?} {len}: {:?}",
                repaired.lost
            );
            assert_eq!(kept.len(), all);
            let (salvaged, _) = salvage(&copy);
            assert!(
                salvaged.lost.is_empty(),
                "{left:?} {len}: {:?}",
                salvaged.lost
            );
        }
    }
}

/// F44, F36: a file of another log, or of none, says nothing about this one, wherever its name puts
/// it. (Found by the fuzzer: repair called everything up to its name lost, and skipped that far.)
#[test]
fn a_stray_file_is_no_loss() {
    for left in [Left::Closed, Left::Killed] {
        let sim = build(left);
        let all = frames(&sim, "/log").len();
        let last = segments(&sim).pop().unwrap();
        let mut foreign = sim.read_file(&last).unwrap();
        foreign[..4096].fill(0x55);
        sim.put_file("/log/00000000008589934592.wal", foreign.clone());
        foreign.truncate(5000);
        sim.put_file("/log/00000000017179869184.wal", foreign);
        let (repaired, kept) = repair(&sim);
        assert!(repaired.lost.is_empty(), "{left:?}: {:?}", repaired.lost);
        assert_eq!(kept.len(), all);
        assert!(repaired.end_lsn.get() < 1 << 30);
        let (salvaged, _) = salvage(&sim);
        assert!(salvaged.lost.is_empty(), "{left:?}: {:?}", salvaged.lost);
        assert_eq!(repaired.findings.len(), 2);
        for path in sim.files() {
            assert!(sim.read_file(&path).unwrap().len() < 1 << 20, "{path:?}");
        }
    }
}

/// F44, F30: a file that cannot be read from some place on is a hole, not the end.
#[test]
fn unreadable_sectors_are_holes() {
    let sim = build(Left::Closed);
    let all = frames(&sim, "/log");
    let path = segments(&sim).remove(1);
    let reading = |nth: u64| {
        let copy = sim.snapshot();
        // The header is read first.
        copy.fail(
            Fault::new(Call::Read, FaultKind::Eio)
                .on(&path)
                .nth(nth)
                .forever(),
        );
        let mut saved = Vec::new();
        let moved = |moved: &inspect::Moved<'_>| {
            saved.push(moved.frame.lsn);
            Ok(())
        };
        let salvaged = inspect::salvage(&disk(&copy), "/log", "/salvaged", moved, |_| ()).unwrap();
        (salvaged, saved)
    };
    for nth in [0, 1] {
        let (salvaged, saved) = reading(nth);
        let others = all
            .iter()
            .filter(|f| with_records(f) && f.file != Path::new(&path));
        assert_eq!(saved, others.map(|f| f.lsn).collect::<Vec<_>>());
        let range = &salvaged.lost.ranges[0];
        assert!(range.what.contains("not readable"), "{range:?}");
        assert_eq!(salvaged.lost.count, 1);
    }
}

/// F30: one failing read of much hides nothing: what is needed is read alone. Whichever read fails,
/// every frame is saved.
#[test]
fn a_bad_sector_does_not_hide_its_neighbours() {
    let sim = build(Left::Closed);
    let all = frames(&sim, "/log")
        .iter()
        .filter(|f| with_records(f))
        .count();
    for nth in 0.. {
        let copy = sim.snapshot();
        copy.fail(Fault::new(Call::Read, FaultKind::Eio).on("/log/").nth(nth));
        let salvaged =
            inspect::salvage(&disk(&copy), "/log", "/salvaged", |_| Ok(()), |_| ()).unwrap();
        if copy.faults_fired() == 0 {
            assert!(nth > 10, "{nth}");
            break;
        }
        assert_eq!(
            (salvaged.frames, salvaged.lost.count),
            (all as u64, 0),
            "{nth}"
        );
    }
}

/// F44: what a crash tore was never acknowledged: nothing is lost, recovery cuts there too, and the
/// intact frames behind it are salvaged all the same.
#[test]
fn a_torn_tail_is_not_lost() {
    let sim = SimDisk::new();
    let log = Wal::open_with("/log", options(&sim)).unwrap();
    let kept = log.append("durable").unwrap();
    log.sync_to(kept).unwrap();
    let torn = log.append("torn").unwrap();
    let behind = log.append("behind").unwrap();
    let killed = sim.kill_process();
    drop(log);
    let path = segments(&killed).remove(0);
    killed.edit(&path, |bytes| {
        bytes[usize::try_from(torn.get()).unwrap() + 17] ^= 1
    });
    let (salvaged, saved) = salvage(&killed);
    assert!(salvaged.lost.is_empty());
    assert_eq!(salvaged.torn.ranges[0].from, torn);
    let lsns: Vec<Lsn> = saved.iter().map(|(lsn, _)| *lsn).collect();
    assert_eq!(lsns, [kept, behind]);
    let (repaired, _) = repair(&killed);
    assert!(repaired.lost.is_empty());
    assert_eq!(
        (repaired.kept_until, repaired.end_lsn, repaired.records),
        (torn, torn, 1)
    );
    assert_eq!(repaired.records_after, 1);
}

/// A position in what is lost must not be taken for another record: a checkpoint that points there
/// is refused.
#[test]
fn a_lost_lsn_never_gets_a_second_meaning() {
    let sim = build(Left::Closed);
    let all = frames(&sim, "/log");
    let (half, path) = (all[all.len() / 2].lsn, &all[all.len() / 2].file);
    let at = usize::try_from(all[all.len() / 2].offset).unwrap();
    sim.edit(path, |bytes| bytes[at] ^= 1);
    let (repaired, _) = repair(&sim);
    assert_eq!(repaired.kept_until, half);
    let log = Wal::open_with("/repaired", options(&sim)).unwrap();
    let _ = log.append("new").unwrap();
    log.sync().unwrap();
    for lost in all.iter().filter(|f| f.lsn >= half && with_records(f)) {
        let read = log
            .read_from(lost.lsn)
            .and_then(|mut reader| reader.next().transpose());
        assert!(
            !matches!(&read, Ok(Some(r)) if r.lsn == lost.lsn),
            "{}: {read:?}",
            lost.lsn
        );
    }
    for kept in all.iter().filter(|f| f.lsn < half && with_records(f)) {
        let record = log.read_from(kept.lsn).unwrap().next().unwrap().unwrap();
        assert_eq!(record.lsn, kept.lsn);
        assert_eq!(
            record.kind == RecordKind::Control,
            kept.kind == FrameKind::Control
        );
    }
}

/// F44: any number of faults at once. What salvage returns is in order and was appended, and no
/// intact frame is missing.
#[test]
fn random_disasters_leave_every_intact_frame() {
    let sim = build(Left::Closed);
    let all = frames(&sim, "/log");
    let paths = segments(&sim);
    for seed in saved_seeds::seeds(0..150) {
        let mut rng = Rng::new(seed);
        let copy = sim.snapshot();
        let mut damage: Vec<(String, Range<u64>)> = Vec::new();
        for _ in 0..=rng.below(6) {
            let path = &paths[usize::try_from(rng.below(paths.len() as u64)).unwrap()];
            let Some(len) = copy.read_file(path).map(|bytes| bytes.len() as u64) else {
                continue;
            };
            if len == 0 {
                continue;
            }
            let at = rng.below(len);
            match rng.below(5) {
                0 => {
                    copy.delete_file(path);
                    damage.push((path.clone(), 0..u64::MAX));
                }
                1 => {
                    copy.edit(path, |bytes| bytes.truncate(usize::try_from(at).unwrap()));
                    damage.push((path.clone(), at..u64::MAX));
                }
                2 => {
                    copy.edit(path, |bytes| bytes[usize::try_from(at).unwrap()] ^= 0x40);
                    damage.push((path.clone(), at..at + 1));
                }
                fill => {
                    let at = usize::try_from(at).unwrap() / 512 * 512;
                    let fill = usize::try_from(fill).unwrap() - 3;
                    let _ = overwrite(&copy, path, at, fill, &mut rng);
                    damage.push((path.clone(), at as u64..at as u64 + 512));
                }
            }
        }
        let hit = |frame: &DumpedFrame| {
            let extent = extent(frame);
            damage.iter().any(|(path, range)| {
                frame.file == Path::new(path)
                    && extent.start < range.end
                    && range.start < extent.end
            })
        };
        let (_, saved) = salvage(&copy);
        let appended: BTreeMap<Lsn, Content> = all.iter().map(|f| (f.lsn, content(f))).collect();
        assert!(saved.is_sorted_by_key(|(lsn, _)| *lsn), "seed {seed}");
        for (lsn, content) in &saved {
            assert_eq!(appended.get(lsn), Some(content), "seed {seed}: {lsn}");
        }
        for frame in all.iter().filter(|f| with_records(f) && !hit(f)) {
            assert!(
                saved.iter().any(|(lsn, _)| *lsn == frame.lsn),
                "seed {seed}: {} is missing",
                frame.lsn
            );
        }
        let (repaired, kept) = repair(&copy);
        let first_hit = all.iter().position(hit).unwrap_or(all.len());
        assert!(repaired.frames >= first_hit as u64, "seed {seed}");
        for frame in kept.iter().filter(|f| f.lsn < repaired.kept_until) {
            assert_eq!(
                appended.get(&frame.lsn),
                Some(&content(frame)),
                "seed {seed}"
            );
        }
    }
}

/// Neither writes where something is, into the log itself, or from a log that is being written; a
/// newer format is refused; every failing call is an error.
#[test]
fn what_cannot_be_done_is_refused() {
    let sim = build(Left::Closed);
    let run = |from: &str, to: &str| {
        let repaired = inspect::repair(&disk(&sim), from, to, |_| ()).map(|_| ());
        let salvaged = inspect::salvage(&disk(&sim), from, to, |_| Ok(()), |_| ()).map(|_| ());
        [repaired.unwrap_err(), salvaged.unwrap_err()]
    };
    sim.create_dir_all("/full".as_ref()).unwrap();
    sim.put_file("/full/file", b"x".to_vec());
    for (from, to) in [
        ("/log", "/full"),
        ("/log", "/log/new"),
        ("/log", "/log"),
        ("/log/x", "/log"),
    ] {
        for error in run(from, to) {
            assert!(
                matches!(error, WalError::BadDirectory { .. }),
                "{from} {to}: {error}"
            );
        }
    }
    for error in run("/nowhere", "/new") {
        assert!(matches!(error, WalError::BadDirectory { .. }), "{error}");
    }
    let held = Wal::open_with("/log", options(&sim)).unwrap();
    for error in run("/log", "/new") {
        assert!(matches!(error, WalError::Locked { .. }), "{error}");
    }
    drop(held);
    let path = segments(&sim).remove(0);
    sim.edit(&path, |bytes| {
        bytes[8] = 9;
        let crc = crc32c::crc32c(&bytes[..48]);
        bytes[48..52].copy_from_slice(&crc.to_le_bytes());
    });
    for error in run("/log", "/new") {
        assert!(
            matches!(error, WalError::NewerFormat { found: 9, .. }),
            "{error}"
        );
    }
    let empty = SimDisk::new();
    empty.create_dir_all("/log".as_ref()).unwrap();
    let error = inspect::repair(&disk(&empty), "/log", "/new", |_| ()).unwrap_err();
    assert!(error.to_string().contains("not a log"), "{error}");
    assert!(sim.list("/new".as_ref()).is_err(), "nothing was made");
}

/// F87: a `LOG` that claims an absurd end is not followed into millions of files.
#[test]
fn an_absurd_claim_is_refused() {
    let sim = build(Left::Closed);
    sim.edit("/log/LOG", |bytes| {
        let text = String::from_utf8(bytes.clone()).unwrap();
        let mut meta: serde_json::Value = serde_json::from_str(&text).unwrap();
        let end = u64::MAX / 2;
        meta["attested_lsn"] = end.into();
        let time = meta["time_ms"].as_u64().unwrap();
        let (id, added) = (
            meta["log_id"].as_str().unwrap(),
            format!("[[\"time\"],{time},[],{{}}]"),
        );
        let fields = format!("2:{id}:0:{end}:closed:{added}");
        meta["checksum"] = format!("{:08x}", crc32c::crc32c(fields.as_bytes())).into();
        *bytes = meta.to_string().into_bytes();
        bytes.resize(4096, b' ');
    });
    let error = inspect::repair(&disk(&sim), "/log", "/new", |_| ()).unwrap_err();
    assert!(error.to_string().contains("can be trusted"), "{error}");
    let (salvaged, saved) = salvage(&sim);
    assert_eq!(salvaged.lost.ranges[0].to, Some(Lsn::new(u64::MAX / 2)));
    assert_eq!(saved.len(), 60);
}

/// Without `LOG` and without a header nothing tells the log's identity; with two identities the
/// more frequent one counts.
#[test]
fn the_identity_is_taken_from_the_headers() {
    let sim = build(Left::Closed);
    let all = frames(&sim, "/log");
    let nameless = sim.snapshot();
    nameless.delete_file("/log/LOG");
    for path in segments(&sim) {
        nameless.edit(&path, |bytes| bytes[..4096].fill(0));
    }
    let error = inspect::salvage(&disk(&nameless), "/log", "/new", |_| Ok(()), |_| ()).unwrap_err();
    assert!(error.to_string().contains("identity"), "{error}");

    let other = SimDisk::new();
    Wal::open_with("/log", options(&other).log_id_seed(6))
        .unwrap()
        .close()
        .unwrap();
    let stranger = segments(&other).remove(0);
    let mixed = sim.snapshot();
    mixed.delete_file("/log/LOG");
    let last = segments(&sim).pop().unwrap();
    mixed.put_file(&last, other.read_file(&stranger).unwrap());
    let (salvaged, saved) = salvage(&mixed);
    assert!(salvaged.findings.iter().any(|e| matches!(
        e,
        WalError::Corrupt {
            finding: Finding::ForeignSegment,
            ..
        }
    )));
    let ours = all
        .iter()
        .filter(|f| with_records(f) && f.file != Path::new(&last));
    assert_eq!(saved.len(), ours.count());
}

/// Writing the new log: a call that fails is an error and leaves nothing that would pass for a log.
/// What an interrupted salvage had written passed for all of it: it was a log from its first frame
/// on.
#[test]
fn a_copy_that_fails_is_no_log() {
    let mut struck = 0;
    for call in [
        Call::Create,
        Call::Write,
        Call::Sync,
        Call::SetLen,
        Call::Allocate,
        Call::Rename,
        Call::SyncDir,
    ] {
        for nth in 0.. {
            let sim = build(Left::Closed);
            let fault = Fault::new(call, FaultKind::Enospc).nth(nth).forever();
            sim.fail(fault.clone().on("/repaired"));
            let repaired = inspect::repair(&disk(&sim), "/log", "/repaired", |_| ()).map(drop);
            let fired = sim.faults_fired();
            sim.clear_faults();
            sim.fail(fault.on("/salvaged"));
            let salvaged =
                inspect::salvage(&disk(&sim), "/log", "/salvaged", |_| Ok(()), |_| ()).map(drop);
            let all_fired = sim.faults_fired();
            sim.clear_faults();
            if all_fired == 0 {
                break;
            }
            for (to, copied, fired) in [
                ("/repaired", repaired, fired),
                ("/salvaged", salvaged, all_fired - fired),
            ] {
                struck += u32::from(fired > 0);
                if let Err(error) = copied {
                    assert!(fired > 0, "{error}");
                    is_no_log(&sim, to, &error);
                }
            }
        }
    }
    assert!(struck > 50, "{struck}");
}

/// What was written before the copy failed is refused, except where only the name of a whole log
/// was not made durable.
fn is_no_log(sim: &SimDisk, dir: &str, error: &WalError) {
    assert!(
        matches!(error, WalError::Io { .. } | WalError::BadDirectory { .. }),
        "{error}"
    );
    if inspect::Log::open(disk(sim), dir).is_ok() {
        let read = frames(sim, dir).iter().filter(|f| with_records(f)).count();
        assert_eq!(read, 60, "{dir}: {error}");
    }
    if let Ok(log) = Wal::open_with(dir, options(sim)) {
        let read = log.read_from(Lsn::ZERO).unwrap().count();
        let expected = 60 / 5 * 7;
        assert!(read == 0 || read == expected, "{dir}: {read}");
    }
}

/// Salvage is interrupted at any of its frames: what it leaves is no log.
#[test]
fn an_interrupted_salvage_leaves_no_log() {
    let sim = build(Left::Closed);
    for stop_at in 0..60 {
        let mut count = 0;
        let moved = |_: &inspect::Moved<'_>| {
            count += 1;
            match count > stop_at {
                true => Err(WalError::BadOptions {
                    what: "enough".to_owned(),
                }),
                false => Ok(()),
            }
        };
        let copy = sim.snapshot();
        inspect::salvage(&disk(&copy), "/log", "/salvaged", moved, |_| ()).unwrap_err();
        let opened = inspect::Log::open(disk(&copy), "/salvaged");
        assert!(opened.is_err(), "after {stop_at} frames");
        // Opening it for writing took what stood there for a log whose creation was cut short, and
        // removed it.
        let before = copy.files();
        Wal::open_with("/salvaged", options(&copy)).unwrap_err();
        assert_eq!(copy.files(), before);
    }
}

/// Salvage copies compressed batches as they are stored.
#[cfg(feature = "zstd")]
#[test]
fn a_compressed_batch_stays_compressed() {
    let sim = SimDisk::new();
    let compressed = options(&sim).compression(highwater_wal::Compression::Zstd { level: 1 });
    let log = Wal::open_with("/log", compressed).unwrap();
    let _ = log.append_batch([[7; 1000]; 3]).unwrap();
    log.close().unwrap();
    drop(log);
    let (salvaged, _) = salvage(&sim);
    assert_eq!((salvaged.frames, salvaged.records), (1, 3));
    assert!(frames(&sim, "/salvaged")[0].stored_bytes < 100);
}
