//! Both ways of reading: in maps whose pages are read in before, and by copying. They show the
//! same; a sector that cannot be read is an error to both.

use crate::common;
use highwater_wal::disk::sim::{Call, Fault, FaultKind};
use highwater_wal::disk::{Disk, SimDisk};
use highwater_wal::layout::segment_name;
use highwater_wal::{
    Background, Finding, Lsn, Options, Payload, ReadPath, StreamId, Tailed, Wal, WalError,
    WritePath, inspect,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const PATHS: [ReadPath; 2] = [ReadPath::Mapped, ReadPath::Copy];
const WRITES: [WritePath; 2] = [WritePath::Direct, WritePath::PageCache];
const OTHER: StreamId = StreamId(7);
const SEGMENT: u64 = 64 << 10;

fn options(sim: &SimDisk, read: ReadPath, write: WritePath) -> Options {
    let disk: Arc<dyn Disk> = Arc::new(sim.clone());
    Options::new()
        .segment_size(SEGMENT)
        .log_id_seed(7)
        .background(Background::Inline)
        .compression(common::zstd())
        .read_path(read)
        .write_path(write)
        .disk(disk)
}

/// Records of every kind: single, control, of another stream, in batches plain and compressed, one
/// of half a segment.
fn fill(log: &Wal, rounds: u8) {
    for n in 0..rounds {
        let _ = log.append([n; 700]).unwrap();
        let _ = log.append_control(OTHER, [n; 30]).unwrap();
        let _ = log
            .append_batch_to(OTHER, [&[n; 10][..], &[], &[n; 100]])
            .unwrap();
        let _ = log.append_batch([vec![n; 3000], vec![n; 3000]]).unwrap();
        if n % 8 == 0 {
            let _ = log.append(vec![n; 30_000]).unwrap();
        }
    }
    log.sync().unwrap();
}

type Shown = (Lsn, u32, StreamId, Vec<u8>);

/// What each way of reading shows; all of them agree.
fn read_all(log: &Wal) -> Vec<Shown> {
    let records: Vec<Shown> = log
        .read_from(Lsn::ZERO)
        .unwrap()
        .map(Result::unwrap)
        .map(|r| (r.lsn, r.index, r.stream, r.payload.to_vec()))
        .collect();
    let mut frames = Vec::new();
    let mut reader = log.read_from(Lsn::ZERO).unwrap();
    while let Some(frame) = reader.next_frame().unwrap() {
        for record in frame.records() {
            assert_eq!(record.to_payload()[..], *record);
            frames.push((frame.lsn, record.index(), frame.stream, record.to_vec()));
        }
    }
    assert!(frames == records);
    let of_stream: Vec<Shown> = log
        .read_from(Lsn::ZERO)
        .unwrap()
        .only(OTHER)
        .map(Result::unwrap)
        .map(|r| (r.lsn, r.index, r.stream, r.payload.to_vec()))
        .collect();
    assert!(of_stream.iter().eq(records.iter().filter(|r| r.2 == OTHER)));
    for target in [1, 10_000, SEGMENT] {
        let chunks = log.chunks(Lsn::ZERO, log.durable_lsn(), target).unwrap();
        for unchecked in [false, true] {
            let mut shown = Vec::new();
            for chunk in &chunks {
                assert_eq!(chunk.as_ref().len() as u64, chunk.size_bytes());
                let frames = if unchecked {
                    chunk.unchecked_frames()
                } else {
                    chunk.frames()
                };
                for frame in frames {
                    let frame = frame.unwrap();
                    for record in frame.records() {
                        assert_eq!(record.to_payload()[..], *record);
                        if frame.decompressed().is_none() {
                            let all = chunk.as_ref().as_ptr_range();
                            let its = record.as_ptr_range();
                            assert!(all.start <= its.start && its.end <= all.end, "a part of it");
                        }
                        shown.push((frame.lsn, record.index(), frame.stream, record.to_vec()));
                    }
                }
            }
            assert!(shown == records, "{target} {unchecked}");
        }
    }
    let again = chunk_by_chunk(log);
    assert!(again == records);
    records
}

/// Through [`Wal::chunk`], a frame at a time.
fn chunk_by_chunk(log: &Wal) -> Vec<Shown> {
    let mut shown = Vec::new();
    for header in log.scan_headers(Lsn::ZERO, log.durable_lsn()).unwrap() {
        let header = header.unwrap();
        let chunk = log.chunk(header.lsn, header.end_lsn).unwrap();
        for frame in chunk.frames() {
            let frame = frame.unwrap();
            let records = frame.records();
            shown.extend(records.map(|r| (frame.lsn, r.index(), frame.stream, r.to_vec())));
        }
    }
    shown
}

#[test]
fn both_paths_show_the_same_in_every_way_of_reading() {
    for write in WRITES {
        let mut expected: Option<Vec<Shown>> = None;
        for read in PATHS {
            let sim = SimDisk::new();
            let log = Wal::open_with("/log", options(&sim, read, write)).unwrap();
            fill(&log, 40);
            let fresh = read_all(&log);
            log.close().unwrap();
            drop(log);
            let log = Wal::open_with("/log", options(&sim, read, write)).unwrap();
            assert!(read_all(&log) == fresh);
            fill(&log, 3);
            let more = read_all(&log);
            assert!(more.len() > fresh.len() && more[..fresh.len()] == fresh);
            assert!(log.durable_lsn().get() > 3 * SEGMENT, "several segments");
            assert!(
                expected.get_or_insert(more.clone()) == &more,
                "{write:?} {read:?}"
            );
        }
    }
}

/// F31: whatever can become of a mapped page, [`ReadPath::Copy`] touches none: it reads on where no
/// file can be mapped to read and no page read in, also where the log is written.
#[test]
fn copying_touches_no_map() {
    for write in WRITES {
        let sim = SimDisk::new();
        let log = Wal::open_with("/log", options(&sim, ReadPath::Copy, write)).unwrap();
        for call in [Call::MapRead, Call::Populate] {
            sim.fail(Fault::new(call, FaultKind::Eio).forever());
        }
        fill(&log, 40);
        let shown = read_all(&log);
        let mut tail = log.tail(Lsn::ZERO).unwrap();
        for (lsn, index, ..) in &shown {
            match tail.next_timeout(Duration::ZERO).unwrap() {
                Tailed::Record(record) => assert_eq!((record.lsn, record.index), (*lsn, *index)),
                other => panic!("{other:?}"),
            }
        }
        let lsn = log.append("more").unwrap();
        log.sync_to(lsn).unwrap();
        let more = tail.next().unwrap().unwrap();
        assert_eq!(more.payload[..], *b"more");
        assert_eq!(sim.faults_fired(), 0);
    }
}

/// What was copied stays, whatever becomes of the log, and keeps no more than itself.
#[test]
fn a_copied_payload_is_its_own() {
    let sim = SimDisk::new();
    let log = Wal::open_with("/log", options(&sim, ReadPath::Copy, WritePath::Direct)).unwrap();
    fill(&log, 40);
    let held: Vec<Payload> = log
        .read_from(Lsn::ZERO)
        .unwrap()
        .map(|r| r.unwrap().payload)
        .collect();
    let chunk = log
        .chunks(Lsn::ZERO, log.durable_lsn(), 5000)
        .unwrap()
        .swap_remove(1);
    let bytes = chunk.as_ref().to_vec();
    log.truncate_before(log.durable_lsn()).unwrap();
    log.close().unwrap();
    drop(log);
    for path in sim.files() {
        sim.delete_file(path);
    }
    assert_eq!(held[0][..], [0; 700]);
    assert!(
        held.iter()
            .all(|payload| payload.iter().all(|byte| *byte == payload[0]))
    );
    assert_eq!(chunk.as_ref(), bytes);
    assert!(chunk.frames().all(|frame| frame.is_ok()));
}

fn second_segment() -> PathBuf {
    Path::new("/log").join(segment_name(Lsn::new(SEGMENT)))
}

fn at_bad_page(error: &WalError, offset: u64) -> bool {
    let text = error.to_string();
    error.offset() == Some(offset)
        && text.contains(&format!("reading at offset {offset} of"))
        && text.contains(second_segment().to_str().unwrap())
        && text.contains("os error 5")
}

/// Everything before the bad page, then the error, and what is asked for anew comes after it.
fn meets(log: &Wal, all: &[Shown], offset: u64) {
    let (mut shown, mut failed) = (0, None);
    for read in log.read_from(Lsn::ZERO).unwrap() {
        match read {
            Ok(read) => {
                assert_eq!(
                    (read.lsn, read.payload.to_vec()),
                    (all[shown].0, all[shown].3.clone())
                );
                shown += 1;
            }
            Err(error) => failed = Some(error),
        }
    }
    let failed = failed.expect("the bad page is met");
    assert!(at_bad_page(&failed, offset), "{failed}");
    // The frame that reaches into the page, or the one that begins in it, is the first that is not
    // shown.
    let next = all[shown].0;
    let bad = SEGMENT + offset;
    let end = all[shown..]
        .iter()
        .find(|r| r.0 > next)
        .map_or(log.durable_lsn(), |r| r.0);
    assert!(
        next.get() < bad + 4096 && end.get() > bad,
        "{next} {end} {bad}"
    );
    let mut reader = log.read_from(Lsn::ZERO).unwrap();
    let failed = loop {
        match reader.next_frame() {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the bad page was passed"),
            Err(error) => break error,
        }
    };
    assert!(at_bad_page(&failed, offset), "{failed}");
    let mut tail = log.tail(Lsn::ZERO).unwrap();
    let failed = tail.find_map(Result::err).unwrap();
    assert!(at_bad_page(&failed, offset), "{failed}");
    let error: Result<(), WalError> = log
        .chunk(Lsn::new(SEGMENT), Lsn::new(2 * SEGMENT))
        .and_then(|chunk| chunk.frames().try_for_each(|frame| frame.map(|_| ())));
    assert!(at_bad_page(&error.unwrap_err(), offset));
    let behind = all.iter().find(|r| r.0.get() > bad + 32_000).unwrap().0;
    let rest = log.read_from(behind).unwrap().map(Result::unwrap).count();
    assert_eq!(rest, all.iter().filter(|r| r.0 >= behind).count());
}

/// F30, F31: a bad sector in any page that records lie in is an error, in each way of reading, with
/// file and offset, after all that is before it; what follows can be read from there, and
/// all of it when the sector can be read again.
#[test]
fn a_bad_sector_is_an_error_wherever_it_lies() {
    for (read, write) in PATHS.into_iter().flat_map(|r| WRITES.map(|w| (r, w))) {
        let sim = SimDisk::new();
        let log = Wal::open_with("/log", options(&sim, read, write)).unwrap();
        fill(&log, 40);
        log.close().unwrap();
        drop(log);
        let log = Wal::open_with("/log", options(&sim, read, write)).unwrap();
        let all = read_all(&log);
        drop(log);
        for page in 1..8 {
            let offset = page * 4096;
            sim.break_reads(second_segment(), offset + 700..offset + 701);
            let log = Wal::open_with("/log", options(&sim, read, write)).unwrap();
            meets(&log, &all, offset);
            sim.heal_reads(second_segment());
            if read == ReadPath::Copy {
                // The simulator's maps show what they showed when they were made.
                assert!(read_all(&log) == all);
            }
            drop(log);
        }
        let log = Wal::open_with("/log", options(&sim, read, write)).unwrap();
        assert!(read_all(&log) == all);
    }
}

/// F30: the part of the segment in use that an earlier instance wrote is shown from its file: it is
/// read in too.
#[test]
fn a_bad_sector_in_the_segment_that_is_written_is_an_error_to_readers_only() {
    for read in PATHS {
        let sim = SimDisk::new();
        let log = Wal::open_with("/log", options(&sim, read, WritePath::Direct)).unwrap();
        for n in 0..40_u8 {
            let _ = log.append([n; 1000]).unwrap();
        }
        log.close().unwrap();
        drop(log);
        let path = Path::new("/log").join(segment_name(Lsn::ZERO));
        sim.break_reads(&path, 8192..8193);
        let log = Wal::open_with("/log", options(&sim, read, WritePath::Direct)).unwrap();
        let error = log
            .read_from(Lsn::ZERO)
            .unwrap()
            .find_map(Result::err)
            .unwrap();
        assert_eq!(error.offset(), Some(8192), "{error}");
        let lsn = log.append("new").unwrap();
        log.sync_to(lsn).unwrap();
        let new: Vec<_> = log
            .read_from(lsn)
            .unwrap()
            .map(|r| r.unwrap().payload)
            .collect();
        assert_eq!(new[0][..], *b"new");
    }
}

/// F26, F30: that there is no memory to read pages in is an error like any other: the next reader
/// reads on.
#[test]
fn no_memory_for_pages_is_an_error_that_passes() {
    let sim = SimDisk::new();
    let with = options(&sim, ReadPath::Mapped, WritePath::PageCache);
    let log = Wal::open_with("/log", with).unwrap();
    fill(&log, 10);
    let all = read_all(&log);
    for kind in [FaultKind::Enomem, FaultKind::Eio] {
        sim.fail(Fault::new(Call::Populate, kind).nth(1).forever());
        let read: Vec<_> = log.read_from(Lsn::ZERO).unwrap().collect();
        let (last, before) = read.split_last().unwrap();
        assert!(before.iter().all(Result::is_ok) && before.len() < all.len());
        assert!(matches!(last, Err(WalError::Io { .. })));
        sim.clear_faults();
        assert!(read_all(&log) == all);
    }
}

/// F30: the tools read files, not maps: what is before a bad sector is shown, and then file and
/// offset.
#[test]
fn the_tools_name_the_bad_sector_too() {
    let sim = SimDisk::new();
    let with = || options(&sim, ReadPath::Mapped, WritePath::Direct);
    let log = Wal::open_with("/log", with()).unwrap();
    fill(&log, 40);
    log.close().unwrap();
    let all = read_all(&log);
    drop(log);
    let offset = 5 * 4096;
    sim.break_reads(second_segment(), offset..offset + 1);
    let disk: Arc<dyn Disk> = Arc::new(sim.clone());
    let inspected = || inspect::Log::open(Arc::clone(&disk), "/log").unwrap();
    let mut dumped = 0;
    let mut failed = None;
    for frame in inspected().frames(Lsn::ZERO).unwrap() {
        match frame {
            Ok(frame) => dumped += frame.records().len(),
            Err(error) => failed = Some(error),
        }
    }
    assert!(at_bad_page(&failed.unwrap(), offset));
    let next = all[dumped].0.get();
    assert!((SEGMENT..SEGMENT + offset + 4096).contains(&next), "{next}");
    for error in [
        inspected().verify(|_| {}).unwrap_err(),
        inspected().stats(Lsn::ZERO, |_| {}).unwrap_err(),
    ] {
        assert!(at_bad_page(&error, offset), "{error}");
    }
    let kept = inspect::salvage(&disk, "/log", "/saved", |_| Ok(()), |_| ()).unwrap();
    assert!(kept.records > dumped as u64 && kept.records < all.len() as u64);
    assert_eq!(kept.lost.count, 1);
    let what = &kept.lost.ranges[0].what;
    assert!(
        what.contains("os error 5") || what.contains("checksum"),
        "{what}"
    );
}

/// F31: a file that was cut short is named as that, not as a frame that is damaged.
#[test]
fn a_cut_file_is_named_as_cut() {
    for read in PATHS {
        let sim = SimDisk::new();
        let log = Wal::open_with("/log", options(&sim, read, WritePath::Direct)).unwrap();
        fill(&log, 40);
        log.close().unwrap();
        drop(log);
        let log = Wal::open_with("/log", options(&sim, read, WritePath::Direct)).unwrap();
        sim.edit(second_segment(), |bytes| bytes.truncate(20_000));
        let error = log
            .read_from(Lsn::ZERO)
            .unwrap()
            .find_map(Result::err)
            .unwrap();
        assert!(
            matches!(&error, WalError::Corrupt { finding: Finding::ShortSegment, offset: 20_000, file, .. }
                if *file == second_segment()),
            "{error}"
        );
    }
}

/// Found in review: the payload of an unchecked frame was made ready together with what follows the
/// chunk. What is not complete yet cannot be shown, so the next frame was reported as damaged.
#[test]
fn unchecked_frames_of_a_long_chunk_end_where_it_does() {
    for write in WRITES {
        let sim = SimDisk::new();
        let options = options(&sim, ReadPath::Mapped, write).segment_size(8 << 20);
        let options = options.min_segment_size(8 << 20);
        let log = Wal::open_with("/log", options).unwrap();
        for number in 0..16_000_u32 {
            let _ = log
                .append([&number.to_le_bytes()[..], &[7; 100]].concat())
                .unwrap();
        }
        log.sync().unwrap();
        let chunk = log.chunk(Lsn::ZERO, log.durable_lsn()).unwrap();
        assert!(chunk.size_bytes() > 1 << 20, "longer than the window");
        let frames = chunk.unchecked_frames().map(Result::unwrap);
        assert_eq!(frames.count(), 16_000, "{write:?}");
    }
}
