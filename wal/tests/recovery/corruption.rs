//! Damage at rest: every case gives all the data, or an error that names a file. Never wrong data,
//! never less.

use crate::common::model::SEGMENT_SIZE;
use highwater_wal::disk::sim::Rng;
use highwater_wal::disk::{Disk, SimDisk};
use highwater_wal::inspect::SegmentState;
use highwater_wal::layout::{SEGMENT_HEADER_SIZE, segment_name};
use highwater_wal::{
    Background, Case, Compression, Finding, Lsn, Options, Wal, WalError, WritePath, inspect,
};
use std::path::Path;
use std::sync::Arc;

fn disk(sim: &SimDisk) -> Arc<dyn Disk> {
    Arc::new(sim.clone())
}

fn options(sim: &SimDisk, seed: u64) -> Options {
    let options = Options::new()
        .segment_size(SEGMENT_SIZE)
        .background(Background::Inline);
    options.log_id_seed(seed).disk(disk(sim))
}

/// How the log was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    Closed,
    /// Everything synced, then killed: on this write path.
    Killed(WritePath),
}

/// A log of four segments and a prepared one, and the records in it.
fn build(seed: u64, left: Left) -> (SimDisk, Vec<Vec<u8>>) {
    build_with(seed, left, Compression::Off)
}

/// Records in which compression finds a third.
fn record(n: u64, size: usize, compression: Compression) -> Vec<u8> {
    if compression == Compression::Off {
        return vec![n.to_le_bytes()[0]; size];
    }
    let mut rng = Rng::new(n);
    let mut bytes = || rng.below(32).to_le_bytes()[0];
    std::iter::repeat_with(&mut bytes).take(2 * size).collect()
}

fn build_with(seed: u64, left: Left, compression: Compression) -> (SimDisk, Vec<Vec<u8>>) {
    let sim = SimDisk::new();
    let path = match left {
        Left::Closed => WritePath::Auto,
        Left::Killed(path) => path,
    };
    let options = options(&sim, seed).write_path(path);
    let log = Wal::open_with("/log", options.compression(compression)).unwrap();
    let mut expected = Vec::new();
    let mut rng = Rng::new(seed);
    for n in 0..40_u64 {
        let size = usize::try_from(200 + rng.below(300)).unwrap();
        let record = record(n, size, compression);
        let batch = [record.clone(), vec![1, 2, 3]];
        let range = log.append_batch(&batch).unwrap();
        expected.extend(batch);
        if n % 3 == 0 {
            log.sync_to(range.first).unwrap();
        }
    }
    log.sync().unwrap();
    let compressed = log.stats().batches_compressed;
    assert_eq!(
        compressed > 25,
        compression != Compression::Off,
        "{compressed}"
    );
    if left == Left::Closed {
        log.close().unwrap();
        drop(log);
        return (sim, expected);
    }
    let killed = sim.kill_process();
    drop(log);
    (killed, expected)
}

fn segments(sim: &SimDisk) -> Vec<String> {
    let paths = sim
        .files()
        .into_iter()
        .map(|path| path.to_str().unwrap().to_owned());
    paths.filter(|path| path.ends_with(".wal")).collect()
}

/// What opening and reading gave.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    AllData,
    /// A prefix, though nothing said so.
    Fewer(usize),
    Error(Option<Finding>),
}

/// Opens, reads, verifies. Panics on wrong data, and on errors that do not say where.
fn outcome(sim: &SimDisk, expected: &[Vec<u8>], what: &str) -> Outcome {
    let verified = inspect::Log::open(disk(sim), "/log").and_then(|log| log.verify(|_| ()));
    let log = match Wal::open_with("/log", options(sim, 1)) {
        Ok(log) => log,
        Err(error) => {
            assert!(
                !verified.is_ok_and(|report| report.is_ok()),
                "{what}: verify sees nothing, open says {error}"
            );
            return Outcome::Error(located(&error, what));
        }
    };
    let mut seen = 0;
    for record in log.read_from(Lsn::ZERO).unwrap() {
        match record {
            Ok(record) => {
                assert_eq!(
                    Some(&record.payload[..]),
                    expected.get(seen).map(|e| &e[..]),
                    "{what}: wrong data"
                );
                seen += 1;
            }
            Err(error) => {
                assert!(
                    !verified.unwrap().is_ok(),
                    "{what}: verify sees nothing, reading says {error}"
                );
                return Outcome::Error(located(&error, what));
            }
        }
    }
    assert!(
        verified.unwrap_or_else(|e| panic!("{what}: {e}")).is_ok(),
        "{what}: verify objects, reading does not"
    );
    if seen == expected.len() {
        Outcome::AllData
    } else {
        Outcome::Fewer(seen)
    }
}

