//! The first table of `wal/src/recovery/mod.rs`, label by label: each with the physical cause that
//! it stands for.

use crate::common::{contents, options, payloads, reseal};
use crate::saved_seeds;
use highwater_wal::disk::sim::{Call, Fault, FaultKind};
use highwater_wal::disk::{Disk, SimDisk};
use highwater_wal::layout::{SEGMENT_HEADER_SIZE, flag, frame_header, kind};
use highwater_wal::{
    Background, Case, Finding, FrameKind, Lsn, Options, Wal, WalError, WritePath, inspect,
};
use std::sync::Arc;

const FIRST: &str = "/log/00000000000000000000.wal";

/// Through the page cache, where a killed process leaves what it had not synced: every row of the
/// table can be set up.
fn on(sim: &SimDisk) -> Options {
    let disk: Arc<dyn Disk> = Arc::new(sim.clone());
    options()
        .disk(disk)
        .background(Background::Inline)
        .write_path(WritePath::PageCache)
}

fn open(sim: &SimDisk) -> Wal {
    Wal::open_with("/log", on(sim)).unwrap()
}

/// A log that holds `synced`, durable, and `loose`, in the page cache alone; then killed. Tells
/// where each of `loose` stands in its file.
fn killed<const N: usize>(synced: &[&str], loose: [&str; N]) -> (SimDisk, [usize; N]) {
    let sim = SimDisk::new();
    let log = open(&sim);
    for text in synced {
        let lsn = log.append(text).unwrap();
        log.sync_to(lsn).unwrap();
    }
    let places = loose.map(|text| usize::try_from(log.append(text).unwrap().get()).unwrap());
    let next = sim.kill_process();
    drop(log);
    (next, places)
}

fn erase(sim: &SimDisk, at: usize) {
    sim.edit(FIRST, |bytes| bytes[at..at + frame_header::END].fill(0));
}

#[test]
fn created() {
    assert_eq!(open(&SimDisk::new()).recovery().case, Case::Created);
}

/// F6: creation cut short before `LOG` was there is begun again.
#[test]
fn created_again_when_creation_was_cut_short() {
    let sim = SimDisk::new();
    drop(open(&sim));
    for left in ["wal", "wal.tmp"] {
        let copy = SimDisk::new();
        copy.create_dir_all("/log".as_ref()).unwrap();
        let mut bytes = sim.read_file(FIRST).unwrap();
        bytes[usize::try_from(SEGMENT_HEADER_SIZE).unwrap()..].fill(0);
        copy.put_file(format!("/log/00000000000000000000.{left}"), bytes);
        let log = open(&copy);
        assert_eq!(log.recovery().case, Case::Created);
        assert_eq!(log.recovery().removed.len(), 1);
    }
}

/// A log that takes the place of another one begins where that ended: on a page, and it stays
/// there.
#[test]
fn created_at_an_lsn() {
    let sim = SimDisk::new();
    let at = |sim: &SimDisk, lsn| on(sim).start_at(Lsn::new(lsn));
    assert!(!Wal::exists("/log", &on(&sim)).unwrap());
    let log = Wal::open_with("/log", at(&sim, 1_000_001)).unwrap();
    assert_eq!(log.first_lsn(), Lsn::new(1_003_520));
    assert_eq!(log.recovery().case, Case::Created);
    let _ = log.append("a").unwrap();
    log.sync().unwrap();
    let end = log.end_lsn();
    assert!(end > Lsn::new(1_003_520 + SEGMENT_HEADER_SIZE));
    let sim = sim.kill_process();
    drop(log);
    // Without the setting, or with another one, it is where it was.
    for reopened in [at(&sim, 1_000_001), on(&sim), at(&sim, 7)] {
        assert!(Wal::exists("/log", &reopened).unwrap());
        let log = Wal::open_with("/log", reopened).unwrap();
        assert_eq!(contents(&log), payloads(["a"]));
        assert_eq!(log.first_lsn(), Lsn::new(1_003_520));
        log.close().unwrap();
    }
    let too_high = at(&sim, (1 << 62) + 1);
    let refused = Wal::open_with("/log", too_high).unwrap_err();
    assert!(refused.to_string().contains("leaves no room"), "{refused}");
}

