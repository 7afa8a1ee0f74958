//! Looking at logs: counting, following.

use crate::common::reseal;
use highwater_wal::disk::{Disk, OsDisk, SimDisk};
use highwater_wal::inspect::{Follow, Log, SegmentState};
use highwater_wal::layout::{
    FRAME_HEADER_SIZE, SEGMENT_HEADER_SIZE, flag, frame_header, frame_size, segment_name,
};
use highwater_wal::{Background, FrameKind, Lsn, Options, StreamId, Wal, WalError, WritePath};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const SEGMENT_SIZE: u64 = 8 << 10;

fn disk(sim: &SimDisk) -> Arc<dyn Disk> {
    Arc::new(sim.clone())
}

fn open(sim: &SimDisk) -> Wal {
    let options = Options::new()
        .segment_size(SEGMENT_SIZE)
        .write_path(WritePath::PageCache)
        .log_id_seed(5);
    Wal::open_with(
        "/log",
        options.background(Background::Inline).disk(disk(sim)),
    )
    .unwrap()
}

fn inspect(sim: &SimDisk) -> Log {
    Log::open(disk(sim), "/log").unwrap()
}

/// Every byte of the log's files is counted once: as a record, or as a kind of overhead.
#[test]
fn every_byte_is_accounted_for() {
    let sim = SimDisk::new();
    let log = open(&sim);
    let mut record_bytes = 0;
    for n in 0..100_u16 {
        let record = vec![1; usize::from(n % 50)];
        record_bytes += record.len() as u64;
        let lsn = match n % 3 {
            0 => log.append(&record).unwrap(),
            1 => log.append_control(StreamId(9), &record).unwrap(),
            _ => {
                record_bytes += 3;
                let range = log.append_batch_to(StreamId(2), [&record[..], &[1, 2, 3]]);
                range.unwrap().first
            }
        };
        if n % 10 == 9 {
            log.sync_to(lsn).unwrap();
        }
    }
    log.close().unwrap();
    let stats = inspect(&sim).stats(Lsn::ZERO, |_| ()).unwrap();
    assert!(stats.damage.is_none());
    assert_eq!(
        (stats.total.records, stats.total.record_bytes),
        (133, record_bytes)
    );
    let of = |kind| stats.kinds.iter().find(|(k, _)| *k == kind).unwrap().1;
    assert_eq!(of(FrameKind::Data).records, 34);
    assert_eq!(of(FrameKind::Batch).records, 66);
    assert_eq!(stats.streams[&StreamId(9)].frames, 33);
    assert_eq!(stats.streams.values().map(|s| s.records).sum::<u64>(), 133);
    assert_eq!(stats.record_sizes.count(), 133);
    assert_eq!(
        (stats.batch_records.count(), stats.batch_records.max()),
        (33, Some(2))
    );
    assert_eq!(stats.durable_lsn_records, of(FrameKind::DurableAt).frames);
    assert_eq!(stats.group_bytes.count(), stats.durable_lsn_records - 1);
    assert!(stats.durable_lsn_records >= 10 && stats.group_records.max() == Some(10 + 4));

    let o = stats.overhead;
    assert_eq!(o.frame_headers, 100 * FRAME_HEADER_SIZE);
    assert_eq!(o.segment_headers, stats.segments * SEGMENT_HEADER_SIZE);
    assert_eq!(o.batch_lengths, 33 * (4 + 2 * 4));
    let close = of(FrameKind::Close);
    assert_eq!((close.frames, close.log_bytes), (1, frame_size(8)));
    let sum = record_bytes
        + o.frame_headers
        + o.padding
        + o.batch_lengths
        + o.own_frames
        + o.segment_headers
        + o.sealed_rests;
    assert_eq!(
        sum,
        stats.end_lsn.get(),
        "no byte is missing and none counts twice"
    );
    assert_eq!(stats.compressed.frames, 0);
}

/// What is before a damage is counted, and the damage told.
#[test]
fn counting_ends_at_a_damage() {
    let sim = SimDisk::new();
    let log = open(&sim);
    let lsns: Vec<Lsn> = (0..40).map(|_| log.append([7; 300]).unwrap()).collect();
    log.close().unwrap();
    drop(log);
    let victim = inspect(&sim)
        .frames(lsns[20])
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    sim.edit(&victim.file, |bytes| {
        bytes[usize::try_from(victim.offset).unwrap()] ^= 1
    });
    let stats = inspect(&sim).stats(Lsn::ZERO, |_| ()).unwrap();
    assert_eq!(stats.total.records, 20);
    assert!(matches!(stats.damage, Some(WalError::Corrupt { lsn, .. }) if lsn == lsns[20]));
}