fn located(error: &WalError, what: &str) -> Option<Finding> {
    match error {
        WalError::Corrupt { finding, file, .. } => {
            assert!(file.starts_with("/log"), "{what}: {error}");
            Some(*finding)
        }
        WalError::NewerFormat { .. } => None,
        other => panic!("{what}: {other}"),
    }
}

/// F33: one flipped bit, at every byte of every file.
#[test]
fn every_flipped_bit_gives_all_the_data_or_an_error() {
    let (sim, expected) = build(1, Left::Closed);
    let mut errors = 0;
    for path in segments(&sim) {
        let len = sim.read_file(&path).unwrap().len();
        // Headers and the first frames byte by byte, then in steps that meet every position modulo
        // 8.
        let places = (0..64).chain(4096..4600).chain((4600..len).step_by(13));
        for at in places {
            let copy = sim.snapshot();
            copy.edit(&path, |bytes| bytes[at] ^= 1 << (at % 8));
            let what = format!("{path} byte {at}");
            match outcome(&copy, &expected, &what) {
                Outcome::AllData => {}
                Outcome::Error(_) => errors += 1,
                Outcome::Fewer(seen) => panic!("{what}: only {seen} of {} records", expected.len()),
            }
        }
    }
    assert!(errors > 1500, "{errors}");
    for at in 0..200 {
        let copy = sim.snapshot();
        copy.edit("/log/LOG", |bytes| bytes[at] ^= 1 << (at % 8));
        assert!(!matches!(
            outcome(&copy, &expected, &format!("LOG byte {at}")),
            Outcome::Fewer(_)
        ));
    }
}

/// F33 on a log of compressed batches, closed and killed.
#[cfg(feature = "zstd")]
#[test]
fn every_flipped_bit_of_a_compressed_log_gives_all_the_data_or_an_error() {
    let zstd = Compression::Zstd { level: 1 };
    for left in [Left::Closed, Left::Killed(WritePath::PageCache)] {
        let (sim, expected) = build_with(1, left, zstd);
        assert_eq!(outcome(&sim, &expected, "intact"), Outcome::AllData);
        let mut errors = 0;
        for path in segments(&sim) {
            let len = sim.read_file(&path).unwrap().len();
            for at in (4096..4600).chain((4600..len).step_by(13)) {
                let copy = sim.snapshot();
                copy.edit(&path, |bytes| bytes[at] ^= 1 << (at % 8));
                let what = format!("{left:?}, {path} byte {at}");
                match outcome(&copy, &expected, &what) {
                    Outcome::AllData => {}
                    Outcome::Error(_) => errors += 1,
                    Outcome::Fewer(seen) => panic!("{what}: only {seen} of {}", expected.len()),
                }
            }
        }
        assert!(errors > 1000, "{errors}");
    }
}

/// F33 on a log that was killed: what a durable-LSN record proves is all there or an error.
#[test]
fn every_flipped_bit_of_a_killed_log_loses_at_most_the_unattested_group() {
    let (sim, expected) = build(1, Left::Killed(WritePath::PageCache));
    let report = inspect::Log::open(disk(&sim), "/log")
        .unwrap()
        .verify(|_| ())
        .unwrap();
    assert!(report.is_ok());
    for path in segments(&sim) {
        let len = sim.read_file(&path).unwrap().len();
        for at in (4096..len).step_by(17) {
            let copy = sim.snapshot();
            copy.edit(&path, |bytes| bytes[at] ^= 0x10);
            // One bit hits a record or the mark that attests it, never both: so nothing may be
            // missing.
            let found = outcome(&copy, &expected, &format!("{path} byte {at}"));
            assert!(
                !matches!(found, Outcome::Fewer(_)),
                "{path} byte {at}: {found:?}"
            );
        }
    }
}

