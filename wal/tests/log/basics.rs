//! What a log does when nothing goes wrong.
#![expect(
    clippy::disallowed_methods,
    reason = "the test looks at the directory from outside"
)]

use crate::common::{contents, options, payloads};
use highwater_wal::{
    AppendOptions, Background, Case, Durability, Lsn, Options, RecordKind, StreamId, Wal, WalError,
};
use std::cell::Cell;
use std::time::Duration;

#[test]
fn records_read_back_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let log = Wal::open_with(dir.path(), options()).unwrap();
    let first = log.append("a").unwrap();
    let batch = log.append_batch(["b", "", "c"]).unwrap();
    let control = log.append_control(StreamId(9), "cut").unwrap();
    assert!(first < batch.first && batch.end <= control);
    log.sync_to(control).unwrap();
    assert!(log.durable_lsn() > control);
    let records: Vec<_> = log
        .read_from(Lsn::ZERO)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let seen: Vec<_> = records
        .iter()
        .map(|r| (r.lsn, r.index, r.kind, r.stream.0, r.payload.to_vec()))
        .collect();
    assert_eq!(
        seen,
        [
            (first, 0, RecordKind::Data, 0, b"a".to_vec()),
            (batch.first, 0, RecordKind::Data, 0, b"b".to_vec()),
            (batch.first, 1, RecordKind::Data, 0, b"".to_vec()),
            (batch.first, 2, RecordKind::Data, 0, b"c".to_vec()),
            (control, 0, RecordKind::Control, 9, b"cut".to_vec()),
        ]
    );
}

#[test]
fn only_durable_records_are_shown() {
    let dir = tempfile::tempdir().unwrap();
    let log = Wal::open_with(dir.path(), options()).unwrap();
    let lsn = log.append("a").unwrap();
    assert!(contents(&log).is_empty());
    // It said that the log ends at the durable position, which `end_lsn` is past.
    let (durable, end) = (log.durable_lsn(), log.end_lsn());
    let error = log.read_from(end).unwrap_err();
    let expected = format!(
        "LSN {end} is not durable yet: the log is durable up to {durable} and appended up to {end}; sync it first"
    );
    assert_eq!(error.to_string(), expected);
    let beyond = Lsn::new(end.get() + 8);
    assert!(matches!(
        log.read_range(Lsn::ZERO, beyond),
        Err(WalError::BeyondEnd { end: named, .. }) if named == end
    ));
    log.sync_to(lsn).unwrap();
    assert_eq!(contents(&log), payloads(["a"]));
    assert!(log.read_from(log.durable_lsn()).unwrap().next().is_none());
}

#[test]
fn a_closed_log_opens_cleanly_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..4_u32 {
        let log = Wal::open_with(dir.path(), options()).unwrap();
        let case = if round == 0 {
            Case::Created
        } else {
            Case::CleanEnd
        };
        assert_eq!(log.recovery().case, case);
        assert_eq!(contents(&log).len().to_string(), round.to_string());
        let _ = log.append(round.to_string()).unwrap();
        log.close().unwrap();
        log.close().unwrap();
        assert!(matches!(log.append("late"), Err(WalError::Closed { .. })));
    }
}

#[test]
fn the_default_options_work() {
    let dir = tempfile::tempdir().unwrap();
    let log = Wal::open(dir.path().join("a/b")).unwrap();
    let lsn = log
        .append_with(&AppendOptions::new().stream(StreamId(3)), "x")
        .unwrap();
    assert!(log.durable_lsn() > lsn);
    drop(log);
    let log = Wal::open(dir.path().join("a/b")).unwrap();
    assert_eq!(contents(&log), payloads(["x"]));
}

/// An idle `sync` costs nothing and writes nothing.
#[test]
fn syncing_an_idle_log_does_not_grow_it() {
    let dir = tempfile::tempdir().unwrap();
    let log = Wal::open_with(dir.path(), options()).unwrap();
    let _ = log.append("a").unwrap();
    log.sync().unwrap();
    let (end, groups) = (log.end_lsn(), log.stats().groups);
    for _ in 0..10 {
        log.sync().unwrap();
    }
    assert_eq!((log.end_lsn(), log.stats().groups), (end, groups));
}

#[test]
fn a_lower_durability_does_not_wait_but_sync_to_still_does() {
    let dir = tempfile::tempdir().unwrap();
    let log = Wal::open_with(dir.path(), options().durability(Durability::Os)).unwrap();
    let lsn = log.append_with(&AppendOptions::new(), "a").unwrap();
    assert!(log.durable_lsn() <= lsn);
    log.commit(lsn).unwrap();
    assert!(log.durable_lsn() <= lsn, "Os does not wait");
    let own = AppendOptions::new().durability(Durability::Sync);
    let next = log.append_with(&own, "b").unwrap();
    assert!(log.durable_lsn() > next);
    let lsn = log.append("c").unwrap();
    log.sync_to(lsn).unwrap();
    assert!(log.durable_lsn() > lsn);
}