/// Creation at an LSN that is cut short before any disk operation: it is no log yet, and is begun
/// again; or it is the log.
#[test]
fn creation_at_an_lsn_survives_a_power_cut_before_every_operation() {
    let mut whole = 0;
    for cut in 0.. {
        let sim = SimDisk::new();
        sim.cut_power_before(cut);
        let options = |sim: &SimDisk| on(sim).start_at(Lsn::new(40_000));
        let made = Wal::open_with("/log", options(&sim));
        let (is_made, is_done) = (made.is_ok(), sim.power_cut_at().is_none());
        drop(made);
        let sim = sim.restart_after_power_cut(cut);
        let there = Wal::exists("/log", &options(&sim)).unwrap();
        assert!(there || !is_made, "cut {cut}: a log that was made is there");
        let log = Wal::open_with("/log", options(&sim)).unwrap();
        assert_eq!(log.first_lsn(), Lsn::new(40_960), "cut {cut}");
        assert_eq!(log.recovery().case == Case::Created, !there, "cut {cut}");
        whole += u64::from(there);
        if is_done {
            break;
        }
    }
    assert!(whole > 0, "the last cut comes after creation");
}

#[test]
fn clean_end() {
    let sim = SimDisk::new();
    let log = open(&sim);
    let _ = log.append("a").unwrap();
    log.close().unwrap();
    drop(log);
    let log = open(&sim);
    assert_eq!(log.recovery().case, Case::CleanEnd);
    assert_eq!(log.recovery().frames_rewritten, 0);
}

/// F11: a close frame with something behind it means nothing.
#[test]
fn a_stale_close_frame_is_no_clean_end() {
    let sim = SimDisk::new();
    let _ = open(&sim).append("a").unwrap();
    let log = open(&sim);
    let _ = log.append("b").unwrap();
    let sim = sim.kill_process();
    drop(log);
    let log = open(&sim);
    assert_eq!(log.recovery().case, Case::OpenEnd);
    assert_eq!(contents(&log), payloads(["a", "b"]));
}

#[test]
fn open_end() {
    let (sim, _) = killed(&["a"], ["b", "c"]);
    let log = open(&sim);
    assert_eq!(log.recovery().case, Case::OpenEnd);
    assert_eq!(
        log.recovery().frames_rewritten,
        3,
        "the durable-LSN record, b and c"
    );
    assert_eq!(contents(&log), payloads(["a", "b", "c"]));
}

/// F9: bytes of an earlier use of the file.
#[test]
fn stale_bytes() {
    let (sim, [at]) = killed(&["a"], ["bbbbbbbb"]);
    sim.edit(FIRST, |bytes| bytes[at..at + frame_header::END].fill(0x55));
    let log = open(&sim);
    assert_eq!(log.recovery().case, Case::StaleBytes);
    assert_eq!(contents(&log), payloads(["a"]));
}

/// F7: the first of several un-synced frames was lost, later ones were kept: not corruption. They
/// never come back.
#[test]
fn torn_tail_with_frames_after_it() {
    let (sim, [first, ..]) = killed(&["a"], ["b", "c", "d"]);
    erase(&sim, first);
    let log = open(&sim);
    assert_eq!(log.recovery().case, Case::TornTail);
    assert_eq!(log.recovery().frames_erased, 2);
    assert_eq!(contents(&log), payloads(["a"]));
    // The recovery's own record is as long as the lost frame: "c" would stand right after it.
    let sim = sim.kill_process();
    drop(log);
    assert_eq!(contents(&open(&sim)), payloads(["a"]));
}

#[test]
fn torn_tail_without_its_payload() {
    let (sim, [at]) = killed(&["a"], ["bbbbbbbb"]);
    sim.edit(FIRST, |bytes| bytes[at + frame_header::END] ^= 1);
    let log = open(&sim);
    assert_eq!(log.recovery().case, Case::TornTail);
    assert_eq!(log.recovery().bytes_discarded, 24);
    assert_eq!(contents(&log), payloads(["a"]));
}