/// F33 on a log written past the page cache and killed: the record after the last group was in
/// memory only, so that group, and nothing else, is unattested (P5).
#[test]
fn every_flipped_bit_of_a_killed_direct_log_loses_at_most_the_last_group() {
    let (sim, expected) = build(1, Left::Killed(WritePath::Direct));
    let last_group = 3 * 2; // two records each, synced at every third
    for path in segments(&sim) {
        let len = sim.read_file(&path).unwrap().len();
        for at in (4096..len).step_by(17) {
            let copy = sim.snapshot();
            copy.edit(&path, |bytes| bytes[at] ^= 0x10);
            let found = outcome(&copy, &expected, &format!("{path} byte {at}"));
            if let Outcome::Fewer(seen) = found {
                assert!(
                    seen >= expected.len() - last_group,
                    "{path} byte {at}: {seen}"
                );
            }
        }
    }
}

/// F34, F39: sectors and pages overwritten with zeros, ones, junk, or another place's bytes.
#[test]
fn overwritten_sectors_and_pages_are_noticed() {
    let (sim, expected) = build(1, Left::Closed);
    let mut rng = Rng::new(3);
    for path in segments(&sim) {
        let len = sim.read_file(&path).unwrap().len();
        for (size, at) in (0..len)
            .step_by(512)
            .flat_map(|at| [(512, at), (4096, at), (len, at)])
        {
            let end = (at + size).min(len);
            for fill in 0..4_u64 {
                let copy = sim.snapshot();
                copy.edit(&path, |bytes| match fill {
                    0 => bytes[at..end].fill(0),
                    1 => bytes[at..end].fill(0xFF),
                    2 => bytes[at..end]
                        .iter_mut()
                        .for_each(|b| *b = rng.below(256).to_le_bytes()[0]),
                    _ => bytes.copy_within(
                        512.min(len - (end - at))..512.min(len - (end - at)) + (end - at),
                        at,
                    ),
                });
                let what = format!("{path} {at}..{end} fill {fill}");
                assert!(
                    !matches!(outcome(&copy, &expected, &what), Outcome::Fewer(_)),
                    "{what}"
                );
            }
        }
    }
}

/// F35: cut at every sector.
#[test]
fn a_segment_cut_short_is_corrupt() {
    let (sim, expected) = build(1, Left::Closed);
    for path in segments(&sim) {
        let len = sim.read_file(&path).unwrap().len();
        for at in (0..len).step_by(512).chain([1, 51, len - 1]) {
            let copy = sim.snapshot();
            copy.edit(&path, |bytes| bytes.truncate(at));
            let found = outcome(&copy, &expected, &format!("{path} cut to {at}"));
            assert_eq!(found, Outcome::Error(Some(Finding::ShortSegment)));
        }
    }
}

/// F36: extended by zeros or junk.
#[test]
fn a_segment_with_something_after_it_is_corrupt() {
    let (sim, expected) = build(1, Left::Closed);
    for path in segments(&sim) {
        for (more, fill) in [(1, 0), (4096, 0), (1 << 20, 0xAA)] {
            let copy = sim.snapshot();
            copy.edit(&path, |bytes| bytes.resize(bytes.len() + more, fill));
            let found = outcome(&copy, &expected, &format!("{path} and {more} more"));
            assert_eq!(found, Outcome::Error(Some(Finding::LongSegment)));
        }
    }
}