/// It always named `max_record_bytes`: raising that where the segment is too small is an error of
/// the options.
#[test]
fn the_option_that_is_the_limit_is_named() {
    let small = || options().segment_size(16 << 10);
    let over = |options: Options, size: usize| {
        let dir = tempfile::tempdir().unwrap();
        let log = Wal::open_with(dir.path(), options).unwrap();
        let error = log.append(vec![0; size]).unwrap_err().to_string();
        let advice = error.split_once("split it, or raise ").unwrap().1;
        advice.to_owned()
    };
    let bounded = || small().max_record_bytes(1_000);
    assert_eq!(over(small(), 20_000), "`Options::segment_size`");
    assert_eq!(over(bounded(), 2_000), "`Options::max_record_bytes`");
    let both = "`Options::max_record_bytes` and `Options::segment_size`";
    assert_eq!(over(bounded(), 20_000), both);
    assert_eq!(over(small(), 17 << 20), both);
    let large = small().segment_size(64 << 20);
    assert_eq!(over(large, 17 << 20), "`Options::max_record_bytes`");
}

#[test]
fn a_record_over_the_limit_is_refused_and_nothing_is_appended() {
    let dir = tempfile::tempdir().unwrap();
    let options = options();
    let max = options.max_record();
    let log = Wal::open_with(dir.path(), options).unwrap();
    let end = log.end_lsn();
    let error = log.append(vec![0; max + 1]).unwrap_err();
    assert!(
        matches!(error, WalError::RecordTooLarge { size, max: m, .. } if size == max + 1 && m == max)
    );
    let error = log.append_batch([vec![0; max - 7]]).unwrap_err();
    assert!(matches!(error, WalError::RecordTooLarge { .. }), "{error}");
    assert_eq!(log.end_lsn(), end);
    for round in 0..3_u8 {
        let lsn = log.append(vec![round; max]).unwrap();
        log.sync_to(lsn).unwrap();
    }
    let _ = log.append_batch([vec![9; max - 8]]).unwrap();
    log.sync().unwrap();
    assert_eq!(
        contents(&log).iter().map(Vec::len).collect::<Vec<_>>(),
        [max, max, max, max - 8]
    );
}

#[test]
fn bad_options_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    for bad in [
        options().segment_size(4096),
        options().segment_size(8193),
        options().segment_size(1 << 40),
        options().segment_size(8192).max_record_bytes(8192),
    ] {
        assert!(matches!(
            Wal::open_with(dir.path(), bad),
            Err(WalError::BadOptions { .. })
        ));
    }
    assert_eq!(
        std::fs::read_dir(dir.path()).unwrap().count(),
        0,
        "nothing was written"
    );
}

#[test]
fn a_position_that_does_not_exist_is_an_error_not_a_hang() {
    let dir = tempfile::tempdir().unwrap();
    let log = Wal::open_with(dir.path(), options()).unwrap();
    assert!(matches!(
        log.sync_to(Lsn::new(1 << 50)),
        Err(WalError::BeyondEnd { .. })
    ));
    assert!(matches!(
        log.read_range(Lsn::ZERO, Lsn::new(1 << 50)),
        Err(WalError::BeyondEnd { .. })
    ));
    let lsn = log.append("12345678").unwrap();
    log.sync_to(lsn).unwrap();
    let amiss = Lsn::new(lsn.get() + 8);
    let mut reader = log.read_from(amiss).unwrap();
    let error = reader.next().unwrap().unwrap_err();
    assert!(
        matches!(error, WalError::Corrupt { lsn, .. } if lsn == amiss),
        "{error}"
    );
    // It was 2^64 - 1.
    assert_eq!(reader.position(), amiss);
    assert!(reader.next().is_none());
}

/// It was given out, and panicked when it was used.
#[test]
fn a_chunk_that_ends_before_it_begins_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let log = Wal::open_with(dir.path(), options()).unwrap();
    let [a, b] = ["a", "b"].map(|text| log.append(text).unwrap());
    log.sync().unwrap();
    assert_eq!(log.chunk(a, b).unwrap().frames().count(), 1);
    let error = log.chunk(b, a).unwrap_err();
    assert!(matches!(error, WalError::BadOptions { .. }), "{error}");
}

/// The record was appended, and then the deadline overflowed and panicked.
#[test]
fn an_interval_without_end_is_no_deadline() {
    for background in [Background::Inline, Background::Thread] {
        let dir = tempfile::tempdir().unwrap();
        let never = Durability::Interval(Duration::MAX);
        let options = options().durability(never).background(background);
        let log = Wal::open_with(dir.path(), options).unwrap();
        let _ = log.append("a").unwrap();
        let _ = log
            .append_with(&AppendOptions::new().durability(never), "b")
            .unwrap();
        log.sync().unwrap();
        assert_eq!(contents(&log), payloads(["a", "b"]));
    }
}

/// A record that answers differently each time it is asked for its bytes became an acknowledged
/// batch that nobody can read.
#[test]
fn a_record_is_asked_once_for_its_bytes() {
    struct Fickle(Cell<usize>);
    impl AsRef<[u8]> for Fickle {
        fn as_ref(&self) -> &[u8] {
            self.0.set(self.0.get() + 1);
            [&b"short"[..], b"a bit longer"][self.0.get() % 2]
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let log = Wal::open_with(dir.path(), options()).unwrap();
    let batch = log.append_batch([Fickle(Cell::new(0)), Fickle(Cell::new(1))]);
    log.sync_to(batch.unwrap().first).unwrap();
    assert_eq!(contents(&log), payloads(["a bit longer", "short"]));
}