/// F33: the same damage below a position that is proven durable is corruption, and nothing is
/// changed.
#[test]
fn corrupt_below_what_is_proven() {
    let (sim, _) = killed(&["a", "b"], ["c"]);
    let at = 4096; // where "a" stands
    erase(&sim, at);
    let before = sim.read_file(FIRST);
    let error = Wal::open_with("/log", on(&sim)).unwrap_err();
    assert!(
        matches!(&error, WalError::Corrupt { finding: Finding::CorruptProven, file, offset, .. }
            if file.to_str() == Some(FIRST) && *offset == at as u64),
        "{error}"
    );
    assert!(
        error.to_string().contains(&at.to_string()) && error.to_string().contains("backup"),
        "{error}"
    );
    assert!(sim.read_file(FIRST) == before);
}

/// Truncation was cut short after `LOG` had the new start: what is left of it is removed.
#[test]
fn a_segment_below_the_start_is_removed() {
    let sim = SimDisk::new();
    let log = Wal::open_with("/log", on(&sim).segment_size(8 << 10)).unwrap();
    for n in 0..60_u8 {
        let lsn = log.append([n; 300]).unwrap();
        log.sync_to(lsn).unwrap();
    }
    let first = sim.read_file(FIRST).unwrap();
    log.truncate_before(log.durable_lsn()).unwrap();
    let start = log.first_lsn();
    assert!(start > Lsn::ZERO);
    log.close().unwrap();
    drop(log);
    sim.put_file(FIRST, first);
    let log = Wal::open_with("/log", on(&sim).segment_size(8 << 10)).unwrap();
    assert!(
        log.recovery()
            .removed
            .contains(&"00000000000000000000.wal".into())
    );
    assert_eq!(log.first_lsn(), start);
    assert!(sim.read_file(FIRST).is_none());
}

/// Damage below what `LOG` proves is found by the reader that comes there, as in every older
/// segment: opening does not read it.
#[test]
fn damage_below_the_note_is_found_when_it_is_read() {
    let (sim, [at, _]) = killed(&[], ["a", "b"]);
    let log = open(&sim);
    let _ = log.append("c").unwrap();
    drop(log);
    erase(&sim, at);
    let log = open(&sim);
    let error = log
        .read_from(Lsn::ZERO)
        .unwrap()
        .next()
        .unwrap()
        .unwrap_err();
    assert!(
        matches!(&error, WalError::Corrupt { finding: Finding::CorruptDurable, offset, .. }
            if *offset == at as u64),
        "{error}"
    );
    let report = inspect::Log::open(Arc::new(sim), "/log")
        .and_then(|log| log.verify(|_| ()))
        .unwrap();
    assert!(!report.is_ok());
}

/// A torn tail that spans a rotation: the next segment is kept as the prepared one, empty.
#[test]
fn torn_tail_across_segments() {
    let sim = SimDisk::new();
    let log = open(&sim);
    let lsn = log.append("a").unwrap();
    log.sync_to(lsn).unwrap();
    let lost = usize::try_from(log.append(vec![1; 2000]).unwrap().get()).unwrap();
    for _ in 0..10 {
        let _ = log.append(vec![2; 2000]).unwrap();
    }
    assert!(log.stats().segments > 1);
    let sim = sim.kill_process();
    drop(log);
    erase(&sim, lost);
    let log = open(&sim);
    assert_eq!(
        (log.recovery().case, log.recovery().segments),
        (Case::TornTail, 1)
    );
    assert_eq!(contents(&log), payloads(["a"]));
    for _ in 0..10 {
        let _ = log.append(vec![3; 2000]).unwrap();
    }
    log.sync().unwrap();
    let sim = sim.kill_process();
    drop(log);
    let shown = contents(&open(&sim));
    assert!(shown.len() == 11 && shown[1..].iter().all(|r| r[0] == 3));
}

