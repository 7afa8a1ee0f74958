//! One segment file read without its log: everything intact in it, and nothing else; whatever its
//! bytes are.

use highwater_wal::disk::sim::Rng;
use highwater_wal::disk::{Disk, SimDisk};
use highwater_wal::inspect::{DumpedFrame, Log, SegmentState};
use highwater_wal::{Background, Finding, Lsn, Options, StreamId, Wal, WalError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const FILE: &str = "/alone.wal";

/// A log of several segments, and the paths of these.
fn log() -> (SimDisk, Vec<PathBuf>) {
    let sim = SimDisk::new();
    let disk: Arc<dyn Disk> = Arc::new(sim.clone());
    let options = Options::new().segment_size(16 << 10).log_id_seed(7);
    let options = options.background(Background::Inline).disk(disk);
    let log = Wal::open_with("/log", options).unwrap();
    for n in 0..200_u32 {
        let text = format!("{n:0>200}");
        let lsn = match n % 3 {
            0 => log.append_batch([&*text, "twin"]).unwrap().first,
            1 => log.append_control(StreamId(3), &text).unwrap(),
            _ => log.append(&text).unwrap(),
        };
        if n % 10 == 0 {
            log.sync_to(lsn).unwrap();
        }
    }
    log.close().unwrap();
    let files = sim.files().into_iter();
    let segments = files.filter(|path| path.extension().is_some_and(|e| e == "wal"));
    (sim, segments.collect())
}

fn bytes_of(sim: &SimDisk, path: &Path) -> Vec<u8> {
    sim.read_file(path).unwrap()
}

/// A disk with nothing but a file of these bytes.
fn alone(bytes: Vec<u8>) -> Arc<dyn Disk> {
    let sim = SimDisk::new();
    sim.put_file(Path::new(FILE), bytes);
    Arc::new(sim)
}

fn intact(log: &Log) -> Vec<DumpedFrame> {
    let frames = log.frames(Lsn::ZERO).unwrap();
    frames.filter_map(Result::ok).collect()
}

/// As the lone file has it.
fn renamed(frame: &DumpedFrame) -> DumpedFrame {
    let mut frame = frame.clone();
    frame.file = PathBuf::from(FILE);
    frame
}

#[test]
fn each_segment_alone_holds_what_it_holds_in_the_log() {
    let (sim, segments) = log();
    let whole = Log::open(Arc::new(sim.clone()), "/log").unwrap();
    let all = intact(&whole);
    let mut found = Vec::new();
    for (info, path) in whole.segments().unwrap().iter().zip(&segments) {
        let log = Log::open_segment(alone(bytes_of(&sim, path)), FILE).unwrap();
        assert_eq!((log.log_id(), log.first_lsn()), (whole.log_id(), info.base));
        let frames = intact(&log);
        let count = frames.len();
        assert!(log.frames(Lsn::ZERO).unwrap().all(|frame| frame.is_ok()));
        let segment = &log.segments().unwrap()[0];
        assert_eq!(segment.size_bytes, info.size_bytes);
        assert!(matches!(segment.state, SegmentState::Live));
        let report = log.verify(|_| ()).unwrap();
        assert!(report.is_ok(), "{:?}", report.findings);
        assert_eq!(report.frames, count as u64);
        assert_eq!((report.tail, report.end_lsn), (None, None));
        let stats = log.stats(Lsn::ZERO, |_| ()).unwrap();
        assert_eq!(
            (stats.total.frames, stats.total.records),
            (report.frames, report.records)
        );
        found.extend(frames);
    }
    assert_eq!(found, all.iter().map(renamed).collect::<Vec<_>>());
    assert!(segments.len() > 3 && all.len() > 200);
}

#[test]
fn what_is_intact_around_holes_is_read() {
    let (sim, segments) = log();
    let bytes = bytes_of(&sim, &segments[1]);
    let sound = Log::open_segment(alone(bytes.clone()), FILE).unwrap();
    let all = intact(&sound);
    let (one, other) = (&all[3], &all[10]);
    let mut damaged = bytes;
    for frame in [one, other] {
        damaged[usize::try_from(frame.offset).unwrap() + 30] ^= 1;
    }
    let log = Log::open_segment(alone(damaged), FILE).unwrap();
    let mut holes = Vec::new();
    for frame in log.frames(Lsn::ZERO).unwrap() {
        if let Err(WalError::Corrupt { finding, lsn, .. }) = frame {
            holes.push((finding, lsn));
        }
    }
    assert_eq!(
        holes,
        [(Finding::NoFrame, one.lsn), (Finding::NoFrame, other.lsn)]
    );
    let left: Vec<_> = all
        .iter()
        .filter(|f| *f != one && *f != other)
        .cloned()
        .collect();
    assert_eq!(intact(&log), left);
    // Later frames prove that these were durable.
    let report = log.verify(|_| ()).unwrap();
    assert_eq!(report.findings.len(), 2);
    assert!(report.proven_lsn > Some(other.lsn));
    let records = log.last_records(u64::MAX, None).unwrap().records;
    let stats = log.stats(Lsn::ZERO, |_| ()).unwrap();
    assert_eq!(stats.total.frames, left.len() as u64);
    assert!(records >= stats.total.records && stats.damage.is_some());
}

#[test]
fn a_file_that_is_cut_short_or_too_long_is_read_as_far_as_it_goes() {
    let (sim, segments) = log();
    let bytes = bytes_of(&sim, &segments[1]);
    let all = intact(&Log::open_segment(alone(bytes.clone()), FILE).unwrap());
    for len in [4096, 4097, 9000, bytes.len() - 1] {
        let log = Log::open_segment(alone(bytes[..len].to_vec()), FILE).unwrap();
        let whole = |frame: &&DumpedFrame| {
            let end = frame.offset + 16 + frame.stored_bytes as u64;
            end <= len as u64
        };
        let expected: Vec<_> = all.iter().filter(whole).cloned().collect();
        assert_eq!(intact(&log), expected, "{len}");
        let findings = log.verify(|_| ()).unwrap().findings;
        let short = |error: &WalError| {
            matches!(
                error,
                WalError::Corrupt {
                    finding: Finding::ShortSegment,
                    ..
                }
            )
        };
        assert!(findings.iter().any(short), "{len}: {findings:?}");
    }
    let longer = [&bytes[..], b"junk"].concat();
    let log = Log::open_segment(alone(longer), FILE).unwrap();
    assert_eq!(intact(&log), all);
    assert_eq!(log.verify(|_| ()).unwrap().findings.len(), 1);
}

#[test]
fn without_its_header_nothing_of_a_file_is_believed() {
    let (sim, segments) = log();
    let bytes = bytes_of(&sim, &segments[0]);
    let refused = |bytes: Vec<u8>| Log::open_segment(alone(bytes), FILE).unwrap_err();
    for len in [0, 1, 20] {
        let error = refused(bytes[..len].to_vec());
        assert!(
            matches!(
                error,
                WalError::Corrupt {
                    finding: Finding::DamagedHeader,
                    ..
                }
            ),
            "{len}: {error}"
        );
    }
    let mut bad = bytes.clone();
    bad[20] ^= 1;
    let text = refused(bad).to_string();
    assert!(text.contains("identity") && text.contains(FILE), "{text}");
    let missing = Log::open_segment(alone(bytes.clone()), "/other.wal");
    assert!(matches!(missing, Err(WalError::Io { .. })));
    // It is no log to follow or to copy.
    let log = Log::open_segment(alone(bytes), FILE).unwrap();
    assert!(matches!(
        log.copy_from(Lsn::ZERO, "/new"),
        Err(WalError::BadDirectory { .. })
    ));
    assert!(matches!(
        log.follow(Lsn::ZERO),
        Err(WalError::BadDirectory { .. })
    ));
}

/// Whatever is done to the bytes: no panic, no endless reading, and no frame that was not written.
#[test]
fn arbitrary_bytes_are_read_without_a_panic() {
    let (sim, segments) = log();
    let good = bytes_of(&sim, &segments[1]);
    let all = intact(&Log::open_segment(alone(good.clone()), FILE).unwrap());
    let (mut opened, mut fewer) = (0, 0);
    for seed in 0..400 {
        let mut rng = Rng::new(seed);
        let mut bytes = good.clone();
        // The header's 40 bytes are left alone in most rounds, so that frames are looked at.
        let from = if rng.chance(100) { 0 } else { 64 };
        for _ in 0..=rng.below(30) {
            let at = usize::try_from(from + rng.below(good.len() as u64 - from)).unwrap();
            let run = usize::try_from(rng.below(300)).unwrap();
            let byte = rng.below(256).to_le_bytes()[0];
            let random = rng.chance(500);
            for target in bytes.iter_mut().skip(at).take(run) {
                *target = if random {
                    rng.below(256).to_le_bytes()[0]
                } else {
                    byte
                };
            }
        }
        if rng.chance(300) {
            bytes.truncate(usize::try_from(rng.below(good.len() as u64)).unwrap());
        }
        let Ok(log) = Log::open_segment(alone(bytes), FILE) else {
            continue;
        };
        opened += 1;
        let frames = intact(&log);
        fewer += usize::from(frames.len() < all.len());
        assert!(
            frames.iter().all(|frame| all.contains(frame)),
            "seed {seed}"
        );
        let _ = log.segments().unwrap();
        let report = log.verify(|_| ()).unwrap();
        assert_eq!(report.frames, frames.len() as u64, "seed {seed}");
        let _ = log.stats(Lsn::ZERO, |_| ()).unwrap();
        for count in [1, 5, 10_000] {
            let last = log.last_records(count, None).unwrap();
            assert!(last.records <= count, "seed {seed}");
        }
    }
    assert!(opened > 200 && fewer > 150, "{opened} {fewer}");
    for seed in 0..200 {
        let mut rng = Rng::new(seed);
        let len = rng.below(9000);
        let junk = (0..len).map(|_| rng.below(256).to_le_bytes()[0]);
        assert!(Log::open_segment(alone(junk.collect()), FILE).is_err());
    }
}

/// Records that were taken back are known by the marks in the file, also after damage.
#[test]
fn what_was_taken_back_is_known_by_the_marks_in_the_file() {
    let sim = SimDisk::new();
    let disk: Arc<dyn Disk> = Arc::new(sim.clone());
    let options = Options::new().background(Background::Inline).disk(disk);
    let log = Wal::open_with("/log", options).unwrap();
    let _ = log.append("kept").unwrap();
    let wrong = log.append("wrong").unwrap();
    let _ = log.void(wrong, log.end_lsn()).unwrap();
    log.close().unwrap();
    let file = sim
        .files()
        .into_iter()
        .find(|p| p.extension().is_some_and(|e| e == "wal"));
    let log = Log::open_segment(alone(bytes_of(&sim, &file.unwrap())), FILE).unwrap();
    let void: Vec<_> = intact(&log)
        .into_iter()
        .filter(|frame| frame.is_void)
        .collect();
    assert_eq!(void.len(), 1);
    assert_eq!((void[0].lsn, &*void[0].payload), (wrong, &b"wrong"[..]));
}