/// The payloads that are shown now. Where a file is missing, short or another's, the frames of
/// those before it are shown first. None was.
#[test]
fn what_stands_before_a_missing_segment_is_shown() {
    let sim = SimDisk::new();
    let log = open(&sim);
    let lsns: Vec<Lsn> = (0..60).map(|_| log.append([7; 900]).unwrap()).collect();
    log.close().unwrap();
    drop(log);
    let files = sim.files().into_iter();
    let segments: Vec<_> = files
        .filter(|path| path.extension().is_some_and(|e| e == "wal"))
        .collect();
    let base = |at: usize| {
        Lsn::new(
            segments[at]
                .file_stem()
                .unwrap()
                .to_str()
                .unwrap()
                .parse()
                .unwrap(),
        )
    };
    type Harm = fn(&SimDisk, &std::path::Path);
    let harms: [Harm; 4] = [
        |sim, path| sim.delete_file(path),
        |sim, path| sim.edit(path, |bytes| bytes.truncate(1_000)),
        |sim, path| sim.edit(path, |bytes| bytes[20] ^= 1),
        |sim, path| sim.edit(path, |bytes| bytes.truncate(0)),
    ];
    for (harm, hurt) in harms.iter().zip([1, 1, 2, 0]) {
        let sim = sim.snapshot();
        harm(&sim, &segments[hurt]);
        let frames: Vec<_> = inspect(&sim).frames(Lsn::ZERO).unwrap().collect();
        let (last, before) = frames.split_last().unwrap();
        assert!(matches!(last, Err(WalError::Corrupt { .. })), "{last:?}");
        let data = before.iter().map(|frame| frame.as_ref().unwrap());
        let shown: Vec<Lsn> = data
            .filter(|f| f.kind == FrameKind::Data)
            .map(|f| f.lsn)
            .collect();
        let expected = lsns.iter().copied().filter(|lsn| *lsn < base(hurt));
        assert!(shown.iter().copied().eq(expected), "{hurt}: {shown:?}");
        let mut behind = inspect(&sim).frames(lsns[59]).unwrap();
        assert!(matches!(behind.next(), Some(Err(WalError::Corrupt { .. }))));
    }
}

fn shown(follow: &mut Follow) -> Vec<Vec<u8>> {
    std::iter::from_fn(|| follow.poll().unwrap())
        .filter(|frame| frame.kind == FrameKind::Data)
        .map(|frame| frame.payload)
        .collect()
}

/// Following shows what is durable, all of it, once, and nothing that is not; across segments, too.
#[test]
fn a_follower_sees_exactly_what_is_durable() {
    let sim = SimDisk::new();
    let log = open(&sim);
    let first = log.append("first").unwrap();
    let mut follow = inspect(&sim).follow(Lsn::ZERO).unwrap();
    assert!(shown(&mut follow).is_empty(), "not synced yet");
    log.sync_to(first).unwrap();
    assert_eq!(shown(&mut follow), [b"first"]);
    assert_eq!(follow.position(), log.durable_lsn());
    for round in 0..30_u8 {
        let records: Vec<Vec<u8>> = (0..4).map(|n| vec![round + n; 400]).collect();
        for record in &records {
            let _ = log.append(record).unwrap();
        }
        assert!(shown(&mut follow).is_empty(), "round {round}");
        log.sync().unwrap();
        assert_eq!(shown(&mut follow), records, "round {round}");
    }
    assert!(log.stats().segments > 3);
    // From the middle, and what is there already comes first.
    let mut late = inspect(&sim).follow(first).unwrap();
    assert_eq!(shown(&mut late).len(), 121);
    let _ = log.append("last").unwrap();
    log.close().unwrap();
    assert_eq!(shown(&mut follow), [b"last"]);
    assert_eq!(shown(&mut late), [b"last"]);
}