/// F37: each segment missing in turn. A prepared one that holds nothing is not missed.
#[test]
fn a_missing_segment_is_corrupt() {
    for left in [Left::Closed, Left::Killed(WritePath::PageCache)] {
        let (sim, expected) = build(1, left);
        let paths = segments(&sim);
        assert!(paths.len() > 3);
        for path in paths {
            let copy = sim.snapshot();
            copy.delete_file(&path);
            let found = outcome(&copy, &expected, &format!("{path} missing"));
            assert_eq!(
                found,
                Outcome::Error(Some(Finding::MissingSegment)),
                "{path}"
            );
        }
    }
}

/// F38: swapped, copied over each other, and taken from another log.
#[test]
fn segments_in_wrong_places_are_corrupt() {
    let (sim, expected) = build(1, Left::Closed);
    let (foreign, _) = build(2, Left::Closed);
    let paths = segments(&sim);
    for a in &paths {
        for b in paths.iter().filter(|b| *b != a) {
            let copy = sim.snapshot();
            copy.copy_file(a, b);
            let found = outcome(&copy, &expected, &format!("{a} copied over {b}"));
            assert_eq!(found, Outcome::Error(Some(Finding::SwappedSegment)));
            copy.put_file(a, sim.read_file(b).unwrap());
            let found = outcome(&copy, &expected, &format!("{a} and {b} swapped"));
            assert_eq!(found, Outcome::Error(Some(Finding::SwappedSegment)));
        }
        let copy = sim.snapshot();
        copy.put_file(a, foreign.read_file(a).unwrap());
        let found = outcome(&copy, &expected, &format!("{a} of another log"));
        assert_eq!(found, Outcome::Error(Some(Finding::ForeignSegment)));
    }
}

/// F38: a copy of a segment under another name was not named: its neighbour was said to be missing.
/// So were a file of another log, and one that is no segment at all. Each is named by opening and
/// by every tool.
#[test]
fn a_stray_file_is_named_and_not_its_neighbour() {
    for left in [
        Left::Closed,
        Left::Killed(WritePath::Direct),
        Left::Killed(WritePath::PageCache),
    ] {
        let (sim, _) = build(1, left);
        let (foreign, _) = build(2, left);
        let paths = segments(&sim);
        let len = sim.read_file(&paths[0]).unwrap().len() as u64;
        let end = paths.len() as u64 * len;
        for from in &paths {
            let own = sim.read_file(from).unwrap();
            let mut junk = own.clone();
            junk[..4096].fill(0x55);
            let kinds = [
                (own, Finding::SwappedSegment),
                (foreign.read_file(from).unwrap(), Finding::ForeignSegment),
                (junk, Finding::DamagedHeader),
            ];
            for (content, expected) in kinds {
                for at in [
                    1,
                    8,
                    len / 2,
                    len + 8,
                    end - 8,
                    end,
                    end + 8,
                    end + len,
                    1 << 40,
                ] {
                    let stray = format!("/log/{}", segment_name(Lsn::new(at)));
                    let copy = sim.snapshot();
                    copy.put_file(&stray, content.clone());
                    for error in complaints(&copy) {
                        assert!(
                            matches!(&error, WalError::Corrupt { finding, file, offset: 0, lsn, .. }
                                if *finding == expected && file == Path::new(&stray) && lsn.get() == at),
                            "{from} as {stray}: {error}"
                        );
                    }
                }
            }
        }
    }
}

/// What opening and the tools say is wrong first.
fn complaints(sim: &SimDisk) -> Vec<WalError> {
    let disk: Arc<dyn Disk> = Arc::new(sim.clone());
    let log = || inspect::Log::open(Arc::clone(&disk), "/log").unwrap();
    let mut listed = log().segments().unwrap().into_iter();
    let listed = listed.find_map(|segment| match segment.state {
        SegmentState::Damaged(error) => Some(error),
        _ => None,
    });
    let verified = log().verify(|_| {}).unwrap();
    assert_eq!(verified.findings.len(), 1, "{:?}", verified.findings);
    let dumped = log().frames(Lsn::ZERO).unwrap().find_map(Result::err);
    vec![
        Wal::open_with("/log", options(sim, 1)).unwrap_err(),
        verified.findings.into_iter().next().unwrap(),
        dumped.unwrap(),
        listed.unwrap(),
    ]
}