/// Makes the frame at `at` one of this kind and these flags.
fn remake(sim: &SimDisk, at: usize, kind: u8, flags: u8) {
    sim.edit(FIRST, |bytes| {
        bytes[at + frame_header::KIND] = kind;
        bytes[at + frame_header::FLAGS] = flags;
        reseal(bytes, at);
    });
}

fn assert_unknown_feature(result: highwater_wal::Result<Wal>, what: &str) {
    let error = result.unwrap_err();
    assert!(
        matches!(
            error,
            WalError::Corrupt {
                finding: Finding::UnknownFeature,
                ..
            }
        ),
        "{what}: {error}"
    );
}

/// F82, F84: an intact frame with a feature of the future is refused by name, and nothing is
/// changed. A kind that was not known passed for the end of the log: the records behind it were cut
/// off.
#[test]
fn unknown_feature() {
    let unknown = [
        (kind::DATA, flag::ZSTD),
        (kind::CONTROL, flag::ZSTD),
        (kind::DATA, 0x80),
        (kind::BATCH, 2),
        (kind::BATCH, flag::ZSTD | 4),
        (kind::CURSOR + 1, 0),
        (u8::MAX, u8::MAX),
    ];
    for (kind, flags) in unknown {
        let (sim, [first, _]) = killed(&["a"], ["of the future", "behind it"]);
        remake(&sim, first, kind, flags);
        let what = format!("kind {kind}, flags {flags}");
        let before = sim.read_file(FIRST);
        assert_unknown_feature(Wal::open_with("/log", on(&sim)), &what);
        let report = inspect::Log::open(Arc::new(sim.clone()), "/log")
            .unwrap()
            .verify(|_| ())
            .unwrap();
        assert!(!report.is_ok(), "{what}");
        assert_eq!(sim.read_file(FIRST), before, "{what}: changed");

        // Behind a torn frame too: it may attest in a way that this version cannot read.
        let (sim, [torn, next]) = killed(&["a"], ["torn", "of the future"]);
        remake(&sim, next, kind, flags);
        sim.edit(FIRST, |bytes| bytes[torn + frame_header::END] ^= 1);
        assert_unknown_feature(Wal::open_with("/log", on(&sim)), &what);
    }
}

/// Padding is passed over, whatever it holds.
#[test]
fn padding_is_no_record() {
    let (sim, [first, _]) = killed(&["a"], ["filling", "b"]);
    remake(&sim, first, kind::PADDING, 0);
    let frames: Vec<_> = inspect::Log::open(Arc::new(sim.clone()), "/log")
        .unwrap()
        .frames(Lsn::ZERO)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let padding = frames.iter().find(|f| f.kind == FrameKind::Padding);
    assert!(padding.is_some_and(|f| f.records().is_empty() && f.durable_lsn().is_none()));
    let log = open(&sim);
    assert_eq!(contents(&log), payloads(["a", "b"]));
    let mut reader = log.read_from(Lsn::ZERO).unwrap();
    let mut records = 0;
    while let Some(frame) = reader.next_frame().unwrap() {
        records += frame.records().count();
    }
    assert_eq!(records, 2);
}

/// Opening a long log reads its end, not its length.
#[test]
fn opening_does_not_read_the_whole_log() {
    let opening = |records: usize| {
        let sim = SimDisk::new();
        let log = open(&sim);
        for _ in 0..records {
            let lsn = log.append(vec![1; 1000]).unwrap();
            log.sync_to(lsn).unwrap();
        }
        let segments = log.stats().segments;
        let sim = sim.kill_process();
        drop(log);
        let before = sim.operations();
        drop(open(&sim));
        (segments, sim.operations() - before)
    };
    let (few, short) = opening(40);
    let (many, long) = opening(400);
    // Of each further segment: open, header, length.
    assert!(
        long - short <= 6 * (many - few) as u64,
        "{short} calls for {few}, {long} for {many} segments"
    );
}