/// While several threads write, a look never takes a frame that is just being written for a damage,
/// and a follower sees everything once and in order.
#[test]
fn a_busy_log_never_looks_damaged() {
    const THREADS: u8 = 3;
    const RECORDS: u32 = 400;
    let sim = SimDisk::new();
    let options = Options::new()
        .segment_size(SEGMENT_SIZE)
        .write_path(WritePath::PageCache)
        .log_id_seed(5);
    let log = Wal::open_with("/log", options.disk(disk(&sim))).unwrap();
    let mut follow = inspect(&sim).follow(Lsn::ZERO).unwrap();
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..THREADS)
            .map(|thread| {
                let log = &log;
                scope.spawn(move || {
                    for number in 0..RECORDS {
                        let mut record = vec![thread; 60];
                        record.extend(number.to_le_bytes());
                        let lsn = log.append(&record).unwrap();
                        log.sync_to(lsn).unwrap();
                    }
                })
            })
            .collect();
        let mut seen = [0_u32; THREADS as usize];
        while !writers
            .iter()
            .all(std::thread::ScopedJoinHandle::is_finished)
        {
            for record in shown(&mut follow) {
                let next = &mut seen[usize::from(record[0])];
                assert_eq!(record[60..], next.to_le_bytes());
                *next += 1;
            }
            let report = inspect(&sim).verify(|_| ()).unwrap();
            assert!(report.is_ok(), "{:?}", report.findings);
        }
        log.close().unwrap();
        for record in shown(&mut follow) {
            seen[usize::from(record[0])] += 1;
        }
        assert_eq!(seen, [RECORDS; THREADS as usize]);
    });
}

/// Also when an assertion fails: the scope waits for its threads.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// While a log is written and truncated, its files go, and come again as other segments. To look at
/// it meanwhile was an error, or showed damage where a file was about to get its new name.
#[test]
fn a_log_that_is_truncated_meanwhile_never_looks_damaged() {
    for path in [WritePath::Auto, WritePath::PageCache] {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let options = Options::new().segment_size(8 << 10).write_path(path);
        let log = Wal::open_with(dir.path(), options).unwrap();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    for _ in 0..20 {
                        let _ = log.append([1; 1000]).unwrap();
                    }
                    log.sync().unwrap();
                    let keep = log.durable_lsn().get().saturating_sub(40_000);
                    log.truncate_before(Lsn::new(keep)).unwrap();
                }
            });
            let ends_the_writer = Ends(&done);
            for _ in 0..400 {
                let log = || Log::open(Arc::new(OsDisk::new()), dir.path()).unwrap();
                let report = log().verify(|_| ()).unwrap();
                assert!(report.is_ok(), "{:?}", report.findings);
                let stats = log().stats(Lsn::ZERO, |_| ()).unwrap();
                assert!(stats.damage.is_none(), "{:?}", stats.damage);
                for segment in log().segments().unwrap() {
                    assert!(!matches!(segment.state, SegmentState::Damaged(_)));
                }
                for frame in log().frames(Lsn::ZERO).unwrap() {
                    assert!(matches!(frame, Ok(_) | Err(WalError::Truncated { .. })));
                }
                let mut follow = log().follow(Lsn::ZERO).unwrap();
                let first = follow.poll();
                assert!(matches!(first, Ok(_) | Err(WalError::Truncated { .. })));
            }
            drop(ends_the_writer);
            writer.join().unwrap();
        });
        assert!(log.stats().recycle.count > 10);
    }
}

/// A log that was killed ends at what is proven; who opens it again proves the rest.
#[test]
fn a_follower_outlives_the_writer() {
    let sim = SimDisk::new();
    let log = open(&sim);
    let first = log.append("synced").unwrap();
    log.sync_to(first).unwrap();
    let _ = log.append("not synced").unwrap();
    let killed = sim.kill_process();
    drop(log);
    let mut follow = inspect(&killed).follow(Lsn::ZERO).unwrap();
    assert_eq!(shown(&mut follow), [b"synced"]);
    assert!(follow.intact_end() > follow.position());
    let log = open(&killed);
    assert_eq!(shown(&mut follow), [b"not synced"]);
    let lsn = log.append("new").unwrap();
    log.sync_to(lsn).unwrap();
    assert_eq!(shown(&mut follow), [b"new"]);
}