/// F37, F38: a renamed segment is named, with the place that is its own.
#[test]
fn a_renamed_segment_is_named_with_its_own_place() {
    let (sim, _) = build(1, Left::Closed);
    let paths = segments(&sim);
    for (index, path) in paths.iter().enumerate() {
        let copy = sim.snapshot();
        let own = index as u64 * sim.read_file(path).unwrap().len() as u64;
        let new = format!("/log/{}", segment_name(Lsn::new(own + 8)));
        copy.put_file(&new, sim.read_file(path).unwrap());
        copy.delete_file(path);
        let error = Wal::open_with("/log", options(&copy, 1)).unwrap_err();
        assert!(
            matches!(&error, WalError::Corrupt { finding: Finding::SwappedSegment, file, what, .. }
                if file == Path::new(&new) && what.contains(&format!("starts at {own}: it was"))),
            "{error}"
        );
    }
}

/// F38: only the header of a foreign segment fits, its frames do not.
#[test]
fn frames_of_another_log_are_no_frames() {
    let (sim, expected) = build(1, Left::Closed);
    let (foreign, _) = build(2, Left::Closed);
    for path in segments(&sim) {
        let other = foreign.read_file(&path).unwrap();
        let copy = sim.snapshot();
        let header = usize::try_from(SEGMENT_HEADER_SIZE).unwrap();
        copy.edit(&path, |bytes| {
            bytes[header..].copy_from_slice(&other[header..])
        });
        let found = outcome(&copy, &expected, &format!("{path} with other frames"));
        assert!(matches!(found, Outcome::Error(_)), "{path}: {found:?}");
    }
}

/// F40: a segment as it was earlier, after the log was closed cleanly.
#[test]
fn an_earlier_version_of_the_last_segment_is_corrupt() {
    let sim = SimDisk::new();
    let log = Wal::open_with("/log", options(&sim, 1)).unwrap();
    let mut expected = vec![b"first".to_vec()];
    let lsn = log.append("first").unwrap();
    log.sync_to(lsn).unwrap();
    let path = segments(&sim).pop().unwrap();
    let earlier = sim.read_file(&path).unwrap();
    let lsn = log.append("second").unwrap();
    log.sync_to(lsn).unwrap();
    expected.push(b"second".to_vec());
    drop(log);
    let copy = sim.snapshot();
    copy.put_file(&path, earlier);
    assert_eq!(
        outcome(&copy, &expected, "earlier"),
        Outcome::Error(Some(Finding::CorruptProven))
    );
}

/// F41: lengths of every awkward value, in every frame header: no huge allocation, no panic, no
/// wrong data.
#[test]
fn absurd_lengths_are_not_believed() {
    let (sim, expected) = build(1, Left::Closed);
    let frames: Vec<_> = inspect::Log::open(disk(&sim), "/log")
        .unwrap()
        .frames(Lsn::ZERO)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    for frame in frames {
        let at = usize::try_from(frame.offset).unwrap();
        for len in [
            u32::MAX,
            i32::MAX as u32,
            u32::MAX - 15,
            1 << 31,
            0,
            8184,
            4096,
        ] {
            let copy = sim.snapshot();
            copy.edit(&frame.file, |bytes| {
                bytes[at..at + 4].copy_from_slice(&len.to_le_bytes())
            });
            let what = format!("length {len} at {}", frame.lsn);
            assert!(
                !matches!(outcome(&copy, &expected, &what), Outcome::Fewer(_)),
                "{what}"
            );
        }
    }
}

/// F42: names that are not the log's are left alone and reported.
#[test]
fn unknown_files_are_ignored_and_reported() {
    let (sim, expected) = build(1, Left::Closed);
    let strangers = ["core", ".nfs000001", "LOG~", "notes.tmp", "1.wal"];
    for name in strangers {
        sim.put_file(format!("/log/{name}"), b"junk".to_vec());
    }
    sim.put_file("/log/00000000000000999424.wal.tmp", b"half made".to_vec());
    let log = Wal::open_with("/log", options(&sim, 1)).unwrap();
    assert_eq!(log.recovery().ignored.len(), strangers.len());
    assert_eq!(log.recovery().removed, ["00000000000000999424.wal.tmp"]);
    drop(log);
    assert_eq!(outcome(&sim, &expected, "strangers"), Outcome::AllData);
    assert_eq!(sim.read_file("/log/notes.tmp").unwrap(), b"junk");
}

