//! Compressed batches next to others: they read the same everywhere, and damage in them is an error
//! everywhere.
#![cfg(feature = "zstd")]

use crate::common::reseal;
use crate::saved_seeds;
use highwater_wal::disk::sim::Rng;
use highwater_wal::disk::{Disk, SimDisk};
use highwater_wal::layout::{MAX_UNCOMPRESSED_BATCH, flag, frame_header};
use highwater_wal::{
    Background, Chunk, Compression, Finding, Lsn, Options, Payload, StreamId, Wal, WalError,
    inspect,
};
use proptest::prelude::*;
use std::path::Path;
use std::sync::Arc;

const ZSTD: Compression = Compression::Zstd { level: 1 };
const FIRST: &str = "/log/00000000000000000000.wal";

fn options(sim: &SimDisk) -> Options {
    let disk: Arc<dyn Disk> = Arc::new(sim.clone());
    let options = Options::new().segment_size(16 << 10).log_id_seed(3);
    options.background(Background::Inline).disk(disk)
}

fn open(sim: &SimDisk, compression: Compression) -> Wal {
    Wal::open_with("/log", options(sim).compression(compression)).unwrap()
}

/// Text of so many bytes, never the same.
fn text(size: usize, seed: u64) -> Vec<u8> {
    let mut rng = Rng::new(seed);
    let words = ["watermark ", "frame ", "segment ", "durable "];
    let words = std::iter::repeat_with(|| words[usize::try_from(rng.below(4)).unwrap()]);
    words.flat_map(str::bytes).take(size).collect()
}

fn junk(size: usize, seed: u64) -> Vec<u8> {
    let mut rng = Rng::new(seed);
    let bytes = std::iter::repeat_with(|| rng.below(256).to_le_bytes()[0]);
    bytes.take(size).collect()
}

#[derive(Debug, Clone)]
enum Op {
    Text(Vec<usize>),
    Junk(Vec<usize>),
    Single(usize),
    Control,
    /// Closes and opens with this setting.
    Reopen(Compression),
}

fn op() -> impl Strategy<Value = Op> {
    let sizes = || proptest::collection::vec(0..2500_usize, 0..6);
    let level = prop_oneof![Just(-5), Just(1), Just(3), Just(9), Just(19)];
    prop_oneof![
        6 => sizes().prop_map(Op::Text),
        3 => sizes().prop_map(Op::Junk),
        2 => (0..3000_usize).prop_map(Op::Single),
        1 => Just(Op::Control),
        1 => Just(Op::Reopen(Compression::Off)),
        2 => level.prop_map(|level| Op::Reopen(Compression::Zstd { level })),
    ]
}

/// Stream and bytes of every record of each frame.
type Written = Vec<(u16, Vec<Vec<u8>>)>;