/// A follower that is overtaken by a truncation says so, and names the new start.
#[test]
fn a_follower_that_is_truncated_away_is_told() {
    let sim = SimDisk::new();
    let log = open(&sim);
    let first = log.append([1; 400]).unwrap();
    log.sync_to(first).unwrap();
    let mut follow = inspect(&sim).follow(Lsn::ZERO).unwrap();
    for _ in 0..60 {
        let _ = log.append([1; 400]).unwrap();
    }
    log.sync().unwrap();
    log.truncate_before(log.durable_lsn()).unwrap();
    let error = loop {
        match follow.poll() {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(
        matches!(error, WalError::Truncated { first, .. } if first == log.first_lsn()),
        "{error}"
    );
    assert!(inspect(&sim).follow(first).is_err());
}

/// Truncating what a follower has seen does not disturb it, wherever it stands.
#[test]
fn a_follower_that_keeps_up_does_not_mind_truncation() {
    let sim = SimDisk::new();
    let log = open(&sim);
    let mut follow = inspect(&sim).follow(Lsn::ZERO).unwrap();
    for round in 0..80_u8 {
        let lsn = log.append([round; 330]).unwrap();
        log.sync_to(lsn).unwrap();
        assert_eq!(shown(&mut follow), [[round; 330]]);
        log.truncate_before(log.durable_lsn()).unwrap();
    }
    assert!(log.first_lsn().get() > 5 * SEGMENT_SIZE);
}

/// Damage is met at once if it is there, and found by looking behind the end if it comes later: the
/// follower does not wait for ever at a hole.
#[test]
fn a_follower_does_not_wait_at_a_hole() {
    let sim = SimDisk::new();
    let log = open(&sim);
    let lsns: Vec<Lsn> = (0..4).map(|n| log.append([n; 100]).unwrap()).collect();
    log.sync().unwrap();
    let _ = log.append("attests").unwrap();
    log.sync().unwrap();
    let killed = sim.kill_process();
    drop(log);
    let offset = usize::try_from(lsns[2].get()).unwrap() + 20;
    let path = killed
        .files()
        .into_iter()
        .find(|p| p.ends_with("00000000000000000000.wal"))
        .unwrap();

    let damaged = killed.snapshot();
    damaged.edit(&path, |bytes| bytes[offset] ^= 1);
    let mut follow = inspect(&damaged).follow(Lsn::ZERO).unwrap();
    for n in 0..2 {
        assert_eq!(follow.poll().unwrap().unwrap().payload, [n; 100]);
    }
    assert!(matches!(follow.poll(), Err(WalError::Corrupt { lsn, .. }) if lsn == lsns[2]));

    // The end as it was when the follower began; then it grows, with a hole.
    let later = killed.read_file(&path).unwrap();
    let growing = killed.snapshot();
    growing.edit(&path, |bytes| {
        bytes[usize::try_from(lsns[2].get()).unwrap()..].fill(0)
    });
    let mut follow = inspect(&growing).follow(Lsn::ZERO).unwrap();
    while follow.poll().unwrap().is_some() {}
    drop(follow.poll().unwrap());
    let mut with_hole = later;
    with_hole[offset] ^= 1;
    growing.put_file(&path, with_hole);
    let error = (0..100)
        .find_map(|_| follow.poll().err())
        .expect("the hole is noticed");
    assert!(
        matches!(error, WalError::Corrupt { lsn, .. } if lsn == lsns[2]),
        "{error}"
    );
}

/// Found in review: a follower passed over a batch that its checksums find right and that does not
/// decompress. It was an error once, and gone at the next poll.
#[test]
fn a_follower_does_not_pass_over_a_batch_that_does_not_decompress() {
    let sim = SimDisk::new();
    let log = open(&sim);
    let _ = log.append("before").unwrap();
    let range = log.append_batch([vec![7; 600], vec![8; 600]]).unwrap();
    let _ = log.append("after").unwrap();
    log.close().unwrap();
    drop(log);
    sim.edit(Path::new("/log").join(segment_name(Lsn::ZERO)), |bytes| {
        let at = usize::try_from(range.first.get()).unwrap();
        // Called compressed, which it is not.
        bytes[at + frame_header::FLAGS] |= flag::ZSTD;
        reseal(bytes, at);
    });
    let mut follow = inspect(&sim).follow(Lsn::ZERO).unwrap();
    let first = std::iter::from_fn(|| follow.poll().unwrap()).find(|f| f.kind == FrameKind::Data);
    assert_eq!(first.unwrap().payload, b"before");
    for _ in 0..3 {
        let error = std::iter::repeat_with(|| follow.poll())
            .find_map(Result::err)
            .unwrap();
        assert!(
            matches!(&error, WalError::Corrupt { lsn, .. } if *lsn == range.first),
            "{error}"
        );
        assert_eq!(follow.position(), range.first);
    }
}