/// `LOG` is gone: the records are not taken for a new log.
#[test]
fn a_missing_meta_file_is_corrupt() {
    let (sim, _) = build(1, Left::Closed);
    sim.delete_file("/log/LOG");
    let error = Wal::open_with("/log", options(&sim, 1)).unwrap_err();
    assert!(
        matches!(
            error,
            WalError::Corrupt {
                finding: Finding::MissingControlFile,
                ..
            }
        ),
        "{error}"
    );
    assert!(inspect::Log::open(disk(&sim), "/log").is_err());
}

/// F82: a newer version is refused before a byte is written.
#[test]
fn a_newer_format_is_refused_untouched() {
    let (sim, _) = build(1, Left::Closed);
    let path = segments(&sim).pop().unwrap();
    let newer_log = sim.snapshot();
    newer_log.edit("/log/LOG", |bytes| {
        let text = String::from_utf8(bytes.clone())
            .unwrap()
            .replace("\"format_version\":2", "\"format_version\":3");
        *bytes = text.into_bytes();
    });
    let newer_segment = sim.snapshot();
    newer_segment.edit(&path, |bytes| {
        bytes[8] = 2;
        let crc = crc32c::crc32c(&bytes[..48]);
        bytes[48..52].copy_from_slice(&crc.to_le_bytes());
    });
    for sim in [newer_log, newer_segment] {
        let before: Vec<_> = sim
            .files()
            .into_iter()
            .map(|path| (sim.read_file(&path), path))
            .collect();
        let mutations = sim.mutations();
        let error = Wal::open_with("/log", options(&sim, 1)).unwrap_err();
        assert!(
            matches!(
                error,
                WalError::NewerFormat {
                    found: 3 | 2,
                    supported: 2 | 1,
                    ..
                }
            ),
            "{error}"
        );
        let after: Vec<_> = sim
            .files()
            .into_iter()
            .map(|path| (sim.read_file(&path), path))
            .collect();
        assert!(before == after);
        assert!(
            sim.mutations() - mutations <= 1,
            "creating the directory that exists is all"
        );
    }
}

/// F43: damage that shows while the log is open reaches the reader, and the writer goes on.
#[test]
fn a_reader_meets_damage_and_the_writer_goes_on() {
    let (sim, _) = build(1, Left::Closed);
    let path = segments(&sim).remove(0);
    sim.edit(&path, |bytes| bytes[5000] ^= 1);
    let log = Wal::open_with("/log", options(&sim, 1)).unwrap();
    assert_eq!(
        log.recovery().case,
        Case::CleanEnd,
        "old segments are not read at open"
    );
    let error = log
        .read_from(Lsn::ZERO)
        .unwrap()
        .find_map(Result::err)
        .unwrap();
    assert!(
        matches!(&error, WalError::Corrupt { file, .. } if file.to_str() == Some(&path)),
        "{error}"
    );
    let lsn = log.append("goes on").unwrap();
    log.sync_to(lsn).unwrap();
    let report = inspect::Log::open(disk(&sim), "/log")
        .unwrap()
        .verify(|_| ())
        .unwrap();
    assert_eq!(report.findings.len(), 1);
}