/// Runs a program; tells what it wrote and how many batches were compressed.
fn run(sim: &SimDisk, program: &[Op]) -> (Wal, Written, u64) {
    let mut log = open(sim, ZSTD);
    let (mut written, mut compressed) = (Written::new(), 0);
    for (n, op) in program.iter().enumerate() {
        let stream = u16::try_from(n % 5).unwrap();
        let make = |of: fn(usize, u64) -> Vec<u8>, sizes: &[usize]| -> Vec<Vec<u8>> {
            let seeds = (n as u64 * 100)..;
            sizes
                .iter()
                .zip(seeds)
                .map(|(s, seed)| of(*s, seed))
                .collect()
        };
        let batch = match op {
            Op::Text(sizes) => make(text, sizes),
            Op::Junk(sizes) => make(junk, sizes),
            Op::Single(size) => {
                let _ = log.append(text(*size, n as u64)).unwrap();
                written.push((0, vec![text(*size, n as u64)]));
                continue;
            }
            Op::Control => {
                let _ = log.append_control(StreamId(stream), "cut").unwrap();
                written.push((stream, vec![b"cut".to_vec()]));
                continue;
            }
            Op::Reopen(compression) => {
                compressed += log.stats().batches_compressed;
                drop(log);
                log = open(sim, *compression);
                continue;
            }
        };
        match log.append_batch_to(StreamId(stream), &batch) {
            Ok(_) => written.push((stream, batch)),
            Err(WalError::RecordTooLarge { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    log.sync().unwrap();
    compressed += log.stats().batches_compressed;
    (log, written, compressed)
}

fn assert_reads_everywhere(log: &Wal, sim: &SimDisk, written: &Written) {
    let flat: Vec<(u16, u32, &[u8])> = written
        .iter()
        .flat_map(|(stream, records)| {
            (0..)
                .zip(records)
                .map(|(index, bytes)| (*stream, index, &bytes[..]))
        })
        .collect();
    let records: Vec<_> = log
        .read_from(Lsn::ZERO)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let read: Vec<_> = records
        .iter()
        .map(|r| (r.stream.0, r.index, &r.payload[..]))
        .collect();
    assert_eq!(read, flat);

    // Handles outlive the frame that they come from.
    let mut kept: Vec<(u16, Vec<Payload>)> = Vec::new();
    let mut reader = log.read_from(Lsn::ZERO).unwrap();
    while let Some(frame) = reader.next_frame().unwrap() {
        kept.push((
            frame.stream.0,
            frame.records().map(|r| r.to_payload()).collect(),
        ));
        if let Some(all) = frame.decompressed() {
            assert_eq!(&all[..], frame.payload());
        }
    }
    let unkept = |kept: &[(u16, Vec<Payload>)]| -> Written {
        let frames = kept.iter();
        frames
            .map(|(s, records)| (*s, records.iter().map(|r| r.to_vec()).collect()))
            .collect()
    };
    assert_eq!(unkept(&kept), *written);

    let (mut checked, mut unchecked) = (Written::new(), Written::new());
    for chunk in log.chunks(Lsn::ZERO, log.durable_lsn(), 3000).unwrap() {
        for (frames, into) in [
            (chunk.frames(), &mut checked),
            (chunk.unchecked_frames(), &mut unchecked),
        ] {
            for frame in frames.map(Result::unwrap) {
                into.push((
                    frame.stream.0,
                    frame.records().map(|r| r.to_vec()).collect(),
                ));
            }
        }
    }
    assert_eq!(checked, *written);
    assert_eq!(unchecked, *written);

    let inspected = inspect::Log::open(Arc::new(sim.clone()), "/log").unwrap();
    let frames = inspected.frames(Lsn::ZERO).unwrap().map(Result::unwrap);
    let dumped: Written = frames
        .filter(|f| f.durable_lsn().is_none() && f.kind != highwater_wal::FrameKind::Seal)
        .map(|f| (f.stream.0, f.records().iter().map(|r| r.to_vec()).collect()))
        .collect();
    assert_eq!(dumped, *written);
    let report = inspected.verify(|_| ()).unwrap();
    assert!(report.is_ok(), "{report:?}");
    assert_eq!(report.records, flat.len() as u64);

    log.truncate_before(log.durable_lsn()).unwrap();
    log.close().unwrap();
    assert_eq!(unkept(&kept), *written, "after truncating and closing");
}

proptest! {
    #![proptest_config(saved_seeds::config(60, env!("CARGO_MANIFEST_DIR"), "compression"))]

    /// F84: compression switched on, off and over between runs, next to everything else, across
    /// segments.
    #[test]
    fn compressed_and_other_frames_read_back(program in proptest::collection::vec(op(), 1..40)) {
        let sim = SimDisk::new();
        let (log, written, _) = run(&sim, &program);
        assert_reads_everywhere(&log, &sim, &written);
    }
}

/// The generator above is worth something: such programs do compress.
#[test]
fn a_program_of_text_is_compressed_and_saves_space() {
    let sim = SimDisk::new();
    let program = [
        vec![Op::Text(vec![700, 0, 900]); 20],
        vec![Op::Junk(vec![900]); 20],
    ]
    .concat();
    let (log, written, compressed) = run(&sim, &program);
    assert_eq!(compressed, 20);
    let stats = log.stats();
    assert!(stats.bytes_saved > 20 * 800, "{stats:?}");
    let raw: usize = written
        .iter()
        .flat_map(|(_, records)| records)
        .map(Vec::len)
        .sum();
    assert!(stats.bytes_appended + 20 * 600 < raw as u64, "{stats:?}");
    assert_reads_everywhere(&log, &sim, &written);
}

/// The limit counts what the records take uncompressed, and a batch may hold more than the segment
/// that it stands in.
#[test]
fn the_record_limit_counts_uncompressed_bytes() {
    let sim = SimDisk::new();
    drop(open(&sim, ZSTD));
    let large = options(&sim).segment_size(1 << 20).compression(ZSTD);
    let log = Wal::open_with("/log", large.max_record_bytes(100_000)).unwrap();
    let size = 100_000 - 8;
    assert!(matches!(
        log.append_batch([vec![1; size + 1]]),
        Err(WalError::RecordTooLarge {
            size: 100_001,
            max: 100_000,
            ..
        })
    ));
    let range = log.append_batch([vec![1; size]]).unwrap();
    assert!(
        range.end.get() < 16 << 10,
        "it fits the small segment of before"
    );
    log.sync().unwrap();
    assert_reads_everywhere(&log, &sim, &vec![(0, vec![vec![1; size]])]);
}

#[test]
fn levels_that_zstd_does_not_have_are_refused() {
    for level in [23, -8, i32::MAX, i32::MIN] {
        let options = options(&SimDisk::new()).compression(Compression::Zstd { level });
        let error = Wal::open_with("/log", options).unwrap_err();
        assert!(error.to_string().contains(&level.to_string()), "{error}");
    }
}

/// A log of three batches, all compressed; where the second stands.
fn three_batches() -> (SimDisk, usize) {
    let sim = SimDisk::new();
    let log = open(&sim, ZSTD);
    let batches =
        [1, 2, 3].map(|seed| log.append_batch([text(900, seed), text(90, seed)]).unwrap());
    log.sync().unwrap();
    assert_eq!(log.stats().batches_compressed, 3);
    drop(log);
    (sim, usize::try_from(batches[1].first.get()).unwrap())
}

/// Asserts that the error names the frame at `at` of the first segment.
fn assert_located(error: &WalError, at: usize, expected: Finding) {
    match error {
        WalError::Corrupt {
            finding,
            file,
            offset,
            lsn,
            ..
        } => {
            assert_eq!(
                (*finding, file.as_path()),
                (expected, Path::new(FIRST)),
                "{error}"
            );
            assert_eq!((*offset, lsn.get()), (at as u64, at as u64), "{error}");
        }
        other => panic!("{other}"),
    }
}

/// What every way of reading says to a second batch that is right by its checksums and does not
/// decompress.
fn assert_refused_everywhere(sim: &SimDisk, at: usize) {
    let log = open(sim, ZSTD);
    let durable = Finding::CorruptDurable;
    let mut records = log.read_from(Lsn::ZERO).unwrap();
    assert_eq!(records.by_ref().take(2).filter(Result::is_ok).count(), 2);
    assert_located(&records.next().unwrap().unwrap_err(), at, durable);
    assert!(records.next().is_none());

    let mut frames = log.read_from(Lsn::ZERO).unwrap();
    assert!(frames.next_frame().unwrap().is_some());
    for _again in 0..2 {
        assert_located(&frames.next_frame().unwrap_err(), at, durable);
    }
    for chunk in log.chunks(Lsn::ZERO, log.durable_lsn(), u64::MAX).unwrap() {
        for mut frames in [chunk.frames(), chunk.unchecked_frames()] {
            assert!(frames.next().unwrap().is_ok());
            assert_located(&frames.next().unwrap().unwrap_err(), at, durable);
            assert!(frames.next().is_none());
        }
    }
    drop(log);
    let inspected = inspect::Log::open(Arc::new(sim.clone()), "/log").unwrap();
    let dumped: Vec<_> = inspected.frames(Lsn::ZERO).unwrap().collect();
    let (last, before) = dumped.split_last().unwrap();
    assert!(before.iter().all(Result::is_ok));
    assert_located(last.as_ref().unwrap_err(), at, Finding::CorruptProven);
    let report = inspected.verify(|_| ()).unwrap();
    assert_eq!(
        (report.findings.len(), report.records),
        (1, 4),
        "the others are counted"
    );
    assert_located(&report.findings[0], at, Finding::CorruptProven);
}

/// F73, F87: frames made with the right checksums whose payload is a bomb, states a wrong length,
/// or is no zstd at all.
#[test]
fn crafted_batches_are_errors_that_say_where() {
    let (good, at) = three_batches();
    let payload = at + frame_header::END;
    let changes: [fn(&mut [u8]); 6] = [
        |payload| payload[..4].fill(0xFF),
        |payload| {
            payload[..4]
                .copy_from_slice(&u32::try_from(MAX_UNCOMPRESSED_BATCH).unwrap().to_le_bytes())
        },
        |payload| payload[..4].fill(0),
        |payload| payload[4..8].fill(0),
        |payload| payload[12..].fill(0xAA),
        |payload| payload.fill(0),
    ];
    for change in changes {
        let sim = good.snapshot();
        sim.edit(FIRST, |bytes| {
            let len = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
            change(&mut bytes[payload..payload + usize::try_from(len).unwrap()]);
            reseal(bytes, at);
        });
        assert_refused_everywhere(&sim, at);
    }
    // Too short to state a length.
    for len in 0..4_u32 {
        let sim = good.snapshot();
        sim.edit(FIRST, |bytes| {
            bytes[at..at + 4].copy_from_slice(&len.to_le_bytes());
            reseal(bytes, at);
        });
        let log = Wal::open_with("/log", options(&sim));
        // The frame ends early, so no frame stands where the next should.
        let error = log.map_or_else(
            |e| e,
            |log| {
                log.read_from(Lsn::ZERO)
                    .unwrap()
                    .find_map(Result::err)
                    .unwrap()
            },
        );
        assert!(matches!(error, WalError::Corrupt { .. }), "{error}");
    }
}

/// A plain batch that claims to be compressed.
#[test]
fn a_plain_batch_with_the_flag_is_an_error() {
    let sim = SimDisk::new();
    let log = open(&sim, Compression::Off);
    let ranges = [1, 2, 3].map(|seed| log.append_batch([text(90, seed), text(9, seed)]).unwrap());
    drop(log);
    let at = usize::try_from(ranges[1].first.get()).unwrap();
    sim.edit(FIRST, |bytes| {
        bytes[at + frame_header::FLAGS] = flag::ZSTD;
        reseal(bytes, at);
    });
    assert_refused_everywhere(&sim, at);
}

/// Frames whose checksum nobody looked at may hold anything: an error or other bytes, never a
/// panic.
#[test]
fn unchecked_frames_survive_every_flipped_bit() {
    let (good, at) = three_batches();
    // Segments behind it: opening does not look at the first.
    let log = open(&good, Compression::Off);
    for _ in 0..8 {
        let _ = log.append(vec![0; 5000]).unwrap();
    }
    drop(log);
    let start = at + frame_header::END;
    let bytes = good.read_file(FIRST).unwrap();
    let len = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let (mut errors, mut other) = (0, 0);
    for place in start..start + usize::try_from(len).unwrap() {
        let sim = good.snapshot();
        sim.edit(FIRST, |bytes| bytes[place] ^= 1 << (place % 8));
        let log = open(&sim, Compression::Off);
        let chunks = log.chunks(Lsn::ZERO, log.durable_lsn(), 1).unwrap();
        for frame in chunks.iter().flat_map(Chunk::unchecked_frames) {
            match frame {
                Ok(frame) if frame.lsn.get() == at as u64 => {
                    other += usize::from(frame.records().all(|r| r.to_payload()[..] == r[..]));
                }
                Ok(_) => {}
                Err(error) => {
                    assert_located(&error, at, Finding::CorruptDurable);
                    errors += 1;
                }
            }
        }
        let checked = log.read_from(Lsn::ZERO).unwrap().find_map(Result::err);
        assert_located(&checked.unwrap(), at, Finding::CorruptDurable);
    }
    assert!(errors > 20 && other > 20, "{errors} {other}");
}

/// Each source of a program read, checked and decompressed the data of all others too.
#[test]
fn a_reader_of_one_stream_leaves_the_payloads_of_others_alone() {
    let sim = SimDisk::new();
    let log = open(&sim, ZSTD);
    let [_, damaged, _] = [1, 2, 1].map(|stream| {
        let records = [text(900, 7), text(90, 7)];
        let range = log.append_batch_to(StreamId(stream), &records).unwrap();
        usize::try_from(range.first.get()).unwrap()
    });
    // Segments after it: opening does not look at the first.
    for _ in 0..8 {
        let _ = log.append(vec![0; 5000]).unwrap();
    }
    drop(log);
    sim.edit(FIRST, |bytes| bytes[damaged + frame_header::END + 9] ^= 1);
    let log = open(&sim, Compression::Off);
    let chunks = log.chunks(Lsn::ZERO, log.durable_lsn(), 1 << 20).unwrap();
    let frames_of = |stream| {
        chunks
            .iter()
            .flat_map(move |c| c.frames_of(StreamId(stream)))
    };
    let records: Vec<usize> = frames_of(1).map(|f| f.unwrap().records().count()).collect();
    assert_eq!(records, [2, 2]);
    let error = frames_of(2).find_map(Result::err).unwrap();
    assert_located(&error, damaged, Finding::CorruptDurable);
}