/// F24: a directory that could not be synced when the log was made is synced by the next opening.
#[test]
fn names_found_are_made_durable_before_anything_is_shown() {
    let sim = SimDisk::new();
    sim.fail(Fault::new(Call::SyncDir, FaultKind::Eio).nth(1).forever());
    assert!(Wal::open_with("/log", on(&sim)).is_err());
    assert!(
        Wal::open_with("/log", on(&sim)).is_err(),
        "still not durable"
    );
    sim.clear_faults();
    let log = open(&sim);
    let lsn = log.append("a").unwrap();
    log.sync_to(lsn).unwrap();
    sim.cut_power_now();
    drop(log);
    for seed in saved_seeds::seeds(0..20) {
        let log = open(&sim.restart_after_power_cut(seed));
        assert_eq!(contents(&log), payloads(["a"]));
    }
}

/// F24: the same for a prepared segment: what is appended to it must not go away with its name.
#[test]
fn a_prepared_segment_whose_name_is_not_durable_is_not_trusted() {
    let sim = SimDisk::new();
    let log = open(&sim);
    sim.fail(Fault::new(Call::SyncDir, FaultKind::Eio));
    while log.append(vec![1; 1000]).is_ok() {}
    log.sync().unwrap();
    assert_eq!(
        sim.files()
            .iter()
            .filter(|f| f.extension().is_some_and(|e| e == "wal"))
            .count(),
        2
    );
    let sim = sim.kill_process();
    drop(log);
    let log = open(&sim);
    for _ in 0..20 {
        let lsn = log.append(vec![1; 1000]).unwrap();
        log.sync_to(lsn).unwrap();
    }
    let expected = contents(&log).len();
    sim.cut_power_now();
    drop(log);
    for seed in saved_seeds::seeds(0..20) {
        assert_eq!(
            contents(&open(&sim.restart_after_power_cut(seed))).len(),
            expected
        );
    }
}

/// Frames of every kind are where the format says.
#[test]
fn a_dump_shows_every_kind_of_frame() {
    let sim = SimDisk::new();
    let log = open(&sim);
    let lsn = log.append("a").unwrap();
    log.sync_to(lsn).unwrap();
    for _ in 0..20 {
        let _ = log.append_batch([vec![0; 1000]]).unwrap();
    }
    let _ = log
        .append_control(highwater_wal::StreamId(1), "cut")
        .unwrap();
    drop(log);
    let frames: Vec<_> = inspect::Log::open(Arc::new(sim), "/log")
        .unwrap()
        .frames(Lsn::ZERO)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    for kind in [
        FrameKind::Data,
        FrameKind::Batch,
        FrameKind::Control,
        FrameKind::DurableAt,
        FrameKind::Seal,
    ] {
        assert!(frames.iter().any(|frame| frame.kind == kind), "{kind}");
    }
    let close = frames.last().unwrap();
    assert_eq!(
        (close.kind, close.durable_lsn()),
        (FrameKind::Close, Some(close.lsn))
    );
}

/// Opening takes the same calls whatever the length of the log: segments wholly below what `LOG`
/// attests, but for the last two, are not even opened. They are checked when they are read.
#[test]
fn opening_a_long_log_does_not_look_into_what_is_attested() {
    let mut operations = Vec::new();
    for segments in [6_u64, 40] {
        let sim = SimDisk::new();
        let log = open(&sim);
        let size = highwater_wal::layout::MIN_SEGMENT_SIZE;
        while log.end_lsn().get() < segments * size {
            let _ = log.append(vec![7; 1000]).unwrap();
        }
        log.sync().unwrap();
        log.close().unwrap();
        drop(log);
        let before = sim.operations();
        let log = open(&sim);
        operations.push(sim.operations() - before);
        assert_eq!(log.recovery().case, Case::CleanEnd);
        drop(log);
        // A foreign header there is not noticed by opening, but by its readers.
        sim.edit(FIRST, |bytes| bytes[..4096].fill(1));
        let log = open(&sim);
        let error = log.read_from(Lsn::ZERO).unwrap().next_frame().unwrap_err();
        assert!(
            matches!(&error, WalError::Corrupt { finding: Finding::DamagedHeader, file, .. } if file.ends_with("00000000000000000000.wal")),
            "{error}"
        );
    }
    assert_eq!(operations[0], operations[1]);
}