/// Found by the demo's tools: damage near the end made `frames` fail as a whole, so that a dump
/// showed nothing of what was intact.
#[test]
fn a_dump_shows_everything_up_to_the_damage_and_then_the_error() {
    let (sim, _) = build(5, Left::Closed);
    let frames = |sim: &SimDisk| {
        let log = inspect::Log::open(disk(sim), "/log").unwrap();
        log.frames(Lsn::ZERO).unwrap().collect::<Vec<_>>()
    };
    let intact = frames(&sim);
    let victim = intact.iter().rev().nth(3).unwrap().as_ref().unwrap();
    let (file, offset) = (victim.file.clone(), victim.offset);
    sim.edit(&file, |bytes| {
        bytes[usize::try_from(offset).unwrap() + 3] ^= 1
    });
    let damaged = frames(&sim);
    let (last, before) = damaged.split_last().unwrap();
    assert_eq!(before.len(), intact.len() - 4);
    assert!(before.iter().all(Result::is_ok));
    let error = last.as_ref().unwrap_err().to_string();
    assert!(error.contains(&offset.to_string()), "{error}");
}

/// An error of a damaged log named a backup and nothing else: a user without one did not learn of
/// the tools.
#[test]
fn an_error_names_the_tools_once_for_users_without_a_backup() {
    let segment = "/log/00000000000000000000.wal";
    let told = |harm: &dyn Fn(&SimDisk)| {
        let (sim, _) = build(3, Left::Closed);
        harm(&sim);
        let error = Wal::open_with("/log", options(&sim, 3)).unwrap_err();
        error.to_string()
    };
    let missing = told(&|sim| sim.delete_file(segment));
    let cut = told(&|sim| sim.edit(segment, |bytes| bytes.truncate(9)));
    for error in [missing, cut] {
        let advice = ". Without a backup, `highwater-log repair` or `salvage` saves what is intact";
        assert!(error.ends_with(advice), "{error}");
        assert_eq!(error.matches("highwater").count(), 1, "{error}");
    }
    let meta = told(&|sim| sim.edit("/log/LOG", Vec::clear));
    let gone = told(&|sim| sim.delete_file("/log/LOG"));
    for error in [meta, gone] {
        assert!(
            error.ends_with("makes a log from the segments alone"),
            "{error}"
        );
        assert_eq!(error.matches("highwater").count(), 1, "{error}");
    }
}

/// F33, F34: a damaged tail was reported at the mark of the close, or at the last note in `LOG`,
/// where reading begins. It is reported where the damage begins: at the first frame that is not
/// intact, in whichever segment.
#[test]
fn a_damaged_tail_is_reported_where_the_damage_begins() {
    let (sim, _) = build(1, Left::Closed);
    let frames = inspect::Log::open(disk(&sim), "/log")
        .unwrap()
        .frames(Lsn::ZERO);
    let frames: Vec<_> = frames.unwrap().map(Result::unwrap).collect();
    assert!(frames.iter().any(|f| f.lsn.get() > 2 * SEGMENT_SIZE));
    for first in frames.iter().rev() {
        let damages: [fn(&mut [u8]); 3] = [
            |bytes| bytes.fill(0),
            |bytes| bytes.fill(0xA5),
            // The payload alone, where there is one.
            |bytes| {
                let kept = if bytes.len() > 16 { 16 } else { 0 };
                bytes.iter_mut().skip(kept).for_each(|byte| *byte ^= 0xFF);
            },
        ];
        for damage in damages {
            let copy = sim.snapshot();
            for frame in frames.iter().filter(|frame| frame.lsn >= first.lsn) {
                copy.edit(&frame.file, |bytes| {
                    let at = usize::try_from(frame.offset).unwrap();
                    let end = (at + 16 + frame.stored_bytes).min(bytes.len());
                    damage(&mut bytes[at..end]);
                });
            }
            let opened = Wal::open_with("/log", options(&copy, 1)).err();
            let inspected = inspect::Log::open(disk(&copy), "/log").unwrap();
            let report = inspected.verify(|_| {}).unwrap();
            let verified = report.findings.into_iter().next();
            let dumped = inspected.frames(Lsn::ZERO).unwrap();
            let dumped = dumped.filter_map(Result::err).next();
            for error in [opened, verified, dumped] {
                let error = error.expect("the damage is noticed");
                assert!(
                    matches!(&error, WalError::Corrupt { file, offset, lsn, .. }
                        if *file == first.file && *offset == first.offset && *lsn == first.lsn),
                    "{:?} at {}: {error}",
                    first.kind,
                    first.lsn
                );
            }
        }
    }
}
